//! The vocabulary inside a GGUF file. Splitting rules are known by their names (`tokenizer.ggml.pre`), and an unknown
//! name is refused: a wrong rule gives wrong ids in silence.

use tokenizers::{
    SplitDelimiterBehavior,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::{
    Encoder, Tokenizer, TokenizerError,
    control::Control,
    pieces::{Kind, Pieces, Spelling},
    spm::Spm,
};

/// What a GGUF file says of its tokenizer, under the keys `tokenizer.ggml.*`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` for byte-level pairs, `llama` for SentencePiece with scores.
    pub model: String,
    /// `pre`: the name of the splitting rule of byte-level pairs.
    pub pre: Option<String>,
    /// `tokens`: spelling of every token.
    pub tokens: Vec<String>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// `merges`: pairs in order, each with one space between.
    pub merges: Vec<String>,
    /// `scores`: one per token.
    pub scores: Vec<f32>,
    /// `bos_token_id`.
    pub begin: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `add_bos_token`.
    pub add_begin: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
}

/// Splitting rule of Llama 3, as its published `tokenizer.json` has it.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn build(vocabulary: GgufVocabulary) -> Result<Tokenizer, TokenizerError> {
    if vocabulary.tokens.is_empty() {
        return Err(TokenizerError::Unsupported("the file holds no tokens".into()));
    }
    let types = vocabulary.token_types.len();
    if types != 0 && types != vocabulary.tokens.len() {
        return Err(TokenizerError::Invalid(format!(
            "{} tokens and {types} token types",
            vocabulary.tokens.len()
        )));
    }
    match vocabulary.model.as_str() {
        "gpt2" => byte_pairs(vocabulary),
        "llama" => sentence_piece(vocabulary),
        other => Err(TokenizerError::Unsupported(format!("tokenizer model {other:?} is not known"))),
    }
}

fn kinds(vocabulary: &GgufVocabulary) -> impl Iterator<Item = Kind> {
    let types = vocabulary.token_types.iter().map(|kind| match kind {
        2 | 3 | 5 => Kind::Control,
        4 => Kind::Literal,
        6 => Kind::Byte,
        _ => Kind::Text,
    });
    types.chain(std::iter::repeat(Kind::Text)).take(vocabulary.tokens.len())
}

/// Tokens whose spelling in a template stands for them.
fn control(vocabulary: &GgufVocabulary) -> Control {
    let tokens = vocabulary.tokens.iter().zip(0_u32..).zip(kinds(vocabulary));
    let spelt = tokens.filter(|(_, kind)| matches!(kind, Kind::Control | Kind::Literal));
    Control::new(spelt.map(|((token, id), _)| (token.as_str(), id)))
}

fn pieces(vocabulary: &GgufVocabulary, spelling: Spelling) -> Result<Pieces, TokenizerError> {
    Pieces::new(vocabulary.tokens.iter().map(String::as_str).zip(kinds(vocabulary)), spelling)
}

fn byte_pairs(vocabulary: GgufVocabulary) -> Result<Tokenizer, TokenizerError> {
    let pre = vocabulary.pre.as_deref().unwrap_or("gpt-2");
    let (splitter, ignore_merges) = splitter(pre)?;
    let pieces = pieces(&vocabulary, Spelling::ByteLevel)?;
    let control = control(&vocabulary);
    let begin = vocabulary.begin.filter(|_| vocabulary.add_begin == Some(true));
    let merges = vocabulary
        .merges
        .iter()
        .map(|merge| match merge.split_once(' ') {
            Some((a, b)) => Ok((a.to_owned(), b.to_owned())),
            None => Err(TokenizerError::Invalid(format!("merge {merge:?} is no pair"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let ids: Vocab = vocabulary.tokens.into_iter().zip(0u32..).collect();
    let model = BPE::builder()
        .vocab_and_merges(ids, merges)
        .ignore_merges(ignore_merges)
        .build()
        .map_err(|error| TokenizerError::Invalid(error.to_string()))?;
    let mut library = tokenizers::Tokenizer::new(model);
    library.with_pre_tokenizer(Some(splitter));
    Ok(Tokenizer { encoder: Encoder::Library(Box::new(library)), pieces: Some(pieces), begin, control })
}

/// The splitting rule of a name, and whether whole words are looked up before pairs are merged.
fn splitter(pre: &str) -> Result<(PreTokenizerWrapper, bool), TokenizerError> {
    let bytes = |regex| ByteLevel::new(false, true, regex);
    Ok(match pre {
        "gpt-2" | "gpt2" => (bytes(true).into(), false),
        "smollm" => (Sequence::new(vec![Digits::new(true).into(), bytes(true).into()]).into(), false),
        "llama-bpe" | "llama3" | "llama-v3" => {
            let pattern = SplitPattern::Regex(LLAMA3.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| TokenizerError::Invalid(error.to_string()))?;
            (Sequence::new(vec![split.into(), bytes(false).into()]).into(), true)
        }
        other => {
            return Err(TokenizerError::Unsupported(format!("splitting rule {other:?} is not known")));
        }
    })
}

fn sentence_piece(vocabulary: GgufVocabulary) -> Result<Tokenizer, TokenizerError> {
    if vocabulary.scores.len() != vocabulary.tokens.len() {
        return Err(TokenizerError::Invalid(format!(
            "{} tokens and {} scores",
            vocabulary.tokens.len(),
            vocabulary.scores.len()
        )));
    }
    let pieces = pieces(&vocabulary, Spelling::Metaspace)?;
    let control = control(&vocabulary);
    // llama.cpp's defaults for this kind: a begin token and a leading space.
    let begin = vocabulary.begin.filter(|_| vocabulary.add_begin != Some(false));
    let ordinary: Vec<bool> = kinds(&vocabulary).map(|k| matches!(k, Kind::Text | Kind::Literal)).collect();
    let GgufVocabulary { tokens, scores, unknown, add_space_prefix, .. } = vocabulary;
    let tokens = tokens.into_iter().zip(scores).zip(ordinary).map(|((t, s), o)| (t, s, o));
    let spm = Spm::new(tokens, unknown, add_space_prefix.unwrap_or(true));
    Ok(Tokenizer { encoder: Encoder::Spm(spm), pieces: Some(pieces), begin, control })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| (*s).to_owned()).collect()
    }

    /// Printable bytes as far as the tests need them, then a few merges.
    fn byte_level(pre: &str) -> GgufVocabulary {
        GgufVocabulary {
            model: "gpt2".into(),
            pre: Some(pre.into()),
            tokens: strings(&["a", "b", "1", "2", "Ġ", "ab", "Ġab", "12", "<|end|>", "Ã", "©"]),
            token_types: vec![1, 1, 1, 1, 1, 1, 1, 1, 3, 1, 1],
            merges: strings(&["a b", "Ġ ab", "1 2"]),
            begin: Some(8),
            ..GgufVocabulary::default()
        }
    }

    #[test]
    fn splitting_rules_differ_where_they_should() {
        let gpt2 = Tokenizer::from_gguf(byte_level("gpt-2")).unwrap();
        assert_eq!(gpt2.encode("ab ab12").unwrap(), [5, 6, 7]);
        let smollm = Tokenizer::from_gguf(byte_level("smollm")).unwrap();
        // Digits stand alone, and no space is put before the text.
        assert_eq!(smollm.encode("ab ab12").unwrap(), [5, 6, 2, 3]);
        assert_eq!(smollm.decode(&[5, 6, 2, 8, 9, 10]), "ab ab1é");
        let llama3 = Tokenizer::from_gguf(byte_level("llama-bpe")).unwrap();
        assert_eq!(llama3.encode("ab ab12").unwrap(), [5, 6, 7]);
        let unknown = Tokenizer::from_gguf(byte_level("klingon")).unwrap_err();
        assert!(matches!(&unknown, TokenizerError::Unsupported(why) if why.contains("klingon")));
    }

    #[test]
    fn a_begin_token_comes_only_where_the_file_says_so() {
        assert_eq!(Tokenizer::from_gguf(byte_level("gpt-2")).unwrap().encode_prompt("a").unwrap(), [0]);
        let with = GgufVocabulary { add_begin: Some(true), ..byte_level("gpt-2") };
        let with = Tokenizer::from_gguf(with).unwrap();
        assert_eq!(with.encode_prompt("a").unwrap(), [8, 0]);
        assert_eq!(with.encode("a").unwrap(), [0]);
    }

    #[test]
    fn contradictions_are_found() {
        let refused = |change: &dyn Fn(&mut GgufVocabulary)| {
            let mut v = byte_level("gpt-2");
            change(&mut v);
            Tokenizer::from_gguf(v).unwrap_err()
        };
        assert!(matches!(refused(&|v| v.merges.push("x".into())), TokenizerError::Invalid(_)));
        assert!(matches!(refused(&|v| v.merges.push("x y".into())), TokenizerError::Invalid(_)));
        assert!(matches!(refused(&|v| v.token_types.truncate(2)), TokenizerError::Invalid(_)));
        assert!(matches!(refused(&|v| v.model = "t5".into()), TokenizerError::Unsupported(_)));
        assert!(matches!(refused(&|v| v.model = "llama".into()), TokenizerError::Invalid(_)));
        assert!(matches!(refused(&|v| v.tokens.clear()), TokenizerError::Unsupported(_)));
    }

    #[test]
    fn sentence_piece_from_a_file() {
        let v = GgufVocabulary {
            model: "llama".into(),
            tokens: strings(&["<unk>", "<s>", "<0x0A>", "▁", "h", "i", "hi", "▁hi"]),
            token_types: vec![2, 3, 6, 1, 1, 1, 1, 1],
            scores: vec![0.0, 0.0, 0.0, -5.0, -6.0, -7.0, -1.0, -2.0],
            begin: Some(1),
            unknown: Some(0),
            ..GgufVocabulary::default()
        };
        let tokenizer = Tokenizer::from_gguf(v).unwrap();
        assert_eq!(tokenizer.encode_prompt("hi\nhi").unwrap(), [1, 7, 2, 6]);
        assert_eq!(tokenizer.decode(&[1, 7, 2, 6]), " hi\nhi");
    }
}
