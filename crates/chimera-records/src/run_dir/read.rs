//! Reads records back. A run that is under way or was killed can be read: only its last line may be cut off.

use std::{collections::BTreeSet, path::Path};

use serde::de::DeserializeOwned;

use super::{
    RunError,
    lines::{Line, Lines},
};
use crate::{QualityKey, QualityRecord, TokenStamps, Trial};

/// A last line that cannot be read: what a crash or a run under way leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its number, from 1.
    pub line: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// The trials of a run in the order of their ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trials {
    /// Every trial that has a whole line. A trial that was run again has several, of different attempts.
    pub trials: Vec<Trial>,
    /// The last line, when it was cut off.
    pub damage: Option<Damage>,
}

/// What was found out about the arms of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QualityRecords {
    /// In the order in which it was found out; of several answers to one question the first.
    pub records: Vec<QualityRecord>,
    /// The last line, when it was cut off.
    pub damage: Option<Damage>,
}

impl QualityRecords {
    /// Questions that have their answer, be it that nothing could be measured.
    #[must_use]
    pub fn answered(&self) -> BTreeSet<QualityKey> {
        self.records.iter().map(QualityRecord::key).collect()
    }
}

pub(super) fn quality(path: &Path) -> Result<QualityRecords, RunError> {
    let mut read = QualityRecords::default();
    if !path.exists() {
        return Ok(read);
    }
    let mut lines = Lines::open(path)?;
    let mut answered = BTreeSet::new();
    while let Some(parsed) = parse_next::<QualityRecord>(&mut lines)? {
        match parsed {
            Ok(record) if answered.insert(record.key()) => read.records.push(record),
            Ok(_) => {}
            Err(damage) => read.damage = Some(damage),
        }
    }
    Ok(read)
}

pub(super) fn trials(path: &Path) -> Result<Trials, RunError> {
    let mut lines = Lines::open(path)?;
    let mut read = Trials::default();
    while let Some(parsed) = parse_next(&mut lines)? {
        match parsed {
            Ok(trial) => read.trials.push(trial),
            Err(damage) => read.damage = Some(damage),
        }
    }
    Ok(read)
}

/// The next record, or the damage when it is a last line that was cut off.
fn parse_next<T: DeserializeOwned>(lines: &mut Lines) -> Result<Option<Result<T, Damage>>, RunError> {
    let Some(Line { bytes, number, offset, ended }) = lines.next()? else {
        return Ok(None);
    };
    match serde_json::from_slice(bytes) {
        Ok(record) => Ok(Some(Ok(record))),
        // Only a line without its end can have been cut off, and nothing can follow it.
        Err(error) if !ended => {
            let bytes = bytes.len() as u64;
            Ok(Some(Err(Damage { line: number, offset, bytes, reason: error.to_string() })))
        }
        Err(error) => {
            let reason = error.to_string();
            Err(RunError::Corrupt { path: lines.path().into(), line: number, reason })
        }
    }
}

/// Token stamps, one line at a time: nothing is kept. A last line that was cut off ends it.
#[derive(Debug)]
pub struct Events {
    lines: Lines,
    ended: bool,
}

impl Events {
    pub(super) fn open(path: &Path) -> Result<Self, RunError> {
        Ok(Self { lines: Lines::open(path)?, ended: false })
    }
}

impl Iterator for Events {
    type Item = Result<TokenStamps, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match parse_next(&mut self.lines) {
            Ok(Some(Ok(stamps))) => Some(Ok(stamps)),
            Ok(Some(Err(_)) | None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}
