//! Tables of counts: outcomes by arm. Requests of one block that fail together are not independent counts; where blocks
//! differ compare the blocks' shares instead.

use serde::{Deserialize, Serialize};
use statrs::function::factorial::ln_binomial;

use super::outcome::{Alternative, Null, Test};
use crate::StatsError;
use crate::dist::chi_squared_sf;
use crate::error::{check_count, check_lengths, check_positive, in_range};
use crate::summary::sum;

/// A chi-squared test with what it takes to doubt it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountTest {
    /// The test.
    pub test: Test,
    /// The smallest expected count. Below 5 the chi-squared law is coarse: for two by two use [`fisher_exact`].
    pub smallest_expected: f64,
}

/// Pearson's test that rows and columns are independent; `yates` moves the differences of a two-by-two table half a step
/// towards zero. The `n` are the sums of the rows.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 rows or columns, [`StatsError::Mismatched`] rows, [`StatsError::Degenerate`] if a row or
/// column is empty.
pub fn chi_squared(table: &[&[u64]], yates: bool) -> Result<CountTest, StatsError> {
    const NAME: &str = "chi-squared";
    check_count(NAME, 2, table.len())?;
    let columns = table[0].len();
    check_count(NAME, 2, columns)?;
    for row in table {
        check_lengths(NAME, columns, row.len())?;
    }
    let rows: Vec<f64> = table.iter().map(|row| sum(row.iter().map(|c| *c as f64))).collect();
    let columns: Vec<f64> = (0..columns).map(|j| sum(table.iter().map(|row| row[j] as f64))).collect();
    if rows.iter().chain(&columns).any(|total| *total == 0.0) {
        return Err(StatsError::Degenerate { what: NAME, reason: "a row or a column is empty" });
    }
    let total = sum(rows.iter().copied());
    let dof = ((rows.len() - 1) * (columns.len() - 1)) as f64;
    let mut smallest_expected = f64::INFINITY;
    let mut terms = Vec::new();
    for (row, row_total) in table.iter().zip(&rows) {
        for (count, column_total) in row.iter().zip(&columns) {
            let expected = row_total / total * column_total;
            smallest_expected = smallest_expected.min(expected);
            let difference = (*count as f64 - expected).abs();
            let step = if yates && dof == 1.0 { difference.min(0.5) } else { 0.0 };
            terms.push((difference - step).powi(2) / expected);
        }
    }
    let n = rows.iter().map(|r| *r as usize).collect();
    let null = Null::ChiSquared { dof };
    let test = Test::guarded(NAME, n, Alternative::TwoSided, null, Some(sum(terms)), |x| {
        Ok((chi_squared_sf(x, dof)?, None))
    })?;
    Ok(CountTest { test, smallest_expected })
}

/// Pearson's test that counts follow given shares; the shares are scaled to the sum of the counts.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::TooFew`] below 2 cells, [`StatsError::NotPositive`] or
/// [`StatsError::NotFinite`] shares.
pub fn chi_squared_fit(counts: &[u64], shares: &[f64]) -> Result<CountTest, StatsError> {
    const NAME: &str = "chi-squared of fit";
    check_lengths(NAME, counts.len(), shares.len())?;
    check_count(NAME, 2, counts.len())?;
    check_positive("shares", shares)?;
    let total = sum(counts.iter().map(|c| *c as f64));
    let whole = in_range(NAME, sum(shares.iter().copied()))?;
    let expected: Vec<f64> = shares.iter().map(|s| s / whole * total).collect();
    let statistic =
        (total > 0.0).then(|| sum(counts.iter().zip(&expected).map(|(c, e)| (*c as f64 - e).powi(2) / e)));
    let dof = (counts.len() - 1) as f64;
    let null = Null::ChiSquared { dof };
    let test = Test::guarded(NAME, vec![total as usize], Alternative::TwoSided, null, statistic, |x| {
        Ok((chi_squared_sf(x, dof)?, None))
    })?;
    Ok(CountTest { test, smallest_expected: expected.into_iter().fold(f64::INFINITY, f64::min) })
}

/// Largest sum of a table that Fisher's test enumerates.
const MOST_COUNTS: u64 = 10_000_000;

/// Fisher's exact test of a two-by-two table. The statistic is the first cell; `Less` says that the first row has fewer of
/// the first column than its share. Two-sided p is the sum of all tables no more likely than the observed one.
///
/// # Errors
/// [`StatsError::InvalidParameter`] for more than ten million counts.
pub fn fisher_exact(table: [[u64; 2]; 2], alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "Fisher exact";
    let [[a, b], [c, d]] = table;
    let total = [a, b, c, d].iter().try_fold(0_u64, |sum, v| sum.checked_add(*v)).unwrap_or(u64::MAX);
    if total > MOST_COUNTS {
        return Err(StatsError::InvalidParameter {
            name: "counts in the table",
            value: total as f64,
            expected: "at most ten million",
        });
    }
    let (row, column) = (a + b, a + c);
    let low = column.saturating_sub(total - row);
    let high = row.min(column);
    let statistic = (high > low).then_some(a as f64);
    let n = vec![row as usize, (total - row) as usize];
    Test::guarded(NAME, n, alternative, Null::Exact, statistic, |_| {
        let ln_all = ln_binomial(total, column);
        let pmf: Vec<f64> = (low..=high)
            .map(|x| (ln_binomial(row, x) + ln_binomial(total - row, column - x) - ln_all).exp())
            .collect();
        // Logarithms of large factorials lose digits that a common factor gives back.
        let whole: f64 = pmf.iter().sum();
        let at = (a - low) as usize;
        let share = |part: &[f64]| part.iter().sum::<f64>() / whole;
        let no_likelier = |than: f64| pmf.iter().filter(|p| **p <= than * (1.0 + 1e-7)).sum::<f64>() / whole;
        let (first, last) = (pmf[0], pmf[pmf.len() - 1]);
        Ok(match alternative {
            Alternative::Less => (share(&pmf[..=at]), Some(first / whole)),
            Alternative::Greater => (share(&pmf[at..]), Some(last / whole)),
            Alternative::TwoSided => (no_likelier(pmf[at]), Some(no_likelier(first.min(last)))),
        })
    })
}
