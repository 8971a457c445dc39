//! Several groups at once: are their means one (with or without one variance), are their spreads one. Which groups differ
//! is another question: compare them in pairs and adjust with [`super::holm`].

use super::outcome::{Alternative, Null, Test};
use crate::dist::f_sf;
use crate::error::{check_count, in_range};
use crate::summary::{centred, is_rounding, max_abs, mean, norm, sum};
use crate::{Sample, StatsError};

/// What a one-way layout shares among its tests: root sums of squares between and within groups, and their degrees of
/// freedom.
#[derive(Debug)]
pub(crate) struct Between {
    between: f64,
    within: f64,
    noise: bool,
    pub(crate) numerator: f64,
    pub(crate) denominator: f64,
    pub(crate) n: usize,
}

impl Between {
    pub(crate) fn new(groups: &[Sample<'_>], what: &'static str) -> Result<Self, StatsError> {
        check_count(what, 2, groups.len())?;
        let n: usize = groups.iter().map(Sample::len).sum();
        check_count(what, groups.len() + 1, n)?;
        let all: Vec<f64> = groups.iter().flat_map(|g| g.values()).copied().collect();
        let centre = mean(&all);
        let means: Vec<f64> = groups.iter().map(|g| (g.mean() - centre) * (g.len() as f64).sqrt()).collect();
        let roots: Vec<f64> = groups.iter().map(|g| centred(g.values()).2).collect();
        let within = in_range(what, norm(&roots))?;
        Ok(Self {
            between: in_range(what, norm(&means))?,
            within,
            noise: !is_rounding(within, n, max_abs(&all)),
            numerator: (groups.len() - 1) as f64,
            denominator: (n - groups.len()) as f64,
            n,
        })
    }

    /// The F ratio; none without noise.
    pub(crate) fn f(&self) -> Option<f64> {
        self.noise.then(|| (self.between / self.within).powi(2) * self.denominator / self.numerator)
    }

    fn test(&self, name: &'static str, sizes: Vec<usize>) -> Result<Test, StatsError> {
        let (numerator, denominator) = (self.numerator, self.denominator);
        Test::guarded(name, sizes, Alternative::TwoSided, Null::F { numerator, denominator }, self.f(), |f| {
            Ok((f_sf(f, numerator, denominator)?, None))
        })
    }
}

fn sizes(groups: &[Sample<'_>]) -> Vec<usize> {
    groups.iter().map(Sample::len).collect()
}

/// One-way analysis of variance: F of means between groups with one variance within.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 groups or without a second value in any (below 3 in a group the result refuses a p),
/// [`StatsError::Overflow`].
pub fn one_way_anova(groups: &[Sample<'_>]) -> Result<Test, StatsError> {
    const NAME: &str = "one-way ANOVA";
    Between::new(groups, NAME)?.test(NAME, sizes(groups))
}

/// Welch's analysis of variance, each group with its own variance (Welch 1951, *Biometrika* 38). The default for more than
/// two arms.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 groups or 2 values in a group (below 3 the result refuses a p),
/// [`StatsError::Degenerate`] if a single group is constant while others vary: its weight would be infinite,
/// [`StatsError::Overflow`].
pub fn welch_anova(groups: &[Sample<'_>]) -> Result<Test, StatsError> {
    const NAME: &str = "Welch ANOVA";
    check_count(NAME, 2, groups.len())?;
    for group in groups {
        group.require(NAME, 2)?;
    }
    let k = groups.len() as f64;
    let all: Vec<f64> = groups.iter().flat_map(|g| g.values()).copied().collect();
    let scale = max_abs(&all);
    let errors = groups.iter().map(Sample::standard_error).collect::<Result<Vec<_>, _>>()?;
    let constant = groups
        .iter()
        .zip(&errors)
        .filter(|(g, e)| {
            let n = g.len() as f64;
            is_rounding(**e * (n * (n - 1.0)).sqrt(), g.len(), max_abs(g.values()))
        })
        .count();
    let null = |denominator: f64| Null::F { numerator: k - 1.0, denominator };
    if constant == groups.len() || scale == 0.0 {
        let dof = (all.len() - groups.len()) as f64;
        return Test::guarded(NAME, sizes(groups), Alternative::TwoSided, null(dof), None, |_| {
            Ok((1.0, None))
        });
    }
    if constant > 0 {
        return Err(StatsError::Degenerate { what: NAME, reason: "a group is constant while others vary" });
    }
    // In units of the smallest standard error, so that no square leaves the range.
    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let weights: Vec<f64> = errors.iter().map(|e| (least / e).powi(2)).collect();
    let total = sum(weights.iter().copied());
    let means: Vec<f64> = groups.iter().map(Sample::mean).collect();
    let centre = sum(weights.iter().zip(&means).map(|(w, m)| w / total * m));
    let between = sum(weights.iter().zip(&means).map(|(w, m)| w * ((m - centre) / least).powi(2)));
    let lambda =
        sum(weights.iter().zip(groups).map(|(w, g)| (1.0 - w / total).powi(2) / (g.len() - 1) as f64));
    let statistic = between / (k - 1.0) / (1.0 + 2.0 * (k - 2.0) / (k * k - 1.0) * lambda);
    let denominator = (k * k - 1.0) / (3.0 * lambda);
    let law = null(denominator);
    Test::guarded(NAME, sizes(groups), Alternative::TwoSided, law, Some(statistic), |f| {
        Ok((f_sf(f, k - 1.0, denominator)?, None))
    })
}

/// Levene's test that groups vary alike: analysis of variance of the distances from the group means. Skewed values make
/// it reject too often; [`brown_forsythe`] does not mind them.
///
/// # Errors
/// As [`one_way_anova`].
pub fn levene(groups: &[Sample<'_>]) -> Result<Test, StatsError> {
    spread(groups, "Levene", |group| group.mean())
}

/// Levene's test about the medians (Brown and Forsythe 1974, *JASA* 69).
///
/// # Errors
/// As [`one_way_anova`].
pub fn brown_forsythe(groups: &[Sample<'_>]) -> Result<Test, StatsError> {
    spread(groups, "Brown-Forsythe", |group| group.median())
}

fn spread(
    groups: &[Sample<'_>],
    name: &'static str,
    centre: impl Fn(Sample<'_>) -> f64,
) -> Result<Test, StatsError> {
    let distances = groups
        .iter()
        .map(|group| {
            let centre = centre(*group);
            group.values().iter().map(|v| in_range(name, (v - centre).abs())).collect()
        })
        .collect::<Result<Vec<Vec<f64>>, _>>()?;
    let distances: Vec<Sample<'_>> = distances.iter().map(|d| Sample::trusted(d, "distance")).collect();
    let mut between = Between::new(&distances, name)?;
    // Distances of nearly equal values are rounding of the values, not of themselves.
    let magnitude = groups.iter().map(|g| max_abs(g.values())).fold(0.0, f64::max);
    between.noise &= !is_rounding(between.within, between.n, magnitude);
    between.test(name, sizes(groups))
}
