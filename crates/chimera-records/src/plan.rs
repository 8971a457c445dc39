//! A plan: every trial of a run in its order, made from settings and a seed alone. Blocks are fresh processes and the
//! unit of replication; inside a block each shape is used once with a short budget, then every cell comes once, both in
//! seeded random order. Running it is the harness's business.

use std::collections::{BTreeMap, BTreeSet};

use rand::{SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Factors, Grid, PlanError, Settings, Shard, TrialRole,
    design::hex,
    trial::{is_single, single},
};

/// A combination of factor levels, threads excepted: those belong to the block.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Backend of the registry.
    pub backend: String,
    /// Model id.
    pub model: String,
    /// Scenario id.
    pub scenario: String,
    /// Lanes.
    pub batch: u32,
    /// Requests at once.
    #[serde(default = "single", skip_serializing_if = "is_single")]
    pub concurrency: u32,
    /// Budget of generated tokens.
    #[serde(rename = "gen")]
    pub budget: u32,
}

/// One trial to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTrial {
    /// Number in the plan, from 0.
    pub id: u32,
    /// Index into [`Plan::cells`].
    pub cell: u32,
    /// What it is for. A first-use trial runs its cell with the warm-up budget.
    pub role: TrialRole,
}

/// One fresh process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Number, from 0, in the order of running.
    pub index: u32,
    /// Which replicate it belongs to.
    pub replicate: u32,
    /// Threads of the process; 0 stands for all cores.
    pub threads: u32,
    /// Trials in their order.
    pub trials: Vec<PlannedTrial>,
}

/// Every trial of a run in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Distinct cells, sorted.
    pub cells: Vec<Cell>,
    /// Blocks in the order of running.
    pub blocks: Vec<Block>,
    /// Budget of first-use trials.
    pub warmup_budget: u32,
    /// SHA-256 over everything above: two plans are the same if and only if their digests are.
    pub digest: String,
}

impl Plan {
    /// Makes the plan. The same settings give the same plan on every machine.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`].
    pub fn new(settings: &Settings) -> Result<Plan, PlanError> {
        let design = &settings.design;
        let cells = cells(settings);
        let shapes: Vec<u32> = {
            // A shape's first use is run in the cell with the smallest budget that has this shape.
            let mut first = BTreeMap::new();
            for (index, cell) in (0_u32..).zip(&cells) {
                let shape = (&cell.backend, &cell.model, &cell.scenario, cell.batch, cell.concurrency);
                first.entry(shape).or_insert(index);
            }
            first.into_values().collect()
        };
        let per_block = shapes.len() as u64 + cells.len() as u64;
        let levels = design.process.threads.len() as u64;
        let total = per_block.saturating_mul(u64::from(design.blocks)).saturating_mul(levels);
        let limit = u64::from(u32::MAX);
        if total > limit {
            return Err(PlanError::TooLarge { trials: total, limit });
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(design.seed);
        let mut blocks = Vec::new();
        let mut next = 0_u32;
        let mut measured: Vec<u32> = (0_u32..).take(cells.len()).collect();
        for replicate in 0..design.blocks {
            let mut threads = design.process.threads.clone();
            threads.shuffle(&mut rng);
            for threads in threads {
                let mut firsts = shapes.clone();
                firsts.shuffle(&mut rng);
                measured.shuffle(&mut rng);
                let order = firsts
                    .into_iter()
                    .map(|cell| (cell, TrialRole::FirstUse))
                    .chain(measured.iter().map(|cell| (*cell, TrialRole::Measured)));
                let trials = order
                    .map(|(cell, role)| {
                        let trial = PlannedTrial { id: next, cell, role };
                        next += 1;
                        trial
                    })
                    .collect();
                let index = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
                blocks.push(Block { index, replicate, threads, trials });
            }
        }
        let digest = digest(&cells, &blocks, design.warmup.budget);
        Ok(Plan { cells, blocks, warmup_budget: design.warmup.budget, digest })
    }

    /// Number of trials.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.trials.len()).sum()
    }

    /// Whether there is nothing to run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Blocks of one shard: every `of`-th block, so that shards are of equal size.
    ///
    /// # Errors
    /// [`PlanError::Shard`] for an index outside 1 to `of`.
    pub fn shard(&self, shard: Option<Shard>) -> Result<Vec<&Block>, PlanError> {
        let Some(Shard { index, of }) = shard else {
            return Ok(self.blocks.iter().collect());
        };
        if index == 0 || index > of {
            return Err(PlanError::Shard { index, of });
        }
        Ok(self.blocks.iter().filter(|block| block.index % of == index - 1).collect())
    }

    /// The cell of a planned trial.
    #[must_use]
    pub fn cell(&self, trial: &PlannedTrial) -> Option<&Cell> {
        self.cells.get(trial.cell as usize)
    }

    /// Budget that a planned trial runs with.
    #[must_use]
    pub fn budget(&self, trial: &PlannedTrial) -> Option<u32> {
        let cell = self.cell(trial)?;
        Some(match trial.role {
            TrialRole::Measured => cell.budget,
            TrialRole::FirstUse => cell.budget.min(self.warmup_budget),
        })
    }

    /// Factors of a planned trial, with the threads that its process really has.
    #[must_use]
    pub fn factors(&self, trial: &PlannedTrial, threads: u32) -> Option<Factors> {
        let cell = self.cell(trial)?;
        Some(Factors {
            backend: cell.backend.as_str().into(),
            model: cell.model.as_str().into(),
            scenario: cell.scenario.as_str().into(),
            budget: self.budget(trial)?,
            batch: cell.batch,
            concurrency: cell.concurrency,
            threads,
        })
    }
}

fn cells(settings: &Settings) -> Vec<Cell> {
    let mut cells = BTreeSet::new();
    for grid in &settings.design.grid {
        for backend in &grid.backend {
            for model in &grid.model {
                for scenario in &grid.scenario {
                    for (batch, concurrency, budget) in numbers(grid) {
                        cells.insert(Cell {
                            backend: backend.clone(),
                            model: model.clone(),
                            scenario: scenario.clone(),
                            batch,
                            concurrency,
                            budget,
                        });
                    }
                }
            }
        }
    }
    cells.into_iter().collect()
}

/// Lanes, requests at once and budgets of a grid.
fn numbers(grid: &Grid) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
    grid.batch.iter().flat_map(move |batch| {
        grid.concurrency
            .iter()
            .flat_map(move |concurrency| grid.budget.iter().map(|budget| (*batch, *concurrency, *budget)))
    })
}

fn digest(cells: &[Cell], blocks: &[Block], warmup: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(b"chimeraforge-plan-1");
    for cell in cells {
        for part in [&cell.backend, &cell.model, &cell.scenario] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.update(cell.batch.to_le_bytes());
        // Plans without this factor have the digest that they had before there was one.
        if cell.concurrency != 1 {
            hash.update(b"concurrency");
            hash.update(cell.concurrency.to_le_bytes());
        }
        hash.update(cell.budget.to_le_bytes());
    }
    hash.update(warmup.to_le_bytes());
    for block in blocks {
        for number in [block.index, block.replicate, block.threads] {
            hash.update(number.to_le_bytes());
        }
        for trial in &block.trials {
            hash.update(trial.id.to_le_bytes());
            hash.update(trial.cell.to_le_bytes());
            hash.update([u8::from(trial.role == TrialRole::Measured)]);
        }
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Design, Overrides};

    fn settings(blocks: u32, threads: &str) -> Settings {
        let text = format!(
            r#"
schema = 1
study = "s"
title = "t"
seed = 7
blocks = {blocks}
process.threads = {threads}
model = [{{ id = "a", source = "a", variant = "f32", family = "f" }}, {{ id = "b", source = "b", variant = "f32", family = "f" }}]
scenario = [{{ id = "s", text = "x" }}, {{ id = "l", text = "y", tokens = 512 }}]
[[grid]]
id = "main"
backend = ["sim"]
model = ["a", "b"]
scenario = ["s", "l"]
gen = [64]
[[grid]]
id = "sweep"
backend = ["sim"]
model = ["a", "b"]
scenario = ["s"]
gen = [8, 64, 128]
"#
        );
        Design::parse(&text).unwrap().resolve(&Overrides::default()).unwrap()
    }

    #[test]
    fn every_cell_comes_once_per_block_after_its_shape() {
        let plan = Plan::new(&settings(3, "[1, 2]")).unwrap();
        assert_eq!(plan.cells.len(), 8, "the cell shared by two grids is one cell");
        assert_eq!(plan.blocks.len(), 6);
        let mut ids = BTreeSet::new();
        for block in &plan.blocks {
            let mut shapes = BTreeSet::new();
            let mut measured = BTreeSet::new();
            for trial in &block.trials {
                assert!(ids.insert(trial.id));
                let cell = plan.cell(trial).unwrap();
                let shape = (&cell.model, &cell.scenario, cell.batch);
                match trial.role {
                    TrialRole::FirstUse => {
                        assert!(measured.is_empty() && shapes.insert(shape));
                        assert_eq!(plan.budget(trial), Some(8));
                    }
                    TrialRole::Measured => assert!(shapes.contains(&shape) && measured.insert(trial.cell)),
                }
            }
            assert_eq!((shapes.len(), measured.len()), (4, 8));
        }
        for replicate in 0..3 {
            let levels: BTreeSet<u32> =
                plan.blocks.iter().filter(|b| b.replicate == replicate).map(|b| b.threads).collect();
            assert_eq!(levels, BTreeSet::from([1, 2]), "thread levels are interleaved");
        }
    }

    #[test]
    fn same_seed_same_plan_and_other_seed_other_order() {
        let settings_a = settings(2, "[0]");
        let mut settings_b = settings_a.clone();
        let a = Plan::new(&settings_a).unwrap();
        assert_eq!(a, Plan::new(&settings_a).unwrap());
        settings_b.design.seed = 8;
        assert_ne!(a.digest, Plan::new(&settings_b).unwrap().digest);
        let orders: BTreeSet<Vec<u32>> =
            a.blocks.iter().map(|b| b.trials.iter().map(|t| t.cell).collect()).collect();
        assert_eq!(orders.len(), 2, "blocks have orders of their own");
    }

    #[test]
    fn shards_partition_the_blocks() {
        let plan = Plan::new(&settings(5, "[0]")).unwrap();
        let mut seen = Vec::new();
        for index in 1..=2 {
            seen.extend(plan.shard(Some(Shard { index, of: 2 })).unwrap().iter().map(|b| b.index));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert!(plan.shard(Some(Shard { index: 3, of: 2 })).is_err());
        assert!(plan.shard(Some(Shard { index: 0, of: 2 })).is_err());
    }

    #[test]
    fn too_many_trials_are_refused() {
        assert!(matches!(Plan::new(&settings(u32::MAX, "[0]")), Err(PlanError::TooLarge { .. })));
    }
}
