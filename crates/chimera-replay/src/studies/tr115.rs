//! TR115: which asynchronous runtime suits two concurrent agents? All runtimes send their requests through one client on one
//! runtime, the GPU is busy throughout, and the index that ranks them says how equal two replies are. So the questions are
//! whether anything distinguishes the runtimes at all, and what the one that ran its agents in turn delivered.

use std::collections::BTreeMap;

use chimera_records::Metric;
use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table, Verdict};
use chimera_stats::{Sample, StatsError, hypothesis, hypothesis::Margin, hypothesis::Test};

use super::{
    family::{Corrected, Family, cell, put, shown},
    shared::{mean, plain_mean},
    tr114::pairs::{self, Layout, Pair, those},
};
use crate::{ALPHA, Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const RUNS: Layout = Layout {
    path: "agents/tr115/rust_runtime_runs.csv",
    arm: "runtime",
    config: &["config"],
    calls: &[1, 2],
};

/// Runtimes that ran both agents at once.
const WORKING: [&str; 4] = ["tokio-default", "tokio-localset", "smol", "smol-1kb"];
/// The one whose coordinator held a lock across a whole agent.
const SERIAL: &str = "async-std";
/// Relative difference of rates that counts as none.
const MARGIN: f64 = 0.05;
/// Its runs fell to half of the usual rate.
const SLOW: &str = "chimera_homo_gpu100_ctx512";

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr115, &Tr115V1];

struct Tr115;

impl Replay for Tr115 {
    fn id(&self) -> &'static str {
        "tr115"
    }

    fn title(&self) -> &'static str {
        "Which asynchronous runtime runs two concurrent agents best?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS.path]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let runs = pairs::read(data, &RUNS)?;
        if let Some(odd) = runs.iter().find(|run| !all().any(|name| name == run.arm)) {
            return Err(ReplayError::Content {
                path: RUNS.path.into(),
                reason: format!("`{}` is no runtime of this report", odd.arm),
            });
        }
        legacy(&mut values, &runs);
        spread(&mut values, &mut tests, &runs);
        ours(&mut values, &mut tests, &runs)?;
        values.lacks("speedup", "no agent ran alone on this day: there is no solo rate to compare with");
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            distinguishable(&values, &corrected),
            consistency(&values, &corrected),
            serial(&values, &corrected),
            buffer(&values, &corrected),
        ];
        let sections = vec![published(&values, &runs), delivered(&values, &corrected), index(&runs)];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    WORKING.into_iter().chain([SERIAL])
}

fn legacy(values: &mut Values, runs: &[Pair]) {
    for runtime in all() {
        let own = those(runs, |run| run.arm == runtime);
        pairs::moments(values, &format!("legacy.{runtime}"), "%", &pairs::indices(&own));
        values.put(format!("legacy.{runtime}.rate"), "tok/s", plain_mean(&pairs::rates(&own)));
        values.put(format!("legacy.{runtime}.runs"), "", own.len() as f64);
        for (config, group) in super::tr114::configs(&own) {
            values.put(format!("legacy.{runtime}.{config}"), "%", plain_mean(&pairs::indices(&group)));
        }
        let others = those(runs, |run| run.arm == runtime && run.config != SLOW);
        values.put(
            format!("legacy.{runtime}.rate.without_slow"),
            "tok/s",
            plain_mean(&pairs::rates(&others)),
        );
    }
    let peaks: Vec<f64> =
        WORKING.iter().filter_map(|name| values.point(&format!("legacy.{name}.max"))).collect();
    let (low, high) =
        peaks.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    values.put("legacy.peak_spread", "pp", high - low);
}

fn groups_test(
    groups: &[Vec<f64>],
    test: impl Fn(&[Sample<'_>]) -> Result<Test, StatsError>,
) -> Result<Test, StatsError> {
    let samples: Vec<Sample<'_>> =
        groups.iter().map(|group| Sample::new(group, "run")).collect::<Result<_, _>>()?;
    test(&samples)
}

/// Whether the runtimes differ in their published index: mean, rank, spread.
fn spread(values: &mut Values, tests: &mut Family, runs: &[Pair]) {
    let of = |keep: &dyn Fn(&Pair) -> bool| -> Vec<Vec<f64>> {
        WORKING.iter().map(|name| pairs::indices(&those(runs, |run| run.arm == *name && keep(run)))).collect()
    };
    let everything = of(&|_| true);
    tests.add(values, "index.anova", groups_test(&everything, hypothesis::one_way_anova));
    tests.add(values, "index.kruskal", groups_test(&everything, hypothesis::kruskal_wallis));
    tests.add(values, "index.spread", groups_test(&everything, hypothesis::brown_forsythe));
    let few = of(&|run| run.index.is_some_and(|index| index >= 90.0));
    values.put(
        "index.below_90",
        "",
        (everything.iter().map(Vec::len).sum::<usize>() - few.iter().map(Vec::len).sum::<usize>()) as f64,
    );
    tests.add(values, "index.spread.without_outliers", groups_test(&few, hypothesis::brown_forsythe));
    // Those of the low runs that hold a failed or long reply.
    let excused = those(runs, |run| {
        run.arm != SERIAL && run.index.is_some_and(|index| index < 90.0) && (run.failed() || run.long())
    });
    values.put("index.below_90.explained", "", excused.len() as f64);
    pairs::balance(values, "", &those(runs, |run| run.arm != SERIAL));
    pairs::balance(values, ".with_serial", &those(runs, |_| true));
}

fn ours(values: &mut Values, tests: &mut Family, runs: &[Pair]) -> Result<(), ReplayError> {
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut firsts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for runtime in all() {
        let own = those(runs, |run| run.arm == runtime);
        pairs::counts(values, &format!(".{runtime}"), &own);
        let sound = pairs::sound(&own);
        put(values, format!("rate.{runtime}"), "tok/s", pairs::aggregate(&sound));
        put(values, format!("rate.{runtime}.all_runs"), "tok/s", pairs::aggregate(&own));
        let others = those(runs, |run| run.arm == runtime && run.config != SLOW);
        put(values, format!("rate.{runtime}.without_slow"), "tok/s", pairs::aggregate(&others));
        put(values, format!("decode_rate.server.{runtime}"), "tok/s", pairs::decode_rate(&sound));
        let ttft: Vec<f64> = sound.iter().filter_map(|run| run.warm_mean(Metric::TtftClient)).collect();
        let place = format!("TTFT of {runtime}");
        if ttft.is_empty() {
            values.lacks(format!("ttft.client.{runtime}.median"), "no sound run");
        } else {
            let sample = Sample::new(&ttft, "run").map_err(ReplayError::at(place))?;
            values.put(format!("ttft.client.{runtime}.median"), "s", sample.median());
        }
        put(values, format!("ttft.client.{runtime}"), "s", mean(&ttft, "run"));
        rates.insert(runtime, pairs::rates(&sound));
        firsts.insert(runtime, ttft);
    }
    let working: Vec<Vec<f64>> =
        WORKING.iter().map(|name| rates.get(name).cloned().unwrap_or_default()).collect();
    tests.add(values, "rate.anova", groups_test(&working, hypothesis::welch_anova));
    // All pairs at once within the margin: the largest p decides, and needs no correction.
    let mut largest: Result<f64, String> = Ok(0.0);
    for (first, a) in working.iter().enumerate() {
        for b in working.iter().skip(first + 1) {
            let p = Sample::new(a, "run")
                .and_then(|a| {
                    hypothesis::equivalent_ratio(a, Sample::new(b, "run")?, Margin::ratio(MARGIN), ALPHA)
                })
                .map_err(|why| why.to_string())
                .and_then(|same| same.p().map_err(|why| why.to_string()));
            largest = largest.and_then(|known| p.map(|p| known.max(p)));
        }
    }
    match largest {
        Ok(p) => values.put("rate.equivalence_p", "", p),
        Err(why) => values.lacks("rate.equivalence_p", why),
    }
    let (plain, held) = (firsts.get("smol"), firsts.get("smol-1kb"));
    if let (Some(plain), Some(held)) = (plain, held) {
        put(values, "ttft.buffer_ratio", "", super::shared::ratio_of(held, plain, "run"));
        tests.add(values, "ttft.buffer", pairs::rates_differ(held, plain));
    }
    let concurrent: Vec<f64> = working.concat();
    let turns = rates.get(SERIAL).cloned().unwrap_or_default();
    put(values, "serial.rate_ratio", "", super::shared::ratio_of(&turns, &concurrent, "run"));
    tests.add(values, "serial.rate", pairs::rates_differ(&turns, &concurrent));
    let own = those(runs, |run| run.arm != SERIAL);
    let sums = pairs::aggregate(&pairs::sound(&own));
    let alone = pairs::aggregate(&pairs::sound(&those(runs, |run| run.arm == SERIAL)));
    match (sums, alone) {
        (Ok(sums), Ok(alone)) => values.put_estimate("serial.sum_ratio", "", pairs::over(&alone, &sums)),
        (Err(why), _) | (_, Err(why)) => values.lacks("serial.sum_ratio", why.to_string()),
    }
    Ok(())
}

fn distinguishable(values: &Values, corrected: &Corrected) -> Headline {
    let same = values.point("rate.equivalence_p").is_some_and(|p| p <= ALPHA);
    let differ = ["index.anova", "index.kruskal", "rate.anova"].iter().any(|name| corrected.differs(name));
    let verdict = match (differ, same) {
        (true, _) => Verdict::Supported,
        (false, true) => Verdict::Equivalent,
        (false, false) => Verdict::Inconclusive,
    };
    Headline::new(
        "runtimes",
        "The four runtimes that ran both agents at once differ",
        verdict,
        format!(
            "Published index: analysis of variance {}, Kruskal-Wallis {}. Tokens per second: {}; all pairs within {:.0} %: {} \
             (largest p {}).",
            corrected.words("index.anova"),
            corrected.words("index.kruskal"),
            corrected.words("rate.anova"),
            100.0 * MARGIN,
            if same { "shown" } else { "not shown" },
            shown(values, "rate.equivalence_p"),
        ),
    )
    .value(cell(values, "index.anova.p"), "")
}

fn consistency(values: &Values, corrected: &Corrected) -> Headline {
    Headline::new(
        "consistency",
        "Runtimes differ in consistency",
        corrected.verdict("index.spread", true),
        format!(
            "Spread of the index, Brown-Forsythe: {}; without the {} runs below 90 %, of which {} hold a failed or very long \
             reply, {}.",
            corrected.words("index.spread"),
            shown(values, "index.below_90"),
            shown(values, "index.below_90.explained"),
            corrected.words("index.spread.without_outliers"),
        ),
    )
    .value(cell(values, "index.spread.p"), "")
}

/// Whether the two estimators of the serial runtime's rate agree on a side, and the test with them.
fn serial(values: &Values, corrected: &Corrected) -> Headline {
    let by_runs = super::tr114::side(values, "serial.rate_ratio", 1.0);
    let by_sums = super::tr114::side(values, "serial.sum_ratio", 1.0);
    let verdict =
        match (by_runs, by_sums) {
            (Some(a), Some(b)) if a == b && corrected.differs("serial.rate") => {
                if a == std::cmp::Ordering::Less { Verdict::Supported } else { Verdict::Contradicted }
            }
            _ => Verdict::Inconclusive,
        };
    Headline::new(
        "serial",
        "The runtime with an index of 50 % delivers less",
        verdict,
        format!(
            "Over the others it delivers {} by the geometric mean of its runs ({}) and {} by sums of tokens and seconds. Mean of rates \
             {}, ratio of sums {}, and without its {} runs {} and {}. Its agents ran in turn under a lock held by the \
             harness.",
            shown(values, "serial.rate_ratio"),
            corrected.words("serial.rate"),
            shown(values, "serial.sum_ratio"),
            shown(values, "legacy.async-std.rate"),
            shown(values, "rate.async-std.all_runs"),
            chimera_report::literal(SLOW),
            shown(values, "legacy.async-std.rate.without_slow"),
            shown(values, "rate.async-std.without_slow"),
        ),
    )
    .value(cell(values, "serial.sum_ratio"), "")
}

fn buffer(values: &Values, corrected: &Corrected) -> Headline {
    let slower = values.point("ttft.buffer_ratio").is_some_and(|ratio| ratio > 1.0);
    Headline::new(
        "buffer",
        "Holding a stream back until 1 KiB has come delays the first token",
        corrected.verdict("ttft.buffer", slower),
        format!(
            "TTFT of a run's warm calls with it over without, on the same runtime: {} ({}); medians {} and {}.",
            shown(values, "ttft.buffer_ratio"),
            corrected.words("ttft.buffer"),
            shown(values, "ttft.client.smol-1kb.median"),
            shown(values, "ttft.client.smol.median"),
        ),
    )
    .value(cell(values, "ttft.buffer_ratio"), "")
}

fn published(values: &Values, runs: &[Pair]) -> Section {
    let mut table = Table::new("legacy-runtimes", "Published efficiency by runtime")
        .caption("The balance index over runs, and the mean of the runs' tokens over wall time.")
        .column(Column::text("runtime", "Runtime"))
        .column(Column::number("max", "Peak", "%"))
        .column(Column::number("mean", "Mean", "%"))
        .column(Column::number("median", "Median", "%"))
        .column(Column::number("sd", "SD", "pp"))
        .column(Column::number("min", "Minimum", "%"))
        .column(Column::number("p05", "P5", "%"))
        .column(Column::number("rate", "Mean of rates", "tok/s"));
    for runtime in all() {
        let of = |what: &str| cell(values, &format!("legacy.{runtime}.{what}"));
        table.push_row([
            runtime.into(),
            of("max"),
            of("mean"),
            of("median"),
            of("sd"),
            of("min"),
            of("p05"),
            of("rate"),
        ]);
    }
    let mut each = Table::new("legacy-runtime-configs", "By configuration")
        .caption("Mean index over the runs of a configuration.")
        .column(Column::text("config", "Configuration"));
    for runtime in all() {
        each = each.column(Column::number(runtime, runtime, "%"));
    }
    for config in super::tr114::configs(&those(runs, |_| true)).keys() {
        let cells = all().map(|runtime| cell(values, &format!("legacy.{runtime}.{config}")));
        each.push_row(std::iter::once(config.as_str().into()).chain(cells));
    }
    Section::new("legacy", "Published tables by the published formula").table(table).table(each)
}

fn delivered(values: &Values, corrected: &Corrected) -> Section {
    let mut table = Table::new("runtimes", "What the runtimes deliver")
        .caption(
            "Over runs. Rate: sum of tokens of both agents over sum of wall times, without failed runs, and with them. TTFT: \
             first non-empty piece as the client saw it, mean of a run's calls that did not load the model.",
        )
        .column(Column::text("runtime", "Runtime"))
        .column(Column::number("failed", "Failed runs", ""))
        .column(Column::number("long", "Long replies", ""))
        .column(Column::number("rate", "Rate", "tok/s"))
        .column(Column::number("all", "Failed ones too", "tok/s"))
        .column(Column::number("decode", "Decode of one agent", "tok/s"))
        .column(Column::number("ttft", "TTFT", "s"))
        .column(Column::number("median", "Median TTFT", "s"));
    for runtime in all() {
        table.push_row([
            runtime.into(),
            cell(values, &format!("runs.failed.{runtime}")),
            cell(values, &format!("runs.long.{runtime}")),
            cell(values, &format!("rate.{runtime}")),
            cell(values, &format!("rate.{runtime}.all_runs")),
            cell(values, &format!("decode_rate.server.{runtime}")),
            cell(values, &format!("ttft.client.{runtime}")),
            cell(values, &format!("ttft.client.{runtime}.median")),
        ]);
    }
    Section::new("delivered", "The same question by our definitions")
        .paragraph(format!(
            "Over the runs that ran both agents at once the rank correlation of the index with the ratio of the two outputs is \
             {}; with the serial runtime {}. Runs against each other, tokens per second: {}.",
            shown(values, "balance.spearman_length_ratio"),
            shown(values, "balance.spearman_length_ratio.with_serial"),
            corrected.words("rate.anova"),
        ))
        .table(table)
}

fn index(runs: &[Pair]) -> Section {
    let mut plot = Plot::new(
        "lengths-index",
        "Balance of outputs against the published efficiency",
        Axis::linear("Shorter output over longer", ""),
        Axis::linear("Published efficiency", "%"),
    )
    .caption("One point per run, failed ones too.");
    for runtime in all() {
        let mut series = Series::new(runtime, Style::Points);
        for run in runs.iter().filter(|run| run.arm == runtime) {
            if let Some(index) = run.index
                && run.length_ratio().is_finite()
            {
                series = series.point(run.length_ratio(), index);
            }
        }
        if !series.points.is_empty() {
            plot = plot.series(series);
        }
    }
    Section::new("index", "What the published efficiency sees").plot(plot)
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "Whether four ways to drive one HTTP client differ by more than the lengths of replies make runs differ.",
            "What a buffer in front of the parser does to the time to the first token.",
        ]),
        cannot: list(&[
            "Runtimes: every request went through one client on one runtime, the thread-local variant spawned nothing on its \
             thread, and the GPU was the bottleneck.",
            "That the fifth runtime is broken: its harness held a lock across a whole agent, which makes the index 50 %. What it \
             delivers depends on the estimator, because five runs of one configuration fell to half of the usual rate.",
            "Effects of runtime apart from time: runtimes ran one after another in blocks, so drift and runtime are one.",
            "Consistency as a property of a runtime: the low runs hold replies of thousands of tokens, or of none.",
            "A speed-up: no agent ran alone on that day.",
        ]),
    }
}

/// The first version, whose runs were not kept apart.
struct Tr115V1;

impl Replay for Tr115V1 {
    fn id(&self) -> &'static str {
        "tr115-v1"
    }

    fn title(&self) -> &'static str {
        "Which asynchronous runtime runs two concurrent agents best? (first version)"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn replay(&self, _: &Artifacts) -> Result<Replayed, ReplayError> {
        const WHY: &str =
            "the runs of the first version were not published; the second version's are other runs";
        let mut values = Values::default();
        for name in ["legacy.peak", "legacy.localset_peak", "legacy.gap_to_python", "speedup"] {
            values.lacks(name, WHY);
        }
        let headline = Headline::new(
            "data",
            "Tokio's thread-local variant is more efficient than its default",
            Verdict::NotMeasured,
            WHY,
        );
        let mut limits = Limits::default();
        limits.cannot.push(format!("Anything of the first version: {WHY}."));
        limits.cannot.push(
            "Its means of 92 to 94 % against the second version's 97 to 99 %: the workloads differ."
                .to_owned(),
        );
        Ok(Replayed { values, headline: vec![headline], sections: Vec::new(), limits })
    }
}
