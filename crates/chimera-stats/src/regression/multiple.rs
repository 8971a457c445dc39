//! Several regressors and an intercept, by Householder QR of centred, scaled columns: the normal equations would square
//! the condition number. For a handful of columns; no selection, no penalty.

use serde::{Deserialize, Serialize};

use super::Coefficient;
use crate::StatsError;
use crate::error::{check_count, check_finite, check_lengths, check_level, in_range};
use crate::summary::{centred, is_rounding, max_abs, norm, sum};

/// y = intercept + sum of coefficient times regressor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultipleFit {
    /// Number of points.
    pub n: usize,
    /// Residual degrees of freedom, n - 1 - number of regressors.
    pub dof: usize,
    /// Confidence level of the intervals.
    pub level: f64,
    /// Intercept.
    pub intercept: Coefficient,
    /// One coefficient per regressor, in the order given.
    pub coefficients: Vec<Coefficient>,
    /// 1 - SSE / SST; absent where y is constant.
    pub r_squared: Option<f64>,
    /// 1 - (1 - R2)(n - 1) / dof; absent likewise, or without degrees of freedom.
    pub adjusted_r_squared: Option<f64>,
    /// Residual standard deviation, divisor `dof`; absent without degrees of freedom.
    pub residual_sd: Option<f64>,
    /// y minus the fit.
    pub residuals: Vec<f64>,
    /// Diagonal of the hat matrix.
    pub leverage: Vec<f64>,
}

/// Least squares of y on `columns`, each as long as y. The intercept is added.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotFinite`], [`StatsError::TooFew`] with fewer points than coefficients or
/// without columns, [`StatsError::Degenerate`] if a column is constant or a combination of others,
/// [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn multiple(columns: &[&[f64]], y: &[f64], level: f64) -> Result<MultipleFit, StatsError> {
    const WHAT: &str = "multiple regression";
    check_level(level)?;
    check_count("multiple regression (regressors)", 1, columns.len())?;
    for column in columns {
        check_lengths(WHAT, column.len(), y.len())?;
        check_finite("regressor", column)?;
    }
    check_finite("y", y)?;
    let (n, p) = (y.len(), columns.len());
    check_count(WHAT, p + 1, n)?;

    let mut scaled = Vec::with_capacity(p);
    let mut means = Vec::with_capacity(p);
    let mut scales = Vec::with_capacity(p);
    for column in columns {
        let (mut deviations, mean, norm) = centred(column);
        if is_rounding(norm, n, max_abs(column)) {
            return Err(StatsError::Degenerate { what: WHAT, reason: "a regressor is constant" });
        }
        let norm = in_range(WHAT, norm)?;
        deviations.iter_mut().for_each(|d| *d /= norm);
        scaled.push(deviations);
        means.push(mean);
        scales.push(norm);
    }
    let qr = Qr::new(scaled)?;
    let (dy, y_mean, y_norm) = centred(y);
    in_range(WHAT, y_norm)?;

    let mut rotated = dy;
    qr.apply_transposed(&mut rotated);
    let beta = qr.solve(&rotated[..p]);
    // What the first p rotated entries held is explained; the rest, rotated back, is the residual.
    rotated[..p].fill(0.0);
    let residual_norm = norm(&rotated);
    let mut residuals = rotated;
    qr.apply(&mut residuals);

    let dof = n - 1 - p;
    let residual_sd = (dof > 0).then(|| residual_norm / (dof as f64).sqrt());
    let exact = is_rounding(residual_norm, n, max_abs(y));
    let constant = is_rounding(y_norm, n, max_abs(y));
    let r_squared = (!constant).then(|| (1.0 - (residual_norm / y_norm).powi(2)).clamp(0.0, 1.0));

    // Rows of the inverse of R, unscaled: their norms and products are the covariance of the coefficients.
    let inverse = qr.inverse();
    let row = |j: usize| -> Vec<f64> { (0..p).map(|k| inverse[j * p + k] / scales[j]).collect() };
    let coefficient = |value: f64, factor: f64| {
        Coefficient::new(in_range(WHAT, value)?, factor, residual_sd, dof, exact, level)
    };
    let coefficients =
        (0..p).map(|j| coefficient(beta[j] / scales[j], norm(&row(j)))).collect::<Result<Vec<_>, _>>()?;
    let intercept = y_mean - sum((0..p).map(|j| coefficients[j].value * means[j]));
    let mut at_mean = vec![0.0; p];
    for (j, mean) in means.iter().enumerate() {
        for (total, entry) in at_mean.iter_mut().zip(row(j)) {
            *total += mean * entry;
        }
    }
    let intercept = coefficient(intercept, (1.0 / n as f64).sqrt().hypot(norm(&at_mean)))?;

    Ok(MultipleFit {
        n,
        dof,
        level,
        intercept,
        coefficients,
        r_squared,
        adjusted_r_squared: r_squared
            .filter(|_| dof > 0)
            .map(|r2| 1.0 - (1.0 - r2) * (n as f64 - 1.0) / dof as f64),
        residual_sd,
        residuals,
        leverage: qr.leverage(n),
    })
}

/// Householder QR of tall columns. Column j keeps its reflector below and on the diagonal; R sits apart.
struct Qr {
    reflectors: Vec<Vec<f64>>,
    /// Upper triangle, row-major p by p.
    r: Vec<f64>,
    p: usize,
}

impl Qr {
    /// Columns of unit norm: a diagonal entry of R is then the sine of the angle to the columns before.
    fn new(mut columns: Vec<Vec<f64>>) -> Result<Self, StatsError> {
        let p = columns.len();
        let mut r = vec![0.0; p * p];
        let mut reflectors: Vec<Vec<f64>> = Vec::with_capacity(p);
        for j in 0..p {
            let mut column = std::mem::take(&mut columns[j]);
            for (k, reflector) in reflectors.iter().enumerate() {
                reflect(reflector, k, &mut column);
                r[k * p + j] = column[k];
            }
            let length = norm(&column[j..]);
            if length < 1e-10 {
                return Err(StatsError::Degenerate {
                    what: "multiple regression",
                    reason: "a regressor is a combination of others",
                });
            }
            let diagonal = if column[j] > 0.0 { -length } else { length };
            column[..j].fill(0.0);
            column[j] -= diagonal;
            let reflector_norm = norm(&column[j..]);
            column[j..].iter_mut().for_each(|v| *v /= reflector_norm);
            r[j * p + j] = diagonal;
            reflectors.push(column);
        }
        Ok(Self { reflectors, r, p })
    }

    /// Q' times v.
    fn apply_transposed(&self, v: &mut [f64]) {
        for (j, reflector) in self.reflectors.iter().enumerate() {
            reflect(reflector, j, v);
        }
    }

    /// Q times v.
    fn apply(&self, v: &mut [f64]) {
        for (j, reflector) in self.reflectors.iter().enumerate().rev() {
            reflect(reflector, j, v);
        }
    }

    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut x = right.to_vec();
        for j in (0..self.p).rev() {
            for k in j + 1..self.p {
                x[j] -= self.r[j * self.p + k] * x[k];
            }
            x[j] /= self.r[j * self.p + j];
        }
        x
    }

    /// Inverse of R, row-major.
    fn inverse(&self) -> Vec<f64> {
        let p = self.p;
        let mut inverse = vec![0.0; p * p];
        for k in 0..p {
            let mut unit = vec![0.0; p];
            unit[k] = 1.0;
            for (j, value) in self.solve(&unit).into_iter().enumerate() {
                inverse[j * p + k] = value;
            }
        }
        inverse
    }

    /// 1/n plus the squared rows of the first p columns of Q.
    fn leverage(&self, n: usize) -> Vec<f64> {
        let mut leverage = vec![1.0 / n as f64; n];
        for j in 0..self.p {
            let mut column = vec![0.0; n];
            column[j] = 1.0;
            self.apply(&mut column);
            for (total, q) in leverage.iter_mut().zip(column) {
                *total += q * q;
            }
        }
        leverage
    }
}

/// v minus twice its projection on the reflector, which is zero before `from`.
fn reflect(reflector: &[f64], from: usize, v: &mut [f64]) {
    let projection = sum(reflector[from..].iter().zip(&v[from..]).map(|(a, b)| a * b));
    for (v, a) in v[from..].iter_mut().zip(&reflector[from..]) {
        *v -= 2.0 * projection * a;
    }
}
