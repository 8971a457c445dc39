//! Two runs held against each other, metric by metric and cell by cell, with the block as the unit of replication: the
//! ratio and its interval, an adjusted test, the smallest change that could have been found, and a call from a closed
//! list. Runs that differ in anything but what is under test are named as not comparable. Nothing is measured here.

mod comparable;
mod factor;
mod failures;
mod findings;
mod judge;
mod pairs;
mod words;

use std::collections::BTreeMap;

use chimera_core::ClockSource;
use chimera_records::{Metric, Trial};
use serde::Serialize;

pub use comparable::{Aspect, Difference};
pub use factor::{Factor, Only};
pub use failures::{Ends, Failures};
pub use findings::findings;
pub use judge::{Better, Call, Row};
pub use words::markdown;

pub(crate) use judge::{Detectable, FEWEST, decide, measure, simulations};
pub(crate) use words::percent;

use crate::{ALPHA, Index, RunData, StudyError};

/// What is asked of a comparison.
#[derive(Debug, Clone)]
pub struct Options {
    /// Metrics; empty takes prefill (or time to first token), time per output token and end-to-end time from the clock that
    /// both runs have.
    pub metrics: Vec<Metric>,
    /// Change that counts as none, as a share: 0.03 for 3 %.
    pub margin: f64,
    /// Factors that tell cells apart; the others are taken together.
    pub by: Vec<Factor>,
    /// Differences between the runs that are the thing under test.
    pub allowed: Vec<Aspect>,
    /// Cells of the first run.
    pub only_a: Vec<Only>,
    /// Cells of the second run.
    pub only_b: Vec<Only>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            metrics: Vec::new(),
            margin: 0.03,
            by: Factor::ALL.to_vec(),
            allowed: Vec::new(),
            only_a: Vec::new(),
            only_b: Vec::new(),
        }
    }
}

/// What the comparison as a whole came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No row is slower and failures are not more frequent.
    NoRegression,
    /// A row is slower, or failures are more frequent, supported by the data.
    Regression,
    /// The runs differ in more than what is under test, or have nothing in common.
    NotComparable,
}

/// Two runs held against each other.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Run id of the first.
    pub a: String,
    /// Run id of the second.
    pub b: String,
    /// Margin of equivalence, as a share.
    pub margin: f64,
    /// Family-wise error rate.
    pub alpha: f64,
    /// What it came to.
    pub outcome: Outcome,
    /// Rows of which the data can say nothing.
    pub undecided: usize,
    /// Differences between the runs.
    pub differences: Vec<Difference>,
    /// What the records cannot exclude.
    pub caveats: Vec<String>,
    /// Cells without a partner.
    pub unmatched: Vec<String>,
    /// Trials that did not end well.
    pub failures: Failures,
    /// One per metric and cell.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Rows of one call.
    pub fn of(&self, call: Call) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.call == call)
    }

    /// Differences that make the runs not comparable.
    pub fn obstacles(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| !difference.allowed)
    }
}

/// Compares `b` with `a`.
///
/// # Errors
/// [`StudyError::Question`] for a margin or a selection that makes no sense, [`StudyError::Statistics`] for a statistic
/// that refused its input.
pub fn compare(a: &RunData, b: &RunData, options: &Options) -> Result<Comparison, StudyError> {
    if !(options.margin > 0.0 && options.margin < 1.0) {
        return Err(StudyError::Question {
            reason: format!("a margin of {} is not between 0 and 1 (3 % is 0.03)", options.margin),
        });
    }
    if options.by.is_empty() {
        return Err(StudyError::Question { reason: "no factor is left to tell cells apart".into() });
    }
    let same_run = a.manifest.run_id == b.manifest.run_id;
    if same_run && options.only_a == options.only_b {
        return Err(StudyError::Question {
            reason: "both runs are the same run: choose a side of it for each (`--a backend=x --b backend=y`), or \
                     ask for its noise with `aa`"
                .into(),
        });
    }
    let (ia, ib) = (Index::new(a), Index::new(b));
    let found = pairs::groups((&ia, &options.only_a), (&ib, &options.only_b), &options.by);
    let mut used = comparable::Used::default();
    for cell in found.groups.iter().flat_map(|group| group.a.iter().chain(&group.b)) {
        used.models.insert(cell.model);
        used.scenarios.insert(cell.scenario);
        used.backends.insert(cell.arm.backend);
    }
    let mut inspection = comparable::inspect(a, b, &used, &options.allowed);
    if same_run {
        inspection.caveats.retain(|caveat| !caveat.contains("neither run recorded"));
    }
    let metrics = match options.metrics.as_slice() {
        [] => usual(&a.trials, &b.trials),
        some => some.to_vec(),
    };
    let mut rows = Vec::new();
    for group in &found.groups {
        let done = Done::by(&ia, &ib, group);
        for metric in &metrics {
            rows.extend(row(&ia, &ib, group, &done, *metric, same_run, options)?);
        }
    }
    judge::decide(&mut rows, ALPHA).map_err(StudyError::at("the families of tests"))?;
    rows.sort_by_key(|row| row.call);
    let failures = failures::failures((a, &options.only_a), (b, &options.only_b), &found.groups, ALPHA)
        .map_err(StudyError::at("failures of both runs"))?;
    let outcome = if inspection.differences.iter().any(|difference| !difference.allowed)
        || rows.iter().all(|row| row.call == Call::NotComparable)
    {
        Outcome::NotComparable
    } else if failures.worse || rows.iter().any(|row| row.call == Call::Slower) {
        Outcome::Regression
    } else {
        Outcome::NoRegression
    };
    Ok(Comparison {
        a: a.manifest.run_id.clone(),
        b: b.manifest.run_id.clone(),
        margin: options.margin,
        alpha: ALPHA,
        outcome,
        undecided: rows.iter().filter(|row| row.call == Call::Inconclusive).count(),
        differences: inspection.differences,
        caveats: inspection.caveats,
        unmatched: found.unmatched,
        failures,
        rows,
    })
}

/// What both sides of a group did, whichever metric looks at it.
struct Done {
    /// Mean prompt and generated tokens per request, of both sides.
    work: Option<((f64, f64), (f64, f64))>,
    /// Whether both sides say what they generated, and it is not the same.
    text_differs: bool,
}

impl Done {
    fn by(ia: &Index<'_>, ib: &Index<'_>, group: &pairs::Group<'_>) -> Self {
        let (text_a, text_b) = (pairs::outputs(ia, &group.a), pairs::outputs(ib, &group.b));
        Self {
            work: pairs::work(ia, &group.a).zip(pairs::work(ib, &group.b)),
            text_differs: !text_a.is_empty() && !text_b.is_empty() && text_a != text_b,
        }
    }
}

/// One metric of one group; none where neither side defines it.
fn row(
    ia: &Index<'_>,
    ib: &Index<'_>,
    group: &pairs::Group<'_>,
    done: &Done,
    metric: Metric,
    same_run: bool,
    options: &Options,
) -> Result<Option<Row>, StudyError> {
    let place = || format!("{} of {}", metric.name(), group.levels.join(" "));
    let (a, b) = match (pairs::per_block(ia, &group.a, metric), pairs::per_block(ib, &group.b, metric)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(value), _) | (_, Err(value)) => {
            return Err(StudyError::Question {
                reason: format!("{}: a value of {value} has no ratio", place()),
            });
        }
    };
    if a.is_empty() && b.is_empty() {
        return Ok(None);
    }
    let cell: BTreeMap<Factor, String> =
        options.by.iter().copied().zip(group.levels.iter().cloned()).collect();
    let mut row = judge::measure(metric, cell, (&a, &b), same_run, options.margin, ALPHA)
        .map_err(StudyError::at(place()))?;
    if let Some(against) = &group.against {
        row.notes.push(against.clone());
    }
    if let Some(((prompt_a, made_a), (prompt_b, made_b))) = done.work {
        let depends_on_output = !matches!(
            metric,
            Metric::PrefillEngine | Metric::PrefillRateEngine | Metric::PrefillServer | Metric::TtftClient
        );
        let unequal =
            [(prompt_a, prompt_b, "prompt", true), (made_a, made_b, "generated", depends_on_output)];
        for (a, b, what, matters) in unequal {
            if a != b && matters {
                row.call = Call::NotComparable;
                row.notes.push(format!("unequal work: {a} against {b} {what} tokens per request"));
            }
        }
    }
    if done.text_differs {
        row.notes.push("the generated text differs".into());
    }
    Ok(Some(row))
}

/// The usual metrics of the clock that both runs have.
pub(crate) fn usual(a: &[Trial], b: &[Trial]) -> Vec<Metric> {
    let has = |trials: &[Trial], clock| trials.iter().any(|trial| trial.is_steady() && trial.stamps == clock);
    let both = |clock| has(a, clock) && has(b, clock);
    let mut metrics = Vec::new();
    if both(ClockSource::Engine) {
        metrics.extend([Metric::PrefillEngine, Metric::TpotEngine, Metric::E2eEngine]);
    }
    if both(ClockSource::Client) {
        metrics.extend([Metric::TtftClient, Metric::TpotClient, Metric::E2eClient]);
    }
    metrics
}
