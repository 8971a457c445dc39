//! ONNX files: reading with checks, building, quantisation and audit.
//!
//! A [`Model`] is read by [`Model::read`], which trusts nothing that the file says, or built by a [`GraphBuilder`]; its
//! weights stay in their file until they are asked for. [`quantise`] makes integer graphs of float ones, [`audit()`] tells
//! what a graph really holds. Nothing here runs a graph or knows an engine; the messages of protobuf are written by hand, so
//! that no compiler of them is needed.
//!
//! ```
//! # fn main() -> chimera_onnx::Result<()> {
//! use chimera_onnx::{DataType, Extent, GraphBuilder, Model, Tensor, audit, quantise};
//!
//! let mut g = GraphBuilder::new("half", 18);
//! g.input("x", DataType::F32, &[Extent::Name("rows"), Extent::Number(2)]);
//! let w = g.constant(Tensor::floats("w", &[2, 2], DataType::F32, &[0.5, 0.0, 0.0, 0.5]));
//! g.named("y", "MatMul", &["x", &w], &[]);
//! g.output("y", DataType::F32, &[Extent::Name("rows"), Extent::Number(2)]);
//! let model = g.finish();
//! model.check(&Default::default())?;
//!
//! let small = quantise::dynamic_int8(&model, &Default::default())?;
//! assert_eq!(audit(&small).refute(chimera_onnx::Claim::Int8), None);
//! assert!(audit(&model).refute(chimera_onnx::Claim::Int8).unwrap().contains("no INT8 tensor"));
//! # Ok(())
//! # }
//! ```

mod audit;
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

pub use audit::{Arithmetic, Audit, Claim, OperatorCount, ProductAudit, WeightCount, audit};
pub use build::{Attribute, Extent, GraphBuilder, attribute, node, value};
pub use error::{OnnxError, Result, TOO_MANY_BYTES};
pub use model::Model;
pub use read::ReadOptions;
pub use tensor::{Data, DataType, Tensor, float_bytes};
