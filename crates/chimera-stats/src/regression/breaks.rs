//! How sure the break points of a segmented line are: a bootstrap over its points. A break is a place, not a coefficient: its
//! resamples may gather at two places, or run to the edge of the data, and an interval alone would hide both, so they are
//! told beside it.

use serde::{Deserialize, Serialize};

use super::segmented::{Search, Segmented, best, breaks, in_order, segmented};
use crate::random::Resampling;
use crate::{Interval, Sample, StatsError};

/// Most points: every resample is searched anew, at a cost quadratic in them.
const MOST: usize = 512;
/// Below this share of resamples that can be cut into so many pieces there is no interval.
const LEAST_SHARE: f64 = 0.95;
/// A gathering of less than this share of the resamples is no mode, an edge with less is none.
const SHARE_OF_A_MODE: f64 = 0.1;

/// A place at which resampled breaks gather.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mode {
    /// Median of the breaks gathered there, in x.
    pub at: f64,
    /// Their share of the resamples.
    pub share: f64,
}

/// One break point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Break {
    /// Where the fit to all points breaks, in x.
    pub at: f64,
    /// Type-7 percentile interval of the resampled break. None where fewer than 95 % of the resamples could be cut into
    /// as many pieces as the fit.
    pub interval: Option<Interval>,
    /// Where the resampled breaks gather, in x: maxima of their distribution with at least a tenth of the resamples and a
    /// valley of less than half their height between them.
    pub modes: Vec<Mode>,
    /// Share of the resamples that break at the first or last place where the points allow a break at all.
    pub edge: f64,
}

impl Break {
    /// Whether the resamples gather at more than one place: the interval then spans places where no break is.
    #[must_use]
    pub fn is_multimodal(&self) -> bool {
        self.modes.len() > 1
    }

    /// Whether a tenth of the resamples or more break as far out as they can: the true break may lie outside the data.
    #[must_use]
    pub fn is_at_edge(&self) -> bool {
        self.edge >= SHARE_OF_A_MODE
    }
}

/// The break points of a segmented line, each with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breaks {
    /// The fit to all points.
    pub fit: Segmented,
    /// Its breaks, in x; empty if BIC chose one line.
    pub breaks: Vec<Break>,
    /// Share of the resamples for which BIC chooses the number of pieces that it chose for all points. Points drawn twice
    /// make breaks look better than they are: a straight line stays one line in about half of the resamples.
    pub same_count: f64,
    /// Number of points.
    pub n: usize,
    /// Resamples drawn.
    pub resamples: usize,
}

/// [`segmented`], and its breaks over resampled points (the case bootstrap: points are taken as drawn at random). Every
/// resample is cut into as many pieces as the fit, and its first break stands against the first, and so on. The interval
/// is cautious: over 40 points whose slope changes by half a residual sd a point and whose level by 0, 1 or 3 residual sd,
/// the 95 % interval holds the place of the break in 98 to 100 % of studies.
///
/// # Errors
/// As [`segmented`]; [`StatsError::InvalidParameter`] beyond 512 points or below 100 resamples.
pub fn breaks_bootstrap(
    x: &[f64],
    y: &[f64],
    most_segments: usize,
    least_points: usize,
    resampling: Resampling,
    level: f64,
) -> Result<Breaks, StatsError> {
    let n = x.len();
    if n > MOST {
        let expected = "at most 512";
        return Err(StatsError::InvalidParameter { name: "points", value: n as f64, expected });
    }
    let mut indices = resampling.indices()?;
    let fit = segmented(x, y, most_segments, least_points, level)?;
    let count = fit.breaks.len();
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); count];
    let mut edges = vec![0_usize; count];
    let mut same = 0_usize;
    let (mut rx, mut ry) = (vec![0.0; n], vec![0.0; n]);
    for _ in 0..resampling.resamples {
        for slot in 0..n {
            let index = indices.below(n);
            (rx[slot], ry[slot]) = (x[index], y[index]);
        }
        let (sx, sy) = in_order(&rx, &ry);
        let search = Search::new(&sx, &sy, most_segments, least_points);
        let bic = search.bic();
        same += usize::from(best(&bic) == Some(count));
        if count == 0 || bic[count].is_none() {
            continue;
        }
        let ends = search.ends(count);
        for (which, at) in breaks(&sx, &ends).into_iter().enumerate() {
            found[which].push(at);
            edges[which] += usize::from(is_edge(&sx, ends[which + 1], least_points));
        }
    }
    let total = resampling.resamples as f64;
    let breaks = fit
        .breaks
        .iter()
        .zip(found.iter().zip(edges))
        .map(|(at, (found, edge))| {
            let enough = found.len() as f64 >= LEAST_SHARE * total;
            let interval = enough.then(|| {
                let sorted = Sample::trusted(found, "resample").sorted();
                let tail = (1.0 - level) / 2.0;
                Interval { low: sorted.at(tail), high: sorted.at(1.0 - tail), level }
            });
            Break { at: *at, interval, modes: modes(x, found, total), edge: edge as f64 / total }
        })
        .collect();
    Ok(Breaks { fit, breaks, same_count: same as f64 / total, n, resamples: resampling.resamples })
}

/// Whether no break is possible nearer to one end of the points, which are in order of x.
fn is_edge(x: &[f64], end: usize, least_points: usize) -> bool {
    let n = x.len();
    let cuttable = |range: std::ops::Range<usize>| range.into_iter().any(|cut| x[cut] != x[cut - 1]);
    !cuttable(least_points..end) || !cuttable(end + 1..n + 1 - least_points)
}

/// Places where breaks gather. They are counted by the gap between neighbouring x that they fall into (a break on an x
/// counts to the gap above it) and the counts smoothed with weights 1, 2, 1, so that one empty gap parts nothing.
fn modes(x: &[f64], found: &[f64], total: f64) -> Vec<Mode> {
    let mut places = x.to_vec();
    places.sort_unstable_by(f64::total_cmp);
    places.dedup();
    let mut gaps: Vec<Vec<f64>> = vec![Vec::new(); places.len() + 1];
    for at in found {
        gaps[places.partition_point(|place| place <= at)].push(*at);
    }
    let count = |gap: Option<&Vec<f64>>| gap.map_or(0, Vec::len);
    let smooth: Vec<usize> = (0..gaps.len())
        .map(|i| {
            2 * gaps[i].len()
                + count(gaps.get(i + 1))
                + count(i.checked_sub(1).and_then(|below| gaps.get(below)))
        })
        .collect();
    // Runs between valleys: a run ends where the counts have fallen below half its peak and rise above twice the low.
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut start, mut peak, mut low, mut valley) = (0, 0, usize::MAX, 0);
    for (i, height) in smooth.iter().enumerate() {
        if *height > peak && low == usize::MAX {
            peak = *height;
        } else if *height < low {
            (low, valley) = (*height, i);
        }
        if low == usize::MAX {
            continue;
        }
        if 2 * low < peak && 2 * low < *height {
            runs.push(start..valley);
            (start, peak, low) = (valley, *height, usize::MAX);
        } else if *height > peak {
            (peak, low) = (*height, usize::MAX);
        }
    }
    runs.push(start..gaps.len());
    runs.into_iter()
        .filter_map(|run| {
            let gathered = gaps[run].concat();
            let share = gathered.len() as f64 / total;
            (share >= SHARE_OF_A_MODE)
                .then(|| Mode { at: Sample::trusted(&gathered, "resample").median(), share })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gatherings_are_told_apart_by_a_valley() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let at = |counts: &[(f64, usize)]| -> Vec<f64> {
            counts.iter().flat_map(|(at, count)| vec![*at; *count]).collect()
        };
        let of = |counts: &[(f64, usize)]| -> Vec<(f64, f64)> {
            modes(&x, &at(counts), 100.0).iter().map(|m| (m.at, m.share)).collect()
        };
        assert_eq!(of(&[(4.5, 60), (12.5, 40)]), [(4.5, 0.6), (12.5, 0.4)]);
        // Neighbours are one gathering, a gap that no resample chose among them or not.
        assert_eq!(of(&[(4.5, 40), (5.5, 20), (7.5, 40)]).len(), 1);
        // A twentieth elsewhere is no second mode.
        assert_eq!(of(&[(4.5, 95), (12.5, 5)]), [(4.5, 0.95)]);
        assert_eq!(of(&[(3.5, 30), (9.5, 35), (15.5, 35)]).len(), 3);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn an_edge_is_where_no_break_lies_further_out() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0, 7.0];
        // The cut among the equal fives is none, so that the one below it is the last.
        assert!(is_edge(&x, 3, 3) && is_edge(&x, 4, 3));
        assert!(!is_edge(&x, 4, 2) && is_edge(&x, 6, 2));
    }
}
