//! What a graph does not say of its model: the longest context and the ids that end an answer, from the `config.json`
//! beside it.

use std::path::Path;

use serde_json::Value;

use crate::error::TensorRtError;

/// The part of `config.json` that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) context: u32,
    pub(crate) heads: Option<u32>,
    pub(crate) width: Option<u32>,
    pub(crate) end_of_sequence: Vec<u32>,
    /// GPT-2 has a tokenizer of its own when no file brings one.
    pub(crate) is_gpt2: bool,
}

impl Config {
    /// Reads it.
    pub(crate) fn read(path: &Path) -> Result<Self, TensorRtError> {
        let bytes = std::fs::read(path).map_err(|source| TensorRtError::io(path, source))?;
        let json: Value = serde_json::from_slice(&bytes)
            .map_err(|error| TensorRtError::invalid(path, error.to_string()))?;
        let number = |names: &[&str]| {
            names.iter().find_map(|name| json[name].as_u64()).and_then(|n| u32::try_from(n).ok())
        };
        let context = number(&["n_positions", "max_position_embeddings", "n_ctx"])
            .filter(|&context| (2..=1 << 24).contains(&context))
            .ok_or_else(|| {
                TensorRtError::invalid(
                    path,
                    "neither n_positions nor max_position_embeddings is a context length",
                )
            })?;
        let end_of_sequence = match &json["eos_token_id"] {
            Value::Array(ids) => ids.iter().filter_map(id).collect(),
            one => id(one).into_iter().collect(),
        };
        Ok(Self {
            context,
            heads: number(&["n_head", "num_attention_heads"]),
            width: number(&["n_embd", "hidden_size"]),
            end_of_sequence,
            is_gpt2: json["model_type"].as_str() == Some("gpt2"),
        })
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, TensorRtError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn both_families_are_read() {
        let gpt2 =
            read(r#"{"model_type":"gpt2","n_positions":1024,"n_head":2,"n_embd":64,"eos_token_id":50256}"#);
        let gpt2 = gpt2.unwrap();
        assert_eq!((gpt2.context, gpt2.heads, gpt2.width, gpt2.is_gpt2), (1024, Some(2), Some(64), true));
        assert_eq!(gpt2.end_of_sequence, [50256]);
        let llama = r#"{"max_position_embeddings":256,"num_attention_heads":4,"hidden_size":64,"eos_token_id":[2,3]}"#;
        let llama = read(llama).unwrap();
        assert_eq!((llama.context, llama.heads, llama.is_gpt2), (256, Some(4), false));
        assert_eq!(llama.end_of_sequence, [2, 3]);
    }

    #[test]
    fn a_config_without_a_context_is_refused() {
        for text in
            ["{", "{}", r#"{"n_positions":1}"#, r#"{"n_positions":-4}"#, r#"{"n_positions":99999999999}"#]
        {
            let error = read(text).unwrap_err();
            assert!(matches!(error, TensorRtError::Invalid { .. }), "{text}: {error}");
        }
    }
}
