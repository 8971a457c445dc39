//! A line, or several in a row: where a law of growth changes, with the number of pieces chosen by BIC. The pieces need
//! not meet: what changes between regimes is often the level as well as the slope. Choosing the breaks uses up data that
//! the intervals of the pieces do not know of; they describe, they do not test.

use serde::{Deserialize, Serialize};

use super::simple::check;
use super::{LinearFit, ols};
use crate::StatsError;
use crate::error::{check_count, check_level};
use crate::summary::{mean, norm};

/// One piece.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Smallest x in it.
    pub from: f64,
    /// Largest x in it.
    pub to: f64,
    /// Its line; the number of points is in it.
    pub fit: LinearFit,
}

/// Pieces, and how the other counts of pieces compare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segmented {
    /// The pieces of the best fit, in x.
    pub segments: Vec<Segment>,
    /// Break points: half way between the last x of a piece and the first of the next.
    pub breaks: Vec<f64>,
    /// BIC of the best fit with 1, 2, ... pieces: n ln(SSE / n) + 3 pieces ln n (slope, intercept and break each, the
    /// variance in place of the missing last break). Absent where so many pieces do not fit.
    pub bic: Vec<Option<f64>>,
}

impl Segmented {
    /// BIC of one line minus that of the best fit: above 10 is strong evidence of a break (Kass and Raftery 1995, *JASA*
    /// 90), 0 if there is none.
    #[must_use]
    pub fn evidence(&self) -> f64 {
        let best = self.bic.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        self.bic.first().copied().flatten().map_or(f64::INFINITY, |one| one - best)
    }
}

/// Most points; the search is quadratic in them.
const MOST: usize = 4_096;

/// Best piecewise lines of y on x with up to `most_segments` pieces of at least `least_points` points (3 or more), found
/// by dynamic programming over all breaks; equal x stay together.
///
/// # Errors
/// As [`super::ols`]; [`StatsError::InvalidParameter`] for no pieces, pieces of fewer than 3 points, or beyond 4,096
/// points.
pub fn segmented(
    x: &[f64],
    y: &[f64],
    most_segments: usize,
    least_points: usize,
    level: f64,
) -> Result<Segmented, StatsError> {
    const WHAT: &str = "segmented regression";
    check_level(level)?;
    check(WHAT, x, y)?;
    for (name, value, holds, expected) in [
        ("pieces", most_segments, most_segments >= 1, "at least 1"),
        ("points of a piece", least_points, least_points >= 3, "at least 3"),
        ("points", x.len(), x.len() <= MOST, "at most 4096"),
    ] {
        if !holds {
            return Err(StatsError::InvalidParameter { name, value: value as f64, expected });
        }
    }
    check_count(WHAT, least_points, x.len())?;
    let (x, y) = in_order(x, y);
    let search = Search::new(&x, &y, most_segments, least_points);
    let bic = search.bic();
    let chosen = best(&bic).ok_or(StatsError::Degenerate { what: WHAT, reason: "x is constant" })?;
    let ends = search.ends(chosen);
    let segments = ends
        .windows(2)
        .map(|w| {
            let fit = ols(&x[w[0]..w[1]], &y[w[0]..w[1]], level)?;
            Ok(Segment { from: x[w[0]], to: x[w[1] - 1], fit })
        })
        .collect::<Result<Vec<_>, StatsError>>()?;
    Ok(Segmented { segments, breaks: breaks(&x, &ends), bic })
}

/// The points by x.
pub(super) fn in_order(x: &[f64], y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    order.into_iter().map(|i| (x[i], y[i])).unzip()
}

/// Index of the least BIC, that is, the number of breaks.
pub(super) fn best(bic: &[Option<f64>]) -> Option<usize> {
    (0..bic.len()).filter(|pieces| bic[*pieces].is_some()).reduce(|a, b| if bic[b] < bic[a] { b } else { a })
}

/// The best fits of points in order of x, for every number of pieces.
pub(super) struct Search {
    n: usize,
    /// `rows[k][end]`: least cost of the first `end` points in k + 1 pieces, and where the last one starts. The last row
    /// holds its last entry alone.
    rows: Vec<Vec<(f64, usize)>>,
}

impl Search {
    pub(super) fn new(x: &[f64], y: &[f64], most_segments: usize, least_points: usize) -> Self {
        let n = x.len();
        let costs = Costs::new(x, y);
        let mut rows: Vec<Vec<(f64, usize)>> = Vec::new();
        let allowed = |end: usize| end == n || x[end] != x[end - 1];
        for pieces in 0..most_segments {
            let last = pieces + 1 == most_segments;
            let row = (0..=n)
                .map(|end| {
                    if end < least_points || (last && end < n) || !allowed(end) {
                        return (f64::INFINITY, 0);
                    }
                    let Some(before) = pieces.checked_sub(1).map(|p| &rows[p]) else {
                        return (costs.of(0, end), 0);
                    };
                    (least_points..=end - least_points)
                        .filter(|start| before[*start].0.is_finite())
                        .map(|start| (before[start].0 + costs.of(start, end), start))
                        .fold((f64::INFINITY, 0), |a, b| if b.0 < a.0 { b } else { a })
                })
                .collect();
            rows.push(row);
        }
        Self { n, rows }
    }

    /// BIC of the best fit with 1, 2, ... pieces.
    pub(super) fn bic(&self) -> Vec<Option<f64>> {
        let n = self.n as f64;
        self.rows
            .iter()
            .enumerate()
            .map(|(pieces, row)| {
                let cost = row[self.n].0;
                // y is on the scale of its norm: 1e-24 of it is the rounding of squares.
                let sse = cost.max(1e-24);
                cost.is_finite().then(|| n * (sse / n).ln() + 3.0 * (pieces + 1) as f64 * n.ln())
            })
            .collect()
    }

    /// Where the pieces of the best fit with so many breaks begin, and n at the end.
    pub(super) fn ends(&self, breaks: usize) -> Vec<usize> {
        let mut ends = vec![self.n];
        for pieces in (1..=breaks).rev() {
            let end = ends[ends.len() - 1];
            ends.push(self.rows[pieces][end].1);
        }
        ends.push(0);
        ends.reverse();
        ends
    }
}

/// Half way between the last x of a piece and the first of the next, for pieces that begin at `ends`.
pub(super) fn breaks(x: &[f64], ends: &[usize]) -> Vec<f64> {
    ends[1..ends.len() - 1].iter().map(|end| 0.5 * x[end - 1] + 0.5 * x[*end]).collect()
}

/// Sums before each point, of x and y on the scale of one.
struct Costs {
    sums: Vec<[f64; 5]>,
}

impl Costs {
    fn new(x: &[f64], y: &[f64]) -> Self {
        let scaled = |values: &[f64]| -> Vec<f64> {
            let centre = mean(values);
            let deviations: Vec<f64> = values.iter().map(|v| v - centre).collect();
            let norm = norm(&deviations);
            let norm = if norm > 0.0 { norm } else { 1.0 };
            deviations.iter().map(|d| d / norm).collect()
        };
        let mut sums = vec![[0.0; 5]];
        let mut total = [0.0; 5];
        for (x, y) in scaled(x).into_iter().zip(scaled(y)) {
            for (sum, term) in total.iter_mut().zip([x, y, x * x, x * y, y * y]) {
                *sum += term;
            }
            sums.push(total);
        }
        Self { sums }
    }

    /// Sum of squared residuals of the line through points `start` to `end`; infinite if their x are one.
    fn of(&self, start: usize, end: usize) -> f64 {
        let n = (end - start) as f64;
        let part = |k: usize| self.sums[end][k] - self.sums[start][k];
        let (sx, sy) = (part(0), part(1));
        let (xx, xy, yy) = (part(2) - sx * sx / n, part(3) - sx * sy / n, part(4) - sy * sy / n);
        if xx <= 1e-14 {
            return f64::INFINITY;
        }
        (yy - xy * xy / xx).max(0.0)
    }
}
