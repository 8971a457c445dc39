//! A small design, and a registry of one simulated backend.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use chimera_core::{Clock, InferenceBackend, ModelRef};
use chimera_harness::{
    BlockEnd, BlockRun, Cancel, FoundModel, MemorySink, Missing, Progress, Registry, RegistryError, run_block,
};
use chimera_records::{Design, FileRecord, ModelEntry, NewRun, Overrides, Plan, Settings};
use chimera_sim::{SimBackend, SimBuilder, SimModel, VirtualClock};

/// Two models, two scenarios, two budgets: 4 first uses and 8 measured trials per block.
pub(crate) fn design(blocks: u32, more: &str) -> String {
    format!(
        r#"
schema = 1
study = "tr121"
title = "A small design"
seed = 11
blocks = {blocks}
process.timeout_s = 5.0
warmup.gen = 2
model = [
  {{ id = "small", source = "small", variant = "f32", family = "sim" }},
  {{ id = "large", source = "large", variant = "f32", family = "sim" }},
]
scenario = [
  {{ id = "short", text = "hello world" }},
  {{ id = "long", text = "hello world", tokens = 300 }},
]
{more}
[[grid]]
id = "main"
backend = ["sim"]
model = ["small", "large"]
scenario = ["short", "long"]
gen = [4, 8]
"#
    )
}

pub(crate) fn settings(text: &str) -> Settings {
    Design::parse(text).unwrap().resolve(&Overrides::default()).unwrap()
}

pub(crate) fn new_run<'a>(design: &'a str, overrides: &'a Overrides) -> NewRun<'a> {
    NewRun { design, overrides, shard: None, program: Default::default(), host: Default::default() }
}

/// A change to the builder of the simulated backend.
pub(crate) type Change = Arc<dyn Fn(SimBuilder) -> SimBuilder>;

/// One simulated backend with the models of the design; a name that begins with `missing` cannot be had.
pub(crate) struct Sim {
    pub(crate) change: Change,
}

impl Sim {
    pub(crate) fn plain() -> Self {
        Self::with(|builder| builder)
    }
    pub(crate) fn with(change: impl Fn(SimBuilder) -> SimBuilder + 'static) -> Self {
        Self { change: Arc::new(change) }
    }
}

impl Registry for Sim {
    fn backend(&self, id: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        if id != "sim" {
            return Err(RegistryError::Unknown { id: id.into(), known: "sim".into() });
        }
        let builder = SimBackend::builder().clock(clock).models([
            SimModel::power("small", 1_000_000, 0.5, 10.0),
            SimModel::power("large", 4_000_000, 0.5, 10.0),
        ]);
        Ok(Arc::new((self.change)(builder).build()))
    }

    fn model(&self, entry: &ModelEntry, _backend: &str) -> Result<FoundModel, Missing> {
        if entry.source.starts_with("missing") {
            return Err(Missing { reason: format!("{} is not here: fetch it", entry.source) });
        }
        Ok(FoundModel {
            reference: ModelRef::named(entry.source.as_str()),
            files: vec![FileRecord { name: format!("{}.bin", entry.source), bytes: 1, sha256: None }],
            provenance: Some("made for this test".into()),
        })
    }
}

/// What one block in memory left.
pub(crate) struct Ran {
    pub(crate) end: BlockEnd,
    pub(crate) sink: MemorySink,
    pub(crate) progress: Vec<Progress>,
    pub(crate) clock: Arc<VirtualClock>,
}

/// Runs a block of a design on virtual time.
pub(crate) fn run(design: &str, block: usize, registry: &dyn Registry) -> Ran {
    let settings = settings(design);
    let plan = Plan::new(&settings).unwrap();
    let clock = Arc::new(VirtualClock::new());
    let time: Arc<dyn Clock> = clock.clone();
    let (cancel, done) = (Cancel::new(), BTreeSet::new());
    let mut sink = MemorySink::default();
    let mut progress = Vec::new();
    let block = BlockRun {
        settings: &settings,
        plan: &plan,
        block: &plan.blocks[block],
        attempt: 1,
        done: &done,
        threads: 1,
        registry,
        clock: &time,
        origin_unix_ms: 1_000,
        host: None,
        cancel: &cancel,
    };
    let end = futures_executor::block_on(run_block(block, &mut sink, &mut |p| progress.push(p))).unwrap();
    Ran { end, sink, progress, clock }
}
