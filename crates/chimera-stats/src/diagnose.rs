//! What values look like before one believes an interval of them: too few, constant, skewed, drifting, dependent. It warns
//! and changes nothing; a list without warnings is not a certificate, since few values hide what is wrong with them.
//!
//! Each check is made at [`ALPHA`]. Skewness and dependence are judged from 8 values on, drift from 5. Of normal
//! independent values each check warns of at most 2.5 % in simulation, all together of at most 6 %.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dist::normal_sf;
use crate::hypothesis::{self, Alternative, RankNull};
use crate::intervals::MIN_BLOCKS;
use crate::regression::theil_sen;
use crate::series::{autocorrelation, effective_size, mann_kendall};
use crate::summary::{centred, is_rounding, max_abs};
use crate::{Interval, Sample, StatsError};

/// Share of clean data that each check may call unclean: the roundest one at which five blocks can show a drift at all (in
/// one order, the smallest p of five is 2 / 120).
pub const ALPHA: f64 = 0.02;

/// Level of the interval of a drift.
const LEVEL: f64 = 0.95;

/// Fewest values whose neighbours are compared: the normal law of their correlation is too rough below.
const LEAST_NEIGHBOURS: usize = 8;

/// Something to know before believing an interval of these values. Displayed it is one line in plain words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Warning {
    /// Fewer values than an interval needs.
    TooFew {
        /// What one value is.
        unit: Cow<'static, str>,
        /// Values given.
        n: usize,
        /// Values needed.
        needed: usize,
    },
    /// All values are one, so that every interval has no width.
    Constant {
        /// What one value is.
        unit: Cow<'static, str>,
        /// That value.
        value: f64,
    },
    /// The values rise or fall from first to last.
    Drifts {
        /// What one value is.
        unit: Cow<'static, str>,
        /// Theil-Sen slope, in the values' unit per step.
        slope: f64,
        /// Its 95 % interval.
        interval: Option<Interval>,
        /// Median of the values, to which the drift is relative.
        median: f64,
        /// Two-sided p of the Mann-Kendall test.
        p: f64,
    },
    /// Neighbours resemble one another, beyond what a drift explains.
    Dependent {
        /// What one value is.
        unit: Cow<'static, str>,
        /// Autocorrelation at lag 1, of the residuals from the drift if there is one.
        lag_1: f64,
        /// Upper p under independence.
        p: f64,
        /// Values given.
        n: usize,
        /// Independent values that they are worth.
        effective: f64,
    },
    /// A long upper tail that is gone on the log scale.
    Lognormal {
        /// Skewness of the values (G1).
        skewness: f64,
        /// Skewness of their logarithms.
        of_logs: f64,
        /// Two-sided p of D'Agostino's test on the values.
        p: f64,
    },
    /// A long tail on one side that logarithms do not mend.
    Skewed {
        /// Skewness of the values (G1).
        skewness: f64,
        /// Skewness of their logarithms; none if a value is not positive.
        of_logs: Option<f64>,
        /// Two-sided p of D'Agostino's test on the values.
        p: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { unit, n, needed } => {
                write!(f, "{n} {unit}{}: an interval needs {needed}", if *n == 1 { "" } else { "s" })
            }
            Self::Constant { unit, value } => {
                write!(f, "every {unit} is {value}: an interval without width speaks of a coarse measure")
            }
            Self::Drifts { unit, slope, interval, median, p } => {
                // A drift around zero has no share; it is told in the values' own unit.
                let (by, sign) = if *median == 0.0 { (1.0, "") } else { (median.abs() / 100.0, " %") };
                write!(f, "drifts by {:+.2}{sign} a {unit} (", slope / by)?;
                if let Some(i) = interval {
                    write!(f, "95 % interval {:+.2} to {:+.2}, ", i.low / by, i.high / by)?;
                }
                write!(f, "Mann-Kendall p {}): an interval over {unit}s is of a moving target", Small(*p))
            }
            Self::Dependent { unit, lag_1, p, n, effective } => write!(
                f,
                "neighbours resemble one another (lag-1 autocorrelation {lag_1:.2}, p {}): {n} {unit}s are worth \
                 {effective:.1}, intervals are too narrow",
                Small(*p)
            ),
            Self::Lognormal { skewness, of_logs, p } => write!(
                f,
                "looks lognormal (skewness {skewness:.2}, p {}; {of_logs:.2} on logarithms): use the log scale",
                Small(*p)
            ),
            Self::Skewed { skewness, of_logs, p } => {
                write!(f, "skewed (skewness {skewness:.2}, p {}", Small(*p))?;
                if let Some(of_logs) = of_logs {
                    write!(f, "; {of_logs:.2} on logarithms")?;
                }
                write!(f, "): use the median or bootstrap-t")
            }
        }
    }
}

/// A p in three digits behind the point, or below them.
struct Small(f64);

impl fmt::Display for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0.001 { write!(f, "< 0.001") } else { write!(f, "{:.3}", self.0) }
    }
}

/// Warnings about one value per block (or run, or request) in order of time, the gravest first: those of [`shape`], drift
/// (Mann-Kendall, exact to 60 values) and dependence of neighbours (lag-1 autocorrelation r against a normal law of mean
/// -1 / n and variance (n - 2)^2 / (n^2 (n - 1)), Moran 1948, *Biometrika* 35; positive alone, for it is what narrows
/// intervals).
///
/// # Errors
/// [`StatsError::Overflow`] if a spread or slope leaves the range of a float.
pub fn blocks(in_order: Sample<'_>) -> Result<Vec<Warning>, StatsError> {
    let mut warnings = shape(in_order)?;
    let n = in_order.len();
    if n < MIN_BLOCKS || is_constant(in_order) {
        return Ok(warnings);
    }
    let place = warnings.iter().take_while(|w| matches!(w, Warning::TooFew { .. })).count();
    let mut found = Vec::new();
    let unit = || Cow::Borrowed(in_order.unit());
    let trend = mann_kendall(in_order, Alternative::TwoSided, RankNull::Auto)?;
    let mut level_values = in_order.values().to_vec();
    if let Some(p) = trend.p(ALPHA).ok().filter(|p| *p <= ALPHA) {
        let steps: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let line = theil_sen(&steps, in_order.values(), LEVEL)?;
        for (value, step) in level_values.iter_mut().zip(&steps) {
            *value -= line.slope * step;
        }
        let (slope, interval, median) = (line.slope, line.interval, in_order.median());
        found.push(Warning::Drifts { unit: unit(), slope, interval, median, p });
    }
    let level = Sample::new(&level_values, in_order.unit())?;
    if n >= LEAST_NEIGHBOURS && !is_constant(level) {
        let lag_1 = autocorrelation(level, 1)?[1];
        let size = n as f64;
        let z = (lag_1 + 1.0 / size) * size * (size - 1.0).sqrt() / (size - 2.0);
        let p = normal_sf(z);
        if p <= ALPHA {
            let effective = effective_size(level)?.effective;
            found.push(Warning::Dependent { unit: unit(), lag_1, p, n, effective });
        }
    }
    warnings.splice(place..place, found);
    Ok(warnings)
}

/// Warnings about values without an order: too few for an interval ([`MIN_BLOCKS`]), constant, skewed. A tail that is
/// significant at [`ALPHA`] (D'Agostino) looks lognormal if logarithms are not significantly skewed and at most half as
/// much.
///
/// # Errors
/// [`StatsError::Overflow`] if the spread leaves the range of a float.
pub fn shape(values: Sample<'_>) -> Result<Vec<Warning>, StatsError> {
    let mut warnings = Vec::new();
    let (unit, n) = (Cow::Borrowed(values.unit()), values.len());
    if n < MIN_BLOCKS {
        warnings.push(Warning::TooFew { unit: unit.clone(), n, needed: MIN_BLOCKS });
    }
    if is_constant(values) {
        if n > 1 {
            warnings.push(Warning::Constant { unit, value: values.values()[0] });
        }
        return Ok(warnings);
    }
    let two_sided = |values| hypothesis::skewness(values, Alternative::TwoSided);
    let Some(p) = two_sided(values)?.p(ALPHA).ok().filter(|p| *p <= ALPHA) else {
        return Ok(warnings);
    };
    let skewness = values.skewness()?;
    let logs = values.ln().ok();
    let logs =
        logs.as_deref().map(|logs| Sample::trusted(logs, values.unit())).filter(|logs| !is_constant(*logs));
    let of_logs = logs.map(|logs| logs.skewness()).transpose()?;
    let mended = match logs {
        Some(logs) => two_sided(logs)?.p(ALPHA).is_ok_and(|p| p > ALPHA),
        None => false,
    };
    warnings.push(match of_logs {
        Some(of_logs) if mended && skewness > 0.0 && 2.0 * of_logs.abs() <= skewness => {
            Warning::Lognormal { skewness, of_logs, p }
        }
        of_logs => Warning::Skewed { skewness, of_logs, p },
    });
    Ok(warnings)
}

fn is_constant(values: Sample<'_>) -> bool {
    let (_, _, norm) = centred(values.values());
    is_rounding(norm, values.len(), max_abs(values.values()))
}
