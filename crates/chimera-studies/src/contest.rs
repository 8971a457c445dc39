//! Who competes with whom: every engine that ran one set of weights, in every precision of it. The engine and the precision
//! together are a contestant; one contestant of each set of weights is the reference. Numbers are not here.

use std::{collections::BTreeSet, fmt};

use chimera_records::{Metric, Settings};

use crate::{Arm, CellKey, Index, PerBlock};

/// An engine with one set of weights in one precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contestant<'a> {
    /// Backend and threads.
    pub arm: Arm<'a>,
    /// Model id of the design: weights and precision.
    pub model: &'a str,
}

impl fmt::Display for Contestant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.model, self.arm.backend)
    }
}

/// What numbers a variant's name claims to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// 32-bit floats, also when they were made from quantised blocks.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers: Q8_0 blocks or an INT8 graph.
    Int8,
    /// 4-bit blocks.
    Q4,
    /// A name that says none of these.
    Other,
}

impl Precision {
    /// From a variant's name: `F32`, `Q8_0 from Q4_1`, `INT8 static (entropy)`. What it was made from does not count.
    #[must_use]
    pub fn of(variant: &str) -> Self {
        let name = variant.trim_start();
        let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
        if begins("F32") {
            Self::F32
        } else if begins("F16") || begins("BF16") {
            Self::F16
        } else if begins("INT8") || begins("Q8") {
            Self::Int8
        } else if begins("Q4") {
            Self::Q4
        } else {
            Self::Other
        }
    }

    /// Name in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Int8 => "8-bit",
            Self::Q4 => "4-bit",
            Self::Other => "other",
        }
    }
}

/// Precision that a model of the design claims.
#[must_use]
pub fn precision(settings: &Settings, model: &str) -> Precision {
    settings.design.model(model).map_or(Precision::Other, |entry| Precision::of(&entry.variant))
}

/// All contestants of one set of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest<'a> {
    /// The weights: source of the models.
    pub source: &'a str,
    /// Whom the others are held against; none when it did not run.
    pub reference: Option<Contestant<'a>>,
    /// Everybody with a steady trial, the reference first, then in the order of the design's models and of the arms.
    pub contestants: Vec<Contestant<'a>>,
}

impl<'a> Contest<'a> {
    /// Everybody but the reference.
    pub fn others(&self) -> impl Iterator<Item = Contestant<'a>> {
        let reference = self.reference;
        self.contestants.iter().copied().filter(move |one| Some(*one) != reference)
    }
}

/// The backend that others are held against: of the design's quality table, else that of the main arm. A backend that did
/// not run is nobody's reference.
#[must_use]
pub fn reference_backend<'a>(index: &Index<'a>, named: Option<&str>) -> Option<&'a str> {
    let arms = index.arms();
    let ran = arms.iter().find(|arm| named.is_some_and(|name| name == arm.backend));
    ran.map(|arm| arm.backend).or_else(|| index.main_arm().map(|arm| arm.backend))
}

/// The contests of a run, in the order in which the design names the weights. The reference of a contest is its first F32
/// model on the reference backend.
#[must_use]
pub fn contests<'a>(index: &Index<'a>, reference_backend: Option<&str>) -> Vec<Contest<'a>> {
    let ran: BTreeSet<(Arm<'a>, &str)> = index.cells().map(|(key, _)| (key.arm, key.model)).collect();
    let design = &index.run().settings.design;
    let mut contests: Vec<Contest<'a>> = Vec::new();
    for entry in &design.model {
        let own = index.arms().into_iter().filter(|arm| ran.contains(&(*arm, entry.id.as_str())));
        let contestants: Vec<Contestant<'a>> = own.map(|arm| Contestant { arm, model: &entry.id }).collect();
        if contestants.is_empty() {
            continue;
        }
        match contests.iter_mut().find(|contest| contest.source == entry.source) {
            Some(contest) => contest.contestants.extend(contestants),
            None => contests.push(Contest { source: &entry.source, reference: None, contestants }),
        }
    }
    for contest in &mut contests {
        let settings = &index.run().settings;
        let is_reference = |one: &Contestant<'_>| {
            Some(one.arm.backend) == reference_backend && precision(settings, one.model) == Precision::F32
        };
        if let Some(place) = contest.contestants.iter().position(is_reference) {
            contest.contestants[..=place].rotate_right(1);
            contest.reference = contest.contestants.first().copied();
        }
    }
    contests
}

/// Which cells of a contestant are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Prompts.
    pub scenarios: Vec<&'a str>,
    /// Generated tokens.
    pub budget: u32,
}

impl<'a> Field<'a> {
    /// A contestant's cell for a prompt: one request at a time, one lane.
    #[must_use]
    pub fn key(&self, one: Contestant<'a>, scenario: &'a str) -> CellKey<'a> {
        CellKey { arm: one.arm, model: one.model, scenario, batch: 1, concurrency: 1, budget: self.budget }
    }

    /// Prompts in which every one of them has a steady trial: what one of them did not finish must not speak for the
    /// others.
    #[must_use]
    pub fn common(&self, index: &Index<'a>, all: &[Contestant<'a>]) -> Field<'a> {
        let finished =
            |scenario: &&'a str| all.iter().all(|one| !index.steady(&self.key(*one, scenario)).is_empty());
        Field { scenarios: self.scenarios.iter().copied().filter(finished).collect(), budget: self.budget }
    }

    /// A metric of a contestant: geometric mean over the prompts, one value per block that has all of them.
    #[must_use]
    pub fn per_block(&self, index: &Index<'a>, one: Contestant<'a>, metric: Metric) -> PerBlock {
        if self.scenarios.is_empty() {
            return PerBlock::new();
        }
        let selection = crate::Selection {
            arm: one.arm,
            scenarios: self.scenarios.clone(),
            batch: 1,
            budget: self.budget,
        };
        crate::scaling::geometric_over_scenarios(index, &selection, one.model, metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_what_the_name_begins_with() {
        for (variant, expected) in [
            ("F32", Precision::F32),
            ("F32 from Q4_1", Precision::F32),
            ("f16", Precision::F16),
            ("Q8_0 from Q4_1", Precision::Int8),
            ("INT8 static (entropy)", Precision::Int8),
            ("Q4_1 (original)", Precision::Q4),
            ("NVFP4", Precision::Other),
        ] {
            assert_eq!(Precision::of(variant), expected, "{variant}");
        }
    }
}
