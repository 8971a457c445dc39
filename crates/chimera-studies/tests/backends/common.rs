//! Runs made from a formula instead of a machine, with agreement, perplexity and failures as a test plants them.

use std::collections::{BTreeMap, BTreeSet};

use chimera_core::{Availability, Capabilities, ClockSource, FinishReason, ModelInfo, Parameters, Probe};
use chimera_records::{
    Agreement, Basis, ChunkScore, Clocks, Counts, Design, Factors, First, FormatVersion, HostRecord, Lane,
    Manifest, ModelRecord, NoiseRecord, Outcome, Overrides, Perplexity, Plan, ProgramRecord, QualityRecord,
    RunStatus, Settings, Trial, TrialRole,
};
use chimera_report::{Block, Cell, Findings, Table};
use chimera_studies::{RunData, Study};

/// What one trial does.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Seconds of prefill, and of one decode step.
    Takes(f64, f64),
    /// Fails with this code.
    Fails(&'static str),
}

/// What is true of a planted run.
pub(crate) struct Truth<'a> {
    /// What a trial with so many prompt tokens does in a block.
    pub(crate) law: &'a dyn Fn(&Factors, u32, u32) -> Does,
    /// Backends that are not there.
    pub(crate) absent: &'a [&'a str],
    /// Whether requests at once run beside each other; else they queue.
    pub(crate) parallel: bool,
    /// Share of positions at which a backend and model agree with the reference; none was not measured.
    pub(crate) top1: &'a dyn Fn(&str, &str) -> Option<f64>,
    /// Relative difference of a perplexity, none for the very bits of the reference.
    pub(crate) worse: &'a dyn Fn(&str, &str) -> Option<f64>,
    /// Anything else that was found out.
    pub(crate) more: Vec<QualityRecord>,
}

/// Every engine alike, at one time per token; PyTorch and TensorRT are not there.
pub(crate) fn plain<'a>(law: &'a dyn Fn(&Factors, u32, u32) -> Does) -> Truth<'a> {
    Truth {
        law,
        absent: &["pytorch", "tensorrt"],
        parallel: false,
        top1: &|_, _| Some(1.0),
        worse: &|_, _| Some(0.0001),
        more: Vec::new(),
    }
}

/// Parameters of the designs' sources.
pub(crate) fn parameters(source: &str) -> u64 {
    let all = [
        ("tiny-gpt2", 102_714),
        ("gpt2-5m", 5_036_720),
        ("gpt2-25m", 25_016_064),
        ("gpt2-45m", 45_171_200),
        ("gpt2-50m", 51_475_968),
        ("gpt2-75m", 74_824_704),
        ("gpt2-100m", 96_088_320),
        ("gpt2", 124_439_808),
        ("smollm2-135m", 134_515_008),
    ];
    all.iter()
        .find(|(name, _)| *name == source)
        .map_or_else(|| panic!("unknown source {source}"), |(_, n)| *n)
}

fn prompt_tokens(scenario: &str) -> u32 {
    if let Some(step) = scenario.strip_prefix("step-") {
        return step.parse().expect("a number of tokens");
    }
    let known = BTreeMap::from([("micro", 1), ("short", 9), ("medium", 17), ("long", 27), ("stress", 51)]);
    *known.get(scenario.trim_end_matches("-2")).unwrap_or_else(|| panic!("unknown scenario {scenario}"))
}

/// A small disturbance that depends on backend, model and block alone.
pub(crate) fn wobble(factors: &Factors, block: u32) -> f64 {
    let text: u32 = factors.backend.bytes().chain(factors.model.bytes()).map(u32::from).sum();
    let mix = (f64::from(block) * 12.9898 + f64::from(text)).sin() * 43_758.545_3;
    1.0 + 0.01 * (mix - mix.floor() - 0.5)
}

/// The settings of a profile.
pub(crate) fn settings(study: &dyn Study, profile: &str, blocks: Option<u32>) -> Settings {
    let mut design = Design::parse(study.design()).expect("the design");
    if let Some(profile) = design.profile.get_mut(profile) {
        profile.blocks = blocks.or(profile.blocks);
    }
    let overrides = Overrides { profile: Some(profile.into()), ..Overrides::default() };
    design.resolve(&overrides).expect("the profile")
}

/// Runs the plan of a study on a truth.
pub(crate) fn planted(study: &dyn Study, profile: &str, blocks: Option<u32>, truth: Truth<'_>) -> RunData {
    let settings = settings(study, profile, blocks);
    let plan = Plan::new(&settings).expect("a plan");
    let mut trials = Vec::new();
    for block in &plan.blocks {
        let (mut models, mut shapes) = (BTreeSet::new(), BTreeSet::new());
        for (position, planned) in (0_u32..).zip(&block.trials) {
            let factors = plan.factors(planned, 2).expect("a cell");
            let there = !truth.absent.contains(&&*factors.backend);
            let tokens = prompt_tokens(&factors.scenario);
            let does = if there { Some((truth.law)(&factors, tokens, block.index)) } else { None };
            let mut firsts = Vec::new();
            if matches!(does, Some(Does::Takes(..))) {
                if models.is_empty() {
                    firsts.push(First::Process);
                }
                if models.insert((factors.backend.clone(), factors.model.clone())) {
                    firsts.push(First::Model);
                }
                let shape = (factors.backend.clone(), factors.model.clone(), factors.scenario.clone());
                if shapes.insert((shape, factors.batch, factors.concurrency)) {
                    firsts.push(First::Shape);
                }
            }
            let slow = if firsts.is_empty() { 1.0 } else { 3.0 };
            let lanes = match does {
                Some(Does::Takes(prefill, step)) => {
                    lanes(&factors, tokens, prefill * slow, step, truth.parallel)
                }
                _ => Vec::new(),
            };
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
                outcome: match does {
                    None => Outcome::Skipped { reason: "backend is not ready".into() },
                    Some(Does::Fails(code)) => {
                        Outcome::Failed { code: code.into(), reason: "planted".into() }
                    }
                    Some(Does::Takes(..)) => Outcome::Completed,
                },
                stamps: ClockSource::Engine,
                lanes,
                host: None,
                flags: Vec::new(),
            });
        }
    }
    let quality = quality(&settings, &truth);
    let manifest = manifest(study.id(), &settings, &plan, &truth, trials.len());
    RunData { settings, manifest, trials, quality, damage: Vec::new() }
}

fn lanes(factors: &Factors, tokens: u32, prefill: f64, step: f64, parallel: bool) -> Vec<Lane> {
    let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
    let sent = 1_000_000;
    let decode = nanos(step * f64::from(factors.budget.saturating_sub(1)));
    let whole = nanos(prefill) + decode;
    let count = factors.batch * factors.concurrency;
    (0..count)
        .map(|lane| {
            let start = if parallel { sent } else { sent + u64::from(lane) * whole };
            let first = start + nanos(prefill);
            let generated = factors.budget > 0;
            Lane {
                prompt_tokens: Some(tokens),
                cached_tokens: Some(0),
                generated: Some(factors.budget),
                finish: Some(FinishReason::Length),
                sent: Some(sent),
                prompt_processed: Some(first),
                first_token: generated.then_some(first),
                last_token: generated.then_some(first + decode),
                done: Some(first + decode),
                output: Some("0011223344556677".into()),
                ..Lane::default()
            }
        })
        .collect()
}

/// Cells that the settings ask for, by backend and model.
fn arms(settings: &Settings) -> BTreeSet<(String, String)> {
    let grids = settings.design.grid.iter();
    grids
        .flat_map(|grid| {
            grid.backend
                .iter()
                .flat_map(|backend| grid.model.iter().map(|model| (backend.clone(), model.clone())))
        })
        .collect()
}

fn quality(settings: &Settings, truth: &Truth<'_>) -> Vec<QualityRecord> {
    let asked = settings.design.quality.as_ref().expect("a quality table");
    let mut records = Vec::new();
    for (backend, model) in arms(settings) {
        if truth.absent.contains(&backend.as_str()) {
            continue;
        }
        let entry = settings.design.model(&model).expect("a model");
        let Some(reference) = asked.reference_of(&settings.design, entry) else { continue };
        if let Some(top1) = (truth.top1)(&backend, &model) {
            for scenario in &asked.scenarios {
                records.push(QualityRecord::Agreement(Agreement {
                    backend: backend.clone(),
                    model: model.clone(),
                    reference_backend: asked.reference.clone(),
                    reference_model: reference.id.clone(),
                    scenario: scenario.clone(),
                    basis: Basis::Logits,
                    positions: 40,
                    top1_agreement: top1,
                    max_abs_difference: Some(1e-4),
                    mean_kl: Some(1e-9),
                }));
            }
        }
        let is_reference = backend == asked.reference && model == reference.id;
        let worse = if is_reference { None } else { (truth.worse)(&backend, &model) };
        let chunks = (0..asked.chunks.max(6)).map(|chunk| {
            let base = 300.0 + 10.0 * f64::from(chunk % 5);
            let noise = if chunk % 2 == 0 { 0.002 } else { -0.002 };
            ChunkScore { tokens: 100, nll: worse.map_or(base, |share| base + 100.0 * share.ln_1p() + noise) }
        });
        records.push(QualityRecord::Perplexity(Perplexity {
            backend,
            model,
            text: asked.text.clone(),
            text_sha256: asked.sha256.clone(),
            chunk: asked.chunk,
            stride: asked.chunk,
            tokens_digest: entry.source.clone(),
            chunks: chunks.collect(),
            seconds: 1.0,
        }));
    }
    records.extend(truth.more.iter().cloned());
    records
}

fn manifest(study: &str, settings: &Settings, plan: &Plan, truth: &Truth<'_>, trials: usize) -> Manifest {
    let mut models = BTreeMap::new();
    let mut backends = BTreeMap::new();
    for (backend, model) in arms(settings) {
        let entry = settings.design.model(&model).expect("a model");
        let absent = truth.absent.contains(&backend.as_str());
        let availability = if absent {
            Availability::NotCompiled { reason: "no worker".into(), remedy: "none yet".into() }
        } else {
            Availability::Ready
        };
        let capabilities = Capabilities::default();
        backends.insert(
            backend.clone(),
            Probe { availability, capabilities, version: None, details: Vec::new() },
        );
        let record = models.entry(model.clone()).or_insert_with(|| ModelRecord {
            source: entry.source.clone(),
            variant: entry.variant.clone(),
            family: entry.family.clone(),
            provenance: Some(
                if entry.family == "gpt2" {
                    "random weights, generator g, seed 1"
                } else {
                    "converted from x"
                }
                .into(),
            ),
            ..ModelRecord::default()
        });
        if !absent {
            let total = parameters(&entry.source);
            let mut info = ModelInfo::named(model.as_str());
            info.parameters = Some(Parameters { total, active: total });
            info.vocabulary = Some(50_257);
            record.info.insert(backend, info);
        }
    }
    Manifest {
        format: FormatVersion::CURRENT,
        run_id: "planted".into(),
        study: study.into(),
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
        host: HostRecord::default(),
        clocks: Clocks::default(),
        hosts: BTreeMap::new(),
        self_proof: None,
        noise: NoiseRecord::default(),
        backends,
        models,
        processes: Vec::new(),
        counts: Counts { planned: trials as u64, ..Counts::default() },
        merged_from: Vec::new(),
        repairs: Vec::new(),
    }
}

/// Whether any trial of the run measures this backend on this model and is steady.
pub(crate) fn measured(run: &RunData, backend: &str, model: &str) -> bool {
    run.trials.iter().any(|trial| {
        trial.role == TrialRole::Measured
            && trial.is_steady()
            && *trial.factors.backend == *backend
            && *trial.factors.model == *model
    })
}

pub(crate) fn table<'a>(findings: &'a Findings, id: &str) -> &'a Table {
    findings.tables().find(|table| table.id == id).unwrap_or_else(|| panic!("no table {id}"))
}

pub(crate) fn cell<'a>(table: &'a Table, row: &'a [Cell], column: &str) -> &'a Cell {
    let place =
        table.columns.iter().position(|c| c.id == column).unwrap_or_else(|| panic!("no column {column}"));
    &row[place]
}

/// The one row whose columns hold these texts.
pub(crate) fn row<'a>(table: &'a Table, wanted: &[(&str, &str)]) -> &'a [Cell] {
    let holds =
        |row: &&Vec<Cell>| wanted.iter().all(|(column, text)| *cell(table, row, column) == Cell::from(*text));
    let found: Vec<&Vec<Cell>> = table.rows.iter().filter(holds).collect();
    let [one] = found.as_slice() else { panic!("{} rows of {} hold {wanted:?}", found.len(), table.id) };
    one
}

pub(crate) fn estimate(cell: &Cell) -> &chimera_stats::Estimate {
    match cell {
        Cell::Estimate(estimate) => estimate,
        other => panic!("{other:?} is no estimate"),
    }
}

pub(crate) fn text(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

/// All words of a section outside its tables.
pub(crate) fn words(findings: &Findings, section: &str) -> String {
    let section = findings.draft().sections.iter().find(|s| s.id == section).expect("the section");
    let blocks = section.blocks.iter().filter_map(|block| match block {
        Block::Paragraph(text) | Block::Note { text, .. } => Some(text.clone()),
        Block::List(items) => Some(items.join("\n")),
        _ => None,
    });
    blocks.collect::<Vec<_>>().join("\n")
}
