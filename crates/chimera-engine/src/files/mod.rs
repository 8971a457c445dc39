//! Files of models: where they are, what is written in their headers, and their digest. Everything a header says is checked
//! before it is believed. What a model computes is not here.

mod digest;
mod encoding;
mod error;
pub mod gguf;
mod locate;

pub use digest::of_file as digest;
pub use encoding::Encoding;
pub use error::FileError;
pub use locate::{Located, locate};
