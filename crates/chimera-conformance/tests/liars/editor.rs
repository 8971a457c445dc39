//! Changes what an honest stream says.

use std::{sync::Arc, time::Duration};

use chimera_core::{
    BackendError, BackendId, Clock, ClockSource, Event, EventKind, FinishReason, Finished, Phase,
    PhaseTiming, Stamp, StreamError,
};

use crate::liar::{Item, Lie};

pub(crate) fn chunk(text: &str) -> EventKind {
    EventKind::Chunk { text: text.into(), tokens: Some(1), id: None }
}

/// Says something else than the stream did.
pub(crate) struct Editor {
    lie: Lie,
    clock: Arc<dyn Clock>,
    padding: u32,
    held: Option<Event>,
    chunks: u32,
}

impl Editor {
    pub(crate) fn new(lie: Lie, clock: Arc<dyn Clock>, padding: u32) -> Self {
        Self { lie, clock, padding, held: None, chunks: 0 }
    }

    pub(crate) fn edit(&mut self, item: Item) -> Vec<Item> {
        let mut event = match item {
            Ok(event) => event,
            Err(error) => {
                return match self.lie {
                    Lie::ErrorBecomesAnEnd => vec![Ok(Event {
                        at: error.at,
                        lane: 0,
                        kind: EventKind::Finished(Finished::new(FinishReason::Stop, None)),
                    })],
                    Lie::ErrorBecomesSilence => Vec::new(),
                    Lie::RefusesLongPromptsWithoutAReason => vec![Err(StreamError {
                        error: BackendError::failed(&BackendId::new("sim"), "status 500"),
                        ..error
                    })],
                    _ => vec![Err(error)],
                };
            }
        };
        let first_of_all = event.kind == EventKind::Sent;
        match self.lie {
            Lie::StampsRunBack if matches!(event.kind, EventKind::PromptProcessed { .. }) => {
                event.at = event.at.after(Duration::ZERO);
                let back = Event { at: Stamp(event.at.0 - 1), ..event.clone() };
                let headers = Event { kind: EventKind::Headers, ..event };
                return vec![Ok(headers), Ok(back)];
            }
            Lie::StampsFromTheFuture => event.at = event.at.after(Duration::from_secs(1)),
            Lie::StampsFromThePast if first_of_all => event.at = Stamp(0),
            Lie::StampsWhenRead => event.at = self.clock.now(),
            Lie::NeverSent if first_of_all => return Vec::new(),
            Lie::ALaneOfNobody => event.lane += 1,
            _ => {}
        }
        match &mut event.kind {
            EventKind::PromptProcessed { tokens, .. } => match self.lie {
                Lie::PromptAfterTheFirstChunk => {
                    self.held = Some(event);
                    return Vec::new();
                }
                Lie::NoPromptEvent => return Vec::new(),
                Lie::CountsPadding => *tokens = Some(self.padding),
                _ => {}
            },
            EventKind::Chunk { text, tokens, id } => {
                self.chunks += 1;
                match self.lie {
                    Lie::HidesCounts => (*tokens, *id) = (None, None),
                    Lie::IdOfSeveralTokens => *tokens = Some(2),
                    Lie::BreaksCharacters if text.is_empty() => text.push('\u{FFFD}'),
                    _ => {}
                }
                if let Some(prompt) = self.held.take() {
                    let late = Event { at: event.at, ..prompt };
                    return vec![Ok(event), Ok(late)];
                }
            }
            EventKind::Finished(end) => {
                self.lie_at_the_end(end);
                match self.lie {
                    Lie::NoEnd => return Vec::new(),
                    Lie::TwoEnds => return vec![Ok(event.clone()), Ok(event)],
                    Lie::GoesOnAfterTheEnd => {
                        let more = Event { kind: chunk("x"), ..event.clone() };
                        return vec![Ok(event), Ok(more)];
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        vec![Ok(event)]
    }

    fn lie_at_the_end(&self, end: &mut Finished) {
        let timing = |phase, nanos| PhaseTiming { phase, nanos, source: ClockSource::Engine };
        match self.lie {
            Lie::CountsWrongly => end.generated = end.generated.map(|n| n + 1),
            Lie::HidesCounts => end.generated = None,
            Lie::CallsEveryEndStop => end.reason = FinishReason::Stop,
            Lie::CallsEveryEndLength => end.reason = FinishReason::Length,
            Lie::FabricatedPhase => end.timings.push(timing(Phase::Tokenize, 0)),
            Lie::PhaseTwice => end.timings.push(timing(Phase::Prefill, 1)),
            Lie::HidesPhases => end.timings.clear(),
            _ => {}
        }
        for timing in &mut end.timings {
            match (self.lie, timing.phase) {
                (Lie::ZeroPrefill, Phase::Prefill)
                | (Lie::ZeroDecode, Phase::Decode)
                | (Lie::PhasesLongerThanTheTotal, Phase::Total) => timing.nanos = 0,
                (Lie::TotalBeyondTheStamps, Phase::Total) => timing.nanos += 1_000_000_000,
                _ => {}
            }
        }
    }
}
