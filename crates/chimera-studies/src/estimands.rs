//! Named quantities of a report, and how hypotheses and published claims are judged by them. A verdict comes from a
//! closed list; a large p is never "no difference".

use std::collections::BTreeMap;

use chimera_records::{Hypothesis, Published, Relation};
use chimera_report::Verdict;
use chimera_stats::{Estimate, StatsError, hypothesis};

use crate::ALPHA;

/// Quantities by name. A name that is not here was not measured.
#[derive(Debug, Clone, Default)]
pub struct Estimands {
    values: BTreeMap<String, Estimate>,
    absent: BTreeMap<String, String>,
}

impl Estimands {
    /// Adds a quantity.
    pub fn put(&mut self, name: impl Into<String>, estimate: Estimate) {
        self.values.insert(name.into(), estimate);
    }

    /// Says why a quantity is not there.
    pub fn lacks(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.absent.insert(name.into(), reason.into());
    }

    /// A quantity by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Estimate> {
        self.values.get(name)
    }

    /// Why a quantity is not there.
    #[must_use]
    pub fn reason(&self, name: &str) -> &str {
        self.absent.get(name).map_or("not measured by this profile or selection", String::as_str)
    }

    /// All quantities.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Estimate)> {
        self.values.iter().map(|(name, estimate)| (name.as_str(), estimate))
    }

    /// Judges the hypotheses of a design together: one-sided t tests over blocks, Holm-adjusted.
    ///
    /// # Errors
    /// A statistic that refused its input.
    pub fn judge(&self, hypotheses: &[Hypothesis]) -> Result<Vec<Judgement>, StatsError> {
        let mut judgements: Vec<Judgement> =
            hypotheses.iter().map(|h| self.test(h)).collect::<Result<_, _>>()?;
        let adjusted = hypothesis::holm_of(&judgements.iter().map(|j| j.p).collect::<Vec<_>>())?;
        for (judgement, p) in judgements.iter_mut().zip(adjusted) {
            let Some(p) = p else { continue };
            judgement.adjusted_p = Some(p);
            judgement.verdict = match (p < ALPHA, judgement.points_that_way) {
                (true, true) => Verdict::Supported,
                (true, false) => Verdict::Contradicted,
                (false, _) => Verdict::Inconclusive,
            };
        }
        Ok(judgements)
    }

    fn test(&self, hypothesis: &Hypothesis) -> Result<Judgement, StatsError> {
        let estimate = self.get(&hypothesis.estimand).cloned();
        let mut judgement = Judgement {
            verdict: if estimate.is_some() { Verdict::Inconclusive } else { Verdict::NotMeasured },
            estimate,
            p: None,
            adjusted_p: None,
            points_that_way: false,
            detectable: None,
        };
        let Some(estimate) = &judgement.estimate else { return Ok(judgement) };
        let difference = estimate.point - hypothesis.value;
        judgement.points_that_way = match hypothesis.relation {
            Relation::Above => difference > 0.0,
            Relation::Below => difference < 0.0,
            Relation::Near => false,
        };
        // Without an interval there are too few blocks for a test; the verdict stays inconclusive.
        if let (Some(se), Some(_)) = (estimate.standard_error, estimate.interval) {
            // Either direction may be decided, so the test is two-sided and the sign says which.
            judgement.p = hypothesis::t_test_from(difference, se, estimate.n)?;
            judgement.detectable = hypothesis::minimum_detectable(se, estimate.n, ALPHA, 0.8)?;
        }
        Ok(judgement)
    }

    /// Holds a published claim against this run.
    #[must_use]
    pub fn answer(&self, claim: &Published) -> Answer {
        let not_measured = |reason: &str| Answer {
            verdict: Verdict::NotMeasured,
            estimate: None,
            reason: reason.to_owned(),
        };
        let Some(name) = &claim.estimand else {
            return not_measured("this design does not measure it");
        };
        let Some(estimate) = self.get(name) else {
            return not_measured(self.reason(name));
        };
        let (Some(value), Some(relation)) = (claim.value, claim.relation) else {
            return not_measured("the claim states no number");
        };
        let Some(interval) = estimate.interval else {
            return Answer {
                verdict: Verdict::Inconclusive,
                estimate: Some(estimate.clone()),
                reason: match &*estimate.unit {
                    "block" => "too few blocks for an interval".to_owned(),
                    _ => "one number from the models, without an interval over blocks".to_owned(),
                },
            };
        };
        let (verdict, reason) = match relation {
            Relation::Above if interval.low > value => (Verdict::Supported, "the interval lies above"),
            Relation::Above if interval.high < value => (Verdict::Contradicted, "the interval lies below"),
            Relation::Below if interval.high < value => (Verdict::Supported, "the interval lies below"),
            Relation::Below if interval.low > value => (Verdict::Contradicted, "the interval lies above"),
            Relation::Above | Relation::Below => (Verdict::Inconclusive, "the interval holds the value"),
            Relation::Near => {
                let margin = claim.tolerance.unwrap_or(0.0) * value.abs();
                let (low, high) = (value - margin, value + margin);
                if interval.low >= low && interval.high <= high {
                    (Verdict::Equivalent, "the interval lies within the margin")
                } else if interval.low > high || interval.high < low {
                    (Verdict::Contradicted, "the interval lies outside the margin")
                } else {
                    (Verdict::Inconclusive, "the interval crosses the margin")
                }
            }
        };
        Answer { verdict, estimate: Some(estimate.clone()), reason: reason.to_owned() }
    }
}

/// What a run says of a hypothesis.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The quantity.
    pub estimate: Option<Estimate>,
    /// Two-sided p of the difference from the hypothesis's value.
    pub p: Option<f64>,
    /// The same, Holm-adjusted over the report.
    pub adjusted_p: Option<f64>,
    /// Whether the point lies where the hypothesis says.
    pub points_that_way: bool,
    /// Smallest difference from the value that this many blocks show with 80 % power.
    pub detectable: Option<f64>,
}

/// What a run says of a published claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// This run's value.
    pub estimate: Option<Estimate>,
    /// Why this verdict.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use chimera_stats::Interval;

    use super::*;

    fn estimate(point: f64, half: f64) -> Estimate {
        Estimate {
            point,
            standard_error: Some(half / 2.776),
            interval: Some(Interval { low: point - half, high: point + half, level: 0.95 }),
            method: Cow::Borrowed("mean, t"),
            unit: Cow::Borrowed("block"),
            n: 5,
        }
    }

    fn claim(value: f64, relation: Relation, tolerance: f64) -> Published {
        Published {
            id: "c".into(),
            claim: "c".into(),
            value: Some(value),
            estimand: Some("e".into()),
            relation: Some(relation),
            tolerance: Some(tolerance),
            caveat: None,
        }
    }

    #[test]
    fn claims_are_judged_by_the_interval() {
        let mut estimands = Estimands::default();
        estimands.put("e", estimate(1.0, 0.05));
        let verdict =
            |value, relation, tolerance| estimands.answer(&claim(value, relation, tolerance)).verdict;
        assert_eq!(verdict(1.0, Relation::Near, 0.1), Verdict::Equivalent);
        assert_eq!(verdict(1.1, Relation::Near, 0.1), Verdict::Inconclusive);
        assert_eq!(verdict(2.0, Relation::Near, 0.1), Verdict::Contradicted);
        assert_eq!(verdict(0.9, Relation::Above, 0.0), Verdict::Supported);
        assert_eq!(verdict(1.2, Relation::Above, 0.0), Verdict::Contradicted);
        assert_eq!(verdict(1.01, Relation::Below, 0.0), Verdict::Inconclusive);
        let other = Published { estimand: Some("f".into()), ..claim(1.0, Relation::Near, 0.1) };
        assert_eq!(estimands.answer(&other).verdict, Verdict::NotMeasured);
    }

    #[test]
    fn hypotheses_are_adjusted_together_and_few_blocks_decide_nothing() {
        let mut estimands = Estimands::default();
        estimands.put("sharp", estimate(1.0, 0.05));
        estimands.put("edge", estimate(0.0501, 0.05));
        let few = Estimate { interval: None, n: 3, ..estimate(1.0, 0.05) };
        estimands.put("few", few);
        let ask = |estimand: &str, relation, value| Hypothesis {
            id: estimand.into(),
            statement: String::new(),
            estimand: estimand.into(),
            relation,
            value,
        };
        let hypotheses = [
            ask("sharp", Relation::Above, 0.0),
            ask("sharp", Relation::Below, 0.0),
            ask("edge", Relation::Above, 0.0),
            ask("few", Relation::Above, 0.0),
            ask("absent", Relation::Above, 0.0),
        ];
        let verdicts: Vec<Verdict> =
            estimands.judge(&hypotheses).unwrap().into_iter().map(|j| j.verdict).collect();
        // Alone the edge would be decided (its interval excludes 0); beside two others Holm does not allow it... it is
        // the largest p of three, so its own p counts, and that is just below 0.05.
        assert_eq!(
            verdicts,
            [
                Verdict::Supported,
                Verdict::Contradicted,
                Verdict::Supported,
                Verdict::Inconclusive,
                Verdict::NotMeasured
            ]
        );
    }
}
