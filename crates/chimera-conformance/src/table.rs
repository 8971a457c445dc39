//! The list of scenarios, what each needs, and how one is run. What they do is in `scenario`.

use std::{fmt, sync::Arc, time::Duration};

use chimera_core::{BackendError, Capabilities, ClockSource, InferenceBackend, LawBreach, StreamError};
use futures_util::future::{BoxFuture, Either, select};

use crate::{Fixture, context::Context};

/// A backend under judgement, with its fixture.
#[derive(Debug)]
pub struct Subject {
    pub(crate) backend: Arc<dyn InferenceBackend>,
    pub(crate) fixture: Fixture,
}

impl Subject {
    /// A backend made with the fixture's clock.
    #[must_use]
    pub fn new(backend: Arc<dyn InferenceBackend>, fixture: Fixture) -> Self {
        Self { backend, fixture }
    }
}

/// A capability without which a scenario makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// [`Capabilities::token_counts`].
    TokenCounts,
    /// [`Capabilities::exact_budget`].
    ExactBudget,
    /// [`Capabilities::prefill_only`].
    PrefillOnly,
    /// [`Capabilities::token_prompts`].
    TokenPrompts,
    /// [`Capabilities::chat`].
    Chat,
    /// [`Capabilities::tokenize`].
    Tokenize,
    /// [`Capabilities::scoring`].
    Scoring,
    /// [`Capabilities::logits`].
    Logits,
    /// [`Capabilities::deterministic`].
    Deterministic,
    /// [`Capabilities::max_batch`] of two or more.
    Batch,
    /// [`Capabilities::max_in_flight`] of two or more.
    InFlight,
    /// [`Capabilities::prefill_chunk`].
    Cancel,
    /// [`Capabilities::stamps`] by the engine.
    EngineStamps,
}

impl Need {
    fn is_met(self, capabilities: &Capabilities) -> bool {
        match self {
            Self::TokenCounts => capabilities.token_counts,
            Self::ExactBudget => capabilities.exact_budget,
            Self::PrefillOnly => capabilities.prefill_only,
            Self::TokenPrompts => capabilities.token_prompts,
            Self::Chat => capabilities.chat,
            Self::Tokenize => capabilities.tokenize,
            Self::Scoring => capabilities.scoring,
            Self::Logits => capabilities.logits,
            Self::Deterministic => capabilities.deterministic,
            Self::Batch => capabilities.max_batch.is_some_and(|most| most > 1),
            Self::InFlight => capabilities.max_in_flight.is_some_and(|most| most > 1),
            Self::Cancel => capabilities.prefill_chunk.is_some(),
            Self::EngineStamps => capabilities.stamps == ClockSource::Engine,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenCounts => "token counts of chunks",
            Self::ExactBudget => "exact budgets",
            Self::PrefillOnly => "prefill alone",
            Self::TokenPrompts => "prompts of token ids",
            Self::Chat => "chat",
            Self::Tokenize => "tokenisation",
            Self::Scoring => "scoring",
            Self::Logits => "logits",
            Self::Deterministic => "the same tokens for the same request",
            Self::Batch => "batches of two or more",
            Self::InFlight => "two or more generations at once",
            Self::Cancel => "a bound for cancelling",
            Self::EngineStamps => "stamps of the engine's own",
        })
    }
}

/// One behaviour that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, also the name of its test.
    pub name: &'static str,
    /// What a backend must declare for it; without all of them it is skipped.
    pub needs: &'static [Need],
    run: for<'a> fn(&'a Context<'a>) -> BoxFuture<'a, Result<(), Failure>>,
}

impl Scenario {
    fn missing(&self, capabilities: &Capabilities) -> Option<Need> {
        self.needs.iter().copied().find(|need| !need.is_met(capabilities))
    }
}

/// How a scenario that did not fail came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The backend behaves.
    Passed,
    /// The backend declares that it cannot do this.
    Skipped {
        /// What is missing.
        reason: String,
    },
}

/// What a backend did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
}

impl Failure {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string() }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::new(format_args!("an error that was not expected: {error}"))
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        error.error.into()
    }
}

impl From<LawBreach> for Failure {
    fn from(breach: LawBreach) -> Self {
        Self::new(format_args!("the law of the stream is broken: {breach}"))
    }
}

/// Fails the scenario unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new(format_args!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// The one list of scenarios: the table below and the tests of a suite are both made from these tokens.
#[doc(hidden)]
#[macro_export]
macro_rules! __scenarios {
    ($callback:ident, $($arguments:tt)*) => {
        $crate::$callback! { [$($arguments)*]
            probe_is_stable [];
            unknown_model_is_not_found [];
            model_is_described [];
            one_end_per_lane_and_it_is_last [];
            prompt_comes_before_chunks [];
            usage_equals_what_was_streamed [TokenCounts];
            same_seed_same_text [Deterministic];
            budget_of_zero_reads_the_prompt_alone [PrefillOnly];
            budget_of_one [];
            budget_of_many [];
            exact_budget_is_exact [ExactBudget];
            finish_reason_is_right [];
            multi_byte_text_stays_whole [];
            token_prompts_are_taken_as_they_are [TokenPrompts];
            chat_is_answered [Chat];
            stamps_do_not_wait_for_the_reader [EngineStamps];
            phases_are_honest [];
            session_works_after_a_drop [];
            dropping_cancels_in_time [Cancel];
            concurrent_generations_do_not_mix [InFlight, Deterministic];
            lanes_equal_their_solo_runs [Batch, Deterministic];
            batches_out_of_bounds_are_refused [];
            too_long_prompt_is_refused [];
            error_mid_stream_is_an_error [];
            truncated_stream_is_noticed [];
            what_is_disclaimed_is_refused [];
            tokens_are_stable [Tokenize];
            score_keeps_its_laws [Scoring];
            logits_have_a_row_per_token [Logits];
            logits_equal_the_score [Logits, Scoring];
            logits_choose_the_greedy_token [Logits, TokenPrompts, TokenCounts];
            logits_of_what_cannot_be_read_are_refused [Logits];
            dropped_logits_leave_no_trace [Logits];
            unload_closes [];
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __scenario_table {
    ([] $($name:ident [$($need:ident),*];)+) => {
        /// Every scenario, in the order of a suite.
        pub const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: stringify!($name),
            needs: &[$(Need::$need),*],
            run: |context| Box::pin($crate::scenario::$name(context)),
        }),+];
    };
}
__scenarios!(__scenario_table,);

/// Runs one scenario on a subject.
///
/// # Errors
/// What the backend did wrong, a name that no scenario has, or more time than the fixture allows.
pub async fn run(name: &str, subject: &Subject) -> Result<Verdict, Failure> {
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == name) else {
        return Err(Failure::new(format_args!("there is no scenario {name}")));
    };
    let limit = subject.fixture.time_limit;
    let work = std::pin::pin!(judge(scenario, subject));
    // The machine's clock, whatever the fixture's is: this is a guard against hanging, not a measurement.
    match select(work, futures_timer::Delay::new(limit)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> Failure {
    Failure::new(format_args!("it did not end within {limit:?}"))
}

async fn judge(scenario: &Scenario, subject: &Subject) -> Result<Verdict, Failure> {
    let probe = subject.backend.probe().await?;
    if let Some((reason, remedy)) = probe.availability.obstacle() {
        ensure!(subject.fixture.may_be_absent, "the backend is not usable: {reason} ({remedy})");
        // What a probe says must hold of an absent backend too.
        if scenario.name != "probe_is_stable" {
            return Ok(Verdict::Skipped { reason: format!("the backend is not usable: {reason}") });
        }
    }
    if let Some(need) = scenario.missing(&probe.capabilities) {
        return Ok(Verdict::Skipped { reason: format!("the backend does not declare {need}") });
    }
    let context = Context { subject, capabilities: probe.capabilities };
    (scenario.run)(&context).await?;
    Ok(Verdict::Passed)
}

/// The scenarios that a subject's declarations skip, with the reasons.
///
/// # Errors
/// A probe that fails, or a list other than the one that [`Fixture::skips`] expects.
pub async fn planned_skips(subject: &Subject) -> Result<Vec<(&'static str, String)>, Failure> {
    let probe = subject.backend.probe().await?;
    if let Some((reason, _)) = probe.availability.obstacle()
        && subject.fixture.may_be_absent
    {
        let all = SCENARIOS.iter().filter(|scenario| scenario.name != "probe_is_stable");
        return Ok(all.map(|scenario| (scenario.name, reason.to_owned())).collect());
    }
    let skips: Vec<_> = SCENARIOS
        .iter()
        .filter_map(|scenario| Some((scenario.name, scenario.missing(&probe.capabilities)?.to_string())))
        .collect();
    if let Some(expected) = &subject.fixture.skips {
        let names: Vec<_> = skips.iter().map(|(name, _)| *name).collect();
        let mut sorted = (names.clone(), expected.clone());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        ensure!(sorted.0 == sorted.1, "skipped are {names:?}, the fixture expects {expected:?}");
    }
    Ok(skips)
}
