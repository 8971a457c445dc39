//! Runs made from a formula instead of a machine: what an analysis must find is known.

use std::collections::BTreeMap;

use chimera_core::{ClockSource, FinishReason, ModelInfo, Parameters};
use chimera_records::{
    Clocks, Counts, Design, First, FormatVersion, HostRecord, Lane, Manifest, ModelRecord, NoiseRecord,
    Outcome, Overrides, Plan, ProcessRecord, ProgramRecord, RunStatus, Settings, Trial, TrialRole,
};
use chimera_studies::{RunData, Study, Tr121};

/// The seven shapes: parameters, layers, width.
pub(crate) const SHAPES: [(&str, u64, u32, u32); 7] = [
    ("tiny-gpt2", 102_714, 2, 2),
    ("gpt2-5m", 5_036_720, 12, 80),
    ("gpt2-25m", 25_016_064, 3, 384),
    ("gpt2-45m", 45_171_200, 6, 512),
    ("gpt2-50m", 51_475_968, 8, 512),
    ("gpt2-75m", 74_824_704, 5, 768),
    ("gpt2-100m", 96_088_320, 8, 768),
];

/// Seconds of prefill per prompt and of one decode step, by model and block.
pub(crate) type Law<'a> = &'a dyn Fn(&str, u32, u32) -> (f64, f64);

/// Runs the plan of TR121 on a formula, with another number of blocks than the profile's if one is given. Models that are
/// not in `SHAPES` are skipped.
pub(crate) fn run_blocks(profile: &str, blocks: Option<u32>, law: Law<'_>) -> RunData {
    let text = Tr121.design();
    let mut design = Design::parse(text).expect("the design of TR121");
    if let Some(profile) = design.profile.get_mut(profile) {
        profile.blocks = blocks.or(profile.blocks);
    }
    let overrides = Overrides { profile: Some(profile.into()), ..Overrides::default() };
    let settings = design.resolve(&overrides).expect("the profile");
    let plan = Plan::new(&settings).expect("a plan");
    let prompts = BTreeMap::from([("micro", 1), ("short", 9), ("medium", 17), ("long", 512)]);
    let mut trials = Vec::new();
    let mut processes = Vec::new();
    for block in &plan.blocks {
        processes.push(ProcessRecord {
            client_lag: Default::default(),
            block: block.index,
            attempt: 1,
            threads: 2,
            started_unix_ms: 0,
            startup_ns: Some(20_000_000),
            peak_rss_bytes: None,
            failure: None,
            host: None,
        });
        let mut models = std::collections::BTreeSet::new();
        for (position, planned) in (0_u32..).zip(&block.trials) {
            let factors = plan.factors(planned, 2).expect("a cell");
            let known = SHAPES.iter().any(|(name, ..)| **name == *factors.model);
            let tokens = prompts[&*factors.scenario];
            let mut firsts = Vec::new();
            let mut slow = 1.0;
            if planned.role == TrialRole::FirstUse && known {
                slow = 3.0;
                if models.is_empty() {
                    firsts.push(First::Process);
                    slow = 10.0;
                }
                if models.insert(factors.model.clone()) {
                    firsts.push(First::Model);
                    slow = f64::max(slow, 5.0);
                }
                firsts.push(First::Shape);
            }
            let (prefill, step) = law(&factors.model, tokens, block.index);
            let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
            let sent = 1_000_000;
            let first = sent + nanos(prefill * slow);
            let last = first + nanos(step * f64::from(factors.budget - 1));
            let lane = Lane {
                prompt_tokens: Some(tokens),
                cached_tokens: Some(0),
                generated: Some(factors.budget),
                finish: Some(FinishReason::Length),
                sent: Some(sent),
                prompt_processed: Some(first),
                first_token: Some(first),
                last_token: Some(last),
                done: Some(last),
                output: Some("0011223344556677".into()),
                ..Lane::default()
            };
            let batch = factors.batch as usize;
            trials.push(Trial {
                id: planned.id,
                block: block.index,
                position,
                attempt: 1,
                role: planned.role,
                load_ns: firsts.contains(&First::Model).then_some(50_000_000),
                factors,
                firsts,
                started_unix_ms: 0,
                outcome: if known {
                    Outcome::Completed
                } else {
                    Outcome::Skipped { reason: "no weights here".into() }
                },
                stamps: ClockSource::Engine,
                lanes: if known { vec![lane; batch] } else { Vec::new() },
                host: None,
                flags: Vec::new(),
            });
        }
    }
    let manifest = manifest(&settings, &plan, "candle", trials.len());
    let manifest = Manifest { processes, ..manifest };
    RunData { settings, manifest, trials, quality: Vec::new(), damage: Vec::new() }
}

/// The manifest of a complete run on one backend.
pub(crate) fn manifest(settings: &Settings, plan: &Plan, backend: &str, trials: usize) -> Manifest {
    Manifest {
        format: FormatVersion::CURRENT,
        run_id: "planted".into(),
        study: "tr121".into(),
        status: RunStatus::Complete,
        failure: None,
        created_unix_ms: 0,
        ended_unix_ms: Some(1),
        design_sha256: String::new(),
        overrides: settings.overrides.clone(),
        plan_digest: plan.digest.clone(),
        seed: settings.design.seed,
        shard: None,
        program: ProgramRecord::default(),
        host: HostRecord { memory_read_rate: Some(2e10), ..HostRecord::default() },
        clocks: Clocks { resolution_ns: Some(20), reading_ns: Some(25.0), per_event_ns: Some(120.0) },
        hosts: BTreeMap::new(),
        self_proof: None,
        noise: NoiseRecord::default(),
        backends: BTreeMap::new(),
        models: settings
            .design
            .model
            .iter()
            .map(|entry| (entry.id.clone(), record(entry, backend)))
            .collect(),
        processes: Vec::new(),
        counts: Counts { planned: trials as u64, ..Counts::default() },
        merged_from: Vec::new(),
        repairs: Vec::new(),
    }
}

fn record(entry: &chimera_records::ModelEntry, backend: &str) -> ModelRecord {
    let mut record = ModelRecord {
        source: entry.source.clone(),
        variant: entry.variant.clone(),
        family: entry.family.clone(),
        ..ModelRecord::default()
    };
    match SHAPES.iter().find(|(name, ..)| *name == entry.id) {
        None => record.obstacle = Some("no weights here".into()),
        Some((name, parameters, layers, width)) => {
            let mut info = ModelInfo::named(*name);
            info.parameters = Some(Parameters { total: *parameters, active: *parameters });
            info.layers = Some(*layers);
            info.width = Some(*width);
            info.weight_bytes_per_token = Some(parameters * 4);
            record.info.insert(backend.into(), info);
        }
    }
    record
}

/// Parameters of a model of the family.
pub(crate) fn parameters(model: &str) -> f64 {
    SHAPES.iter().find(|(name, ..)| *name == model).map_or(1.0, |(_, parameters, ..)| *parameters as f64)
}

/// A small disturbance that depends on block and model alone.
pub(crate) fn wobble(model: &str, block: u32) -> f64 {
    let place = SHAPES.iter().position(|(name, ..)| *name == model).unwrap_or(0) as u32;
    let mix = (block * 7 + place * 3 + block * place) % 11;
    1.0 + (f64::from(mix) - 5.0) * 0.002
}
