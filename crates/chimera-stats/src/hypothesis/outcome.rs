//! What a test says: its statistic, where its p comes from, and whether there is a p at all. It computes no test.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::StatsError;
use crate::dist::t_sf;
use crate::error::in_range;

/// Fewer values than this in any arm and there is no p.
pub(crate) const MIN_VALUES: usize = 3;

/// Which departure from the hypothesis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alternative {
    /// Either direction.
    #[default]
    TwoSided,
    /// The first arm (or the sample) is smaller than the second (or the value).
    Less,
    /// The first arm (or the sample) is larger.
    Greater,
}

impl Alternative {
    /// p from the probabilities of a value at most, and at least, as large as the observed one. Two-sided it is twice
    /// the smaller, which for a discrete law may pass 1.
    pub(crate) fn p(self, at_most: f64, at_least: f64) -> f64 {
        match self {
            Self::TwoSided => 2.0 * at_most.min(at_least),
            Self::Less => at_most,
            Self::Greater => at_least,
        }
        .min(1.0)
    }

    pub(crate) fn t_p(self, t: f64, dof: f64) -> Result<f64, StatsError> {
        Ok(self.p(t_sf(-t, dof)?, t_sf(t, dof)?))
    }
}

/// Where the p of a rank test comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankNull {
    /// Exact while that is cheap, else the approximation with the continuity correction.
    #[default]
    Auto,
    /// The exact law of the ranks as they are, ties included.
    Exact,
    /// The normal approximation with tie correction.
    Normal {
        /// Whether the statistic moves half a step towards its mean.
        continuity: bool,
    },
}

/// Where the p of a rank test of several groups comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupNull {
    /// Exact while that is cheap, else chi-squared.
    #[default]
    Auto,
    /// The exact law of the ranks as they are, ties included.
    Exact,
    /// Chi-squared with tie correction.
    ChiSquared,
}

/// The law under the hypothesis that a p was read from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Null {
    /// Student's t.
    StudentT {
        /// Degrees of freedom.
        dof: f64,
    },
    /// The standard normal law.
    Normal,
    /// Chi-squared.
    ChiSquared {
        /// Degrees of freedom.
        dof: f64,
    },
    /// Fisher's F.
    F {
        /// Degrees of freedom of the numerator.
        numerator: f64,
        /// Degrees of freedom of the denominator.
        denominator: f64,
    },
    /// The range of this many independent standard normal values.
    StudentizedRange {
        /// Number of arms.
        arms: usize,
    },
    /// Kolmogorov's limit law.
    Kolmogorov,
    /// Every arrangement of the data, counted.
    Exact,
    /// Arrangements drawn at random; the observed one counts among them.
    Drawn {
        /// How many were drawn.
        arrangements: usize,
    },
}

/// Why there is no p.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Collect more replicates.
    #[error("no p from {got} values, at least {needed} are needed")]
    TooFew {
        /// Values needed.
        needed: usize,
        /// Values in the smallest arm, those that count.
        got: usize,
    },
    /// There is nothing to test against: the values do not vary, or the arms do not overlap at all where the test
    /// measures its noise by their overlap.
    #[error("no p: there is no noise to test against")]
    NoNoise,
    /// A design of this size could not have rejected, whatever the data.
    #[error("no p at alpha {alpha}: whatever the order of these values, p is at least {smallest_p}")]
    CannotReach {
        /// The smallest p that these many values, with these ties, can give.
        smallest_p: f64,
        /// The alpha asked for.
        alpha: f64,
    },
}

/// What a test decides at an alpha.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// p <= alpha: the hypothesis is rejected.
    Rejected {
        /// The p.
        p: f64,
    },
    /// p > alpha. This is not evidence for the hypothesis; for that see [`super::Equivalence`].
    NotRejected {
        /// The p.
        p: f64,
    },
    /// Nothing can be decided.
    Refused {
        /// Why.
        why: Refusal,
    },
}

/// A test's result. The p is handed out by [`Test::p`] alone, which knows when there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Name of the test, as in `Welch t`.
    pub name: Cow<'static, str>,
    /// The test statistic; absent where noise is absent.
    pub statistic: Option<f64>,
    /// The law its p comes from.
    pub null: Null,
    /// The alternative.
    pub alternative: Alternative,
    /// Values in each arm that count: pairs for a paired test, differences that are not zero for a signed one.
    pub n: Vec<usize>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Tested { p: f64, smallest_p: Option<f64> },
    Refused(Refusal),
}

impl Test {
    /// A result, under the rules of the guard: `statistic` is none where there is no noise, `p` is computed only where
    /// it may be.
    pub(crate) fn guarded(
        name: &'static str,
        n: Vec<usize>,
        alternative: Alternative,
        null: Null,
        statistic: Option<f64>,
        p: impl FnOnce(f64) -> Result<(f64, Option<f64>), StatsError>,
    ) -> Result<Self, StatsError> {
        Self::guarded_from(MIN_VALUES, name, n, alternative, null, statistic, p)
    }

    /// [`Test::guarded`] for a test that says nothing below `needed` values.
    pub(crate) fn guarded_from(
        needed: usize,
        name: &'static str,
        n: Vec<usize>,
        alternative: Alternative,
        null: Null,
        statistic: Option<f64>,
        p: impl FnOnce(f64) -> Result<(f64, Option<f64>), StatsError>,
    ) -> Result<Self, StatsError> {
        let got = n.iter().copied().min().unwrap_or(0);
        let outcome = match statistic {
            _ if got < needed => Outcome::Refused(Refusal::TooFew { needed, got }),
            None => Outcome::Refused(Refusal::NoNoise),
            Some(value) => {
                let (p, smallest_p) = p(in_range(name, value)?)?;
                Outcome::Tested { p: in_range(name, p)?.clamp(0.0, 1.0), smallest_p }
            }
        };
        Ok(Self { name: Cow::Borrowed(name), statistic, null, alternative, n, outcome })
    }

    /// The p, for a caller who will compare it with `alpha`.
    ///
    /// # Errors
    /// The [`Refusal`] where there is none: too few values, no noise, or an alpha below the smallest p of this design.
    pub fn p(&self, alpha: f64) -> Result<f64, Refusal> {
        match self.outcome {
            Outcome::Refused(why) => Err(why),
            Outcome::Tested { smallest_p: Some(smallest_p), .. } if smallest_p > alpha => {
                Err(Refusal::CannotReach { smallest_p, alpha })
            }
            Outcome::Tested { p, .. } => Ok(p),
        }
    }

    /// The decision at `alpha`.
    #[must_use]
    pub fn decide(&self, alpha: f64) -> Decision {
        match self.p(alpha) {
            Ok(p) if p <= alpha => Decision::Rejected { p },
            Ok(p) => Decision::NotRejected { p },
            Err(why) => Decision::Refused { why },
        }
    }

    /// The smallest p that an arrangement of these values can give; none for a test without such a floor.
    #[must_use]
    pub fn smallest_p(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Tested { smallest_p, .. } => smallest_p,
            Outcome::Refused(_) => None,
        }
    }
}

/// Two of several groups or arms, compared after a test of them all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostHoc {
    /// Index of the first.
    pub first: usize,
    /// Index of the second.
    pub second: usize,
    /// Its test; the statistic is positive where the first ranks higher, that is, has the larger values.
    pub test: Test,
    /// Its p, adjusted for all pairs: Holm's of Conover's and Dunn's, Nemenyi's own. None where a test refuses its p.
    pub adjusted: Option<f64>,
}

/// Holm's adjustment over pairs that all have a p.
pub(crate) fn holm_over(mut pairs: Vec<PostHoc>) -> Result<Vec<PostHoc>, StatsError> {
    let p: Vec<f64> = pairs.iter().filter_map(|pair| pair.test.p(1.0).ok()).collect();
    if p.len() == pairs.len() {
        for (pair, adjusted) in pairs.iter_mut().zip(super::holm(&p)?) {
            pair.adjusted = Some(adjusted);
        }
    }
    Ok(pairs)
}
