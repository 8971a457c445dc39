//! Files of models: where they are and what is written in their headers. Everything a header says is checked before it is
//! believed. What a model computes is not here.

mod encoding;
mod error;
pub mod gguf;
mod locate;

pub use encoding::Encoding;
pub use error::FileError;
pub use locate::{Located, locate};
