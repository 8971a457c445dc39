//! TR121: how latency grows with model size, from the published calls of eight runs. Exponents with and without each
//! model, prefill that is a cache hit, first uses, decode fractions, prices per kind of token. The calls become records of
//! live runs in `records`, so that `Scaling` and the sections of live reports do the analysis. Models and prompts are the
//! report's; nothing here separates parameters from depth, or a mixture of experts from its size on disk.

mod cells;
mod doubts;
mod lab;
mod legacy;
mod read;
mod records;
mod tables;

use chimera_report::{Headline, Section, Verdict};

use super::family::{Corrected, Family, cell, shown};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const CALLS: &str = "cost_scaling/tr121/tr121_calls.csv";
const SHAPES: &str = "cost_scaling/tr121/hf_architectures.csv";

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr121, &Draft];

struct Tr121;

impl Replay for Tr121 {
    fn id(&self) -> &'static str {
        "tr121"
    }

    fn title(&self) -> &'static str {
        "How do prefill and decode grow with model size, and what is the price of a token?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[CALLS, SHAPES]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let data = read::read(data)?;
        let cells = cells::cells(&data.calls);
        let mut values = Values::default();
        let mut tests = Family::default();
        counts(&mut values, &data);
        design(&mut values, &data, &cells);
        legacy::values(&mut values, &data, &cells)?;
        doubts::without(&mut values, &data, &cells)?;
        doubts::cache(&mut values, &mut tests, &cells);
        doubts::first_use(&mut values, &mut tests, &cells);
        doubts::price(&mut values, &mut tests, &data, &cells);
        doubts::noise(&mut values, &cells);
        let lab = lab::replay(&mut values, &data)?;
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            exponent(&values, &lab, "cpu", "CPU decode grows as a power of the parameters"),
            exponent(&values, &lab, "ollama", "Served decode grows as a power of the parameters"),
            cached(&values, &corrected),
            first_use(&values, &corrected),
        ];
        let mut sections =
            vec![tables::published(&values, &cells), tables::doubts(&values, &corrected, &cells)];
        sections.extend(lab.sections);
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

fn counts(values: &mut Values, data: &read::Data) {
    let failed = data.calls.iter().filter(|call| call.timing.is_none()).count();
    let primary = || data.calls.iter().filter(|call| call.run == "primary");
    values.put("calls", "", data.calls.len() as f64);
    values.put("calls.failed", "", failed as f64);
    values.put("calls.refused", "", data.refused as f64);
    // Each call stands in the report's table once per phase.
    values.put("legacy.primary.rows", "", primary().count() as f64 * cells::MODES.len() as f64);
    values.put(
        "legacy.primary.measured_rows",
        "",
        primary().filter(|call| !call.warm).count() as f64 * cells::MODES.len() as f64,
    );
}

/// What was repeated, and how large the models were.
fn design(values: &mut Values, data: &read::Data, cells: &cells::Cells<'_>) {
    let repetitions = cells.values().map(|cell| cell.measured.len() as f64).filter(|calls| *calls > 0.0);
    let (low, high) = repetitions
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), calls| (low.min(calls), high.max(calls)));
    values.put("design.calls_per_cell.min", "", low);
    values.put("design.calls_per_cell.max", "", high);
    let primary = cells.keys().filter(|key| key.0 == "primary").count();
    values.put("design.cells_per_run", "", primary as f64);
    for (name, served) in [("local", false), ("served", true)] {
        let sizes =
            || data.calls.iter().filter(move |call| call.is_served() == served).map(|call| call.millions);
        values.put(
            format!("design.{name}.smallest"),
            "million parameters",
            sizes().fold(f64::INFINITY, f64::min),
        );
        values.put(
            format!("design.{name}.largest"),
            "million parameters",
            sizes().fold(f64::NEG_INFINITY, f64::max),
        );
    }
    let prompts = data.calls.iter().map(|call| call.prompt / f64::from(call.batch));
    values.put("design.longest_prompt", "tokens", prompts.fold(f64::NEG_INFINITY, f64::max));
}

/// Whether an exponent is a law: not where one model alone decides it.
fn exponent(values: &Values, lab: &lab::Lab, arm: &'static str, label: &str) -> Headline {
    let name = format!("lab.{arm}.through.decode");
    let (verdict, words) = match lab.standing.get(&(arm, "decode")) {
        None => (Verdict::NotMeasured, "Fewer than four models.".to_owned()),
        Some((words, true)) => (Verdict::Inconclusive, words.clone()),
        Some((words, false)) => (Verdict::Supported, words.clone()),
    };
    Headline::new(
        format!("exponent-{arm}"),
        label,
        verdict,
        format!("Exponent of time per token through the models. {words}"),
    )
    .value(cell(values, &name), "")
}

/// Whether served prefill is a cache hit: no longer than a step, and shorter than where there is no cache.
fn cached(values: &Values, corrected: &Corrected) -> Headline {
    let point = |arm: &str| values.point(&format!("cache.{arm}.steps"));
    let shorter = point("ollama").zip(point("gpu")).is_some_and(|(served, local)| served < local);
    Headline::new(
        "cached-prefill",
        "Served prefill is a cache hit, not the evaluation of the prompt",
        corrected.verdict("cache.control", shorter),
        format!(
            "Prefill takes {} decode steps over served models, and less than {} in {} of {} cells. Local models on the GPU, which \
             have no cache of prompts, take {} steps, and less than that in {} of {} cells ({} between the two). The same prompt \
             was sent before, so a cache may have answered it; no record says.",
            shown(values, "cache.ollama.steps"),
            doubts::STEPS,
            shown(values, "cache.ollama.flagged"),
            shown(values, "cache.ollama.cells"),
            shown(values, "cache.gpu.steps"),
            shown(values, "cache.gpu.flagged"),
            shown(values, "cache.gpu.cells"),
            corrected.words("cache.control"),
        ),
    )
    .value(cell(values, "cache.ollama.steps"), "")
}

/// Whether the largest first-use ratio belongs to the model or to the order.
fn first_use(values: &Values, corrected: &Corrected) -> Headline {
    let name = "first_use.gpu";
    let larger = values.point(name).is_some_and(|ratio| ratio > 1.0);
    Headline::new(
        "first-use",
        "The first GPU call of a run costs more than other first uses",
        corrected.verdict(name, larger),
        format!(
            "In {} of {} runs the largest first-use ratio is that of the first GPU call; it is {} times the median of the others \
             ({}). The model of the published peak reaches {} where it was not the first, against a median of {} over all first \
             uses: a peak in one place tells the device and the model not apart.",
            shown(values, "first_use.gpu.peaks_at_first"),
            shown(values, "first_use.gpu.runs"),
            shown(values, name),
            corrected.words(name),
            shown(values, "first_use.gpu.peak_model_elsewhere"),
            shown(values, "legacy.primary.gpu.prefill.warm_ratio_median"),
        ),
    )
    .value(cell(values, name), "")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "What the published formulas give on the published calls, to the last digit, and which model each exponent hangs on.",
            "Whether prefill of served models is shorter, in decode steps, than that of local models without a cache.",
            "How much the same cell differs between runs on this machine, where two runs share it.",
            "How the choice of denominator moves prices and their order.",
        ]),
        cannot: list(&[
            "A scaling law: seven shapes of one family and five unrelated served models, of which one is a mixture of experts \
             that probably did not fit the card.",
            "An interval over runs for the three-prompt exponents: one run in one process has no replicates; its calls are none.",
            "Prompt evaluation of served models: the same prompt was sent before it was timed, and no record says how many of its \
             tokens were evaluated.",
            "Decode dominance at real prompt lengths: prompts have 1 to 99 tokens.",
            "First use of a model apart from that of the device: one warm-up call, one fixed order.",
            "Memory per model: the peak is that of a process that holds all models.",
            "Money: the hour's price belongs to another machine, load and idle time are left out.",
            "Logits of the prompt's last token: the decode loop feeds that token a second time, so its outputs are not the \
             model's continuation.",
        ]),
    }
}

/// The method draft.
struct Draft;

impl Replay for Draft {
    fn id(&self) -> &'static str {
        "tr121-draft"
    }

    fn title(&self) -> &'static str {
        "The method of TR121 before its results"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn replay(&self, _: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        values.lacks("results", "the draft describes a method and reports no results");
        let section = Section::new("draft", "A method without results").paragraph(
            "This version describes phases, runner and matrix, and no measurement. The results that followed are replayed as \
             `tr121`, with the same definitions of the phases.",
        );
        let limits = Limits {
            can: Vec::new(),
            cannot: vec!["Anything: there are no data of this version.".to_owned()],
        };
        Ok(Replayed { values, headline: Vec::new(), sections: vec![section], limits })
    }
}
