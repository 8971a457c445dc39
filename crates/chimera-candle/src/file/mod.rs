//! Files of models: where they are and what is written in them. What a model computes is not here.

pub(crate) mod gguf;
pub(crate) mod locate;
pub(crate) mod safetensors;
