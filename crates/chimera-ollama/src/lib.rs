//! Ollama's native HTTP interface as an [`chimera_core::InferenceBackend`]. Times are stamped where bytes arrive; the
//! durations that the server reports are kept verbatim beside them and never believed in silence.
