//! The tests of one report, adjusted together (Holm), so that a report full of them still means what one of them says. A
//! test that gives no p stays in the report with its reason and out of the family.

use chimera_report::{Cell, Column, Section, Table, Verdict, show_number};
use chimera_stats::{
    Sample, StatsError,
    hypothesis::{self, Alternative},
};

use crate::{ALPHA, ReplayError, Values, studies::shared};

/// Power at which the smallest detectable difference is given.
const POWER: f64 = 0.8;

/// Two independent groups to compare.
#[derive(Debug, Clone, Copy)]
pub(in crate::studies) struct Two<'v> {
    pub(in crate::studies) a: &'v [f64],
    pub(in crate::studies) b: &'v [f64],
    /// What was replicated.
    pub(in crate::studies) replicate: &'static str,
    /// Unit of the values.
    pub(in crate::studies) unit: &'static str,
}

/// Tests of one report, in the order they were made.
#[derive(Debug, Default)]
pub(in crate::studies) struct Family {
    tests: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    question: String,
    p: Option<f64>,
    detectable: Option<String>,
}

impl Family {
    /// Adds a test under a name; `question` is what it asks.
    pub(in crate::studies) fn add(
        &mut self,
        values: &mut Values,
        name: &str,
        question: &str,
        test: Result<hypothesis::Test, StatsError>,
    ) {
        let p = test
            .map_err(|error| error.to_string())
            .and_then(|test| test.p(ALPHA).map_err(|error| error.to_string()));
        self.add_p(values, name, question, p);
    }

    /// Adds Welch's t test, with the smallest difference that it finds four times in five.
    pub(in crate::studies) fn add_welch(
        &mut self,
        values: &mut Values,
        name: &str,
        question: &str,
        two: Two<'_>,
    ) {
        let test = Sample::new(two.a, two.replicate)
            .and_then(|a| hypothesis::welch_t(a, Sample::new(two.b, two.replicate)?, Alternative::TwoSided));
        self.add(values, name, question, test);
        let error = shared::difference(two.a, two.b, two.replicate).ok().and_then(|d| d.standard_error);
        self.detectable(values, name, error, (two.a.len() + two.b.len()).saturating_sub(1), two.unit);
    }

    /// Adds the paired t test, with the smallest difference that it finds four times in five.
    pub(in crate::studies) fn add_paired(
        &mut self,
        values: &mut Values,
        name: &str,
        question: &str,
        two: Two<'_>,
    ) {
        let test = Sample::new(two.a, two.replicate)
            .and_then(|a| hypothesis::paired_t(a, Sample::new(two.b, two.replicate)?, Alternative::TwoSided));
        self.add(values, name, question, test);
        let differences: Vec<f64> = two.a.iter().zip(two.b).map(|(a, b)| a - b).collect();
        let error = Sample::new(&differences, two.replicate).and_then(|d| d.standard_error()).ok();
        self.detectable(values, name, error, differences.len(), two.unit);
    }

    fn detectable(
        &mut self,
        values: &mut Values,
        name: &str,
        error: Option<f64>,
        n: usize,
        unit: &'static str,
    ) {
        let least =
            error.and_then(|error| hypothesis::minimum_detectable(error, n, ALPHA, POWER).ok().flatten());
        match (least, self.tests.last_mut()) {
            (Some(least), Some(entry)) => {
                values.put(format!("detectable.{name}"), unit, least);
                entry.detectable = Some(show_number(least, unit).to_string());
            }
            _ => values.lacks(format!("detectable.{name}"), "too few values"),
        }
    }

    /// Adds a p that was found elsewhere, or the reason why there is none.
    pub(in crate::studies) fn add_p(
        &mut self,
        values: &mut Values,
        name: &str,
        question: &str,
        p: Result<f64, String>,
    ) {
        match &p {
            Ok(p) => values.put(format!("p.{name}"), "", *p),
            Err(reason) => {
                values.lacks(format!("p.{name}"), reason.clone());
                values.lacks(format!("p_holm.{name}"), reason.clone());
            }
        }
        let (name, question) = (name.to_owned(), question.to_owned());
        self.tests.push(Entry { name, question, p: p.ok(), detectable: None });
    }

    /// Adds the larger p of two one-sided tests.
    pub(in crate::studies) fn add_equivalence(
        &mut self,
        values: &mut Values,
        name: &str,
        question: &str,
        test: Result<hypothesis::Equivalence, StatsError>,
    ) {
        let p = match test {
            Err(error) => Err(error.to_string()),
            Ok(test) => test.p().map_err(|error| error.to_string()),
        };
        self.add_p(values, name, question, p);
    }

    /// Adjusts them and puts `p_holm.*`; the section that prints them.
    ///
    /// # Errors
    /// A p outside 0 to 1.
    pub(in crate::studies) fn judge(self, values: &mut Values) -> Result<Section, ReplayError> {
        let raw: Vec<Option<f64>> = self.tests.iter().map(|entry| entry.p).collect();
        let adjusted = hypothesis::holm_of(&raw).map_err(ReplayError::at("the report's tests"))?;
        let mut table = Table::new("tests", "Tests")
            .caption(
                "Two-sided unless they ask for equality: those are two one-sided tests. Holm-adjusted over all tests of this \
                 report. Detectable: the smallest difference that the test finds with power 0.8.",
            )
            .column(Column::text("question", "Question"))
            .column(Column::number("p", "p", ""))
            .column(Column::number("holm", "p, adjusted", ""))
            .column(Column::text("detectable", "Detectable"));
        for (Entry { name, question, p, detectable }, holm) in self.tests.into_iter().zip(adjusted) {
            if let Some(holm) = holm {
                values.put(format!("p_holm.{name}"), "", holm);
            }
            const NONE: &str = "too few values, or no noise, for a p";
            table.push_row([
                question.into(),
                Cell::or_missing(p, NONE),
                Cell::or_missing(holm, NONE),
                Cell::or_missing(detectable, "not a comparison of two means"),
            ]);
        }
        Ok(Section::new("tests", "Tests").table(table))
    }
}

/// The verdict of an adjusted test on a hypothesis: supported or contradicted where it rejects, by whether the estimate
/// lies on the hypothesis' side.
pub(in crate::studies) fn verdict(values: &Values, name: &str, on_its_side: bool) -> Verdict {
    match values.point(&format!("p_holm.{name}")) {
        Some(p) if p <= ALPHA && on_its_side => Verdict::Supported,
        Some(p) if p <= ALPHA => Verdict::Contradicted,
        Some(_) => Verdict::Inconclusive,
        None => Verdict::NotMeasured,
    }
}

/// The verdict of an equivalence test.
pub(in crate::studies) fn equivalent(values: &Values, names: &[String]) -> Verdict {
    let p: Option<Vec<f64>> = names.iter().map(|name| values.point(&format!("p_holm.{name}"))).collect();
    match p {
        Some(p) if !p.is_empty() && p.iter().all(|p| *p <= ALPHA) => Verdict::Equivalent,
        Some(_) => Verdict::Inconclusive,
        None => Verdict::NotMeasured,
    }
}
