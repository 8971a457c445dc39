//! Deterministic models written as safetensors and GGUF, and real models on request.
