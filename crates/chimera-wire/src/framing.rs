//! Where the body lies in the bytes of a connection. hyper decodes answers and hands the body over without saying when
//! which byte was read; this follows the same bytes beside it and counts body bytes, so that a stamp of a read can be
//! given to the body bytes that it brought. It judges nothing: what is malformed is refused by hyper.

use memchr::memchr;

/// A head longer than this is refused by hyper; no more of it is kept.
const MOST_HEAD: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the status line and headers.
    Head,
    /// In the line that says how long a chunk is; digits so far.
    Size(u64),
    /// After the size, up to the end of the line.
    SizeEnd(u64),
    /// In the data of a chunk or of a body of known length; bytes left.
    Data { left: u64, chunked: bool },
    /// In the line end after a chunk's data.
    DataEnd,
    /// In the trailers; whether the line so far is empty.
    Trailer { empty: bool },
    /// In a body that ends with the connection.
    UntilClose,
}

/// Follows the bytes of a connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    head: Vec<u8>,
    /// Heads of final answers that have been read to their end.
    heads: u64,
    /// Interim answers since the last request.
    interim: u32,
}

impl Framing {
    pub(crate) fn new() -> Self {
        Self { state: State::Head, head: Vec::new(), heads: 0, interim: 0 }
    }

    /// Another request goes out: a head comes next. An answer to `HEAD` says how long a body would be and has none.
    pub(crate) fn begin(&mut self) {
        self.state = State::Head;
        self.head.clear();
        self.interim = 0;
    }

    /// How many interim answers there were since the last request.
    pub(crate) fn interim(&self) -> u32 {
        self.interim
    }

    /// How many heads of final (not interim) answers have been read to their end.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Reads what came next; says how many bytes of it belong to the body.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) -> u64 {
        let mut body = 0;
        while let Some(&first) = bytes.first() {
            let used = match self.state {
                State::Head => self.head(bytes),
                State::UntilClose => {
                    body += bytes.len() as u64;
                    bytes.len()
                }
                State::Data { left, chunked } => {
                    let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    body += used as u64;
                    let left = left - used as u64;
                    self.state = match (left, chunked) {
                        (0, true) => State::DataEnd,
                        (0, false) => State::Head,
                        _ => State::Data { left, chunked },
                    };
                    used
                }
                State::Size(so_far) => {
                    self.state = match (first as char).to_digit(16) {
                        Some(digit) => State::Size(so_far.saturating_mul(16).saturating_add(digit.into())),
                        None if first == b'\n' => after_size(so_far),
                        None => State::SizeEnd(so_far),
                    };
                    1
                }
                State::SizeEnd(size) => match memchr(b'\n', bytes) {
                    Some(at) => {
                        self.state = after_size(size);
                        at + 1
                    }
                    None => bytes.len(),
                },
                State::DataEnd => {
                    if first == b'\n' {
                        self.state = State::Size(0);
                    }
                    1
                }
                State::Trailer { empty } => {
                    self.state = match first {
                        b'\n' if empty => State::Head,
                        b'\n' => State::Trailer { empty: true },
                        b'\r' => State::Trailer { empty },
                        _ => State::Trailer { empty: false },
                    };
                    1
                }
            };
            bytes = bytes.get(used.max(1)..).unwrap_or_default();
        }
        body
    }

    /// Collects the head; at its end says what the body looks like. Gives the bytes that it used.
    fn head(&mut self, bytes: &[u8]) -> usize {
        let before = self.head.len();
        let room = MOST_HEAD.saturating_sub(before);
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.head.extend_from_slice(taken);
        // The end may have begun in an earlier read.
        let from = before.saturating_sub(3);
        let Some(end) = head_end(self.head.get(from..).unwrap_or_default()) else { return bytes.len() };
        let used = from + end - before;
        self.head.truncate(from + end);
        // After an interim answer the real one follows.
        let (state, interim) = body_of(&self.head);
        self.state = state;
        self.heads += u64::from(!interim);
        self.interim = self.interim.saturating_add(u32::from(interim));
        self.head.clear();
        used
    }
}

fn after_size(size: u64) -> State {
    if size == 0 { State::Trailer { empty: true } } else { State::Data { left: size, chunked: true } }
}

/// Where a head ends: after an empty line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr(b'\n', bytes.get(at..)?) {
        let next = at + found + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => at = next,
        }
    }
    None
}

/// What a head says of the body that follows it, and whether it is an interim one.
fn body_of(head: &[u8]) -> (State, bool) {
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| line.split(|byte| *byte == b' ').nth(1)).unwrap_or_default();
    match status {
        [b'1', ..] => return (State::Head, true),
        b"204" | b"304" => return (State::Head, false),
        _ => {}
    }
    let mut length = None;
    let mut encoded = None;
    for line in lines {
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // The last of them all decides.
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            encoded = Some(last.eq_ignore_ascii_case(b"chunked"));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        }
    }
    let state = match (encoded, length) {
        (Some(true), _) => State::Size(0),
        (None, Some(0)) => State::Head,
        (None, Some(left)) => State::Data { left, chunked: false },
        // Encoded otherwise: hyper reads it to the end of the connection, whatever its length is said to be.
        (Some(false), _) | (None, None) => State::UntilClose,
    };
    (state, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Body bytes counted when the wire is cut at every given place.
    fn counted(wire: &[u8], cuts: &[usize]) -> Vec<u64> {
        let mut framing = Framing::new();
        let mut counts = Vec::new();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([wire.len()]) {
            let cut = cut.clamp(at, wire.len());
            counts.push(framing.see(&wire[at..cut]));
            at = cut;
        }
        counts
    }

    const CHUNKED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwxyz";

    #[test]
    fn bodies_are_counted_across_answers() {
        assert_eq!(counted(CHUNKED, &[]), [17]);
        let close = b"HTTP/1.0 200 OK\nServer: x\n\nall of it";
        assert_eq!(counted(close, &[]), [9]);
        let none = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(counted(none, &[]), [0]);
    }

    #[test]
    fn encodings_decide_as_they_do_in_hyper() {
        for (headers, body) in [
            ("Transfer-Encoding: identity\r\nContent-Length: 1", 7),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1", 2),
            ("Transfer-Encoding: gzip, Chunked ", 2),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", 7),
            ("Content-Length: 3", 3),
        ] {
            let wire = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n2\r\nab\r\n");
            assert_eq!(counted(wire.as_bytes(), &[]), [body], "{headers}");
        }
    }

    #[test]
    fn a_new_request_forgets_what_its_forerunner_left_open() {
        let mut framing = Framing::new();
        let none = b"HTTP/1.1 102 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!((framing.see(none), framing.interim(), framing.heads()), (0, 1, 1));
        framing.begin();
        let next = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!((framing.see(next), framing.interim(), framing.heads()), (2, 0, 2));
    }

    #[test]
    fn every_split_counts_the_same_and_byte_by_byte_too() {
        for cut in 0..CHUNKED.len() {
            assert_eq!(counted(CHUNKED, &[cut]).iter().sum::<u64>(), 17, "cut at {cut}");
        }
        let all: Vec<usize> = (0..CHUNKED.len()).collect();
        let counts = counted(CHUNKED, &all);
        assert_eq!(counts.iter().sum::<u64>(), 17);
        // The byte before each cut: exactly the body bytes are counted.
        let marked: Vec<u8> =
            counts.iter().enumerate().filter(|(_, n)| **n == 1).map(|(i, _)| CHUNKED[i - 1]).collect();
        assert_eq!(marked, b"abc0123456789wxyz");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail_or_count_more_than_there_is(
            wire in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..400,
        ) {
            let counts = counted(&wire, &[cut]);
            prop_assert!(counts.iter().sum::<u64>() <= wire.len() as u64);
        }
    }
}
