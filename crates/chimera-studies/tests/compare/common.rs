//! Small runs with planted noise and planted effects: two models, two prompts, one budget.

use std::collections::BTreeMap;

use chimera_core::{Availability, Capabilities, ClockSource, FinishReason, ModelInfo, Probe};
use chimera_records::{
    Clocks, Counts, Design, FileRecord, FormatVersion, HostRecord, Lane, Manifest, ModelRecord, NoiseRecord,
    Outcome, Overrides, Plan, ProgramRecord, RunStatus, Trial, TrialRole,
};
use chimera_studies::RunData;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What is planted into a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planted {
    pub(crate) id: u64,
    pub(crate) blocks: u32,
    /// Standard deviation of the logarithms between blocks, shared by all cells of a block.
    pub(crate) block_sd: f64,
    /// The same of one cell in one block.
    pub(crate) cell_sd: f64,
    /// Factor on every decode step.
    pub(crate) decode: f64,
    /// Growth of every time per block.
    pub(crate) drift: f64,
}

impl Planted {
    pub(crate) fn new(id: u64, blocks: u32) -> Self {
        Self { id, blocks, block_sd: 0.02, cell_sd: 0.01, decode: 1.0, drift: 0.0 }
    }

    pub(crate) fn run(self) -> RunData {
        let text = format!(
            r#"
schema = 1
study = "tr121"
title = "planted"
seed = 1
blocks = {}
model = [{{ id = "small", source = "small", variant = "F32", family = "f" }}, {{ id = "large", source = "large", variant = "F32", family = "f" }}]
scenario = [{{ id = "short", text = "Say something." }}, {{ id = "long", text = "x", tokens = 512 }}]
[[grid]]
id = "main"
backend = ["candle"]
model = ["small", "large"]
scenario = ["short", "long"]
gen = [32]
"#,
            self.blocks
        );
        let settings =
            Design::parse(&text).expect("a design").resolve(&Overrides::default()).expect("settings");
        let plan = Plan::new(&settings).expect("a plan");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.id);
        let mut trials = Vec::new();
        for block in &plan.blocks {
            let luck = (self.block_sd * normal(&mut rng) + self.drift * f64::from(block.index)).exp();
            for (position, planned) in (0_u32..).zip(&block.trials) {
                if planned.role != TrialRole::Measured {
                    continue;
                }
                let factors = plan.factors(planned, 2).expect("a cell");
                let size = if &*factors.model == "large" { 10.0 } else { 1.0 };
                let prompt = if &*factors.scenario == "long" { 512 } else { 4 };
                let mut noise = || luck * (self.cell_sd * normal(&mut rng)).exp();
                let prefill = 1e-3 * size * f64::from(prompt) * noise();
                let step = 1e-3 * size * self.decode * noise();
                let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
                let first = 1_000_000 + nanos(prefill);
                let last = first + nanos(step * f64::from(factors.budget - 1));
                let lane = Lane {
                    prompt_tokens: Some(prompt),
                    generated: Some(factors.budget),
                    finish: Some(FinishReason::Length),
                    sent: Some(1_000_000),
                    prompt_processed: Some(first),
                    first_token: Some(first),
                    last_token: Some(last),
                    done: Some(last),
                    output: Some("0011223344556677".into()),
                    ..Lane::default()
                };
                trials.push(Trial {
                    id: planned.id,
                    block: block.index,
                    position,
                    attempt: 1,
                    role: planned.role,
                    load_ns: None,
                    factors,
                    firsts: Vec::new(),
                    started_unix_ms: u64::from(block.index) * 60_000 + u64::from(position) * 1_000,
                    outcome: Outcome::Completed,
                    stamps: ClockSource::Engine,
                    lanes: vec![lane],
                    host: None,
                    flags: Vec::new(),
                });
            }
        }
        let models = settings.design.model.iter().map(|entry| {
            let mut info = ModelInfo::named(&entry.id);
            info.digest = Some(format!("digest of {}", entry.id));
            let file =
                FileRecord { name: "weights".into(), bytes: 4, sha256: Some(format!("sha of {}", entry.id)) };
            let record = ModelRecord {
                source: entry.source.clone(),
                variant: entry.variant.clone(),
                family: entry.family.clone(),
                info: BTreeMap::from([("candle".to_owned(), info)]),
                files: vec![file],
                ..ModelRecord::default()
            };
            (entry.id.clone(), record)
        });
        let text = |text: &str| Some(text.to_owned());
        let manifest = Manifest {
            format: FormatVersion::CURRENT,
            run_id: format!("run-{}", self.id),
            study: "tr121".into(),
            status: RunStatus::Complete,
            failure: None,
            created_unix_ms: 0,
            ended_unix_ms: Some(1),
            design_sha256: String::new(),
            overrides: settings.overrides.clone(),
            plan_digest: plan.digest.clone(),
            seed: 1,
            shard: None,
            program: ProgramRecord {
                version: "chimera 0".into(),
                git_revision: text("abc"),
                git_dirty: Some(false),
                toolchain: text("rustc 1"),
                profile: text("lab"),
                target_features: text("avx2"),
                arguments: Vec::new(),
            },
            host: HostRecord {
                system: text("Linux 6"),
                architecture: "x86_64".into(),
                cpu: text("a CPU"),
                cores: Some(2),
                memory_bytes: Some(8 << 30),
                memory_read_rate: None,
                governor: text("performance"),
                virtualised: Some(false),
            },
            clocks: Clocks::default(),
            self_proof: None,
            noise: NoiseRecord::default(),
            backends: BTreeMap::from([(
                "candle".to_owned(),
                Probe {
                    availability: Availability::Ready,
                    capabilities: Capabilities::default(),
                    version: text("0.9"),
                    details: Vec::new(),
                },
            )]),
            models: models.collect(),
            processes: Vec::new(),
            counts: Counts::default(),
            hosts: BTreeMap::new(),
            merged_from: Vec::new(),
            repairs: Vec::new(),
        };
        RunData { settings, manifest, trials, quality: Vec::new(), damage: Vec::new() }
    }
}

/// Box and Muller's.
fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
