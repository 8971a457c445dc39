//! Estimates that several reports ask for in the same words: means over replicates, ratios of groups, columns grouped by a
//! key. What a report means by a replicate is its own business and its unit's name.

use std::collections::BTreeMap;

use chimera_report::Cell;
use chimera_stats::{
    Estimate, Sample, StatsError, effect, hypothesis, hypothesis::Alternative, intervals, ratio,
};

use crate::{LEVEL, ReplayError, Row, Table};

/// Mean with its t interval over `unit`s; no interval below two values.
///
/// # Errors
/// An empty or non-finite sample.
pub fn mean(values: &[f64], unit: &'static str) -> Result<Estimate, StatsError> {
    intervals::mean_t(Sample::new(values, unit)?, LEVEL)
}

/// Geometric mean with the t interval of the logarithms over `unit`s.
///
/// # Errors
/// An empty sample, a value that is not positive.
pub fn geometric(values: &[f64], unit: &'static str) -> Result<Estimate, StatsError> {
    intervals::geometric_mean_t(Sample::new(values, unit)?, LEVEL)
}

/// Sum of numerators over sum of denominators with its linearised t interval: the throughput of many requests.
///
/// # Errors
/// Fewer than two pairs, denominators that sum to zero.
pub fn of_sums(numerators: &[f64], denominators: &[f64], unit: &'static str) -> Result<Estimate, StatsError> {
    ratio::of_sums(Sample::new(numerators, unit)?, Sample::new(denominators, unit)?, LEVEL)
}

/// Ratio of the geometric means of two independent groups, first over second.
///
/// # Errors
/// Fewer than two values in a group, a value that is not positive.
pub fn ratio_of(a: &[f64], b: &[f64], unit: &'static str) -> Result<Estimate, StatsError> {
    ratio::unpaired(Sample::new(a, unit)?, Sample::new(b, unit)?, LEVEL)
}

/// Difference of two independent means, first minus second, with Welch's interval.
///
/// # Errors
/// Fewer than two values in a group.
pub fn difference(a: &[f64], b: &[f64], unit: &'static str) -> Result<Estimate, StatsError> {
    effect::mean_difference_welch(Sample::new(a, unit)?, Sample::new(b, unit)?, LEVEL)
}

/// Two-sided p of Welch's t test; none where the test refuses one.
///
/// # Errors
/// Fewer than two values in a group.
pub fn welch_p(a: &[f64], b: &[f64], unit: &'static str) -> Result<Option<f64>, StatsError> {
    let test = hypothesis::welch_t(Sample::new(a, unit)?, Sample::new(b, unit)?, Alternative::TwoSided)?;
    Ok(test.p(crate::ALPHA).ok())
}

/// Values of a function of the rows by key; rows for which it gives nothing are left out.
///
/// # Errors
/// Those of the functions.
pub fn group<'t, K: Ord>(
    table: &'t Table,
    key: impl Fn(&Row<'t>) -> Result<K, ReplayError>,
    value: impl Fn(&Row<'t>) -> Result<Option<f64>, ReplayError>,
) -> Result<BTreeMap<K, Vec<f64>>, ReplayError> {
    let mut groups: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for row in table.rows() {
        if let Some(value) = value(&row)? {
            groups.entry(key(&row)?).or_default().push(value);
        }
    }
    Ok(groups)
}

/// The number of a run, in the column `run`.
///
/// # Errors
/// [`ReplayError::Malformed`] for anything else.
pub fn run_number(row: &Row<'_>) -> Result<u32, ReplayError> {
    let value = row.number("run")?;
    if !(0.0..=1e6).contains(&value) || value.fract() != 0.0 {
        return Err(row.malformed(format!("`run` is {value}, not the number of a run")));
    }
    Ok(value as u32)
}

/// A cell for an estimate that the statistics may have refused.
#[must_use]
pub fn cell(estimate: Result<Estimate, StatsError>) -> Cell {
    match estimate {
        Ok(estimate) => estimate.into(),
        Err(error) => Cell::missing(error.to_string()),
    }
}

/// The median; none without a value.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    Sample::new(values, "value").ok().map(|sample| sample.median())
}

/// The arithmetic mean, for published formulas.
#[must_use]
pub fn plain_mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_grouped_and_absent_values_left_out() {
        let table = Table::parse("x.csv", b"arm,v\na,1\nb,\na,3\n", &["arm", "v"]).unwrap();
        let groups = group(&table, |row| row.text("arm"), |row| row.maybe("v")).unwrap();
        assert_eq!(groups, BTreeMap::from([("a", vec![1.0, 3.0])]));
    }

    #[test]
    fn estimates_carry_their_unit() {
        let estimate = of_sums(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0], "run").unwrap();
        assert_eq!((estimate.point, estimate.unit.as_ref(), estimate.n), (2.0, "run", 3));
        assert_eq!(welch_p(&[1.0, 2.0], &[1.0, 2.0], "run").unwrap(), None, "two values give no p");
    }
}
