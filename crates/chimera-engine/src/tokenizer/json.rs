//! `tokenizer.json`: the library encodes, and the way back to bytes is read from the file's decoder.

use std::str::FromStr;

use serde_json::Value;

use super::{
    Encoder, Tokenizer, TokenizerError,
    control::Control,
    pieces::{Kind, Pieces, Spelling, byte_of},
};

pub(super) fn read(json: &[u8]) -> Result<Tokenizer, TokenizerError> {
    let invalid = |error: &dyn std::fmt::Display| TokenizerError::Invalid(format!("tokenizer.json: {error}"));
    let file: Value = serde_json::from_slice(json).map_err(|e| invalid(&e))?;
    let text = std::str::from_utf8(json).map_err(|e| invalid(&e))?;
    let mut library = tokenizers::Tokenizer::from_str(text).map_err(|e| invalid(&e))?;
    // Text is text, even where it spells a control token.
    library.set_encode_special_tokens(true);

    let decoder = &file["decoder"];
    let spelling = if mentions(decoder, "ByteLevel") {
        Spelling::ByteLevel
    } else if mentions(decoder, "ByteFallback") || mentions(decoder, "Metaspace") {
        Spelling::Metaspace
    } else {
        let kind = decoder["type"].as_str().unwrap_or("none");
        return Err(TokenizerError::Unsupported(format!("tokenizer.json with decoder {kind} is not known")));
    };
    let added = library.get_added_tokens_decoder();
    let count = library.get_vocab_size(true).max(added.keys().max().map_or(0, |&id| id as usize + 1));
    let mut tokens: Vec<(String, Kind)> = vec![(String::new(), Kind::Control); count];
    for (token, id) in library.get_vocab(false) {
        let byte = spelling == Spelling::Metaspace && byte_of(&token).is_some();
        if let Some(slot) = tokens.get_mut(id as usize) {
            *slot = (token, if byte { Kind::Byte } else { Kind::Text });
        }
    }
    for (id, token) in added {
        let kind = if token.special { Kind::Control } else { Kind::Literal };
        if let Some(slot) = tokens.get_mut(id as usize) {
            *slot = (token.content, kind);
        }
    }
    let spelt =
        tokens.iter().zip(0_u32..).filter(|((_, kind), _)| matches!(kind, Kind::Control | Kind::Literal));
    let control = Control::new(spelt.map(|((token, _), id)| (token.as_str(), id)));
    let pieces = Pieces::new(tokens.iter().map(|(t, k)| (t.as_str(), *k)), spelling)?;
    // The template that goes around an empty text begins with what goes before a prompt.
    let begin = library.encode_fast("", true).ok().and_then(|e| e.get_ids().first().copied());
    Ok(Tokenizer { encoder: Encoder::Library(Box::new(library)), pieces: Some(pieces), begin, control })
}

/// Whether a decoder is of a type, or is a sequence with one of that type in it.
fn mentions(decoder: &Value, kind: &str) -> bool {
    decoder["type"] == kind
        || decoder["decoders"].as_array().is_some_and(|all| all.iter().any(|d| mentions(d, kind)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file() -> Value {
        let bytes =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [{"id": 6, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true}],
            "pre_tokenizer": bytes, "decoder": bytes,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                      "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "<": 4, ">": 5, "<|end|>": 6},
                      "merges": ["a b"]},
        })
    }

    #[test]
    fn ids_and_bytes_come_from_the_file() {
        let tokenizer = Tokenizer::from_json(file().to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode("ab a").unwrap(), [3, 2, 0]);
        assert_eq!(tokenizer.encode_prompt("ab").unwrap(), [3]);
        assert_eq!(tokenizer.decode(&[3, 2, 0, 6, 99]), "ab a");
    }

    #[test]
    fn only_a_chat_template_spells_control_tokens() {
        let tokenizer = Tokenizer::from_json(file().to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode_template("<|end|>ab<|end|>").unwrap(), [6, 3, 6]);
        assert!(!tokenizer.encode("<>").unwrap().contains(&6));
    }

    #[test]
    fn a_template_gives_the_begin_token() {
        let mut with = file();
        with["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [6], "tokens": ["<|end|>"]}},
        });
        let tokenizer = Tokenizer::from_json(with.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode_prompt("ab").unwrap(), [6, 3]);
        assert_eq!(tokenizer.encode("ab").unwrap(), [3]);
    }

    #[test]
    fn what_cannot_be_read_or_undone_is_refused() {
        assert!(matches!(Tokenizer::from_json(b"{"), Err(TokenizerError::Invalid(_))));
        let mut other = file();
        other["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        assert!(matches!(
            Tokenizer::from_json(other.to_string().as_bytes()),
            Err(TokenizerError::Unsupported(_))
        ));
    }
}
