//! Which share of a generation is decode, against prompt length and budget. The share is a property of the workload as
//! much as of the model; it is never quoted without its prompt length.

use std::collections::BTreeMap;

use chimera_records::Metric;
use chimera_report::{Axis, Cell, Column, Plot, Section, Series, Style, Table};
use chimera_stats::{Estimate, Sample};

use super::mean;
use crate::{Arm, CellKey, Estimands, Index, PerBlock, StudyError};

/// The section for one arm. `family` names the models whose median is put into the estimands.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(
    index: &Index<'_>,
    arm: Arm<'_>,
    family: &str,
    budget: u32,
    estimands: &mut Estimands,
) -> Result<Section, StudyError> {
    let at = || StudyError::at("decode fraction");
    let mut table = Table::new("fraction", "Decode fraction")
        .caption("Decode / (prefill + decode) of one generation; mean over blocks, t interval. Unit of replication: block.")
        .column(Column::text("model", "Model"))
        .column(Column::text("scenario", "Prompt"))
        .column(Column::number("prompt", "Prompt tokens", ""))
        .column(Column::number("gen", "Generated", ""))
        .column(Column::number("fraction", "Decode fraction", ""));
    let order: BTreeMap<&str, usize> =
        index.run().settings.design.model.iter().enumerate().map(|(i, m)| (m.id.as_str(), i)).collect();
    let mut rows: Vec<(CellKey<'_>, Option<u32>, PerBlock)> = index
        .cells()
        .filter(|(key, _)| key.arm == arm && key.is_solo())
        .map(|(key, trials)| {
            let prompt = trials.iter().flat_map(|t| &t.lanes).find_map(|lane| lane.prompt_tokens);
            (*key, prompt, index.per_block(key, Metric::DecodeFractionEngine))
        })
        .filter(|(_, _, fraction)| !fraction.is_empty())
        .collect();
    rows.sort_by_key(|(key, prompt, _)| (key.budget, *prompt, order.get(key.model).copied()));
    let mut series: BTreeMap<usize, Series> = BTreeMap::new();
    for (key, prompt, fraction) in &rows {
        let estimate = mean(fraction).map_err(at())?;
        if key.budget == budget
            && let (Some(prompt), Some(estimate)) = (prompt, &estimate)
        {
            let place = order.get(key.model).copied().unwrap_or(usize::MAX);
            let line = series.entry(place).or_insert_with(|| Series::new(key.model, Style::PointsLine));
            line.push(chimera_report::Point::estimate(f64::from(*prompt), estimate));
        }
        table.push_row([
            key.model.into(),
            key.scenario.into(),
            Cell::or_missing(*prompt, "the backend does not say"),
            key.budget.into(),
            Cell::or_missing(estimate, "no block"),
        ]);
    }
    medians(index, family, &rows, estimands).map_err(at())?;
    let mut plot = Plot::new(
        "fraction",
        format!("Decode fraction against prompt length, {budget} tokens generated"),
        Axis::log("Prompt tokens", ""),
        Axis::linear("Decode fraction", ""),
    )
    .caption("Means over blocks with 95 % intervals. The share falls with prompt length: a fraction without its prompt length says nothing.");
    for line in series.into_values() {
        plot = plot.series(line);
    }
    let mut section = Section::new("fraction", "Decode fraction against prompt length").paragraph(
        "That decode dominates is true by construction for a prompt of a few tokens and a budget of 64. What matters is \
         where it stops being true.",
    );
    if !plot.series.is_empty() {
        section = section.plot(plot);
    }
    Ok(section.table(table))
}

/// Median over the family's models, block by block: per scenario and budget as `decode_fraction.<scenario>.gen<n>`, and
/// over the scenarios with natural prompts as `decode_fraction.published.gen<n>`.
fn medians(
    index: &Index<'_>,
    family: &str,
    rows: &[(CellKey<'_>, Option<u32>, PerBlock)],
    estimands: &mut Estimands,
) -> Result<(), chimera_stats::StatsError> {
    let design = &index.run().settings.design;
    let mut by_scenario: BTreeMap<(String, u32), BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for (key, _, fraction) in rows {
        if design.model(key.model).is_none_or(|model| model.family != family) {
            continue;
        }
        let natural = design.scenario(key.scenario).is_some_and(|scenario| scenario.tokens.is_none());
        for (block, value) in fraction {
            let mut add = |name: &str| {
                by_scenario
                    .entry((name.to_owned(), key.budget))
                    .or_default()
                    .entry(*block)
                    .or_default()
                    .push(*value);
            };
            add(key.scenario);
            if natural {
                add("published");
            }
        }
    }
    for ((scenario, budget), blocks) in by_scenario {
        let per_block = blocks
            .into_iter()
            .map(|(block, values)| Ok((block, Sample::new(&values, "model")?.median())))
            .collect::<Result<PerBlock, chimera_stats::StatsError>>()?;
        let estimate: Option<Estimate> = mean(&per_block)?;
        if let Some(mut estimate) = estimate {
            estimate.method = "median over models, mean over blocks, t".into();
            estimands.put(format!("decode_fraction.{scenario}.gen{budget}"), estimate);
        }
    }
    Ok(())
}
