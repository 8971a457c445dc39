//! Reads a GGUF file, versions 2 and 3: metadata, tensor descriptions, and the bytes of one tensor at a time. Every
//! length is checked against the file's size before memory is asked for, so that a damaged file gives an error.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Encoding, FileError};
use crate::{ChatError, ChatTemplate, tokenizer::GgufVocabulary};

/// A metadata value. Integers of all widths are one kind, and so are floats.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants are the format's own types, widened")]
pub enum Value {
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
pub struct Description {
    /// Rows first, the reverse of the file's order.
    pub shape: Vec<usize>,
    /// The type of its values.
    pub kind: Encoding,
    /// Where its bytes begin, counted from the end of the header.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// An open file.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    file: File,
    data: u64,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Description>,
}

impl GgufFile {
    /// Reads the metadata and the descriptions of all tensors.
    ///
    /// # Errors
    /// The file cannot be read, is no GGUF, is cut short, or names bytes outside itself.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path).map_err(|e| FileError::io(path, e))?;
        let size = file.metadata().map_err(|e| FileError::io(path, e))?.len();
        let mut header = Header { path, inner: BufReader::with_capacity(1 << 16, &file), read: 0, size };
        let (metadata, tensors, data) = header.read_all()?;
        Ok(Self { path: path.to_owned(), file, data, metadata, tensors })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The text of a key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of a key, unless it is negative.
    #[must_use]
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        match *self.value(key)? {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// The float of a key.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f64> {
        match *self.value(key)? {
            Value::Float(x) => Some(x),
            _ => None,
        }
    }

    /// The truth value of a key.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match *self.value(key)? {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// Takes a value out, so that a large one is not copied.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.metadata.remove(key)
    }

    /// Description of a tensor.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Description> {
        self.tensors.get(name)
    }

    /// Names and descriptions of all tensors, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Description)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Ids that end an answer.
    #[must_use]
    pub fn end_of_sequence(&self) -> Vec<u32> {
        ["eos", "eot"]
            .iter()
            .filter_map(|key| self.unsigned(&format!("tokenizer.ggml.{key}_token_id")))
            .filter_map(|id| u32::try_from(id).ok())
            .collect()
    }

    /// Takes out what the file says of its tokenizer; `None` when it says nothing.
    pub fn vocabulary(&mut self) -> Option<GgufVocabulary> {
        let key = |key: &str| format!("tokenizer.ggml.{key}");
        let model = self.text(&key("model"))?.to_owned();
        let id = |file: &Self, k: &str| file.unsigned(&key(k)).and_then(|n| u32::try_from(n).ok());
        let mut v = GgufVocabulary { model, ..Default::default() };
        v.pre = self.text(&key("pre")).map(str::to_owned);
        v.begin = id(self, "bos_token_id");
        v.unknown = id(self, "unknown_token_id");
        v.add_begin = self.flag(&key("add_bos_token"));
        v.add_space_prefix = self.flag(&key("add_space_prefix"));
        if let Some(Value::Texts(tokens)) = self.take(&key("tokens")) {
            v.tokens = tokens;
        }
        if let Some(Value::Texts(merges)) = self.take(&key("merges")) {
            v.merges = merges;
        }
        if let Some(Value::Floats(scores)) = self.take(&key("scores")) {
            v.scores = scores;
        }
        if let Some(Value::Integers(types)) = self.take(&key("token_type")) {
            v.token_types = types.into_iter().map(|t| i32::try_from(t).unwrap_or(0)).collect();
        }
        Some(v)
    }

    /// The chat template that the file holds. To be asked before [`GgufFile::vocabulary`], which takes the tokens away.
    ///
    /// # Errors
    /// A template that cannot be read.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, ChatError> {
        let Some(source) = self.text("tokenizer.chat_template") else { return Ok(None) };
        let spelling = |key: &str| -> String {
            let id = self.unsigned(&format!("tokenizer.ggml.{key}"));
            match (self.value("tokenizer.ggml.tokens"), id.and_then(|id| usize::try_from(id).ok())) {
                (Some(Value::Texts(tokens)), Some(id)) => tokens.get(id).cloned().unwrap_or_default(),
                _ => String::new(),
            }
        };
        ChatTemplate::new(source, spelling("bos_token_id"), spelling("eos_token_id")).map(Some)
    }

    /// Bytes of a tensor as they are stored.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self, tensor: &Description) -> Result<Vec<u8>, FileError> {
        let io = |e| FileError::io(&self.path, e);
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
    fn read_all(&mut self) -> Result<Contents, FileError> {
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

    fn description(&mut self, name: &str) -> Result<Description, FileError> {
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
        let kind = Encoding::of_number(number)
            .ok_or_else(|| FileError::Unsupported(format!("tensor {name} of GGUF type {number}")))?;
        let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        let row = shape.last().copied().unwrap_or(1);
        let bytes = elements
            .and_then(|n| kind.bytes_of(n, row as u64))
            .ok_or_else(|| self.invalid(format!("tensor {name} of {} has the shape {shape:?}", kind.name)))?;
        Ok(Description { shape, kind, offset, bytes })
    }

    fn value(&mut self, kind: u32, depth: u8) -> Result<Value, FileError> {
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

    fn array_value(&mut self, depth: u8) -> Result<Value, FileError> {
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

    fn text(&mut self) -> Result<String, FileError> {
        let length = self.u64()?;
        self.room(length, 1)?;
        let mut bytes = vec![0; length as usize];
        self.inner.read_exact(&mut bytes).map_err(|e| FileError::io(self.path, e))?;
        self.read += length;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, FileError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|e| FileError::io(self.path, e))?;
        self.read += N as u64;
        Ok(bytes)
    }

    /// Fails unless `count` things of at least `least` bytes can still follow.
    fn room(&self, count: u64, least: u64) -> Result<(), FileError> {
        let left = self.size.saturating_sub(self.read);
        match count.checked_mul(least) {
            Some(needed) if needed <= left => Ok(()),
            _ => Err(self.invalid(format!("{count} entries do not fit into the {left} bytes that follow"))),
        }
    }

    fn invalid(&self, what: impl Into<String>) -> FileError {
        FileError::invalid(self.path, what)
    }
}
