//! The GGUF container: metadata and tensors, read and written as llama.cpp does. What the keys mean for an
//! architecture is in [`meta`], and what the tensors mean in [`names`].

pub(crate) mod meta;
pub(crate) mod names;
mod read;
mod value;
mod write;

pub use read::{GgufFile, GgufTensor};
pub use value::Value;
pub(crate) use write::{Kept, reason_to_skip, write};

/// `GGUF` read as a little-endian number.
const MAGIC: u32 = 0x4655_4747;
/// The version written; 2 is read too, it differs in nothing that matters here.
const VERSION: u32 = 3;
/// Alignment of the data where no key says otherwise.
const ALIGNMENT: u64 = 32;
