//! Planted truth: a thousand studies of a simulated family with a known exponent, through the real plan, the real
//! harness and the real analysis, on virtual time. The 95 % interval of the exponent must cover the truth 95 % of the
//! time; an interval that covers more is too wide to be honest, one that covers less is too narrow.

use std::{collections::BTreeSet, sync::Arc};

use chimera_core::{BackendId, Clock, InferenceBackend};
use chimera_harness::{
    BlockRun, Cancel, FoundModel, MemorySink, Missing, Registry, RegistryError, run_block,
};
use chimera_records::{Design, ModelEntry, Overrides, Plan, Settings};
use chimera_sim::{Noise, SimBackend, SimModel, VirtualClock};
use chimera_studies::{Index, PhaseMetric, RunData, Scaling, Selection};

use crate::common;

const TRUTH: f64 = 0.6;
const STUDIES: u64 = 1000;

/// A simulated device with block noise, model noise and step noise.
struct Planted {
    study: u64,
    block: u64,
}

impl Registry for Planted {
    fn backend(&self, _: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        let models =
            common::SHAPES.map(|(name, parameters, ..)| SimModel::power(name, parameters, TRUTH, 50.0));
        Ok(Arc::new(
            SimBackend::builder()
                .id(BackendId::new("sim"))
                .clock(clock)
                .models(models)
                .noise(Noise::new(0.15, 0.08, 0.05))
                .seed(self.study)
                .block(self.block)
                .build(),
        ))
    }

    fn model(&self, entry: &ModelEntry, _: &str) -> Result<FoundModel, Missing> {
        Ok(FoundModel::named(entry.source.as_str()))
    }
}

fn settings() -> Settings {
    let models: Vec<String> = common::SHAPES
        .iter()
        .map(|(name, ..)| {
            format!("[[model]]\nid = \"{name}\"\nsource = \"{name}\"\nvariant = \"F32\"\nfamily = \"gpt2\"\n")
        })
        .collect();
    let names: Vec<String> = common::SHAPES.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
    let text = format!(
        "schema = 1\nstudy = \"tr121\"\ntitle = \"planted\"\nseed = 1\nblocks = 5\n{}\n[[scenario]]\nid = \"short\"\ntext = \
         \"Say something.\"\n[[grid]]\nid = \"main\"\nbackend = [\"sim\"]\nmodel = [{}]\nscenario = [\"short\"]\ngen = [16]\n",
        models.concat(),
        names.join(", ")
    );
    Design::parse(&text).expect("a design").resolve(&Overrides::default()).expect("settings")
}

/// Runs one study and analyses it.
fn study(settings: &Settings, plan: &Plan, number: u64) -> Scaling<'static> {
    let mut sink = MemorySink::default();
    for block in &plan.blocks {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
        let registry = Planted { study: number, block: u64::from(block.index) };
        let run = BlockRun {
            settings,
            plan,
            block,
            attempt: 1,
            done: &BTreeSet::new(),
            threads: 1,
            registry: &registry,
            clock: &clock,
            origin_unix_ms: 0,
            host: None,
            cancel: &Cancel::new(),
        };
        futures_executor::block_on(run_block(run, &mut sink, &mut |_| {})).expect("a block");
    }
    let manifest = common::manifest(settings, plan, "sim", sink.trials.len());
    let run = RunData {
        settings: settings.clone(),
        manifest,
        trials: sink.trials,
        quality: Vec::new(),
        damage: Vec::new(),
    };
    // Leaked, so that the scaling can be handed out: a thousand small runs in a test's life.
    let run: &'static RunData = Box::leak(Box::new(run));
    let index = Index::new(run);
    let arm = index.arms()[0];
    let selection = Selection { arm, scenarios: vec!["short"], batch: 1, budget: 16 };
    Scaling::new(&index, "gpt2", PhaseMetric::Decode, selection).expect("a scaling").expect("seven models")
}

#[test]
fn the_interval_of_the_exponent_covers_the_truth_as_often_as_it_says() {
    let settings = settings();
    let plan = Plan::new(&settings).expect("a plan");
    let mut covered = 0_u32;
    let mut centre = 0.0;
    for number in 0..STUDIES {
        let scaling = study(&settings, &plan, number);
        let interval = scaling.exponent.interval.expect("five blocks");
        covered += u32::from(interval.contains(TRUTH));
        centre += scaling.exponent.point / STUDIES as f64;
    }
    let share = f64::from(covered) / STUDIES as f64;
    println!("covered {covered} of {STUDIES}, mean exponent {centre:.4}");
    assert!((0.93..=0.97).contains(&share), "covered {covered} of {STUDIES}");
    assert!((centre - TRUTH).abs() < 0.002, "the exponent is biased: {centre}");
}
