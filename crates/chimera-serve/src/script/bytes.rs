//! Small encodings: dates, substrings, and gzip without a compressor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer};

/// Bytes in TOML: a text, or a list of numbers.
pub(super) fn text_or_numbers<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<u8>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text, or a list of numbers from 0 to 255")]
    enum Either {
        Text(String),
        Numbers(Vec<u8>),
    }
    Ok(match Either::deserialize(reader)? {
        Either::Text(text) => text.into_bytes(),
        Either::Numbers(numbers) => numbers,
    })
}

/// Whether `part` is somewhere in `whole`.
pub(super) fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}

/// RFC 3339 in UTC with nanoseconds, as Ollama's `created_at`. Days to dates by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (secs, nanos) = (since.as_secs(), since.subsec_nanos());
    let (days, second) = (secs / 86_400 + 719_468, secs % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The table of CRC-32 (RFC 1952, part 8).
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
            bit += 1;
        }
        table[i] = c;
        i += 1;
    }
    table
};

fn crc(crc: u32, bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!crc, |c, byte| CRC[((c ^ u32::from(byte)) & 0xff) as usize] ^ (c >> 8))
}

/// A gzip stream in stored blocks, in parts that can be sent one by one (RFC 1951, 3.2.4).
#[derive(Default)]
pub(super) struct Gzip {
    crc: u32,
    length: u32,
    begun: bool,
}

impl Gzip {
    /// The next part; what it holds can be unpacked as soon as it is there.
    pub(super) fn part(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 32);
        if !self.begun {
            out.extend_from_slice(&GZIP_HEAD);
            self.begun = true;
        }
        for block in bytes.chunks(0xffff) {
            stored(&mut out, block, false);
        }
        self.crc = crc(self.crc, bytes.iter().copied());
        self.length = self.length.wrapping_add(bytes.len() as u32);
        out
    }

    /// The last part.
    pub(super) fn end(mut self) -> Vec<u8> {
        let mut out = self.part(&[]);
        stored(&mut out, &[], true);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out
    }
}

fn stored(out: &mut Vec<u8>, block: &[u8], last: bool) {
    out.push(u8::from(last));
    sized(out, block);
}

/// A stored block after its first three bits, from a whole byte on.
fn sized(out: &mut Vec<u8>, block: &[u8]) {
    let length = block.len() as u16;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(block);
}

/// A gzip of `head`, `count` times `b'x'`, and `tail`: one 159th of its size. The letters are matches of length 258 at
/// distance 1 in a block with fixed codes (RFC 1951, 3.2.6).
pub(super) fn gzip_bomb(head: &[u8], count: u32, tail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + tail.len() + count as usize / 150 + 64);
    out.extend_from_slice(&GZIP_HEAD);
    stored(&mut out, head, false);
    let (matches, singles) = (count.saturating_sub(1) / 258, count.saturating_sub(1) % 258);
    let mut bits = Bits { out: &mut out, buffer: 0, held: 0 };
    bits.put(0b010, 3); // Not the last block, fixed codes.
    let letters = if count == 0 { 0 } else { singles + 1 };
    for _ in 0..letters {
        bits.code(0x30 + u32::from(b'x'), 8);
    }
    for _ in 0..matches {
        bits.code(0b1100_0101, 8); // Symbol 285: length 258.
        bits.code(0, 5); // Distance 1.
    }
    bits.code(0, 7); // End of block.
    // The head of the next block begins at the next bit, and its length at the next byte.
    bits.put(0b001, 3);
    bits.align();
    sized(&mut out, tail);
    let x = std::iter::repeat_n(b'x', count as usize);
    let sum = crc(0, head.iter().copied().chain(x).chain(tail.iter().copied()));
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&((head.len() + tail.len()) as u32).wrapping_add(count).to_le_bytes());
    out
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    buffer: u32,
    held: u32,
}

impl Bits<'_> {
    /// Plain bits, the lowest first.
    fn put(&mut self, bits: u32, count: u32) {
        self.buffer |= bits << self.held;
        self.held += count;
        while self.held >= 8 {
            self.out.push(self.buffer as u8);
            self.buffer >>= 8;
            self.held -= 8;
        }
    }

    /// A Huffman code, the highest bit first.
    fn code(&mut self, code: u32, length: u32) {
        self.put(code.reverse_bits() >> (32 - length), length);
    }

    fn align(&mut self) {
        if self.held > 0 {
            self.put(0, 8 - self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |secs, nanos| rfc3339(UNIX_EPOCH + Duration::new(secs, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.000000007Z");
        assert_eq!(at(1_767_225_599, 999_999_999), "2025-12-31T23:59:59.999999999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc(0, b"123456789".iter().copied()), 0xcbf4_3926);
        assert_eq!(crc(crc(0, b"1234".iter().copied()), b"56789".iter().copied()), 0xcbf4_3926);
    }

    #[test]
    fn a_gzip_in_stored_blocks_is_laid_out_as_the_standard_says() {
        let mut gzip = Gzip::default();
        let mut all = gzip.part(b"ab");
        all.extend(gzip.end());
        let mut want = GZIP_HEAD.to_vec();
        want.extend([0, 2, 0, 0xfd, 0xff, b'a', b'b', 1, 0, 0, 0xff, 0xff]);
        want.extend(crc(0, b"ab".iter().copied()).to_le_bytes());
        want.extend(2u32.to_le_bytes());
        assert_eq!(all, want);
    }
}
