//! Byte-level BPE vocabularies, as GGUF's keys and as `tokenizer.json`. The generated models get GPT-2's own: all of it
//! where the vocabulary is of its size, or its first tokens and merges where it is smaller, which is a sound BPE
//! too, since a merge only needs what comes before it. Nothing here encodes text.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde_json::{Value as Json, json};

use crate::error::ZooError;
use crate::gguf::{GgufFile, Value};

/// Tokens of GPT-2's vocabulary without `<|endoftext|>`.
const GPT2_TOKENS: usize = 50_256;
/// The text of the last token of a generated vocabulary.
const END_OF_TEXT: &str = "<|endoftext|>";
/// GGUF's number for a token of text.
const NORMAL: i32 = 1;
/// GGUF's number for a control token.
const CONTROL: i32 = 3;
/// GGUF's number for a token that a user added.
const USER_DEFINED: i32 = 4;

/// A vocabulary in the forms in which files hold it.
#[derive(Debug, Clone)]
pub(crate) struct Tokenizer {
    /// GGUF's keys.
    pub(crate) keys: Vec<(String, Value)>,
    /// The content of `tokenizer.json`, where it can be expressed there.
    pub(crate) json: Option<Json>,
}

impl Tokenizer {
    /// The vocabulary of `size` tokens for a generated model: none if that is below 257 or above GPT-2's.
    pub(crate) fn generated(size: usize) -> Result<Option<Self>, ZooError> {
        if !(257..=GPT2_TOKENS + 1).contains(&size) {
            return Ok(None);
        }
        let all = gpt2()?;
        let mut tokens: Vec<String> = all.tokens[..size - 1].to_vec();
        tokens.push(END_OF_TEXT.to_owned());
        let merges = all.merges[..size - 1 - 256].to_vec();
        let mut types = vec![NORMAL; size - 1];
        types.push(CONTROL);
        let json = tokenizer_json("gpt-2", &tokens, &types, &merges);
        let end = Value::U32(size as u32 - 1);
        let keys = [
            ("model", Value::String("gpt2".to_owned())),
            ("pre", Value::String("gpt-2".to_owned())),
            ("tokens", Value::strings(tokens)),
            ("token_type", Value::i32s(types)),
            ("merges", Value::strings(merges)),
            ("bos_token_id", end.clone()),
            ("eos_token_id", end),
            ("add_bos_token", Value::Bool(false)),
        ];
        let keys = keys.into_iter().map(|(k, v)| (format!("tokenizer.ggml.{k}"), v)).collect();
        Ok(Some(Self { keys, json }))
    }

    /// The vocabulary of a file: its keys as they are, and `tokenizer.json` if it is byte-level BPE with a splitting rule
    /// that is known here.
    pub(crate) fn of_file(file: &GgufFile) -> Option<Self> {
        let keys: Vec<_> =
            file.metadata().iter().filter(|(k, _)| k.starts_with("tokenizer.")).cloned().collect();
        if keys.is_empty() {
            return None;
        }
        let strings = |key: &str| -> Option<Vec<String>> {
            file.get(key)?.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let json = (|| {
            if file.get("tokenizer.ggml.model")?.as_str()? != "gpt2" {
                return None;
            }
            let pre = file.get("tokenizer.ggml.pre")?.as_str()?;
            let tokens = strings("tokenizer.ggml.tokens")?;
            let merges = strings("tokenizer.ggml.merges")?;
            let types: Option<Vec<i32>> = file
                .get("tokenizer.ggml.token_type")?
                .as_array()?
                .iter()
                .map(|v| v.as_u64().and_then(|v| v.try_into().ok()))
                .collect();
            tokenizer_json(pre, &tokens, &types?, &merges)
        })();
        Some(Self { keys, json })
    }
}

/// The content of `tokenizer.json`; none if the rule that splits text before BPE is not known here.
fn tokenizer_json(pre: &str, tokens: &[String], types: &[i32], merges: &[String]) -> Option<Json> {
    let bytes =
        json!({ "add_prefix_space": false, "trim_offsets": true, "type": "ByteLevel", "use_regex": true });
    let pre_tokenizer = match pre {
        "gpt-2" => bytes.clone(),
        "smollm" => {
            let digits = json!({ "individual_digits": true, "type": "Digits" });
            json!({ "pretokenizers": [digits, bytes], "type": "Sequence" })
        }
        _ => return None,
    };
    if types.len() != tokens.len() {
        return None;
    }
    let vocab: BTreeMap<&str, usize> = tokens.iter().enumerate().map(|(id, t)| (t.as_str(), id)).collect();
    let added: Vec<Json> = tokens
        .iter()
        .zip(types)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED))
        .map(|(id, (token, kind))| {
            json!({
                "content": token,
                "id": id,
                "lstrip": false,
                "normalized": false,
                "rstrip": false,
                "single_word": false,
                "special": *kind == CONTROL,
            })
        })
        .collect();
    Some(json!({
        "added_tokens": added,
        "decoder": bytes,
        "model": {
            "byte_fallback": false,
            "continuing_subword_prefix": "",
            "dropout": null,
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "ignore_merges": false,
            "merges": merges,
            "type": "BPE",
            "unk_token": null,
            "vocab": vocab,
        },
        "normalizer": null,
        "padding": null,
        "post_processor": { "add_prefix_space": false, "trim_offsets": false, "type": "ByteLevel", "use_regex": true },
        "pre_tokenizer": pre_tokenizer,
        "truncation": null,
        "version": "1.0",
    }))
}

/// GPT-2's tokens, in GPT-2's printable spelling of bytes, and its merges.
struct Gpt2 {
    tokens: Vec<String>,
    merges: Vec<String>,
}

fn gpt2() -> Result<&'static Gpt2, ZooError> {
    static CELL: OnceLock<Result<Gpt2, String>> = OnceLock::new();
    CELL.get_or_init(load_gpt2)
        .as_ref()
        .map_err(|detail| ZooError::Internal { detail: format!("GPT-2's vocabulary: {detail}") })
}

/// Takes the tokens from tiktoken's ranks, and finds each one's merge: the two parts that BPE leaves when it may use
/// only lower ranks.
fn load_gpt2() -> Result<Gpt2, String> {
    let bpe = tiktoken_rs::r50k_base().map_err(|error| error.to_string())?;
    let tokens: Vec<Vec<u8>> = (0..GPT2_TOKENS as u32)
        .map(|id| bpe.decode_bytes(&[id]).map_err(|error| format!("token {id}: {error}")))
        .collect::<Result<_, _>>()?;
    let ranks: HashMap<&[u8], usize> = tokens.iter().enumerate().map(|(id, t)| (t.as_slice(), id)).collect();
    let printable = printable_bytes();
    let spell = |bytes: &[u8]| bytes.iter().map(|b| printable[usize::from(*b)]).collect::<String>();
    let mut merges = Vec::with_capacity(GPT2_TOKENS - 256);
    for (id, token) in tokens.iter().enumerate().skip(256) {
        let split = last_merge(token, id, &ranks).ok_or_else(|| format!("token {id} has no merge"))?;
        merges.push(format!("{} {}", spell(&token[..split]), spell(&token[split..])));
    }
    Ok(Gpt2 { tokens: tokens.iter().map(|t| spell(t)).collect(), merges })
}

/// Where the token of rank `rank` is joined last.
fn last_merge(token: &[u8], rank: usize, ranks: &HashMap<&[u8], usize>) -> Option<usize> {
    // Bounds of the parts.
    let mut bounds: Vec<usize> = (0..=token.len()).collect();
    while bounds.len() > 3 {
        let best = (0..bounds.len() - 2)
            .filter_map(|i| ranks.get(&token[bounds[i]..bounds[i + 2]]).map(|r| (*r, i)))
            .filter(|(r, _)| *r < rank)
            .min()?;
        bounds.remove(best.1 + 1);
    }
    (bounds.len() == 3).then(|| bounds[1])
}

/// GPT-2's printable character for each byte: itself where it is printable in Latin-1, else the next free code point
/// from 256 on (`bytes_to_unicode` in OpenAI's encoder).
fn printable_bytes() -> [char; 256] {
    let mut next = 256_u32;
    std::array::from_fn(|byte| match byte as u8 {
        b @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(b),
        _ => {
            next += 1;
            // 256..=323: all are characters.
            char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2_is_spelt_and_merged_as_published() {
        let gpt2 = gpt2().unwrap();
        // The first lines of vocab.bpe, and ids of encoder.json.
        assert_eq!(&gpt2.merges[..5], ["Ġ t", "Ġ a", "h e", "i n", "r e"]);
        assert_eq!(gpt2.merges.len(), 50_000);
        assert_eq!((gpt2.tokens[0].as_str(), gpt2.tokens[15_496].as_str()), ("!", "Hello"));
        assert_eq!(gpt2.tokens[220], "Ġ");
        assert_eq!(gpt2.tokens[995], "Ġworld");
    }

    #[test]
    fn every_merge_joins_two_tokens_into_the_next() {
        let gpt2 = gpt2().unwrap();
        let ids: HashMap<&str, usize> =
            gpt2.tokens.iter().enumerate().map(|(i, t)| (t.as_str(), i)).collect();
        for (i, merge) in gpt2.merges.iter().enumerate() {
            let (a, b) = merge.split_once(' ').unwrap();
            let id = i + 256;
            assert!(ids[a] < id && ids[b] < id, "{merge}");
            assert_eq!(gpt2.tokens[id], format!("{a}{b}"));
        }
    }

    #[test]
    fn sizes_without_a_vocabulary_have_none() {
        assert!(Tokenizer::generated(256).unwrap().is_none());
        assert!(Tokenizer::generated(50_258).unwrap().is_none());
        let small = Tokenizer::generated(512).unwrap().unwrap();
        let json = small.json.unwrap();
        assert_eq!(json["model"]["merges"].as_array().unwrap().len(), 255);
        assert_eq!(json["model"]["vocab"][END_OF_TEXT], 511);
        assert_eq!(json["added_tokens"][0]["id"], 511);
    }
}
