//! Appends records: each line is one write(2) to a file opened for appending, so that a kill at any moment leaves whole
//! lines and at most one that is cut off. Forcing them to disk happens at the end of a block.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{EVENTS, QUALITY, RunError, TRIALS, held::Held};
use crate::{QualityRecord, TokenStamps, Trial};

/// The one writer of a run's records.
#[derive(Debug)]
pub struct TrialWriter {
    trials: Appender,
    events: Appender,
}

impl TrialWriter {
    pub(super) fn open(run: &Path) -> Result<Self, RunError> {
        let trials = Appender::open(run.join(TRIALS))?;
        let events = Appender::open(run.join(EVENTS))?;
        Ok(Self { trials, events })
    }

    /// Records a trial and its token stamps. The stamps are written first: a trial that has its line has them.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Io`]; then the line that did not fit is taken back, and what was recorded
    /// before stands.
    pub fn append(&mut self, trial: &Trial, stamps: &[TokenStamps]) -> Result<(), RunError> {
        for stamps in stamps {
            self.events.append(stamps)?;
        }
        self.trials.append(trial)
    }

    /// Records token stamps whose trial is recorded separately: a merge copies them.
    pub(super) fn append_stamps(&mut self, stamps: &TokenStamps) -> Result<(), RunError> {
        self.events.append(stamps)
    }

    /// Forces everything to disk. Called at the end of a block.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Io`].
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.events.sync()?;
        self.trials.sync()
    }
}

/// The one writer of `quality.jsonl`.
#[derive(Debug)]
pub struct QualityWriter(Appender);

impl QualityWriter {
    pub(super) fn open(run: &Path) -> Result<Self, RunError> {
        let path = run.join(QUALITY);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| RunError::io("make", &path, error))?;
        Appender::open(path).map(Self)
    }

    /// Records one answer.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Io`]; then the line that did not fit is taken back.
    pub fn append(&mut self, record: &QualityRecord) -> Result<(), RunError> {
        self.0.append(record)
    }

    /// Forces everything to disk.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Io`].
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.0.sync()
    }
}

#[derive(Debug)]
struct Appender {
    path: PathBuf,
    held: Held,
    length: u64,
    buffer: Vec<u8>,
}

impl Appender {
    fn open(path: PathBuf) -> Result<Self, RunError> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(|error| RunError::io("open", &path, error))?;
        let mut held = Held::take(file, &path)?;
        let length = ends_with_a_line(held.file()).map_err(|error| RunError::io("read", &path, error))?;
        match length {
            Some(length) => Ok(Self { path, held, length, buffer: Vec::with_capacity(4096) }),
            None => Err(RunError::Unrepaired { path }),
        }
    }

    fn append(&mut self, record: &impl Serialize) -> Result<(), RunError> {
        self.buffer.clear();
        let written =
            serde_json::to_writer(&mut self.buffer, record).map_err(io::Error::from).and_then(|()| {
                self.buffer.push(b'\n');
                write_whole(self.held.file(), &self.buffer)
            });
        match written {
            Ok(()) => {
                self.length += self.buffer.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Take back the part that was written. If even that fails, the repair of a resume does it.
                let _ = self.held.file().set_len(self.length);
                Err(RunError::io("append to", &self.path, error))
            }
        }
    }

    fn sync(&mut self) -> Result<(), RunError> {
        match self.held.file().sync_data() {
            // Files that are no files (a device in a test) have nothing to force.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                Err(RunError::io("sync", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

/// One write(2) as a rule. The kernel may take less when the disk is nearly full; the rest is tried once more, which
/// either succeeds or tells why.
fn write_whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Length of the file when it is empty or its last line is whole.
fn ends_with_a_line(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(Some(0));
    }
    file.seek(SeekFrom::Start(length - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok((last == *b"\n").then_some(length))
}
