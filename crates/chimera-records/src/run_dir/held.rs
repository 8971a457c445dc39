//! A file that this process has locked. The lock is advisory: it keeps our own programs apart, nobody else.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::RunError;

/// How long a lock may be held by nobody: a process that was just started holds copies of its parent's files until it
/// becomes another program, also when the parent is killed in that moment.
const PATIENCE: Duration = Duration::from_millis(100);

/// A locked file. Dropping it unlocks it.
#[derive(Debug)]
pub(super) struct Held(File);

impl Held {
    /// Locks the file, or says that somebody else has it.
    pub(super) fn take(file: File, path: &Path) -> Result<Self, RunError> {
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(RunError::Busy { path: path.into() }),
                Err(TryLockError::Error(error)) => return Err(RunError::io("lock", path, error)),
            }
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing would not do: a process that another thread is starting may have a copy of the file for a moment, and
        // the lock lasts as long as any copy. If this fails, closing unlocks it a moment later.
        let _ = self.0.unlock();
    }
}
