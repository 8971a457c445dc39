//! Servers that speak OpenAI's HTTP interface as an [`chimera_core::InferenceBackend`]. Times are stamped where bytes
//! arrive; a chunk is not a token, and what a server does not say has no entry.
