//! A server that plays a [`Script`] to the letter and logs when it wrote what, on the clock of its process: the ground
//! truth that clients are judged by. It measures nobody, and it is no place for real models.
//!
//! One thread does all: it sleeps until bytes arrive or a step is due, and hands bytes to the system. It does not spin:
//! a step may go out late, and never early; what counts is the stamp, and that is exact. Every write call is stamped
//! immediately before and immediately after. The peer can read the bytes from some time between the two, so the true
//! lag of a client with the same clock lies between its receive stamp minus `after` and its receive stamp minus `before`.
//!
//! # The log
//!
//! A file of JSON lines. The first is a [`TruthHeader`]: `schema`; `clock_monotonic_ns`, the system's monotonic clock at
//! stamp 0, with which stamps of other processes of the same machine can be compared; `clock_error_ns`, the width of
//! the bracket it was read in; `started` and `started_at`, a date and its stamp. Each further line is a
//! [`TruthRecord`], in the order of the requests:
//!
//! ```json
//! {"request":1,"connection":1,"method":"POST","path":"/api/generate","model":"steady","status":200,"received":52000,
//!  "head":[150061000,150080000],"writes":[[150061000,150080000,1,310],[170059000,170071000,1,121]],
//!  "end":190070000,"ending":"done","bytes":431,"fault":null}
//! ```
//!
//! Stamps are nanoseconds of the clock that the server was given. `writes` are `[before, after, tokens, bytes]`: a token
//! counts where its last byte was taken by the system, also when a write was taken in parts. A client's record joins
//! the truth by the header `x-chimera-request` of the answer, or by the order of requests.

mod compile;
mod event_loop;
mod parse;
mod play;
mod record;
mod route;
mod timer;

use std::{
    fs::File,
    io::{self, BufWriter},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use chimera_core::Clock;

use crate::script::{Script, ScriptError};

pub use record::{Ending, SCHEMA, Truth, TruthHeader, TruthRecord, WriteStamp};

/// Why there is no truth.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; is another server running there? Port 0 takes any free port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The script cannot be played.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The log cannot be made or written.
    #[error("the log {path}: {source}; an existing log is never overwritten")]
    Log {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A log that is none.
    #[error("line {line} of the log: {reason}")]
    Read {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The system refused a poller or a thread.
    #[error("the server cannot run: {0}")]
    Io(#[from] io::Error),
    /// The server's thread ended before it was stopped.
    #[error("the server ended by itself: {0}")]
    Ended(String),
}

/// Where and how a server runs.
#[derive(Debug, Clone)]
pub struct TruthOptions {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The clock of all stamps: that of the client, where both are one process. It must run in real time.
    pub clock: Arc<dyn Clock>,
    /// Where [`TruthServer::stop`] writes the log. The file is made at the start and must not exist.
    pub log: Option<PathBuf>,
}

impl TruthOptions {
    /// A free port of the loopback interface, and no log.
    #[must_use]
    pub fn loopback(clock: Arc<dyn Clock>) -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 0)), clock, log: None }
    }
}

/// What the server takes from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest head of a request, in bytes; beyond it 431.
    pub head: usize,
    /// Largest body of a request, in bytes; beyond it 413.
    pub body: usize,
    /// Longest time from the first byte of a request (or the accept) to its last; beyond it 408.
    pub request: Duration,
    /// Longest time that a kept connection may be idle; beyond it the connection is closed.
    pub idle: Duration,
    /// Most connections at once; further ones are closed as they come.
    pub connections: usize,
}

impl Default for Limits {
    /// 64 KiB, 64 MiB, 30 s, 10 min, 4,096.
    fn default() -> Self {
        Self {
            head: 64 << 10,
            body: 64 << 20,
            request: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            connections: 4096,
        }
    }
}

/// What the thread and the handle share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    records: Mutex<Vec<TruthRecord>>,
}

/// A running server. Dropping it stops it; the log is written then too, but errors of writing go unseen.
#[derive(Debug)]
pub struct TruthServer {
    addr: SocketAddr,
    header: TruthHeader,
    shared: Arc<Shared>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<io::Result<()>>>,
    log: Option<(PathBuf, File)>,
}

impl TruthServer {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Errors
    ///
    /// [`TruthError::Script`] for a script that cannot be played, [`TruthError::Bind`], [`TruthError::Log`] for a log
    /// that exists or cannot be made, [`TruthError::Io`] where the system refuses a poller or a thread.
    pub fn start(script: Script, options: TruthOptions) -> Result<Self, TruthError> {
        Self::start_with(script, options, Limits::default())
    }

    /// [`TruthServer::start`] with other limits.
    ///
    /// # Errors
    ///
    /// As [`TruthServer::start`].
    pub fn start_with(script: Script, options: TruthOptions, limits: Limits) -> Result<Self, TruthError> {
        let TruthOptions { bind, clock, log } = options;
        script.check()?;
        let log = log
            .map(|path| match File::create_new(&path) {
                Ok(file) => Ok((path, file)),
                Err(source) => Err(TruthError::Log { path, source }),
            })
            .transpose()?;
        let header = TruthHeader::read(&*clock);
        let listener =
            mio::net::TcpListener::bind(bind).map_err(|source| TruthError::Bind { addr: bind, source })?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let router = route::Router::new(script);
        let (event_loop, waker) =
            event_loop::EventLoop::new(listener, clock, limits, router, Arc::clone(&shared))?;
        let thread =
            std::thread::Builder::new().name("truth-server".to_owned()).spawn(move || event_loop.run())?;
        Ok(Self { addr, header, shared, waker, thread: Some(thread), log })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The root of its addresses, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How its clock relates to others.
    #[must_use]
    pub fn header(&self) -> &TruthHeader {
        &self.header
    }

    /// The answers that have ended so far, by number of the request. A record is closed a moment after the last write
    /// of its answer, so a client may have read all before the record is here; [`TruthServer::stop`] misses nothing.
    #[must_use]
    pub fn records(&self) -> Vec<TruthRecord> {
        sorted(self.shared.records.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Ends all answers where they are, closes the server, and writes the log where there is one.
    ///
    /// # Errors
    ///
    /// [`TruthError::Log`] when the log cannot be written, [`TruthError::Ended`] when the server had ended by itself.
    pub fn stop(mut self) -> Result<Truth, TruthError> {
        self.end()
    }

    fn end(&mut self) -> Result<Truth, TruthError> {
        self.shared.stop.store(true, Ordering::Release);
        // It fails only where the thread is gone, which the next line tells.
        let woken = self.waker.wake();
        let thread = self.thread.take();
        match thread.map(JoinHandle::join) {
            Some(Ok(ended)) => ended.map_err(|error| TruthError::Ended(error.to_string()))?,
            Some(Err(_)) => return Err(TruthError::Ended("its thread panicked".to_owned())),
            None => woken?,
        }
        let records =
            std::mem::take(&mut *self.shared.records.lock().unwrap_or_else(PoisonError::into_inner));
        let truth = Truth { header: self.header.clone(), records: sorted(records) };
        if let Some((path, file)) = self.log.take() {
            truth.write(BufWriter::new(file)).map_err(|source| TruthError::Log { path, source })?;
        }
        Ok(truth)
    }
}

impl Drop for TruthServer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // There is nobody left to tell.
            let _ = self.end();
        }
    }
}

fn sorted(mut records: Vec<TruthRecord>) -> Vec<TruthRecord> {
    records.sort_unstable_by_key(|record| record.request);
    records
}
