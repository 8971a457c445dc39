//! Token ids and how well they are predicted.

use crate::{Failure, context::Context, table::ensure};

pub(crate) async fn tokens_are_stable(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    for text in [context.fixture().prompt.as_str(), "größer als 数 und 🦀\n", " ", "a"] {
        let first = session.tokenize(text).await?;
        ensure!(!first.is_empty(), "{text:?} has no tokens");
        ensure!(first == session.tokenize(text).await?, "{text:?} has other tokens the second time");
        if let Some(vocabulary) = session.model().vocabulary {
            ensure!(first.iter().all(|id| *id < vocabulary), "an id outside the vocabulary of {vocabulary}");
        }
    }
    let nothing = session.tokenize("").await?;
    ensure!(nothing.is_empty(), "no text has {} tokens: special ones do not belong here", nothing.len());
    Ok(())
}

pub(crate) async fn score_keeps_its_laws(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let ids: Vec<u32> = if context.capabilities.tokenize {
        session.tokenize(&context.fixture().prompt).await?
    } else {
        (1..=8).collect()
    };
    ensure!(ids.len() > 3, "the fixture's prompt has only {} tokens", ids.len());
    let whole = session.score(&ids).await?.log_probabilities;
    ensure!(whole.len() == ids.len() - 1, "{} log probabilities for {} tokens", whole.len(), ids.len());
    for (index, p) in whole.iter().enumerate() {
        ensure!(p.is_finite() && *p <= 0.0, "log probability {index} is {p}");
    }
    let again = session.score(&ids).await?.log_probabilities;
    ensure!(close(&whole, &again), "the same sequence is scored {whole:?}, then {again:?}");
    // Later tokens do not change what was predicted before them.
    let half = ids.get(..ids.len() / 2 + 1).unwrap_or_default();
    let part = session.score(half).await?.log_probabilities;
    let prefix = whole.get(..part.len()).unwrap_or_default();
    ensure!(
        part.len() + 1 == half.len() && close(prefix, &part),
        "a prefix is scored {part:?}, not {prefix:?}"
    );
    let single = session.score(ids.get(..1).unwrap_or_default()).await?.log_probabilities;
    ensure!(single.is_empty(), "one token has {} log probabilities", single.len());
    Ok(())
}

/// Equal but for rounding: sums of another order may differ in the last bits.
fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 0.01)
}
