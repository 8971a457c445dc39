//! Differences in standard deviations. Their intervals are exact for normal values: the non-centralities of t at which
//! the observed t is a limit (Steiger and Fouladi 1997, in *What If There Were No Significance Tests?*).

use statrs::function::gamma::ln_gamma;

use crate::error::{check_level, in_range};
use crate::hypothesis::Contrast;
use crate::noncentral::t_shift;
use crate::{Estimate, Interval, Sample, StatsError};

/// Cohen's d of independent samples: difference of means over the pooled standard deviation.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values in a sample, [`StatsError::Degenerate`] if neither varies,
/// [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn cohen_d(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let root = (n / (n + m) * m).sqrt();
    estimate(Contrast::student(a, b, "Cohen's d")?, a.unit(), root, level, "Cohen's d, non-central t")
}

/// Cohen's d of pairs: mean difference over the standard deviation of the differences. Not comparable with [`cohen_d`]:
/// the pairing has taken the common part out of the noise.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`cohen_d`].
pub fn cohen_d_paired(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    let root = (a.len() as f64).sqrt();
    estimate(Contrast::paired(a, b, "Cohen's d")?, a.unit(), root, level, "Cohen's d of pairs, non-central t")
}

/// Hedges' g: Cohen's d times its exact correction for small samples (Hedges 1981, *Journal of Educational Statistics* 6).
///
/// # Errors
/// As [`cohen_d`].
pub fn hedges_g(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    let dof = (a.len() + b.len()).saturating_sub(2) as f64;
    corrected(cohen_d(a, b, level)?, dof, "Hedges' g, non-central t")
}

/// Hedges' correction of [`cohen_d_paired`].
///
/// # Errors
/// As [`cohen_d_paired`]; [`StatsError::TooFew`] below 3 pairs.
pub fn hedges_g_paired(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    a.require("Hedges' g", 3)?;
    corrected(cohen_d_paired(a, b, level)?, (a.len() - 1) as f64, "Hedges' g of pairs, non-central t")
}

fn corrected(d: Estimate, dof: f64, method: &'static str) -> Result<Estimate, StatsError> {
    let j = (ln_gamma(dof / 2.0) - ln_gamma((dof - 1.0) / 2.0)).exp() / (dof / 2.0).sqrt();
    in_range(method, j)?;
    Ok(Estimate {
        point: j * d.point,
        standard_error: d.standard_error.map(|se| j * se),
        interval: d.interval.map(|i| i.map(|limit| j * limit)),
        method: method.into(),
        ..d
    })
}

/// `root` turns d into the non-centrality of its t.
fn estimate(
    contrast: Contrast,
    unit: &'static str,
    root: f64,
    level: f64,
    method: &'static str,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    if !contrast.noise {
        return Err(StatsError::Degenerate { what: method, reason: "the values do not vary" });
    }
    let t = in_range(method, contrast.difference / contrast.se)?;
    let dof = contrast.dof;
    let tail = (1.0 - level) / 2.0;
    let limit = |p: f64| in_range(method, t_shift(t, dof, p)? / root);
    let d = t / root;
    Ok(Estimate {
        point: d,
        // First-order: of the mean, and of the standard deviation.
        standard_error: Some((1.0 / root).hypot(d / (2.0 * dof).sqrt())),
        interval: Some(Interval { low: limit(1.0 - tail)?, high: limit(tail)?, level }),
        method: method.into(),
        unit: unit.into(),
        n: contrast.n.iter().copied().min().unwrap_or(0),
    })
}
