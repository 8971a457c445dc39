//! What a measured rate means in money and machines. The price is an input with a date and no property of the machine
//! that measured; both denominators (output tokens, and all tokens) are given, because the choice between them changes
//! rankings.

use chimera_records::Capacity;
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::{Estimate, Sample, intervals};

use super::latency::output_rate;
use crate::{Arm, CellKey, Estimands, Index, LEVEL, PerBlock, StudyError, data::per_block};

const MONTH_SECONDS: f64 = 30.0 * 86_400.0;

/// The section for one arm at the reference budget.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(
    index: &Index<'_>,
    arm: Arm<'_>,
    budget: u32,
    capacity: &Capacity,
    estimands: &mut Estimands,
) -> Result<Section, StudyError> {
    let mut table = Table::new("capacity", "Shadow price and workers")
        .caption(format!(
            "One stream per worker. Rates: generated tokens over end-to-end time, geometric mean over blocks; all figures \
             carry its interval. Price: {} USD per hour ({}, {}). Workers: for {} output tokens in 30 days at a \
             utilisation of {} %.",
            capacity.usd_per_hour,
            capacity.source,
            capacity.as_of,
            chimera_report::show_number(capacity.output_tokens_per_month, ""),
            capacity.utilisation * 100.0
        ))
        .column(Column::text("model", "Model"))
        .column(Column::text("scenario", "Prompt"))
        .column(Column::number("rate", "Output rate", "tok/s"))
        .column(Column::number("output", "Per million output tokens", "USD"))
        .column(Column::number("total", "Per million tokens, prompt counted", "USD"))
        .column(Column::number("workers", "Workers", ""));
    let design = &index.run().settings.design;
    for model in &design.model {
        let mut totals: Vec<PerBlock> = Vec::new();
        for scenario in &design.scenario {
            let (batch, concurrency) = (1, 1);
            let key = CellKey { arm, model: &model.id, scenario: &scenario.id, batch, concurrency, budget };
            let rate = output_rate(index, &key);
            if rate.is_empty() {
                continue;
            }
            let total = per_block(index.steady(&key), |trial| {
                let lane = trial.lanes.first()?;
                let out = f64::from(lane.generated.filter(|n| *n > 0)?);
                Some((out + f64::from(lane.prompt_tokens?)) / out)
            });
            let all = super::both(&rate, &total, |rate, factor| rate * factor);
            let place = || StudyError::at(format!("capacity of {} on {}", model.id, scenario.id));
            let price = |rate: f64| 1e6 * capacity.usd_per_hour / 3600.0 / rate;
            let workers =
                |rate: f64| capacity.output_tokens_per_month / MONTH_SECONDS / (rate * capacity.utilisation);
            let why = "no block";
            table.push_row([
                model.id.as_str().into(),
                scenario.id.as_str().into(),
                Cell::or_missing(derived(&rate, |rate| rate).map_err(place())?, why),
                Cell::or_missing(derived(&rate, price).map_err(place())?, why),
                Cell::or_missing(derived(&all, price).map_err(place())?, "prompt tokens unknown"),
                Cell::or_missing(derived(&rate, workers).map_err(place())?, why),
            ]);
            if scenario.tokens.is_none() && !all.is_empty() {
                totals.push(all.into_iter().map(|(block, rate)| (block, price(rate))).collect());
            }
        }
        // The published price is a geometric mean over the natural prompts.
        if let Some(mean) = geometric_over(&totals).map_err(StudyError::at("price over prompts"))? {
            estimands.put(format!("usd_per_1m_total.{}", model.id), mean);
        }
    }
    Ok(Section::new("capacity", "Capacity and shadow price")
        .paragraph(
            "A shadow price turns a rate into money by a price that somebody else charges for some other machine. It ranks \
             models on this machine; it is not what this machine costs. Energy was not measured and is not in it.",
        )
        .table(table)
        .note(
            NoteKind::Limit,
            "Workers are a mean load at the stated utilisation: no burst, no queueing, no failure of a machine is in them.",
        ))
}

/// A positive quantity derived from a rate in each block.
fn derived(rates: &PerBlock, f: impl Fn(f64) -> f64) -> Result<Option<Estimate>, chimera_stats::StatsError> {
    let values: Vec<f64> =
        rates.values().map(|rate| f(*rate)).filter(|v| v.is_finite() && *v > 0.0).collect();
    if values.is_empty() {
        return Ok(None);
    }
    intervals::geometric_over_blocks(Sample::new(&values, "block")?, LEVEL).map(Some)
}

fn geometric_over(parts: &[PerBlock]) -> Result<Option<Estimate>, chimera_stats::StatsError> {
    let Some(first) = parts.first() else { return Ok(None) };
    let mut means = PerBlock::new();
    for block in first.keys() {
        let values: Option<Vec<f64>> = parts.iter().map(|part| part.get(block).copied()).collect();
        if let Some(values) = values {
            means.insert(*block, Sample::new(&values, "prompt")?.geometric_mean()?);
        }
    }
    derived(&means, |value| value)
}
