//! One answer being played on one connection: which bytes are next, when they are due, and the record of what was taken.

use std::{
    io::{ErrorKind, IoSlice, Write},
    sync::Arc,
    time::Duration,
};

use chimera_core::{Clock, Stamp};

use crate::script::Times;

use super::{
    compile::{Lead, Prepared, Then},
    record::{Ending, TruthRecord, WriteStamp},
    route::Routed,
};

/// Most bytes of one write call: stamps around larger ones would say little about their first bytes.
const WRITE: usize = 128 << 10;
/// Most bytes of one turn, so that no answer keeps others waiting.
const TURN: usize = 1 << 20;

/// An answer under way.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) record: TruthRecord,
    prepared: Arc<Prepared>,
    prompt_tokens: u32,
    load: Duration,
    /// The client asked for the connection to be closed.
    close: bool,
    piece: usize,
    started: bool,
    /// Turns of an endless piece: nanoseconds after its first.
    again: u64,
    lead: Vec<u8>,
    lead_at: usize,
    lead_is_head: bool,
    at: usize,
    mark: usize,
    first: Option<Stamp>,
    last: Option<Stamp>,
}

/// Why a play does not go on for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next piece is due then.
    Due(Stamp),
    /// The system takes no more bytes for now.
    Blocked,
    /// Others are to have their turn.
    Yield,
    /// Nothing more, ever.
    Stalled,
    /// It is over.
    Ended(Ending, Fate),
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Shut,
    Reset,
}

impl Play {
    pub(super) fn new(record: TruthRecord, routed: Routed, close: bool) -> Self {
        Self {
            record,
            close: close || routed.prepared.closes,
            prepared: routed.prepared,
            prompt_tokens: routed.prompt_tokens,
            load: routed.load,
            piece: 0,
            started: false,
            again: 0,
            lead: Vec::new(),
            lead_at: 0,
            lead_is_head: false,
            at: 0,
            mark: 0,
            first: None,
            last: None,
        }
    }

    /// Writes what is due and what the system takes.
    pub(super) fn advance(&mut self, mut to: impl Write, clock: &dyn Clock) -> Turn {
        let prepared = Arc::clone(&self.prepared);
        let zero = self.record.received.after(self.load);
        let mut taken = 0;
        loop {
            let Some(piece) = prepared.pieces.get(self.piece) else { return self.over(Then::End) };
            if !self.started {
                let due = zero.after(Duration::from_nanos(piece.due.saturating_add(self.again)));
                if clock.now() < due {
                    return Turn::Due(due);
                }
                self.started = true;
                self.at = piece.range.start;
                self.mark = piece.mark;
                self.lead_at = 0;
                self.lead_is_head = false;
                self.lead.clear();
                match &piece.lead {
                    Lead::None => {}
                    Lead::Head => self.head(&prepared),
                    Lead::Summary(summary) => {
                        let bytes = summary.render_for(&self.times(clock.now()), self.prompt_tokens);
                        if prepared.chunked && !bytes.is_empty() {
                            self.lead.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
                            self.lead.extend_from_slice(&bytes);
                            self.lead.extend_from_slice(b"\r\n");
                        } else {
                            self.lead = bytes;
                        }
                    }
                }
            }
            while self.lead_at < self.lead.len() || self.at < piece.range.end {
                if taken >= TURN {
                    return Turn::Yield;
                }
                let end = piece.range.end.min(self.at + WRITE);
                let parts = [
                    IoSlice::new(self.lead.get(self.lead_at..).unwrap_or_default()),
                    IoSlice::new(prepared.blob.get(self.at..end).unwrap_or_default()),
                ];
                // An empty first part costs the system more than a plain write.
                let before = clock.now();
                let result = match parts[0].len() {
                    0 => to.write(&parts[1]),
                    _ => to.write_vectored(&parts),
                };
                let after = clock.now();
                match result {
                    Ok(0) => return self.left(),
                    Ok(n) => {
                        taken += n;
                        self.took(&prepared, n, before, after);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Blocked,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return self.left(),
                }
            }
            self.started = false;
            match piece.then {
                Then::Next => self.piece += 1,
                Then::Again(every) => self.again = self.again.saturating_add(every),
                // The piece stays, with nothing to write: a stall has no end of its own.
                Then::Stall => {
                    self.started = true;
                    return Turn::Stalled;
                }
                end => return self.over(end),
            }
        }
    }

    fn head(&mut self, prepared: &Prepared) {
        self.lead.extend_from_slice(&prepared.head);
        if self.close && !prepared.closes {
            self.lead.extend_from_slice(b"connection: close\r\n");
        }
        self.lead.extend_from_slice(format!("x-chimera-request: {}\r\n\r\n", self.record.request).as_bytes());
        self.lead_is_head = true;
    }

    fn times(&self, now: Stamp) -> Times {
        let received = self.record.received;
        let between = |from: Stamp, to: Stamp| to.since(from).unwrap_or_default();
        Times {
            total: between(received, now),
            load: self.load,
            prefill: between(received.after(self.load), self.first.unwrap_or(now)),
            decode: self.first.zip(self.last).map(|(first, last)| between(first, last)).unwrap_or_default(),
        }
    }

    fn took(&mut self, prepared: &Prepared, n: usize, before: Stamp, after: Stamp) {
        let of_lead = n.min(self.lead.len() - self.lead_at);
        self.lead_at += of_lead;
        if of_lead > 0 && self.lead_is_head && self.lead_at == self.lead.len() {
            self.record.head = Some((before, after));
        }
        self.at += n - of_lead;
        let counted = |marks: usize| match marks.checked_sub(1) {
            Some(last) => prepared.marks.get(last).map_or(0, |(_, tokens)| *tokens),
            None => 0,
        };
        let until = counted(self.mark);
        let passed = prepared.marks.get(self.mark..).unwrap_or_default();
        self.mark += passed.partition_point(|(offset, _)| *offset <= self.at);
        let tokens = counted(self.mark) - until;
        if tokens > 0 {
            self.first.get_or_insert(before);
            self.last = Some(after);
        }
        self.record.bytes += n as u64;
        self.record.writes.push(WriteStamp {
            before,
            after,
            tokens,
            bytes: u32::try_from(n).unwrap_or(u32::MAX),
        });
    }

    fn left(&self) -> Turn {
        Turn::Ended(Ending::ClientLeft, Fate::Shut)
    }

    fn over(&self, then: Then) -> Turn {
        match then {
            Then::Close => Turn::Ended(Ending::Closed, Fate::Shut),
            Then::Reset => Turn::Ended(Ending::Reset, Fate::Reset),
            _ if self.record.ending == Ending::Refused => Turn::Ended(Ending::Refused, Fate::Shut),
            _ => Turn::Ended(Ending::Done, if self.close { Fate::Shut } else { Fate::Keep }),
        }
    }
}
