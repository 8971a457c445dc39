//! The sweep as pairs: one configuration, the run with its options and the run with Ollama's defaults that followed it. A
//! row holds the means over the two calls of a run; their 95th percentile gives both calls back.

use std::collections::BTreeMap;

use super::{QUALITY, SWEEP};
use crate::{Artifacts, ReplayError, Row};

/// One run of the workflow.
#[derive(Debug, Clone)]
pub(in crate::studies) struct Arm {
    /// Generated tokens of all calls.
    pub(in crate::studies) tokens: f64,
    /// Wall time of the run, in seconds.
    pub(in crate::studies) wall_s: f64,
    calls: f64,
    total_s: f64,
    rate: Option<f64>,
    p95_rate: Option<f64>,
    ttft_ms: Option<f64>,
    p95_ttft_ms: Option<f64>,
    /// Benchmark files that it found to analyse.
    pub(super) files: f64,
    /// Words of the report, header included.
    pub(super) words: f64,
    /// Seconds since 1970, local time as recorded.
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Arm {
    /// Whether every call gave tokens and times.
    pub(in crate::studies) fn complete(&self) -> bool {
        self.tokens > 0.0 && self.rate.is_some_and(|rate| rate > 0.0) && self.ttft_ms.is_some()
    }

    /// Mean of the calls' decode rates, as published.
    pub(super) fn mean_rate(&self) -> Option<f64> {
        self.rate
    }

    /// Mean over the calls of load plus prompt evaluation, in milliseconds.
    pub(super) fn ttft_ms(&self) -> Option<f64> {
        self.ttft_ms
    }

    /// Seconds of decode: what load and prompt evaluation leave of the server's total.
    pub(in crate::studies) fn decode_s(&self) -> f64 {
        self.total_s - self.calls * self.ttft_ms.unwrap_or(f64::NAN) / 1e3
    }

    /// TTFT of the faster and the slower call, in milliseconds. Of two values the 95th percentile lies 0.95 of the way
    /// from one to the other and the mean half of it.
    pub(super) fn ttft_of_calls(&self) -> Option<(f64, f64)> {
        self.both(self.ttft_ms, self.p95_ttft_ms)
    }

    /// Decode rates of the slower and the faster call.
    pub(super) fn rate_of_calls(&self) -> Option<(f64, f64)> {
        self.both(self.rate, self.p95_rate)
    }

    fn both(&self, mean: Option<f64>, p95: Option<f64>) -> Option<(f64, f64)> {
        let (mean, p95) = mean.zip(p95)?;
        let half = (p95 - mean) / 0.9;
        (self.calls == 2.0 && half >= 0.0).then_some((mean - half, mean + half))
    }

    /// Days since 1970.
    pub(super) fn day(&self) -> f64 {
        (self.start / 86_400.0).floor()
    }
}

/// Both runs of a configuration.
#[derive(Debug, Clone)]
pub(in crate::studies) struct Pair {
    /// Folder name of the configuration.
    pub(super) config: String,
    /// `num_gpu`, `num_ctx`, `temperature` of the run with options, as written.
    pub(super) levels: [String; 3],
    /// With Ollama's defaults.
    pub(in crate::studies) baseline: Arm,
    /// With the configuration's options.
    pub(super) chimera: Arm,
}

impl Pair {
    /// Both arms, defaults first.
    pub(super) fn arms(&self) -> [(&'static str, &Arm); 2] {
        [("baseline", &self.baseline), ("chimera", &self.chimera)]
    }

    /// Whether both runs gave tokens and times.
    pub(super) fn complete(&self) -> bool {
        self.baseline.complete() && self.chimera.complete()
    }
}

/// Scores of a report.
pub(super) struct Score {
    pub(super) words: f64,
    pub(super) depth: f64,
    pub(super) citations: f64,
    pub(super) analysis: f64,
    pub(super) structure: f64,
    pub(super) overall: f64,
}

impl Score {
    /// The weighted sum with the weights of depth, analysis, structure and citations.
    pub(super) fn weighted(&self, [depth, analysis, structure, citations]: [f64; 4]) -> f64 {
        depth * self.depth
            + analysis * self.analysis
            + structure * self.structure
            + citations * (self.citations / 10.0).min(1.0)
    }
}

/// Arms of one run with their options, by name.
type Arms = BTreeMap<&'static str, (Arm, [String; 3])>;

/// The pairs of the sweep, by configuration.
///
/// # Errors
/// A column or a number that is not there, a run that comes twice, an arm without its partner.
pub(in crate::studies) fn read(data: &Artifacts) -> Result<Vec<Pair>, ReplayError> {
    let table = data.table(SWEEP, &["config", "run", "arm"])?;
    let mut arms: BTreeMap<(String, String), Arms> = BTreeMap::new();
    for row in table.rows() {
        let key = (row.text("config")?.to_owned(), row.text("run")?.to_owned());
        let arm = match row.text("arm")? {
            "baseline" => "baseline",
            "chimera" => "chimera",
            other => return Err(row.malformed(format!("there is no arm `{other}`"))),
        };
        let mut levels = [const { String::new() }; 3];
        for (level, column) in levels.iter_mut().zip(["num_gpu", "num_ctx", "temperature"]) {
            *level = row.maybe(column)?.map(|value| value.to_string()).unwrap_or_default();
        }
        if arms.entry(key).or_default().insert(arm, (read_arm(&row)?, levels)).is_some() {
            return Err(row.malformed(format!("the {arm} arm of this run comes twice")));
        }
    }
    let mut pairs = Vec::new();
    for ((config, run), mut arms) in arms {
        match (arms.remove("baseline"), arms.remove("chimera")) {
            (Some((baseline, _)), Some((chimera, levels))) => {
                pairs.push(Pair { config, levels, baseline, chimera });
            }
            _ => return Err(table.wrong(format!("run {run} of {config} has one arm only"))),
        }
    }
    Ok(pairs)
}

fn read_arm(row: &Row<'_>) -> Result<Arm, ReplayError> {
    Ok(Arm {
        tokens: row.maybe("total_tokens_generated")?.unwrap_or(0.0),
        wall_s: row.number("execution_time_s")?,
        calls: row.number("total_requests")?,
        total_s: row.number("total_duration_ms")? / 1e3,
        rate: row.maybe("average_tokens_per_second")?,
        p95_rate: row.maybe("p95_tokens_per_second")?,
        ttft_ms: row.maybe("average_ttft_ms")?,
        p95_ttft_ms: row.maybe("p95_ttft_ms")?,
        files: row.number("benchmark_data_count")?,
        words: row.number("report_words")?,
        start: stamp(row, "start_time")?,
        end: stamp(row, "end_time")?,
    })
}

/// Scores by configuration and arm.
///
/// # Errors
/// A column or a number that is not there, a report that comes twice.
pub(super) fn scores(data: &Artifacts) -> Result<BTreeMap<(String, String), Score>, ReplayError> {
    let table = data.table(QUALITY, &["config", "arm"])?;
    let mut scores = BTreeMap::new();
    for row in table.rows() {
        let key = (row.text("config")?.to_owned(), row.text("arm")?.to_owned());
        let score = Score {
            words: row.number("words")?,
            depth: row.number("td")?,
            citations: row.number("cit")?,
            analysis: row.number("da")?,
            structure: row.number("ss")?,
            overall: row.number("overall")?,
        };
        if scores.insert(key, score).is_some() {
            return Err(row.malformed("this report is scored twice".to_owned()));
        }
    }
    Ok(scores)
}

/// `2025-10-09T16:57:27.135082` as seconds since 1970, without a time zone.
fn stamp(row: &Row<'_>, column: &str) -> Result<f64, ReplayError> {
    let text = row.text(column)?;
    let seconds = || {
        let (date, time) = text.split_once('T')?;
        let date: Vec<i64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let time: Vec<f64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
            return None;
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Years begin in March here, so that the leap day is a year's last.
        let year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days =
            365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
                - 719_468;
        Some(days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second)
    };
    seconds().ok_or_else(|| row.malformed(format!("`{column}` is `{text}`, not a time")))
}
