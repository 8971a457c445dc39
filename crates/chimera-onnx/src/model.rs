//! A model in memory: its graph as messages, its constants as [`Tensor`]s, and the writer. The writer knows every length
//! beforehand and passes tensors through one at a time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::error::{OnnxError, Result, TOO_MANY_BYTES};
use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::tensor::{Data, Tensor};

/// Field numbers that the writer puts together by hand.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// A model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// Everything but the constants of the main graph.
    pub proto: ModelProto,
    /// The constants of the main graph.
    pub initializers: Vec<Tensor>,
    /// The file that it was read from.
    pub path: Option<PathBuf>,
}

impl Model {
    /// The main graph.
    #[must_use]
    pub fn graph(&self) -> &GraphProto {
        static EMPTY: GraphProto = GraphProto {
            node: Vec::new(),
            name: None,
            initializer: Vec::new(),
            sparse_initializer: Vec::new(),
            doc_string: None,
            input: Vec::new(),
            output: Vec::new(),
            value_info: Vec::new(),
            quantization_annotation: Vec::new(),
            metadata_props: Vec::new(),
        };
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// The main graph, to be changed.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    /// The nodes of the main graph.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProto] {
        &self.graph().node
    }

    /// A constant of the main graph, by name.
    #[must_use]
    pub fn initializer(&self, name: &str) -> Option<&Tensor> {
        self.initializers.iter().find(|tensor| tensor.name == name)
    }

    /// The inputs that a caller must give: a constant listed as input, as old files do, is none of them.
    pub fn inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        self.graph().input.iter().filter(|input| self.initializer(input.name()).is_none())
    }

    /// Version of the standard operator set.
    #[must_use]
    pub fn opset(&self) -> Option<i64> {
        let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        self.proto.opset_import.iter().find(|set| standard(set.domain())).and_then(|set| set.version)
    }

    /// What stands for the model in messages.
    #[must_use]
    pub fn label(&self) -> String {
        let path = self.path.as_ref().and_then(|path| path.file_name());
        path.map_or_else(|| "the model".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// Size of the file that [`Model::write_with`] gives.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let (model, graph) = self.without_constants();
        let graph = self.graph_bytes(&graph);
        model.encoded_len() as u64 + 1 + encoded_len_varint(graph) as u64 + graph
    }

    fn without_constants(&self) -> (ModelProto, GraphProto) {
        let mut model = self.proto.clone();
        let graph = model.graph.take().unwrap_or_default();
        (model, graph)
    }

    fn graph_bytes(&self, graph: &GraphProto) -> u64 {
        let constants = self.initializers.iter().fold(0_u64, |sum, tensor| {
            let bytes = tensor_bytes(tensor);
            sum.saturating_add(bytes).saturating_add(1 + encoded_len_varint(bytes) as u64)
        });
        (graph.encoded_len() as u64).saturating_add(constants)
    }

    /// Writes the model from front to back: `sink` takes the bytes, `values` gives those of deferred tensors.
    ///
    /// # Errors
    /// [`OnnxError::TooLarge`] before anything is written; those of [`Tensor::load`]; those of the two functions.
    pub fn write_with<E: From<OnnxError>>(
        &self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
        mut values: impl FnMut(&Tensor) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let bytes = self.file_bytes();
        if bytes >= TOO_MANY_BYTES {
            return Err(OnnxError::TooLarge { bytes }.into());
        }
        let (model, graph) = self.without_constants();
        let mut head = model.encode_to_vec();
        encode_key(GRAPH, WireType::LengthDelimited, &mut head);
        encode_varint(self.graph_bytes(&graph), &mut head);
        head.extend(graph.encode_to_vec());
        sink(&head)?;
        for tensor in &self.initializers {
            let mut head = Vec::new();
            encode_key(INITIALIZER, WireType::LengthDelimited, &mut head);
            encode_varint(tensor_bytes(tensor), &mut head);
            head.extend(header(tensor).encode_to_vec());
            encode_key(RAW_DATA, WireType::LengthDelimited, &mut head);
            encode_varint(tensor.bytes(), &mut head);
            sink(&head)?;
            if matches!(tensor.data, Data::Deferred) {
                let data = values(tensor)?;
                tensor.check(data.len())?;
                sink(&data)?;
            } else {
                sink(&tensor.load()?)?;
            }
        }
        Ok(())
    }

    /// Writes the model to a file. It must not be one that its tensors are read from.
    ///
    /// # Errors
    /// As [`Model::write_with`], and [`OnnxError::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).map_err(OnnxError::io("create", path))?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        self.write_with::<OnnxError>(
            |data| out.write_all(data).map_err(OnnxError::io("write", path)),
            |tensor| tensor.load().map(Vec::from),
        )?;
        out.flush().map_err(OnnxError::io("write", path))
    }

    /// The model as bytes.
    ///
    /// # Errors
    /// As [`Model::write_with`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.write_with::<OnnxError>(
            |data| {
                out.extend_from_slice(data);
                Ok(())
            },
            |tensor| tensor.load().map(Vec::from),
        )?;
        Ok(out)
    }
}

/// A tensor's message without its values.
fn header(tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.dims.iter().map(|extent| *extent as i64).collect(),
        data_type: Some(tensor.kind.id()),
        name: Some(tensor.name.clone()),
        ..TensorProto::default()
    }
}

/// The length of a tensor's message.
fn tensor_bytes(tensor: &Tensor) -> u64 {
    let data = tensor.bytes();
    (header(tensor).encoded_len() as u64 + 1 + encoded_len_varint(data) as u64).saturating_add(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DataType;

    fn small() -> Model {
        let mut model = Model::default();
        model.proto.ir_version = Some(8);
        model.graph_mut().name = Some("g".to_owned());
        model.initializers.push(Tensor::floats("w", &[2, 1], DataType::F32, &[1.0, 2.0]));
        model.initializers.push(Tensor::i64s("n", &[], &[3]));
        model
    }

    #[test]
    fn what_is_written_by_hand_is_what_the_messages_say() {
        let model = small();
        let bytes = model.to_bytes().unwrap();
        assert_eq!(bytes.len() as u64, model.file_bytes());
        let read = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!(read.ir_version, Some(8));
        let graph = read.graph.unwrap();
        assert_eq!(graph.name(), "g");
        assert_eq!(graph.initializer.len(), 2);
        assert_eq!(graph.initializer[0].dims, [2, 1]);
        assert_eq!(graph.initializer[0].raw_data.as_deref(), Some([0, 0, 128, 63, 0, 0, 0, 64].as_slice()));
        assert_eq!(graph.initializer[1].dims, []);
        assert_eq!(graph.initializer[1].data_type, Some(7));
    }

    #[test]
    fn more_than_a_file_holds_is_refused_before_a_byte_is_written() {
        let mut model = small();
        model.initializers.push(Tensor::deferred("huge", &[1 << 15, 1 << 14], DataType::F32));
        let mut written = 0;
        let result = model.write_with::<OnnxError>(
            |data| {
                written += data.len();
                Ok(())
            },
            |_| Ok(Vec::new()),
        );
        assert_eq!(result.unwrap_err().code(), "onnx.too_large");
        assert_eq!(written, 0);
    }

    #[test]
    fn deferred_values_must_be_as_many_as_the_shape_says() {
        let mut model = small();
        model.initializers.push(Tensor::deferred("late", &[3], DataType::F32));
        let result = model.write_with::<OnnxError>(|_| Ok(()), |_| Ok(vec![0; 8]));
        assert_eq!(result.unwrap_err().code(), "onnx.corrupt");
    }
}
