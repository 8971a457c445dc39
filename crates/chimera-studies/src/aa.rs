//! The false-positive rate of a machine with a design: one run split into two halves that differ in nothing, held
//! against each other by the test that `compare` uses; and runs of one design held against each other. Random splits
//! check the test, splits by time check the machine: only those can see drift.

use std::fmt::Write as _;

use chimera_records::Metric;
use chimera_report::aligned;
use chimera_stats::{Estimate, Sample, StatsError, hypothesis, hypothesis::Alternative, intervals};
use rand::{SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use crate::{
    ALPHA, CellKey, Index, LEVEL, PerBlock, RunData, StudyError,
    compare::{self, Call, Outcome, percent},
};

/// Fewest blocks that can be split: three against three.
pub const FEWEST_BLOCKS: usize = 6;
/// Random splits that are tried at most; fewer where there are fewer.
const SPLITS: usize = 1_000;
/// Seed of the random splits.
const SEED: u64 = 4_711;

/// What splits of one run say of one metric.
#[derive(Debug, Clone, Serialize)]
pub struct SplitRates {
    /// Metric by name.
    pub metric: &'static str,
    /// Cells with enough blocks.
    pub cells: usize,
    /// Blocks of a cell, the fewest.
    pub blocks: usize,
    /// Splits that were tried at random, the same for every cell.
    pub splits: usize,
    /// Share of (split, cell) pairs in which the test at alpha finds a difference. Its interval is over splits, which
    /// share their blocks: it tells the test's behaviour on these blocks, not on others.
    pub random: f64,
    /// Share of splits in which any cell differs after Holm: what a whole comparison would cry wolf at.
    pub family: f64,
    /// Share of cells in which the first half of the blocks differs from the second.
    pub halves: f64,
    /// The same for odd and even blocks.
    pub alternating: f64,
    /// Cells in which the first half differs from the second after Holm over all metrics: the machine drifts there.
    pub drifting: Vec<String>,
    /// The change that 95 % of random splits stay below, as a share: the noise floor of halves of this run.
    pub noise_floor: f64,
}

/// What pairs of runs of one design say.
#[derive(Debug, Clone, Serialize)]
pub struct PairRates {
    /// Pairs of runs.
    pub pairs: usize,
    /// Rows of all pairs.
    pub rows: usize,
    /// Share of rows with an unadjusted p at most alpha.
    pub raw: f64,
    /// Share of pairs in which a whole comparison calls any row slower, faster or different.
    pub family: Estimate,
    /// Pairs that are not comparable, and why.
    pub obstacles: Vec<String>,
}

/// Rates of one run or of several.
#[derive(Debug, Clone, Serialize)]
pub struct Aa {
    /// Run ids.
    pub runs: Vec<String>,
    /// Level of every test.
    pub alpha: f64,
    /// Splits within the first run.
    pub splits: Vec<SplitRates>,
    /// Runs against each other, where there are several.
    pub pairs: Option<PairRates>,
}

impl Aa {
    /// Whether the machine failed its own test: a drift that survives Holm, or pairs of runs that differ more often than
    /// alpha by more than chance.
    #[must_use]
    pub fn failed(&self) -> bool {
        let drifts = self.splits.iter().any(|split| !split.drifting.is_empty());
        let pairs = self.pairs.as_ref().and_then(|pairs| pairs.family.interval);
        drifts || pairs.is_some_and(|interval| interval.low > self.alpha)
    }
}

/// Splits the first run, and compares every pair of the runs.
///
/// # Errors
/// [`StudyError::Question`] without runs or with fewer than [`FEWEST_BLOCKS`] blocks; a statistic that refused its input.
pub fn aa(runs: &[RunData], metrics: &[Metric]) -> Result<Aa, StudyError> {
    let Some(first) = runs.first() else {
        return Err(StudyError::Question { reason: "no run was given".into() });
    };
    let index = Index::new(first);
    let usual = compare::usual(&first.trials, &first.trials);
    let metrics = if metrics.is_empty() { usual.as_slice() } else { metrics };
    let mut splits = Vec::new();
    for metric in metrics {
        splits.extend(split_rates(&index, *metric)?);
    }
    let splits = judge_drift(splits)?;
    if splits.is_empty() && runs.len() < 2 {
        let most =
            index.cells().map(|(cell, _)| index.per_block(cell, Metric::E2eEngine).len()).max().unwrap_or(0);
        return Err(StudyError::Question {
            reason: format!(
                "the run has {most} blocks and an A/A split needs {FEWEST_BLOCKS}: run the design with more blocks, or \
                 give several runs of it"
            ),
        });
    }
    let pairs = if runs.len() > 1 { Some(pair_rates(runs, metrics)?) } else { None };
    Ok(Aa { runs: runs.iter().map(|run| run.manifest.run_id.clone()).collect(), alpha: ALPHA, splits, pairs })
}

/// Rates as text: an aligned Markdown table and what it means.
#[must_use]
pub fn markdown(aa: &Aa) -> String {
    let mut out = String::new();
    if let Some(first) = aa.runs.first().filter(|_| !aa.splits.is_empty()) {
        let head = [
            "metric",
            "cells",
            "blocks",
            "random splits",
            "any cell after Holm",
            "first half v. second",
            "odd v. even",
            "noise floor",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        for split in &aa.splits {
            lines.push(vec![
                split.metric.to_owned(),
                split.cells.to_string(),
                split.blocks.to_string(),
                format!("{} of {} splits", percent(split.random), split.splits),
                percent(split.family),
                percent(split.halves),
                percent(split.alternating),
                percent(split.noise_floor),
            ]);
        }
        let _ = writeln!(out, "### False positives within `{first}` at alpha {}\n", percent(aa.alpha));
        out.push_str(&aligned(&lines, 1));
        out.push_str(
            "\nRandom splits check the test: about alpha is right. First half against second, and odd against even, check \
             the machine: only an order can show drift; cells of one block share their luck, so these two shares move in \
             steps larger than one cell. Noise floor: the change that 95 % of random splits stay below.\n",
        );
        for split in &aa.splits {
            for cell in &split.drifting {
                let _ = writeln!(
                    out,
                    "\n**Drift**: {} of {cell} differs between the halves after Holm.",
                    split.metric
                );
            }
        }
    }
    if let Some(pairs) = &aa.pairs {
        let _ = writeln!(
            out,
            "\n### False positives between {} runs\n\n{} pairs, {} rows: {} of the rows differ at alpha {} unadjusted; in \
             {} of the pairs a whole comparison calls a change (nothing changed). Pairs share runs: the interval counts \
             {} disjoint pairs.",
            aa.runs.len(),
            pairs.pairs,
            pairs.rows,
            percent(pairs.raw),
            percent(aa.alpha),
            chimera_report::show_estimate(&pairs.family, ""),
            pairs.family.n,
        );
        for obstacle in &pairs.obstacles {
            let _ = writeln!(out, "\n- not comparable: {obstacle}");
        }
    }
    let verdict = if aa.failed() {
        "The machine does not hold its error rate: two equal halves, or two equal runs, differ."
    } else {
        "Nothing here contradicts the stated error rate."
    };
    let _ = writeln!(out, "\n{verdict}");
    out
}

/// Rates of one metric, and the p of first half against second by cell.
struct Splits {
    rates: SplitRates,
    halves: Vec<(String, f64)>,
}

fn split_rates(index: &Index<'_>, metric: Metric) -> Result<Option<Splits>, StudyError> {
    // One split of the blocks serves all cells: cells of one process share its luck, and so must their splits.
    let per_cell: Vec<(&CellKey<'_>, PerBlock)> = index
        .cells()
        .map(|(cell, _)| (cell, index.per_block(cell, metric)))
        .filter(|(_, values)| values.len() >= FEWEST_BLOCKS && values.values().all(|value| *value > 0.0))
        .collect();
    let Some(blocks) = per_cell.iter().map(|(_, values)| values.len()).min() else { return Ok(None) };
    let logs: Vec<Vec<f64>> =
        per_cell.iter().map(|(_, values)| values.values().map(|value| value.ln()).collect()).collect();
    let place = || StudyError::at(format!("splits of {}", metric.name()));
    let test = |cell: &[f64], second: &dyn Fn(usize) -> bool| -> Result<(Option<f64>, f64), StudyError> {
        let part = |wanted: bool| -> Vec<f64> {
            cell.iter().enumerate().filter(|(i, _)| second(*i) == wanted).map(|(_, v)| *v).collect()
        };
        let (a, b) = (part(false), part(true));
        let (a, b) = (Sample::new(&a, "block").map_err(place())?, Sample::new(&b, "block").map_err(place())?);
        let test = hypothesis::welch_t(b, a, Alternative::TwoSided).map_err(place())?;
        Ok((test.p(ALPHA).ok(), (b.mean() - a.mean()).abs()))
    };
    let hit = |p: &Option<f64>| p.is_some_and(|p| p <= ALPHA);
    let (mut hits, mut families, mut tests) = (0_usize, 0_usize, 0_usize);
    let mut changes: Vec<f64> = Vec::new();
    let orders = random_halves(blocks);
    for second in &orders {
        let mut ps = Vec::new();
        for cell in &logs {
            // A cell with more blocks than the fewest is cut to it, so that one split fits all.
            let (p, change) = test(&cell[..blocks], &|i| second[i])?;
            hits += usize::from(hit(&p));
            tests += 1;
            ps.extend(p);
            changes.push(change);
        }
        let adjusted = hypothesis::holm(&ps).map_err(place())?;
        families += usize::from(adjusted.iter().any(|p| *p <= ALPHA));
    }
    let mut halves = Vec::new();
    let mut alternating = 0_usize;
    for cell in &logs {
        halves.push(test(cell, &|i| i >= cell.len() / 2)?.0);
        alternating += usize::from(hit(&test(cell, &|i| i % 2 == 1)?.0));
    }
    let changes = Sample::new(&changes, "split").map_err(place())?;
    let floor = changes.sorted().quantile(0.95).map_err(place())?;
    let name = |cell: &CellKey<'_>| {
        let at_once = match cell.concurrency {
            1 => String::new(),
            n => format!(" concurrency {n}"),
        };
        let (model, scenario, budget, batch, arm) =
            (cell.model, cell.scenario, cell.budget, cell.batch, cell.arm);
        format!("{model} {scenario} gen {budget} batch {batch}{at_once} ({arm})")
    };
    let tested = per_cell.iter().zip(&halves).filter_map(|((cell, _), p)| Some((name(cell), (*p)?)));
    let cells = logs.len();
    let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
    Ok(Some(Splits {
        halves: tested.collect(),
        rates: SplitRates {
            metric: metric.name(),
            cells,
            blocks,
            splits: orders.len(),
            random: share(hits, tests),
            family: share(families, orders.len()),
            halves: share(halves.iter().filter(|p| hit(p)).count(), cells),
            alternating: share(alternating, cells),
            drifting: Vec::new(),
            noise_floor: floor.exp_m1(),
        },
    }))
}

/// Drift is judged over all metrics and cells together.
fn judge_drift(splits: Vec<Splits>) -> Result<Vec<SplitRates>, StudyError> {
    let raw: Vec<f64> = splits.iter().flat_map(|split| split.halves.iter().map(|(_, p)| *p)).collect();
    let mut adjusted = hypothesis::holm(&raw).map_err(StudyError::at("drift"))?.into_iter();
    let judged = splits.into_iter().map(|Splits { mut rates, halves }| {
        for (cell, _) in halves {
            if adjusted.next().is_some_and(|p| p <= ALPHA) {
                rates.drifting.push(cell);
            }
        }
        rates
    });
    Ok(judged.collect())
}

/// Halves of `n` blocks: every one where there are few (each once, not its mirror image), else so many at random.
fn random_halves(n: usize) -> Vec<Vec<bool>> {
    if n <= 12 {
        let half = n / 2;
        let even = n.is_multiple_of(2);
        // With an even number each split comes twice, with its sides exchanged: keep those that hold block 0.
        return (0_u32..1 << n)
            .filter(|bits| bits.count_ones() as usize == half && (!even || bits & 1 == 1))
            .map(|bits| (0..n).map(|i| bits >> i & 1 == 1).collect())
            .collect();
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut order: Vec<bool> = (0..n).map(|i| i < n / 2).collect();
    (0..SPLITS)
        .map(|_| {
            order.shuffle(&mut rng);
            order.clone()
        })
        .collect()
}

fn pair_rates(runs: &[RunData], metrics: &[Metric]) -> Result<PairRates, StudyError> {
    let (mut pairs, mut rows, mut raw, mut cried) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut obstacles = Vec::new();
    for (i, a) in runs.iter().enumerate() {
        for b in &runs[i + 1..] {
            let options = compare::Options { metrics: metrics.to_vec(), ..compare::Options::default() };
            let comparison = compare::compare(a, b, &options)?;
            if comparison.outcome == Outcome::NotComparable {
                let why = comparison
                    .obstacles()
                    .next()
                    .map_or_else(|| "no cell in common".to_owned(), ToString::to_string);
                obstacles.push(format!("{} and {}: {why}", comparison.a, comparison.b));
                continue;
            }
            pairs += 1;
            rows += comparison.rows.iter().filter(|row| row.p.is_some()).count();
            raw += comparison.rows.iter().filter(|row| row.p.is_some_and(|p| p <= ALPHA)).count();
            let called =
                |row: &compare::Row| matches!(row.call, Call::Slower | Call::Faster | Call::Different);
            cried += usize::from(comparison.rows.iter().any(called));
        }
    }
    if pairs == 0 {
        return Err(StudyError::Question {
            reason: format!("no two of these runs are comparable: {}", obstacles.join("; ")),
        });
    }
    Ok(PairRates {
        pairs,
        rows,
        raw: raw as f64 / rows.max(1) as f64,
        family: wilson(cried, pairs, runs.len()).map_err(StudyError::at("pairs of runs"))?,
        obstacles,
    })
}

/// A share with Wilson's interval. Pairs share runs, so the independent pairs count: half the runs.
fn wilson(hits: usize, pairs: usize, runs: usize) -> Result<Estimate, StatsError> {
    let point = hits as f64 / pairs as f64;
    let n = (runs / 2).max(1);
    Ok(Estimate {
        point,
        standard_error: None,
        interval: Some(intervals::wilson(point, n, LEVEL)?),
        method: "share, Wilson over disjoint pairs".into(),
        unit: "pair of runs".into(),
        n,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn halves_are_all_of_them_once_or_so_many_at_random() {
        let six = random_halves(6);
        assert_eq!(six.len(), 10, "20 halves of 6, each with its mirror image");
        assert_eq!(six.iter().collect::<BTreeSet<_>>().len(), 10);
        assert_eq!(random_halves(7).len(), 35);
        let many = random_halves(20);
        assert_eq!(many.len(), SPLITS);
        assert!(many.iter().all(|half| half.iter().filter(|second| **second).count() == 10));
        let first = many.iter().filter(|half| half[0]).count();
        assert!((400..600).contains(&first), "block 0 is in the second half {first} times of 1,000");
    }

    #[test]
    fn pairs_that_share_runs_do_not_count_twice() {
        let share = wilson(2, 10, 5).unwrap();
        assert_eq!((share.n, share.point), (2, 0.2));
        assert!(share.interval.is_some_and(|i| i.low < 0.05 && i.high > 0.5));
    }
}
