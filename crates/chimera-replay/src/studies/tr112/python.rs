//! The Python agents alone, of TR109: one row is one arm of one configuration, two calls. The runs read no file.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Artifacts, ReplayError, Values,
    studies::tr111::calls::{largest, median, moments, smallest, wins},
};

/// The sweep.
pub(super) const SWEEP: &str = "agents/tr109/python_agent_sweep.csv";
const COLUMNS: &[&str] =
    &["config", "run", "arm", "average_tokens_per_second", "average_ttft_ms", "benchmark_data_count"];

/// One arm of one configuration.
#[derive(Debug, Clone)]
pub(super) struct Arm {
    pub(super) config: String,
    pub(super) arm: String,
    pub(super) rate: f64,
    pub(super) ttft_ms: f64,
    /// Files that the agent read.
    pub(super) files: f64,
}

/// Reads the sweep.
///
/// # Errors
/// A file that is not there or not in this layout, an arm that comes twice.
pub(super) fn read(data: &Artifacts) -> Result<Vec<Arm>, ReplayError> {
    let table = data.table(SWEEP, COLUMNS)?;
    let mut seen = BTreeSet::new();
    let mut arms = Vec::with_capacity(table.len());
    for row in table.rows() {
        let key = (row.text("config")?, row.text("arm")?, row.text("run")?);
        if !seen.insert(key) {
            return Err(row.malformed(format!("run {} of `{}`, {} comes twice", key.2, key.0, key.1)));
        }
        // An arm without a rate failed; there is nothing to compare.
        let Some((rate, ttft_ms)) =
            row.maybe("average_tokens_per_second")?.zip(row.maybe("average_ttft_ms")?)
        else {
            continue;
        };
        arms.push(Arm {
            config: key.0.to_owned(),
            arm: key.1.to_owned(),
            rate,
            ttft_ms,
            files: row.number("benchmark_data_count")?,
        });
    }
    if arms.is_empty() {
        return Err(table.wrong("no arm has a rate"));
    }
    Ok(arms)
}

/// Rates of an arm.
pub(super) fn rates(arms: &[Arm], arm: &str) -> Vec<f64> {
    arms.iter().filter(|one| one.arm == arm).map(|one| one.rate).collect()
}

/// Pairs of rates, defaults and options, by configuration.
pub(super) fn pairs(arms: &[Arm]) -> BTreeMap<&str, (f64, f64)> {
    let of = |arm: &str| -> BTreeMap<&str, f64> {
        arms.iter().filter(|one| one.arm == arm).map(|one| (one.config.as_str(), one.rate)).collect()
    };
    let own = of("chimera");
    of("baseline")
        .into_iter()
        .filter_map(|(config, base)| Some((config, (base, *own.get(config)?))))
        .collect()
}

/// Puts the published quantities of the Python side.
pub(super) fn put(arms: &[Arm], values: &mut Values) {
    for arm in ["baseline", "chimera"] {
        let rates = rates(arms, arm);
        let ttft: Vec<f64> = arms.iter().filter(|one| one.arm == arm).map(|one| one.ttft_ms).collect();
        let (mean, sd) = moments(&rates);
        values.put(format!("legacy.python.tokens_s.mean.{arm}"), "tok/s", mean);
        values.put(format!("legacy.python.tokens_s.sd.{arm}"), "tok/s", sd);
        values.put(format!("legacy.python.tokens_s.cv.{arm}"), "%", 100.0 * sd / mean);
        values.put(format!("legacy.python.tokens_s.median.{arm}"), "tok/s", median(&rates));
        values.put(format!("legacy.python.tokens_s.max.{arm}"), "tok/s", largest(&rates));
        values.put(format!("legacy.python.tokens_s.min.{arm}"), "tok/s", smallest(&rates));
        let (mean, sd) = moments(&ttft);
        values.put(format!("legacy.python.ttft_ms.mean.{arm}"), "ms", mean);
        values.put(format!("legacy.python.ttft_ms.sd.{arm}"), "ms", sd);
        values.put(format!("legacy.python.ttft_ms.min.{arm}"), "ms", smallest(&ttft));
    }
    success(values, "python", pairs(arms).into_iter());
    let empty = arms.iter().filter(|one| one.files == 0.0).count();
    values.put("files.python.mean", "", moments(&arms.iter().map(|one| one.files).collect::<Vec<_>>()).0);
    values.put("files.python.arms_without", "", empty as f64);
    values.put("files.python.arms", "", arms.len() as f64);
}

/// Puts how often the options won, over all configurations and by level.
pub(super) fn success<'a>(
    values: &mut Values,
    name: &str,
    pairs: impl Iterator<Item = (&'a str, (f64, f64))>,
) {
    let pairs: Vec<(&str, (f64, f64))> = pairs.collect();
    for level in ["", "gpu60", "gpu80", "gpu120", "ctx256", "ctx512", "ctx1024", "temp0p6", "temp0p8"] {
        let own: Vec<(f64, f64)> = pairs
            .iter()
            .filter(|(config, _)| level.is_empty() || config.split('_').any(|part| part == level))
            .map(|(_, pair)| *pair)
            .collect();
        let one = wins(&own);
        let dot = if level.is_empty() { "" } else { "." };
        values.put(format!("legacy.success.{name}.wins{dot}{level}"), "", one.wins as f64);
        values.put(
            format!("legacy.success.{name}.share{dot}{level}"),
            "%",
            100.0 * one.wins as f64 / one.pairs as f64,
        );
        values.put(format!("legacy.success.{name}.mean{dot}{level}"), "%", one.mean);
        values.put(format!("legacy.success.{name}.best{dot}{level}"), "%", one.largest);
    }
}
