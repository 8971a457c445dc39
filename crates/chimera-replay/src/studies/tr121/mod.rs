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

use super::tr117::family::{Corrected, Family, cell, shown};
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

/// Whether served prefill is a measurement of prompt evaluation.
fn cached(values: &Values, corrected: &Corrected) -> Headline {
    // Below the limit the prompt was not evaluated; above it, it may have been.
    let short = values.point("cache.steps").is_some_and(|steps| steps < 1.5);
    Headline::new(
        "cached-prefill",
        "Served prefill is the time to evaluate the prompt",
        corrected.verdict("cache.steps", !short),
        format!(
            "Over models prefill takes {} decode steps ({} against 1.5), whatever the prompt: {} of {} cells look like a prompt \
             that a cache answered. An inference from the times; no record says so.",
            shown(values, "cache.steps"),
            corrected.words("cache.steps"),
            shown(values, "cache.flagged"),
            shown(values, "cache.cells"),
        ),
    )
    .value(cell(values, "cache.steps"), "")
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
            "Whether served prefill looks like prompt evaluation or like a cache hit.",
            "How much the same cell differs between runs on this machine, where two runs share it.",
            "How the choice of denominator moves prices and their order.",
        ]),
        cannot: list(&[
            "A scaling law: seven shapes of one family and five unrelated served models, of which one is a mixture of experts \
             that probably did not fit the card.",
            "An interval over runs for the three-prompt exponents: one run in one process has no replicates; its calls are none.",
            "Prompt evaluation of served models: the same prompt was warmed up before it was timed.",
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
