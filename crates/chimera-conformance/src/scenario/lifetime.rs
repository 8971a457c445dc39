//! From load to unload.

use chimera_core::BackendError;

use crate::{Failure, context::Context, table::ensure};

pub(crate) async fn unload_closes(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let before = context.one(&*session, context.ordinary()).await?;
    session.unload().await?;
    session.unload().await.map_err(|error| Failure::new(format_args!("a second unload fails: {error}")))?;

    let answer = context.read(&*session, context.ordinary().into()).await?;
    match answer.error() {
        Some(error) => closed("generate", Err(&error.error))?,
        None => return Err(Failure::new("a closed session generates")),
    }
    ensure!(!answer.finished(), "a closed session fails and finishes");
    if context.capabilities.tokenize {
        closed("tokenize", session.tokenize("x").await.as_ref().map(|_| ()))?;
    }
    if context.capabilities.scoring {
        closed("score", session.score(&[1, 2]).await.as_ref().map(|_| ()))?;
    }
    if context.capabilities.logits {
        closed("logits", session.logits(&[1, 2]).await.as_ref().map(|_| ()))?;
    }
    session.idle().await;

    let again = context.load().await?;
    let after = context.one(&*again, context.ordinary()).await?;
    if context.capabilities.deterministic {
        ensure!(before.text == after.text, "{:?}, and loaded again {:?}", before.text, after.text);
    }
    Ok(())
}

fn closed(what: &str, outcome: Result<(), &BackendError>) -> Result<(), Failure> {
    match outcome {
        Err(BackendError::Closed { .. }) => Ok(()),
        Err(error) => Err(Failure::new(format_args!("{what} after unload is {}: {error}", error.code()))),
        Ok(()) => Err(Failure::new(format_args!("{what} works after unload"))),
    }
}
