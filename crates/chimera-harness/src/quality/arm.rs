//! Checks one arm in one process: what its files hold, what it costs to make it resident, how it agrees with the
//! reference, how it predicts the text. A question that cannot be answered gets its reason as a record, and the next one
//! is asked.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use chimera_core::{
    BackendError, Capabilities, Clock, InferenceBackend, LoadOptions, Request, Session, SessionExt,
    StreamError,
};
use chimera_records::{
    Agreement, Basis, Build, ModelEntry, Perplexity, Quality, QualityCheck, QualityRecord, RunError,
    Scenario, Settings,
};

use super::{
    CheckJob, Question, SESSION, compare,
    reference::{self, Head, Said},
    text,
};
use crate::{
    BlockEnd, Cancel, HarnessError, Progress, Registry,
    block::{Bounds, Obstacle, exactly, text_of},
};

/// One arm and what it is checked with.
#[derive(Clone, Copy)]
pub(crate) struct CheckRun<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) quality: &'a Quality,
    pub(crate) job: &'a CheckJob,
    /// What is known already.
    pub(crate) known: &'a [QualityRecord],
    /// The run's directory.
    pub(crate) folder: &'a Path,
    pub(crate) registry: &'a dyn Registry,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) cancel: &'a Cancel,
}

/// Why a question has no answer.
#[derive(Debug, Clone)]
pub(super) enum Gap {
    Known { code: String, reason: String },
    Cancelled,
}

impl Gap {
    pub(super) fn new(code: &str, reason: impl Into<String>) -> Self {
        Self::Known { code: code.to_owned(), reason: reason.into() }
    }
}

impl From<BackendError> for Gap {
    fn from(error: BackendError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Obstacle> for Gap {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Skip(reason) => Self::new("skipped", reason),
            Obstacle::Fail { code, reason } => Self::Known { code, reason },
            Obstacle::Cancelled => Self::Cancelled,
        }
    }
}

impl From<StreamError> for Gap {
    fn from(error: StreamError) -> Self {
        error.error.into()
    }
}

/// Where answers go.
pub(crate) struct Tell<'t> {
    /// Keeps a record on disk.
    pub(crate) keep: &'t mut (dyn FnMut(&QualityRecord) -> Result<(), RunError> + 't),
    pub(crate) progress: &'t mut (dyn FnMut(Progress) + 't),
}

/// Asks what is open of an arm and keeps each answer as it is found.
///
/// # Errors
/// An answer that cannot be kept.
pub(crate) async fn run_check(run: CheckRun<'_>, tell: Tell<'_>) -> Result<BlockEnd, HarnessError> {
    let limit = Duration::try_from_secs_f64(run.quality.timeout_s).unwrap_or(Duration::MAX);
    let bounds = Bounds { clock: run.clock, timeout: limit, cancel: run.cancel };
    let mut arm = Arm { run, bounds, records: run.known.to_vec(), tell };
    match arm.check().await {
        Ok(()) => Ok(BlockEnd::Done),
        Err(Stop::Gap(Gap::Cancelled)) => Ok(BlockEnd::Cancelled),
        // What stands in the way of the arm as a whole is the answer to all that is open.
        Err(Stop::Gap(Gap::Known { code, reason })) => {
            for question in run.job.open(run.quality, &arm.records) {
                arm.keep(run.job.unanswered(&question, &code, &reason))?;
            }
            Ok(BlockEnd::Done)
        }
        Err(Stop::Run(error)) => Err(error.into()),
    }
}

enum Stop {
    Gap(Gap),
    Run(RunError),
}

impl From<Gap> for Stop {
    fn from(gap: Gap) -> Self {
        Self::Gap(gap)
    }
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

struct Arm<'a, 't> {
    run: CheckRun<'a>,
    bounds: Bounds<'a>,
    /// What is known, and what was found out here.
    records: Vec<QualityRecord>,
    tell: Tell<'t>,
}

/// A resident model and what its backend can do.
struct Resident {
    session: Arc<dyn Session>,
    capabilities: Capabilities,
}

impl Arm<'_, '_> {
    async fn check(&mut self) -> Result<(), Stop> {
        let CheckRun { job, settings, .. } = self.run;
        if !job.is_reference && job.open(self.run.quality, &self.records).is_empty() {
            return Ok(());
        }
        let entry = settings
            .design
            .model(&job.model)
            .ok_or_else(|| Gap::new("model-missing", format!("the design has no model `{}`", job.model)))?;
        self.look_at_files(entry)?;
        let resident = self.load(entry).await?;
        // Asked after the load: an engine may be built in it.
        for build in self.run.registry.builds(entry, &job.backend) {
            self.keep(QualityRecord::Build(build))?;
        }
        for id in &self.run.quality.scenarios {
            let Some(scenario) = settings.design.scenario(id) else { continue };
            if job.is_reference {
                self.leave_word(scenario, &resident).await?;
            }
            if self.is_open(QualityCheck::Agreement, Some(id)) {
                let found = self.agreement(scenario, &resident).await;
                self.answer(QualityCheck::Agreement, Some(id), found.map(QualityRecord::Agreement))?;
            }
        }
        if self.is_open(QualityCheck::Perplexity, None) {
            let found = self.perplexity(&resident).await;
            self.answer(QualityCheck::Perplexity, None, found.map(QualityRecord::Perplexity))?;
        }
        // The process ends here: a model that cannot be unloaded harms nobody any more.
        let _ = self.bounds.within(resident.session.unload()).await;
        Ok(())
    }

    fn is_open(&self, check: QualityCheck, scenario: Option<&str>) -> bool {
        let open = self.run.job.open(self.run.quality, &self.records);
        open.iter().any(|question| question.check == check && question.scenario.as_deref() == scenario)
    }

    fn keep(&mut self, record: QualityRecord) -> Result<(), RunError> {
        if self.records.iter().any(|known| known.key() == record.key()) {
            return Ok(());
        }
        (self.tell.keep)(&record)?;
        (self.tell.progress)(Progress::QualityFound { record: record.clone() });
        self.records.push(record);
        Ok(())
    }

    /// Keeps an answer, or why there is none. Only a request to stop leaves a question open.
    fn answer(
        &mut self,
        check: QualityCheck,
        scenario: Option<&str>,
        found: Result<QualityRecord, Gap>,
    ) -> Result<(), Stop> {
        let record = match found {
            Ok(record) => record,
            Err(Gap::Cancelled) => return Err(Gap::Cancelled.into()),
            Err(Gap::Known { code, reason }) => {
                let question = Question { check, scenario: scenario.map(str::to_owned) };
                self.run.job.unanswered(&question, &code, &reason)
            }
        };
        Ok(self.keep(record)?)
    }

    /// What the registry knows of the arm's files without loading them.
    fn look_at_files(&mut self, entry: &ModelEntry) -> Result<(), Stop> {
        let CheckRun { job, registry, .. } = self.run;
        if self.is_open(QualityCheck::Audit, None) {
            match registry.audit(entry, &job.backend) {
                Ok(audits) if !audits.is_empty() => {
                    for audit in audits {
                        self.keep(QualityRecord::Audit(audit))?;
                    }
                }
                Ok(_) => {
                    let gap = Gap::new("audit", "there is no file to look into");
                    self.answer(QualityCheck::Audit, None, Err(gap))?;
                }
                Err(missing) => {
                    self.answer(QualityCheck::Audit, None, Err(Gap::new("audit", missing.reason)))?;
                }
            }
        }
        Ok(())
    }

    async fn load(&mut self, entry: &ModelEntry) -> Result<Resident, Stop> {
        let CheckRun { job, registry, clock, .. } = self.run;
        let name = job.backend.as_str();
        let backend: Arc<dyn InferenceBackend> = registry
            .backend(name, Arc::clone(clock))
            .map_err(|error| Gap::new("not-ready", error.to_string()))?;
        let probe = self.wait(backend.probe()).await?;
        let (availability, capabilities) = (probe.availability.clone(), probe.capabilities.clone());
        (self.tell.progress)(Progress::BackendProbed { backend: name.to_owned(), probe });
        if !availability.is_ready() {
            return Err(Gap::new("not-ready", format!("backend {name} is not ready: {availability}")).into());
        }
        let found =
            registry.model(entry, name).map_err(|missing| Gap::new("model-missing", missing.reason))?;
        let start = clock.now();
        let session = self.wait(backend.load(&found.reference, &LoadOptions::default())).await?;
        let took = clock.now().since(start).unwrap_or_default();
        let bytes = found.files.iter().map(|file| file.bytes).sum::<u64>();
        self.keep(QualityRecord::Build(Build {
            backend: name.to_owned(),
            model: job.model.clone(),
            what: SESSION.to_owned(),
            seconds: took.as_secs_f64(),
            bytes: (!found.files.is_empty()).then_some(bytes),
            cached: false,
        }))?;
        (self.tell.progress)(Progress::ModelLoaded {
            backend: name.to_owned(),
            model: job.model.clone(),
            load_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            info: session.model().clone(),
            files: found.files,
            provenance: found.provenance,
        });
        Ok(Resident { session, capabilities })
    }

    /// Waits for work of a backend, but not past the limit and not once the run is to stop.
    async fn wait<T, E: Into<Gap>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Gap> {
        self.bounds.within(work).await?.map_err(Into::into)
    }

    /// Runs the reference over a prompt and keeps what it says for the arms. What keeps it from that is found out again
    /// by its own agreement.
    async fn leave_word(&self, scenario: &Scenario, resident: &Resident) -> Result<(), Stop> {
        match self.word(scenario, resident).await {
            Ok(said) => {
                let (job, folder) = (self.run.job, self.run.folder);
                let written = reference::write(folder, (&job.backend, &job.model), &scenario.id, &said);
                // Without the file the arms say that the reference said nothing; with half of it they could not tell.
                written.map_err(|error| Gap::new("reference", error.to_string()).into())
            }
            Err(Gap::Cancelled) => Err(Gap::Cancelled.into()),
            Err(Gap::Known { .. }) => Ok(()),
        }
    }

    async fn word(&self, scenario: &Scenario, resident: &Resident) -> Result<Said, Gap> {
        let Resident { session, capabilities } = resident;
        let able = capabilities;
        for (able, what) in [
            (able.logits, "logits"),
            (able.tokenize, "tokenisation"),
            (able.token_prompts, "prompts of token ids"),
        ] {
            if !able {
                let backend = &self.run.job.backend;
                return Err(Gap::new("unsupported", format!("backend {backend} offers no {what}")));
            }
        }
        let quality = self.run.quality;
        let context = session.model().context.unwrap_or(u32::MAX);
        let most = quality.prompt_tokens().min(context.saturating_sub(quality.continuation));
        let length = scenario.tokens.map(|wanted| wanted.min(most));
        let mut tokens = match length {
            None => self.wait(session.tokenize(&scenario.text)).await?,
            Some(wanted) => self.wait(exactly(wanted as usize, &scenario.text, &**session)).await?,
        };
        tokens.truncate(most as usize);
        if tokens.is_empty() {
            return Err(Gap::new("context", format!("no room for a prompt in a context of {context}")));
        }
        let request = Request::tokens(tokens.clone(), quality.continuation);
        let request = if capabilities.exact_budget { request.exact() } else { request };
        let told = self.wait(session.run(request)).await?.ids;
        tokens.extend(
            told.ok_or_else(|| Gap::new("unsupported", "the reference does not tell its tokens' ids"))?,
        );
        let logits = self.wait(session.logits(&tokens)).await?;
        let prompt = match length {
            None => scenario.text.clone(),
            Some(wanted) => text_of(wanted, &scenario.text),
        };
        let answer = match self.wait(session.run(Request::text(prompt.as_str(), quality.continuation))).await
        {
            Ok(answer) => Some(answer.text),
            Err(Gap::Cancelled) => return Err(Gap::Cancelled),
            // A model without a tokenizer of its own takes no text.
            Err(Gap::Known { .. }) => None,
        };
        let (vocabulary, budget) = (logits.vocabulary, quality.continuation);
        Ok(Said { head: Head { tokens, vocabulary, prompt, budget, answer }, logits })
    }

    async fn agreement(&self, scenario: &Scenario, resident: &Resident) -> Result<Agreement, Gap> {
        let CheckRun { job, quality, folder, .. } = self.run;
        let Some(model) = &job.reference else {
            let variant = &quality.reference_variant;
            let reason = format!("the design has no model of the same source in {variant}");
            return Err(Gap::new("no-reference", reason));
        };
        let said = reference::read(folder, (&quality.reference, model), &scenario.id)
            .map_err(|error| Gap::new("reference", error.to_string()))?;
        let Some(said) = said else {
            if job.is_reference {
                // It was asked a moment ago and this says why it had no word.
                self.word(scenario, resident).await?;
            }
            let reason =
                format!("{model} on {} has nothing to compare with: see its own checks", quality.reference);
            return Err(Gap::new("reference", reason));
        };
        let mut agreement = Agreement {
            backend: job.backend.clone(),
            model: job.model.clone(),
            reference_backend: quality.reference.clone(),
            reference_model: model.clone(),
            scenario: scenario.id.clone(),
            basis: Basis::Logits,
            positions: 0,
            top1_agreement: 0.0,
            max_abs_difference: None,
            mean_kl: None,
        };
        if resident.capabilities.logits {
            let ours = self.wait(resident.session.logits(&said.head.tokens)).await?;
            let agreed = compare::logits(&said.logits, &ours).map_err(|(code, why)| Gap::new(code, why))?;
            agreement.positions = agreed.positions;
            agreement.top1_agreement = agreed.top1;
            agreement.max_abs_difference = Some(agreed.max_abs_difference);
            agreement.mean_kl = Some(agreed.mean_kl);
            return Ok(agreement);
        }
        let Some(answer) = said.head.answer.filter(|answer| !answer.is_empty()) else {
            return Err(Gap::new("reference", "the reference's answer to the text is empty"));
        };
        let request = Request::text(said.head.prompt.as_str(), said.head.budget);
        let ours = self.wait(resident.session.run(request)).await?.text;
        let (same, all) = compare::answers(&answer, &ours);
        agreement.basis = Basis::GreedyText;
        agreement.positions = all;
        agreement.top1_agreement = f64::from(same) / f64::from(all);
        Ok(agreement)
    }

    async fn perplexity(&self, resident: &Resident) -> Result<Perplexity, Gap> {
        let CheckRun { job, quality, registry, .. } = self.run;
        let text = registry.text(&quality.text).map_err(|missing| Gap::new("text", missing.reason))?;
        let text = text::verified(quality, text)?;
        let Resident { session, capabilities } = resident;
        let arm = (job.backend.as_str(), job.model.as_str());
        text::perplexity(quality, &text, &**session, capabilities, arm, &self.bounds).await
    }
}
