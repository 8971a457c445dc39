//! Where records go as requests end: memory, or a run directory through a thread of its own, so that writing never
//! delays a request.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

use chimera_records::{RunError, TokenStamps, Trial, TrialWriter};

use crate::LoadError;

/// Records that wait for the disk before the run waits for it too.
const WAITING: usize = 1 << 14;

/// Takes the records of a load run.
pub trait Sink {
    /// A request ended.
    ///
    /// # Errors
    /// It cannot be kept: the run stops.
    fn trial(&mut self, trial: Trial, stamps: Option<TokenStamps>) -> Result<(), LoadError>;

    /// A block ended: make everything last.
    ///
    /// # Errors
    /// It cannot be kept.
    fn finish(&mut self) -> Result<(), LoadError>;
}

/// Keeps records in memory: simulations and tests.
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    /// Trials in the order of their ends.
    pub trials: Vec<Trial>,
    /// Token stamps of completed requests.
    pub stamps: Vec<TokenStamps>,
}

impl Sink for MemorySink {
    fn trial(&mut self, trial: Trial, stamps: Option<TokenStamps>) -> Result<(), LoadError> {
        self.trials.push(trial);
        self.stamps.extend(stamps);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), LoadError> {
        Ok(())
    }
}

enum Job {
    Keep(Box<Trial>, Option<TokenStamps>),
    Sync(SyncSender<()>),
}

/// Writes a run directory from a thread of its own. Turning a record into text and handing it to the kernel takes tens
/// of microseconds; on the issuing thread that would be an issue error of the request that is due meanwhile.
#[derive(Debug)]
pub struct WriterSink {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl WriterSink {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`LoadError::WriterGone`] when the system gives no thread.
    pub fn new(writer: TrialWriter) -> Result<Self, LoadError> {
        let (jobs, queue) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("load-records".to_owned())
            .spawn(move || write(writer, &queue))
            .map_err(|_| LoadError::WriterGone)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn send(&mut self, job: Job) -> Result<(), LoadError> {
        match self.jobs.as_ref().map(|jobs| jobs.send(job)) {
            Some(Ok(())) => Ok(()),
            _ => self.join(),
        }
    }

    /// What the thread died of.
    fn join(&mut self) -> Result<(), LoadError> {
        self.jobs = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(LoadError::Records(error)),
            _ => Err(LoadError::WriterGone),
        }
    }
}

fn write(mut writer: TrialWriter, queue: &Receiver<Job>) -> Result<(), RunError> {
    for job in queue {
        match job {
            Job::Keep(trial, stamps) => writer.append(&trial, stamps.as_slice())?,
            Job::Sync(done) => {
                writer.sync()?;
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }
    writer.sync()
}

impl Sink for WriterSink {
    fn trial(&mut self, trial: Trial, stamps: Option<TokenStamps>) -> Result<(), LoadError> {
        self.send(Job::Keep(Box::new(trial), stamps))
    }

    fn finish(&mut self) -> Result<(), LoadError> {
        let (done, wait) = sync_channel(1);
        self.send(Job::Sync(done))?;
        match wait.recv() {
            Ok(()) => Ok(()),
            Err(_) => self.join(),
        }
    }
}

impl Drop for WriterSink {
    fn drop(&mut self) {
        // Closing the queue lets the thread write what is left; an error was told by `finish`, or nobody asked.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
