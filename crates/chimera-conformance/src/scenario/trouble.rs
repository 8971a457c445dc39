//! Errors are errors: refused, broken and cut off answers never look like short ones.

use std::sync::Arc;

use chimera_core::{
    BackendError, InferenceBackend, Message, Prompt, Request, Role, SessionExt,
    decorate::{FaultPlan, Faulty, StreamFault},
};

use crate::{Breakage, Failure, context::Context, table::ensure};

pub(crate) async fn too_long_prompt_is_refused(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let prompt = match (&context.fixture().too_long, session.model().context) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(context)) => " x".repeat(context as usize + 8),
        (None, None) => {
            return Err(Failure::new(
                "the model's context is not known: give the fixture a prompt that is too long",
            ));
        }
    };
    let answer = context.read(&*session, context.ask(prompt, 1).into()).await?;
    ensure!(!answer.finished(), "a prompt longer than the context is answered");
    match answer.error().map(|error| &error.error) {
        Some(BackendError::InvalidRequest { .. }) => {}
        Some(error) => {
            return Err(Failure::new(format_args!("not invalid-request but {}: {error}", error.code())));
        }
        None => return Err(Failure::new("a prompt longer than the context is neither answered nor refused")),
    }
    context.one(&*session, context.ordinary()).await?;
    Ok(())
}

/// A backend whose first two generations break, and whether the adapter's own decoder has to notice.
fn broken(context: &Context<'_>, how: Breakage) -> (Arc<dyn InferenceBackend>, bool) {
    let fixture = context.fixture();
    if let Some(make) = &fixture.broken {
        return (make(fixture, how), true);
    }
    // After `Sent` and one event more.
    let fault = match how {
        Breakage::Error => {
            StreamFault::Error { at: 2, error: |backend| BackendError::failed(backend, "an injected fault") }
        }
        Breakage::Truncated => StreamFault::Truncate { at: 2 },
    };
    let plan = FaultPlan::none().generation(0, fault).generation(1, fault);
    (Arc::new(Faulty::new(Arc::clone(&context.subject.backend), plan)), false)
}

pub(crate) async fn error_mid_stream_is_an_error(context: &Context<'_>) -> Result<(), Failure> {
    let (backend, _) = broken(context, Breakage::Error);
    let session = backend.load(&context.fixture().model, &context.fixture().options).await?;
    let answer = context.read(&*session, context.ordinary().into()).await?;
    ensure!(answer.error().is_some(), "an error in the middle of the answer is lost");
    ensure!(!answer.finished(), "an answer that failed is a short success");
    answer.ended()?;
    ensure!(session.run(context.ordinary()).await.is_err(), "a caller sees a success");
    session.idle().await;
    context.one(&*session, context.ordinary()).await?;
    Ok(())
}

pub(crate) async fn truncated_stream_is_noticed(context: &Context<'_>) -> Result<(), Failure> {
    let (backend, by_the_adapter) = broken(context, Breakage::Truncated);
    let session = backend.load(&context.fixture().model, &context.fixture().options).await?;
    let answer = context.read(&*session, context.ordinary().into()).await?;
    ensure!(!answer.finished(), "an answer that was cut off is a short success");
    if by_the_adapter {
        ensure!(answer.error().is_some(), "an answer that was cut off has no error");
    } else {
        ensure!(answer.ended().is_err(), "the law of the stream does not see that it was cut off");
    }
    ensure!(session.run(context.ordinary()).await.is_err(), "a caller sees a success");
    session.idle().await;
    context.one(&*session, context.ordinary()).await?;
    Ok(())
}

pub(crate) async fn what_is_disclaimed_is_refused(context: &Context<'_>) -> Result<(), Failure> {
    let session = context.load().await?;
    let able = &context.capabilities;
    let prompt = context.fixture().prompt.as_str();
    let chat = [Message { role: Role::User, content: prompt.into() }];
    let asked = [
        (able.exact_budget, "an exact budget", Request::text(prompt, 2).exact()),
        (able.prefill_only, "a prefill alone", Request::text(prompt, 0)),
        (able.token_prompts, "a prompt of token ids", Request::tokens(vec![1, 2, 3], 2)),
        (able.chat, "a chat", Request::new(Prompt::Chat(chat.into()), 2)),
    ];
    for (_, what, request) in asked.into_iter().filter(|(declared, ..)| !declared) {
        let answer = context.read(&*session, request.into()).await?;
        let outcome = answer.error().map_or(Ok(()), |error| Err(&error.error));
        refused(what, outcome)?;
        ensure!(!answer.finished(), "{what} is refused and finishes");
    }
    if !able.tokenize {
        refused("tokenisation", session.tokenize("x").await.as_ref().map(|_| ()))?;
    }
    if !able.scoring {
        refused("scoring", session.score(&[1, 2]).await.as_ref().map(|_| ()))?;
    }
    if !able.logits {
        refused("logits", session.logits(&[1, 2]).await.as_ref().map(|_| ()))?;
    }
    context.one(&*session, context.ordinary()).await?;
    Ok(())
}

fn refused(what: &str, outcome: Result<(), &BackendError>) -> Result<(), Failure> {
    match outcome {
        Err(BackendError::Unsupported { .. }) => Ok(()),
        Err(error) => {
            Err(Failure::new(format_args!("{what} is not declared and ends in {}: {error}", error.code())))
        }
        Ok(()) => Err(Failure::new(format_args!("{what} works and is not declared"))),
    }
}
