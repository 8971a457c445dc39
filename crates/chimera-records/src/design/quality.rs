//! The `[quality]` table of a design: which arm is the reference, what is compared with it before anything is timed, and
//! what counts as the same model. Checking is the harness's business, judging the study's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Design, ModelEntry,
    check::{at_least_one, key, known, not_empty, positive, range},
};
use crate::DesignError;

/// What is checked of every arm (backend and model) before anything is timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Backend that the others are compared with.
    pub reference: String,
    /// Variant of the models that stand for their source: an arm is compared with the model of the same source in this
    /// variant, on the reference backend.
    pub reference_variant: String,
    /// Prompts of the agreement check.
    pub scenarios: Vec<String>,
    /// Most positions compared for one prompt, the reference's continuation included. A longer prompt is cut.
    #[serde(default = "positions")]
    pub positions: u32,
    /// Tokens of the reference's greedy continuation, which is fed to every arm (teacher forcing).
    #[serde(default = "continuation")]
    pub continuation: u32,
    /// Least share of positions with the same most likely token, for an arm of the reference variant to count as the same
    /// model.
    pub min_top1: f64,
    /// Most mean divergence in nats, for the same.
    pub max_kl: f64,
    /// Text whose perplexity is taken: a file of the checkout.
    pub text: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Tokens of one chunk. Chunks are disjoint and each begins without context.
    pub chunk: u32,
    /// Chunks, from the beginning of the text.
    pub chunks: u32,
    /// Largest share by which a perplexity may differ from the reference's, above or below, by the beginning of a
    /// variant's name (`INT8`, `Q8`). The longest name that fits counts; case does not.
    pub thresholds: BTreeMap<String, f64>,
    /// Longest time for one check of one arm, in seconds.
    #[serde(default = "timeout")]
    pub timeout_s: f64,
}

fn positions() -> u32 {
    128
}

fn continuation() -> u32 {
    32
}

fn timeout() -> f64 {
    1800.0
}

impl Quality {
    /// Most prompt tokens that an agreement check reads.
    #[must_use]
    pub fn prompt_tokens(&self) -> u32 {
        self.positions.saturating_sub(self.continuation)
    }

    /// By which share a perplexity of this variant may differ, up or down; `None` where the design names none.
    #[must_use]
    pub fn threshold(&self, variant: &str) -> Option<f64> {
        let variant = variant.to_ascii_lowercase();
        let fitting =
            self.thresholds.iter().filter(|(name, _)| variant.starts_with(&name.to_ascii_lowercase()));
        fitting.max_by_key(|(name, _)| name.len()).map(|(_, share)| *share)
    }

    /// The model that an arm is compared with: of the same source, in the reference variant.
    #[must_use]
    pub fn reference_of<'a>(&self, design: &'a Design, entry: &ModelEntry) -> Option<&'a ModelEntry> {
        design
            .model
            .iter()
            .find(|model| model.source == entry.source && model.variant == self.reference_variant)
    }

    pub(super) fn validate(&self, design: &Design) -> Result<(), DesignError> {
        for (name, text) in [
            ("quality.reference", &self.reference),
            ("quality.reference_variant", &self.reference_variant),
            ("quality.text", &self.text),
        ] {
            if text.is_empty() {
                return Err(DesignError::Empty { place: name.into() });
            }
        }
        if self.sha256.len() != 64
            || !self.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(key("quality.sha256", "64 hexadecimal digits in lower case are needed"));
        }
        not_empty("quality.scenarios", &self.scenarios)?;
        let all: Vec<&str> = design.scenario.iter().map(|scenario| scenario.id.as_str()).collect();
        known("quality.scenarios", "scenario", &self.scenarios, &all)?;
        if !design.model.iter().any(|model| model.variant == self.reference_variant) {
            let found = format!("no model of the design has the variant `{}`", self.reference_variant);
            return Err(key("quality.reference_variant", found));
        }
        at_least_one("quality.continuation", self.continuation)?;
        if self.positions <= self.continuation {
            let rule = "it must exceed the continuation, or no prompt is left";
            return Err(range("quality.positions", self.positions, rule));
        }
        if !(self.min_top1 > 0.0 && self.min_top1 <= 1.0) {
            return Err(range("quality.min_top1", self.min_top1, "a share in (0, 1]"));
        }
        positive("quality.max_kl", self.max_kl)?;
        positive("quality.timeout_s", self.timeout_s)?;
        if self.chunk < 2 {
            return Err(range(
                "quality.chunk",
                self.chunk,
                "the first token predicts nothing: at least 2 are needed",
            ));
        }
        at_least_one("quality.chunks", self.chunks)?;
        for (name, share) in &self.thresholds {
            positive(&format!("quality.thresholds.{name}"), *share)?;
        }
        Ok(())
    }
}
