//! Dropping a stream cancels it.

use std::time::Duration;

use chimera_core::{EventKind, EventStream, Request, Session};
use futures_util::StreamExt;

use crate::{Failure, context::Context, table::ensure};

/// Reads up to the first event that `until` accepts.
async fn read_until(stream: &mut EventStream, until: fn(&EventKind) -> bool) -> Result<(), Failure> {
    while let Some(item) = stream.next().await {
        if until(&item?.kind) {
            return Ok(());
        }
    }
    Err(Failure::new("the stream ended before it could be dropped"))
}

fn any(_: &EventKind) -> bool {
    true
}

fn chunk(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Chunk { .. })
}

pub(crate) async fn session_works_after_a_drop(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let before = context.one(&*session, context.ordinary()).await?;
    let long = || context.ask(context.fixture().prompt.as_str(), context.fixture().long_budget);
    drop(session.generate(long().into())); // Never polled.
    for until in [any, chunk] {
        let mut stream = session.generate(long().into());
        read_until(&mut stream, until).await?;
        drop(stream);
        session.idle().await;
        let after = context.one(&*session, context.ordinary()).await?;
        if context.capabilities.deterministic {
            ensure!(before.text == after.text, "{:?}, and after a drop {:?}", before.text, after.text);
        }
    }
    session.idle().await;
    Ok(())
}

pub(crate) async fn dropping_cancels_in_time(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    // In the decode.
    let long = || context.ask(context.fixture().prompt.as_str(), context.fixture().long_budget);
    let whole = context.one(&*session, long()).await?;
    ensure!(
        whole.chunks.len() >= 8,
        "{} chunks are too few to cancel: give the fixture a longer budget",
        whole.chunks.len()
    );
    let saved = whole.chunks.first().and_then(|first| whole.ended.since(*first)).unwrap_or_default();
    let took = quickest(context, &*session, |_| long(), chunk).await?;
    judge(context, "in the decode", saved, took)?;

    // In the prefill, where the prompt has chunks enough to tell.
    let Some(size) = context.capabilities.prefill_chunk else { return Ok(()) };
    let words = (size as usize).saturating_mul(6);
    let room = session.model().context.map(|context| context as usize / 4);
    if room.is_some_and(|room| words <= room) {
        let request = |attempt: u32| {
            // Another beginning each time, so that no prefix cache answers.
            let prompt = format!("{attempt}{}", " x".repeat(words));
            if context.capabilities.prefill_only { Request::text(prompt, 0) } else { context.ask(prompt, 1) }
        };
        let whole = context.one(&*session, request(99)).await?;
        if let Some((at, ..)) = whole.prompt {
            let saved = at.since(whole.sent).unwrap_or_default();
            let took = quickest(context, &*session, request, any).await?;
            judge(context, "in the prefill", saved, took)?;
        }
    }
    Ok(())
}

/// The quickest of five drops: a busy machine makes some of them slow, a backend that does not cancel all of them.
async fn quickest(
    context: &Context<'_>,
    session: &dyn Session,
    request: impl Fn(u32) -> Request,
    until: fn(&EventKind) -> bool,
) -> Result<Duration, Failure> {
    let clock = context.clock();
    let mut best = Duration::MAX;
    for attempt in 0..5 {
        session.idle().await;
        let mut stream = session.generate(request(attempt).into());
        read_until(&mut stream, until).await?;
        let dropped = clock.now();
        drop(stream);
        session.idle().await;
        best = best.min(clock.now().since(dropped).unwrap_or_default());
    }
    Ok(best)
}

fn judge(context: &Context<'_>, place: &str, saved: Duration, took: Duration) -> Result<(), Failure> {
    let fixture = context.fixture();
    let limit = (saved / 2).min(fixture.cancel_limit).max(fixture.tolerance);
    ensure!(
        took <= limit,
        "dropped {place}, the session is idle after {took:?}; {limit:?} is allowed, {saved:?} of work were left"
    );
    Ok(())
}
