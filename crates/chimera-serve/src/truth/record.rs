//! What the server logs: one record a request, and the file they make.

use std::{
    io::{BufRead, Write},
    time::SystemTime,
};

use chimera_core::{Clock, Stamp};
use serde::{Deserialize, Serialize};

use super::TruthError;

/// Version of the file format, in its first line.
pub const SCHEMA: &str = "chimera-truth/1";

/// The first line of a log: how its clock relates to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthHeader {
    /// [`SCHEMA`].
    pub schema: String,
    /// The system's monotonic clock (`CLOCK_MONOTONIC`) at stamp 0, in nanoseconds; may be negative for a clock that
    /// began before it. Absent where the system has no such clock.
    pub clock_monotonic_ns: Option<i64>,
    /// Width of the two readings of the clock between which the monotonic clock was read: the error of
    /// `clock_monotonic_ns` is at most this. Nanoseconds.
    pub clock_error_ns: Option<u64>,
    /// Date and time at the start, RFC 3339.
    pub started: String,
    /// The stamp at which `started` was read.
    pub started_at: Stamp,
}

impl TruthHeader {
    pub(super) fn read(clock: &dyn Clock) -> Self {
        let (clock_monotonic_ns, clock_error_ns) = monotonic(clock).unzip();
        Self {
            schema: SCHEMA.to_owned(),
            clock_monotonic_ns,
            clock_error_ns,
            started: crate::script::rfc3339(SystemTime::now()),
            started_at: clock.now(),
        }
    }
}

/// The monotonic clock at stamp 0 and the error, by the narrowest of a few brackets.
#[cfg(target_os = "linux")]
fn monotonic(clock: &dyn Clock) -> Option<(i64, u64)> {
    use nix::time::{ClockId, clock_gettime};
    let mut best = None::<(i64, u64)>;
    for _ in 0..16 {
        let before = clock.now();
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
        let after = clock.now();
        let width = after.0.saturating_sub(before.0);
        let middle = i64::try_from(before.0 + width / 2).ok()?;
        let origin = time.tv_sec() * 1_000_000_000 + time.tv_nsec() - middle;
        if best.is_none_or(|(_, error)| width < error) {
            best = Some((origin, width));
        }
    }
    best
}

#[cfg(not(target_os = "linux"))]
fn monotonic(_: &dyn Clock) -> Option<(i64, u64)> {
    None
}

/// One write call that took bytes. In the file: `[before, after, tokens, bytes]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Stamp, Stamp, u32, u32)", into = "(Stamp, Stamp, u32, u32)")]
pub struct WriteStamp {
    /// Immediately before the call.
    pub before: Stamp,
    /// Immediately after it. The peer can read the bytes from some time between the two.
    pub after: Stamp,
    /// Tokens whose last byte was among the bytes taken.
    pub tokens: u32,
    /// Bytes taken, framing included.
    pub bytes: u32,
}

impl From<(Stamp, Stamp, u32, u32)> for WriteStamp {
    fn from((before, after, tokens, bytes): (Stamp, Stamp, u32, u32)) -> Self {
        Self { before, after, tokens, bytes }
    }
}

impl From<WriteStamp> for (Stamp, Stamp, u32, u32) {
    fn from(w: WriteStamp) -> Self {
        (w.before, w.after, w.tokens, w.bytes)
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Properly, as its framing says.
    Done,
    /// By a FIN that the script asked for.
    Closed,
    /// By a RST that the script asked for.
    Reset,
    /// It stalled as the script asked, until the client left or the server stopped.
    Stalled,
    /// The client left before the end.
    ClientLeft,
    /// The server was stopped before the end.
    Stopped,
    /// The request was malformed, too large or too slow, and was refused.
    Refused,
}

/// What the server did for one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// Number of the request, from 1 in the order in which they were read; also in the answer's `x-chimera-request`.
    pub request: u64,
    /// Number of the connection, from 1 in the order in which they were accepted.
    pub connection: u64,
    /// Method; empty where the head could not be read.
    pub method: String,
    /// Path without the query; empty where the head could not be read.
    pub path: String,
    /// The script's model that answered.
    pub model: Option<String>,
    /// Status of the answer.
    pub status: u16,
    /// When the whole request had been read, and its answer began: the zero of its schedule.
    pub received: Stamp,
    /// Stamps before and after the write call that took the last byte of the head; absent if none did, and for answers
    /// to the letter that bring a head of their own.
    pub head: Option<(Stamp, Stamp)>,
    /// All write calls that took bytes, that of the head included.
    pub writes: Vec<WriteStamp>,
    /// When the answer ended.
    pub end: Stamp,
    /// How.
    pub ending: Ending,
    /// Bytes written.
    pub bytes: u64,
    /// The fault that the script played, by its name.
    pub fault: Option<String>,
}

impl TruthRecord {
    /// Write calls that completed tokens.
    pub fn token_writes(&self) -> impl Iterator<Item = &WriteStamp> + '_ {
        self.writes.iter().filter(|write| write.tokens > 0)
    }

    /// Tokens handed over.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.writes.iter().map(|write| u64::from(write.tokens)).sum()
    }
}

/// All that a server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// How its clock relates to others.
    pub header: TruthHeader,
    /// One record a request, by number.
    pub records: Vec<TruthRecord>,
}

impl Truth {
    /// The record of a request.
    #[must_use]
    pub fn request(&self, number: u64) -> Option<&TruthRecord> {
        self.records
            .binary_search_by_key(&number, |record| record.request)
            .ok()
            .and_then(|i| self.records.get(i))
    }

    /// Writes the log: a header line, then a line a request.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn write(&self, mut to: impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut to, &self.header)?;
        to.write_all(b"\n")?;
        for record in &self.records {
            serde_json::to_writer(&mut to, record)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// Reads a log.
    ///
    /// # Errors
    ///
    /// [`TruthError::Read`] with the number of the line that is none of a log.
    pub fn read(from: impl BufRead) -> Result<Self, TruthError> {
        let wrong = |line: usize, reason: String| TruthError::Read { line, reason };
        let mut lines = from.lines().enumerate();
        let mut next = || {
            lines.next().map(|(i, line)| {
                line.map(|line| (i + 1, line)).map_err(|error| wrong(i + 1, error.to_string()))
            })
        };
        let (_, first) = next().ok_or_else(|| wrong(1, "the log is empty".to_owned()))??;
        let header: TruthHeader =
            serde_json::from_str(&first).map_err(|error| wrong(1, error.to_string()))?;
        if header.schema != SCHEMA {
            return Err(wrong(1, format!("schema `{}`; this program reads `{SCHEMA}`", header.schema)));
        }
        let mut records = Vec::new();
        while let Some(line) = next() {
            let (number, line) = line?;
            records.push(serde_json::from_str(&line).map_err(|error| wrong(number, error.to_string()))?);
        }
        Ok(Self { header, records })
    }
}
