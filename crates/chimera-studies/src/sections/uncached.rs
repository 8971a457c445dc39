//! What the KV cache is worth. Without one every token costs a full pass over everything before it, which is how the
//! published generation worked; here it is the sum of prefills of prompts that grow by one token, each a request of its own.
//! That works on every backend that runs a prefill alone, and no backend's internals are touched for it.

use std::collections::BTreeMap;

use chimera_records::{Design, Metric};
use chimera_report::{Column, NoteKind, Section, Table};

use super::{both, cell, geometric};
use crate::{CellKey, Contest, Contestant, Estimands, Index, PerBlock, StudyError};

/// Beginning of the ids of the prompts that grow by a token each.
const STEP: &str = "step-";

/// The growing prompts of a design, ascending in length, as far as each is one token longer than the one before.
#[must_use]
pub fn steps(design: &Design) -> Vec<&str> {
    let mut found: Vec<(u32, &str)> = design
        .scenario
        .iter()
        .filter(|scenario| scenario.id.starts_with(STEP))
        .filter(|scenario| design.grid.iter().any(|grid| grid.scenario.contains(&scenario.id)))
        .filter_map(|scenario| Some((scenario.tokens?, scenario.id.as_str())))
        .collect();
    found.sort_unstable();
    let whole = found.windows(2).take_while(|pair| pair[1].0 == pair[0].0 + 1).count() + 1;
    found.truncate(whole);
    found.into_iter().map(|(_, id)| id).collect()
}

/// Seconds per block of all steps together; a block that lacks one is left out.
#[must_use]
pub fn sum_of_steps<'a>(index: &Index<'a>, one: Contestant<'a>, steps: &[&'a str]) -> PerBlock {
    let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
    for scenario in steps {
        for (block, seconds) in index.per_block(&key(one, scenario, 0), Metric::PrefillEngine) {
            let (sum, n) = sums.entry(block).or_default();
            *sum += seconds;
            *n += 1;
        }
    }
    let whole = sums.into_iter().filter(|(_, (_, n))| *n == steps.len() && !steps.is_empty());
    whole.map(|(block, (sum, _))| (block, sum)).collect()
}

fn key<'a>(one: Contestant<'a>, scenario: &'a str, budget: u32) -> CellKey<'a> {
    CellKey { arm: one.arm, model: one.model, scenario, batch: 1, concurrency: 1, budget }
}

/// The section, or nothing where the design has no such prompts; `uncached.<backend>.<model>` goes into the estimands: how
/// many times as long generation takes without a cache.
///
/// # Errors
/// A statistic that refused its input.
pub fn section<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    estimands: &mut Estimands,
) -> Result<Option<Section>, StudyError> {
    let steps = steps(&index.run().settings.design);
    let (Some(first), Ok(tokens)) = (steps.first(), u32::try_from(steps.len())) else { return Ok(None) };
    let mut table = Table::new("uncached", format!("{tokens} tokens with and without a KV cache"))
        .caption(format!(
            "With: end to end, one request of {tokens} tokens on the prompt `{first}`. Without: the sum of {tokens} prefills, from \
             that prompt on, each a token longer. Geometric means over blocks; times as long is taken within blocks."
        ))
        .column(Column::text("contestant", "Contestant"))
        .column(Column::number("with", "With", "s"))
        .column(Column::number("without", "Without", "s"))
        .column(Column::number("ratio", "Times as long", ""))
        .column(Column::number("blocks", "Blocks", ""));
    for contest in contests {
        for one in &contest.contestants {
            let at = || StudyError::at(format!("generation of {one} without a cache"));
            let with = index.per_block(&key(*one, first, tokens), Metric::E2eEngine);
            let without = sum_of_steps(index, *one, &steps);
            if with.is_empty() && without.is_empty() {
                continue;
            }
            let ratio = both(&without, &with, |without, with| without / with);
            let value = geometric(&ratio).map_err(at())?;
            if let Some(value) = &value {
                estimands.put(format!("uncached.{}.{}", one.arm.kind(), one.model), value.clone());
            }
            table.push_row([
                one.to_string().into(),
                cell(geometric(&with).map_err(at())?, "no completed trial with a cache"),
                cell(geometric(&without).map_err(at())?, "no block has every step"),
                cell(value, "no block has both"),
                ratio.len().into(),
            ]);
        }
    }
    if table.rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        Section::new("uncached", "With and without a KV cache")
            .paragraph(
                "The published generation ran the whole prefix anew for every token, in full passes over a padded shape, and was \
                 called time per token. Both ways are here on the same prompt and number of tokens.",
            )
            .table(table)
            .note(
                NoteKind::Definition,
                "Without a cache is made of requests that every backend takes: prefill alone, on prompts of rising length. The \
                 work of choosing a token and of building the next request is not in it, so the factor is a lower bound.",
            ),
    ))
}
