//! Reads a safetensors file: a JSON header with names, types, shapes and byte ranges, then the bytes. Every range is
//! checked against the file's size before anything is read.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::error::LoadError;

/// Longest header that is believed; the format's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// An open file.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    data: u64,
    entries: HashMap<String, Entry>,
}

/// A tensor as F32, with the name of the type it was stored in.
pub(crate) struct Read32 {
    pub(crate) values: Vec<f32>,
    pub(crate) shape: Vec<usize>,
    pub(crate) stored: &'static str,
}

impl SafetensorsFile {
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let io = |e| LoadError::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER || length > size.saturating_sub(8) {
            let what = format!("its header claims {length} bytes of a file of {size}");
            return Err(LoadError::invalid(path, what));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let header: HashMap<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|e| LoadError::invalid(path, format!("its header: {e}")))?;
        let data = 8 + length;
        let mut entries = HashMap::with_capacity(header.len());
        for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
            let entry: Entry = serde_json::from_value(value)
                .map_err(|e| LoadError::invalid(path, format!("its header, tensor {name}: {e}")))?;
            check(&entry, size - data)
                .map_err(|what| LoadError::invalid(path, format!("tensor {name} {what}")))?;
            entries.insert(name, entry);
        }
        Ok(Self { path: path.to_owned(), file, data, entries })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Reads a tensor and widens it to F32.
    pub(crate) fn read(&mut self, name: &str) -> Result<Read32, LoadError> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| LoadError::invalid(&self.path, format!("tensor {name} is missing")))?;
        let (begin, end) = entry.data_offsets;
        let mut bytes = vec![0; (end - begin) as usize];
        self.file.seek(SeekFrom::Start(self.data + begin)).map_err(|e| LoadError::io(&self.path, e))?;
        self.file.read_exact(&mut bytes).map_err(|e| LoadError::io(&self.path, e))?;
        let (values, stored) = match entry.dtype.as_str() {
            "F32" => (f32s(&bytes), "F32"),
            "F16" => (f16s(&bytes), "F16"),
            "BF16" => (bf16s(&bytes), "BF16"),
            other => return Err(LoadError::unsupported(format!("tensor {name} of type {other}"))),
        };
        Ok(Read32 { values, shape: entry.shape.clone(), stored })
    }
}

fn check(entry: &Entry, room: u64) -> Result<(), String> {
    let (begin, end) = entry.data_offsets;
    if begin > end || end > room {
        return Err(format!("has bytes {begin} to {end} of {room}"));
    }
    let width = match entry.dtype.as_str() {
        "F32" | "I32" | "U32" => 4u64,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "F64" | "I64" | "U64" => 8,
        _ => 1,
    };
    let bytes = entry.shape.iter().try_fold(width, |n, &d| n.checked_mul(d as u64));
    if bytes != Some(end - begin) {
        return Err(format!("has {} bytes for shape {:?} of {}", end - begin, entry.shape, entry.dtype));
    }
    Ok(())
}

pub(crate) fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

pub(crate) fn f16s(bytes: &[u8]) -> Vec<f32> {
    use half::slice::HalfFloatSliceExt;
    let halves: Vec<half::f16> =
        bytes.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b)).collect();
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    values
}

pub(crate) fn bf16s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()
}
