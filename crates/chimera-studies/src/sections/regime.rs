//! What limits a phase, by a rule that is written down: overhead, depth, bandwidth, compute, or unidentified. The rule
//! reads the rivals of the scaling and the roofs of the machine; it never reads a name.

use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::models::{Comparison, Form};

use super::{cell, digits, geometric, growth};
use crate::{
    Index, PerBlock, PhaseMetric, Scaling, Selection, StudyError, scaling::geometric_over_scenarios,
};

/// Predicted share of an offset above which a model counts as dominated by overhead.
const OVERHEAD: f64 = 0.5;
/// Share of the measured memory roof above which a decode step counts as limited by bandwidth.
const ROOF: f64 = 0.6;
/// Share of the roof above which the reading does not come from memory (or the roof is wrong): no regime is told from it.
const ABOVE_ROOF: f64 = 1.1;
/// Largest ratio between arithmetic rates of the larger models that still counts as one rate.
const ONE_RATE: f64 = 1.5;
/// Prompts shorter than this do not fill the arithmetic units, whatever the model.
const LONG_PROMPT: f64 = 64.0;

/// The regime of one phase and the evidence for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Regime {
    /// `overhead`, `depth`, `bandwidth`, `compute` or `unidentified`.
    pub name: &'static str,
    /// What the rule saw.
    pub evidence: String,
}

/// Decides the regime of a scaling. `prompt_tokens` is the mean prompt length behind it; `memory_read_rate` the
/// machine's measured reading rate in bytes per second.
#[must_use]
pub fn decide(
    scaling: &Scaling<'_>,
    rivals: Option<&Comparison>,
    prompt_tokens: Option<f64>,
    memory_read_rate: Option<f64>,
) -> Regime {
    let larger = scaling.points.get(scaling.points.len() / 2..).unwrap_or_default();
    let bandwidth = memory_read_rate.and_then(|roof| {
        let shares: Option<Vec<f64>> = larger
            .iter()
            .map(|point| Some(point.model.bytes_per_token? / point.estimate.point / roof))
            .collect();
        shares?.into_iter().reduce(f64::min)
    });
    if scaling.phase == PhaseMetric::Decode
        && let Some(share) = bandwidth.filter(|share| (ROOF..=ABOVE_ROOF).contains(share))
    {
        return Regime {
            name: "bandwidth",
            evidence: format!(
                "the larger models read their weights at {} of the machine's rate or more",
                percent(share)
            ),
        };
    }
    if scaling.phase == PhaseMetric::Prefill
        && let Some(tokens) = prompt_tokens.filter(|tokens| *tokens >= LONG_PROMPT)
    {
        let rates: Vec<f64> =
            larger.iter().map(|point| 2.0 * point.parameters * tokens / point.estimate.point).collect();
        let (low, high) = rates.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
        if larger.len() >= 3 && high <= ONE_RATE * low {
            return Regime {
                name: "compute",
                evidence: format!(
                    "the larger models run at one arithmetic rate, {} to {} GFLOP/s (2 x parameters x tokens)",
                    digits(low / 1e9),
                    digits(high / 1e9)
                ),
            };
        }
    }
    if let Some(comparison) = rivals
        && let Some(best) = comparison.rivals.first()
    {
        let offset_share = |x: f64| best.curve.offset / best.curve.at(x);
        let value = |point: &crate::ScalePoint<'_>| match best.regressor.as_deref() {
            Some("depth") => point.model.layers,
            Some("bytes per token") => point.model.bytes_per_token,
            _ => Some(point.parameters),
        };
        let dominated = scaling
            .points
            .iter()
            .filter(|point| value(point).is_some_and(|x| offset_share(x) > OVERHEAD))
            .count();
        if best.form == Form::Constant || (best.form != Form::Power && 2 * dominated > scaling.points.len()) {
            return Regime {
                name: "overhead",
                evidence: format!(
                    "the best description is `{}`, whose constant part is more than half for {dominated} of {} models",
                    best.name,
                    scaling.points.len()
                ),
            };
        }
        let other = comparison.rivals.iter().find(|rival| rival.regressor.as_deref() != Some("depth"));
        let wins = other.and_then(|rival| rival.aicc).zip(best.aicc).is_some_and(|(o, b)| o - b >= 4.0);
        if best.regressor.as_deref() == Some("depth") && wins {
            return Regime {
                name: "depth",
                evidence: format!(
                    "`{}` is better than every description without depth by an AICc of 4 or more",
                    best.name
                ),
            };
        }
    }
    let roof = match (scaling.phase, bandwidth) {
        (PhaseMetric::Decode, Some(share)) => {
            let cache = if share > ABOVE_ROOF {
                ": more than memory gives, so the weights come from a cache"
            } else {
                ""
            };
            format!("; the slowest of the larger models reaches {} of the memory roof{cache}", percent(share))
        }
        (PhaseMetric::Decode, None) => "; the memory roof was not measured".to_owned(),
        _ => String::new(),
    };
    Regime { name: "unidentified", evidence: format!("no rule is met{roof}") }
}

fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// The section for all scalings of one arm, each with a label and its mean prompt length; `selection` says from which
/// cells the models are held against the memory roof.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(
    index: &Index<'_>,
    selection: &Selection<'_>,
    scalings: &[(String, &Scaling<'_>, Option<f64>)],
    memory_read_rate: Option<f64>,
) -> Result<Section, StudyError> {
    let mut table = Table::new("regimes", "Regimes")
        .caption("One rule for all rows; `unidentified` is an answer.")
        .column(Column::text("phase", "Phase"))
        .column(Column::text("scenarios", "Prompts"))
        .column(Column::text("regime", "Regime"))
        .column(Column::text("evidence", "Evidence"));
    for (label, scaling, tokens) in scalings {
        let rivals = growth::rivals(scaling)?;
        let regime = decide(scaling, rivals.as_ref(), *tokens, memory_read_rate);
        table.push_row([
            scaling.phase.label().into(),
            label.as_str().into(),
            regime.name.into(),
            regime.evidence.into(),
        ]);
    }
    let mut section = Section::new("regimes", "What limits each phase")
        .paragraph(format!(
            "Decode is `bandwidth` where every one of the larger half of the models reads its weights at {} to {} of the \
             machine's measured rate. Prefill is `compute` where, at {} prompt tokens or more, the larger half runs at one \
             arithmetic rate (within a factor of {}). Otherwise the rivals decide: `overhead` where the best description \
             is a constant, or its constant part exceeds half for more than half of the models; `depth` where depth beats \
             everything else by an AICc of 4. Cold start is a matter of its own, below.",
            percent(ROOF),
            percent(ABOVE_ROOF),
            digits(LONG_PROMPT),
            digits(ONE_RATE)
        ))
        .table(table);
    section = match memory_read_rate {
        Some(rate) => section.table(roofline(index, selection, rate)?),
        None => section.note(
            NoteKind::Limit,
            "The memory reading rate of this machine was not measured, so no roof can be given.",
        ),
    };
    Ok(section)
}

/// Every model of the arm against the roof, those outside the fits too.
fn roofline(index: &Index<'_>, selection: &Selection<'_>, rate: f64) -> Result<Table, StudyError> {
    let mut table = Table::new("roofline", "Decode against the memory roof")
        .caption(format!(
            "Roof: {}, the rate at which all cores together read memory, measured at the start of the run. Decode: geometric \
             mean over the prompts {}, interval over blocks. Weights only; the KV cache is small at these lengths. A model \
             that fits into the cache can exceed the roof.",
            chimera_report::show_number(rate, "B/s"),
            selection.scenarios.join(", ")
        ))
        .column(Column::text("model", "Model"))
        .column(Column::text("weights", "Weights"))
        .column(Column::number("bytes", "Bytes per token", "B"))
        .column(Column::number("tokens", "Decode", "tok/s"))
        .column(Column::number("rate", "Weights read", "GB/s"))
        .column(Column::number("share", "Share of the roof", "%"));
    for model in index.models(selection.arm) {
        let per_token = geometric_over_scenarios(index, selection, model.id, PhaseMetric::Decode.metric());
        if per_token.is_empty() {
            continue;
        }
        let why = "the backend does not report the bytes";
        let at = || StudyError::at(format!("memory roof of {}", model.id));
        let scaled = |factor: f64| {
            let rates: PerBlock =
                per_token.iter().map(|(block, seconds)| (*block, factor / seconds)).collect();
            geometric(&rates).map_err(at())
        };
        let read = |unit: f64| {
            model.bytes_per_token.map(|bytes| scaled(bytes / unit)).transpose().map(Option::flatten)
        };
        let weights = index.run().settings.design.model(model.id).map_or("", |entry| &entry.variant);
        table.push_row([
            model.id.into(),
            weights.into(),
            Cell::or_missing(model.bytes_per_token, why),
            cell(scaled(1.0)?, "no block"),
            cell(read(1e9)?, why),
            cell(read(rate / 100.0)?, why),
        ]);
    }
    Ok(table)
}
