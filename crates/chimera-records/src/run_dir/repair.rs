//! Mends the end of a file of records after a crash. Nothing before the last line is touched or read.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::{RunError, held::Held};
use crate::{QualityRecord, TokenStamps, Trial};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Trial,
    Stamps,
    Quality,
}

impl Kind {
    fn is_whole(self, line: &[u8]) -> bool {
        match self {
            Kind::Trial => serde_json::from_slice::<Trial>(line).is_ok(),
            Kind::Stamps => serde_json::from_slice::<TokenStamps>(line).is_ok(),
            Kind::Quality => serde_json::from_slice::<QualityRecord>(line).is_ok(),
        }
    }
}

/// Removes or completes a last line that lacks its end; says what it did.
pub(super) fn tail(path: &Path, name: &str, kind: Kind) -> Result<Option<String>, RunError> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .open(path)
        .map_err(|error| RunError::io("open", path, error))?;
    let mut held = Held::take(file, path)?;
    let (offset, tail) = last_line(held.file()).map_err(|error| RunError::io("read", path, error))?;
    if tail.is_empty() {
        return Ok(None);
    }
    let mend = |file: &mut File| -> io::Result<String> {
        let done = if kind.is_whole(&tail) {
            file.write_all(b"\n")?;
            format!("{name}: the last line lacked its end and was completed")
        } else {
            file.set_len(offset)?;
            format!("{name}: {} bytes of a last line that was cut off were removed", tail.len())
        };
        file.sync_data()?;
        Ok(done)
    };
    mend(held.file()).map(Some).map_err(|error| RunError::io("repair", path, error))
}

/// What follows the last line end, and where it begins.
fn last_line(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    const STEP: u64 = 1 << 16;
    let mut start = file.metadata()?.len();
    let mut tail = Vec::new();
    while start > 0 {
        let length = start.min(STEP);
        start -= length;
        file.seek(SeekFrom::Start(start))?;
        let mut part = Vec::new();
        file.take(length).read_to_end(&mut part)?;
        if let Some(end) = part.iter().rposition(|byte| *byte == b'\n') {
            let mut line = part.split_off(end + 1);
            line.append(&mut tail);
            return Ok((start + end as u64 + 1, line));
        }
        part.append(&mut tail);
        tail = part;
    }
    Ok((0, tail))
}
