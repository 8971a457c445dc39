//! Files of models: where they are, what is written in them, and their digest. What a model computes is not here.

pub(crate) mod digest;
pub(crate) mod gguf;
pub(crate) mod locate;
pub(crate) mod safetensors;
