//! What the two reports on backends share: who competes, on which prompts, how the contestants stand, and the headlines that
//! both begin with.

use chimera_records::TrialRole;
use chimera_report::{Draft, Headline, Verdict};
use chimera_stats::{Estimate, Interval};

use crate::{
    Arm, Contest, Contestant, Estimands, Field, Index, RunData, StudyError, contests, reference_backend,
    sections::{
        listed,
        matrix::Matrix,
        standing::{Standing, Standings},
    },
};

/// Change of a latency that counts as none, as a share.
pub(crate) const MARGIN: f64 = 0.05;

pub(crate) const GENERAL_THREATS: &[&str] = &[
    "The models of the GPT-2 family have random weights: their latency is that of trained weights of the same shape, their text \
     and their perplexity mean nothing.",
    "One machine, and a small one. Which engine is ahead depends on its cores, its instruction sets and where its caches end.",
    "All models of a block stay resident in one process; a model's weights can be pushed out of the cache by another's between two \
     trials, as in a server that holds several models.",
    "Engines in one process share its allocator and its threads' cores. Each has a thread pool of its own, whose idle \
     threads spin for some milliseconds; 20 ms without work lie between the trials of two engines, so that the next one does \
     not pay for that.",
    "An engine is measured as its adapter drives it: batch one, greedy, every token handed to the caller. Another front end may \
     be faster or slower.",
    "Two tokenizers: a prompt of the design has other lengths for the GPT-2 family than for SmolLM2. All engines of one model get \
     the same token ids, but behind a wire, where the server reads the text.",
    "Energy was not measured.",
];

/// Everything that both reports begin with.
pub(crate) struct Backends<'a> {
    pub(crate) run: &'a RunData,
    pub(crate) index: Index<'a>,
    pub(crate) contests: Vec<Contest<'a>>,
    pub(crate) standings: Standings<'a>,
    /// The prompts and the budget of the first grid.
    pub(crate) field: Field<'a>,
}

impl<'a> Backends<'a> {
    /// Reads a run.
    pub(crate) fn new(run: &'a RunData, study: &'static str) -> Result<Self, StudyError> {
        if run.manifest.study != study {
            return Err(StudyError::OtherStudy { found: run.manifest.study.clone(), expected: study });
        }
        let index = Index::new(run);
        if index.arms().is_empty() {
            return Err(StudyError::NothingMeasured { counts: format!("{:?}", run.manifest.counts) });
        }
        let design = &run.settings.design;
        let named = design.quality.as_ref().map(|quality| quality.reference.as_str());
        let contests = contests(&index, reference_backend(&index, named));
        let standings = Standings::judge(run, &contests);
        let main = design.grid.first();
        let field = Field {
            scenarios: main.iter().flat_map(|grid| &grid.scenario).map(String::as_str).collect(),
            budget: main.and_then(|grid| grid.budget.first()).copied().unwrap_or(32),
        };
        Ok(Self { run, index, contests, standings, field })
    }

    /// Quantities that need no timing: parameters, and the share of steady trials that each backend completed.
    pub(crate) fn counts(&self, estimands: &mut Estimands) {
        for arm in self.index.arms() {
            for model in self.index.models(arm) {
                if let Some(parameters) = model.parameters {
                    estimands.put(format!("parameters.{}", model.id), exact(parameters, "count", "model", 1));
                }
            }
        }
        let mut backends: Vec<&str> = Vec::new();
        for trial in &self.run.trials {
            if !backends.contains(&&*trial.factors.backend) {
                backends.push(&trial.factors.backend);
            }
        }
        for backend in backends {
            let own = || {
                let steady = self.run.trials.iter().filter(|trial| trial.role == TrialRole::Measured);
                steady.filter(|trial| *trial.factors.backend == *backend)
            };
            let all = own().count();
            let done = own().filter(|trial| trial.outcome == chimera_records::Outcome::Completed).count();
            if all > 0 {
                let share = exact(done as f64 / all as f64, "share of recorded trials", "trial", all);
                estimands.put(format!("completed_share.{backend}"), share);
            }
        }
    }

    /// Whether everybody of full precision computes the same.
    pub(crate) fn agreement_headline(&self) -> Headline {
        let all = self.contests.iter().flat_map(Contest::others);
        let (mut agree, mut differ, mut unknown) = (Vec::new(), Vec::new(), 0_usize);
        for one in all {
            match self.standings.of(one) {
                Standing::Agrees => agree.push(one),
                Standing::Disagrees(_) => differ.push(one),
                Standing::Unknown(_) => unknown += 1,
                Standing::Reference | Standing::OtherPrecision => {}
            }
        }
        let verdict = match (agree.is_empty(), differ.is_empty()) {
            (_, false) => Verdict::Contradicted,
            (false, true) => Verdict::Supported,
            (true, true) => Verdict::NotMeasured,
        };
        let names = |all: &[Contestant<'_>]| listed(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
        let mut sentence =
            format!("{} contestant(s) of full precision agree with the reference", agree.len());
        if !differ.is_empty() {
            sentence.push_str(&format!("; not ranked: {}", chimera_report::literal(&names(&differ))));
        }
        if unknown > 0 {
            sentence.push_str(&format!("; of {unknown} nobody could tell"));
        }
        sentence.push('.');
        Headline::new("agreement", "Do the engines compute the same?", verdict, sentence)
    }

    /// What did not run at all.
    pub(crate) fn matrix_headline(&self) -> Headline {
        let matrix = Matrix::of(self.run);
        let absent = matrix.absent();
        let verdict = if absent.is_empty() && matrix.obstacles.is_empty() {
            Verdict::Supported
        } else {
            Verdict::Contradicted
        };
        let sentence = match (absent.is_empty(), matrix.obstacles.is_empty()) {
            (true, true) => "Every steady trial of every backend completed.".to_owned(),
            (true, false) => {
                format!(
                    "Every backend ran; {} reason(s) for missing trials are in the failure matrix.",
                    matrix.obstacles.len()
                )
            }
            (false, _) => format!(
                "Not one steady trial on {}; the reasons are in the failure matrix.",
                chimera_report::literal(&listed(&absent))
            ),
        };
        Headline::new("matrix", "Did every backend do everything that was asked?", verdict, sentence)
    }

    /// What quantisation costs, by the gates.
    pub(crate) fn gate_headline(estimands: &Estimands) -> Headline {
        let count = |name: &str| estimands.get(&format!("gates.{name}")).map_or(0.0, |count| count.point);
        let (passed, failed, vacuous) = (count("passed"), count("failed"), count("vacuous"));
        let verdict = match (passed + failed > 0.0, failed > 0.0) {
            (false, _) => Verdict::NotMeasured,
            (true, true) => Verdict::Contradicted,
            (true, false) => Verdict::Supported,
        };
        let sentence = format!(
            "{passed} perplexity gate(s) passed, {failed} failed, {vacuous} could not have failed and say nothing, {} had nothing to \
             judge.",
            count("not_measured")
        );
        Headline::new(
            "gate",
            "Is the perplexity of every true contestant within its threshold?",
            verdict,
            sentence,
        )
    }

    /// The summary that both reports have.
    pub(crate) fn summary(&self, draft: Draft, judgements: &[crate::Judgement]) -> Draft {
        let count = |verdict: Verdict| judgements.iter().filter(|j| j.verdict == verdict).count();
        let arms: Vec<String> = self.index.arms().iter().map(Arm::to_string).collect();
        draft
            .summary(format!(
                "{} sets of weights on {}; {} blocks, each a fresh process in which every cell of every backend comes once, in \
                 random order.",
                self.contests.len(),
                chimera_report::literal(&listed(&arms)),
                self.run.settings.design.blocks
            ))
            .summary(format!(
                "Of {} hypotheses written down before the run {} are supported, {} contradicted, {} undecided and {} not measured.",
                judgements.len(),
                count(Verdict::Supported),
                count(Verdict::Contradicted),
                count(Verdict::Inconclusive),
                count(Verdict::NotMeasured)
            ))
    }
}

/// A number that is known exactly: its interval has no width.
fn exact(value: f64, method: &'static str, unit: &'static str, n: usize) -> Estimate {
    Estimate {
        point: value,
        standard_error: None,
        interval: Some(Interval { low: value, high: value, level: crate::LEVEL }),
        method: method.into(),
        unit: unit.into(),
        n,
    }
}
