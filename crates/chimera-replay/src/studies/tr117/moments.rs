//! What follows from printed moments alone: pooled moments, t, d, F and the cost formula. A test that depends on the data
//! only through n, mean and standard deviation is computed on made-up values that have exactly these.

use std::collections::BTreeMap;

use chimera_stats::{Sample, effect, hypothesis, hypothesis::Alternative};

use super::{CELLS, SUMMARY};
use crate::{Artifacts, LEVEL, ReplayError, Row, Values};

/// Price per hour of the published cost model.
const DOLLARS_PER_HOUR: f64 = 0.035;

/// n, mean and SD of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) n: usize,
    pub(super) mean: f64,
    pub(super) sd: f64,
}

/// A published comparison of two backends, second minus first.
pub(super) struct Comparison {
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    first: &'static str,
    second: &'static str,
}

/// The four that the report prints.
pub(super) const COMPARISONS: [Comparison; 4] = [
    Comparison {
        name: "label",
        words: "compiled GPU label against GPU",
        first: "gpu",
        second: "gpu_compile",
    },
    Comparison { name: "gpu_cpu", words: "CPU against GPU", first: "gpu", second: "cpu" },
    Comparison {
        name: "compile_ollama",
        words: "Ollama against compiled GPU label",
        first: "gpu_compile",
        second: "ollama",
    },
    Comparison {
        name: "cpu_label",
        words: "compiled CPU label against CPU",
        first: "cpu",
        second: "cpu_compile",
    },
];

/// `transformers-gpu-compile` becomes `gpu_compile`.
pub(super) fn short(backend: &str) -> String {
    backend.trim_start_matches("transformers-").replace('-', "_")
}

/// Values with exactly these moments, evenly spread.
pub(super) fn values_with(moments: Moments) -> Vec<f64> {
    let n = moments.n as f64;
    let spread = (n * (n + 1.0) / 12.0).sqrt();
    (0..moments.n).map(|i| moments.mean + moments.sd * (i as f64 - (n - 1.0) / 2.0) / spread).collect()
}

/// A count in a cell of a table.
pub(super) fn count(row: &Row<'_>, column: &str) -> Result<usize, ReplayError> {
    let value = row.number(column)?;
    if value < 0.0 || value.fract() != 0.0 {
        return Err(row.malformed(format!("`{column}` is {value}, not a count")));
    }
    Ok(value as usize)
}

/// The printed table; gives the backends in its order.
pub(super) fn published(data: &Artifacts, values: &mut Values) -> Result<Vec<String>, ReplayError> {
    let columns = ["backend", "n_ok", "mean_ms", "median_ms", "std_ms", "tok_per_s_mean", "n_degraded"];
    let table = data.table(SUMMARY, &columns)?;
    let mut order = Vec::new();
    let mut groups: BTreeMap<String, Moments> = BTreeMap::new();
    let (mut ok, mut degraded, mut toy_all, mut toy_ok) = (0, 0, 0, 0);
    for row in table.rows() {
        let name = short(row.text("backend")?);
        if order.contains(&name) {
            return Err(row.malformed(format!("the backend `{name}` comes twice")));
        }
        let (n, failed) = (count(&row, "n_ok")?, count(&row, "n_degraded")?);
        ok += n;
        degraded += failed;
        // Every backend but Ollama ran the toy model.
        if name != "ollama" {
            toy_all += n + failed;
            toy_ok += n;
        }
        let printed = |what: &str| format!("legacy.{name}.{what}");
        values.put(printed("rows"), "", n as f64);
        values.put(printed("degraded"), "", failed as f64);
        match (row.maybe("mean_ms")?, row.maybe("std_ms")?) {
            (Some(mean), Some(sd)) if n > 0 => {
                values.put(printed("printed_mean"), "ms", mean);
                values.put(printed("printed_sd"), "ms", sd);
                groups.insert(name.clone(), Moments { n, mean, sd });
            }
            _ => {
                for what in ["printed_mean", "printed_sd"] {
                    values.lacks(
                        printed(what),
                        "every row is degraded and carries a placeholder, not a latency",
                    );
                }
            }
        }
        match row.maybe("tok_per_s_mean")? {
            Some(rate) if rate > 0.0 => {
                values.put(printed("cost"), "$", DOLLARS_PER_HOUR / (rate * 3_600.0) * 1e6);
            }
            _ => values.lacks(printed("cost"), "no row succeeded"),
        }
        order.push(name);
    }
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
    values.put("legacy.rows", "", (ok + degraded) as f64);
    values.put("legacy.rows_ok", "", ok as f64);
    values.put("legacy.degraded", "", degraded as f64);
    values.put("legacy.ok_share", "%", share(ok, ok + degraded));
    values.put("legacy.toy_share_of_rows", "%", share(toy_all, ok + degraded));
    values.put("legacy.toy_share_of_ok_rows", "%", share(toy_ok, ok));
    if let (Some(a), Some(b)) = (groups.get("ollama"), groups.get("gpu_compile")) {
        values.put("legacy.ollama_over_compile", "", a.mean / b.mean);
    } else {
        values.lacks("legacy.ollama_over_compile", "a backend is missing");
    }
    // The labels have exact moments elsewhere; of the others only the printed ones are left.
    for comparison in COMPARISONS.iter().filter(|comparison| comparison.name != "label") {
        compare(values, comparison.name, groups.get(comparison.first), groups.get(comparison.second))?;
    }
    anova(values, groups.values().copied())?;
    Ok(order)
}

/// Student's t and pooled d of two groups, second minus first.
fn compare(
    values: &mut Values,
    name: &str,
    first: Option<&Moments>,
    second: Option<&Moments>,
) -> Result<(), ReplayError> {
    let named = |what: &str| format!("legacy.{name}.{what}");
    let Some((first, second)) = first.zip(second) else {
        for what in ["t", "t_p", "d"] {
            values.lacks(named(what), "the moments of a group are missing");
        }
        return Ok(());
    };
    let (a, b) = (values_with(*second), values_with(*first));
    let at = || ReplayError::at(format!("moments of `{name}`"));
    let a = Sample::new(&a, "row").map_err(at())?;
    let b = Sample::new(&b, "row").map_err(at())?;
    let test = hypothesis::student_t(a, b, Alternative::TwoSided).map_err(at())?;
    values.put(named("t"), "", test.statistic.unwrap_or(f64::NAN));
    values.put(named("t_p"), "", test.p(crate::ALPHA).unwrap_or(f64::NAN));
    values.put(named("d"), "", effect::cohen_d(a, b, LEVEL).map_err(at())?.point);
    Ok(())
}

fn anova(values: &mut Values, groups: impl Iterator<Item = Moments>) -> Result<(), ReplayError> {
    let groups: Vec<Vec<f64>> = groups.map(values_with).collect();
    if groups.len() < 2 {
        for name in ["legacy.anova.f", "legacy.anova.p", "legacy.anova.eta_squared"] {
            values.lacks(name, "fewer than two backends have moments");
        }
        return Ok(());
    }
    let at = || ReplayError::at("analysis of variance from moments");
    let samples =
        groups.iter().map(|group| Sample::new(group, "row")).collect::<Result<Vec<_>, _>>().map_err(at())?;
    let test = hypothesis::one_way_anova(&samples).map_err(at())?;
    values.put("legacy.anova.f", "", test.statistic.unwrap_or(f64::NAN));
    values.put("legacy.anova.p", "", test.p(crate::ALPHA).unwrap_or(f64::NAN));
    values.put("legacy.anova.eta_squared", "", effect::eta_squared(&samples, LEVEL).map_err(at())?.point);
    Ok(())
}

/// Moments of the two GPU labels, pooled from those of their cells.
pub(super) fn cells(data: &Artifacts, values: &mut Values) -> Result<(), ReplayError> {
    let table = data.table(
        CELLS,
        &["backend", "quantization", "scenario", "n", "mean_ms", "std_ms", "min_ms", "max_ms"],
    )?;
    let mut seen = std::collections::BTreeSet::new();
    let mut labels: BTreeMap<String, Vec<Moments>> = BTreeMap::new();
    let mut range: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for row in table.rows() {
        let name = short(row.text("backend")?);
        let key = (name.clone(), row.text("quantization")?, row.text("scenario")?);
        if !seen.insert(key.clone()) {
            return Err(row.malformed(format!("the cell {} {} {} comes twice", key.0, key.1, key.2)));
        }
        let (low, high) = (row.number("min_ms")?, row.number("max_ms")?);
        let range = range.entry(name.clone()).or_insert((low, high));
        *range = (range.0.min(low), range.1.max(high));
        let cell = Moments { n: count(&row, "n")?, mean: row.number("mean_ms")?, sd: row.number("std_ms")? };
        labels.entry(name).or_default().push(cell);
    }
    let mut pooled = BTreeMap::new();
    for (name, cells) in &labels {
        let moments = pool(cells);
        let (low, high) = range[name];
        values.put(format!("legacy.{name}.n"), "", moments.n as f64);
        values.put(format!("legacy.{name}.mean"), "ms", moments.mean);
        values.put(format!("legacy.{name}.sd"), "ms", moments.sd);
        values.put(format!("legacy.{name}.min"), "ms", low);
        values.put(format!("legacy.{name}.max"), "ms", high);
        let n = moments.n as f64;
        values.put(format!("legacy.{name}.mean_without_max"), "ms", (n * moments.mean - high) / (n - 1.0));
        pooled.insert(name.as_str(), moments);
    }
    let (gpu, compile) = (pooled.get("gpu"), pooled.get("gpu_compile"));
    if let Some((gpu, compile)) = gpu.zip(compile) {
        values.put("legacy.label.mean_delta", "ms", compile.mean - gpu.mean);
    }
    compare(values, "label", gpu, compile)
}

/// Moments of the union of groups.
pub(super) fn pool(groups: &[Moments]) -> Moments {
    let n: usize = groups.iter().map(|group| group.n).sum();
    let mean = groups.iter().map(|group| group.n as f64 * group.mean).sum::<f64>() / n as f64;
    let squares: f64 = groups
        .iter()
        .map(|group| (group.n as f64 - 1.0) * group.sd.powi(2) + group.n as f64 * (group.mean - mean).powi(2))
        .sum();
    Moments { n, mean, sd: (squares / (n as f64 - 1.0)).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_values_have_the_moments_and_pools_are_those_of_the_union() {
        let (a, b) = (Moments { n: 7, mean: 3.0, sd: 2.0 }, Moments { n: 4, mean: -1.0, sd: 0.5 });
        let (x, y) = (values_with(a), values_with(b));
        let sample = Sample::new(&x, "row").unwrap();
        assert!((sample.mean() - 3.0).abs() < 1e-12 && (sample.sd().unwrap() - 2.0).abs() < 1e-12);
        let union = [x, y].concat();
        let union = Sample::new(&union, "row").unwrap();
        let pooled = pool(&[a, b]);
        assert!(
            (pooled.mean - union.mean()).abs() < 1e-12 && (pooled.sd - union.sd().unwrap()).abs() < 1e-12
        );
    }
}
