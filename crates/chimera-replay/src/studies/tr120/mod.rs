//! TR120: what compilation does to a toy model when it is really called, per shape. Samples of one process are no
//! replicates; the process is, and most settings have one.

mod legacy;
mod read;
mod settings;
mod shapes;

use chimera_report::{Headline, Verdict};

use super::family::{Family, cell, shown};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const RUNS: &str = "backends/tr120/runs.csv";
const SAMPLES: &str = "backends/tr120/samples.csv";
const EVIDENCE: &str = "backends/tr120/compiler_evidence.json";

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr120];

struct Tr120;

impl Replay for Tr120 {
    fn id(&self) -> &'static str {
        "tr120"
    }

    fn title(&self) -> &'static str {
        "Why does a compiled backend win the mean and lose the median?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS, SAMPLES]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let runs = read::runs(data)?;
        legacy::values(&mut values, &runs)?;
        explain(data, &mut values)?;
        let shapes = shapes::replay(&mut values, &mut tests, &runs)?;
        settings::replay(&mut values, &mut tests, &runs)?;
        let corrected = tests.close(&mut values)?;
        let mut headline =
            vec![shapes.headline(&values, &corrected), shapes.control(&values), decode(&values)];
        headline.push(settings::headline(&values, &corrected));
        let sections = vec![
            legacy::section(&values, &runs),
            shapes.section(&values),
            settings::section(&values, &corrected),
        ];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// What the compiler's own inspection said, where it was published.
fn explain(data: &Artifacts, values: &mut Values) -> Result<(), ReplayError> {
    let evidence = if data.has(EVIDENCE) { data.json(EVIDENCE)? } else { serde_json::Value::Null };
    for (name, pointer) in [
        ("legacy.explain.prefill_graphs", "/prefill_explain/graph_count"),
        ("legacy.explain.prefill_guards", "/prefill_explain/out_guards_count"),
        ("legacy.explain.decode_guards", "/kv_decode_step_explain/out_guards_count"),
    ] {
        match evidence.pointer(pointer).and_then(serde_json::Value::as_f64) {
            Some(count) => values.put(name, "", count),
            None => values.lacks(name, "the compiler's inspection is not in these data"),
        }
    }
    Ok(())
}

/// Whether a decode run measured compiled code at all.
fn decode(values: &Values) -> Headline {
    let (verdict, timed) = if settings::nothing_compiled(values) {
        (Verdict::NotMeasured, "What was timed is a wrapper that checks guards and then runs eager code")
    } else {
        (Verdict::Inconclusive, "What was timed is not the same in all of them")
    };
    Headline::new(
        "decode",
        "Compilation slows decoding with a cache",
        verdict,
        format!(
            "Of {} decode runs with counters under the compiled label, {} compiled no graph, {} stopped at the recompile \
             limit and {} ran compiled throughout. {timed}: {} per token over processes.",
            shown(values, "decode.runs_with_counters"),
            shown(values, "decode.runs_without_graphs"),
            shown(values, "decode.runs_at_limit"),
            shown(values, "decode.runs_fully_compiled"),
            shown(values, "decode.overhead"),
        ),
    )
    .value(cell(values, "decode.runs_fully_compiled"), "")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "Which prompt lengths were compiled in a run, and whether its slow samples are those that were not.",
            "What the compiled label costs per decode step when nothing is compiled.",
            "How prefill under static compilation compares with eager over the processes that were run, pilots included.",
        ]),
        cannot: list(&[
            "What compilation does to decoding: no decode run with counters stayed below the recompile limit with graphs of its \
             own.",
            "What a compilation costs a request: every prompt was warmed up three times, so that no compilation is among the \
             samples.",
            "Whether shape-polymorphic compilation is stable: two runs differ in graphs and tail, each once.",
            "An effect free of order: eager ran first in every scenario of every process.",
            "Quantiles beyond the third largest value: p99 of 270 samples rests on it.",
            "Padding as a change that keeps the meaning: padded runs read the logits of a pad position and attend to padded \
             keys.",
            "Anything on a real model: this one has two layers of width two.",
        ]),
    }
}
