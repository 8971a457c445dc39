//! What a simulated model says: words chosen by a hash of model, prompt and seed, one byte per token, so that letters
//! and signs of several bytes are split over tokens. It means nothing.

use crate::noise::mix;

/// Id of the end-of-sequence token; ids below it are bytes.
pub(crate) const EOS: u32 = 256;
/// Bytes and the end of sequence.
pub(crate) const VOCABULARY: u32 = 257;

const WORDS: [&str; 16] = [
    "time ", "größe ", "數 ", "law ", "naïve ", "steps ", "Ω ", "zwölf ", "node ", "🦀 ", "mean ", "ещё ",
    "run ", "añade ", "tail ", "été ",
];

/// An endless sequence of bytes.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    state: u64,
    word: &'static [u8],
}

impl Story {
    /// The story that a hash tells.
    pub(crate) fn new(hash: u64) -> Self {
        Self { state: hash, word: &[] }
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> u8 {
        loop {
            if let Some((&byte, rest)) = self.word.split_first() {
                self.word = rest;
                return byte;
            }
            self.state = mix(self.state);
            // The upper bits choose among 16 words.
            self.word = WORDS.get((self.state >> 60) as usize).map_or(b"?", |word| word.as_bytes());
        }
    }
}

/// Puts bytes together to characters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Assembler {
    open: [u8; 4],
    length: usize,
}

impl Assembler {
    /// Appends to `text` what became complete with `byte`.
    pub(crate) fn push(&mut self, byte: u8, text: &mut String) {
        if self.length == 0 && byte.is_ascii() {
            text.push(char::from(byte));
            return;
        }
        if let Some(place) = self.open.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
        let open = self.open.get(..self.length).unwrap_or_default();
        if let Ok(whole) = std::str::from_utf8(open) {
            text.push_str(whole);
            self.length = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_whole_text_in_split_bytes() {
        let mut story = Story::new(5);
        let mut assembler = Assembler::default();
        let (mut text, mut bytes, mut silent) = (String::new(), Vec::new(), 0);
        while bytes.len() < 400 {
            let byte = story.next();
            bytes.push(byte);
            let before = text.len();
            assembler.push(byte, &mut text);
            silent += usize::from(text.len() == before);
        }
        assert!(silent > 10, "no character was split");
        assert!(bytes.starts_with(text.as_bytes()) && bytes.len() - text.len() < 4);
        assert_ne!(text, {
            let (mut other, mut out, mut a) = (Story::new(6), String::new(), Assembler::default());
            (0..400).for_each(|_| a.push(other.next(), &mut out));
            out
        });
    }
}
