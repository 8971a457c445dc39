//! What in-process adapters share: the blocking [`LanguageModel`] that an engine implements, the worker thread that owns
//! it and stamps every event where it happens, the sampler, chat templates, and tokenizers with streaming detokenisation.
//!
//! An adapter loads a model inside [`EngineSession::start`] and has a [`chimera_core::Session`]. [`files`] finds models and
//! checks their headers. Nothing here knows a tensor library or an async runtime.

mod chat;
mod digest;
pub mod files;
mod generation;
mod model;
mod reading;
mod sampler;
mod session;
mod stream;
mod text;
mod texts;
pub mod tokenizer;
mod worker;

pub use chat::{ChatError, ChatTemplate};
pub use digest::{file_digest, files_digest};
pub use model::{EngineError, KvCache, LanguageModel, Logits, Wanted};
pub use sampler::Sampler;
pub use session::EngineSession;
pub use text::Utf8Assembler;
pub use texts::Texts;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use worker::EngineThread;
