//! Which cells of two runs stand against each other, and their values block by block. Cells are grouped by the factors
//! of the comparison; within a group a block's value is the geometric mean over the cells that both runs have. What the
//! values say is not here.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::Metric;

use super::factor::{Factor, Only};
use crate::{CellKey, Index, PerBlock};

/// Levels of the factors of a comparison, in their order.
pub(super) type Levels = Vec<String>;

/// Cells of two runs with the same levels.
#[derive(Debug, Clone)]
pub(super) struct Group<'a> {
    pub(super) levels: Levels,
    pub(super) a: Vec<CellKey<'a>>,
    pub(super) b: Vec<CellKey<'a>>,
    /// What the group takes together although it is not the same on both sides.
    pub(super) against: Option<String>,
}

/// Groups that can be compared, and in words what has no partner.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    pub(super) groups: Vec<Group<'a>>,
    pub(super) unmatched: Vec<String>,
}

/// Groups the steady cells of two runs.
pub(super) fn groups<'a>(
    (a, only_a): (&Index<'a>, &[Only]),
    (b, only_b): (&Index<'a>, &[Only]),
    by: &[Factor],
) -> Groups<'a> {
    let mut sides: BTreeMap<Levels, [Vec<CellKey<'a>>; 2]> = BTreeMap::new();
    for (side, index, only) in [(0, a, only_a), (1, b, only_b)] {
        let kept = |cell: &CellKey<'_>| only.iter().all(|only| only.factor.of(cell) == only.level);
        for (cell, _) in index.cells().filter(|(cell, _)| kept(cell)) {
            let levels = by.iter().map(|factor| factor.of(cell)).collect();
            sides.entry(levels).or_default()[side].push(*cell);
        }
    }
    let rest: Vec<Factor> = Factor::ALL.iter().copied().filter(|factor| !by.contains(factor)).collect();
    let mut found = Groups::default();
    for (levels, [a, b]) in sides {
        let name = levels.join(" ");
        let of_rest = |cell: &CellKey<'_>| rest.iter().map(|factor| factor.of(cell)).collect::<Levels>();
        let common: BTreeSet<Levels> = {
            let (a, b): (BTreeSet<Levels>, BTreeSet<Levels>) =
                (a.iter().map(of_rest).collect(), b.iter().map(of_rest).collect());
            a.intersection(&b).cloned().collect()
        };
        match (a.as_slice(), b.as_slice()) {
            ([], _) => found.unmatched.push(format!("{name}: in run B alone")),
            (_, []) => found.unmatched.push(format!("{name}: in run A alone")),
            ([one], [other]) if common.is_empty() => {
                let differs = |factor: &&Factor| factor.of(one) != factor.of(other);
                let against: Vec<String> = rest
                    .iter()
                    .filter(differs)
                    .map(|factor| format!("{factor} {} against {}", factor.of(one), factor.of(other)))
                    .collect();
                found.groups.push(Group { levels, a, b, against: Some(against.join(", ")) });
            }
            _ if common.is_empty() => {
                found.unmatched.push(format!("{name}: the runs share no level of {}", names(&rest)));
            }
            _ => {
                let both = |cells: &[CellKey<'a>]| -> Vec<CellKey<'a>> {
                    cells.iter().copied().filter(|cell| common.contains(&of_rest(cell))).collect()
                };
                let left = a.len() + b.len() - 2 * common.len();
                if left > 0 {
                    found.unmatched.push(format!("{name}: {left} cells that only one run has are left out"));
                }
                let (a, b) = (both(&a), both(&b));
                found.groups.push(Group { levels, a, b, against: None });
            }
        }
    }
    found
}

fn names(factors: &[Factor]) -> String {
    factors.iter().map(|factor| factor.name()).collect::<Vec<_>>().join(", ")
}

/// Values of a metric, one per block that has all cells; an empty map where the metric is undefined. `Err` for a value
/// that has no logarithm.
pub(super) fn per_block(index: &Index<'_>, cells: &[CellKey<'_>], metric: Metric) -> Result<PerBlock, f64> {
    let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
    for cell in cells {
        for (block, value) in index.per_block(cell, metric) {
            if value <= 0.0 || !value.is_finite() {
                return Err(value);
            }
            let (sum, n) = sums.entry(block).or_default();
            *sum += value.ln();
            *n += 1;
        }
    }
    let whole = sums.into_iter().filter(|(_, (_, n))| *n == cells.len());
    Ok(whole.map(|(block, (sum, n))| (block, (sum / n as f64).exp())).collect())
}

/// Mean tokens per request of a group: prompt and generated. Equal work gives equal numbers.
pub(super) fn work(index: &Index<'_>, cells: &[CellKey<'_>]) -> Option<(f64, f64)> {
    let (mut prompt, mut generated, mut n) = (0.0, 0.0, 0.0);
    for lane in cells.iter().flat_map(|cell| index.steady(cell)).flat_map(|trial| &trial.lanes) {
        prompt += f64::from(lane.prompt_tokens?);
        generated += f64::from(lane.generated?);
        n += 1.0;
    }
    (n > 0.0).then(|| (prompt / n, generated / n))
}

/// Digests of what a group generated.
pub(super) fn outputs<'i>(index: &'i Index<'_>, cells: &'i [CellKey<'_>]) -> BTreeSet<&'i str> {
    cells
        .iter()
        .flat_map(|cell| index.steady(cell))
        .flat_map(|trial| &trial.lanes)
        .filter_map(|lane| lane.output.as_deref())
        .collect()
}
