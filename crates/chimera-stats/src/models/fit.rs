//! The curves and how their parameters are found: by least squares of log errors. A curve a + b g(x) is, up to its
//! scale, a mixture of 1 and g(x) / G with G the geometric mean of g; the scale follows in closed form, so that one
//! bounded number is left to search (two with the exponent). Not a general optimiser, and meant for tens of points:
//! leave-one-out repeats the search for each.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::StatsError;
use crate::error::in_range;
use crate::regression::ols;
use crate::summary::{centred, mean, sum};

/// Shape of a rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// y = a.
    Constant,
    /// y = a + b x, either sign, positive at every point.
    Linear,
    /// y = b x^s.
    Power,
    /// y = a + b x^s with a, b >= 0 and s from 0.05 to 3.
    OffsetPower,
}

impl Form {
    /// Parameters of the curve, without the variance.
    #[must_use]
    pub fn parameters(self) -> usize {
        match self {
            Self::Constant => 1,
            Self::Linear | Self::Power => 2,
            Self::OffsetPower => 3,
        }
    }

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Power => "power",
            Self::OffsetPower => "offset + power",
        }
    }
}

/// y = offset + factor x^exponent; every form is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// a, in the unit of y.
    pub offset: f64,
    /// b, in units of y per x^exponent; 0 for a constant.
    pub factor: f64,
    /// s; 1 for a line.
    pub exponent: f64,
}

impl Curve {
    /// y at x > 0.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        if self.factor == 0.0 { self.offset } else { self.offset + self.factor * x.powf(self.exponent) }
    }
}

/// Exponents that offset + power may take. Below, the power is a constant twice over; the data of a scaling study do
/// not reach above.
const EXPONENTS: RangeInclusive<f64> = 0.05..=3.0;
/// Intervals of the coarse grids, in the exponent and in the log odds of the mixture.
const EXPONENT_STEPS: usize = 59;
const MIXTURE_STEPS: usize = 128;

pub(super) fn fit(form: Form, ln_y: &[f64], x: &[f64]) -> Result<Curve, StatsError> {
    const WHAT: &str = "a rival model";
    let curve = match form {
        Form::Constant => Curve { offset: mean(ln_y).exp(), factor: 0.0, exponent: 1.0 },
        Form::Power => {
            let line = ols(&x.iter().map(|v| v.ln()).collect::<Vec<_>>(), ln_y, 0.95)?;
            Curve { offset: 0.0, factor: line.intercept.value.exp(), exponent: line.slope.value }
        }
        Form::Linear => {
            let u = Normalised::new(x, 1.0)?;
            let (mixture, _) = u.best(ln_y, &Sign::ALL, MIXTURE_STEPS);
            u.curve(ln_y, mixture)
        }
        Form::OffsetPower => {
            // A constant x is refused here, so that the search below never meets one.
            Normalised::new(x, 1.0)?;
            let best = |s: f64, steps: usize| {
                Normalised::new(x, s).map(|u| (u.best(ln_y, &[Sign::BothPositive], steps), u))
            };
            let sse = |s: f64| best(s, MIXTURE_STEPS / 2).map_or(f64::INFINITY, |((_, sse), _)| sse);
            let (s, _) = minimise(*EXPONENTS.start(), *EXPONENTS.end(), EXPONENT_STEPS, sse);
            let ((mixture, _), u) = best(s, MIXTURE_STEPS)?;
            u.curve(ln_y, mixture)
        }
    };
    for parameter in [curve.offset, curve.factor, curve.exponent] {
        in_range(WHAT, parameter)?;
    }
    Ok(curve)
}

/// Sum of squared log errors; infinite where the curve is not positive.
pub(super) fn log_sse(curve: &Curve, ln_y: &[f64], x: &[f64]) -> f64 {
    sum(ln_y.iter().zip(x).map(|(ln_y, x)| log_error(curve, *ln_y, *x).map_or(f64::INFINITY, |e| e * e)))
}

fn log_error(curve: &Curve, ln_y: f64, x: f64) -> Option<f64> {
    Some(ln_y - curve.at(x).ln()).filter(|e| e.is_finite())
}

/// Root mean square log error of points predicted without themselves; none where that is not possible for each.
pub(super) fn leave_one_out(form: Form, ln_y: &[f64], x: &[f64]) -> Option<f64> {
    let n = ln_y.len();
    if n <= form.parameters() {
        return None;
    }
    let mut total = 0.0;
    for i in 0..n {
        let all_but = |values: &[f64]| [&values[..i], &values[i + 1..]].concat();
        let curve = fit(form, &all_but(ln_y), &all_but(x)).ok()?;
        total += log_error(&curve, ln_y[i], x[i])?.powi(2);
    }
    Some((total / n as f64).sqrt())
}

/// u = x^s over its geometric mean.
struct Normalised {
    u: Vec<f64>,
    ln_mean: f64,
    exponent: f64,
}

impl Normalised {
    fn new(x: &[f64], exponent: f64) -> Result<Self, StatsError> {
        const WHAT: &str = "a rival model";
        let logs: Vec<f64> = x.iter().map(|v| exponent * v.ln()).collect();
        let (deviations, ln_mean, norm) = centred(&logs);
        if norm < 1e-12 * (logs.len() as f64).sqrt() {
            return Err(StatsError::Degenerate { what: WHAT, reason: "the regressor is constant" });
        }
        let u: Vec<f64> = deviations.iter().map(|d| d.exp()).collect();
        for value in &u {
            in_range(WHAT, *value)?;
        }
        Ok(Self { u, ln_mean, exponent })
    }

    /// The mixture of these signs with the smallest sum of squared log errors, and that sum. The odds of the two parts
    /// are searched on a log scale: where they meet within the data may be anywhere in their range.
    fn best(&self, ln_y: &[f64], signs: &[Sign], steps: usize) -> (Mixture, f64) {
        let (least, most) = self.u.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), u| (a.min(*u), b.max(*u)));
        let mut best = (Mixture { constant: 1.0, power: 0.0 }, f64::INFINITY);
        for sign in signs {
            let mixture = |z: f64| {
                let share = 1.0 / (1.0 + (-z).exp());
                match sign {
                    Sign::BothPositive => Mixture { constant: 1.0 - share, power: share },
                    Sign::NegativeOffset => Mixture { constant: -share * least, power: 1.0 },
                    Sign::NegativeFactor => Mixture { constant: 1.0, power: -share / most },
                }
            };
            let (low, high) = match sign {
                Sign::BothPositive => (-most.ln() - NEGLIGIBLE, -least.ln() + NEGLIGIBLE),
                Sign::NegativeOffset | Sign::NegativeFactor => (-NEGLIGIBLE, NEGLIGIBLE),
            };
            let (z, sse) = minimise(low, high, steps, |z| self.sse(ln_y, mixture(z)));
            if sse < best.1 {
                best = (mixture(z), sse);
            }
        }
        // Where one part has faded the bound itself is as good, and says so plainly.
        for bound in [Mixture { constant: 1.0, power: 0.0 }, Mixture { constant: 0.0, power: 1.0 }] {
            let sse = self.sse(ln_y, bound);
            if sse <= best.1 * (1.0 + 1e-12) {
                best = (bound, sse);
            }
        }
        best
    }

    /// Logarithm of the mixture at each point; not finite where it is not positive.
    fn ln_mixture(&self, mixture: Mixture) -> impl Iterator<Item = f64> {
        self.u.iter().map(move |u| (mixture.constant + mixture.power * u).ln())
    }

    /// Sum of squared log errors at the best scale.
    fn sse(&self, ln_y: &[f64], mixture: Mixture) -> f64 {
        let n = ln_y.len() as f64;
        let errors = || ln_y.iter().zip(self.ln_mixture(mixture)).map(|(y, m)| y - m);
        let centre = errors().sum::<f64>() / n;
        let sse = errors().map(|e| (e - centre).powi(2)).sum::<f64>();
        if sse.is_finite() { sse } else { f64::INFINITY }
    }

    fn curve(&self, ln_y: &[f64], mixture: Mixture) -> Curve {
        let scale = (mean(ln_y) - self.ln_mixture(mixture).sum::<f64>() / ln_y.len() as f64).exp();
        Curve {
            offset: scale * mixture.constant,
            factor: scale * mixture.power / self.ln_mean.exp(),
            exponent: self.exponent,
        }
    }
}

/// constant + power u, before scaling.
#[derive(Clone, Copy)]
struct Mixture {
    constant: f64,
    power: f64,
}

/// Signs of the two parts; the sum is positive at every point in each.
#[derive(Clone, Copy)]
enum Sign {
    BothPositive,
    NegativeOffset,
    NegativeFactor,
}

impl Sign {
    const ALL: [Self; 3] = [Self::BothPositive, Self::NegativeOffset, Self::NegativeFactor];
}

/// Log odds at which one part of the mixture is 2e-9 of the other.
const NEGLIGIBLE: f64 = 20.0;

/// Smallest value of `f` on the closed interval: a grid finds the valley, golden section its floor. The ends are
/// candidates too: they are where a bound holds.
fn minimise(low: f64, high: f64, steps: usize, f: impl Fn(f64) -> f64) -> (f64, f64) {
    const INVERSE_GOLDEN: f64 = 0.618_033_988_749_894_8;
    let at = |i: usize| low + (high - low) * i as f64 / steps as f64;
    let (best, best_value) = (0..=steps)
        .map(|i| (i, f(at(i))))
        .fold((0, f64::INFINITY), |best, next| if next.1 < best.1 { next } else { best });
    let (mut a, mut b) = (at(best.saturating_sub(1)), at((best + 1).min(steps)));
    let (mut c, mut d) = (b - INVERSE_GOLDEN * (b - a), a + INVERSE_GOLDEN * (b - a));
    let (mut fc, mut fd) = (f(c), f(d));
    // 0.618^45 < 1e-9 of a grid step: beyond that the values differ by rounding only.
    for _ in 0..45 {
        if fc < fd {
            (b, d, fd) = (d, c, fc);
            c = b - INVERSE_GOLDEN * (b - a);
            fc = f(c);
        } else {
            (a, c, fc) = (c, d, fd);
            d = a + INVERSE_GOLDEN * (b - a);
            fd = f(d);
        }
    }
    let middle = 0.5 * (a + b);
    let value = f(middle);
    if value < best_value { (middle, value) } else { (at(best), best_value) }
}
