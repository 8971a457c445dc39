//! The quality stage: before anything is timed, each arm (backend and model) is held against the reference, reads the
//! design's text, and shows what its files hold. Each arm has a process of its own, so that an engine that dies takes
//! nothing with it. What is found out, or why it is not, goes to `quality.jsonl`.

mod arm;
mod compare;
mod reference;
mod text;

use std::collections::BTreeSet;

use chimera_records::{Design, NotMeasured, Plan, Quality, QualityCheck, QualityRecord, Settings};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    arm::{CheckRun, Tell, run_check},
    reference::clear,
};

/// Making a model resident, among what is built.
const SESSION: &str = "session";

/// One arm to be checked by one process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckJob {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// Model that it is compared with on the design's reference backend; none when the design has no such model.
    pub reference: Option<String>,
    /// Whether it is the reference itself, which has to leave its word for the others.
    pub is_reference: bool,
}

/// Something that a run has to know of an arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) check: QualityCheck,
    pub(crate) scenario: Option<String>,
}

impl CheckJob {
    /// What is asked of an arm.
    pub(crate) fn questions(quality: &Quality) -> Vec<Question> {
        let whole = |check| Question { check, scenario: None };
        let agreement =
            |scenario: &String| Question { check: QualityCheck::Agreement, scenario: Some(scenario.clone()) };
        [whole(QualityCheck::Audit), whole(QualityCheck::Build)]
            .into_iter()
            .chain(quality.scenarios.iter().map(agreement))
            .chain([whole(QualityCheck::Perplexity)])
            .collect()
    }

    /// What is asked and not answered yet.
    pub(crate) fn open(&self, quality: &Quality, records: &[QualityRecord]) -> Vec<Question> {
        let ours: Vec<_> = records
            .iter()
            .filter(|record| record.arm() == (self.backend.as_str(), self.model.as_str()))
            .map(QualityRecord::key)
            .collect();
        let answered = |question: &Question| {
            ours.iter().any(|key| {
                key.check == question.check
                    && match question.check {
                        // What was built before the model was loaded says nothing about loading it.
                        QualityCheck::Build => key.detail.is_empty() || key.detail == SESSION,
                        _ => question.scenario.as_ref().is_none_or(|scenario| key.detail == *scenario),
                    }
            })
        };
        Self::questions(quality).into_iter().filter(|question| !answered(question)).collect()
    }

    /// The record of a question that cannot be answered.
    pub(crate) fn unanswered(&self, question: &Question, code: &str, reason: &str) -> QualityRecord {
        QualityRecord::NotMeasured(NotMeasured {
            backend: self.backend.clone(),
            model: self.model.clone(),
            what: question.check,
            scenario: question.scenario.clone(),
            code: code.to_owned(),
            reason: reason.to_owned(),
        })
    }
}

/// The arms of a plan, those of one reference together and behind it; nothing when the design asks for no checks. A
/// reference is checked also when the plan does not run it.
#[must_use]
pub fn checks(settings: &Settings, plan: &Plan) -> Vec<CheckJob> {
    let design = &settings.design;
    let Some(quality) = &design.quality else { return Vec::new() };
    let arms: BTreeSet<(&str, &str)> =
        plan.cells.iter().map(|cell| (cell.backend.as_str(), cell.model.as_str())).collect();
    let mut jobs = Vec::new();
    let mut placed = BTreeSet::new();
    for entry in &design.model {
        let reference = reference_of(design, quality, &entry.id);
        let ours: Vec<_> = arms.iter().filter(|(_, model)| *model == entry.id).collect();
        if ours.is_empty() {
            continue;
        }
        let mut group = Vec::new();
        if let Some(model) = &reference {
            group.push((quality.reference.as_str(), model.as_str()));
        }
        // Models of one source share a reference: all of them come behind it.
        for (backend, model) in &arms {
            if *model == entry.id
                || (reference.is_some() && reference_of(design, quality, model) == reference)
            {
                group.push((backend, model));
            }
        }
        for (backend, model) in group {
            if placed.insert((backend.to_owned(), model.to_owned())) {
                let is_reference =
                    backend == quality.reference && reference.as_deref().is_some_and(|id| id == model);
                jobs.push(CheckJob {
                    backend: backend.to_owned(),
                    model: model.to_owned(),
                    reference: reference.clone(),
                    is_reference,
                });
            }
        }
    }
    jobs
}

fn reference_of(design: &Design, quality: &Quality, model: &str) -> Option<String> {
    let entry = design.model(model)?;
    quality.reference_of(design, entry).map(|reference| reference.id.clone())
}
