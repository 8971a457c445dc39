//! Which bytes each token stands for, as one flat table. How text is cut into tokens is not known here.

use super::TokenizerError;

/// How the spelling of a token in a vocabulary stands for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's: each byte is one printable character.
    ByteLevel,
    /// SentencePiece's: text itself, with `▁` for a space.
    Metaspace,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Stands for no text.
    Control,
    /// Its spelling is its text, whatever the vocabulary's way of spelling.
    Literal,
    /// `<0x0A>` for one byte.
    Byte,
}

/// Bytes of every token.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Pieces {
    /// The table of a vocabulary in the order of its ids.
    pub(super) fn new<'a>(
        tokens: impl Iterator<Item = (&'a str, Kind)>,
        spelling: Spelling,
    ) -> Result<Self, TokenizerError> {
        let from_printable = FromPrintable::new();
        let mut table = Self::default();
        for (token, kind) in tokens {
            match (kind, spelling) {
                (Kind::Control, _) => {}
                (Kind::Literal, _) => table.bytes.extend_from_slice(token.as_bytes()),
                (Kind::Byte, _) => table.bytes.push(byte_of(token).ok_or_else(|| {
                    TokenizerError::Invalid(format!("byte token {token:?} is not of the form <0x0A>"))
                })?),
                (Kind::Text, Spelling::ByteLevel) => from_printable.push(token, &mut table.bytes),
                (Kind::Text, Spelling::Metaspace) => {
                    table.bytes.extend_from_slice(token.replace('\u{2581}', " ").as_bytes());
                }
            }
            table.ends.push(table.bytes.len());
        }
        Ok(table)
    }

    /// Bytes of a token; none outside the vocabulary.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let index = id as usize;
        let start = index.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|&end| self.bytes.get(start..end)).unwrap_or_default()
    }
}

/// The byte of `<0x0A>`.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    u8::from_str_radix(token.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

/// Inverse of GPT-2's printable bytes (`bytes_to_unicode` of its published encoder): bytes that print stand for
/// themselves, the others follow from U+0100 on in their order.
struct FromPrintable(std::collections::HashMap<char, u8>);

impl FromPrintable {
    fn new() -> Self {
        let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let mut map = std::collections::HashMap::with_capacity(256);
        let mut next = 0x100u32;
        for byte in 0..=u8::MAX {
            let shown = if prints(byte) {
                char::from(byte)
            } else {
                next += 1;
                char::from_u32(next - 1).unwrap_or_default()
            };
            map.insert(shown, byte);
        }
        Self(map)
    }

    fn push(&self, token: &str, bytes: &mut Vec<u8>) {
        for shown in token.chars() {
            match self.0.get(&shown) {
                Some(&byte) => bytes.push(byte),
                // A character that stands for no byte was put there as it is.
                None => bytes.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_bytes() {
        let tokens = [
            ("Ġhello", Kind::Text),
            ("Ã©", Kind::Text),
            ("<|end|>", Kind::Control),
            ("Ċ", Kind::Text),
            ("Ġ", Kind::Literal),
        ];
        let table = Pieces::new(tokens.into_iter(), Spelling::ByteLevel).unwrap();
        let expected: [&[u8]; 6] = [b" hello", "é".as_bytes(), b"", b"\n", "Ġ".as_bytes(), b""];
        for (id, bytes) in (0u32..).zip(expected) {
            assert_eq!(table.get(id), bytes, "{id}");
        }
        let tokens = [("▁the", Kind::Text), ("<0xE2>", Kind::Byte), ("é", Kind::Text)];
        let table = Pieces::new(tokens.into_iter(), Spelling::Metaspace).unwrap();
        assert_eq!((table.get(0), table.get(1), table.get(2)), (&b" the"[..], &b"\xE2"[..], "é".as_bytes()));
        assert!(Pieces::new([("x", Kind::Byte)].into_iter(), Spelling::Metaspace).is_err());
    }
}
