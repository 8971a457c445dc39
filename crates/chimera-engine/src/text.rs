//! Bytes of tokens become text here, on the consumer's side of the channel, so that text never costs decode time.
//! Which bytes a token stands for is the tokenizer's knowledge.

/// Joins byte pieces into text and holds an incomplete character back until its last byte has come.
///
/// Bytes that can never become a character turn into U+FFFD at once. What is still incomplete when the stream ends was
/// no character and is dropped.
#[derive(Debug, Clone, Default)]
pub struct Utf8Assembler {
    pending: Vec<u8>,
}

impl Utf8Assembler {
    /// Takes the bytes of the next token and returns the text that became complete with them.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.pending.is_empty()
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return text.to_owned();
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut start = 0;
        while start < self.pending.len() {
            match std::str::from_utf8(&self.pending[start..]) {
                Ok(rest) => {
                    text.push_str(rest);
                    start = self.pending.len();
                }
                Err(error) => {
                    let valid = start + error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[start..valid]));
                    start = valid;
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            start += length;
                        }
                        None => break,
                    }
                }
            }
        }
        self.pending.drain(..start);
        text
    }

    /// Whether a character is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_open_character_waits_for_its_last_byte() {
        let mut text = Utf8Assembler::default();
        assert_eq!(text.push(b"a\xE2"), "a");
        assert!(text.is_open());
        assert_eq!(text.push(b"\x82"), "");
        assert_eq!(text.push(b"\xAC!"), "€!");
        assert!(!text.is_open());
    }

    #[test]
    fn what_can_never_become_a_character_is_replaced_at_once() {
        let mut text = Utf8Assembler::default();
        assert_eq!(text.push(b"\xFFa"), "\u{FFFD}a");
        assert_eq!(text.push(b"\xE2"), "");
        assert_eq!(text.push(b"b"), "\u{FFFD}b");
    }

    proptest! {
        #[test]
        fn any_cut_of_any_text_comes_back_whole(text in ".*", cuts in proptest::collection::vec(0usize..64, 0..8)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut assembler = Utf8Assembler::default();
            let joined: String = cuts.windows(2).map(|w| assembler.push(&bytes[w[0]..w[1]])).collect();
            prop_assert_eq!(joined, text);
            prop_assert!(!assembler.is_open());
        }

        #[test]
        fn any_bytes_give_what_lossy_decoding_gives(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut assembler = Utf8Assembler::default();
            let mut joined: String = bytes.iter().map(|&b| assembler.push(&[b])).collect();
            if assembler.is_open() {
                joined.push(char::REPLACEMENT_CHARACTER);
            }
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
        }
    }
}
