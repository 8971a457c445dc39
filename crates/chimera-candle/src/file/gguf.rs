//! Reads a GGUF file, versions 2 and 3: metadata, tensor descriptions, and the bytes of one tensor at a time. Every
//! length is checked against the file's size before memory is asked for, so that a damaged file gives an error.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::quantized::GgmlDType;

use crate::error::LoadError;

/// A metadata value. Integers of all widths are one kind, and so are floats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Bools(Vec<bool>),
    /// Arrays of arrays, which no key that is read here has.
    Nested,
}

/// Where a tensor is and how it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Description {
    /// Rows first, the reverse of the file's order.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: GgmlDType,
    offset: u64,
    bytes: u64,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct GgufFile {
    path: PathBuf,
    file: File,
    data: u64,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Description>,
}

impl GgufFile {
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(|e| LoadError::io(path, e))?;
        let size = file.metadata().map_err(|e| LoadError::io(path, e))?.len();
        let mut header = Header { path, inner: BufReader::with_capacity(1 << 16, &file), read: 0, size };
        let (metadata, tensors, data) = header.read_all()?;
        Ok(Self { path: path.to_owned(), file, data, metadata, tensors })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn unsigned(&self, key: &str) -> Option<u64> {
        match *self.value(key)? {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        match *self.value(key)? {
            Value::Float(x) => Some(x),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match *self.value(key)? {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// Takes a value out, so that a large one is not copied.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.metadata.remove(key)
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&Description> {
        self.tensors.get(name)
    }

    /// Bytes of a tensor as they are stored.
    pub(crate) fn bytes(&self, tensor: &Description) -> Result<Vec<u8>, LoadError> {
        let io = |e| LoadError::io(&self.path, e);
        let mut bytes = vec![0; usize::try_from(tensor.bytes).unwrap_or(usize::MAX)];
        (&self.file).seek(SeekFrom::Start(self.data + tensor.offset)).map_err(io)?;
        (&self.file).read_exact(&mut bytes).map_err(io)?;
        Ok(bytes)
    }
}

type Contents = (HashMap<String, Value>, HashMap<String, Description>, u64);

struct Header<'a> {
    path: &'a Path,
    inner: BufReader<&'a File>,
    read: u64,
    size: u64,
}

impl Header<'_> {
    fn read_all(&mut self) -> Result<Contents, LoadError> {
        if &self.array::<4>()? != b"GGUF" {
            return Err(self.invalid("it does not begin with GGUF"));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(self.invalid(format!("GGUF version {version} is not 2 or 3")));
        }
        let (tensors, values) = (self.u64()?, self.u64()?);
        // The least that an entry takes: a length, a type and a byte; a length, a rank, a type and an offset.
        self.room(tensors, 24)?;
        self.room(values, 13)?;
        let mut metadata = HashMap::new();
        for _ in 0..values {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, 0)?;
            metadata.insert(key, value);
        }
        let mut found = Vec::new();
        for _ in 0..tensors {
            let name = self.text()?;
            found.push((name.clone(), self.description(&name)?));
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(&Value::Unsigned(n)) if n.is_power_of_two() && n <= 1 << 20 => n,
            Some(other) => return Err(self.invalid(format!("general.alignment is {other:?}"))),
        };
        let data = self.read.next_multiple_of(alignment);
        let room = self.size.saturating_sub(data);
        for (name, tensor) in &found {
            if tensor.offset.checked_add(tensor.bytes).is_none_or(|end| end > room) {
                return Err(self.invalid(format!(
                    "tensor {name} of {} bytes at {} goes beyond the {room} bytes of data",
                    tensor.bytes, tensor.offset
                )));
            }
        }
        Ok((metadata, found.into_iter().collect(), data))
    }

    fn description(&mut self, name: &str) -> Result<Description, LoadError> {
        let rank = self.u32()?;
        if rank > 4 {
            return Err(self.invalid(format!("tensor {name} has {rank} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            let dimension = self.u64()?;
            shape.push(usize::try_from(dimension).unwrap_or(usize::MAX));
        }
        shape.reverse();
        let number = self.u32()?;
        let offset = self.u64()?;
        let kind = kind(number)
            .ok_or_else(|| LoadError::Unsupported(format!("tensor {name} of GGUF type {number}")))?;
        let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        let row = shape.last().copied().unwrap_or(1);
        let block = kind.block_size() as u64;
        let bytes = elements
            .filter(|_| (row as u64).is_multiple_of(block))
            .and_then(|n| (n / block).checked_mul(kind.type_size() as u64))
            .ok_or_else(|| self.invalid(format!("tensor {name} of {kind:?} has the shape {shape:?}")))?;
        Ok(Description { shape, kind, offset, bytes })
    }

    fn value(&mut self, kind: u32, depth: u8) -> Result<Value, LoadError> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => self.array_value(depth)?,
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(self.invalid(format!("metadata of type {other}"))),
        })
    }

    fn array_value(&mut self, depth: u8) -> Result<Value, LoadError> {
        let kind = self.u32()?;
        let length = self.u64()?;
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            9 => 12,
            _ => 8,
        };
        self.room(length, least)?;
        if depth > 8 {
            return Err(self.invalid("metadata arrays are nested too deeply"));
        }
        let mut value = match kind {
            0..=5 | 10 | 11 => Value::Integers(Vec::new()),
            6 | 12 => Value::Floats(Vec::new()),
            7 => Value::Bools(Vec::new()),
            8 => Value::Texts(Vec::new()),
            _ => Value::Nested,
        };
        for _ in 0..length {
            match (self.value(kind, depth + 1)?, &mut value) {
                (Value::Unsigned(n), Value::Integers(all)) => all.push(i64::try_from(n).unwrap_or(i64::MAX)),
                (Value::Signed(n), Value::Integers(all)) => all.push(n),
                (Value::Float(x), Value::Floats(all)) => all.push(x as f32),
                (Value::Bool(b), Value::Bools(all)) => all.push(b),
                (Value::Text(text), Value::Texts(all)) => all.push(text),
                _ => {}
            }
        }
        Ok(value)
    }

    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.u64()?;
        self.room(length, 1)?;
        let mut bytes = vec![0; length as usize];
        self.inner.read_exact(&mut bytes).map_err(|e| LoadError::io(self.path, e))?;
        self.read += length;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    fn u32(&mut self) -> Result<u32, LoadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|e| LoadError::io(self.path, e))?;
        self.read += N as u64;
        Ok(bytes)
    }

    /// Fails unless `count` things of at least `least` bytes can still follow.
    fn room(&self, count: u64, least: u64) -> Result<(), LoadError> {
        let left = self.size.saturating_sub(self.read);
        match count.checked_mul(least) {
            Some(needed) if needed <= left => Ok(()),
            _ => Err(self.invalid(format!("{count} entries do not fit into the {left} bytes that follow"))),
        }
    }

    fn invalid(&self, what: impl Into<String>) -> LoadError {
        LoadError::invalid(self.path, what)
    }
}

/// ggml's numbers of types.
fn kind(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// The name of a type as it is written in model names.
pub(crate) fn kind_name(kind: GgmlDType) -> &'static str {
    match kind {
        GgmlDType::F32 => "F32",
        GgmlDType::F16 => "F16",
        GgmlDType::BF16 => "BF16",
        GgmlDType::Q4_0 => "Q4_0",
        GgmlDType::Q4_1 => "Q4_1",
        GgmlDType::Q5_0 => "Q5_0",
        GgmlDType::Q5_1 => "Q5_1",
        GgmlDType::Q8_0 => "Q8_0",
        GgmlDType::Q8_1 => "Q8_1",
        GgmlDType::Q2K => "Q2_K",
        GgmlDType::Q3K => "Q3_K",
        GgmlDType::Q4K => "Q4_K",
        GgmlDType::Q5K => "Q5_K",
        GgmlDType::Q6K => "Q6_K",
        GgmlDType::Q8K => "Q8_K",
    }
}
