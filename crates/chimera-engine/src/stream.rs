//! The consumer's side of a generation: submits the batch when first polled, turns token ids into text as they are
//! read, and cancels when it is dropped.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use chimera_core::{BackendError, Batch, Event, EventKind, Finished, StreamError};
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_core::Stream;

use crate::{
    Utf8Assembler,
    generation::{Happened, Job, Raw, RawItem},
    worker::{Shared, Task},
};

enum State {
    Waiting(Batch),
    Running(UnboundedReceiver<RawItem>),
    Over,
}

/// Events of one batch on a worker thread.
pub(crate) struct EngineStream {
    shared: Arc<Shared>,
    state: State,
    cancelled: Arc<AtomicBool>,
    texts: Vec<Utf8Assembler>,
    open: usize,
}

impl EngineStream {
    pub(crate) fn new(shared: Arc<Shared>, batch: Batch) -> Self {
        let lanes = batch.0.len();
        Self {
            shared,
            state: State::Waiting(batch),
            cancelled: Arc::new(AtomicBool::new(false)),
            texts: vec![Utf8Assembler::default(); lanes],
            open: lanes,
        }
    }

    fn fail(&mut self, error: BackendError) -> Poll<Option<Result<Event, StreamError>>> {
        self.state = State::Over;
        Poll::Ready(Some(Err(StreamError::all(self.shared.clock.now(), error))))
    }

    fn event(&mut self, raw: Raw) -> Event {
        let kind = match raw.what {
            Happened::Sent => EventKind::Sent,
            Happened::PromptProcessed { tokens } => {
                EventKind::PromptProcessed { tokens: Some(tokens), cached: Some(0) }
            }
            Happened::Token(id) => {
                let bytes = self.shared.tokenizer.as_ref().map(|t| t.bytes(id)).unwrap_or_default();
                let text = self.texts.get_mut(raw.lane as usize).map(|t| t.push(&bytes)).unwrap_or_default();
                EventKind::Chunk { text, tokens: Some(1), id: Some(id) }
            }
            Happened::Finished { reason, generated, timings } => {
                self.open = self.open.saturating_sub(1);
                EventKind::Finished(Finished::new(reason, Some(generated)).timings(timings))
            }
        };
        Event { at: raw.at, lane: raw.lane, kind }
    }
}

impl Stream for EngineStream {
    type Item = Result<Event, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Waiting(batch) = &mut self.state {
            let batch = std::mem::replace(batch, Batch(Vec::new()));
            let (events, receiver) = unbounded();
            let job = Job {
                batch,
                submitted: self.shared.clock.now(),
                cancelled: Arc::clone(&self.cancelled),
                events,
            };
            if let Err(error) = self.shared.submit(Task::Generate(job)) {
                return self.fail(error);
            }
            self.state = State::Running(receiver);
        }
        let State::Running(receiver) = &mut self.state else { return Poll::Ready(None) };
        match Pin::new(receiver).poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(raw))) => {
                let event = self.event(raw);
                Poll::Ready(Some(Ok(event)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.state = State::Over;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) if self.open == 0 => {
                self.state = State::Over;
                Poll::Ready(None)
            }
            // The worker's end of the channel went away with lanes still open.
            Poll::Ready(None) => {
                let error = self.shared.gone();
                self.fail(error)
            }
        }
    }
}

impl Drop for EngineStream {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
    }
}
