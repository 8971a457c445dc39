//! The suite can fail: for each scenario there is a backend that breaks exactly its law, and is caught by it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod editor;
mod liar;

use std::{sync::Arc, time::Duration};

use chimera_conformance::{Fixture, MultiByte, SCENARIOS, Subject, Verdict, planned_skips, run};
use chimera_core::{Availability, Clock, InferenceBackend, ModelRef, Stamp};
use chimera_sim::{Fault, SimBackend, SimModel, VirtualClock};
use futures_executor::block_on;

use liar::{Liar, Lie};

fn bytes(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn liar(lie: Lie, clock: Arc<dyn Clock>, fault: Option<Fault>) -> Arc<dyn InferenceBackend> {
    let mut builder = SimBackend::builder()
        .clock(Arc::clone(&clock))
        .model(SimModel::new("tiny"))
        .model(SimModel::new("brief").eos_after(5));
    if lie == Lie::DiffersEachTime {
        builder = builder.capabilities(|able| able.deterministic = false);
    }
    if let Some(fault) = fault {
        builder = builder.fault(0, fault).fault(1, fault);
    }
    Arc::new(Liar::new(builder.build(), lie, clock))
}

fn subject(lie: Lie) -> Subject {
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
    // No stamp of a law is at zero, so that a false one can lie before the request.
    block_on(clock.sleep_until(Stamp(1_000_000)));
    let fixture = Fixture::new("tiny", MultiByte::decodes(bytes))
        .stops(ModelRef::named("brief"), "hello", 32)
        .tolerance(Duration::from_micros(100))
        .with_clock(Arc::clone(&clock))
        .time_limit(Duration::from_millis(if lie == Lie::Hangs { 50 } else { 60_000 }))
        .broken(move |fixture, _| liar(lie, fixture.clock(), Some(Fault::ErrorAfter(2))));
    Subject::new(liar(lie, clock, None), fixture)
}

/// Which scenario must catch which lie, and what it must say.
const CAUGHT: &[(Lie, &str, &str)] = &[
    (Lie::UnstableProbe, "probe_is_stable", "version changes"),
    (Lie::DeclaresZeroLanes, "probe_is_stable", "batch of zero"),
    (Lie::AnswersForUnknownModels, "unknown_model_is_not_found", "does not exist is loaded"),
    (Lie::WrongErrorForUnknownModels, "unknown_model_is_not_found", "not model-not-found but failed"),
    (Lie::AnotherName, "model_is_described", "calls itself other"),
    (Lie::ZeroLayers, "model_is_described", "layers of zero"),
    (Lie::TwoEnds, "one_end_per_lane_and_it_is_last", "goes on after its end"),
    (Lie::GoesOnAfterTheEnd, "one_end_per_lane_and_it_is_last", "goes on after its end"),
    (Lie::NoEnd, "one_end_per_lane_and_it_is_last", "1 of 1 lanes have no end"),
    (Lie::ALaneOfNobody, "one_end_per_lane_and_it_is_last", "an event of lane 1 of 1"),
    (Lie::StampsRunBack, "one_end_per_lane_and_it_is_last", "runs back"),
    (Lie::StampsFromTheFuture, "budget_of_many", "from after it was read"),
    (Lie::StampsFromThePast, "budget_of_many", "from before the request"),
    (Lie::EndlessStream, "budget_of_many", "does not end"),
    (Lie::NeverSent, "prompt_comes_before_chunks", "before it was sent"),
    (Lie::PromptAfterTheFirstChunk, "prompt_comes_before_chunks", "after a chunk"),
    (Lie::NoPromptEvent, "prompt_comes_before_chunks", "does not say when the prompt"),
    (Lie::CountsWrongly, "usage_equals_what_was_streamed", "tokens reported"),
    (Lie::HidesCounts, "usage_equals_what_was_streamed", "does not tell its own"),
    (Lie::IdOfSeveralTokens, "usage_equals_what_was_streamed", "a chunk with an id"),
    (Lie::DiffersEachTime, "same_seed_same_text", ", then "),
    (Lie::GreedyUsesTheSeed, "same_seed_same_text", "depend on the seed"),
    (Lie::IgnoresTheBudgetOfZero, "budget_of_zero_reads_the_prompt_alone", "for a budget of zero"),
    (Lie::OneTokenMore, "budget_of_one", "2 tokens for a budget of 1"),
    (Lie::OneTokenMore, "budget_of_many", "9 tokens for a budget of 8"),
    (Lie::OneTokenMore, "exact_budget_is_exact", "2 tokens for an exact budget of 1"),
    (Lie::StopsAtTheEnd, "exact_budget_is_exact", "5 tokens for an exact budget of 8"),
    (Lie::HidesCounts, "exact_budget_is_exact", "not told"),
    (Lie::CallsEveryEndStop, "finish_reason_is_right", "stops with its budget"),
    (Lie::CallsEveryEndLength, "finish_reason_is_right", "ends by itself: Length"),
    (Lie::BreaksCharacters, "multi_byte_text_stays_whole", "decoded at once"),
    (Lie::AddsAToken, "token_prompts_are_taken_as_they_are", "was read as"),
    (Lie::SilentChat, "chat_is_answered", "no answer"),
    (Lie::StampsWhenRead, "stamps_do_not_wait_for_the_reader", "after the reader woke"),
    (Lie::FabricatedPhase, "phases_are_honest", "Tokenize by Engine is reported and not declared"),
    (Lie::ZeroPrefill, "phases_are_honest", "a prefill of zero"),
    (Lie::ZeroDecode, "phases_are_honest", "a decode of 0ns"),
    (Lie::PhaseTwice, "phases_are_honest", "Prefill is reported twice"),
    (Lie::HidesPhases, "phases_are_honest", "declared and not reported"),
    (Lie::PhasesLongerThanTheTotal, "phases_are_honest", "the total is 0ns"),
    (Lie::TotalBeyondTheStamps, "phases_are_honest", "a total of 1.0"),
    (Lie::SpoiltByADrop, "session_works_after_a_drop", "and after a drop"),
    (Lie::IgnoresCancel, "dropping_cancels_in_time", "dropped in the decode"),
    (Lie::MixesGenerations, "concurrent_generations_do_not_mix", "beside others"),
    (Lie::MixesLanes, "lanes_equal_their_solo_runs", "in a batch"),
    (Lie::CountsPadding, "lanes_equal_their_solo_runs", "counts padding"),
    (Lie::TakesAnyBatch, "batches_out_of_bounds_are_refused", "3 lanes run where 2 are declared"),
    (Lie::CutsLongPrompts, "too_long_prompt_is_refused", "is answered"),
    (Lie::RefusesLongPromptsWithoutAReason, "too_long_prompt_is_refused", "not invalid-request but failed"),
    (Lie::ErrorBecomesAnEnd, "error_mid_stream_is_an_error", "is lost"),
    (Lie::ErrorBecomesSilence, "error_mid_stream_is_an_error", "is lost"),
    (Lie::ErrorBecomesAnEnd, "truncated_stream_is_noticed", "a short success"),
    (Lie::ErrorBecomesSilence, "truncated_stream_is_noticed", "has no error"),
    (Lie::HidesAbilities, "what_is_disclaimed_is_refused", "tokenisation works and is not declared"),
    (
        Lie::RefusesByTheWrongName,
        "what_is_disclaimed_is_refused",
        "scoring is not declared and ends in failed",
    ),
    (Lie::UnstableTokens, "tokens_are_stable", "other tokens the second time"),
    (Lie::SpecialTokens, "tokens_are_stable", "special ones do not belong here"),
    (Lie::LikelierThanCertain, "score_keeps_its_laws", "log probability 0 is"),
    (Lie::NoNumber, "score_keeps_its_laws", "log probability 0 is -inf"),
    (Lie::OneScoreTooMany, "score_keeps_its_laws", "log probabilities for"),
    (Lie::SeesTheFuture, "score_keeps_its_laws", "a prefix is scored"),
    (Lie::OneRowTooMany, "logits_have_a_row_per_token", "rows of logits for"),
    (Lie::NoNumberAmongLogits, "logits_have_a_row_per_token", "not a number"),
    (Lie::PaddedRows, "logits_have_a_row_per_token", "rows of 258 logits"),
    (Lie::LogitsOfTheFuture, "logits_have_a_row_per_token", "a prefix has other logits"),
    (Lie::FlatLogits, "logits_equal_the_score", "by the logits and"),
    (Lie::ShiftedLogits, "logits_equal_the_score", "by the logits and"),
    (Lie::ShiftedLogits, "logits_choose_the_greedy_token", "greedy sampling chooses"),
    (
        Lie::TakesAnyToken,
        "logits_of_what_cannot_be_read_are_refused",
        "an id outside the vocabulary has 3 rows",
    ),
    (Lie::RefusesTokensWithoutAReason, "logits_of_what_cannot_be_read_are_refused", "ends in failed"),
    (Lie::SpoiltByDroppedLogits, "dropped_logits_leave_no_trace", "after a drop the same sequence"),
    (Lie::LogitsAfterUnload, "unload_closes", "logits works after unload"),
    (Lie::IgnoresUnload, "unload_closes", "a closed session generates"),
    (Lie::FailsTheSecondUnload, "unload_closes", "a second unload fails"),
    (Lie::Hangs, "budget_of_many", "did not end within"),
];

#[test]
fn an_honest_backend_passes_everything() {
    for scenario in SCENARIOS {
        assert_eq!(
            block_on(run(scenario.name, &subject(Lie::None))),
            Ok(Verdict::Passed),
            "{}",
            scenario.name
        );
    }
}

#[test]
fn each_lie_is_caught_by_its_scenario() {
    let mut failures = Vec::new();
    for (lie, scenario, says) in CAUGHT {
        match block_on(run(scenario, &subject(*lie))) {
            Ok(verdict) => failures.push(format!("{lie:?} gets through {scenario}: {verdict:?}")),
            Err(failure) if !failure.to_string().contains(says) => {
                failures.push(format!("{lie:?} in {scenario}: {failure}, which does not say {says:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn each_scenario_catches_a_lie() {
    for scenario in SCENARIOS {
        assert!(CAUGHT.iter().any(|(_, name, _)| *name == scenario.name), "{} never fails", scenario.name);
    }
}

#[test]
fn skips_follow_from_declarations_and_from_nothing_else() {
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
    let able = |clock: &Arc<dyn Clock>| {
        SimBackend::builder()
            .clock(Arc::clone(clock))
            .model(SimModel::new("tiny"))
            .capabilities(|able| able.scoring = false)
    };
    let fixture = || Fixture::new("tiny", MultiByte::decodes(bytes)).with_clock(Arc::clone(&clock));
    let subject = |fixture| Subject::new(Arc::new(able(&clock).build()), fixture);
    let score = "score_keeps_its_laws";

    let skips = block_on(planned_skips(&subject(fixture()))).unwrap();
    let both = "logits_equal_the_score";
    assert_eq!(skips, [(score, "scoring".to_owned()), (both, "scoring".to_owned())]);
    let reason = "the backend does not declare scoring".to_owned();
    assert_eq!(block_on(run(score, &subject(fixture()))), Ok(Verdict::Skipped { reason }));
    // A list that is expected must be met in both directions.
    block_on(planned_skips(&subject(fixture().skips(&[score, both])))).unwrap();
    block_on(planned_skips(&subject(fixture().skips(&[])))).unwrap_err();
    block_on(planned_skips(&subject(fixture().skips(&[score, both, "chat_is_answered"])))).unwrap_err();
    assert!(block_on(run("no_such_scenario", &subject(fixture()))).is_err());

    // A backend that is not here fails, unless the fixture allows it.
    let absent = |fixture| {
        let gone = Availability::NoDevice { reason: "no GPU".into(), remedy: "fit one".into() };
        Subject::new(Arc::new(able(&clock).availability(gone).build()), fixture)
    };
    let failure = block_on(run(score, &absent(fixture()))).unwrap_err().to_string();
    assert!(failure.contains("no GPU (fit one)"), "{failure}");
    let reason = "the backend is not usable: no GPU".to_owned();
    assert_eq!(block_on(run(score, &absent(fixture().may_be_absent()))), Ok(Verdict::Skipped { reason }));
    assert_eq!(block_on(run("probe_is_stable", &absent(fixture().may_be_absent()))), Ok(Verdict::Passed));
}
