//! Text to token ids, and token ids to bytes. Four kinds are known: GPT-2's byte pairs, `tokenizer.json`, the vocabulary
//! inside a GGUF file, and raw bytes for synthetic models. Chat templates are in [`crate::ChatTemplate`].
//!
//! Encoding treats its input as plain text: the spelling of a control token is text like any other, but for the text of a
//! chat template. Decoding gives bytes
//! per token, since a character may be spread over several; [`crate::Utf8Assembler`] joins them.

mod control;
mod gguf;
mod json;
mod pieces;
mod spm;

use std::{borrow::Cow, fmt, path::Path};

use control::{Control, Part};
pub use gguf::GgufVocabulary;
use pieces::Pieces;
use spm::Spm;

/// Why there is no tokenizer, or why a text cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A kind that is not known here: use raw token ids.
    #[error("{0}")]
    Unsupported(String),
    /// The vocabulary contradicts itself: fetch or make the model again.
    #[error("the vocabulary is broken: {0}")]
    Invalid(String),
    /// This text has no ids in this vocabulary: ask for another text.
    #[error("the text cannot be encoded: {0}")]
    Text(String),
}

enum Encoder {
    Bytes { vocabulary: usize },
    Gpt2(&'static tiktoken_rs::CoreBPE),
    Library(Box<tokenizers::Tokenizer>),
    Spm(Spm),
}

/// A model's own tokenizer.
pub struct Tokenizer {
    encoder: Encoder,
    pieces: Option<Pieces>,
    /// Goes before a text prompt, where the model was trained so.
    begin: Option<u32>,
    /// Tokens that a chat template spells.
    control: Control,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Size of GPT-2's vocabulary.
const GPT2_VOCABULARY: usize = 50_257;

/// GPT-2's `<|endoftext|>`, which stands for no text.
const GPT2_END: u32 = 50_256;

impl Tokenizer {
    /// The largest vocabulary that [`Tokenizer::bytes_only`] makes sense of.
    pub const LARGEST_BYTE_VOCABULARY: usize = 1024;

    /// GPT-2's 50,257 byte pairs.
    #[must_use]
    pub fn gpt2() -> Self {
        Self {
            encoder: Encoder::Gpt2(tiktoken_rs::r50k_base_singleton()),
            pieces: None,
            begin: None,
            control: Control::new([("<|endoftext|>", GPT2_END)].into_iter()),
        }
    }

    /// One token per byte, for synthetic models without a vocabulary. Ids from 256 on, which no text encodes to, read as
    /// the byte of their remainder.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] above [`Tokenizer::LARGEST_BYTE_VOCABULARY`]: such a model had words.
    pub fn bytes_only(vocabulary: usize) -> Result<Self, TokenizerError> {
        if vocabulary > Self::LARGEST_BYTE_VOCABULARY {
            return Err(TokenizerError::Unsupported(format!(
                "the model of {vocabulary} tokens comes without a tokenizer"
            )));
        }
        Ok(Self {
            encoder: Encoder::Bytes { vocabulary },
            pieces: None,
            begin: None,
            control: Control::default(),
        })
    }

    /// The tokenizer of a model that brings none: that of GPT-2 for a model of its family and vocabulary, else one token
    /// per byte.
    ///
    /// # Errors
    /// As [`Tokenizer::bytes_only`].
    pub fn without_file(family: &str, vocabulary: usize) -> Result<Self, TokenizerError> {
        if family == "gpt2" && vocabulary == GPT2_VOCABULARY {
            return Ok(Self::gpt2());
        }
        Self::bytes_only(vocabulary)
    }

    /// The tokenizer of a model's folder: `tokenizer.json`, else as [`Tokenizer::without_file`].
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`] and [`Tokenizer::bytes_only`].
    pub fn beside(folder: &Path, family: &str, vocabulary: usize) -> Result<Self, TokenizerError> {
        match std::fs::read(folder.join("tokenizer.json")) {
            Ok(json) => Self::from_json(&json),
            Err(_) => Self::without_file(family, vocabulary),
        }
    }

    /// The content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`] when it cannot be read, [`TokenizerError::Unsupported`] when its way from tokens to
    /// bytes is not known here.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        json::read(json)
    }

    /// The vocabulary of a GGUF file.
    ///
    /// # Errors
    /// [`TokenizerError::Unsupported`] for a model or a splitting rule that is not known here,
    /// [`TokenizerError::Invalid`] when the metadata contradict each other.
    pub fn from_gguf(vocabulary: GgufVocabulary) -> Result<Self, TokenizerError> {
        gguf::build(vocabulary)
    }

    /// What kind it is, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.encoder {
            Encoder::Bytes { .. } => "bytes",
            Encoder::Gpt2(_) => "gpt2",
            Encoder::Library(_) => "bpe",
            Encoder::Spm(_) => "spm",
        }
    }

    /// Ids of a text, without special tokens.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] when a part of the text has no ids.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match &self.encoder {
            Encoder::Bytes { vocabulary } => text
                .bytes()
                .map(|byte| {
                    if usize::from(byte) < *vocabulary {
                        Ok(u32::from(byte))
                    } else {
                        Err(TokenizerError::Text(format!("byte {byte} is beyond the {vocabulary} ids")))
                    }
                })
                .collect(),
            Encoder::Gpt2(bpe) => Ok(bpe.encode_ordinary(text)),
            Encoder::Library(library) => {
                let encoding =
                    library.encode_fast(text, false).map_err(|e| TokenizerError::Text(e.to_string()))?;
                Ok(encoding.get_ids().to_vec())
            }
            Encoder::Spm(spm) => spm.encode(text),
        }
    }

    /// Ids of a text prompt: those of the text, after the begin-of-sequence token where the model was trained with one.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode(text)?;
        if let Some(begin) = self.begin {
            ids.insert(0, begin);
        }
        Ok(ids)
    }

    /// Ids of the text that a chat template made: the spellings of control tokens stand for them, and nothing is put before
    /// the text, since the template writes its own beginning. What a user wrote is in that text too, as it is with everybody
    /// who renders a chat to text: who must keep control tokens out of a message has to look for them before.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_template(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::new();
        for part in self.control.parts(text) {
            match part {
                Part::Text(text) => ids.extend(self.encode(text)?),
                Part::Token(id) => ids.push(id),
            }
        }
        Ok(ids)
    }

    /// The bytes that a token stands for; none for control tokens and for ids outside the vocabulary.
    #[must_use]
    pub fn bytes(&self, id: u32) -> Cow<'_, [u8]> {
        match (&self.pieces, &self.encoder) {
            (Some(pieces), _) => Cow::Borrowed(pieces.get(id)),
            (None, Encoder::Gpt2(bpe)) if id < GPT2_END => bpe.decode_bytes(&[id]).unwrap_or_default().into(),
            (None, Encoder::Bytes { .. }) => Cow::Owned(vec![(id % 256) as u8]),
            (None, _) => Cow::Borrowed(&[]),
        }
    }

    /// The text of a sequence; what is no character becomes U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id).into_owned()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2_gives_published_ids_and_text_comes_back() {
        let tokenizer = Tokenizer::gpt2();
        assert_eq!(tokenizer.encode("Hello world").unwrap(), [15496, 995]);
        for text in ["", "Hello world", "naïve €5 — 日本語 🙂\n\n  x", "<|endoftext|>"] {
            let ids = tokenizer.encode(text).unwrap();
            assert!(!ids.contains(&GPT2_END), "control tokens are text like any other");
            assert_eq!(tokenizer.decode(&ids), text);
        }
        assert_eq!(tokenizer.decode(&[15496, GPT2_END, 60_000]), "Hello");
    }

    #[test]
    fn bytes_are_their_own_ids() {
        let tokenizer = Tokenizer::bytes_only(512).unwrap();
        assert_eq!(tokenizer.encode("aé").unwrap(), [97, 0xC3, 0xA9]);
        assert_eq!(tokenizer.decode(&[97, 0xC3, 256 + 0xA9]), "aé");
        assert!(matches!(Tokenizer::bytes_only(100).unwrap().encode("z"), Err(TokenizerError::Text(_))));
        assert!(matches!(Tokenizer::bytes_only(4096), Err(TokenizerError::Unsupported(_))));
    }
}
