//! Calls as the records that live runs write, so that exponents, leave-one-out, first-use ratios and decode fractions come
//! from the analysis of live runs. Not a claim that these were measured by our harness.
//!
//! A run of the report (one process) is a block; its repetitions are averaged within it. The local models were timed in
//! their own process around prefill and around the decode loop, one after the other: these two spans, laid end to end, are
//! the engine's stamps. The loop makes one forward pass per token asked for, after the prefill whose logits the report throws
//! away; the lane therefore counts one token more, and time per token is loop over passes. The served models' spans are the
//! server's own (prompt evaluation, evaluation of as many tokens as it counts), laid out the same way; what the server
//! reports is also kept as such in [`server`]. Load is in neither. Warm-up calls are first uses; the first of a backend in a
//! run stands for the first of a process, because a live run gives each backend a process of its own.

use std::collections::{BTreeMap, BTreeSet};

use chimera_core::{ClockSource, ModelInfo, Parameters};
use chimera_records::{
    Clocks, Counts, Design, Factors, First, FormatVersion, Grid, HostRecord, Lane, Limits, Manifest,
    ModelEntry, ModelRecord, NoiseRecord, Outcome, Overrides, Process, ProgramRecord, RunStatus, Scenario,
    Settings, Trial, TrialRole, Warmup,
};
use chimera_studies::RunData;

use super::read::{Call, Shape};

/// Family of the local models, and of the served ones.
pub(super) const LOCAL: &str = "gpt2";
pub(super) const SERVED: &str = "served";

/// Some calls as a run. Blocks are the runs among them, in the order of their names.
pub(super) fn run(calls: &[&Call], shapes: &BTreeMap<String, Shape>) -> RunData {
    let runs: BTreeSet<&str> = calls.iter().map(|call| call.run.as_str()).collect();
    let blocks: BTreeMap<&str, u32> = runs.into_iter().zip(0..).collect();
    let trials = trials(calls, &blocks);
    let mut entries: BTreeMap<&str, (&'static str, f64)> = BTreeMap::new();
    for call in calls {
        let family = if call.is_served() { SERVED } else { LOCAL };
        entries.entry(&call.model).or_insert((family, call.millions));
    }
    RunData {
        settings: settings(calls, &entries, blocks.len() as u32),
        manifest: manifest(&entries, shapes, &trials),
        trials,
        quality: Vec::new(),
        damage: Vec::new(),
    }
}

fn trials(calls: &[&Call], blocks: &BTreeMap<&str, u32>) -> Vec<Trial> {
    let mut ordered = calls.to_vec();
    ordered.sort_by_key(|call| (blocks.get(call.run.as_str()).copied(), call.order));
    let (mut backends, mut models, mut cells) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    ordered
        .into_iter()
        .zip(0..)
        .map(|(call, id)| {
            let (run, model) = (call.run.as_str(), call.model.as_str());
            let mut firsts = Vec::new();
            if backends.insert((run, call.backend)) {
                firsts.push(First::Process);
            }
            if models.insert((run, call.backend, model)) {
                firsts.push(First::Model);
            }
            if cells.insert((run, call.backend, model, call.scenario.as_str(), call.batch)) {
                firsts.push(First::Shape);
            }
            trial(id, call, blocks.get(run).copied().unwrap_or_default(), firsts)
        })
        .collect()
}

fn trial(id: u32, call: &Call, block: u32, firsts: Vec<First>) -> Trial {
    let nanos = |ms: f64| (ms * 1e6).round() as u64;
    let lane = |timing: &super::read::Timing| {
        let (first, last) = (nanos(timing.prefill), nanos(timing.prefill + timing.decode_raw));
        Lane {
            prompt_tokens: Some((call.prompt / f64::from(call.batch)).round() as u32),
            generated: Some(call.generated.round() as u32 + 1),
            sent: Some(0),
            prompt_processed: Some(first),
            first_token: Some(first),
            last_token: Some(last),
            done: Some(last),
            ..Lane::default()
        }
    };
    // The lanes of a batch ran together and were timed as one.
    let lanes: Vec<Lane> =
        call.timing.iter().flat_map(|timing| vec![lane(timing); call.batch as usize]).collect();
    let reason = "no times, no tokens or no good end".to_owned();
    Trial {
        id,
        block,
        position: id,
        attempt: 1,
        role: if call.warm { TrialRole::FirstUse } else { TrialRole::Measured },
        factors: Factors {
            backend: call.backend.into(),
            model: call.model.as_str().into(),
            scenario: call.scenario.as_str().into(),
            budget: call.target.round() as u32,
            batch: call.batch,
            concurrency: 1,
            threads: 0,
        },
        load_ns: call.own_load.filter(|_| firsts.contains(&First::Model)).map(nanos),
        firsts,
        started_unix_ms: 0,
        outcome: if lanes.is_empty() {
            Outcome::Failed { code: "published-failure".to_owned(), reason }
        } else {
            Outcome::Completed
        },
        stamps: ClockSource::Engine,
        lanes,
        host: None,
        flags: Vec::new(),
    }
}

/// The record of a served call with what the server reports, and nothing else.
pub(super) fn server(call: &Call) -> Trial {
    let row = crate::Call {
        backend: call.backend,
        model: &call.model,
        scenario: &call.scenario,
        prompt_tokens: Some(call.prompt),
        generated: Some(call.generated),
        load_ms: call.load,
        prompt_eval_ms: call.timing.map(|timing| timing.prefill),
        eval_ms: call.timing.map(|timing| timing.decode_raw),
        failure: call.timing.is_none().then_some("no times, no tokens or no good end"),
        ..crate::Call::default()
    };
    crate::call(call.order, &row)
}

fn settings(calls: &[&Call], entries: &BTreeMap<&str, (&'static str, f64)>, blocks: u32) -> Settings {
    let names = |get: fn(&Call) -> &str| -> Vec<String> {
        let all: BTreeSet<&str> = calls.iter().map(|call| get(call)).collect();
        all.into_iter().map(str::to_owned).collect()
    };
    let numbers = |get: fn(&Call) -> u32| -> Vec<u32> {
        let all: BTreeSet<u32> = calls.iter().map(|call| get(call)).collect();
        all.into_iter().collect()
    };
    let models: Vec<&str> = by_size(entries);
    let scenarios = names(|call| &call.scenario);
    let design = Design {
        schema: 1,
        study: "tr121".to_owned(),
        title: "published calls".to_owned(),
        seed: 42,
        blocks,
        process: Process::default(),
        warmup: Warmup::default(),
        limits: Limits::default(),
        sampling: chimera_core::Sampling::default(),
        model: models.iter().map(|id| entry(id, entries)).collect(),
        scenario: scenarios
            .iter()
            .map(|id| Scenario { id: id.clone(), text: String::new(), tokens: None })
            .collect(),
        grid: vec![Grid {
            id: "published".to_owned(),
            backend: names(|call| call.backend),
            model: models.iter().map(|id| (*id).to_owned()).collect(),
            scenario: scenarios,
            budget: numbers(|call| call.target.round() as u32),
            batch: numbers(|call| call.batch),
            concurrency: vec![1],
        }],
        hypothesis: Vec::new(),
        published: Vec::new(),
        capacity: None,
        quality: None,
        profile: BTreeMap::new(),
    };
    Settings { design, overrides: Overrides::default(), leaves_out: None }
}

fn by_size<'c>(entries: &BTreeMap<&'c str, (&'static str, f64)>) -> Vec<&'c str> {
    let mut models: Vec<(&str, f64)> = entries.iter().map(|(id, (_, millions))| (*id, *millions)).collect();
    models.sort_by(|a, b| a.1.total_cmp(&b.1));
    models.into_iter().map(|(id, _)| id).collect()
}

fn entry(id: &str, entries: &BTreeMap<&str, (&'static str, f64)>) -> ModelEntry {
    ModelEntry {
        id: id.to_owned(),
        source: id.to_owned(),
        variant: "as published".to_owned(),
        family: entries.get(id).map_or("", |(family, _)| family).to_owned(),
        optional: false,
    }
}

fn manifest(
    entries: &BTreeMap<&str, (&'static str, f64)>,
    shapes: &BTreeMap<String, Shape>,
    trials: &[Trial],
) -> Manifest {
    let models = entries.iter().map(|(id, (family, millions))| {
        let backends: &[(&str, f64)] =
            if *family == SERVED { &[("ollama", 0.0)] } else { &[("cpu", 4.0), ("gpu", 2.0)] };
        let info = backends
            .iter()
            .map(|(backend, bytes)| ((*backend).to_owned(), info(id, *millions, shapes.get(*id), *bytes)))
            .collect();
        let record = ModelRecord {
            source: (*id).to_owned(),
            family: (*family).to_owned(),
            info,
            ..ModelRecord::default()
        };
        ((*id).to_owned(), record)
    });
    let failed = trials.iter().filter(|trial| trial.outcome != Outcome::Completed).count() as u64;
    let planned = trials.len() as u64;
    Manifest {
        format: FormatVersion::CURRENT,
        run_id: "published".to_owned(),
        study: "tr121".to_owned(),
        status: RunStatus::Complete,
        failure: None,
        created_unix_ms: 0,
        ended_unix_ms: None,
        design_sha256: String::new(),
        overrides: Overrides::default(),
        plan_digest: String::new(),
        seed: 42,
        shard: None,
        program: ProgramRecord::default(),
        host: HostRecord::default(),
        clocks: Clocks::default(),
        self_proof: None,
        noise: NoiseRecord::default(),
        backends: BTreeMap::new(),
        models: models.collect(),
        processes: Vec::new(),
        counts: Counts { planned, completed: planned - failed, failed, ..Counts::default() },
        hosts: BTreeMap::new(),
        merged_from: Vec::new(),
        repairs: Vec::new(),
    }
}

/// What the published tables say of a model: its shape where it is local, its label's size where it is served.
fn info(id: &str, millions: f64, shape: Option<&Shape>, bytes: f64) -> ModelInfo {
    let mut info = ModelInfo::named(id);
    let total = (millions * 1e6).round() as u64;
    info.parameters = Some(Parameters { total, active: total });
    if let Some(shape) = shape {
        info.layers = Some(shape.layers as u32);
        info.width = Some(shape.width as u32);
        info.weight_bytes_per_token = Some((shape.read_per_token() * bytes) as u64);
    }
    info
}
