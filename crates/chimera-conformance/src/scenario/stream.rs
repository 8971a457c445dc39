//! The order of events and their stamps.

use std::time::Duration;

use chimera_core::{Batch, ClockSource, EventKind};
use futures_util::StreamExt;

use crate::{Failure, context::Context, table::ensure};

pub(crate) async fn one_end_per_lane_and_it_is_last(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let most = context.capabilities.max_batch.unwrap_or(1).clamp(1, 3) as usize;
    for lanes in [1, most] {
        let requests = context.prompts(lanes).into_iter().map(|p| context.ask(p, context.fixture().budget));
        let mut stream = session.generate(Batch(requests.collect()));
        let mut ends = vec![0_u32; lanes];
        let mut left = lanes;
        while let Some(item) = stream.next().await {
            let event = item?;
            let Some(seen) = ends.get_mut(event.lane as usize) else {
                return Err(Failure::new(format_args!("an event of lane {} of {lanes}", event.lane)));
            };
            ensure!(*seen == 0, "lane {} goes on after its end", event.lane);
            if matches!(event.kind, EventKind::Finished(_)) {
                *seen += 1;
                left -= 1;
            }
        }
        ensure!(left == 0, "{left} of {lanes} lanes have no end");
        // The same again under the whole law.
        let requests = context.prompts(lanes).into_iter().map(|p| context.ask(p, context.fixture().budget));
        context.batch(&*session, Batch(requests.collect())).await?;
    }
    Ok(())
}

pub(crate) async fn prompt_comes_before_chunks(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let lane = context.one(&*session, context.ordinary()).await?;
    match lane.prompt {
        Some((at, tokens, _)) => {
            ensure!(tokens != Some(0), "a prompt of no tokens");
            ensure!(lane.chunks.first().is_none_or(|first| at <= *first), "a chunk is older than the prompt");
        }
        None => ensure!(
            context.capabilities.stamps != ClockSource::Engine,
            "the engine stamps events and does not say when the prompt was processed"
        ),
    }
    Ok(())
}

pub(crate) async fn usage_equals_what_was_streamed(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let lane = context.one(&*session, context.ordinary()).await?;
    ensure!(lane.tokens.is_some(), "token counts are declared, and a chunk does not tell its own");
    ensure!(
        lane.end.generated == lane.tokens,
        "{:?} tokens reported, {:?} carried by chunks",
        lane.end.generated,
        lane.tokens
    );
    if let Some((_, tokens, cached)) = lane.prompt {
        ensure!(
            cached.is_none_or(|cached| tokens.is_some_and(|tokens| cached <= tokens)),
            "{cached:?} cached of {tokens:?} prompt tokens"
        );
    }
    Ok(())
}

/// An engine stamps in its own thread: a reader that sleeps finds the past, not the moment of its waking.
pub(crate) async fn stamps_do_not_wait_for_the_reader(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let clock = context.clock();
    let usual = context.one(&*session, context.ordinary()).await?;
    let Some((at, ..)) = usual.prompt else { return Err(Failure::new("no prompt event")) };
    let prefill = at.since(usual.sent).unwrap_or_default();
    let nap = prefill * 4 + Duration::from_millis(20);
    let mut seen = Vec::new();
    // A busy machine may hold up the engine itself, so one good attempt suffices.
    for _ in 0..3 {
        session.idle().await;
        let mut stream = session.generate(context.ordinary().into());
        match stream.next().await {
            Some(Ok(event)) => ensure!(event.kind == EventKind::Sent, "the first event is {:?}", event.kind),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Failure::new("an empty stream")),
        }
        let woken = clock.now().after(nap);
        clock.sleep_until(woken).await;
        while let Some(item) = stream.next().await {
            let event = item?;
            if matches!(event.kind, EventKind::PromptProcessed { .. }) {
                if event.at < woken {
                    return Ok(());
                }
                seen.push(event.at - woken);
                break;
            }
        }
    }
    Err(Failure::new(format_args!(
        "the prompt was processed {seen:?} ns after the reader woke, who slept {nap:?}, though it takes {prefill:?}"
    )))
}
