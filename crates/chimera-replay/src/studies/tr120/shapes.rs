//! Which prompt lengths were compiled, and whether the slow samples are those that were not. The compiler keeps a limited
//! number of graphs per function; a dummy shape at the start takes one place, and the length that comes when the places are
//! gone runs eager behind a failed guard.

use std::collections::{BTreeMap, BTreeSet};

use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table, Verdict};
use chimera_stats::hypothesis::{self, Alternative};

use super::{
    super::{
        family::{Corrected, Family, cell, shown},
        shared::median,
    },
    read::{Run, Sample},
};
use crate::{ReplayError, Values};

/// A compiled prefill slower than this is slow: five times a compiled median, below any eager one.
const SLOW_MS: f64 = 1.0;
/// Padded lengths are multiples of this.
const PAD_TO: u32 = 8;

/// What was found of one prefill run.
struct Shaped {
    run: String,
    /// Lengths that ran and have no graph.
    beyond: usize,
    at_limit: bool,
    padded: bool,
    p99: f64,
    /// Per length: whether compiled, eager median, compiled median.
    lengths: Vec<(u32, bool, f64, f64)>,
}

/// All prefill runs whose compiled lengths are known.
pub(super) struct Shapes(Vec<Shaped>);

/// Length that the model saw in each scenario: the prompt's own, or the longest of the scenario in whole pads.
fn seen(run: &Run) -> impl Fn(&Sample) -> u32 {
    let padded = run.padding.starts_with("padded");
    let mut longest: BTreeMap<String, u32> = BTreeMap::new();
    for sample in run.arms.iter().flatten() {
        let entry = longest.entry(sample.scenario.clone()).or_default();
        *entry = (*entry).max(sample.tokens.round() as u32);
    }
    move |sample| {
        if padded {
            longest.get(&sample.scenario).map_or(0, |tokens| tokens.div_ceil(PAD_TO) * PAD_TO)
        } else {
            sample.tokens.round() as u32
        }
    }
}

/// Adds `shape.<run>.*`.
pub(super) fn replay(values: &mut Values, tests: &mut Family, runs: &[Run]) -> Result<Shapes, ReplayError> {
    let mut found = Vec::new();
    for run in runs {
        // A polymorphic graph has no length of its own, and without counters nobody knows the lengths.
        if run.mode != "prefill" || !run.is_inductor() || run.dynamic || run.lengths.is_empty() {
            continue;
        }
        found.push(one(values, tests, run)?);
    }
    Ok(Shapes(found))
}

fn one(values: &mut Values, tests: &mut Family, run: &Run) -> Result<Shaped, ReplayError> {
    let length = seen(run);
    let prefix = format!("shape.{}", run.name);
    let mut ran: BTreeSet<u32> = BTreeSet::new();
    let mut counts = [[0_u64; 2]; 2];
    let mut compiled_lengths = Vec::new();
    for sample in &run.arms[1] {
        let own = length(sample);
        ran.insert(own);
        let (slow, compiled) = (sample.ms > SLOW_MS, run.lengths.contains(&own));
        counts[usize::from(!slow)][usize::from(compiled)] += 1;
        if compiled {
            compiled_lengths.push(sample.ms);
        }
    }
    let beyond: BTreeSet<u32> = ran.difference(&run.lengths).copied().collect();
    values.put(format!("{prefix}.lengths"), "", ran.len() as f64);
    values.put(format!("{prefix}.compiled"), "", run.lengths.len() as f64);
    values.put(format!("{prefix}.beyond"), "", beyond.len() as f64);
    values.put(format!("{prefix}.slow"), "", (counts[0][0] + counts[0][1]) as f64);
    values.put(format!("{prefix}.slow_beyond"), "", counts[0][0] as f64);
    values.put(format!("{prefix}.samples_compiled"), "", compiled_lengths.len() as f64);
    put_p99(values, &format!("{prefix}.p99_compiled_lengths"), &compiled_lengths)?;
    let of = |arm: usize, wanted: &dyn Fn(u32) -> bool| -> Vec<f64> {
        run.arms[arm].iter().filter(|sample| wanted(length(sample))).map(|sample| sample.ms).collect()
    };
    let stuck = |at: u32| beyond.contains(&at);
    match beyond.first() {
        Some(first) => {
            values.put(format!("{prefix}.beyond_length"), "tok", f64::from(*first));
            let (eager, compiled) = (median(&of(0, &stuck)), median(&of(1, &stuck)));
            values.put(format!("{prefix}.beyond_eager_p50"), "ms", eager.unwrap_or(f64::NAN));
            values.put(format!("{prefix}.beyond_compiled_p50"), "ms", compiled.unwrap_or(f64::NAN));
            tests.add(values, &prefix, hypothesis::fisher_exact(counts, Alternative::TwoSided));
        }
        None => {
            for what in ["beyond_length", "beyond_eager_p50", "beyond_compiled_p50"] {
                values.lacks(format!("{prefix}.{what}"), "every length that ran has a graph");
            }
        }
    }
    let lengths = ran
        .iter()
        .filter_map(|at| {
            let wanted = |other: u32| other == *at;
            Some((*at, run.lengths.contains(at), median(&of(0, &wanted))?, median(&of(1, &wanted))?))
        })
        .collect();
    let p99 = values.point(&format!("legacy.{}.compiled.p99", run.key())).unwrap_or(f64::NAN);
    Ok(Shaped {
        run: run.name.clone(),
        beyond: beyond.len(),
        at_limit: run.at_limit,
        padded: run.padding.starts_with("padded"),
        p99,
        lengths,
    })
}

fn put_p99(values: &mut Values, name: &str, ms: &[f64]) -> Result<(), ReplayError> {
    match chimera_stats::Sample::new(ms, "sample") {
        Ok(sample) => {
            values.put(name, "ms", sample.sorted().quantile(0.99).map_err(ReplayError::at("quantiles"))?);
        }
        Err(_) => values.lacks(name, "no sample has a compiled length"),
    }
    Ok(())
}

impl Shapes {
    /// Whether the tail is one shape without a graph.
    pub(super) fn headline(&self, values: &Values, corrected: &Corrected) -> Headline {
        let label = "The compiled tail is one length that was never compiled";
        let stuck: Vec<&Shaped> = self.0.iter().filter(|shaped| shaped.beyond > 0).collect();
        if stuck.is_empty() {
            return Headline::new(
                "shape",
                label,
                Verdict::NotMeasured,
                "In no run did a length lack a graph.",
            );
        }
        let number = |run: &str, what: &str| values.point(&format!("shape.{run}.{what}")).unwrap_or(0.0);
        let all = stuck.iter().all(|shaped| {
            corrected.differs(&format!("shape.{}", shaped.run))
                && number(&shaped.run, "slow_beyond") >= 0.9 * number(&shaped.run, "slow")
        });
        let verdict = if all { Verdict::Supported } else { Verdict::Inconclusive };
        let words: Vec<String> = stuck
            .iter()
            .map(|shaped| {
                let of = |what: &str| shown(values, &format!("shape.{}.{what}", shaped.run));
                format!(
                    "In run {} {} of {} samples above {SLOW_MS} ms have the length of {}, for which there is no graph; its \
                     compiled median is {} against {} eager, and p99 of all other samples is {} ({})",
                    shaped.run,
                    of("slow_beyond"),
                    of("slow"),
                    of("beyond_length"),
                    of("beyond_compiled_p50"),
                    of("beyond_eager_p50"),
                    of("p99_compiled_lengths"),
                    corrected.words(&format!("shape.{}", shaped.run)),
                )
            })
            .collect();
        Headline::new("shape", label, verdict, format!("{}.", words.join(". ")))
    }

    /// Runs without padding in which every length has a graph: is there a tail?
    pub(super) fn control(&self, values: &Values) -> Headline {
        let label = "Shapes that vary make a tail";
        let free = |shaped: &&Shaped| !shaped.padded && shaped.beyond == 0;
        let (free, stuck): (Vec<&Shaped>, Vec<&Shaped>) =
            self.0.iter().filter(|shaped| !shaped.padded).partition(free);
        let (Some(control), false) = (free.first(), stuck.is_empty()) else {
            return Headline::new(
                "control",
                label,
                Verdict::NotMeasured,
                "There is no pair of runs without padding, one with a graph for every length and one without.",
            );
        };
        let tailless = free.iter().all(|shaped| shaped.p99 < SLOW_MS);
        let tails = stuck.iter().map(|shaped| shaped.p99).fold(f64::INFINITY, f64::min);
        let verdict = if tailless && tails > SLOW_MS { Verdict::Contradicted } else { Verdict::Inconclusive };
        Headline::new(
            "control",
            label,
            verdict,
            format!(
                "Run {} has the same {} unpadded lengths and a graph for each of them: its compiled p99 is {}. In the runs in \
                 which a length went without, the smallest p99 is {tails:.3} ms. Each setting is one process, so there is no \
                 interval.",
                control.run,
                shown(values, &format!("shape.{}.lengths", control.run)),
                shown(values, &format!("legacy.{}.prefill.compiled.p99", control.run)),
            ),
        )
    }

    /// Table of runs, plot of the run with a length beyond.
    pub(super) fn section(&self, values: &Values) -> Section {
        let mut table = Table::new("shapes", "Lengths and graphs of static prefill runs")
            .caption("A sample is slow above 1 ms. A length lacks a graph when the compiler's counters do not list it.")
            .column(Column::text("run", "Run"))
            .column(Column::text("padding", "Padding"))
            .column(Column::number("lengths", "Lengths run", ""))
            .column(Column::number("beyond", "Without a graph", ""))
            .column(Column::text("limit", "Recompile limit"))
            .column(Column::number("slow", "Slow samples", ""))
            .column(Column::number("slow-beyond", "of these without a graph", ""))
            .column(Column::number("p99", "Compiled p99", "ms"))
            .column(Column::number("p99-rest", "p99 of compiled lengths", "ms"));
        for shaped in &self.0 {
            let of = |what: &str| cell(values, &format!("shape.{}.{what}", shaped.run));
            table.push_row([
                shaped.run.as_str().into(),
                (if shaped.padded { "to multiples of 8" } else { "none" }).into(),
                of("lengths"),
                of("beyond"),
                (if shaped.at_limit { "reached" } else { "not reached" }).into(),
                of("slow"),
                of("slow_beyond"),
                shaped.p99.into(),
                of("p99_compiled_lengths"),
            ]);
        }
        let mut section = Section::new("shapes", "The same question by our definitions: shapes").table(table);
        for shaped in self.0.iter().filter(|shaped| shaped.beyond > 0) {
            let names: Vec<String> = shaped
                .lengths
                .iter()
                .map(|(at, compiled, ..)| if *compiled { at.to_string() } else { format!("{at} (no graph)") })
                .collect();
            let (mut eager, mut compiled) = (
                Series::new("eager", Style::Points),
                Series::new("compiled label", Style::Points).emphasised(),
            );
            for (index, (_, _, plain, own)) in shaped.lengths.iter().enumerate() {
                eager = eager.point(index as f64, *plain);
                compiled = compiled.point(index as f64, *own);
            }
            section = section.plot(
                Plot::new(
                    format!("shapes-{}", shaped.run),
                    format!("Prefill by length, run {}", shaped.run),
                    Axis::categories("prompt length in tokens", names),
                    Axis::log("median latency", "ms"),
                )
                .caption("Median of the samples of one process.")
                .series(eager)
                .series(compiled),
            );
        }
        section
    }
}
