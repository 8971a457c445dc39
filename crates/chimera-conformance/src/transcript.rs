//! All that a stream said, read under the law: order, counts, and stamps between the clock readings around them.

use chimera_core::{Clock, Event, EventKind, EventStream, Finished, Law, Stamp, StreamError};
use futures_util::StreamExt;

use crate::{Failure, table::ensure};

/// More items than any honest answer of a suite has: a stream that never ends must not hang the reader.
const MOST_ITEMS: usize = 100_000;

/// What one stream said.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) items: Vec<Result<Event, StreamError>>,
    lanes: usize,
    ended: Result<(), Failure>,
}

/// What one lane said, with its end.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) text: String,
    /// `None` unless every chunk told its id.
    pub(crate) ids: Option<Vec<u32>>,
    /// `None` unless every chunk told its count.
    pub(crate) tokens: Option<u32>,
    pub(crate) sent: Stamp,
    /// When the prompt was processed, its tokens, and how many of them were cached.
    pub(crate) prompt: Option<(Stamp, Option<u32>, Option<u32>)>,
    pub(crate) chunks: Vec<Stamp>,
    pub(crate) end: Finished,
    pub(crate) ended: Stamp,
}

impl Transcript {
    /// Reads a stream of `lanes` lanes to its end.
    ///
    /// # Errors
    /// An item that breaks the law of the stream, or a stamp outside the clock's readings. A stream that ends too early
    /// is kept for [`Self::ended`].
    pub(crate) async fn read(
        clock: &dyn Clock,
        mut stream: EventStream,
        lanes: usize,
    ) -> Result<Self, Failure> {
        let began = clock.now();
        let mut law = Law::new(lanes);
        let mut items = Vec::new();
        while let Some(item) = stream.next().await {
            let now = clock.now();
            let at = item.as_ref().map_or_else(|error| error.at, |event| event.at);
            ensure!(at >= began, "a stamp {} from before the request at {}", at.0, began.0);
            ensure!(at <= now, "a stamp {} from after it was read at {}", at.0, now.0);
            law.see(&item)?;
            if let Ok(Event { kind: EventKind::Chunk { tokens, id: Some(_), .. }, .. }) = &item {
                ensure!(*tokens == Some(1), "a chunk with an id and a count of {tokens:?}");
            }
            items.push(item);
            ensure!(items.len() < MOST_ITEMS, "a stream that does not end");
        }
        Ok(Self { items, lanes, ended: law.end().map_err(Failure::from) })
    }

    /// The first error of the stream.
    pub(crate) fn error(&self) -> Option<&StreamError> {
        self.items.iter().find_map(|item| item.as_ref().err())
    }

    /// Whether every lane has its end.
    pub(crate) fn ended(&self) -> Result<(), Failure> {
        self.ended.clone()
    }

    /// Whether some lane finished well.
    pub(crate) fn finished(&self) -> bool {
        self.items.iter().flatten().any(|event| matches!(event.kind, EventKind::Finished(_)))
    }

    /// The lanes of an answer that should have no error.
    pub(crate) fn lanes(self) -> Result<Vec<Lane>, Failure> {
        if let Some(error) = self.error() {
            return Err(Failure::new(format_args!("an error that was not expected: {error}")));
        }
        self.ended()?;
        let lanes = u32::try_from(self.lanes).unwrap_or(u32::MAX);
        (0..lanes).map(|lane| Lane::of(&self.items, lane)).collect()
    }
}

impl Lane {
    fn of(items: &[Result<Event, StreamError>], lane: u32) -> Result<Self, Failure> {
        let (mut text, mut ids, mut tokens) = (String::new(), Some(Vec::new()), Some(0));
        let (mut sent, mut prompt, mut chunks, mut end) = (Stamp::default(), None, Vec::new(), None);
        for event in items.iter().flatten().filter(|event| event.lane == lane) {
            match &event.kind {
                EventKind::Sent => sent = event.at,
                EventKind::PromptProcessed { tokens, cached } => prompt = Some((event.at, *tokens, *cached)),
                EventKind::Chunk { text: part, tokens: count, id } => {
                    text.push_str(part);
                    tokens = tokens.zip(*count).map(|(sum, count)| sum + count);
                    ids = ids.zip(*id).map(|(mut ids, id)| {
                        ids.push(id);
                        ids
                    });
                    chunks.push(event.at);
                }
                EventKind::Finished(finished) => end = Some((finished.clone(), event.at)),
                _ => {}
            }
        }
        let Some((end, ended)) = end else {
            return Err(Failure::new(format_args!("lane {lane} has no end")));
        };
        Ok(Self { text, ids, tokens, sent, prompt, chunks, end, ended })
    }

    /// Tokens generated, by the end or by the chunks.
    pub(crate) fn generated(&self) -> Option<u32> {
        self.end.generated.or(self.tokens)
    }
}
