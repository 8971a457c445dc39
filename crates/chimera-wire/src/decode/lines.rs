//! Lines of a byte stream, as NDJSON has them: one JSON value a line. What a line holds is not looked at.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::DecodeError;

/// Cuts a byte stream into lines, `\n` or `\r\n`, without the line ends. Empty lines are left out.
///
/// Feed a piece, then take lines until there is none. A line that lies in one piece is not copied.
#[derive(Debug)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet.
    open: BytesMut,
    rest: Bytes,
    limit: usize,
    failed: bool,
}

impl Lines {
    /// A decoder that refuses lines longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { open: BytesMut::new(), rest: Bytes::new(), limit, failed: false }
    }

    /// Adds what came next. What was fed before must have been taken out with [`Self::next_line`]; otherwise it is
    /// put in front.
    pub fn feed(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.rest = bytes;
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + bytes.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&bytes);
            self.rest = joined.freeze();
        }
    }

    /// The next whole line; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], and then always: where the next line begins is not known any more.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let too_long = Err(DecodeError::TooLong { limit: self.limit });
        if self.failed {
            return too_long;
        }
        loop {
            let Some(end) = memchr(b'\n', &self.rest) else {
                if self.open.len() + self.rest.len() > self.limit {
                    self.fail();
                    return too_long;
                }
                self.open.extend_from_slice(&self.rest);
                self.rest = Bytes::new();
                return Ok(None);
            };
            if self.open.len() + end > self.limit {
                self.fail();
                return too_long;
            }
            let mut line = self.rest.split_to(end + 1);
            line.truncate(end);
            if !self.open.is_empty() {
                self.open.extend_from_slice(&line);
                line = self.open.split().freeze();
            }
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// What stands after the last line end when the stream is over; `None` when nothing does.
    pub fn finish(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.rest);
        self.open.extend_from_slice(&rest);
        let last = self.open.split().freeze();
        let blank = last.iter().all(u8::is_ascii_whitespace);
        (!blank && !self.failed).then_some(last)
    }

    fn fail(&mut self) {
        self.failed = true;
        self.open = BytesMut::new();
        self.rest = Bytes::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, DecodeError> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for piece in pieces {
            lines.feed(Bytes::copy_from_slice(piece));
            while let Some(line) = lines.next_line()? {
                found.push(line.to_vec());
            }
        }
        found.extend(lines.finish().map(|line| line.to_vec()));
        Ok(found)
    }

    const TEXT: &[u8] = "{\"a\":\"größer\"}\r\n\n{\"b\":1}\n\r\n{\"数\":\"🦀\"}\nlast".as_bytes();

    #[test]
    fn every_split_gives_the_same_lines() {
        let whole = all(&[TEXT], 100).unwrap();
        assert_eq!(whole.len(), 4);
        for first in 0..=TEXT.len() {
            for second in first..=TEXT.len() {
                let pieces = [&TEXT[..first], &TEXT[first..second], &TEXT[second..]];
                assert_eq!(all(&pieces, 100).unwrap(), whole);
            }
        }
        let single: Vec<&[u8]> = TEXT.chunks(1).collect();
        assert_eq!(all(&single, 100).unwrap(), whole);
    }

    #[test]
    fn a_line_that_does_not_end_is_refused_for_good() {
        let mut lines = Lines::new(10);
        lines.feed(Bytes::from_static(b"0123456789"));
        assert_eq!(lines.next_line(), Ok(None));
        lines.feed(Bytes::from_static(b"0\nok\n"));
        assert_eq!(lines.next_line(), Err(DecodeError::TooLong { limit: 10 }));
        lines.feed(Bytes::from_static(b"ok\n"));
        assert_eq!(lines.next_line(), Err(DecodeError::TooLong { limit: 10 }));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn unread_lines_are_not_lost_when_more_is_fed() {
        let mut lines = Lines::new(10);
        lines.feed(Bytes::from_static(b"a\nb"));
        lines.feed(Bytes::from_static(b"c\n"));
        assert_eq!(lines.next_line(), Ok(Some(Bytes::from_static(b"a"))));
        assert_eq!(lines.next_line(), Ok(Some(Bytes::from_static(b"bc"))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_cut_like_the_plain_way(
            bytes in proptest::collection::vec(prop_oneof![2 => any::<u8>(), 3 => prop::sample::select(&b"\n\r \ta"[..])], 0..200),
            at in 0_usize..200,
        ) {
            let at = at.min(bytes.len());
            let mut plain: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            // What follows the last line end is given as it is, or left out when it is blank.
            let last = plain.pop().filter(|last| !last.iter().all(u8::is_ascii_whitespace));
            let mut plain: Vec<Vec<u8>> = plain
                .iter()
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
                .filter(|line| !line.is_empty())
                .collect();
            plain.extend(last);
            prop_assert_eq!(all(&[&bytes[..at], &bytes[at..]], 1000).unwrap(), plain);
        }
    }
}
