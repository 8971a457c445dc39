//! What is written in safetensors files. GGUF files, and where models are, is what every adapter needs:
//! [`chimera_engine::files`].

pub(crate) mod safetensors;
