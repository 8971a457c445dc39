//! The reader: metadata at once, tensors on demand. It trusts no length in the file: each is checked against the bytes
//! that are left before anything is allocated.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::value::{ARRAY, STRING, Value};
use super::{ALIGNMENT, MAGIC};
use crate::error::ZooError;
use crate::quant::{GgmlType, dequantise};

/// One tensor's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// The name.
    pub name: String,
    /// Extents, the slowest first: the reverse of the file's order.
    pub shape: Vec<usize>,
    /// The number of its type in the file.
    pub type_id: u32,
    /// Where its bytes begin, from the start of the file.
    pub offset: u64,
}

impl GgufTensor {
    /// The number of values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The type, if it is one that is read here.
    #[must_use]
    pub fn kind(&self) -> Option<GgmlType> {
        GgmlType::from_id(self.type_id)
    }
}

/// An open GGUF file.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    len: u64,
    metadata: Vec<(String, Value)>,
    tensors: Vec<GgufTensor>,
}

impl GgufFile {
    /// Reads the metadata and the tensors' entries.
    ///
    /// # Errors
    /// [`ZooError::Io`] if the file cannot be read, [`ZooError::Unsupported`] for another version or byte order,
    /// [`ZooError::Corrupt`] if it is no GGUF, is cut short, or names a tensor outside itself.
    pub fn open(path: &Path) -> Result<Self, ZooError> {
        let file = File::open(path).map_err(ZooError::io("open", path))?;
        let len = file.metadata().map_err(ZooError::io("read", path))?.len();
        let mut input = Input { path, input: BufReader::with_capacity(1 << 16, file), at: 0, len };
        if input.u32()? != MAGIC {
            return Err(input.corrupt("it does not begin with GGUF".to_owned()));
        }
        match input.u32()? {
            2 | 3 => {}
            version => {
                let what = format!("GGUF version {version} (2 and 3 are read, little-endian)");
                return Err(ZooError::Unsupported { path: path.to_path_buf(), what });
            }
        }
        // 24 and 13 are the smallest entries there can be.
        let tensor_count = input.count(24)?;
        let key_count = input.count(13)?;
        let mut metadata = Vec::with_capacity(key_count);
        for _ in 0..key_count {
            let key = input.string()?;
            let type_id = input.u32()?;
            let value = input.value(type_id, 0)?;
            metadata.push((key, value));
        }
        let mut tensors = Vec::with_capacity(tensor_count);
        for _ in 0..tensor_count {
            tensors.push(input.tensor()?);
        }
        let alignment = metadata
            .iter()
            .find(|(k, _)| k == "general.alignment")
            .and_then(|(_, v)| v.as_u64())
            .filter(|a| *a > 0)
            .unwrap_or(ALIGNMENT);
        let data = input.at.next_multiple_of(alignment);
        let mut this = Self { path: path.to_path_buf(), len, metadata, tensors };
        for tensor in &mut this.tensors {
            tensor.offset = tensor.offset.saturating_add(data);
        }
        for tensor in &this.tensors {
            // A type that is not read here has no size that is known here: it fails when it is asked for.
            if tensor.kind().is_some() {
                this.extent(tensor)?;
            }
        }
        Ok(this)
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every key and value, in the file's order.
    #[must_use]
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Every tensor's entry, in the file's order.
    #[must_use]
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// One tensor's entry.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// A tensor's bytes, as they are stored.
    ///
    /// # Errors
    /// [`ZooError::Unsupported`] if its type is not read here, and the name says which tensor; [`ZooError::Corrupt`] if
    /// it lies outside the file; [`ZooError::Io`].
    pub fn bytes(&self, tensor: &GgufTensor) -> Result<Vec<u8>, ZooError> {
        let size = self.extent(tensor)?;
        let mut file = File::open(&self.path).map_err(ZooError::io("open", &self.path))?;
        let mut data = vec![0; size];
        file.seek(SeekFrom::Start(tensor.offset)).map_err(ZooError::io("read", &self.path))?;
        file.read_exact(&mut data).map_err(ZooError::io("read", &self.path))?;
        Ok(data)
    }

    /// A tensor's values, in row-major order of its shape.
    ///
    /// # Errors
    /// As [`GgufFile::bytes`].
    pub fn values(&self, tensor: &GgufTensor) -> Result<Vec<f32>, ZooError> {
        let kind = self.kind(tensor)?;
        Ok(dequantise(kind, &self.bytes(tensor)?))
    }

    /// A tensor's type, or the error that names the tensor.
    pub(crate) fn kind(&self, tensor: &GgufTensor) -> Result<GgmlType, ZooError> {
        tensor.kind().ok_or_else(|| ZooError::Unsupported {
            path: self.path.clone(),
            what: format!("tensor {} of ggml type {}", tensor.name, tensor.type_id),
        })
    }

    /// The bytes of a tensor, all within the file.
    fn extent(&self, tensor: &GgufTensor) -> Result<usize, ZooError> {
        let kind = self.kind(tensor)?;
        let row = tensor.shape.last().copied().unwrap_or(1);
        let size =
            if row.is_multiple_of(kind.block().0) { kind.bytes_of(tensor.elements() as u64) } else { None };
        let end = size.and_then(|size| tensor.offset.checked_add(size));
        match (size, end) {
            (Some(size), Some(end)) if end <= self.len => Ok(size as usize),
            _ => Err(damaged(&self.path, format!("tensor {} lies outside the file", tensor.name))),
        }
    }
}

fn damaged(path: &Path, detail: String) -> ZooError {
    let remedy = "obtain the file again".to_owned();
    ZooError::Corrupt { path: path.to_path_buf(), detail, remedy }
}

/// The head of the file, read forwards.
struct Input<'a> {
    path: &'a Path,
    input: BufReader<File>,
    at: u64,
    len: u64,
}

impl Input<'_> {
    fn corrupt(&self, detail: String) -> ZooError {
        damaged(self.path, detail)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ZooError> {
        let mut data = [0; N];
        self.fill(&mut data)?;
        Ok(data)
    }

    fn fill(&mut self, data: &mut [u8]) -> Result<(), ZooError> {
        match self.input.read_exact(data) {
            Ok(()) => {
                self.at += data.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.corrupt(format!("it ends within its head, at byte {}", self.len)))
            }
            Err(error) => Err(ZooError::io("read", self.path)(error)),
        }
    }

    fn u32(&mut self) -> Result<u32, ZooError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, ZooError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, least: u64) -> Result<usize, ZooError> {
        let count = self.u64()?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.len - self.at.min(self.len) => Ok(count as usize),
            _ => {
                Err(self
                    .corrupt(format!("it counts {count} entries at byte {}, more than it can hold", self.at)))
            }
        }
    }

    fn string(&mut self) -> Result<String, ZooError> {
        let mut data = vec![0; self.count(1)?];
        self.fill(&mut data)?;
        String::from_utf8(data)
            .map_err(|_| self.corrupt(format!("the text before byte {} is not UTF-8", self.at)))
    }

    fn value(&mut self, type_id: u32, depth: u32) -> Result<Value, ZooError> {
        Ok(match type_id {
            0 => Value::U8(self.take::<1>()?[0]),
            1 => Value::I8(i8::from_le_bytes(self.take()?)),
            2 => Value::U16(u16::from_le_bytes(self.take()?)),
            3 => Value::I16(i16::from_le_bytes(self.take()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.take()?)),
            6 => Value::F32(f32::from_le_bytes(self.take()?)),
            7 => Value::Bool(self.take::<1>()?[0] != 0),
            STRING => Value::String(self.string()?),
            // Arrays of arrays exist; deep ones are an attack on the stack.
            ARRAY if depth < 4 => {
                let element = self.u32()?;
                let least = match element {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    STRING | 10..=12 => 8,
                    ARRAY => 12,
                    _ => 4,
                };
                let count = self.count(least)?;
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.value(element, depth + 1)?);
                }
                Value::Array(element, items)
            }
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.take()?)),
            12 => Value::F64(f64::from_le_bytes(self.take()?)),
            other => return Err(self.corrupt(format!("value type {other} at byte {}", self.at))),
        })
    }

    fn tensor(&mut self) -> Result<GgufTensor, ZooError> {
        let name = self.string()?;
        let dimensions = self.u32()?;
        if dimensions > 4 {
            return Err(self.corrupt(format!("tensor {name} has {dimensions} dimensions")));
        }
        let mut shape = Vec::with_capacity(4);
        let mut elements = 1_u64;
        for _ in 0..dimensions {
            let extent = self.u64()?;
            elements = match elements.checked_mul(extent) {
                // No type takes less than a quarter of a byte a weight.
                Some(n) if n / 4 <= self.len => n,
                _ => return Err(self.corrupt(format!("tensor {name} is larger than the file"))),
            };
            shape.push(extent as usize);
        }
        shape.reverse();
        let type_id = self.u32()?;
        let offset = self.u64()?;
        Ok(GgufTensor { name, shape, type_id, offset })
    }
}
