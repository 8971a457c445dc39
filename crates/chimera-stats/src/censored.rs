//! Quantiles where some waits were cut short: a request that timed out lasted at least so long, and to drop it, or to
//! count it as finished, makes the tail look better than it is. Kaplan and Meier's estimate keeps it. It assumes that the
//! limit does not know how long the request would have taken.

use serde::{Deserialize, Serialize};

use crate::dist::normal_quantile;
use crate::error::{check_count, check_lengths, check_level, check_unit};
use crate::{Estimate, Interval, Sample, StatsError};

/// One step of the survival function.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// A time at which at least one request finished.
    pub time: f64,
    /// Requests still waiting just before it.
    pub at_risk: usize,
    /// Requests that finished then.
    pub finished: usize,
    /// Estimated share that takes longer.
    pub survival: f64,
    /// Greenwood's sum: the variance of ln survival; infinite after the last of all.
    pub log_variance: f64,
}

/// Kaplan and Meier's estimate (1958, *JASA* 53).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KaplanMeier {
    /// Its steps, in time.
    pub steps: Vec<Step>,
    /// Requests in all.
    pub n: usize,
    /// Of them those cut short.
    pub censored: usize,
    unit: std::borrow::Cow<'static, str>,
}

impl KaplanMeier {
    /// `finished[i]` says whether `times[i]` ran to its end or was cut short there. A request cut short at a time at which
    /// others finished counts as waiting then.
    ///
    /// # Errors
    /// [`StatsError::Mismatched`], [`StatsError::Degenerate`] if none finished.
    pub fn new(times: Sample<'_>, finished: &[bool]) -> Result<Self, StatsError> {
        const WHAT: &str = "Kaplan-Meier";
        check_lengths(WHAT, times.len(), finished.len())?;
        let mut all: Vec<(f64, bool)> =
            times.values().iter().copied().zip(finished.iter().copied()).collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut at_risk, mut survival, mut log_variance) = (all.len(), 1.0, 0.0);
        let mut steps = Vec::new();
        for group in all.chunk_by(|a, b| a.0 == b.0) {
            let finished = group.iter().filter(|(_, finished)| *finished).count();
            if finished > 0 {
                let (d, r) = (finished as f64, at_risk as f64);
                survival *= 1.0 - d / r;
                log_variance += d / (r * (r - d));
                steps.push(Step { time: group[0].0, at_risk, finished, survival, log_variance });
            }
            at_risk -= group.len();
        }
        if steps.is_empty() {
            return Err(StatsError::Degenerate { what: WHAT, reason: "no request finished" });
        }
        let censored = finished.iter().filter(|f| !**f).count();
        Ok(Self { steps, n: all.len(), censored, unit: times.unit().into() })
    }

    /// Share that takes longer than `time`.
    #[must_use]
    pub fn survival_at(&self, time: f64) -> f64 {
        let passed = self.steps.partition_point(|step| step.time <= time);
        if passed == 0 { 1.0 } else { self.steps[passed - 1].survival }
    }

    /// The time within which a share `p` finishes: the first at which no more than 1 - p is left. With the interval of
    /// Brookmeyer and Crowley (1982, *Biometrics* 38) on the scale ln(-ln survival). None where the waits were cut short
    /// before that share had finished: the percentile is then only known to be longer than the limit. The interval is
    /// absent where its upper limit is.
    ///
    /// # Errors
    /// [`StatsError::InvalidParameter`] unless p and level lie strictly between 0 and 1.
    pub fn quantile(&self, p: f64, level: f64) -> Result<Option<Estimate>, StatsError> {
        check_unit("p", p)?;
        check_level(level)?;
        check_count("Kaplan-Meier", 1, self.steps.len())?;
        let left = 1.0 - p;
        // Products of shares miss 1 - p by rounding.
        let Some(step) = self.steps.iter().find(|step| step.survival <= left * (1.0 + 1e-12)) else {
            return Ok(None);
        };
        let z = normal_quantile((1.0 + level) / 2.0);
        let scale = |survival: f64| (-survival.ln()).ln();
        // A step is inside the interval while the test that its survival is 1 - p does not reject.
        let inside = |step: &&Step| {
            let se = step.log_variance.sqrt() / -step.survival.ln();
            ((scale(step.survival) - scale(left)) / se).abs() <= z
        };
        let low = self.steps.iter().find(inside).map(|step| step.time);
        let last = self.steps.iter().rposition(|step| inside(&step));
        let high = last.and_then(|last| self.steps.get(last + 1)).map(|step| step.time);
        let interval = low.zip(high).map(|(low, high)| Interval { low, high, level });
        Ok(Some(Estimate {
            point: step.time,
            standard_error: None,
            interval,
            method: format!("quantile {p}, Kaplan-Meier ({} of {} cut short)", self.censored, self.n).into(),
            unit: self.unit.clone(),
            n: self.n,
        }))
    }
}
