//! The laws of an event stream, as a checker that reads events one by one. It judges order and counts; what a backend
//! says about tokens is compared by `chimera-conformance`, and the harness runs this checker on every trial.

use std::fmt;

use crate::{Event, EventKind, Stamp, StreamError};

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lane {lane}: {what}")]
pub struct LawBreach {
    /// Lane that broke it.
    pub lane: u32,
    /// What was seen.
    pub what: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    last: Option<Stamp>,
    sent: bool,
    headers: bool,
    prompt: bool,
    /// Prompt tokens told so far.
    read: Option<u32>,
    chunks: bool,
    carried: Option<u32>,
    ended: bool,
}

/// Checks that each lane sees `Sent`, optional `Headers`, optional `PromptProcessed`, chunks, then one end; that stamps
/// never run back; and that a reported token count equals what the chunks carried, where both are known.
#[derive(Debug, Clone)]
pub struct Law {
    lanes: Vec<Lane>,
}

impl Law {
    /// A checker for a batch of `lanes`.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self { lanes: vec![Lane { carried: Some(0), ..Lane::default() }; lanes] }
    }

    /// Reads one item of the stream.
    ///
    /// # Errors
    /// The law that the item breaks. The checker can go on after a breach.
    pub fn see(&mut self, item: &Result<Event, StreamError>) -> Result<(), LawBreach> {
        match item {
            Ok(event) => self.event(event),
            Err(error) => self.error(error),
        }
    }

    fn error(&mut self, error: &StreamError) -> Result<(), LawBreach> {
        match error.lane {
            None => {
                for lane in &mut self.lanes {
                    lane.ended = true;
                }
                Ok(())
            }
            Some(index) => {
                let lane = self.lane(index)?;
                if std::mem::replace(&mut lane.ended, true) {
                    return Err(breach(index, "an error after the lane's end"));
                }
                Ok(())
            }
        }
    }

    fn lane(&mut self, index: u32) -> Result<&mut Lane, LawBreach> {
        self.lanes
            .get_mut(index as usize)
            .ok_or_else(|| breach(index, "an event of a lane that was not asked for"))
    }

    fn event(&mut self, event: &Event) -> Result<(), LawBreach> {
        let index = event.lane;
        let lane = self.lane(index)?;
        if lane.ended {
            return Err(breach(index, "an event after the lane's end"));
        }
        if let Some(last) = lane.last
            && event.at < last
        {
            return Err(breach(index, format_args!("a stamp runs back from {} to {}", last.0, event.at.0)));
        }
        lane.last = Some(event.at);
        let first = !lane.sent;
        match &event.kind {
            EventKind::Sent if lane.sent => return Err(breach(index, "sent twice")),
            EventKind::Sent => lane.sent = true,
            _ if first => return Err(breach(index, "an event before it was sent")),
            EventKind::Headers if lane.headers || lane.prompt || lane.chunks => {
                return Err(breach(index, "headers twice, or after the answer began"));
            }
            EventKind::Headers => lane.headers = true,
            EventKind::PromptProcessed { tokens, cached } => {
                if lane.prompt || lane.chunks {
                    return Err(breach(index, "the prompt was processed twice, or after a chunk"));
                }
                if let (Some(tokens), Some(cached)) = (tokens, cached)
                    && cached > tokens
                {
                    return Err(breach(index, "more cached tokens than prompt tokens"));
                }
                lane.prompt = true;
                lane.read = *tokens;
            }
            EventKind::Chunk { tokens, .. } => {
                lane.chunks = true;
                lane.carried = lane.carried.zip(*tokens).map(|(sum, n)| sum + n);
            }
            EventKind::Finished(end) => {
                lane.ended = true;
                if let (Some(prompt), Some(cached)) = (end.prompt.or(lane.read), end.cached)
                    && cached > prompt
                {
                    return Err(breach(index, "more cached tokens than prompt tokens"));
                }
                if let (Some(first), Some(last)) = (lane.read, end.prompt)
                    && first != last
                {
                    return Err(breach(
                        index,
                        format_args!("a prompt of {first} tokens became one of {last}"),
                    ));
                }
                if let (Some(said), Some(carried)) = (end.generated, lane.carried)
                    && said != carried
                {
                    return Err(breach(
                        index,
                        format_args!("{said} tokens reported, {carried} carried by chunks"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// To be called when the stream has ended.
    ///
    /// # Errors
    /// The first lane that neither finished nor failed: a truncated stream.
    pub fn end(&self) -> Result<(), LawBreach> {
        match self.lanes.iter().position(|lane| !lane.ended) {
            None => Ok(()),
            Some(index) => Err(breach(
                u32::try_from(index).unwrap_or(u32::MAX),
                "the stream ended without a terminal event",
            )),
        }
    }
}

fn breach(lane: u32, what: impl fmt::Display) -> LawBreach {
    LawBreach { lane, what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BackendError, BackendId, FinishReason, Finished};

    fn ok(at: u64, kind: EventKind) -> Result<Event, StreamError> {
        Ok(Event { at: Stamp(at), lane: 0, kind })
    }
    fn chunk() -> EventKind {
        EventKind::Chunk { text: "x".into(), tokens: Some(1), id: None }
    }
    fn end(n: u32) -> EventKind {
        EventKind::Finished(Finished::new(FinishReason::Length, Some(n)))
    }
    fn judge(items: &[Result<Event, StreamError>]) -> Result<(), LawBreach> {
        let mut law = Law::new(1);
        for item in items {
            law.see(item)?;
        }
        law.end()
    }
    fn prompt() -> EventKind {
        EventKind::PromptProcessed { tokens: Some(1), cached: Some(0) }
    }

    #[test]
    fn a_lawful_lane_passes() {
        judge(&[ok(1, EventKind::Sent), ok(2, prompt()), ok(2, chunk()), ok(3, chunk()), ok(3, end(2))])
            .unwrap();
    }

    #[test]
    fn each_breach_is_named() {
        let error = || {
            Err(StreamError {
                at: Stamp(9),
                lane: Some(0),
                error: BackendError::Closed { backend: BackendId::new("b") },
            })
        };
        let told = |prompt, cached| {
            let end = Finished::new(FinishReason::Stop, None);
            EventKind::Finished(Finished { prompt: Some(prompt), cached, ..end })
        };
        let cases: [(&str, Vec<Result<Event, StreamError>>); 11] = [
            ("before it was sent", vec![ok(1, chunk())]),
            ("sent twice", vec![ok(1, EventKind::Sent), ok(1, EventKind::Sent)]),
            ("runs back", vec![ok(2, EventKind::Sent), ok(1, prompt())]),
            ("after a chunk", vec![ok(1, EventKind::Sent), ok(1, chunk()), ok(1, prompt())]),
            (
                "headers twice",
                vec![ok(1, EventKind::Sent), ok(1, EventKind::Headers), ok(1, EventKind::Headers)],
            ),
            ("2 tokens reported, 1 carried", vec![ok(1, EventKind::Sent), ok(1, chunk()), ok(1, end(2))]),
            ("after the lane's end", vec![ok(1, EventKind::Sent), ok(1, end(0)), ok(1, chunk())]),
            ("error after", vec![ok(1, EventKind::Sent), ok(1, end(0)), error()]),
            ("became one of 2", vec![ok(1, EventKind::Sent), ok(1, prompt()), ok(1, told(2, None))]),
            ("more cached", vec![ok(1, EventKind::Sent), ok(1, told(2, Some(3)))]),
            ("without a terminal", vec![ok(1, EventKind::Sent), ok(1, chunk())]),
        ];
        for (expected, items) in cases {
            let breach = judge(&items).expect_err(expected);
            assert!(breach.to_string().contains(expected), "{breach} should say {expected}");
        }
        judge(&[ok(1, EventKind::Sent), error()]).unwrap();
    }
}
