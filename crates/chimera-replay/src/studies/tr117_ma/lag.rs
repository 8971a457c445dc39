//! Lag of the event loop against the stream of chunks. The log knows no runs; they are found by the chunk counters, which
//! start at 0 with every stream. The large read buffer is the control: same work, a hundredth of the chunks. So are the
//! stretches of a run in which no chunk came.

use std::collections::BTreeMap;

use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table, Verdict};
use chimera_stats::{
    Sample, StatsError, effect,
    hypothesis::{self, Alternative, Margin},
    regression,
};

use super::{
    super::{
        family::{Corrected, Family, cell, put, shown},
        shared::{difference, mean, plain_mean},
    },
    CHUNKS, LAG,
    runs::{CONDITIONS, Run, moments, welch},
};
use crate::{ALPHA, Artifacts, LEVEL, ReplayError, Values};

/// The sampler sleeps this long; what a sleep takes longer is the lag.
const SLEEP_S: f64 = 0.1;
/// Timer period of the platform, in milliseconds; a sleep ends at the next tick.
const TICK_MS: f64 = 15.625;
/// Lags are called equivalent within a tenth of a tick.
const MARGIN_MS: f64 = TICK_MS / 10.0;

struct Lag {
    at: f64,
    ms: f64,
}

#[derive(Default)]
struct Condition {
    lags: Vec<Lag>,
    /// Times of chunks, sorted.
    chunks: Vec<f64>,
    bytes: Vec<f64>,
    gaps: Vec<f64>,
    parses: Vec<f64>,
    /// Per agent, per stream: first and last chunk.
    streams: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Condition {
    /// Per run the end of its last stream. None where the agents have not the same number of streams.
    fn ends(&self) -> Option<Vec<f64>> {
        let streams = self.streams.values().map(Vec::len).max()?;
        self.streams.values().all(|own| own.len() == streams).then(|| {
            (0..streams)
                .map(|i| self.streams.values().map(|own| own[i].1).fold(f64::NEG_INFINITY, f64::max))
                .collect()
        })
    }

    /// Lags by run: a sample belongs to the first run that ends after it.
    fn by_run(&self) -> Vec<Vec<&Lag>> {
        let ends = self.ends().unwrap_or_default();
        let mut runs: Vec<Vec<&Lag>> = ends.iter().map(|_| Vec::new()).collect();
        for lag in &self.lags {
            if let Some(run) = ends.iter().position(|end| lag.at <= *end) {
                runs[run].push(lag);
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// Whether a chunk came while the sampler slept.
    fn busy(&self, lag: &Lag) -> bool {
        let from = lag.at - SLEEP_S - lag.ms / 1e3;
        let first = self.chunks.partition_point(|at| *at < from);
        self.chunks.get(first).is_some_and(|at| *at <= lag.at)
    }
}

/// What the section and the headline need.
pub(super) struct Lags {
    equivalent: bool,
    runs: Vec<(&'static str, Vec<f64>)>,
}

/// Published lag and chunk figures, then lag over runs.
pub(super) fn replay(
    data: &Artifacts,
    values: &mut Values,
    tests: &mut Family,
    python: &[Run],
) -> Result<Lags, ReplayError> {
    let conditions = read(data)?;
    let empty = Condition::default();
    let of = |name: &str| conditions.get(name).unwrap_or(&empty);
    let instrumented = &CONDITIONS[..3];
    for (name, _) in instrumented {
        legacy(values, name, of(name))?;
    }
    correlations(values, of("default"))?;
    let mut runs = Vec::new();
    for (name, words) in instrumented {
        let means: Vec<f64> = of(name)
            .by_run()
            .iter()
            .map(|run| plain_mean(&run.iter().map(|lag| lag.ms).collect::<Vec<_>>()))
            .collect();
        put(values, format!("lag.{name}"), "ms", mean(&means, "run"));
        runs.push((*words, means));
    }
    let (plain, small, large) = (&runs[0].1, &runs[1].1, &runs[2].1);
    put(values, "lag.default_minus_buf65536", "ms", difference(plain, large, "run"));
    tests.add(values, "lag.control", welch(plain, large));
    put(values, "lag.default_minus_buf8192", "ms", difference(plain, small, "run"));
    tests.add(values, "lag.control_small", welch(plain, small));
    let equivalent = equivalence(values, plain, large);
    idle(values, tests, of("default"));
    against_index(values, instrumented.iter().map(|(name, _)| (*name, of(name))), python);
    Ok(Lags { equivalent, runs })
}

fn read(data: &Artifacts) -> Result<BTreeMap<String, Condition>, ReplayError> {
    let mut conditions: BTreeMap<String, Condition> = BTreeMap::new();
    let table = data.table(LAG, &["condition", "timestamp", "lag_ms"])?;
    for row in table.rows() {
        let condition = conditions.entry(row.text("condition")?.to_owned()).or_default();
        let lag = Lag { at: row.number("timestamp")?, ms: row.number("lag_ms")? };
        if condition.lags.last().is_some_and(|last| last.at >= lag.at) {
            return Err(row.malformed("the sample is not later than the one before it".to_owned()));
        }
        condition.lags.push(lag);
    }
    let columns = ["condition", "timestamp", "agent_id", "chunk_index", "bytes", "gap_ms", "parse_ms"];
    let table = data.table(CHUNKS, &columns)?;
    for row in table.rows() {
        let condition = conditions.entry(row.text("condition")?.to_owned()).or_default();
        let at = row.number("timestamp")?;
        let streams = condition.streams.entry(row.text("agent_id")?.to_owned()).or_default();
        if row.number("chunk_index")? == 0.0 {
            streams.push((at, at));
        }
        let Some(stream) = streams.last_mut() else {
            return Err(row.malformed("the stream does not begin with chunk 0".to_owned()));
        };
        stream.1 = stream.1.max(at);
        condition.chunks.push(at);
        condition.bytes.push(row.number("bytes")?);
        condition.gaps.push(row.number("gap_ms")?);
        condition.parses.push(row.number("parse_ms")?);
    }
    for condition in conditions.values_mut() {
        condition.chunks.sort_by(f64::total_cmp);
    }
    Ok(conditions)
}

fn legacy(values: &mut Values, name: &str, condition: &Condition) -> Result<(), ReplayError> {
    let lags: Vec<f64> = condition.lags.iter().map(|lag| lag.ms).collect();
    let prefix = format!("legacy.lag.{name}");
    moments(values, &prefix, "ms", &lags);
    values.put(format!("{prefix}.n"), "", lags.len() as f64);
    for (what, p) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        match Sample::new(&lags, "sample") {
            Ok(sample) => {
                let quantile = sample.sorted().quantile(p).map_err(ReplayError::at("quantile of lags"))?;
                values.put(format!("{prefix}.{what}"), "ms", quantile);
            }
            Err(_) => values.lacks(format!("{prefix}.{what}"), "there is no sample"),
        }
    }
    let prefix = format!("legacy.chunks.{name}");
    values.put(format!("{prefix}.n"), "", condition.chunks.len() as f64);
    values.put(format!("{prefix}.bytes"), "", plain_mean(&condition.bytes));
    values.put(format!("{prefix}.gap"), "ms", plain_mean(&condition.gaps));
    values.put(format!("{prefix}.parse"), "ms", plain_mean(&condition.parses));
    let parsing: f64 = condition.parses.iter().sum();
    values.put(format!("chunks.{name}.parse_total"), "ms", parsing);
    let span =
        condition.chunks.last().zip(condition.chunks.first()).map_or(f64::NAN, |(last, first)| last - first);
    values.put(format!("chunks.{name}.span"), "s", span);
    values.put(format!("chunks.{name}.parse_share"), "%", 100.0 * parsing / (span * 1e3));
    // Per run from its first chunk to its last, both agents together.
    let streaming: f64 = condition.ends().map_or(f64::NAN, |ends| {
        ends.iter()
            .enumerate()
            .map(|(i, end)| {
                end - condition.streams.values().map(|own| own[i].0).fold(f64::INFINITY, f64::min)
            })
            .sum()
    });
    values.put(format!("chunks.{name}.rate"), "1/s", condition.chunks.len() as f64 / streaming);
    Ok(())
}

/// Correlation of chunks and mean lag per second, by three ways to cut the seconds.
fn correlations(values: &mut Values, condition: &Condition) -> Result<(), ReplayError> {
    let first = condition.lags.first().map_or(0.0, |lag| lag.at);
    for (name, origin, active) in [
        ("legacy.lag_chunk_correlation", first, false),
        ("legacy.lag_chunk_correlation.whole_seconds", 0.0, false),
        ("legacy.lag_chunk_correlation.active_seconds", first, true),
    ] {
        let second = |at: f64| (at - origin).floor() as i64;
        let mut lags: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        let mut chunks: BTreeMap<i64, f64> = BTreeMap::new();
        for lag in &condition.lags {
            lags.entry(second(lag.at)).or_default().push(lag.ms);
        }
        for at in &condition.chunks {
            *chunks.entry(second(*at)).or_default() += 1.0;
        }
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for (second, lags) in &lags {
            let count = chunks.get(second).copied().unwrap_or(0.0);
            if !active || count > 0.0 {
                x.push(count);
                y.push(plain_mean(lags));
            }
        }
        match pearson(&x, &y) {
            Some(r) => values.put(name, "", r),
            None => values.lacks(name, "there are too few seconds, or no variation"),
        }
    }
    Ok(())
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let fit = regression::ols(x, y, LEVEL).ok()?;
    Some(fit.slope.value.signum() * fit.r_squared?.sqrt())
}

fn equivalence(values: &mut Values, plain: &[f64], large: &[f64]) -> bool {
    let tost = || -> Result<_, StatsError> {
        hypothesis::equivalent_welch(
            Sample::new(plain, "run")?,
            Sample::new(large, "run")?,
            Margin::difference(MARGIN_MS),
            ALPHA,
        )
    };
    values.put("lag.equivalence_margin", "ms", MARGIN_MS);
    match tost()
        .map_err(|error| error.to_string())
        .and_then(|t| Ok((t.is_shown(), t.p().map_err(|why| why.to_string())?)))
    {
        Ok((shown, p)) => {
            values.put("lag.equivalence.p", "", p);
            shown
        }
        Err(why) => {
            values.lacks("lag.equivalence.p", why);
            false
        }
    }
}

/// Lag while chunks came and while none came, paired within runs.
fn idle(values: &mut Values, tests: &mut Family, condition: &Condition) {
    let (mut with, mut without, mut samples) = (Vec::new(), Vec::new(), 0_u32);
    for run in condition.by_run() {
        let (busy, idle): (Vec<&Lag>, Vec<&Lag>) = run.into_iter().partition(|lag| condition.busy(lag));
        samples += idle.len() as u32;
        let ms = |lags: &[&Lag]| lags.iter().map(|lag| lag.ms).collect::<Vec<_>>();
        if !busy.is_empty() && !idle.is_empty() {
            with.push(plain_mean(&ms(&busy)));
            without.push(plain_mean(&ms(&idle)));
        }
    }
    values.put("lag.idle_samples", "", f64::from(samples));
    put(values, "lag.with_chunks", "ms", mean(&with, "run"));
    put(values, "lag.without_chunks", "ms", mean(&without, "run"));
    let pair = || Ok::<_, StatsError>((Sample::new(&with, "run")?, Sample::new(&without, "run")?));
    let change = pair().and_then(|(a, b)| effect::mean_difference_paired(a, b, LEVEL));
    put(values, "lag.with_minus_without_chunks", "ms", change);
    tests.add(
        values,
        "lag.idle",
        pair().and_then(|(a, b)| hypothesis::paired_t(a, b, Alternative::TwoSided)),
    );
}

/// The 99th percentile of a run's lags against its balance index.
fn against_index<'c>(
    values: &mut Values,
    conditions: impl Iterator<Item = (&'static str, &'c Condition)>,
    python: &[Run],
) {
    let (mut all, mut own) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for (name, condition) in conditions {
        let mut runs: Vec<&Run> = python.iter().filter(|run| run.condition == name).collect();
        runs.sort_by_key(|run| run.run);
        let lags = condition.by_run();
        if runs.len() != lags.len() {
            continue;
        }
        for (run, lags) in runs.iter().zip(lags) {
            let ms: Vec<f64> = lags.iter().map(|lag| lag.ms).collect();
            let tail = Sample::new(&ms, "sample").and_then(|sample| sample.sorted().quantile(0.99));
            if let (Ok(tail), Some(efficiency)) = (tail, run.efficiency) {
                all.0.push(tail);
                all.1.push(efficiency);
                if name == "default" {
                    own.0.push(tail);
                    own.1.push(efficiency);
                }
            }
        }
    }
    for (name, (x, y)) in [("lag.p99_against_index.default", own), ("lag.p99_against_index.all", all)] {
        match pearson(&x, &y) {
            Some(r) => values.put(name, "", r),
            None => values.lacks(name, "runs of the log and of the table do not match, or too few"),
        }
    }
}

/// How the correlation depends on the cut of time.
fn cuts(values: &Values) -> &'static str {
    let all: Vec<f64> = ["", ".whole_seconds", ".active_seconds"]
        .iter()
        .filter_map(|cut| values.point(&format!("legacy.lag_chunk_correlation{cut}")))
        .collect();
    let (low, high) =
        all.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), r| (low.min(r.abs()), high.max(r.abs())));
    let signs = all.iter().any(|r| *r > 0.0) && all.iter().any(|r| *r < 0.0);
    match (signs, high > 2.0 * low) {
        (true, _) => "the sign depends on how time is cut",
        (false, true) => "the sign stays, the size depends on how time is cut",
        (false, false) => "it hardly depends on how time is cut",
    }
}

impl Lags {
    /// Whether chunks drive the lag.
    pub(super) fn headline(&self, values: &Values, corrected: &Corrected) -> Headline {
        let larger = values.point("lag.default_minus_buf65536").is_some_and(|difference| difference > 0.0);
        let verdict = match corrected.verdict("lag.control", larger) {
            Verdict::Inconclusive if self.equivalent => Verdict::Equivalent,
            other => other,
        };
        Headline::new(
            "lag",
            "The stream of chunks makes the event loop lag",
            verdict,
            format!(
                "With {} chunks the lag is {}, with {} chunks {}: a difference of {} ({}; margin of equivalence {} ms, a tenth \
                 of the timer's tick). Within runs, lag with chunks minus lag without is {} ({}).",
                shown(values, "legacy.chunks.default.n"),
                shown(values, "lag.default"),
                shown(values, "legacy.chunks.buf65536.n"),
                shown(values, "lag.buf65536"),
                shown(values, "lag.default_minus_buf65536"),
                corrected.words("lag.control"),
                MARGIN_MS,
                shown(values, "lag.with_minus_without_chunks"),
                corrected.words("lag.idle"),
            ),
        )
        .value(cell(values, "lag.default_minus_buf65536"), "ms")
    }

    /// Tables and plot.
    pub(super) fn section(&self, values: &Values, corrected: &Corrected) -> Section {
        let mut table = Table::new("lag-by-condition", "Lag and chunks by read buffer")
            .caption("Published figures over all samples; the last column over runs, with its t interval.")
            .column(Column::text("condition", "Condition"))
            .column(Column::number("chunks", "Chunks", ""))
            .column(Column::number("samples", "Lag samples", ""))
            .column(Column::number("mean", "Mean lag", "ms"))
            .column(Column::number("p99", "p99", "ms"))
            .column(Column::number("max", "Maximum", "ms"))
            .column(Column::number("parse", "Parsing, share of time", "%"))
            .column(Column::number("runs", "Lag over runs", "ms"));
        for (name, words) in &CONDITIONS[..3] {
            let of = |prefix: &str, what: &str| cell(values, &format!("{prefix}.{name}.{what}"));
            table.push_row([
                (*words).into(),
                of("legacy.chunks", "n"),
                of("legacy.lag", "n"),
                of("legacy.lag", "mean"),
                of("legacy.lag", "p99"),
                of("legacy.lag", "max"),
                of("chunks", "parse_share"),
                cell(values, &format!("lag.{name}")),
            ]);
        }
        let section = Section::new("lag", "Event-loop lag against its controls").table(table).paragraph(format!(
            "Chunks per second and mean lag correlate by {} when seconds start at the first lag sample, by {} on whole \
             seconds and by {} over seconds with chunks only: {}. The \
             controlled comparisons are the 8 KiB buffer ({}, {}) and the 64 KiB buffer ({}, {}).",
            shown(values, "legacy.lag_chunk_correlation"),
            shown(values, "legacy.lag_chunk_correlation.whole_seconds"),
            shown(values, "legacy.lag_chunk_correlation.active_seconds"),
            cuts(values),
            shown(values, "lag.default_minus_buf8192"),
            corrected.words("lag.control_small"),
            shown(values, "lag.default_minus_buf65536"),
            corrected.words("lag.control"),
        ));
        if self.runs.iter().all(|(_, means)| means.is_empty()) {
            return section;
        }
        let mut points = Series::new("mean lag of a run", Style::Points);
        for (index, (_, means)) in self.runs.iter().enumerate() {
            for mean in means {
                points = points.point(index as f64, *mean);
            }
        }
        section.plot(
            Plot::new(
                "lag-by-run",
                "Lag by read buffer",
                Axis::categories("condition", self.runs.iter().map(|(words, _)| *words)),
                Axis::linear("lag", "ms"),
            )
            .caption("One point per run. A sleep that ends at a random phase of the timer's tick overshoots by half of it.")
            .series(points)
            .horizontal(TICK_MS / 2.0, "half a timer tick"),
        )
    }
}
