//! Cold start by kind: start of the process, load of the model, first generation of a process, of a model and of a
//! shape, each apart from steady state and from each other. Cold and warm values are never averaged.

use std::collections::BTreeMap;

use chimera_records::{First, Metric, Trial};
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::{Estimate, Sample};

use super::{both, cell, geometric, mean};
use crate::{
    Arm, CellKey, Estimands, Index, LEVEL, PerBlock, StudyError,
    data::{per_block, seen},
};

/// The section for one arm; first-use ratios of `family` go into the estimands.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(
    index: &Index<'_>,
    arm: Arm<'_>,
    family: &str,
    estimands: &mut Estimands,
) -> Result<Section, StudyError> {
    let section = Section::new("cold", "Cold start").paragraph(
        "What a first use costs depends on what is used for the first time. The start of the process and the load of a \
         model are times of their own. The first generation of a process, of a model and of a prompt shape are compared \
         with the steady value of the same cell in the same block, so that the ratio is free of the block.",
    );
    let section = section.table(starts(index, arm)?).table(ratios(index, arm, family, estimands)?);
    Ok(section.note(
        NoteKind::Definition,
        "`warmup_ratio`: prefill of the first use over the steady prefill of the same block. The first trial of a \
         process is also the first of its model and shape; it is counted under `process` only, and the first of a model \
         under `model` only.",
    ))
}

fn starts(index: &Index<'_>, arm: Arm<'_>) -> Result<Table, StudyError> {
    let at = || StudyError::at("cold start");
    let mut table = Table::new("starts", "Process start and model load")
        .caption(
            "Geometric mean over blocks, t interval on logarithms. A load holds the weights and the tokenizer. It reads files that the operating system may have in \
             memory: it is not a load from a cold disk.",
        )
        .column(Column::text("what", "What"))
        .column(Column::text("model", "Model"))
        .column(Column::number("time", "Time", "s"))
        .column(Column::number("blocks", "Blocks", ""));
    let processes = index.run().manifest.processes.iter();
    let startup: PerBlock = processes
        .filter(|process| process.threads == arm.threads)
        .filter_map(|process| Some((process.block, process.startup_ns? as f64 / 1e9)))
        .collect();
    table.push_row([
        "process, to the readiness of the harness".into(),
        Cell::missing("belongs to no model"),
        cell(geometric(&startup).map_err(at())?, "not recorded"),
        startup.len().into(),
    ]);
    let mut loads: BTreeMap<&str, Vec<&Trial>> = BTreeMap::new();
    for trial in &index.run().trials {
        if *trial.factors.backend == *arm.backend
            && trial.factors.threads == arm.threads
            && trial.load_ns.is_some()
        {
            loads.entry(&trial.factors.model).or_default().push(trial);
        }
    }
    for model in &index.run().settings.design.model {
        if let Some(trials) = loads.get(model.id.as_str()) {
            let load = per_block(trials, |trial| trial.load_ns.map(|nanos| nanos as f64 / 1e9));
            table.push_row([
                "model load".into(),
                model.id.as_str().into(),
                cell(geometric(&load).map_err(at())?, "not recorded"),
                load.len().into(),
            ]);
        }
    }
    Ok(table)
}

/// Kinds of first use, the strongest first: a trial counts under one of them only.
const KINDS: [(First, &str); 3] =
    [(First::Process, "process"), (First::Model, "model"), (First::Shape, "shape")];

fn ratios(
    index: &Index<'_>,
    arm: Arm<'_>,
    family: &str,
    estimands: &mut Estimands,
) -> Result<Table, StudyError> {
    let at = || StudyError::at("first-use ratios");
    let design = &index.run().settings.design;
    // kind -> (model, scenario) -> block -> ratio
    let mut found: BTreeMap<&str, BTreeMap<(&str, &str), PerBlock>> = BTreeMap::new();
    for (key, trials) in index.first_uses().filter(|(key, _)| key.arm == arm && key.is_solo()) {
        if design.model(key.model).is_none_or(|model| model.family != family) {
            continue;
        }
        let steady = steady_prefill(index, key);
        for (first, kind) in KINDS {
            let of_kind: Vec<&Trial> =
                trials.iter().copied().filter(|trial| strongest(trial) == Some(first)).collect();
            let cold = per_block(&of_kind, |trial| seen(Metric::PrefillEngine, trial));
            let ratio = both(&cold, &steady, |cold, steady| cold / steady);
            if !ratio.is_empty() {
                found.entry(kind).or_default().entry((key.model, key.scenario)).or_default().extend(ratio);
            }
        }
    }
    let mut table = Table::new("first-use", "First use over steady state: prefill")
        .caption(
            "Ratio of prefill times within a block. Median and extremes over all first uses of that kind (models, prompts \
             and blocks); the interval of the median is by order statistics.",
        )
        .column(Column::text("kind", "First use of a"))
        .column(Column::number("n", "First uses", ""))
        .column(Column::number("median", "Median ratio", ""))
        .column(Column::number("smallest", "Smallest", ""))
        .column(Column::number("largest", "Largest", ""))
        .column(Column::text("where", "Largest at"));
    for (_, kind) in KINDS {
        let cells = found.get(kind);
        let all: Vec<f64> =
            cells.into_iter().flat_map(BTreeMap::values).flat_map(PerBlock::values).copied().collect();
        if all.is_empty() {
            let why = || Cell::missing("no first use of this kind has a steady value in its block");
            table.push_row([kind.into(), 0_u32.into(), why(), why(), why(), why()]);
            continue;
        }
        let sample = Sample::new(&all, "first use").map_err(at())?;
        let median = sample.sorted().quantile_with_interval(0.5, LEVEL).map_err(at())?;
        let (mut largest, mut place) = (f64::NEG_INFINITY, String::new());
        for ((model, scenario), ratios) in cells.into_iter().flatten() {
            for (block, ratio) in ratios {
                if *ratio > largest {
                    (largest, place) = (*ratio, format!("{model}, {scenario}, block {}", block + 1));
                }
            }
        }
        table.push_row([
            kind.into(),
            all.len().into(),
            median.into(),
            sample.min().into(),
            largest.into(),
            place.into(),
        ]);
    }
    all_kinds(&found, estimands).map_err(at())?;
    Ok(table)
}

/// The published figures mix all kinds: median and maximum over cells, per block.
fn all_kinds(
    found: &BTreeMap<&str, BTreeMap<(&str, &str), PerBlock>>,
    estimands: &mut Estimands,
) -> Result<(), chimera_stats::StatsError> {
    let mut by_block: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (block, ratio) in found.values().flat_map(BTreeMap::values).flatten() {
        by_block.entry(*block).or_default().push(*ratio);
    }
    let mut medians = PerBlock::new();
    let mut largest = PerBlock::new();
    for (block, ratios) in by_block {
        let sample = Sample::new(&ratios, "first use")?;
        medians.insert(block, sample.median());
        largest.insert(block, sample.max());
    }
    for (name, values, method) in [
        ("warmup.prefill.median", medians, "median over first uses, mean over blocks, t"),
        ("warmup.prefill.max", largest, "maximum over first uses, mean over blocks, t"),
    ] {
        if let Some(estimate) = mean(&values)? {
            estimands.put(name, Estimate { method: method.into(), ..estimate });
        }
    }
    Ok(())
}

fn strongest(trial: &Trial) -> Option<First> {
    KINDS.iter().map(|(first, _)| *first).find(|first| trial.firsts.contains(first))
}

/// Steady prefill of the same model, prompt and batch at any budget: prefill does not depend on the budget.
fn steady_prefill(index: &Index<'_>, key: &CellKey<'_>) -> PerBlock {
    let mut trials = Vec::new();
    for (other, steady) in index.cells() {
        if (CellKey { budget: key.budget, ..*other }) == *key {
            trials.extend_from_slice(steady);
        }
    }
    per_block(&trials, |trial| seen(Metric::PrefillEngine, trial))
}
