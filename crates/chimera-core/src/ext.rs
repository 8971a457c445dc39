//! Conveniences for callers, written once on top of the contract. Adapters never implement these.

use std::{future::Future, sync::Arc};

use futures_util::StreamExt;

use crate::{
    Batch, EventKind, FinishReason, InferenceBackend, LoadOptions, ModelRef, Request, Result, Session,
    StreamError,
};

/// What one lane said, without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// All text.
    pub text: String,
    /// Ids of the tokens, where every chunk told its own.
    pub ids: Option<Vec<u32>>,
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens generated, when known.
    pub generated: Option<u32>,
    /// Prompt tokens, when told.
    pub prompt: Option<u32>,
}

/// Callers' side of [`InferenceBackend`].
pub trait BackendExt: InferenceBackend {
    /// Loads a model by name with default options.
    fn load_named(&self, model: &str) -> impl Future<Output = Result<Arc<dyn Session>>> + Send {
        let model = ModelRef::named(model);
        async move { self.load(&model, &LoadOptions::default()).await }
    }
}
impl<B: InferenceBackend + ?Sized> BackendExt for B {}

/// Callers' side of [`Session`].
pub trait SessionExt: Session {
    /// Runs one request to its end.
    fn run(&self, request: Request) -> impl Future<Output = Result<Generation, StreamError>> + Send {
        let mut events = self.generate(Batch::from(request));
        async move {
            let mut text = String::new();
            let mut ids = Some(Vec::new());
            let mut prompt = None;
            let mut last = crate::Stamp::default();
            while let Some(event) = events.next().await {
                let event = event?;
                last = event.at;
                match event.kind {
                    EventKind::Chunk { text: part, id, .. } => {
                        text.push_str(&part);
                        match (id, &mut ids) {
                            (Some(id), Some(ids)) => ids.push(id),
                            _ => ids = None,
                        }
                    }
                    EventKind::PromptProcessed { tokens, .. } => prompt = tokens,
                    EventKind::Finished(end) => {
                        let prompt = prompt.or(end.prompt);
                        return Ok(Generation {
                            text,
                            ids,
                            reason: end.reason,
                            generated: end.generated,
                            prompt,
                        });
                    }
                    _ => {}
                }
            }
            // The name of the backend is not known to a session; the law checker names it where it matters.
            Err(StreamError::all(
                last,
                crate::BackendError::Protocol {
                    backend: crate::BackendId::new("session"),
                    detail: "the stream ended without a terminal event".into(),
                },
            ))
        }
    }

    /// Text of one request.
    fn generate_text(&self, request: Request) -> impl Future<Output = Result<String, StreamError>> + Send {
        let run = self.run(request);
        async move { Ok(run.await?.text) }
    }
}
impl<S: Session + ?Sized> SessionExt for S {}
