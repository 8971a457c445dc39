//! One HTTP/1 request out of a connection's bytes: no more than a scripted server needs, with limits on all of it.

use super::Limits;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    /// HTTP/1.0.
    pub(super) old: bool,
    /// The client wants the connection closed after the answer.
    pub(super) close: bool,
    /// Bytes it took.
    pub(super) length: usize,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Not enough yet. Whether the client waits for `100 Continue`, and the length of the whole where that is known.
    More {
        expects: bool,
        need: usize,
    },
    Whole(Incoming),
    /// No request: the status and the reason.
    Wrong(u16, &'static str),
}

/// How far a chunked body was read, so that no byte is read twice.
#[derive(Debug, Default)]
pub(super) struct Resume {
    at: usize,
    body: Vec<u8>,
}

/// Reads a request from the start of `bytes`. `resume` belongs to the request: a fresh one for each.
pub(super) fn parse(bytes: &[u8], limits: &Limits, resume: &mut Resume) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) if head <= limits.head => head,
        Ok(httparse::Status::Partial) if bytes.len() <= limits.head => {
            return Parsed::More { expects: false, need: 0 };
        }
        Ok(_) => return Parsed::Wrong(431, "the head is too large"),
        Err(httparse::Error::TooManyHeaders) => return Parsed::Wrong(431, "too many headers"),
        Err(_) => return Parsed::Wrong(400, "the head is malformed"),
    };
    let mut length = None;
    let mut chunked = false;
    let mut expects = false;
    let mut close = false;
    for header in request.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        let value = value.trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            // Digits alone: `+5` is a number to the parser of the standard library and not to HTTP.
            let number =
                value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse::<u64>().ok()).flatten();
            match (number, length) {
                (None, _) => return Parsed::Wrong(400, "content-length is no number"),
                (Some(n), Some(before)) if n != before => {
                    return Parsed::Wrong(400, "two lengths that differ");
                }
                (Some(n), _) => length = Some(n),
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Parsed::Wrong(400, "the only transfer-encoding is chunked");
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("expect") {
            expects = value.eq_ignore_ascii_case("100-continue");
        } else if header.name.eq_ignore_ascii_case("connection") {
            close |= value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        }
    }
    if chunked && length.is_some() {
        return Parsed::Wrong(400, "both a length and chunks");
    }
    let rest = &bytes[head..];
    let (body, used) = if chunked {
        match unchunk(rest, limits.body, resume) {
            Unchunked::Whole(used) => (std::mem::take(&mut resume.body), used),
            Unchunked::More(need) => return Parsed::More { expects, need: head + need },
            Unchunked::TooLarge => return Parsed::Wrong(413, "the body is too large"),
            Unchunked::Wrong => return Parsed::Wrong(400, "a chunk is malformed"),
        }
    } else {
        let length = length.unwrap_or(0);
        if length > limits.body as u64 {
            return Parsed::Wrong(413, "the body is too large");
        }
        let length = length as usize;
        match rest.get(..length) {
            Some(body) => (body.to_vec(), length),
            None => return Parsed::More { expects, need: head + length },
        }
    };
    let target = request.path.unwrap_or_default();
    Parsed::Whole(Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        body,
        old: request.version == Some(0),
        close,
        length: head + used,
    })
}

enum Unchunked {
    Whole(usize),
    /// Nothing new can be read before this many bytes.
    More(usize),
    TooLarge,
    Wrong,
}

fn unchunk(bytes: &[u8], limit: usize, resume: &mut Resume) -> Unchunked {
    loop {
        let at = resume.at;
        // Heads of chunks could otherwise fill the memory around a small body.
        if at > 2 * limit + 4096 {
            return Unchunked::TooLarge;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let (head, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) if rest.len() < 1024 => return Unchunked::More(bytes.len() + 1),
            _ => return Unchunked::Wrong,
        };
        if size > (limit - resume.body.len()) as u64 {
            return Unchunked::TooLarge;
        }
        let size = size as usize;
        let start = at + head;
        if size == 0 {
            // Trailers are read and ignored, up to the blank line.
            let trailers = &bytes[start..];
            if trailers.starts_with(b"\r\n") {
                return Unchunked::Whole(start + 2);
            }
            return match trailers.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(end) => Unchunked::Whole(start + end + 4),
                None if trailers.len() > 8192 => Unchunked::Wrong,
                None => Unchunked::More(bytes.len() + 1),
            };
        }
        let end = start + size;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Unchunked::Wrong,
            None => return Unchunked::More(end + 2),
        }
        resume.body.extend_from_slice(&bytes[start..end]);
        resume.at = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Parsed {
        let limits = Limits { head: 200, body: 50, ..Limits::default() };
        super::parse(bytes, &limits, &mut Resume::default())
    }

    #[test]
    fn requests_are_read_however_they_are_cut() {
        let plain = b"POST /a?b=c HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nxyz".as_slice();
        let chunked =
            b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1;q=1\r\nz\r\n0\r\nA: b\r\n\r\n".as_slice();
        for whole in [plain, chunked] {
            for cut in 0..whole.len() {
                assert!(matches!(parse(&whole[..cut]), Parsed::More { .. }), "{cut}");
            }
            let mut resume = Resume::default();
            for cut in 0..whole.len() {
                assert!(matches!(
                    super::parse(&whole[..cut], &Limits::default(), &mut resume),
                    Parsed::More { .. }
                ));
            }
            let resumed = super::parse(whole, &Limits::default(), &mut resume);
            assert_eq!(resumed, parse(whole), "resumed at every byte");
            let mut twice = whole.to_vec();
            twice.extend_from_slice(b"GET / HTTP");
            let Parsed::Whole(request) = parse(&twice) else { panic!("not whole") };
            assert_eq!((request.path.as_str(), request.body.as_slice()), ("/a", &b"xyz"[..]));
            assert_eq!(request.length, whole.len());
            assert_eq!((request.old, request.close), (whole == chunked, whole == plain));
        }
        assert_eq!(
            parse(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"),
            Parsed::More { expects: true, need: 63 }
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let status = |bytes: &[u8]| match parse(bytes) {
            Parsed::Wrong(status, _) => status,
            other => panic!("{other:?}"),
        };
        assert_eq!(status(b"\x16\x03\x01\x02"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: +3\r\n\r\n"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: 51\r\n\r\n"), 413);
        assert_eq!(status(b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n"), 413);
        assert_eq!(status(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
        assert_eq!(status(format!("GET /{} HTTP/1.1\r\n", "a".repeat(300)).as_bytes()), 431);
        assert_eq!(status(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(129)).as_bytes()), 431);
    }
}
