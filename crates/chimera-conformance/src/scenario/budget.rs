//! Budgets and how answers end.

use chimera_core::{FinishReason, Request};

use crate::{Failure, context::Context, table::ensure, transcript::Lane};

pub(crate) async fn budget_of_zero_reads_the_prompt_alone(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let lane = context.one(&*session, Request::text(context.fixture().prompt.as_str(), 0)).await?;
    ensure!(lane.chunks.is_empty(), "{} chunks for a budget of zero", lane.chunks.len());
    ensure!(lane.prompt.is_some(), "the prefill alone was asked, and it is not reported");
    ensure!(lane.end.reason == FinishReason::Length, "a budget of zero ends with {:?}", lane.end.reason);
    ensure!(lane.end.generated.is_none_or(|n| n == 0), "{:?} tokens reported", lane.end.generated);
    Ok(())
}

pub(crate) async fn budget_of_one(context: &Context<'_>) -> Result<(), Failure> {
    within(context, 1).await.map(|_| ())
}

pub(crate) async fn budget_of_many(context: &Context<'_>) -> Result<(), Failure> {
    let budget = context.fixture().budget;
    let lane = within(context, budget).await?;
    ensure!(!lane.chunks.is_empty(), "no chunk for a budget of {budget}");
    Ok(())
}

/// Asks for a budget, with the end of sequence in force.
async fn within(context: &Context<'_>, budget: u32) -> Result<Lane, Failure> {
    let session = context.load().await?;
    let lane = context.one(&*session, Request::text(context.fixture().prompt.as_str(), budget)).await?;
    check_end(&lane, budget)?;
    ensure!(
        lane.chunks.len() <= budget as usize || lane.tokens.is_none(),
        "{} chunks for a budget of {budget}",
        lane.chunks.len()
    );
    Ok(lane)
}

/// What reason and count must say of each other.
fn check_end(lane: &Lane, budget: u32) -> Result<(), Failure> {
    if let Some(generated) = lane.generated() {
        ensure!(generated <= budget, "{generated} tokens for a budget of {budget}");
        match lane.end.reason {
            FinishReason::Length => {
                ensure!(generated == budget, "the budget of {budget} is used up after {generated} tokens");
            }
            FinishReason::Stop => ensure!(generated < budget, "it stops with its budget of {budget} used up"),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) async fn exact_budget_is_exact(context: &Context<'_>) -> Result<(), Failure> {
    let fixture = context.fixture();
    let session = context.load().await?;
    let own = [(&*session, fixture.prompt.as_str())];
    // A model that would stop by itself is the harder case.
    let stopping = match &fixture.stops {
        Some((model, prompt, _)) => {
            Some((context.subject.backend.load(model, &fixture.options).await?, prompt.as_str()))
        }
        None => None,
    };
    let all = own.into_iter().chain(stopping.iter().map(|(session, prompt)| (&**session, *prompt)));
    for (session, prompt) in all {
        for budget in [1, fixture.budget, fixture.long_budget] {
            let lane = context.one(session, Request::text(prompt, budget).exact()).await?;
            let Some(generated) = lane.generated() else {
                return Err(Failure::new("an exact budget is declared, and the tokens are not told"));
            };
            ensure!(generated == budget, "{generated} tokens for an exact budget of {budget}");
            ensure!(
                lane.end.reason == FinishReason::Length,
                "an exact budget ends with {:?}",
                lane.end.reason
            );
        }
    }
    Ok(())
}

pub(crate) async fn finish_reason_is_right(context: &Context<'_>) -> Result<(), Failure> {
    let fixture = context.fixture();
    let session = context.load().await?;
    let lane = context.one(&*session, Request::text(fixture.prompt.as_str(), fixture.budget)).await?;
    check_end(&lane, fixture.budget)?;
    if let Some((model, prompt, budget)) = &fixture.stops {
        let session = context.subject.backend.load(model, &fixture.options).await?;
        let lane = context.one(&*session, Request::text(prompt.as_str(), *budget)).await?;
        ensure!(
            lane.end.reason == FinishReason::Stop,
            "an answer that ends by itself: {:?}",
            lane.end.reason
        );
        check_end(&lane, *budget)?;
        // Cut short by its budget it has another reason.
        let shorter = lane.generated().filter(|n| *n > 1).map(|n| n - 1);
        if let Some(budget) = shorter {
            let lane = context.one(&*session, Request::text(prompt.as_str(), budget)).await?;
            ensure!(lane.end.reason == FinishReason::Length, "a cut answer: {:?}", lane.end.reason);
        }
    }
    Ok(())
}
