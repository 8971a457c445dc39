//! Control tokens in the text of a chat template: there, and only there, their spelling stands for them.

use std::collections::HashMap;

/// Spellings of control tokens, by their first byte, the longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Control(HashMap<u8, Vec<(Box<str>, u32)>>);

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

impl Control {
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut all: HashMap<u8, Vec<(Box<str>, u32)>> = HashMap::new();
        for (spelling, id) in tokens {
            if let Some(first) = spelling.bytes().next() {
                all.entry(first).or_default().push((spelling.into(), id));
            }
        }
        for spellings in all.values_mut() {
            spellings.sort_by_key(|(spelling, _)| std::cmp::Reverse(spelling.len()));
        }
        Self(all)
    }

    /// Cuts a text at its control tokens.
    pub(super) fn parts<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let (mut begin, mut at) = (0, 0);
        while let Some(byte) = text.as_bytes().get(at) {
            let rest = text.get(at..).filter(|_| self.0.contains_key(byte));
            let found = rest.zip(self.0.get(byte)).and_then(|(rest, spellings)| {
                spellings.iter().find(|(spelling, _)| rest.starts_with(&**spelling))
            });
            let Some((spelling, id)) = found else {
                at += 1;
                continue;
            };
            parts.extend(text.get(begin..at).filter(|before| !before.is_empty()).map(Part::Text));
            parts.push(Part::Token(*id));
            at += spelling.len();
            begin = at;
        }
        parts.extend(text.get(begin..).filter(|rest| !rest.is_empty()).map(Part::Text));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_spelling_counts_and_the_rest_stays_text() {
        let control = Control::new([("<s>", 1), ("<s><s>", 2), ("é!", 3), ("", 4)].into_iter());
        use Part::{Text, Token};
        assert_eq!(
            control.parts("<s><s><s>a<é é!<s"),
            [Token(2), Token(1), Text("a<é "), Token(3), Text("<s")]
        );
        assert_eq!(control.parts(""), []);
        assert_eq!(Control::default().parts("<s>"), [Text("<s>")]);
    }
}
