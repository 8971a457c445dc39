//! What came of one request, judged by the contract and by what is documented for a fault.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chimera_core::{Batch, EventKind, Finished, Session, Stamp};
use futures_util::StreamExt;

use crate::adapter::{Adapter, BUDGET, KEY, WORDS};

/// No request takes longer, whatever the server does.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// What is documented for a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The whole text: the fault is none.
    Text,
    /// One of these errors.
    Error(&'static [&'static str]),
    /// Either.
    Either(&'static [&'static str]),
}

/// What came.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) end: Result<Finished, (&'static str, String)>,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Asks, and checks what holds of every stream: one end, nothing after it, stamps that never run back.
    pub(crate) fn of(session: &Arc<dyn Session>, adapter: Adapter) -> Result<Self, String> {
        let begun = Instant::now();
        let mut stream = session.generate(Batch::from(adapter.request()));
        let (mut text, mut end, mut last) = (String::new(), None, Stamp::default());
        let wrong = async_io::block_on(async {
            while let Some(event) = stream.next().await {
                if end.is_some() {
                    return Some(format!("{event:?} after the end"));
                }
                let at = event.as_ref().map_or_else(|error| error.at, |event| event.at);
                if at < last {
                    return Some(format!("{event:?} at {at:?}, after {last:?}"));
                }
                last = at;
                match event {
                    Err(error) => end = Some(Err((error.error.code(), error.error.to_string()))),
                    Ok(event) => match event.kind {
                        EventKind::Chunk { text: more, .. } => text.push_str(&more),
                        EventKind::Finished(finished) => end = Some(Ok(finished)),
                        _ => {}
                    },
                }
            }
            None
        });
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let end = end.ok_or("the stream has no end")?;
        Ok(Self { text, end, took: begun.elapsed() })
    }

    /// Whether it is what is documented; why not otherwise.
    pub(crate) fn judge(&self, want: Want) -> Result<(), String> {
        if self.took > BOUND {
            return Err(format!("it took {:?}", self.took));
        }
        match (&self.end, want) {
            (Ok(finished), Want::Text | Want::Either(_)) => {
                if self.text != WORDS.concat() {
                    return Err(format!("a success with the text {:?}", self.text));
                }
                // A counter that cannot be is no counter.
                match finished.generated {
                    Some(generated) if generated > BUDGET + 8 => {
                        Err(format!("{generated} tokens of {BUDGET}"))
                    }
                    _ => Ok(()),
                }
            }
            (Err((code, told)), Want::Error(codes) | Want::Either(codes)) => {
                if !codes.contains(code) {
                    return Err(format!("`{code}` instead of {codes:?}: {told}"));
                }
                if told.trim().is_empty() || told.len() > 2_000 || told.contains(KEY) {
                    return Err(format!("a message of {} bytes: {told:.300}", told.len()));
                }
                if !WORDS.concat().starts_with(&self.text) && !self.text.chars().all(|c| "xyHel".contains(c))
                {
                    return Err(format!("text that nobody said: {:.300?}", self.text));
                }
                Ok(())
            }
            (Ok(_), Want::Error(codes)) => {
                Err(format!("a success with {:?} instead of {codes:?}", self.text))
            }
            (Err((code, told)), Want::Text) => Err(format!("`{code}` instead of a success: {told}")),
        }
    }
}
