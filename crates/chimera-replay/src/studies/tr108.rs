//! TR108: which local model, quantisation and Ollama options give the most tokens per second and the shortest time to the
//! first token. Every cell of the sweeps was run once, in nested-loop order; so the options' effects are judged over the
//! other options, and every first call after a change of `num_gpu` or `num_ctx` is a reload of the runner, not a property
//! of the temperature that happened to come first.

use std::collections::BTreeMap;

use chimera_records::{Metric, Trial};
use chimera_report::{Cell, Column, Headline, Section, Table as Printed, Verdict, literal};
use chimera_stats::{Sample, hypothesis};

use super::shared::{cell, median, of_sums, plain_mean};
use crate::{ALPHA, Artifacts, Call, Limits, Replay, ReplayError, Replayed, Row, Table, Values, call};

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr108];

/// The study.
struct Tr108;

const QUANTS: &str = "agents/tr108/llama31_quant_bench.csv";
const SUITE: &str = "agents/tr108/prompt_suite_successful_runs.csv";
/// Short name, baseline, sweep.
const MODELS: &[(&str, Option<&str>, &str)] = &[
    ("llama3.1-q4_0", None, "agents/tr108/llama31_q4_0_param_tuning.csv"),
    (
        "gemma3",
        Some("agents/tr108/gemma3_latest_baseline.csv"),
        "agents/tr108/gemma3_latest_param_tuning.csv",
    ),
    (
        "gemma3-270m",
        Some("agents/tr108/gemma3_270m_baseline.csv"),
        "agents/tr108/gemma3_270m_param_tuning.csv",
    ),
    (
        "gemma3-1b-qat",
        Some("agents/tr108/gemma3_1b_qat_baseline.csv"),
        "agents/tr108/gemma3_1b_qat_param_tuning.csv",
    ),
];
const TAGS: &[&str] = &["q4_0", "q5_K_M", "q8_0"];
const COLUMNS: &[&str] = &["ttft_s", "tokens_s", "load_s", "prompt_eval_s", "eval_s", "eval_count", "error"];

impl Replay for Tr108 {
    fn id(&self) -> &'static str {
        "tr108"
    }

    fn title(&self) -> &'static str {
        "Which local model, quantisation and Ollama options are fastest?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[
            QUANTS,
            SUITE,
            "agents/tr108/llama31_q4_0_param_tuning.csv",
            "agents/tr108/gemma3_latest_baseline.csv",
            "agents/tr108/gemma3_latest_param_tuning.csv",
            "agents/tr108/gemma3_270m_baseline.csv",
            "agents/tr108/gemma3_270m_param_tuning.csv",
            "agents/tr108/gemma3_1b_qat_baseline.csv",
            "agents/tr108/gemma3_1b_qat_param_tuning.csv",
        ]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut sections = vec![quantisations(data, &mut values)?];
        let (baselines, sweeps) = models(data, &mut values)?;
        sections.push(baselines);
        sections.push(sweeps);
        let q4 = values.point("legacy.tokens_s.mean.q4_0");
        if let Some((gemma, q4)) = values.point("legacy.tokens_s.mean.gemma3").zip(q4) {
            values.put("legacy.gemma_over_q4", "%", 100.0 * (gemma / q4 - 1.0));
        }
        let headline = headline(&values);
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// A call that ended well, as a live run would have recorded it.
fn record(id: u32, row: &Row<'_>) -> Result<Option<Trial>, ReplayError> {
    let error = row.text("error")?;
    let ms = |column: &str| Ok::<_, ReplayError>(row.maybe(column)?.map(|seconds| seconds * 1e3));
    let eval = ms("eval_s")?;
    if !error.is_empty() || eval.is_none() {
        return Ok(None);
    }
    Ok(Some(call(
        id,
        &Call {
            backend: "ollama",
            block: id,
            generated: row.maybe("eval_count")?,
            load_ms: ms("load_s")?,
            prompt_eval_ms: ms("prompt_eval_s")?,
            eval_ms: eval,
            ..Call::default()
        },
    )))
}

fn records<'t>(rows: impl Iterator<Item = Row<'t>>) -> Result<Vec<Option<Trial>>, ReplayError> {
    (0_u32..).zip(rows).map(|(id, row)| record(id, &row)).collect()
}

/// Decode rate as tokens over seconds of all calls, over prompts.
fn rate(trials: &[Trial]) -> Result<chimera_stats::Estimate, chimera_stats::StatsError> {
    let (tokens, seconds): (Vec<f64>, Vec<f64>) = trials
        .iter()
        .filter_map(|trial| {
            Some((f64::from(trial.lanes.first()?.generated?), Metric::DecodeServer.of(trial)?))
        })
        .unzip();
    of_sums(&tokens, &seconds, "prompt")
}

fn quantisations(data: &Artifacts, values: &mut Values) -> Result<Section, ReplayError> {
    let table = data.table(QUANTS, &["tag", "prompt_index"])?;
    for column in COLUMNS {
        if !table.has(column) {
            return Err(table.wrong(format!("there is no column `{column}`")));
        }
    }
    let mut printed = Printed::new("quantisations", "Llama 3.1 8B by quantisation")
        .caption(
            "Five prompts, one call each. Mean of rates and mean TTFT (load plus prompt evaluation) as published; tokens over \
             seconds with its interval over prompts by ours. TTFT of the first call holds the model's load.",
        )
        .column(Column::text("tag", "Quantisation"))
        .column(Column::number("legacy-rate", "Mean of rates", "tok/s"))
        .column(Column::number("rate", "Ratio of sums", "tok/s"))
        .column(Column::number("legacy-ttft", "Mean TTFT", "s"))
        .column(Column::number("first", "First call's TTFT", "s"))
        .column(Column::number("warm", "Median of the others", "s"));
    for tag in TAGS {
        let rows: Vec<Row<'_>> =
            table.rows().filter(|row| row.text("tag").is_ok_and(|t| t == *tag)).collect();
        if rows.is_empty() {
            return Err(table.wrong(format!("no row of {tag}")));
        }
        let rates = rows.iter().map(|row| row.number("tokens_s")).collect::<Result<Vec<f64>, _>>()?;
        let ttft = rows.iter().map(|row| row.number("ttft_s")).collect::<Result<Vec<f64>, _>>()?;
        let place = || ReplayError::at(format!("quantisation {tag}"));
        let sorted = Sample::new(&rates, "prompt").map_err(place())?.sorted();
        let sorted_ttft = Sample::new(&ttft, "prompt").map_err(place())?.sorted();
        values.put(format!("legacy.tokens_s.mean.{tag}"), "tok/s", plain_mean(&rates));
        values.put(format!("legacy.tokens_s.p05.{tag}"), "tok/s", sorted.quantile(0.05).map_err(place())?);
        values.put(format!("legacy.tokens_s.p95.{tag}"), "tok/s", sorted.quantile(0.95).map_err(place())?);
        values.put(format!("legacy.ttft_s.mean.{tag}"), "s", plain_mean(&ttft));
        values.put(format!("legacy.ttft_s.p95.{tag}"), "s", sorted_ttft.quantile(0.95).map_err(place())?);
        for row in &rows {
            let name = format!("legacy.eval_count.{tag}.prompt{}", row.text("prompt_index")?);
            values.put(name, "tokens", row.number("eval_count")?);
        }
        let warm = Sample::new(ttft.get(1..).unwrap_or_default(), "prompt").map(|s| s.median());
        if let Ok(warm) = warm {
            values.put(format!("ttft.server.warm_median.{tag}"), "s", warm);
        }
        let first = ttft.first().copied().unwrap_or(f64::NAN);
        values.put(format!("ttft.server.first.{tag}"), "s", first);
        let trials: Vec<Trial> = records(rows.into_iter())?.into_iter().flatten().collect();
        let ours = rate(&trials);
        if let Ok(estimate) = &ours {
            values.put_estimate(format!("decode_rate.server.{tag}"), "tok/s", estimate.clone());
        }
        printed.push_row([
            (*tag).into(),
            plain_mean(&rates).into(),
            cell(ours),
            plain_mean(&ttft).into(),
            first.into(),
            Cell::or_missing(warm.ok(), "one prompt"),
        ]);
    }
    Ok(Section::new("quantisations", "Quantisations").table(printed))
}

/// Rates of one sweep by the levels of an option, in the order of the file.
fn levels(table: &Table, option: &str) -> Result<BTreeMap<String, Vec<f64>>, ReplayError> {
    super::shared::group(table, |row| Ok(row.text(option)?.to_owned()), |row| row.maybe("tokens_s"))
}

fn anova(groups: &BTreeMap<String, Vec<f64>>) -> Option<f64> {
    let samples: Vec<Sample<'_>> =
        groups.values().map(|values| Sample::new(values, "cell")).collect::<Result<_, _>>().ok()?;
    hypothesis::one_way_anova(&samples).ok()?.p(ALPHA).ok()
}

fn models(data: &Artifacts, values: &mut Values) -> Result<(Section, Section), ReplayError> {
    let mut baselines = Printed::new("baselines", "Baselines by model")
        .caption("Five prompts, one call each.")
        .column(Column::text("model", "Model"))
        .column(Column::number("legacy-rate", "Mean of rates", "tok/s"))
        .column(Column::number("rate", "Ratio of sums", "tok/s"))
        .column(Column::number("legacy-ttft", "Mean TTFT", "s"));
    let mut sweeps = Printed::new("sweeps", "What the options do")
        .caption(
            "36 cells, one call each. p: one-way analysis of variance of the rate over the levels of one option, Holm-adjusted \
             over this table; cells are the replicates. First, others: median TTFT of the calls that follow a change of \
             `num_gpu` or `num_ctx`, and of all others.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::number("cells", "Cells", ""))
        .column(Column::number("failed", "Failed", ""))
        .column(Column::number("best", "Best cell", "tok/s"))
        .column(Column::text("best-cell", "num_gpu / num_ctx / temperature"))
        .column(Column::number("range", "Best over mean", "%"))
        .column(Column::number("p-gpu", "p of num_gpu", ""))
        .column(Column::number("p-ctx", "p of num_ctx", ""))
        .column(Column::number("p-temperature", "p of temperature", ""))
        .column(Column::number("first", "TTFT first", "s"))
        .column(Column::number("others", "TTFT others", "s"));
    let mut tests: Vec<(String, Option<f64>)> = Vec::new();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (model, baseline, sweep) in MODELS {
        if let Some(path) = baseline {
            let table = data.table(path, COLUMNS)?;
            let rates = table.numbers("tokens_s")?;
            let ttft = table.numbers("ttft_s")?;
            values.put(format!("legacy.tokens_s.mean.{model}"), "tok/s", plain_mean(&rates));
            values.put(format!("legacy.ttft_s.mean.{model}"), "s", plain_mean(&ttft));
            let trials: Vec<Trial> = records(table.rows())?.into_iter().flatten().collect();
            let ours = rate(&trials);
            if let Ok(estimate) = &ours {
                values.put_estimate(format!("decode_rate.server.{model}"), "tok/s", estimate.clone());
            }
            baselines.push_row([
                (*model).into(),
                plain_mean(&rates).into(),
                cell(ours),
                plain_mean(&ttft).into(),
            ]);
        }
        let table = data.table(sweep, COLUMNS)?;
        rows.push(one_sweep(model, &table, values, &mut tests)?);
    }
    let raw: Vec<Option<f64>> = tests.iter().map(|(_, p)| *p).collect();
    let adjusted = hypothesis::holm_of(&raw).map_err(ReplayError::at("options"))?;
    let mut judged: BTreeMap<String, f64> = BTreeMap::new();
    for ((name, _), p) in tests.into_iter().zip(adjusted) {
        if let Some(p) = p {
            values.put(format!("p_holm.{name}"), "", p);
            judged.insert(name, p);
        }
    }
    for (row, (model, ..)) in rows.iter_mut().zip(MODELS) {
        for (place, option) in [(6, "num_gpu"), (7, "num_ctx"), (8, "temperature")] {
            if let Some(slot) = row.get_mut(place) {
                *slot = Cell::or_missing(judged.get(&format!("{option}.{model}")).copied(), "too few cells");
            }
        }
    }
    for row in rows {
        sweeps.push_row(row);
    }
    Ok((
        Section::new("baselines", "Baselines").table(baselines),
        Section::new("sweeps", "Options").table(sweeps),
    ))
}

/// The row of one sweep, its p values still open.
fn one_sweep(
    model: &str,
    table: &Table,
    values: &mut Values,
    tests: &mut Vec<(String, Option<f64>)>,
) -> Result<Vec<Cell>, ReplayError> {
    let failed = records(table.rows())?.iter().filter(|trial| trial.is_none()).count();
    let mut best: Option<(f64, String)> = None;
    let mut rates = Vec::new();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    let mut before: Option<(&str, &str)> = None;
    for row in table.rows() {
        let options = (row.text("num_gpu")?, row.text("num_ctx")?);
        // A change of either makes the server reload its runner at the next call.
        let reload = before != Some(options);
        before = Some(options);
        if let Some(ttft) = row.maybe("ttft_s")? {
            if reload { first.push(ttft) } else { others.push(ttft) }
        }
        let Some(rate) = row.maybe("tokens_s")? else { continue };
        rates.push(rate);
        if best.as_ref().is_none_or(|(known, _)| rate > *known) {
            best = Some((rate, format!("{} / {} / {}", options.0, options.1, row.text("temperature")?)));
        }
    }
    let place = || ReplayError::at(format!("sweep of {model}"));
    let sample = Sample::new(&rates, "cell").map_err(place())?;
    let (best, best_cell) = best.unwrap_or((f64::NAN, "–".to_owned()));
    values.put(format!("legacy.sweep.best.{model}"), "tok/s", best);
    values.put(format!("legacy.sweep.mean.{model}"), "tok/s", sample.mean());
    values.put(format!("legacy.sweep.sd.{model}"), "tok/s", sample.sd().map_err(place())?);
    values.put(format!("cells.failed.{model}"), "", failed as f64);
    let (first, others) = (median(&first), median(&others));
    if let Some((first, others)) = first.zip(others) {
        values.put(format!("ttft.server.after_reload.{model}"), "s", first);
        values.put(format!("ttft.server.no_reload.{model}"), "s", others);
        values.put(format!("ttft.server.reload_ratio.{model}"), "", first / others);
    }
    for option in ["num_gpu", "num_ctx", "temperature"] {
        let p = anova(&levels(table, option)?);
        match p {
            Some(p) => values.put(format!("p.{option}.{model}"), "", p),
            None => values.lacks(format!("p.{option}.{model}"), "too few cells, or no noise between them"),
        }
        tests.push((format!("{option}.{model}"), p));
    }
    const OPEN: &str = "not judged yet";
    Ok(vec![
        model.into(),
        table.len().into(),
        failed.into(),
        best.into(),
        best_cell.into(),
        (100.0 * (best / sample.mean() - 1.0)).into(),
        Cell::missing(OPEN),
        Cell::missing(OPEN),
        Cell::missing(OPEN),
        Cell::or_missing(first, "no call follows a change"),
        Cell::or_missing(others, "every call follows a change"),
    ])
}

fn headline(values: &Values) -> Vec<Headline> {
    let mut headline = Vec::new();
    if let Some(p) = values.point("p_holm.num_gpu.llama3.1-q4_0") {
        let verdict = if p <= ALPHA { Verdict::Supported } else { Verdict::Inconclusive };
        headline.push(
            Headline::new(
                "num-gpu",
                "Does num_gpu decide the rate of Llama 3.1 q4_0?",
                verdict,
                "Holm-adjusted p of the published claim; every level of the sweep holds all layers on the GPU.",
            )
            .value(p, ""),
        );
    }
    if let Some(ratio) = values.point("ttft.server.reload_ratio.llama3.1-q4_0") {
        headline.push(
            Headline::new(
                "temperature",
                "Does a temperature of 0.2 lengthen the time to the first token?",
                Verdict::NotMeasured,
                literal(
                    "Temperature and order cannot be told apart: 0.2 always came first after a reload. The number is the median \
                     TTFT after a reload over that of all other calls.",
                ),
            )
            .value(ratio, ""),
        );
    }
    headline
}

fn limits() -> Limits {
    Limits {
        can: vec![
            "What a server reported for these calls, on one laptop, on the days they were made.".into(),
            "That quantisations of one model differ in decode rate by more than their prompts do.".into(),
        ],
        cannot: vec![
            "An effect of `num_gpu`: the levels 40 to 999 all hold every layer of these models, so the factor has one level."
                .into(),
            "An effect of temperature on the time to the first token: it is confounded with the order, 0.2 came first in each \
             block and paid the reload."
                .into(),
            "Which of 36 cells is best: each was run once, and the best of 36 is partly luck.".into(),
            "A higher time to the first token by quantisation: the means hold one cold load each.".into(),
            "What failed cells would have shown: two cells of the smallest model timed out and are counted, not averaged."
                .into(),
        ],
    }
}
