//! What TensorRT says while it works. The library knows one logger per process, so there is one here; a caller notes
//! where it stands before a step and reads afterwards what was said since.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, ThreadId},
};

use trtx::{LogHandler, Logger, Severity};

/// Lines that are kept. A build of a large model says some ten thousand; its list of layers comes last.
const KEPT: usize = 4096;

struct Line {
    thread: ThreadId,
    severity: Severity,
    message: String,
}

struct Lines {
    /// Lines that were ever said.
    said: u64,
    last: VecDeque<Line>,
}

static LINES: Mutex<Lines> = Mutex::new(Lines { said: 0, last: VecDeque::new() });

fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Collector;

impl LogHandler for Collector {
    fn log(&self, severity: Severity, message: &str) {
        match severity {
            Severity::InternalError | Severity::Error => tracing::warn!(target: "tensorrt", "{message}"),
            Severity::Warning | Severity::Info => tracing::debug!(target: "tensorrt", "{message}"),
            Severity::Verbose => tracing::trace!(target: "tensorrt", "{message}"),
        }
        let mut lines = lines();
        lines.said += 1;
        if lines.last.len() == KEPT {
            lines.last.pop_front();
        }
        lines.last.push_back(Line { thread: thread::current().id(), severity, message: message.to_owned() });
    }
}

/// The process's logger.
pub(crate) fn logger() -> Result<&'static Logger, String> {
    static LOGGER: OnceLock<Result<Logger, String>> = OnceLock::new();
    LOGGER
        .get_or_init(|| Logger::new(Collector).map_err(|error| error.to_string()))
        .as_ref()
        .map_err(Clone::clone)
}

/// A place in what was said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here(u64);

/// Where it stands.
pub(crate) fn here() -> Here {
    Here(lines().said)
}

impl Here {
    /// Reads what was said since.
    fn since<T>(self, read: impl Fn(&mut dyn DoubleEndedIterator<Item = &Line>) -> T) -> T {
        let lines = lines();
        let new = usize::try_from(lines.said.saturating_sub(self.0)).unwrap_or(usize::MAX);
        read(&mut lines.last.iter().skip(lines.last.len().saturating_sub(new)))
    }

    /// The errors that this thread was told since, joined; `otherwise` where there were none.
    pub(crate) fn errors(self, otherwise: &str) -> String {
        let me = thread::current().id();
        let said: Vec<String> = self.since(|lines| {
            lines
                .filter(|line| line.thread == me && line.severity <= Severity::Error)
                .map(|line| line.message.trim().to_owned())
                .collect()
        });
        if said.is_empty() { otherwise.to_owned() } else { said.join("; ") }
    }

    /// The list of an engine's layers, which a builder with detailed verbosity writes at its end, on whichever thread.
    pub(crate) fn layers(self) -> Option<String> {
        self.since(|lines| {
            lines.rev().find(|line| line.message.starts_with("Layers:")).map(|line| line.message.clone())
        })
    }
}
