//! Files of models: where they are and what is written in their headers. Everything a header says is checked before it is
//! believed. Shared libraries are looked at before they are loaded. What a model computes is not here.

mod encoding;
mod error;
pub mod gguf;
mod graph;
mod library;
mod locate;

pub use encoding::Encoding;
pub use error::FileError;
pub use graph::{GraphConfig, GraphFiles};
pub use library::check_library;
pub use locate::{Located, locate};
