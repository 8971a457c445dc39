//! TR117 of the agent track: why do two concurrent agents in one Python process look less parallel than in Rust? Its
//! efficiency is a balance index of two concurrent wall times; no agent ever ran alone here, so nothing in these data is a
//! speed-up. The lag of the event loop has a room of its own.

mod lag;
mod runs;
mod rust;
mod tables;

use chimera_report::{Headline, Verdict};
use chimera_stats::{Sample, hypothesis, hypothesis::Alternative};

use super::family::{Corrected, Family, cell, shown};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const RUNS: &str = "agents/tr117ma/python_phase1_phase3_runs.csv";
const RUST: &str = "agents/tr117ma/rust_phase2_runs.csv";
const LAG: &str = "agents/tr117ma/loop_lag.csv";
const CHUNKS: &str = "agents/tr117ma/chunk_metrics.csv";
const GPU: &str = "agents/tr117ma/gpu_metrics.csv";

/// The ceiling that the report explains, in per cent.
const CEILING: f64 = 86.0;

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr117Agents];

struct Tr117Agents;

impl Replay for Tr117Agents {
    fn id(&self) -> &'static str {
        "tr117-ma"
    }

    fn title(&self) -> &'static str {
        "What limits two concurrent agents in one Python event loop?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS, RUST, LAG, CHUNKS, GPU]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let python = runs::read(data)?;
        runs::legacy(&mut values, &python)?;
        runs::ours(&mut values, &mut tests, &python)?;
        ceiling(&mut values, &mut tests, &python);
        rust::runs(data, &mut values, &mut tests)?;
        rust::gpu(data, &mut values)?;
        let lags = lag::replay(data, &mut values, &mut tests, &python)?;
        values.lacks(
            "true_speed_up",
            "no agent ran alone in these data: there is no solo rate to compare with",
        );
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            lags.headline(&values, &corrected),
            throttle(&values, &corrected),
            over(&values, &corrected),
            buffer(&values, &corrected),
        ];
        let sections = vec![
            tables::legacy(&values),
            tables::ours(&values, &corrected),
            lags.section(&values, &corrected),
        ];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// Unthrottled Python runs against the ceiling.
fn ceiling(values: &mut Values, tests: &mut Family, python: &[runs::Run]) {
    let indices: Vec<f64> =
        python.iter().filter(|run| run.throttle.is_none()).filter_map(|run| run.efficiency).collect();
    let above = indices.iter().filter(|index| **index > CEILING).count();
    values.put("ceiling.runs", "", indices.len() as f64);
    values.put("ceiling.above", "", above as f64);
    let test = Sample::new(&indices, "run")
        .and_then(|s| hypothesis::one_sample_t(s, CEILING, Alternative::TwoSided));
    tests.add(values, "ceiling", test);
}

fn over(values: &Values, corrected: &Corrected) -> Headline {
    let below = values.point("legacy.efficiency.python.mean").is_some_and(|mean| mean <= CEILING);
    Headline::new(
        "ceiling",
        "Python cannot exceed an efficiency of 86 %",
        corrected.verdict("ceiling", below),
        format!(
            "{} of {} unthrottled runs exceed it; their mean is {} and the largest {} ({}). The index says how equal the two \
             agents' times are: over all runs its rank correlation with the ratio of the two reply lengths is {}.",
            shown(values, "ceiling.above"),
            shown(values, "ceiling.runs"),
            shown(values, "legacy.efficiency.python.mean"),
            shown(values, "legacy.efficiency.python.max"),
            corrected.words("ceiling"),
            shown(values, "balance.spearman_length_ratio"),
        ),
    )
    .value(cell(values, "legacy.efficiency.python.max"), "%")
}

fn throttle(values: &Values, corrected: &Corrected) -> Headline {
    let raised = values.point("throttle.difference").is_some_and(|difference| difference > 0.0);
    let binds = values
        .point("throttle.natural_rate_max")
        .zip(values.point("throttle.cap"))
        .map_or("is unknown", |(rate, cap)| if rate >= cap { "can bind" } else { "cannot bind" });
    Headline::new(
        "throttle",
        "Throttling to 60 tok/s raises efficiency",
        corrected.verdict("throttle", raised),
        format!(
            "Throttled minus unthrottled is {} of the index ({}; smallest detectable difference {}). No unthrottled \
             agent received more than {}, so the cap of {} {binds}.",
            shown(values, "throttle.difference"),
            corrected.words("throttle"),
            shown(values, "throttle.minimum_detectable"),
            shown(values, "throttle.natural_rate_max"),
            shown(values, "throttle.cap"),
        ),
    )
    .value(cell(values, "throttle.difference"), "pp")
}

fn buffer(values: &Values, corrected: &Corrected) -> Headline {
    let slower = values.point("buffer.ttft_ratio").is_some_and(|ratio| ratio > 1.0);
    let verdict = match corrected.verdict("buffer.ttft", slower) {
        Verdict::Supported => Verdict::Contradicted,
        other => other,
    };
    Headline::new(
        "buffer",
        "A 64 KiB read buffer has negligible impact",
        verdict,
        format!(
            "Warm time to the first line is {} with it and {} without, a ratio of {} ({}){}.",
            shown(values, "ttft.buf65536"),
            shown(values, "ttft.default"),
            shown(values, "buffer.ttft_ratio"),
            corrected.words("buffer.ttft"),
            if verdict == Verdict::Contradicted {
                ": the reply is held back until the buffer fills or the stream ends"
            } else {
                ""
            },
        ),
    )
    .value(cell(values, "buffer.ttft_ratio"), "")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "Whether the lag of the event loop depends on the number of chunks: the read buffer changes that number by two \
             orders of magnitude while everything else stays.",
            "Which rate an agent receives without a throttle, and so whether a throttle can act at all.",
            "What a read buffer does to the time to the first line.",
        ]),
        cannot: list(&[
            "Parallel speed-up or efficiency: the published index divides the sum of two concurrent wall times by twice the \
             longer one. It lies between 50 and 100 % whatever the slow-down, and no solo run exists.",
            "Python against Rust: the Rust agents made two calls each with two to three times the tokens, the Python agents \
             one call each with prompts of different lengths.",
            "An effect of throttling: the cap lies above the rate at which the server delivers to two agents, and a \
             receive-side throttle does not slow the server anyway.",
            "Lag of an idle event loop: the published idle figures have no file. The nearest controls are the stretches \
             without chunks, and the large buffer.",
            "Why Qwen is less balanced: reply lengths differ between agents by more than any overhead could, and one call \
             returned no tokens.",
            "PCIe traffic, tokenizer speed and the lag of throttled runs: nothing was logged.",
            "Generated tokens exactly: the harness counts lines of the stream, the closing one included. Our counts are one \
             less.",
        ]),
    }
}
