//! Reads a file line by line into one buffer, telling apart a line that ended and one that was cut off. What a line
//! means is not known here.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::RunError;

/// Lines of one file.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    number: u64,
    offset: u64,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Without its end.
    pub bytes: &'a [u8],
    /// From 1.
    pub number: u64,
    /// Where it begins.
    pub offset: u64,
    /// Whether its end was there.
    pub ended: bool,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, RunError> {
        let file = File::open(path).map_err(|error| RunError::io("open", path, error))?;
        Ok(Self {
            path: path.into(),
            reader: BufReader::with_capacity(1 << 18, file),
            buffer: Vec::with_capacity(1 << 10),
            number: 0,
            offset: 0,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, RunError> {
        loop {
            self.buffer.clear();
            let length = self
                .reader
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| RunError::io("read", &self.path, error))?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            let offset = self.offset;
            self.offset += length as u64;
            if self.buffer != b"\n" {
                let ended = self.buffer.last() == Some(&b'\n');
                let end = self.buffer.len() - usize::from(ended);
                let bytes = self.buffer.get(..end).unwrap_or_default();
                return Ok(Some(Line { bytes, number: self.number, offset, ended }));
            }
        }
    }
}
