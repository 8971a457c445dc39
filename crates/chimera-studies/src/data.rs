//! The records of one run, indexed for analysis: which arms, models and cells there are, and the value of a metric in
//! each block. The block is the unit of replication; replicates within a block (there are some after a resume) are
//! averaged first. Nothing is estimated here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chimera_core::{ClockSource, ModelInfo};
use chimera_records::{Flag, Manifest, Metric, ModelEntry, QualityRecord, Settings, Trial, TrialRole};

/// A run as an analysis sees it.
#[derive(Debug, Clone)]
pub struct RunData {
    /// Design with profile and command line applied.
    pub settings: Settings,
    /// What is true of the run as a whole.
    pub manifest: Manifest,
    /// Every record.
    pub trials: Vec<Trial>,
    /// What was found out about the arms before anything was timed; empty where the design asks nothing.
    pub quality: Vec<QualityRecord>,
    /// What was wrong with the records, in words (a truncated last line, for instance).
    pub damage: Vec<String>,
}

impl RunData {
    /// Models that some grid of the settings asks for, in the design's order.
    pub fn asked_models(&self) -> impl Iterator<Item = &ModelEntry> {
        let design = &self.settings.design;
        design.model.iter().filter(|entry| design.grid.iter().any(|grid| grid.model.contains(&entry.id)))
    }
}

/// What is compared as a whole: a backend with a thread count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arm<'a> {
    /// Backend of the registry.
    pub backend: &'a str,
    /// Threads of its processes.
    pub threads: u32,
}

impl fmt::Display for Arm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.threads == 1 { "" } else { "s" };
        write!(f, "{}, {} thread{plural}", self.backend, self.threads)
    }
}

/// One cell of one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey<'a> {
    /// Arm.
    pub arm: Arm<'a>,
    /// Model id.
    pub model: &'a str,
    /// Scenario id.
    pub scenario: &'a str,
    /// Lanes.
    pub batch: u32,
    /// Requests at once.
    pub concurrency: u32,
    /// Budget.
    pub budget: u32,
}

impl CellKey<'_> {
    /// Whether one request of one lane runs alone.
    #[must_use]
    pub fn is_solo(&self) -> bool {
        self.batch == 1 && self.concurrency == 1
    }
}

/// One value per block.
pub type PerBlock = BTreeMap<u32, f64>;

/// What an analysis needs to know of a model, as the backend reported it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFacts<'a> {
    /// Model id.
    pub id: &'a str,
    /// Family in the design.
    pub family: &'a str,
    /// All parameters.
    pub parameters: Option<f64>,
    /// Transformer blocks.
    pub layers: Option<f64>,
    /// Width of the residual stream.
    pub width: Option<f64>,
    /// Bytes of weights that one decode step reads.
    pub bytes_per_token: Option<f64>,
    /// Everything the backend said.
    pub info: Option<&'a ModelInfo>,
}

/// Records by cell.
#[derive(Debug)]
pub struct Index<'a> {
    run: &'a RunData,
    steady: BTreeMap<CellKey<'a>, Vec<&'a Trial>>,
    first: BTreeMap<CellKey<'a>, Vec<&'a Trial>>,
}

impl<'a> Index<'a> {
    /// Indexes a run.
    #[must_use]
    pub fn new(run: &'a RunData) -> Self {
        Self::filtered(run, |_| true)
    }

    /// Indexes the records that `keep` accepts: for sensitivity analyses.
    pub fn filtered(run: &'a RunData, keep: impl Fn(&Trial) -> bool) -> Self {
        let mut index = Self { run, steady: BTreeMap::new(), first: BTreeMap::new() };
        for trial in run.trials.iter().filter(|trial| keep(trial)) {
            let key = CellKey {
                arm: Arm { backend: &trial.factors.backend, threads: trial.factors.threads },
                model: &trial.factors.model,
                scenario: &trial.factors.scenario,
                batch: trial.factors.batch,
                concurrency: trial.factors.concurrency,
                budget: trial.factors.budget,
            };
            if trial.is_steady() {
                index.steady.entry(key).or_default().push(trial);
            } else if trial.role == TrialRole::FirstUse && !trial.lanes.is_empty() {
                index.first.entry(key).or_default().push(trial);
            }
        }
        index
    }

    /// The run behind it.
    #[must_use]
    pub fn run(&self) -> &'a RunData {
        self.run
    }

    /// Arms with at least one steady trial.
    #[must_use]
    pub fn arms(&self) -> Vec<Arm<'a>> {
        let arms: BTreeSet<Arm<'a>> = self.steady.keys().map(|key| key.arm).collect();
        arms.into_iter().collect()
    }

    /// The arm that a report is about: of the backend that the command line named first, else the first one.
    #[must_use]
    pub fn main_arm(&self) -> Option<Arm<'a>> {
        let arms = self.arms();
        let named = self.run.settings.overrides.backends.first();
        let named = arms.iter().find(|arm| named.is_some_and(|name| name == arm.backend));
        named.or(arms.first()).copied()
    }

    /// Whether the trials of an arm were stamped by a client: it was measured over a wire.
    #[must_use]
    pub fn is_behind_a_wire(&self, arm: Arm<'_>) -> bool {
        self.cells()
            .filter(|(key, _)| key.arm == arm)
            .flat_map(|(_, trials)| trials)
            .any(|trial| trial.stamps == ClockSource::Client)
    }

    /// Models that the settings ask for, in the design's order, with what the backend of `arm` reported.
    #[must_use]
    pub fn models(&self, arm: Arm<'_>) -> Vec<ModelFacts<'a>> {
        self.run
            .asked_models()
            .map(|entry| {
                let record = self.run.manifest.models.get(&entry.id);
                let info = record.and_then(|record| record.info.get(arm.backend));
                let number = |value: Option<u32>| value.map(f64::from);
                ModelFacts {
                    id: &entry.id,
                    family: &entry.family,
                    parameters: info.and_then(|i| i.parameters).map(|p| p.total as f64),
                    layers: info.and_then(|i| number(i.layers)),
                    width: info.and_then(|i| number(i.width)),
                    bytes_per_token: info.and_then(|i| i.weight_bytes_per_token).map(|bytes| bytes as f64),
                    info,
                }
            })
            .collect()
    }

    /// Cells with at least one steady trial.
    pub fn cells(&self) -> impl Iterator<Item = (&CellKey<'a>, &[&'a Trial])> {
        self.steady.iter().map(|(key, trials)| (key, trials.as_slice()))
    }

    /// Steady trials of a cell.
    #[must_use]
    pub fn steady<'s>(&'s self, key: &CellKey<'s>) -> &'s [&'a Trial] {
        self.steady.get(key).map_or(&[], Vec::as_slice)
    }

    /// First-use trials of cells, whatever their budget.
    pub fn first_uses(&self) -> impl Iterator<Item = (&CellKey<'a>, &[&'a Trial])> {
        self.first.iter().map(|(key, trials)| (key, trials.as_slice()))
    }

    /// A metric of a cell, one value per block; behind a wire what stands for it there ([`Metric::seen_by`]).
    #[must_use]
    pub fn per_block(&self, key: &CellKey<'_>, metric: Metric) -> PerBlock {
        per_block(self.steady(key), |trial| seen(metric, trial))
    }

    /// Trials that were flagged for noise of the host, among the steady ones.
    #[must_use]
    pub fn noisy(&self) -> usize {
        self.steady.values().flatten().filter(|trial| trial.flags.contains(&Flag::HostNoise)).count()
    }
}

/// A metric of a trial, by whoever stamped it.
pub(crate) fn seen(metric: Metric, trial: &Trial) -> Option<f64> {
    metric.seen_by(trial.stamps).of(trial)
}

/// One value per block from any function of a trial.
pub(crate) fn per_block(trials: &[&Trial], value: impl Fn(&Trial) -> Option<f64>) -> PerBlock {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for trial in trials {
        if let Some(value) = value(trial) {
            let (sum, n) = sums.entry(trial.block).or_default();
            *sum += value;
            *n += 1.0;
        }
    }
    sums.into_iter().map(|(block, (sum, n))| (block, sum / n)).collect()
}
