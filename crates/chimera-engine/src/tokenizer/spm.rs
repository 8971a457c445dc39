//! SentencePiece vocabularies ("llama" in GGUF) with scores: neighbours are joined in the order of the joined token's
//! score, and what has no token falls back to its bytes. The algorithm is the one that llama.cpp uses for them
//! (`llm_tokenizer_spm`). Splitting on user-defined tokens is not done: their spelling is text like any other.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

use super::{TokenizerError, pieces::byte_of};

/// A vocabulary with scores.
#[derive(Debug, Clone)]
pub(super) struct Spm {
    ids: HashMap<Box<str>, (u32, f32)>,
    bytes: HashMap<u8, u32>,
    unknown: Option<u32>,
    space_prefix: bool,
}

/// A run of text that is one token so far; a joined run leaves an empty one behind.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    length: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A possible join: best score first, then leftmost.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Join {
    score: f32,
    left: usize,
    right: usize,
    length: usize,
}

impl Eq for Join {}
impl Ord for Join {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}
impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Spm {
    /// A vocabulary in the order of its ids: spelling, score, and whether text may become this token.
    pub(super) fn new(
        tokens: impl Iterator<Item = (String, f32, bool)>,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Self {
        let mut ids = HashMap::new();
        let mut bytes = HashMap::new();
        for (id, (token, score, ordinary)) in (0u32..).zip(tokens) {
            if ordinary {
                ids.insert(token.into_boxed_str(), (id, score));
            } else if let Some(byte) = byte_of(&token) {
                bytes.insert(byte, id);
            }
        }
        Self { ids, bytes, unknown, space_prefix }
    }

    /// Ids of a text.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = if self.space_prefix { " " } else { "" };
        let text = format!("{prefix}{text}").replace(' ', "\u{2581}");
        let count = text.chars().count();
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(index, (start, c))| Symbol {
                start,
                length: c.len_utf8(),
                previous: index.checked_sub(1),
                next: (index + 1 < count).then_some(index + 1),
            })
            .collect();
        let mut joins = BinaryHeap::new();
        for right in 1..symbols.len() {
            joins.extend(self.join(&text, &symbols, right - 1, right));
        }
        while let Some(join) = joins.pop() {
            let (left, right) = (symbols[join.left], symbols[join.right]);
            // One of the two was joined to something else meanwhile.
            if left.length == 0 || right.length == 0 || left.length + right.length != join.length {
                continue;
            }
            symbols[join.left] = Symbol { length: join.length, next: right.next, ..left };
            symbols[join.right].length = 0;
            if let Some(next) = right.next {
                symbols[next].previous = Some(join.left);
                joins.extend(self.join(&text, &symbols, join.left, next));
            }
            if let Some(previous) = left.previous {
                joins.extend(self.join(&text, &symbols, previous, join.left));
            }
        }
        let mut ids = Vec::new();
        for symbol in symbols.iter().filter(|s| s.length > 0) {
            self.emit(&text[symbol.start..symbol.start + symbol.length], &mut ids)?;
        }
        Ok(ids)
    }

    fn join(&self, text: &str, symbols: &[Symbol], left: usize, right: usize) -> Option<Join> {
        let (a, b) = (symbols[left], symbols[right]);
        let length = a.length + b.length;
        let &(_, score) = self.ids.get(&text[a.start..a.start + length])?;
        Some(Join { score, left, right, length })
    }

    fn emit(&self, run: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        if let Some(&(id, _)) = self.ids.get(run) {
            ids.push(id);
            return Ok(());
        }
        for byte in run.bytes() {
            let id = self.bytes.get(&byte).copied().or(self.unknown);
            ids.push(
                id.ok_or_else(|| TokenizerError::Text(format!("{run:?} has no token and no byte tokens")))?,
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(space_prefix: bool) -> Spm {
        let ordinary = |t: &str, score| (t.to_owned(), score, true);
        let mut tokens = vec![("<unk>".to_owned(), 0.0, false)];
        tokens.extend((0..=255u8).map(|b| (format!("<0x{b:02X}>"), 0.0, false)));
        // Ids from 257 on.
        tokens.extend([
            ordinary("▁", -10.0),
            ordinary("a", -11.0),
            ordinary("b", -12.0),
            ordinary("c", -13.0),
            ordinary("ab", -2.0),
            ordinary("bc", -1.0),
            ordinary("abc", -3.0),
            ordinary("▁abc", -4.0),
        ]);
        Spm::new(tokens.into_iter(), Some(0), space_prefix)
    }

    #[test]
    fn joins_follow_scores_and_the_rest_falls_back_to_bytes() {
        // bc (-1) is joined before ab (-2); then a + bc gives abc, and ▁ + abc gives ▁abc.
        assert_eq!(vocabulary(true).encode("abc").unwrap(), [264]);
        assert_eq!(vocabulary(false).encode("abc").unwrap(), [263]);
        assert_eq!(vocabulary(false).encode("ab a").unwrap(), [261, 257, 258]);
        // é has no token: its bytes C3 A9 have ids 1 + byte.
        assert_eq!(vocabulary(false).encode("aé").unwrap(), [258, 1 + 0xC3, 1 + 0xA9]);
        assert!(vocabulary(true).encode("").unwrap().is_empty());
    }
}
