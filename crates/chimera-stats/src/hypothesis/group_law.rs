//! Exact laws of the rank statistics of several groups, by counting the ways to each state of the rank sums. Not a general
//! permutation engine: it knows groups of independent values and blocks of paired ones, and gives up where the states
//! become too many.

/// Most groups.
const GROUPS: usize = 8;
/// Steps from state to state that an exact law may take by default: some 20 ms.
pub(super) const EASY: usize = 300_000;
/// Steps that it may take on request: a second or so.
pub(super) const HARD: usize = 5_000_000;
/// Bits of a doubled rank sum beside the count of its group: 31 values have rank sums up to 992.
const SUM_BITS: u32 = 11;
/// Most values of independent groups, so that count and sum share 16 bits.
const MOST_VALUES: usize = 31;

/// One cell per group; unused ones are 0.
type State = [u16; GROUPS];

/// Share of the arrangements at least as extreme as the observed one, and of the most extreme ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tail {
    pub(super) p: f64,
    pub(super) smallest_p: f64,
}

/// Every way to split the doubled ranks into groups of these sizes, by the weighted sum of squared rank sums; the
/// observed split is the given order. None beyond `steps`, 8 groups or 31 values.
pub(super) fn splits(ranks: &[u64], sizes: &[usize], steps: usize) -> Option<Tail> {
    if sizes.len() > GROUPS || ranks.len() > MOST_VALUES {
        return None;
    }
    // Groups of one size can trade places: sorted by size, their states are kept in order.
    let mut classes = sizes.to_vec();
    classes.sort_unstable();
    let mut layer: Vec<(State, f64)> = vec![([0; GROUPS], 1.0)];
    let mut taken = 0;
    for rank in ranks {
        let mut next = Vec::with_capacity(layer.len() * classes.len());
        for (state, ways) in layer {
            for (group, size) in classes.iter().enumerate() {
                let cell = state[group];
                if usize::from(cell >> SUM_BITS) < *size {
                    let mut to = state;
                    to[group] = cell + (1 << SUM_BITS) + *rank as u16;
                    let mut start = 0;
                    for class in classes.chunk_by(|a, b| a == b) {
                        to[start..start + class.len()].sort_unstable();
                        start += class.len();
                    }
                    next.push((to, ways));
                }
            }
        }
        taken += next.len();
        if taken > steps {
            return None;
        }
        layer = merged(next);
    }
    // Squares over sizes as whole numbers, so that equal statistics compare equal.
    let common: u128 = classes.iter().fold(1, |all, size| lcm(all, *size as u128));
    let weighed = |sum: u64, size: usize| u128::from(sum * sum) * (common / size as u128);
    let score = |state: &State| -> u128 {
        let sum = |cell: u16| u64::from(cell & ((1 << SUM_BITS) - 1));
        state.iter().zip(&classes).map(|(cell, size)| weighed(sum(*cell), *size)).sum()
    };
    let mut start = 0;
    let observed = sizes
        .iter()
        .map(|size| {
            start += size;
            weighed(ranks[start - size..start].iter().sum(), *size)
        })
        .sum();
    Some(tail(layer.iter().map(|(state, ways)| (score(state), *ways)), observed))
}

/// Every way to hand out the doubled ranks of each block to the arms, by the sum of squared rank sums. None beyond
/// `steps`, 8 arms or rank sums of more than 16 bits.
pub(super) fn blocks(rows: &[Vec<u64>], steps: usize) -> Option<Tail> {
    let arms = rows.first()?.len();
    let most: u64 = rows.iter().map(|row| row.iter().max().copied().unwrap_or(0)).sum();
    if arms > GROUPS || u16::try_from(most).is_err() {
        return None;
    }
    let mut layer: Vec<(State, f64)> = vec![([0; GROUPS], 1.0)];
    let mut taken = 0;
    for row in rows {
        let orders = orders(row);
        taken += layer.len().saturating_mul(orders.len());
        if taken > steps {
            return None;
        }
        let mut next = Vec::with_capacity(layer.len() * orders.len());
        for (state, ways) in &layer {
            for order in &orders {
                let mut to = *state;
                for (cell, rank) in to.iter_mut().zip(order) {
                    *cell += rank;
                }
                to[..arms].sort_unstable();
                next.push((to, *ways));
            }
        }
        layer = merged(next);
    }
    let square = |sum: u64| u128::from(sum * sum);
    let score = |state: &State| state.iter().map(|cell| square(u64::from(*cell))).sum();
    let observed = (0..arms).map(|arm| square(rows.iter().map(|row| row[arm]).sum())).sum();
    Some(tail(layer.iter().map(|(state, ways)| (score(state), *ways)), observed))
}

/// The different orders of a block's ranks, each of which is as likely as the next.
fn orders(row: &[u64]) -> Vec<Vec<u16>> {
    let mut order: Vec<u16> = row.iter().map(|rank| *rank as u16).collect();
    order.sort_unstable();
    let mut all = vec![order.clone()];
    // The next order of the alphabet, until the last.
    while let Some(pivot) = (1..order.len()).rev().find(|i| order[i - 1] < order[*i]).map(|i| i - 1) {
        let swap = (pivot + 1..order.len()).rev().find(|i| order[*i] > order[pivot]).unwrap_or(pivot);
        order.swap(pivot, swap);
        order[pivot + 1..].reverse();
        all.push(order.clone());
    }
    all
}

/// Equal states as one, with the ways of all.
fn merged(mut states: Vec<(State, f64)>) -> Vec<(State, f64)> {
    states.sort_unstable_by_key(|state| state.0);
    states.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 += later.1;
        }
        same
    });
    states
}

fn tail(scores: impl Iterator<Item = (u128, f64)>, observed: u128) -> Tail {
    let (mut total, mut as_extreme, mut most, mut at_most) = (0.0, 0.0, 0, 0.0);
    for (score, ways) in scores {
        total += ways;
        if score >= observed {
            as_extreme += ways;
        }
        if score > most {
            (most, at_most) = (score, 0.0);
        }
        if score == most {
            at_most += ways;
        }
    }
    Tail { p: as_extreme / total, smallest_p: at_most / total }
}

fn lcm(a: u128, b: u128) -> u128 {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published: three groups of three that do not overlap, H = 7.2, have p 6 / 1680; three arms in the same order in
    /// three blocks, Q = 6, have p 1 / 36.
    #[test]
    fn laws_of_three_by_three_are_the_published_ones() {
        let apart: Vec<u64> = (1..=9).map(|rank| 2 * rank).collect();
        let found = splits(&apart, &[3, 3, 3], EASY).unwrap();
        assert_eq!((found.p, found.smallest_p), (6.0 / 1680.0, 6.0 / 1680.0));
        let agreed = blocks(&vec![vec![2, 4, 6]; 3], EASY).unwrap();
        assert_eq!((agreed.p, agreed.smallest_p), (1.0 / 36.0, 1.0 / 36.0));
    }

    #[test]
    fn work_is_bounded() {
        let many: Vec<u64> = (1..=31).map(|rank| 2 * rank).collect();
        assert_eq!(splits(&many, &[6, 6, 6, 6, 7], EASY), None);
        assert_eq!(splits(&(1..=32).collect::<Vec<_>>(), &[16, 16], HARD), None);
        assert_eq!(blocks(&vec![(1..=8).map(|rank| 2 * rank).collect(); 9], EASY), None);
        // Orders are counted without repeating equal ranks.
        assert_eq!(orders(&[3, 3, 6]).len(), 3);
        assert_eq!(orders(&[2, 4, 6, 8]).len(), 24);
    }
}
