//! Which architecture figure predicts latency: exact rank correlations, power fits in each figure with their left-out
//! error, and depth beside parameters in one fit. Seven models cannot separate what grows together; that is said.

use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::{
    Estimate,
    models::{self, Form, Regressor},
    rank, regression,
};

use crate::{Estimands, LEVEL, ModelFacts, Scaling, StudyError};

type Figure = (&'static str, &'static str, fn(&ModelFacts<'_>) -> Option<f64>);

const FIGURES: [Figure; 4] = [
    ("params", "parameters", |m| m.parameters),
    ("depth", "depth (layers)", |m| m.layers),
    ("width", "width", |m| m.width),
    ("bytes", "bytes read per token", |m| m.bytes_per_token),
];

/// The section for the scalings of one arm, one per phase.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(scalings: &[Scaling<'_>], estimands: &mut Estimands) -> Result<Section, StudyError> {
    let mut table = Table::new("architecture", "Which figure of the architecture predicts latency")
        .caption(
            "Unit of replication: model. Rank correlation: Spearman with the exact permutation p (two-sided). Left-out \
             error: root mean square error in predicting a model from a power law through the others.",
        )
        .column(Column::text("phase", "Phase"))
        .column(Column::text("figure", "Figure"))
        .column(Column::number("rho", "Rank correlation", ""))
        .column(Column::number("p", "Exact p", ""))
        .column(Column::number("smallest", "Smallest p possible", ""))
        .column(Column::number("loo", "Left-out error", "%"))
        .column(Column::number("exponent", "Exponent", ""));
    for scaling in scalings {
        let y: Vec<f64> = scaling.points.iter().map(|point| point.estimate.point).collect();
        for (id, label, get) in FIGURES {
            let place = || StudyError::at(format!("{} against {label}", scaling.phase.id()));
            let x: Option<Vec<f64>> = scaling.points.iter().map(|point| get(&point.model)).collect();
            let Some(x) = x.filter(|x| varies(x)) else {
                table.push_row([
                    scaling.phase.label().into(),
                    label.into(),
                    Cell::missing("the backend does not report it for every model, or it does not vary"),
                    Cell::missing("see the correlation"),
                    Cell::missing("see the correlation"),
                    Cell::missing("see the correlation"),
                    Cell::missing("see the correlation"),
                ]);
                continue;
            };
            let rho = if varies(&y) { Some(rank::spearman(&x, &y).map_err(place())?) } else { None };
            if let Some(rho) = &rho {
                estimands.put(
                    format!("rho.{}.{id}", scaling.phase.id()),
                    Estimate {
                        point: rho.rho,
                        standard_error: None,
                        interval: None,
                        method: "Spearman's rho".into(),
                        unit: "model".into(),
                        n: rho.n,
                    },
                );
            }
            let power = models::compare(&y, &[Regressor { name: id, values: &x }], &[Form::Power])
                .map_err(place())?
                .rivals
                .into_iter()
                .find(|rival| rival.form == Form::Power);
            table.push_row([
                scaling.phase.label().into(),
                label.into(),
                Cell::or_missing(rho.map(|r| r.rho), "latency does not vary"),
                Cell::or_missing(rho.map(|r| r.p), "latency does not vary"),
                Cell::or_missing(rho.map(|r| r.smallest_p), "latency does not vary"),
                Cell::or_missing(power.as_ref().and_then(|r| r.loo_rmse).map(|e| e * 100.0), "undefined"),
                Cell::or_missing(power.map(|r| r.curve.exponent), "undefined"),
            ]);
        }
    }
    let mut section = Section::new("architecture", "Which architecture figure predicts latency")
        .paragraph(
            "Parameters, depth, width and bytes read per token grow together in this family, so a good fit in one of \
             them is no proof that it is the cause. The figure with the smallest left-out error predicts best among \
             those offered; that is all these models can say.",
        )
        .table(table);
    if let Some(table) = joint(scalings)? {
        section = section.table(table);
    } else {
        section = section
            .note(NoteKind::Limit, "Parameters and depth in one fit: not enough models that report both.");
    }
    Ok(section)
}

fn varies(values: &[f64]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}

/// ln latency = alpha + beta ln parameters + gamma ln layers.
fn joint(scalings: &[Scaling<'_>]) -> Result<Option<Table>, StudyError> {
    let mut table = Table::new("joint", "Parameters and depth in one fit")
        .caption(
            "Least squares of ln latency on ln parameters and ln layers over the models; t intervals. Few degrees of \
             freedom and correlated columns: read the intervals, not the points.",
        )
        .column(Column::text("phase", "Phase"))
        .column(Column::number("parameters", "Exponent of parameters", ""))
        .column(Column::number("depth", "Exponent of depth", ""))
        .column(Column::number("r2", "R²", ""))
        .column(Column::number("adjusted", "Adjusted R²", ""))
        .column(Column::number("dof", "Degrees of freedom", ""));
    let mut rows = 0;
    for scaling in scalings {
        let at = || StudyError::at(format!("parameters and depth, {}", scaling.phase.id()));
        let column = |get: fn(&ModelFacts<'_>) -> Option<f64>| {
            scaling.points.iter().map(|point| get(&point.model)).collect::<Option<Vec<f64>>>()
        };
        let (Some(parameters), Some(layers)) = (column(|m| m.parameters), column(|m| m.layers)) else {
            continue;
        };
        if parameters.len() < 5 || !varies(&layers) {
            continue;
        }
        let y: Vec<f64> = scaling.points.iter().map(|point| point.estimate.point).collect();
        let logs = |values: &[f64]| regression::logs(values).map_err(at());
        let fit =
            regression::multiple(&[&logs(&parameters)?, &logs(&layers)?], &logs(&y)?, LEVEL).map_err(at())?;
        let [beta, gamma] = fit.coefficients.as_slice() else { continue };
        let estimate = |c: &regression::Coefficient| c.estimate("log-log least squares, t", "model", fit.n);
        table.push_row([
            scaling.phase.label().into(),
            estimate(beta).into(),
            estimate(gamma).into(),
            Cell::or_missing(fit.r_squared, "no variance"),
            Cell::or_missing(fit.adjusted_r_squared, "no degrees of freedom"),
            fit.dof.into(),
        ]);
        rows += 1;
    }
    Ok((rows > 0).then_some(table))
}
