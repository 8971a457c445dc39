//! Several lanes in one batch and several generations at once.

use chimera_core::{Batch, Request};
use futures_util::future::try_join_all;

use crate::{Failure, context::Context, table::ensure};

pub(crate) async fn concurrent_generations_do_not_mix(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let count = context.capabilities.max_in_flight.unwrap_or(1).min(4) as usize;
    let mut solo = Vec::new();
    for prompt in context.prompts(count) {
        solo.push(context.one(&*session, context.ask(prompt, context.fixture().budget)).await?);
    }
    ensure!(
        solo.windows(2).any(|pair| pair.first().map(|a| &a.text) != pair.last().map(|b| &b.text)),
        "all prompts have the same answer, which proves nothing: give the fixture another prompt"
    );
    let together = context
        .prompts(count)
        .into_iter()
        .map(|prompt| context.one(&*session, context.ask(prompt, context.fixture().budget)));
    let together = try_join_all(together).await?;
    for (index, (alone, beside)) in solo.iter().zip(&together).enumerate() {
        ensure!(
            alone.text == beside.text && alone.ids == beside.ids,
            "generation {index} says {:?} alone and {:?} beside others",
            alone.text,
            beside.text
        );
    }
    session.idle().await;
    Ok(())
}

pub(crate) async fn lanes_equal_their_solo_runs(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let count = context.capabilities.max_batch.unwrap_or(1).min(4) as usize;
    // Lanes of different lengths and budgets: padding and early ends are where batches go wrong.
    let budget = |index: usize| context.fixture().budget + u32::try_from(count - index).unwrap_or(0) - 1;
    let requests: Vec<Request> = context
        .prompts(count)
        .into_iter()
        .enumerate()
        .map(|(index, prompt)| context.ask(prompt, budget(index)))
        .collect();
    let mut solo = Vec::new();
    for request in &requests {
        solo.push(context.one(&*session, request.clone()).await?);
    }
    let lanes = context.batch(&*session, Batch(requests)).await?;
    for (index, (alone, lane)) in solo.iter().zip(&lanes).enumerate() {
        ensure!(
            alone.text == lane.text && alone.ids == lane.ids,
            "lane {index} says {:?} alone and {:?} in a batch",
            alone.text,
            lane.text
        );
        ensure!(alone.end.reason == lane.end.reason, "lane {index} ends otherwise in a batch");
        ensure!(alone.generated() == lane.generated(), "lane {index} has another count in a batch");
        let tokens = |lane: &crate::transcript::Lane| lane.prompt.and_then(|(_, tokens, _)| tokens);
        ensure!(tokens(alone) == tokens(lane), "lane {index} counts padding as prompt tokens");
    }
    Ok(())
}

pub(crate) async fn batches_out_of_bounds_are_refused(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let empty = context.read(&*session, Batch(Vec::new())).await?;
    ensure!(!empty.finished(), "a batch without lanes has a lane that finishes");
    // Nobody promises a bound that this machine could test when it is this large.
    if let Some(most) = context.capabilities.max_batch.filter(|most| *most <= 64) {
        let batch = Batch(vec![context.ordinary(); most as usize + 1]);
        let answer = context.read(&*session, batch).await?;
        let Some(error) = answer.error() else {
            return Err(Failure::new(format_args!("{} lanes run where {most} are declared", most + 1)));
        };
        ensure!(
            matches!(error.error.code(), "invalid-request" | "unsupported" | "out-of-memory"),
            "too many lanes end in {}",
            error.error.code()
        );
    }
    context.one(&*session, context.ordinary()).await?;
    Ok(())
}
