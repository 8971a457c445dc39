//! The two-sample Kolmogorov-Smirnov test: any difference between two laws, at little power for each. Of values in
//! blocks it knows nothing: give it replicates.

use super::outcome::{Alternative, Null, Test};
use crate::{Sample, StatsError};

/// Up to this many cells n times m the exact law is counted.
const EXACT_CELLS: usize = 4_000_000;

/// Kolmogorov-Smirnov test, two-sided; the statistic is the largest distance of the two distribution functions. Up to
/// n m = 4,000,000 the p is exact given the ties (lattice paths, Schröer and Trenkler 1995, *Computational Statistics and
/// Data Analysis* 20), above it is Kolmogorov's limit.
///
/// # Errors
/// [`StatsError::Overflow`] only.
pub fn kolmogorov_smirnov(a: Sample<'_>, b: Sample<'_>) -> Result<Test, StatsError> {
    const NAME: &str = "Kolmogorov-Smirnov";
    let (n, m) = (a.len(), b.len());
    let (a, b) = (a.sorted(), b.sorted());
    let (a, b) = (a.values(), b.values());
    // Places at which a block of equal values ends: only there do the distribution functions exist.
    let mut ends = vec![false; n + m + 1];
    ends[0] = true;
    let (mut i, mut j, mut largest) = (0, 0, 0_u64);
    while i < n || j < m {
        let next = match (a.get(i), b.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(v), None) | (None, Some(v)) => *v,
            (None, None) => break,
        };
        while i < n && a[i] == next {
            i += 1;
        }
        while j < m && b[j] == next {
            j += 1;
        }
        ends[i + j] = true;
        largest = largest.max(distance(i, j, n, m));
    }
    let constant = a[0] == a[n - 1] && b[0] == b[m - 1] && a[0] == b[0];
    let exact = n.saturating_mul(m) <= EXACT_CELLS;
    let statistic = (!constant).then(|| largest as f64 / (n as f64 * m as f64));
    let null = if exact { Null::Exact } else { Null::Kolmogorov };
    Test::guarded(NAME, vec![n, m], Alternative::TwoSided, null, statistic, |d| {
        if exact {
            // The largest distance that these ties leave: whole blocks of one arm before the other.
            let most = (0..=n + m)
                .filter(|place| ends[*place])
                .flat_map(|place| [place.min(n), place - place.min(m)].map(|i| distance(i, place - i, n, m)))
                .max()
                .unwrap_or(0);
            return Ok((outside(&ends, n, m, largest), Some(outside(&ends, n, m, most))));
        }
        let scale = (n as f64 / (n + m) as f64 * m as f64).sqrt();
        Ok((limit(d * scale), None))
    })
}

/// |i / n - j / m| times n m.
fn distance(i: usize, j: usize, n: usize, m: usize) -> u64 {
    ((i * m) as u64).abs_diff((j * n) as u64)
}

/// Probability that a random path from (0, 0) to (n, m) comes to `reach` or beyond where a block ends. Each cell holds the
/// share of paths to it that have; sums of shares keep every digit of a small p.
fn outside(ends: &[bool], n: usize, m: usize, reach: u64) -> f64 {
    let mut row = vec![0.0_f64; m + 1];
    for i in 0..=n {
        for j in 0..=m {
            row[j] = if ends[i + j] && distance(i, j, n, m) >= reach {
                1.0
            } else if i + j == 0 {
                0.0
            } else {
                let left = if j > 0 { row[j - 1] } else { 0.0 };
                let steps = (i + j) as f64;
                i as f64 / steps * row[j] + j as f64 / steps * left
            };
        }
    }
    row[m]
}

/// P(K > x) of Kolmogorov's law.
fn limit(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0;
    }
    if x < 1.0 {
        // Jacobi's form converges at once where the alternating one does not.
        let w = (-std::f64::consts::PI.powi(2) / (8.0 * x * x)).exp();
        let series: f64 = (0..6).map(|k| w.powi((2 * k + 1) * (2 * k + 1))).sum();
        return 1.0 - (2.0 * std::f64::consts::PI).sqrt() / x * series;
    }
    let term = |k: f64| (-2.0 * k * k * x * x).exp();
    (2.0 * (term(1.0) - term(2.0) + term(3.0) - term(4.0) + term(5.0))).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_law_has_its_published_values() {
        // scipy.special.kolmogorov.
        for (x, expected) in [
            (0.3, 0.999_990_694_198_665_4),
            (0.5, 0.963_945_243_664_875_1),
            (0.999_999, 0.270_000_743_627_456_5),
            (1.0, 0.269_999_671_677_355),
            (1.5, 0.022_217_962_616_525_3),
            (2.0, 0.000_670_925_255_779_695),
        ] {
            assert!((limit(x) / expected - 1.0).abs() < 1e-8, "{x}: {:e}", limit(x));
        }
    }

    #[test]
    fn the_exact_law_meets_the_limit() {
        let (n, m) = (1_000, 900);
        let ends = vec![true; n + m + 1];
        let scale = ((n * m) as f64 / (n + m) as f64).sqrt();
        let reach = (1.3 / scale * (n * m) as f64) as u64;
        assert!((outside(&ends, n, m, reach) / limit(1.3) - 1.0).abs() < 0.1);
    }
}
