//! The closed vocabulary of conclusions. There is no free text here, so that no report can say more than its test did.

use serde::{Deserialize, Serialize};

/// What a test of a hypothesis says. "p > 0.05" is never `Equivalent`: that needs an equivalence test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The data support the hypothesis.
    Supported,
    /// The data contradict the hypothesis.
    Contradicted,
    /// An equivalence test found the difference to lie within the stated bounds.
    Equivalent,
    /// The data can neither support nor contradict.
    Inconclusive,
    /// Nothing was measured that bears on it.
    NotMeasured,
}

/// What became of a published number when it was computed again from its published data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimStatus {
    /// The published number follows from the published data.
    Reproduced,
    /// The number follows, but it is a different quantity from the one it is called.
    ReproducedMislabelled,
    /// The published data give another number.
    Contradicted,
    /// The published data do not suffice to compute it.
    NotRecomputable,
}

/// How a conclusion is toned in print; colour never carries it alone, `mark` and the word do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tone {
    pub(crate) class: &'static str,
    pub(crate) mark: &'static str,
}

impl Verdict {
    /// The word as printed.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Supported => "Supported",
            Verdict::Contradicted => "Contradicted",
            Verdict::Equivalent => "Equivalent",
            Verdict::Inconclusive => "Inconclusive",
            Verdict::NotMeasured => "Not measured",
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            Verdict::Supported => Tone { class: "good", mark: "✓" },
            Verdict::Contradicted => Tone { class: "bad", mark: "✗" },
            Verdict::Equivalent => Tone { class: "same", mark: "≈" },
            Verdict::Inconclusive => Tone { class: "open", mark: "?" },
            Verdict::NotMeasured => Tone { class: "none", mark: "–" },
        }
    }
}

impl ClaimStatus {
    /// The word as printed.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ClaimStatus::Reproduced => "Reproduced",
            ClaimStatus::ReproducedMislabelled => "Reproduced, mislabelled",
            ClaimStatus::Contradicted => "Contradicted",
            ClaimStatus::NotRecomputable => "Not recomputable",
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            ClaimStatus::Reproduced => Tone { class: "good", mark: "✓" },
            ClaimStatus::ReproducedMislabelled => Tone { class: "open", mark: "!" },
            ClaimStatus::Contradicted => Tone { class: "bad", mark: "✗" },
            ClaimStatus::NotRecomputable => Tone { class: "none", mark: "–" },
        }
    }
}
