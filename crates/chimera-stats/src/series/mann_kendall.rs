//! The Mann-Kendall test that a series neither rises nor falls. It sees a trend of one direction, not a step back and forth;
//! its size is found by [`crate::regression::theil_sen`].

use crate::dist::normal_sf;
use crate::hypothesis::{Alternative, Null, RankNull, Test};
use crate::rank::tie_groups;
use crate::{Sample, StatsError};

/// Up to this many values the exact law is the default.
const EXACT_UP_TO: usize = 60;
/// Beyond this the exact law is refused: its work grows with the fourth power of n.
const EXACT_LIMIT: usize = 120;

/// Mann-Kendall test over a series in order of time; the statistic is S, the pairs that rise less the pairs that fall
/// (Mann 1945, *Econometrica* 13). The exact law is that of the values in random order, ties included; the
/// approximation has the tie correction and, if asked, moves S one towards 0. [`Alternative::Greater`] is a rise.
///
/// # Errors
/// [`StatsError::InvalidParameter`] if the exact law is asked of more than 120 values.
pub fn mann_kendall(
    series: Sample<'_>,
    alternative: Alternative,
    null: RankNull,
) -> Result<Test, StatsError> {
    const NAME: &str = "Mann-Kendall";
    let values = series.values();
    let n = values.len();
    let groups: Vec<usize> = tie_groups(values).collect();
    let (mut rises, mut falls) = (0_usize, 0_usize);
    for (i, later) in values.iter().enumerate() {
        for earlier in &values[..i] {
            rises += usize::from(later > earlier);
            falls += usize::from(later < earlier);
        }
    }
    let s = rises as f64 - falls as f64;
    let statistic = (groups.len() > 1).then_some(s);
    let exact = match null {
        RankNull::Auto => n <= EXACT_UP_TO,
        RankNull::Exact if n > EXACT_LIMIT => {
            return Err(StatsError::InvalidParameter {
                name: "values",
                value: n as f64,
                expected: "at most 120 for the exact law",
            });
        }
        RankNull::Exact => true,
        RankNull::Normal { .. } => false,
    };
    if exact {
        return Test::guarded(NAME, vec![n], alternative, Null::Exact, statistic, |_| {
            let law = falling_pairs(&groups);
            let up_to = |most: usize| law[..=most].iter().sum::<f64>();
            // The law is the same from either end: rises are as falls in the series read backwards.
            let sides = alternative.p(up_to(rises), up_to(falls));
            let ends = alternative.p(law[0], law[0]);
            Ok((sides, Some(ends)))
        });
    }
    let spread = |k: f64| k * (k - 1.0) * (2.0 * k + 5.0);
    let variance = (spread(n as f64) - groups.iter().map(|t| spread(*t as f64)).sum::<f64>()) / 18.0;
    let step = if matches!(null, RankNull::Normal { continuity: false }) { 0.0 } else { 1.0 };
    Test::guarded(NAME, vec![n], alternative, Null::Normal, statistic, |s| {
        let p = |s: f64| {
            let moved = if s == 0.0 { 0.0 } else { s.signum() * (s.abs() - step) };
            let z = moved / variance.sqrt();
            alternative.p(normal_sf(-z), normal_sf(z))
        };
        let most = (rises + falls) as f64;
        Ok((p(s), Some(p(most).min(p(-most)))))
    })
}

/// Shares of the orders of values with these ties by their number of falling pairs.
fn falling_pairs(groups: &[usize]) -> Vec<f64> {
    let mut law = vec![1.0];
    let mut below = 0;
    for ties in groups {
        let one = placements(below, *ties);
        let mut next = vec![0.0; law.len() + one.len() - 1];
        for (falls, share) in law.iter().enumerate() {
            for (to, more) in next[falls..].iter_mut().zip(&one) {
                *to += share * more;
            }
        }
        law = next;
        below += ties;
    }
    law
}

/// Shares of the placements of `ties` equal values among `below` smaller ones by the pairs that fall: the
/// Gaussian binomial coefficient, by its recurrence on the last place of all.
fn placements(below: usize, ties: usize) -> Vec<f64> {
    if ties == 1 {
        return vec![1.0 / (below + 1) as f64; below + 1];
    }
    // law[b]: with b smaller values and the ties placed so far.
    let mut law: Vec<Vec<f64>> = vec![vec![1.0]; below + 1];
    for placed in 1..=ties {
        for b in 1..=below {
            // The last place holds a tied value, which falls under none behind it, or a smaller one, under all of them.
            let share = placed as f64 / (placed + b) as f64;
            let mut next = vec![0.0; placed * b + 1];
            for (to, from) in next.iter_mut().zip(&law[b]) {
                *to += share * from;
            }
            for (to, from) in next[placed..].iter_mut().zip(&law[b - 1]) {
                *to += (1.0 - share) * from;
            }
            law[b] = next;
        }
    }
    law.swap_remove(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pairs of ties: of six orders 1122 has no falling pair, 1212 one, 1221 and 2112 two, 2121 three, 2211 four.
    #[test]
    fn orders_of_two_pairs_by_hand() {
        let law: Vec<f64> = falling_pairs(&[2, 2]).iter().map(|share| share * 6.0).collect();
        assert_eq!(law.iter().map(|v| v.round()).collect::<Vec<_>>(), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert!((falling_pairs(&[3, 1, 4, 2]).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
