//! Rival descriptions of how a positive quantity y grows: constant, linear, power, offset plus power, each in any of the
//! regressors offered. It ranks them and says when the data do not tell them apart. It is a comparison of descriptions:
//! a winner is the best of those offered, not a cause.
//!
//! # The common scale
//! Every rival is fitted and judged by its logarithmic errors e = ln y - ln yhat: latencies scatter in proportion to
//! their size, and likelihoods compare only on one scale. Each rival minimises SSE = sum of e^2 (so `linear` is not
//! ordinary least squares of y), and
//!
//! - AICc = n ln(SSE / n) + 2 k + 2 k (k + 1) / (n - k - 1), with k the parameters of the curve plus one for the
//!   variance (Hurvich and Tsai 1989, *Biometrika* 76); absent where n <= k + 1. SSE / n counts as at least 1e-24, the
//!   rounding of logarithms.
//! - the leave-one-out error is the root mean square of e at each point, predicted from a fit without it; absent where
//!   the others are too few to fit, or predict nothing positive. Times 100 it reads as per cent.

mod fit;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

pub use fit::{Curve, Form};

use crate::StatsError;
use crate::error::{check_count, check_lengths, check_positive};
use crate::regression::logs;

/// AICc differences below this leave rivals undecided: Burnham and Anderson's "considerably less support" begins at 4.
pub const DECISIVE_AICC: f64 = 4.0;

/// A named explanatory quantity with one positive value per point.
#[derive(Debug, Clone, Copy)]
pub struct Regressor<'a> {
    /// Its name, as in `parameters` or `bytes per token`.
    pub name: &'a str,
    /// Its values, in the order of y.
    pub values: &'a [f64],
}

/// One rival, fitted and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rival {
    /// Form and regressor, as in `power in parameters`.
    pub name: String,
    /// The form.
    pub form: Form,
    /// The regressor; none for a constant.
    pub regressor: Option<String>,
    /// The fitted curve.
    pub curve: Curve,
    /// Number of points.
    pub n: usize,
    /// Parameters of the curve plus one for the variance.
    pub k: usize,
    /// Sum of squared log errors.
    pub log_sse: f64,
    /// Small-sample Akaike criterion; see the module.
    pub aicc: Option<f64>,
    /// AICc minus the smallest one.
    pub delta_aicc: Option<f64>,
    /// Leave-one-out root mean square log error; see the module.
    pub loo_rmse: Option<f64>,
}

/// A rival that could not be fitted at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unfitted {
    /// Its name.
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

/// What the ranking allows to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The first rival of the table: its AICc is smaller than any other's by [`DECISIVE_AICC`], and its leave-one-out
    /// error is the smallest.
    Chosen,
    /// AICc does not separate the first from these.
    CloseCall {
        /// Names of the rivals within [`DECISIVE_AICC`] of the first.
        with: Vec<String>,
    },
    /// AICc separates, but another predicts left-out points better.
    LeaveOneOutDisagrees {
        /// Name of the rival with the smallest leave-one-out error.
        prefers: String,
    },
    /// Fewer than two rivals have an AICc and a leave-one-out error: too few points to compare anything.
    NotComparable,
}

/// All rivals, best first, and what may be concluded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// By AICc, those without one last (by leave-one-out error).
    pub rivals: Vec<Rival>,
    /// Rivals that could not be fitted.
    pub unfitted: Vec<Unfitted>,
    /// The conclusion.
    pub choice: Choice,
}

impl Comparison {
    /// The rival that is decided for; none while undecided.
    #[must_use]
    pub fn chosen(&self) -> Option<&Rival> {
        if self.choice == Choice::Chosen { self.rivals.first() } else { None }
    }
}

/// Fits a constant and, in each regressor, each of `forms`, and ranks them.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 points, [`StatsError::Mismatched`], [`StatsError::NotPositive`] or
/// [`StatsError::NotFinite`] in y or a regressor. A single rival that cannot be fitted is no error: it is listed.
pub fn compare(y: &[f64], regressors: &[Regressor<'_>], forms: &[Form]) -> Result<Comparison, StatsError> {
    const WHAT: &str = "model comparison";
    check_count(WHAT, 3, y.len())?;
    check_positive("y", y)?;
    for regressor in regressors {
        check_lengths(WHAT, y.len(), regressor.values.len())?;
        check_positive("regressor", regressor.values)?;
    }
    let ln_y = logs(y)?;
    let mut rivals = vec![judge(Form::Constant, None, &ln_y, y)?];
    let mut unfitted = Vec::new();
    for regressor in regressors {
        for &form in forms.iter().filter(|form| **form != Form::Constant) {
            match judge(form, Some(regressor.name), &ln_y, regressor.values) {
                Ok(rival) => rivals.push(rival),
                Err(error) => {
                    unfitted
                        .push(Unfitted { name: name(form, Some(regressor.name)), reason: error.to_string() });
                }
            }
        }
    }
    rivals.sort_by(|a, b| absent_last(a.aicc, b.aicc).then_with(|| absent_last(a.loo_rmse, b.loo_rmse)));
    if let Some(best) = rivals[0].aicc {
        for rival in &mut rivals {
            rival.delta_aicc = rival.aicc.map(|aicc| aicc - best);
        }
    }
    let choice = choose(&rivals);
    Ok(Comparison { rivals, unfitted, choice })
}

fn name(form: Form, regressor: Option<&str>) -> String {
    match regressor {
        Some(regressor) => format!("{} in {regressor}", form.name()),
        None => form.name().to_owned(),
    }
}

fn judge(form: Form, regressor: Option<&str>, ln_y: &[f64], x: &[f64]) -> Result<Rival, StatsError> {
    let n = ln_y.len();
    let curve = fit::fit(form, ln_y, x)?;
    let log_sse = fit::log_sse(&curve, ln_y, x);
    let k = form.parameters() + 1;
    let aicc = (n > k + 1).then(|| {
        let (n, k) = (n as f64, k as f64);
        n * (log_sse / n).max(1e-24).ln() + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
    });
    Ok(Rival {
        name: name(form, regressor),
        form,
        regressor: regressor.map(str::to_owned),
        curve,
        n,
        k,
        log_sse,
        aicc,
        delta_aicc: None,
        loo_rmse: fit::leave_one_out(form, ln_y, x),
    })
}

fn absent_last(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

fn choose(ranked: &[Rival]) -> Choice {
    let comparable = |r: &&Rival| r.aicc.is_some() && r.loo_rmse.is_some();
    if ranked.iter().filter(comparable).count() < 2 {
        return Choice::NotComparable;
    }
    let close: Vec<String> = ranked[1..]
        .iter()
        .filter(|r| r.delta_aicc.is_some_and(|d| d < DECISIVE_AICC))
        .map(|r| r.name.clone())
        .collect();
    if !close.is_empty() {
        return Choice::CloseCall { with: close };
    }
    let by_loo = ranked.iter().min_by(|a, b| absent_last(a.loo_rmse, b.loo_rmse));
    match by_loo {
        Some(best) if best.name != ranked[0].name => {
            Choice::LeaveOneOutDisagrees { prefers: best.name.clone() }
        }
        _ => Choice::Chosen,
    }
}
