//! The tests of one report, corrected together by Holm, and the words and verdicts that follow from a p. Not a place for
//! tests themselves.

use std::collections::BTreeMap;

use chimera_report::Verdict;
use chimera_stats::{Estimate, StatsError, hypothesis, hypothesis::Test};

use crate::{ALPHA, ReplayError, Values};

/// Tests that are corrected together, as they come.
#[derive(Debug, Default)]
pub(in crate::studies) struct Family(Vec<(String, f64)>);

/// The same, corrected.
#[derive(Debug)]
pub(in crate::studies) struct Corrected(BTreeMap<String, f64>);

impl Family {
    /// Adds a test; its p becomes the quantity `<name>.p`, or its refusal does.
    pub(in crate::studies) fn add(
        &mut self,
        values: &mut Values,
        name: &str,
        test: Result<Test, StatsError>,
    ) {
        let p = test
            .map_err(|error| error.to_string())
            .and_then(|test| test.p(ALPHA).map_err(|why| why.to_string()));
        match p {
            Ok(p) => {
                values.put(format!("{name}.p"), "", p);
                self.0.push((name.to_owned(), p));
            }
            Err(why) => {
                values.lacks(format!("{name}.p"), why.clone());
                values.lacks(format!("{name}.p_holm"), why);
            }
        }
    }

    /// Corrects them all by Holm; the quantities are `<name>.p_holm`.
    pub(in crate::studies) fn close(self, values: &mut Values) -> Result<Corrected, ReplayError> {
        let raw: Vec<f64> = self.0.iter().map(|(_, p)| *p).collect();
        let holm = hypothesis::holm(&raw).map_err(ReplayError::at("Holm"))?;
        let mut corrected = BTreeMap::new();
        for ((name, _), p) in self.0.into_iter().zip(holm) {
            values.put(format!("{name}.p_holm"), "", p);
            corrected.insert(name, p);
        }
        Ok(Corrected(corrected))
    }
}

impl Corrected {
    /// The corrected p of a test, if it gave one.
    pub(in crate::studies) fn p(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Whether the hypothesis of no difference is rejected.
    pub(in crate::studies) fn differs(&self, name: &str) -> bool {
        self.p(name).is_some_and(|p| p <= ALPHA)
    }

    /// `p = 0.36 after Holm`.
    pub(in crate::studies) fn words(&self, name: &str) -> String {
        match self.p(name) {
            None => "no test is possible".to_owned(),
            Some(p) if p < 0.001 => "p < 0.001 after Holm".to_owned(),
            Some(p) => format!("p = {p:.3} after Holm"),
        }
    }

    /// What a test says of a claim with a direction: `as_claimed` is whether the difference has the claimed sign.
    pub(in crate::studies) fn verdict(&self, name: &str, as_claimed: bool) -> Verdict {
        match (self.differs(name), as_claimed) {
            (false, _) => Verdict::Inconclusive,
            (true, true) => Verdict::Supported,
            (true, false) => Verdict::Contradicted,
        }
    }
}

/// Adds an estimate, or why the statistics refused one.
pub(in crate::studies) fn put(
    values: &mut Values,
    name: impl Into<String>,
    unit: &'static str,
    estimate: Result<Estimate, StatsError>,
) {
    match estimate {
        Ok(estimate) => values.put_estimate(name, unit, estimate),
        Err(error) => values.lacks(name, error.to_string()),
    }
}

/// A quantity for a sentence.
pub(in crate::studies) fn shown(values: &Values, name: &str) -> String {
    values.get(name).map_or_else(|| "–".to_owned(), crate::Value::shown)
}

/// A quantity for a table.
pub(in crate::studies) fn cell(values: &Values, name: &str) -> chimera_report::Cell {
    match values.get(name) {
        Some(crate::Value::Number { value, .. }) => (*value).into(),
        Some(crate::Value::Estimate { estimate, .. }) => estimate.into(),
        Some(crate::Value::Absent { reason }) => chimera_report::Cell::missing(reason.clone()),
        None => chimera_report::Cell::missing("not in these data"),
    }
}
