//! TR109: do the options that made single calls fast make a workflow of two calls fast? Every configuration was run once,
//! its options first and Ollama's defaults second. The published winner is the one run that found its model loaded; here it
//! is labelled, and every comparison is made with it and without it.

mod legacy;
mod ours;
mod runs;

use chimera_report::{Headline, Verdict};

pub(super) use runs::{Arm, Pair, read};

use super::family::{Corrected, Family, cell, shown};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

/// The sweep; its defaults are also the solo runs of the next report.
pub(super) const SWEEP: &str = "agents/tr109/python_agent_sweep.csv";
const QUALITY: &str = "agents/tr109/python_report_quality.csv";

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr109];

/// The study.
struct Tr109;

impl Replay for Tr109 {
    fn id(&self) -> &'static str {
        "tr109"
    }

    fn title(&self) -> &'static str {
        "Do the options that are fastest for single calls transfer to an agent's workflow?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[SWEEP, QUALITY]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let pairs = read(data)?;
        let scores = runs::scores(data)?;
        let mut values = Values::default();
        let mut tests = Family::default();
        let best = legacy::sweep(&mut values, &pairs);
        legacy::quality(&mut values, &scores);
        ours::protocol(&mut values, &pairs);
        let equivalent = ours::comparisons(&mut values, &mut tests, &pairs, &scores);
        ours::winner(&mut values, &pairs, best);
        for name in ["gpu.memory", "gpu.utilisation", "cpu.utilisation"] {
            values.lacks(name, "the field is empty in every run");
        }
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            rate(&values, &corrected, equivalent),
            ttft(&values, &corrected),
            winner(&values, best),
            quality(&values, &corrected),
        ];
        let sections = vec![
            legacy::section(&values, &pairs),
            ours::section(&values, &corrected, &pairs),
            ours::parity(&values),
        ];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

fn negative(values: &Values, name: &str) -> bool {
    values.point(name).is_some_and(|value| value < 0.0)
}

fn rate(values: &Values, corrected: &Corrected, equivalent: bool) -> Headline {
    // A difference within the margin is none that matters, even where it can be told from zero.
    let verdict = if equivalent {
        Verdict::Equivalent
    } else {
        corrected.verdict("decode_rate.cold_pairs", !negative(values, "decode_rate.cold_pairs"))
    };
    Headline::new(
        "rate",
        "Tuned options decode faster than the defaults",
        verdict,
        format!(
            "Tuned minus default is {} over the pairs whose model was cold in both runs ({}; margin of equivalence {}, one per \
             cent of the default; smallest detectable difference {}). By the published mean of rates it is {} with all \
             pairs ({}) and {} without the warm run ({}); tuned is higher in {} of {} pairs.",
            shown(values, "decode_rate.cold_pairs"),
            corrected.words("decode_rate.cold_pairs"),
            shown(values, "decode_rate.margin"),
            shown(values, "decode_rate.minimum_detectable"),
            shown(values, "tokens_s.all_pairs"),
            corrected.words("tokens_s.all_pairs"),
            shown(values, "tokens_s.cold_pairs"),
            corrected.words("tokens_s.cold_pairs"),
            shown(values, "legacy.wins"),
            shown(values, "pairs.complete"),
        ),
    )
    .value(cell(values, "decode_rate.cold_pairs"), "tok/s")
}

fn ttft(values: &Values, corrected: &Corrected) -> Headline {
    Headline::new(
        "ttft",
        "Tuned options shorten the time to the first token",
        corrected.verdict("ttft.server.cold_pairs", negative(values, "ttft.server.cold_pairs")),
        format!(
            "Load plus prompt evaluation, tuned minus default, is {} over the pairs that were cold in both runs ({}). The run \
             of the published reduction {}; {} of {} runs found theirs loaded.",
            shown(values, "ttft.server.cold_pairs"),
            corrected.words("ttft.server.cold_pairs"),
            if values.point("best.warm") == Some(1.0) { "found its model loaded" } else { "had to load its model" },
            shown(values, "runs.warm"),
            shown(values, "runs"),
        ),
    )
    .value(cell(values, "ttft.server.cold_pairs"), "ms")
}

fn winner(values: &Values, best: Option<&Pair>) -> Headline {
    Headline::new(
        "winner",
        "One configuration is the best",
        Verdict::NotMeasured,
        format!(
            "{} has the largest published gain, {}, from one run. As tokens over seconds of decode that run makes {} and is \
             number {} of {} tuned runs: one of its two calls decoded at {}, the other at {}, and the mean of the two rates \
             weighs them alike.",
            best.map_or("No pair", |pair| &pair.config),
            shown(values, "legacy.best.improvement"),
            shown(values, "best.decode_rate.server"),
            shown(values, "best.rank"),
            shown(values, "runs.chimera.complete"),
            shown(values, "best.faster_call"),
            shown(values, "best.slower_call"),
        ),
    )
    .value(cell(values, "best.rank"), "")
}

fn quality(values: &Values, corrected: &Corrected) -> Headline {
    Headline::new(
        "quality",
        "Tuned options cost quality",
        corrected.verdict("quality.cold_pairs", negative(values, "quality.cold_pairs")),
        format!(
            "The keyword score changes by {} over all pairs ({}) and by {} without the warm run ({}); the length of the \
             reports changes by {}. The two arms had prompts of different length, so the options alone are not what is compared.",
            shown(values, "quality.all_pairs"),
            corrected.words("quality.all_pairs"),
            shown(values, "quality.cold_pairs"),
            corrected.words("quality.cold_pairs"),
            shown(values, "words.cold_pairs"),
        ),
    )
    .value(cell(values, "quality.cold_pairs"), "")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "Whether these options as a whole differ from the defaults in rate, load and score: each configuration is paired \
             with a run of the defaults a minute later.",
            "How much of the time to the first token is the load of the model.",
        ]),
        cannot: list(&[
            "Which configuration is best: each was run once, and the largest of 18 differences is partly luck. A p for one \
             configuration needs repetitions of it.",
            "An effect of `num_gpu`: 60, 80 and 120 all hold every layer of this model on the GPU.",
            "Options apart from prompts and order: tuned runs had longer prompts and always came first.",
            "How well an agent analyses benchmark data: it found no file to analyse.",
            "A 95th percentile: a run has two calls, and the published one only interpolates between them.",
            "Transfer of the single-call optimum, the three repetitions of another configuration and the pair of Llama runs: \
             their runs are not in these data.",
            "Memory, utilisation and error rates: the fields are empty.",
            "The scores of the published quality table: its reports are not in these data. The scores here can be weighed \
             again, not counted again.",
        ]),
    }
}
