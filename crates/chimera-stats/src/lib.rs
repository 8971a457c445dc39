//! Statistics of Chimeraforge: pure functions on slices.
//!
//! A number never leaves without its interval, its method and the unit that was replicated ([`Estimate`]). This crate
//! knows no backend, does no I/O and reads no clock; random resampling takes a seed. It decides nothing about a study:
//! which values are replicates, and what a result means, is the caller's to say.
//!
//! Values enter through a checked [`Sample`] (finite, at least one, with the name of its unit) or [`Blocks`]. A p-value is
//! `None`, or a [`hypothesis::Refusal`], where there are fewer than three values, no noise to test against, or ranks that
//! cannot reach the alpha.
//!
//! # What is where
//! - [`Sample`] and [`Blocks`] are the ways in, [`Estimate`] and [`Interval`] the way out; [`Summary`] and the methods of
//!   [`Sample`] describe. [`quantile`]: type 7, order-statistic intervals, certification. [`robust`]: trimmed and
//!   winsorised means. [`censored`]: quantiles of waits that were cut short.
//! - [`intervals`]: t on values, logarithms and blocks. [`ratio`]: on logarithms, of sums, Fieller. [`bootstrap`]:
//!   percentile, BCa, bootstrap-t. [`two_level`]: blocks, then requests. [`random`] and [`pcg64`]: named generators.
//! - [`hypothesis`]: t in four forms, Mann-Whitney, Wilcoxon, Brunner-Munzel, sign, permutation, Kolmogorov-Smirnov;
//!   ANOVA, Welch, Levene, Brown-Forsythe, Kruskal-Wallis with Dunn, Friedman with Conover and Nemenyi; skewness;
//!   chi-squared, Fisher; equivalence; Holm, Benjamini-Hochberg. A test gives its p to a caller who names the alpha, or
//!   refuses.
//! - [`effect`]: differences, Cohen's d, Hedges' g, Cliff's delta, Hodges-Lehmann, eta squared, shift function.
//! - [`variance`]: components of nested noise and a planner of repetitions. [`power`]: minimum detectable effect and
//!   required blocks by simulation.
//! - [`regression`]: lines, planes, power laws, influence, Theil-Sen, segments and how sure their breaks are, crossings.
//!   [`rank`]: Spearman, Kendall. [`models`]: rival curves, those with an offset among them.
//! - [`series`]: dependence, trend, change points, steady state, warm-up, outlier labels. [`diagnose`]: warnings about
//!   values before an interval of them is believed.
//!
//! ```
//! use chimera_stats::{Sample, intervals};
//!
//! let block_means = [10.1, 9.8, 10.3, 10.0, 9.9];
//! let sample = Sample::new(&block_means, "block")?;
//! let mean = intervals::over_blocks(sample, 0.95)?;
//! assert!(mean.interval.is_some_and(|i| i.contains(10.0)));
//! # Ok::<(), chimera_stats::StatsError>(())
//! ```

mod dist;
mod error;
mod estimate;
mod noncentral;
mod sample;
mod studentized_range;
mod summary;

pub mod bootstrap;
pub mod censored;
pub mod diagnose;
pub mod effect;
pub mod hypothesis;
pub mod intervals;
pub mod models;
pub mod pcg64;
pub mod power;
pub mod quantile;
pub mod random;
pub mod rank;
pub mod ratio;
pub mod regression;
pub mod robust;
pub mod series;
pub mod two_level;
pub mod variance;

pub use error::StatsError;
pub use estimate::{Estimate, Interval};
pub use sample::{Blocks, Sample};
pub use summary::{Summary, ratio_of_sums};
