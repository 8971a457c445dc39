//! A small builder of graphs: nodes in order, names of values made here, constants shared. It knows operators by name
//! only; whether a graph is sound is checked by [`crate::Model::check`] and by whoever runs it.

use std::collections::HashSet;

use bytes::Bytes;

use crate::model::Model;
use crate::proto::{
    AttributeProto, AttributeType, Dimension, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto, dimension, type_proto,
};
use crate::tensor::{DataType, Tensor};

/// An extent of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    /// Known.
    Number(u64),
    /// Known when the model runs; equal names mean equal extents.
    Name(&'a str),
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// A float.
    Float(f32),
    /// A string.
    String(String),
}

/// Makes an attribute's message.
#[must_use]
pub fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut out = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(value) => {
            out.i = Some(*value);
            AttributeType::Int
        }
        Attribute::Ints(values) => {
            out.ints.clone_from(values);
            AttributeType::Ints
        }
        Attribute::Float(value) => {
            out.f = Some(*value);
            AttributeType::Float
        }
        Attribute::String(text) => {
            out.s = Some(Bytes::copy_from_slice(text.as_bytes()));
            AttributeType::String
        }
    };
    out.r#type = Some(kind as i32);
    out
}

/// Makes a node's message.
#[must_use]
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: outputs.iter().map(|&name| name.to_owned()).collect(),
        name: outputs.first().map(|&name| name.to_owned()),
        op_type: Some(op.to_owned()),
        attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        ..NodeProto::default()
    }
}

/// Makes the message of an input or output.
#[must_use]
pub fn value(name: &str, kind: DataType, shape: &[Extent<'_>]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|extent| Dimension {
            value: Some(match extent {
                Extent::Number(number) => dimension::Value::Number(*number as i64),
                Extent::Name(name) => dimension::Value::Name((*name).to_owned()),
            }),
            denotation: None,
        })
        .collect();
    let tensor = TensorType { elem_type: Some(kind.id()), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(type_proto::Value::Tensor(tensor)), denotation: None }),
        ..ValueInfoProto::default()
    }
}

/// A graph being built.
#[derive(Debug)]
pub struct GraphBuilder {
    model: Model,
    constants: HashSet<String>,
    made: usize,
}

impl GraphBuilder {
    /// An empty graph of the given standard operator set, in IR version 8.
    #[must_use]
    pub fn new(name: &str, opset: i64) -> Self {
        let mut model = Model::default();
        model.proto.ir_version = Some(8);
        model.proto.producer_name = Some("chimeraforge".to_owned());
        model.proto.producer_version = Some(env!("CARGO_PKG_VERSION").to_owned());
        model.proto.opset_import =
            vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) }];
        model.graph_mut().name = Some(name.to_owned());
        Self { model, constants: HashSet::new(), made: 0 }
    }

    /// Adds a key and a value that readers may look at.
    pub fn metadata(&mut self, key: &str, value: &str) {
        let entry = StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        self.model.proto.metadata_props.push(entry);
    }

    /// Adds an input and gives its name.
    pub fn input(&mut self, name: &str, kind: DataType, shape: &[Extent<'_>]) -> String {
        self.model.graph_mut().input.push(value(name, kind, shape));
        name.to_owned()
    }

    /// Adds an output; a node must give the value of this name.
    pub fn output(&mut self, name: &str, kind: DataType, shape: &[Extent<'_>]) {
        self.model.graph_mut().output.push(value(name, kind, shape));
    }

    /// Adds a constant, unless one of this name is there, and gives its name.
    pub fn constant(&mut self, tensor: Tensor) -> String {
        let name = tensor.name.clone();
        if self.constants.insert(name.clone()) {
            self.model.initializers.push(tensor);
        }
        name
    }

    /// Adds a constant list of integers and gives its name: equal lists are one constant.
    pub fn list(&mut self, values: &[i64]) -> String {
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        self.constant(Tensor::i64s(format!("list_{}", text.join("_")), &[values.len() as u64], values))
    }

    /// Adds a constant integer without extents.
    pub fn integer(&mut self, value: i64) -> String {
        self.constant(Tensor::i64s(format!("int_{value}"), &[], &[value]))
    }

    /// Adds a constant number without extents, rounded to `kind`, and gives its name.
    pub fn scalar(&mut self, kind: DataType, value: f32) -> String {
        let name = format!("{}_{value}", kind.label().to_ascii_lowercase());
        self.constant(Tensor::floats(name, &[], kind, &[value]))
    }

    /// Adds a node with one output and gives the output's name.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let mut names = self.nodes(op, inputs, 1, attributes);
        names.pop().unwrap_or_default()
    }

    /// Adds a node with several outputs and gives their names.
    pub fn nodes(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: &[(&str, Attribute)],
    ) -> Vec<String> {
        let names: Vec<String> = (0..outputs)
            .map(|_| {
                self.made += 1;
                format!("{}_{}", op.to_ascii_lowercase(), self.made)
            })
            .collect();
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        self.model.graph_mut().node.push(node(op, inputs, &borrowed, attributes));
        names
    }

    /// Adds a node whose one output has a name of the caller's, such as that of a graph's output.
    pub fn named(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.model.graph_mut().node.push(node(op, inputs, &[name], attributes));
        name.to_owned()
    }

    /// The model.
    #[must_use]
    pub fn finish(self) -> Model {
        self.model
    }
}
