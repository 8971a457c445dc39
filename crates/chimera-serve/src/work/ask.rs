//! What a dialect asks for, in words that both share.

use chimera_core::{Message, ModelRef, Sampling};

use super::keep::Keep;

/// One generation as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) model: Wanted,
    pub(crate) input: Input,
    /// Tokens to generate; `None` until the model stops or the context is full.
    pub(crate) budget: Option<u32>,
    /// What does not fit the context is cut (Ollama) instead of refused (OpenAI).
    pub(crate) shorten: bool,
    /// Tokens at the start of a prompt that a cut leaves standing.
    pub(crate) keep_tokens: u32,
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    pub(crate) ignore_eos: bool,
    pub(crate) stops: Vec<String>,
}

/// Which model, and how it is to be resident.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) reference: ModelRef,
    pub(crate) context: Option<u32>,
    pub(crate) keep: Option<Keep>,
}

/// The input of a generation.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Text(String),
    Tokens(Vec<u32>),
    Chat(Vec<Message>),
    /// A text that goes through the model's template where it has one.
    Prompt(String),
}

/// Longest list of stop strings, and longest stop string in bytes: they are looked for in every chunk.
const STOPS: usize = 64;
const STOP_BYTES: usize = 4096;

/// Judges stop strings.
pub(crate) fn check_stops(stops: Vec<String>) -> Result<Vec<String>, crate::http::fault::Fault> {
    if stops.len() > STOPS || stops.iter().any(|stop| stop.len() > STOP_BYTES) {
        return Err(crate::http::fault::Fault::bad(format!(
            "stop: at most {STOPS} strings of at most {STOP_BYTES} bytes"
        )));
    }
    Ok(stops)
}
