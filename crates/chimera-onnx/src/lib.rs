//! ONNX files: building and writing.
//!
//! It runs nothing and knows no engine; protobuf messages are written by hand, so that no compiler of them is needed.

mod build;
mod check;
mod error;
mod external;
mod model;
mod operators;
pub mod proto;
pub mod quantise;
mod read;
mod tensor;
mod wire;

pub use build::{Attribute, Extent, GraphBuilder, attribute, node, value};
pub use error::{OnnxError, Result, TOO_MANY_BYTES};
pub use model::Model;
pub use read::ReadOptions;
pub use tensor::{Data, DataType, Tensor, float_bytes};
