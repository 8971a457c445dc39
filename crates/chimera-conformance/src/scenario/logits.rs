//! Raw logits: one row per token, the same distribution that scores and greedy answers come from.

use std::{pin::pin, task::Poll};

use chimera_core::{BackendError, Logits, Request, Session};

use crate::{Failure, context::Context, table::ensure};

/// By how much two ways to one logit may differ: a prompt that is read in other pieces is summed in another order.
const ROUNDING: f64 = 0.01;

/// Token ids of a few words.
async fn ids(context: &Context<'_>, session: &dyn Session) -> Result<Vec<u32>, Failure> {
    let ids: Vec<u32> = if context.capabilities.tokenize {
        session.tokenize(&context.fixture().prompt).await?
    } else {
        (1..=8).collect()
    };
    ensure!(ids.len() > 3, "the fixture's prompt has only {} tokens", ids.len());
    Ok(ids)
}

fn row(logits: &Logits, index: usize) -> Result<&[f32], Failure> {
    logits.row(index).ok_or_else(|| Failure::new(format_args!("there is no row {index}")))
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max)
}

pub(crate) async fn logits_have_a_row_per_token(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let ids = ids(context, &*session).await?;
    let whole = session.logits(&ids).await?;
    ensure!(whole.rows() == ids.len(), "{} rows of logits for {} tokens", whole.rows(), ids.len());
    ensure!(whole.values.len() == whole.rows() * whole.vocabulary, "rows of logits that are not whole");
    if let Some(vocabulary) = session.model().vocabulary {
        ensure!(
            whole.vocabulary == vocabulary as usize,
            "rows of {} logits for a vocabulary of {vocabulary}",
            whole.vocabulary
        );
    }
    ensure!(whole.values.iter().all(|logit| logit.is_finite()), "a logit is not a number");
    let again = session.logits(&ids).await?;
    let apart = largest_difference(&whole.values, &again.values);
    ensure!(apart <= ROUNDING, "the same sequence has other logits the second time: {apart} apart");
    // Later tokens do not change what was predicted before them.
    let half = ids.get(..ids.len() / 2 + 1).unwrap_or_default();
    let part = session.logits(half).await?;
    ensure!(part.rows() == half.len(), "{} rows of logits for {} tokens", part.rows(), half.len());
    for index in 0..half.len() {
        let apart = largest_difference(row(&whole, index)?, row(&part, index)?);
        ensure!(apart <= ROUNDING, "a prefix has other logits at {index}: {apart} apart");
    }
    let nothing = session.logits(&[]).await?;
    ensure!(nothing.rows() == 0, "no tokens have {} rows of logits", nothing.rows());
    Ok(())
}

pub(crate) async fn logits_equal_the_score(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let mut ids = ids(context, &*session).await?;
    // The likeliest token of the last row is scored too: rows that are one off would give it another probability.
    let told = session.logits(&ids).await?;
    let last = row(&told, ids.len() - 1)?;
    let likeliest = last.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(id, _)| id);
    ids.push(u32::try_from(likeliest).unwrap_or(u32::MAX));
    let logits = session.logits(&ids).await?;
    let score = session.score(&ids).await?.log_probabilities;
    ensure!(score.len() == ids.len() - 1, "{} log probabilities for {} tokens", score.len(), ids.len());
    for (index, (&next, &scored)) in ids.iter().skip(1).zip(&score).enumerate() {
        let p = log_probability(row(&logits, index)?, next)?;
        ensure!(
            (p - f64::from(scored)).abs() <= ROUNDING,
            "token {next} after position {index} has log probability {p} by the logits and {scored} by the score"
        );
    }
    Ok(())
}

fn log_probability(row: &[f32], id: u32) -> Result<f64, Failure> {
    let own = row.get(id as usize).copied().map(f64::from);
    let own = own.ok_or_else(|| Failure::new(format_args!("token {id} has no logit")))?;
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    Ok(own - largest - sum.ln())
}

pub(crate) async fn logits_choose_the_greedy_token(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let ids = ids(context, &*session).await?;
    for length in [ids.len(), 1] {
        let prompt = ids.get(..length).unwrap_or_default();
        let request = Request::tokens(prompt.to_vec(), 1);
        let request = if context.capabilities.exact_budget { request.exact() } else { request };
        let answer = context.one(&*session, request).await?;
        let Some(&chosen) = answer.ids.as_ref().and_then(|ids| ids.first()) else {
            return Err(Failure::new("a greedy token without its id: logits cannot be held against it"));
        };
        let logits = session.logits(prompt).await?;
        let last = row(&logits, prompt.len() - 1)?;
        let largest = last.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = last.get(chosen as usize).copied().unwrap_or(f32::NEG_INFINITY);
        // Of two tokens that are as likely but for rounding either may be chosen.
        ensure!(
            f64::from(largest) - f64::from(own) <= ROUNDING,
            "after {length} tokens greedy sampling chooses {chosen} with the logit {own}; the largest is {largest}"
        );
    }
    Ok(())
}

pub(crate) async fn logits_of_what_cannot_be_read_are_refused(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let mut asked = Vec::new();
    if let Some(vocabulary) = session.model().vocabulary {
        asked.push(("an id outside the vocabulary", vec![1, vocabulary, 1]));
        asked.push(("the largest id", vec![u32::MAX]));
    }
    if let Some(most) = session.model().context {
        asked.push(("more tokens than the context", vec![1; most as usize + 1]));
    }
    ensure!(
        !asked.is_empty(),
        "neither vocabulary nor context of the model is known: nothing can be refused"
    );
    for (what, tokens) in asked {
        match session.logits(&tokens).await {
            Err(BackendError::InvalidRequest { .. }) => {}
            Err(error) => {
                return Err(Failure::new(format_args!("{what} ends in {}: {error}", error.code())));
            }
            Ok(logits) => {
                return Err(Failure::new(format_args!("{what} has {} rows of logits", logits.rows())));
            }
        }
    }
    context.one(&*session, context.ordinary()).await?;
    Ok(())
}

pub(crate) async fn dropped_logits_leave_no_trace(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let ids = ids(context, &*session).await?;
    let before = context.one(&*session, context.ordinary()).await?;
    let whole = session.logits(&ids).await?;
    for _ in 0..2 {
        drop(session.logits(&ids)); // Never polled.
        {
            let mut begun = pin!(session.logits(&ids));
            // Polled once: the work is under way, or done.
            let _ = std::future::poll_fn(|cx| Poll::Ready(begun.as_mut().poll(cx).is_ready())).await;
        }
        session.idle().await;
        let again = session.logits(&ids).await?;
        let apart = largest_difference(&whole.values, &again.values);
        ensure!(
            again.rows() == whole.rows() && apart <= ROUNDING,
            "after a drop the same sequence has other logits: {apart} apart"
        );
    }
    let after = context.one(&*session, context.ordinary()).await?;
    if context.capabilities.deterministic {
        ensure!(before.text == after.text, "{:?}, and after dropped logits {:?}", before.text, after.text);
    }
    Ok(())
}
