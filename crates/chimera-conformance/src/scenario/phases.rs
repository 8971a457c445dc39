//! Durations that a backend reports by itself: declared, true, and never made up.

use std::time::Duration;

use chimera_core::{Batch, ClockSource, Phase};

use crate::{Failure, context::Context, table::ensure, transcript::Lane};

pub(crate) async fn phases_are_honest(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let fixture = context.fixture();
    for budget in [1, fixture.budget, fixture.long_budget] {
        let lane = context.one(&*session, context.ask(fixture.prompt.as_str(), budget)).await?;
        check(context, &lane)?;
    }
    if context.capabilities.prefill_only {
        check(context, &context.one(&*session, context.ask(fixture.prompt.as_str(), 0)).await?)?;
    }
    let most = context.capabilities.max_batch.unwrap_or(1).min(3) as usize;
    let requests = context.prompts(most).into_iter().map(|prompt| context.ask(prompt, fixture.budget));
    for lane in context.batch(&*session, Batch(requests.collect())).await? {
        check(context, &lane)?;
    }
    Ok(())
}

fn check(context: &Context<'_>, lane: &Lane) -> Result<(), Failure> {
    let declared = &context.capabilities.phases;
    let timings = &lane.end.timings;
    for (index, timing) in timings.iter().enumerate() {
        ensure!(
            declared.contains(&(timing.phase, timing.source)),
            "{:?} by {:?} is reported and not declared",
            timing.phase,
            timing.source
        );
        ensure!(
            !timings.iter().skip(index + 1).any(|other| other.phase == timing.phase),
            "{:?} is reported twice",
            timing.phase
        );
    }
    let of = |phase| {
        let timing = timings.iter().find(|timing| timing.phase == phase)?;
        Some(Duration::from_nanos(timing.nanos))
    };
    let several = lane.chunks.len() > 1 && lane.generated().is_none_or(|n| n > 1);
    for (phase, source) in declared {
        // With fewer than two tokens there is no stretch from the first to the last.
        ensure!(
            of(*phase).is_some() || (*phase == Phase::Decode && !several),
            "{phase:?} by {source:?} is declared and not reported"
        );
    }

    let span = lane.ended.since(lane.sent).unwrap_or_default();
    let slack = context.slack(span);
    let work: Duration = [Phase::Prefill, Phase::Decode].into_iter().filter_map(of).sum();
    let parts: Duration = work + [Phase::Queue, Phase::Tokenize].into_iter().filter_map(of).sum::<Duration>();
    // An engine's `Sent` is the submission of token ids: its queue and its tokenizer lie before it.
    let stamped = if context.capabilities.stamps == ClockSource::Engine { work } else { parts };
    ensure!(stamped <= span + slack, "the phases sum up to {stamped:?} of {span:?} between the stamps");
    if let Some(total) = of(Phase::Total) {
        ensure!(parts <= total + slack, "the phases sum up to {parts:?}, the total is {total:?}");
        ensure!(total <= span + slack, "a total of {total:?} within {span:?} between the stamps");
    }
    let engine = |phase| {
        context.capabilities.stamps == ClockSource::Engine && declared.contains(&(phase, ClockSource::Engine))
    };
    if let (Some(prefill), Some((at, _, cached))) = (of(Phase::Prefill), lane.prompt) {
        let stamped = at.since(lane.sent).unwrap_or_default();
        ensure!(prefill <= stamped + slack, "a prefill of {prefill:?} within {stamped:?} between the stamps");
        let read_all = cached.is_none_or(|cached| cached == 0);
        ensure!(
            !(prefill.is_zero() && read_all && stamped > slack && engine(Phase::Prefill)),
            "a prefill of zero, {stamped:?} between the stamps: what was not measured has no entry"
        );
    }
    if let (Some(decode), true, [first, .., last]) = (of(Phase::Decode), several, &lane.chunks[..]) {
        let stamped = last.since(*first).unwrap_or_default();
        // Chunks of several tokens hide the first token's time by less than the whole.
        if engine(Phase::Decode) && lane.ids.is_some() {
            ensure!(
                decode.abs_diff(stamped) <= slack,
                "a decode of {decode:?}, {stamped:?} from first to last token"
            );
        }
        ensure!(
            !(decode.is_zero() && stamped > slack),
            "a decode of zero, {stamped:?} between the stamps: what was not measured has no entry"
        );
    }
    Ok(())
}
