//! The reader. It trusts no length: the file's structure is walked over before it is decoded, values of large tensors stay
//! in the file, and what the structure takes in memory is limited. The graph is checked before anybody gets the model.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost::encoding::encode_varint;

use crate::error::{OnnxError, Result};
use crate::external;
use crate::model::Model;
use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::tensor::{Data, DataType, Tensor};
use crate::wire::{self, Kind};

/// Tensors up to this many bytes are kept in memory: shapes, scales, axes.
const SMALL: u64 = 4096;

/// What a reader accepts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Operators beyond the known ones, such as `com.example:Foo`; `com.example:*` for a whole domain.
    pub allow: Vec<String>,
    /// What the structure may take in memory, in bytes; the values of large tensors are not counted, they stay in the file.
    pub memory: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { allow: Vec::new(), memory: 1 << 30 }
    }
}

impl Model {
    /// Reads a file and checks it.
    ///
    /// # Errors
    /// [`OnnxError::Corrupt`] for damage and sizes that cannot be; [`OnnxError::Graph`] for cycles, undefined values and the
    /// like; [`OnnxError::UnknownOperator`]; [`OnnxError::OutsideFolder`] and [`OnnxError::MissingData`] for values in other
    /// files; [`OnnxError::Unsupported`]; [`OnnxError::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, &ReadOptions::default())
    }

    /// As [`Model::read`], with other limits.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Self> {
        let file = File::open(path).map_err(OnnxError::io("open", path))?;
        let len = file.metadata().map_err(OnnxError::io("read", path))?.len();
        let label = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut reader = Reader {
            input: BufReader::with_capacity(1 << 16, file),
            file: label,
            folder: Some(path.parent().unwrap_or(Path::new(""))),
            path: Some(Arc::from(path)),
            budget: options.memory,
        };
        let mut model = reader.model(len)?;
        model.path = Some(path.to_path_buf());
        model.check(options)?;
        Ok(model)
    }

    /// As [`Model::read_with`], from memory. There is no folder, so values in other files are missing.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn from_bytes(data: &[u8], options: &ReadOptions) -> Result<Self> {
        let mut reader = Reader {
            input: Cursor::new(data),
            file: "the model".to_owned(),
            folder: None,
            path: None,
            budget: options.memory,
        };
        let model = reader.model(data.len() as u64)?;
        model.check(options)?;
        Ok(model)
    }
}

/// A file being read from front to back.
struct Reader<'a, R> {
    input: R,
    /// The file's name, for messages.
    file: String,
    /// Where other files may be.
    folder: Option<&'a Path>,
    /// The file, if it is one.
    path: Option<Arc<Path>>,
    /// Memory that is left.
    budget: u64,
}

impl<R: Read + Seek> Reader<'_, R> {
    fn corrupt(&self, detail: String) -> OnnxError {
        OnnxError::Corrupt { file: self.file.clone(), detail }
    }

    fn io(&self) -> impl FnOnce(std::io::Error) -> OnnxError {
        let path = self.path.as_deref().unwrap_or(Path::new(&self.file)).to_path_buf();
        move |source| OnnxError::Io { action: "read", path, source }
    }

    fn at(&mut self) -> Result<u64> {
        self.input.stream_position().map_err(self.io())
    }

    fn model(&mut self, end: u64) -> Result<Model> {
        if end == 0 {
            return Err(self.corrupt("it is empty".to_owned()));
        }
        let mut rest = Vec::new();
        let mut graph = None;
        let mut initializers = Vec::new();
        while let Some((field, wire)) = self.key(end)? {
            if (field, wire) == (7, 2) {
                if graph.is_some() {
                    return Err(self.corrupt("it has two graphs".to_owned()));
                }
                let end = self.length(end)?;
                graph = Some(self.graph(end, &mut initializers)?);
            } else {
                self.keep(field, wire, end, &mut rest)?;
            }
        }
        let mut proto: ModelProto = self.decode(Kind::Model, rest)?;
        proto.graph = graph;
        if proto.graph.is_none() {
            return Err(self.corrupt("it has no graph".to_owned()));
        }
        let model = Model { proto, initializers, path: None };
        self.inner_tensors(&model)?;
        Ok(model)
    }

    fn graph(&mut self, end: u64, initializers: &mut Vec<Tensor>) -> Result<GraphProto> {
        let mut rest = Vec::new();
        while let Some((field, wire)) = self.key(end)? {
            if (field, wire) == (5, 2) {
                let end = self.length(end)?;
                initializers.push(self.initializer(end)?);
            } else {
                self.keep(field, wire, end, &mut rest)?;
            }
        }
        self.decode(Kind::Graph, rest)
    }

    fn initializer(&mut self, end: u64) -> Result<Tensor> {
        let mut rest = Vec::new();
        let mut raw = None;
        while let Some((field, wire)) = self.key(end)? {
            if (field, wire) != (9, 2) {
                self.keep(field, wire, end, &mut rest)?;
                continue;
            }
            let end = self.length(end)?;
            let offset = self.at()?;
            let bytes = end - offset;
            // A message that gives a field twice means the last.
            raw = Some(match &self.path {
                Some(path) if bytes > SMALL => {
                    self.input.seek(SeekFrom::Start(end)).map_err(self.io())?;
                    Data::File { path: path.clone(), offset, bytes }
                }
                _ => Data::Memory(self.take(bytes)?.into()),
            });
        }
        let proto: TensorProto = self.decode(Kind::Tensor, rest)?;
        tensor_of(&self.file, self.folder, &proto, raw)
    }

    /// Field number and wire type of the next field before `end`.
    fn key(&mut self, end: u64) -> Result<Option<(u32, u8)>> {
        let at = self.at()?;
        if at >= end {
            return Ok(None);
        }
        let value = self.varint(end)?;
        wire::key(value).map(Some).map_err(|what| self.corrupt(format!("{what} at byte {at}")))
    }

    fn varint(&mut self, end: u64) -> Result<u64> {
        let at = self.at()?;
        let mut data = [0; 10];
        for i in 0..data.len() {
            if at + i as u64 >= end {
                break;
            }
            let byte = self.take(1)?[0];
            data[i] = byte;
            if byte & 0x80 == 0 {
                if let Some((value, _)) = wire::varint(&data[..=i]) {
                    return Ok(value);
                }
                break;
            }
        }
        Err(self.corrupt(format!("a number is cut short at byte {at}")))
    }

    /// Where a field that begins with its length ends.
    fn length(&mut self, end: u64) -> Result<u64> {
        let length = self.varint(end)?;
        let at = self.at()?;
        match at.checked_add(length) {
            Some(inner) if inner <= end => Ok(inner),
            _ => {
                Err(self
                    .corrupt(format!("a field claims {length} bytes at byte {at}, {} are left", end - at)))
            }
        }
    }

    /// So many bytes. The budget is asked first, and what the file does not have is not allocated.
    fn take(&mut self, bytes: u64) -> Result<Vec<u8>> {
        wire::spend(&mut self.budget, bytes).map_err(|what| self.corrupt(what))?;
        let mut data = Vec::new();
        let read = self.input.by_ref().take(bytes).read_to_end(&mut data).map_err(self.io())?;
        if (read as u64) < bytes {
            return Err(self.corrupt(format!("it ends {} bytes too early", bytes - read as u64)));
        }
        Ok(data)
    }

    /// Copies a field as it is, to be decoded with its neighbours.
    fn keep(&mut self, field: u32, wire: u8, end: u64, rest: &mut Vec<u8>) -> Result<()> {
        encode_varint(u64::from(field) << 3 | u64::from(wire), rest);
        let left = |reader: &mut Self| reader.at().map(|at| end.saturating_sub(at));
        match wire {
            0 => encode_varint(self.varint(end)?, rest),
            2 => {
                let inner = self.length(end)?;
                let bytes = inner - self.at()?;
                encode_varint(bytes, rest);
                rest.extend(self.take(bytes)?);
            }
            _ => {
                let bytes = if wire == 1 { 8 } else { 4 };
                if left(self)? < bytes {
                    return Err(self.corrupt(format!("field {field} is cut short")));
                }
                rest.extend(self.take(bytes)?);
            }
        }
        Ok(())
    }

    fn decode<M: Message + Default>(&mut self, kind: Kind, data: Vec<u8>) -> Result<M> {
        wire::walk(kind, &data, &mut self.budget, 0).map_err(|what| self.corrupt(what))?;
        M::decode(Bytes::from(data)).map_err(|error| self.corrupt(error.to_string()))
    }

    /// Checks the tensors that are not initializers of the main graph: attributes, and the constants of inner graphs.
    fn inner_tensors(&self, model: &Model) -> Result<()> {
        let mut graphs = vec![model.graph()];
        let mut nodes: Vec<&NodeProto> = model.proto.functions.iter().flat_map(|f| &f.node).collect();
        loop {
            for node in nodes.drain(..) {
                for attribute in &node.attribute {
                    for tensor in attribute.t.iter().chain(&attribute.tensors) {
                        tensor_of(&self.file, self.folder, tensor, None)?;
                    }
                }
                graphs.extend(inner_graphs(node));
            }
            let Some(graph) = graphs.pop() else { return Ok(()) };
            if !graph.sparse_initializer.is_empty() {
                let name = graph.sparse_initializer[0].values.as_ref().map_or("", |values| values.name());
                let what = format!("sparse tensor {name}");
                return Err(OnnxError::Unsupported { file: self.file.clone(), what });
            }
            for tensor in &graph.initializer {
                tensor_of(&self.file, self.folder, tensor, None)?;
            }
            nodes.extend(&graph.node);
        }
    }
}

/// The graphs that a node holds: branches and bodies.
pub(crate) fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// A message as a tensor, its length checked against its shape. `raw` is what stands for `raw_data`, if that was left in
/// the file.
pub(crate) fn tensor_of(
    file: &str,
    folder: Option<&Path>,
    proto: &TensorProto,
    raw: Option<Data>,
) -> Result<Tensor> {
    let name = proto.name();
    let corrupt = |detail: String| OnnxError::Corrupt {
        file: file.to_owned(),
        detail: format!("tensor {name}: {detail}"),
    };
    let id = proto.data_type();
    let kind = DataType::from_id(id).ok_or_else(|| OnnxError::Unsupported {
        file: file.to_owned(),
        what: format!("tensor {name} of element type {id}"),
    })?;
    let dims = proto.dims.iter().map(|extent| u64::try_from(*extent).ok()).collect::<Option<Vec<u64>>>();
    let dims = dims.ok_or_else(|| corrupt(format!("extents {:?}", proto.dims)))?;
    let elements = dims.iter().try_fold(1_u64, |n, extent| n.checked_mul(*extent));
    let expected = elements.and_then(|n| kind.bytes_of(n)).filter(|bytes| *bytes <= i64::MAX as u64);
    let expected = expected.ok_or_else(|| corrupt(format!("its extents {dims:?} are beyond all memory")))?;
    let typed = typed_data(kind, proto);
    let raw = raw.or_else(|| proto.raw_data.clone().map(Data::Memory));
    let data = match (raw, typed, proto.data_location()) {
        (None, None, 1) => external::locate(file, folder, proto, expected)?,
        (Some(data), None, 0) => data,
        (None, Some(data), 0) => Data::Memory(data.into()),
        (None, None, 0) if expected == 0 => Data::Memory(Bytes::new()),
        (None, None, 0) => return Err(corrupt("it has no values".to_owned())),
        _ => return Err(corrupt("its values are given more than once, or nowhere".to_owned())),
    };
    let found = match &data {
        Data::Memory(data) => data.len() as u64,
        Data::File { bytes, .. } => *bytes,
        Data::Deferred => expected,
    };
    if found != expected {
        return Err(corrupt(format!("{found} bytes, and its extents {dims:?} of {kind} take {expected}")));
    }
    Ok(Tensor { name: name.to_owned(), dims, kind, data })
}

/// Values in a field of their type, as little-endian bytes.
fn typed_data(kind: DataType, proto: &TensorProto) -> Option<Vec<u8>> {
    let small = |bytes: usize| -> Vec<u8> {
        proto.int32_data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(bytes)).collect()
    };
    let data: Vec<u8> = match kind {
        DataType::F32 => proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::F64 => proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::I64 => proto.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::U64 => proto.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::U32 => proto.uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        DataType::I32 => small(4),
        // Bit patterns in the low half.
        DataType::U16 | DataType::I16 | DataType::F16 | DataType::BF16 => small(2),
        // Nibbles come two in one number.
        _ => small(1),
    };
    (!data.is_empty()).then_some(data)
}
