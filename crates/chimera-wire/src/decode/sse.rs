//! Server-sent events as inference servers use them (WHATWG HTML, 9.2.6): `event:` and `data:` fields, comments, and a
//! blank line that ends an event. Reconnection (`id:`, `retry:`) is read over: nobody reconnects to a generation.

use bytes::{Bytes, BytesMut};

use super::DecodeError;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// The `event:` field, where one was sent.
    pub name: Option<Bytes>,
    /// The `data:` fields, joined by line ends.
    pub data: Bytes,
}

/// Cuts a byte stream into events.
///
/// [`super::Lines`] leaves empty lines out and knows no bare `\r`, so this looks for line ends by itself.
#[derive(Debug)]
pub struct ServerEvents {
    lines: RawLines,
    name: Option<Bytes>,
    data: Option<Data>,
    held: usize,
}

/// Data of one `data:` field is not copied; a second one makes a copy.
#[derive(Debug)]
enum Data {
    One(Bytes),
    Many(BytesMut),
}

impl ServerEvents {
    /// A decoder that refuses lines and events longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { lines: RawLines::new(limit), name: None, data: None, held: 0 }
    }

    /// Adds what came next. What was fed before must have been taken out with [`Self::next_event`].
    pub fn feed(&mut self, bytes: Bytes) {
        self.lines.feed(bytes);
    }

    /// The next whole event; `None` when more bytes are needed. Events without data are left out.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], and then always.
    pub fn next_event(&mut self) -> Result<Option<ServerEvent>, DecodeError> {
        while let Some(line) = self.lines.next_line()? {
            if line.is_empty() {
                let name = self.name.take();
                self.held = 0;
                if let Some(data) = self.data.take() {
                    let data = match data {
                        Data::One(data) => data,
                        Data::Many(data) => data.freeze(),
                    };
                    return Ok(Some(ServerEvent { name, data }));
                }
                continue;
            }
            if let Some(data) = field(&line, b"data") {
                self.held += data.len() + 1;
                if self.held > self.lines.limit {
                    return Err(self.lines.fail());
                }
                self.data = Some(match self.data.take() {
                    None => Data::One(data),
                    Some(earlier) => {
                        let mut joined = match earlier {
                            Data::One(first) => BytesMut::from(&*first),
                            Data::Many(joined) => joined,
                        };
                        joined.extend_from_slice(b"\n");
                        joined.extend_from_slice(&data);
                        Data::Many(joined)
                    }
                });
            } else if let Some(name) = field(&line, b"event") {
                self.name = Some(name);
            }
            // Comments and other fields say nothing that is measured.
        }
        Ok(None)
    }

    /// Whether the stream ended in the middle of an event. The standard drops such an event; here it is a sign of a cut
    /// answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.data.is_some() || !self.lines.open.is_empty()
    }
}

/// The value of a field, one space after the colon left out.
fn field(line: &Bytes, name: &[u8]) -> Option<Bytes> {
    let rest = line.strip_prefix(name)?;
    let skip = match rest {
        [] => name.len(),
        [b':', b' ', ..] => name.len() + 2,
        [b':', ..] => name.len() + 1,
        _ => return None,
    };
    Some(line.slice(skip..))
}

/// Lines that end with `\n`, `\r\n` or a bare `\r`, empty ones included.
#[derive(Debug)]
struct RawLines {
    open: BytesMut,
    rest: Bytes,
    limit: usize,
    failed: bool,
    /// The last line ended with `\r`: a `\n` that follows belongs to it.
    after_return: bool,
    /// A byte order mark may stand at the very beginning.
    begun: bool,
}

impl RawLines {
    fn new(limit: usize) -> Self {
        Self {
            open: BytesMut::new(),
            rest: Bytes::new(),
            limit,
            failed: false,
            after_return: false,
            begun: false,
        }
    }

    fn feed(&mut self, bytes: Bytes) {
        if self.rest.is_empty() {
            self.rest = bytes;
        } else {
            let mut joined = BytesMut::from(&*self.rest);
            joined.extend_from_slice(&bytes);
            self.rest = joined.freeze();
        }
    }

    fn fail(&mut self) -> DecodeError {
        self.failed = true;
        self.open = BytesMut::new();
        self.rest = Bytes::new();
        DecodeError::TooLong { limit: self.limit }
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if self.failed {
            return Err(DecodeError::TooLong { limit: self.limit });
        }
        if self.after_return && !self.rest.is_empty() {
            self.after_return = false;
            if self.rest.first() == Some(&b'\n') {
                drop(self.rest.split_to(1));
            }
        }
        let end = memchr::memchr2(b'\n', b'\r', &self.rest);
        if self.open.len() + end.unwrap_or(self.rest.len()) > self.limit {
            return Err(self.fail());
        }
        let Some(end) = end else {
            self.open.extend_from_slice(&self.rest);
            self.rest = Bytes::new();
            return Ok(None);
        };
        let mut line = self.rest.split_to(end + 1);
        self.after_return = line.last() == Some(&b'\r');
        line.truncate(end);
        if !self.open.is_empty() {
            self.open.extend_from_slice(&line);
            line = self.open.split().freeze();
        }
        if !std::mem::replace(&mut self.begun, true) && line.starts_with("\u{feff}".as_bytes()) {
            drop(line.split_to(3));
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]], limit: usize) -> Result<Vec<ServerEvent>, DecodeError> {
        let mut events = ServerEvents::new(limit);
        let mut found = Vec::new();
        for piece in pieces {
            events.feed(Bytes::copy_from_slice(piece));
            while let Some(event) = events.next_event()? {
                found.push(event);
            }
        }
        Ok(found)
    }

    fn data(text: &str) -> ServerEvent {
        ServerEvent { name: None, data: Bytes::copy_from_slice(text.as_bytes()) }
    }

    const TEXT: &str = "\u{feff}: ping\n\ndata: {\"a\":1}\r\n\r\ndata:two\rdata: lines\r\revent: error\ndata\nid: 4\n\nretry: 9\n\ndata: größer 🦀\n\ndata: [DONE]\n\n";

    #[test]
    fn the_standard_is_kept_in_every_split() {
        let error = ServerEvent { name: Some(Bytes::from_static(b"error")), data: Bytes::new() };
        let meant =
            [data("{\"a\":1}"), data("two\nlines"), error, data("größer 🦀"), data("[DONE]")].to_vec();
        let text = TEXT.as_bytes();
        assert_eq!(all(&[text], 100).unwrap(), meant);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(all(&pieces, 100).unwrap(), meant, "cut at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(all(&single, 100).unwrap(), meant);
    }

    #[test]
    fn an_event_that_grows_without_end_is_refused() {
        assert_eq!(all(&[&[b'x'; 101]], 100), Err(DecodeError::TooLong { limit: 100 }));
        let lines = "data: 0123456789\n".repeat(20);
        assert_eq!(all(&[lines.as_bytes()], 100), Err(DecodeError::TooLong { limit: 100 }));
    }

    #[test]
    fn a_cut_event_is_seen() {
        let mut events = ServerEvents::new(100);
        events.feed(Bytes::from_static(b"data: x\n\n"));
        while events.next_event().unwrap().is_some() {}
        assert!(!events.is_open());
        events.feed(Bytes::from_static(b"data: y"));
        assert_eq!(events.next_event(), Ok(None));
        assert!(events.is_open());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_give_the_same_in_two_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..300) {
            let at = at.min(bytes.len());
            prop_assert_eq!(all(&[&bytes], 1000), all(&[&bytes[..at], &bytes[at..]], 1000));
        }
    }
}
