//! The faults: what the server says instead, and what is documented for it.

use std::{io::Write, net::TcpStream, sync::Arc, thread, time::Duration};

use crate::{
    adapter::{Adapter, WORDS},
    outcome::Want::{self, Either, Error, Text},
    server::{After, Play, chunk, chunked_bytes, chunked_head, until_left},
};

/// One fault of one adapter.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) want: Want,
    /// Asked by a session of short limits.
    pub(crate) hasty: bool,
    /// The next request waits, until what comes late has come.
    pub(crate) late: bool,
    pub(crate) play: Play,
}

/// A broken connection, or an answer that shows that it is not whole.
const CUT: Want = Error(&["failed", "protocol"]);
const PROTOCOL: Want = Error(&["protocol"]);
const LOST: Want = Error(&["failed"]);
const TIMEOUT: Want = Error(&["timeout"]);

/// Collects cases.
pub(crate) struct Cases {
    pub(crate) adapter: Adapter,
    pub(crate) all: Vec<Case>,
}

impl Cases {
    /// Every fault of an adapter.
    pub(crate) fn of(adapter: Adapter) -> Vec<Case> {
        let mut cases = Self { adapter, all: Vec::new() };
        cases.healthy();
        cases.cut();
        cases.every_byte();
        cases.statuses();
        cases.heads();
        cases.chunks();
        cases.after_the_end();
        cases.endless();
        cases.slow();
        cases.lines();
        cases.counters();
        cases.text();
        if adapter.is_ollama() { cases.ndjson() } else { cases.events() }
        cases.all
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        want: Want,
        play: impl Fn(&mut TcpStream) -> After + Send + Sync + 'static,
    ) {
        self.all.push(Case { name: name.into(), want, hasty: false, late: false, play: Arc::new(play) });
    }

    fn add_hasty(
        &mut self,
        name: impl Into<String>,
        want: Want,
        play: impl Fn(&mut TcpStream) -> After + Send + Sync + 'static,
    ) {
        self.all.push(Case { name: name.into(), want, hasty: true, late: false, play: Arc::new(play) });
    }

    /// Bytes, then what becomes of the connection.
    fn says(&mut self, name: impl Into<String>, want: Want, bytes: impl Into<Vec<u8>>, after: After) {
        let bytes = bytes.into();
        self.add(name, want, move |stream| {
            stream.write_all(&bytes).ok();
            after
        });
    }

    /// A whole chunked answer of these parts.
    fn answers(&mut self, name: impl Into<String>, want: Want, parts: &[Vec<u8>]) {
        let bytes = chunked_bytes(self.adapter.content_type(), parts);
        self.says(name, want, bytes, After::Keep);
    }

    /// The same with parts after the second token.
    fn inserts(&mut self, name: impl Into<String>, want: Want, part: Vec<u8>) {
        let mut parts = self.adapter.whole();
        parts.insert(2, part);
        self.answers(name, want, &parts);
    }

    fn body(&self) -> Vec<u8> {
        self.adapter.whole().concat()
    }

    /// A healthy body of known length under another head.
    fn under(&mut self, name: impl Into<String>, want: Want, status: &str, headers: &str) {
        let body = self.body();
        let head = format!("{status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.says(name, want, [head.as_bytes(), &body].concat(), After::Keep);
    }

    /// Chunks of a healthy answer in another framing, under the usual head.
    fn framed(&mut self, name: impl Into<String>, want: Want, framing: impl Fn(&[u8]) -> Vec<u8>) {
        let mut bytes = chunked_head(self.adapter.content_type());
        bytes.extend(framing(&self.body()));
        self.says(name, want, bytes, After::Close);
    }

    fn healthy(&mut self) {
        let kind = self.adapter.content_type();
        self.answers("nothing wrong", Text, &self.adapter.whole());
        let one_by_one = chunked_bytes(kind, &self.adapter.whole());
        self.add("one byte at a time", Text, move |stream| {
            for byte in &one_by_one {
                stream.write_all(&[*byte]).ok();
            }
            After::Keep
        });
        let bytes: Vec<Vec<u8>> = self.body().iter().map(|byte| vec![*byte]).collect();
        self.answers("a chunk for each byte", Text, &bytes);
        let whole = self.body();
        self.answers("all in one chunk", Text, &[whole]);
        self.under("a known length", Text, "HTTP/1.1 200 OK", &format!("Content-Type: {kind}\r\n"));
    }

    fn cut(&mut self) {
        let kind = self.adapter.content_type();
        let tokens = self.adapter.tokens();
        for n in 0..=tokens.len() {
            let mut bytes = chunked_head(kind);
            bytes.extend(tokens[..n].iter().flat_map(|token| chunk(token)));
            self.says(format!("ended after {n} tokens"), LOST, bytes.clone(), After::Close);
            self.says(format!("reset after {n} tokens"), LOST, bytes, After::Reset);
            self.answers(format!("a body that ends in order after {n} tokens"), PROTOCOL, &tokens[..n]);
        }
        let body = self.body();
        let head = |length: usize| {
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
        };
        let short = [head(body.len()).as_bytes(), &body[..body.len() - 1]].concat();
        self.says("one byte less than its length", LOST, short, After::Close);
        let long = [head(body.len() + 1).as_bytes(), &body].concat();
        self.says("one byte more promised than sent", LOST, long, After::Close);
        self.says("an empty body", PROTOCOL, head(0), After::Keep);
        self.answers("an empty chunked body", PROTOCOL, &[]);
        self.says("nothing at all", LOST, "", After::Close);
        self.says("nothing at all but a reset", LOST, "", After::Reset);
        let unterminated = [chunked_head(kind), chunk(&body)].concat();
        self.says("a whole answer without its last chunk", LOST, unterminated, After::Close);
    }

    /// A connection that breaks after every single byte.
    fn every_byte(&mut self) {
        let kind = self.adapter.content_type();
        let whole = self.adapter.whole();
        let head = chunked_head(kind);
        let first = [head.clone(), chunk(&whole[0]), chunk(&whole[1])].concat();
        for end in 0..first.len() {
            for (how, after) in [("reset", After::Reset), ("ended", After::Close)] {
                self.says(format!("{how} after byte {end}"), CUT, &first[..end], after);
            }
        }
        // Without a length the end of the connection is the end of the answer: only the lines tell.
        let body = self.body();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n");
        for end in 0..=body.len() {
            let bytes = [head.as_bytes(), &body[..end]].concat();
            let want = if end == body.len() { Text } else { Either(&["failed", "protocol"]) };
            self.says(format!("no length, ended after byte {end} of the body"), want, bytes, After::Close);
        }
    }

    fn statuses(&mut self) {
        let ollama = self.adapter.is_ollama();
        for status in [400, 401, 403, 404, 405, 413, 418, 422, 429, 500, 501, 502, 503, 504] {
            let bodies = [
                ("JSON", "application/json", self.adapter.refusal("the model `m` is what it is")),
                ("HTML", "text/html", "<html><h1>It is what it is</h1></html>".to_owned()),
                ("nothing", "text/plain", String::new()),
                ("half of a JSON", "application/json", r#"{"error":"the mod"#.to_owned()),
                ("no UTF-8", "text/plain", "\u{1}\u{7f}".to_owned()),
            ];
            for (what, kind, body) in bodies {
                let json = what == "JSON";
                let code: &[&str] = match status {
                    400 | 413 | 422 => &["invalid-request"],
                    405 if ollama => &["invalid-request"],
                    401 | 403 | 429 | 502..=504 => &["unavailable"],
                    404 if json => &["model-not-found"],
                    // Half of an error that speaks of a model.
                    404 if what == "half of a JSON" => &["unsupported"],
                    404 | 405 | 501 => &["unsupported"],
                    _ => &["failed"],
                };
                let bytes = format!(
                    "HTTP/1.1 {status} Some Reason\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                self.says(format!("status {status} with {what}"), Error(code), bytes, After::Keep);
            }
        }
        for status in [201, 204, 206, 299, 999] {
            let bytes = format!("HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n");
            self.says(format!("status {status}"), CUT, bytes, After::Close);
        }
        for status in [300, 301, 302, 303, 304, 307, 308] {
            let bytes = format!(
                "HTTP/1.1 {status} Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
            );
            self.says(format!("a redirect with status {status}"), PROTOCOL, bytes, After::Keep);
        }
        let oom = self.adapter.refusal("CUDA error: out of memory");
        let bytes = format!("HTTP/1.1 500 x\r\nContent-Length: {}\r\n\r\n{oom}", oom.len());
        self.says("a server without memory", Error(&["out-of-memory"]), bytes, After::Keep);
        // A server that repeats what it was sent.
        let echo = self.adapter.refusal(&format!("bad key {}", crate::adapter::KEY));
        let bytes = format!("HTTP/1.1 401 x\r\nContent-Length: {}\r\n\r\n{echo}", echo.len());
        self.says("a refusal that repeats the key", Error(&["unavailable"]), bytes, After::Keep);
        let json = self.adapter.refusal("at status 200");
        let bytes = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        );
        self.says("an error with a good status", LOST, bytes, After::Keep);
    }

    fn heads(&mut self) {
        let kind = self.adapter.content_type();
        let ok = "HTTP/1.1 200 OK";
        let plain = format!("Content-Type: {kind}\r\n");
        for other in ["text/html", "text/plain", "application/octet-stream", "image/png", "x"] {
            self.under(format!("the type {other}"), PROTOCOL, ok, &format!("Content-Type: {other}\r\n"));
        }
        let foreign = if self.adapter.is_ollama() { "text/event-stream" } else { "application/x-ndjson" };
        self.under("the other protocol's type", PROTOCOL, ok, &format!("Content-Type: {foreign}\r\n"));
        self.under("no type", Text, ok, "");
        let odd = format!("content-TYPE:{}; charset=\"utf-8\"\r\n", kind.to_uppercase());
        self.under("a type in capitals with parameters", Text, ok, &odd);
        self.under("two equal types", Text, ok, &format!("{plain}{plain}"));
        self.under("two types", Either(&["protocol"]), ok, &format!("{plain}Content-Type: text/html\r\n"));
        for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "\"\""] {
            let headers = format!("{plain}Content-Encoding: {encoding}\r\n");
            self.under(format!("compressed with {encoding}"), PROTOCOL, ok, &headers);
        }
        self.under("compressed with nothing", Text, ok, &format!("{plain}Content-Encoding: Identity\r\n"));
        // A real one, made by gzip of 100 zero bytes.
        let gzip: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x63\x60\xa0\x3d\x00\x00\xd8\xee\xd5\x99\x64\x00\x00\x00";
        let head = format!("{ok}\r\n{plain}Content-Length: {}\r\n\r\n", gzip.len());
        self.says("gzip that does not say so", PROTOCOL, [head.as_bytes(), gzip].concat(), After::Keep);
        self.under("HTTP/1.0 kept alive", Text, "HTTP/1.0 200 OK", &format!("{plain}Connection: keep-alive\r\n"));
        self.under("HTTP/1.0", Text, "HTTP/1.0 200 OK", &plain);
        self.under("no reason", Text, "HTTP/1.1 200", &plain);
        self.under("a last answer", Text, ok, &format!("{plain}Connection: close\r\n"));
        for line in ["HTTP/2.0 200 OK", "http/1.1 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 abc", "ICY 200 OK", " HTTP/1.1 200 OK", ""] {
            self.under(format!("the status line {line:?}"), CUT, line, &plain);
        }
        self.says("a TLS alert", CUT, &b"\x15\x03\x03\x00\x02\x02\x28"[..], After::Close);
        self.says("another protocol", CUT, "SSH-2.0-OpenSSH_9\r\n\r\n", After::Close);
        self.says("a preface of HTTP/2", CUT, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", After::Close);
        let body = String::from_utf8(self.body()).unwrap();
        let bare = format!("{ok}\nContent-Type: {kind}\nContent-Length: {}\n\n{body}", body.len());
        self.says("a head with bare line ends", Either(&["protocol"]), bare, After::Keep);
        self.says("a body without a head", CUT, body.clone(), After::Close);
        for (name, header) in [
            ("a header without a colon", "Nonsense\r\n"),
            ("a header with a zero byte", "A: \0\r\n"),
            ("a header without a name", ": x\r\n"),
            ("a folded header", "A: x\r\n y\r\n"),
            ("a space before the colon", "A : x\r\n"),
            ("a second length that differs", "Content-Length: 3\r\n"),
            ("a negative length", "Content-Length: -1\r\n"),
            ("a length that is no number", "Content-Length: many\r\n"),
            ("a length beyond 64 bits", "Content-Length: 99999999999999999999999\r\n"),
        ] {
            self.under(name, CUT, ok, &format!("{plain}{header}"));
        }
        let length = format!("Content-Length: {}\r\n", body.len());
        self.under("the same length twice", Text, ok, &format!("{plain}{length}"));
        let many: String = (0..90).map(|i| format!("X-Header-{i}: {i}\r\n")).collect();
        self.under("ninety headers", Text, ok, &format!("{plain}{many}"));
        let too_many: String = (0..200).map(|i| format!("X-Header-{i}: {i}\r\n")).collect();
        self.under("two hundred headers", PROTOCOL, ok, &format!("{plain}{too_many}"));
        let long = format!("X: {}\r\n", "x".repeat(30_000));
        self.under("a header of 30 kB", Text, ok, &format!("{plain}{long}"));
        let latin = [b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\n".as_slice(), plain.as_bytes(), length.as_bytes(), b"\r\n", body.as_bytes()].concat();
        self.says("a header that is no UTF-8", Text, latin, After::Keep);
        let whole = String::from_utf8(chunked_bytes(kind, &self.adapter.whole())).unwrap();
        for (name, want, interim) in [
            ("100 Continue", Text, "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
            ("100 Continue twice", Text, "HTTP/1.1 100 Continue\r\n\r\n".repeat(2)),
            ("103 Early Hints", Text, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_owned()),
            ("a thousand interim answers", PROTOCOL, "HTTP/1.1 102 Wait\r\n\r\n".repeat(1000)),
            ("101 Switching Protocols", CUT, "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned()),
        ] {
            self.says(name, want, format!("{interim}{whole}"), After::Close);
        }
        let identity = format!("{ok}\r\n{plain}Transfer-Encoding: identity\r\n\r\n{body}");
        self.says("the encoding `identity`", Text, identity, After::Close);
        let twice = whole.replacen("Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 1);
        self.says("chunked twice", Either(&["failed", "protocol"]), twice, After::Close);
        let both = whole.replacen("Transfer-Encoding", &format!("{length}Transfer-Encoding"), 1);
        self.says("chunked and a length", Either(&["failed", "protocol"]), both, After::Close);
        let gzipped = whole.replacen("chunked", "gzip, chunked", 1);
        self.says("the encoding `gzip, chunked`", Either(&["protocol"]), gzipped, After::Close);
        let old = whole.replacen("HTTP/1.1", "HTTP/1.0", 1);
        self.says("chunked in HTTP/1.0", Either(&["failed", "protocol"]), old, After::Close);
    }

    fn chunks(&mut self) {
        let one = |size: &'static str| {
            move |body: &[u8]| [size.as_bytes(), b"\r\n", body, b"\r\n0\r\n\r\n"].concat()
        };
        for size in ["zz", "-1", "", " ", "0x5", "FFFFFFFFFFFFFFFFF", "1.5", "+9", "ffffffffffffffff", "7fffffffffffffff"] {
            self.framed(format!("a chunk of the size {size:?}"), CUT, one(size));
        }
        let sized = |change: fn(usize) -> String| {
            move |body: &[u8]| [change(body.len()).as_bytes(), b"\r\n", body, b"\r\n0\r\n\r\n"].concat()
        };
        self.framed("a size in capitals", Text, sized(|n| format!("{n:X}")));
        self.framed("a size with zeros before it", Text, sized(|n| format!("{n:012x}")));
        self.framed("a chunk with an extension", Text, sized(|n| format!("{n:x};a=\"b\"")));
        self.framed("a chunk that is shorter than its size", CUT, sized(|n| format!("{:x}", n + 2)));
        self.framed("a chunk that is longer than its size", CUT, sized(|n| format!("{:x}", n - 2)));
        self.framed("a chunk whose size never ends", CUT, |_| b"f".repeat(100_000));
        self.framed("an extension that never ends", CUT, |_| [b"5;".to_vec(), b"x".repeat(1_000_000)].concat());
        self.framed("no line end after a chunk", CUT, |body| {
            [format!("{:x}\r\n", body.len()).as_bytes(), body, b"0\r\n\r\n"].concat()
        });
        self.framed("trailers", Text, |body| {
            [&chunk(body)[..], b"0\r\nX-Trailer: x\r\n\r\n"].concat()
        });
        self.framed("trailers without an end", CUT, |body| [&chunk(body)[..], b"0\r\nX-Trailer: x\r\n"].concat());
        self.framed("trailers that are none", Either(&["failed", "protocol"]), |body| {
            [&chunk(body)[..], b"0\r\nno trailer at all\r\n\r\n"].concat()
        });
        self.framed("a hundred thousand trailers", Either(&["failed", "protocol"]), |body| {
            [&chunk(body)[..], b"0\r\n", &b"X: x\r\n".repeat(100_000), b"\r\n"].concat()
        });
    }

    fn after_the_end(&mut self) {
        let kind = self.adapter.content_type();
        let whole = chunked_bytes(kind, &self.adapter.whole());
        let other = chunked_bytes(kind, &[self.adapter.token("y"), self.adapter.end().concat()]);
        for (name, more) in [
            ("garbage", b"\x00\xff garbage \r\n\r\n".to_vec()),
            ("a second answer", other),
            ("line ends", b"\r\n\r\n\r\n".to_vec()),
            ("100 kB", vec![b'x'; 100_000]),
        ] {
            let bytes = [&whole[..], &more].concat();
            self.says(format!("{name} after the end"), Text, bytes, After::Keep);
            let first = whole.clone();
            self.add(format!("{name} a moment after the end"), Text, move |stream| {
                stream.write_all(&first).ok();
                thread::sleep(Duration::from_millis(20));
                stream.write_all(&more).ok();
                After::Keep
            });
            // What comes after the next request was sent would be its answer: HTTP/1.1 knows no better.
            if let Some(case) = self.all.last_mut() {
                case.late = true;
            }
        }
        self.says("closed after the end", Text, whole.clone(), After::Close);
        self.says("reset after the end", Either(&["failed"]), whole, After::Reset);
        // The length promises more, which never comes: the answer itself is whole.
        let body = self.body();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len() + 9);
        let bytes = [head.as_bytes(), &body].concat();
        self.add("a body that does not end after the answer", Text, move |stream| {
            stream.write_all(&bytes).ok();
            until_left(stream);
            After::Close
        });
    }

    fn endless(&mut self) {
        let adapter = self.adapter;
        let kind = adapter.content_type();
        let end_as_they_like = |name: &str, want: Want, begin: Vec<u8>, again: Vec<u8>, cases: &mut Self| {
            let again = again.repeat((1 << 16) / again.len() + 1);
            cases.add(name, want, move |stream| {
                stream.write_all(&begin).ok();
                while stream.write_all(&again).is_ok() {}
                After::Close
            });
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
        let begun = [head.clone(), adapter.token("Hel")].concat();
        end_as_they_like("tokens without end", PROTOCOL, head.clone(), adapter.token("x"), self);
        end_as_they_like("empty tokens without end", PROTOCOL, begun.clone(), adapter.token(""), self);
        end_as_they_like("a head without end", PROTOCOL, b"HTTP/1.1 200 OK\r\nA: ".to_vec(), b"x".to_vec(), self);
        end_as_they_like("headers without end", PROTOCOL, b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: x\r\n".to_vec(), self);
        end_as_they_like("garbage without end", PROTOCOL, Vec::new(), b"\x00\x01\xfe garbage".to_vec(), self);
        end_as_they_like("interim answers without end", PROTOCOL, Vec::new(), b"HTTP/1.1 100 x\r\n\r\n".to_vec(), self);
        end_as_they_like("a line without end", PROTOCOL, begun.clone(), b"x".to_vec(), self);
        end_as_they_like("line ends without end", PROTOCOL, begun.clone(), b"\n".to_vec(), self);
        end_as_they_like("spaces and line ends without end", PROTOCOL, begun.clone(), b" \r\n".to_vec(), self);
        end_as_they_like("comments without end", PROTOCOL, begun, b": ping\n\n".to_vec(), self);
        let chunks = [chunked_head(kind), chunk(&adapter.token("Hel"))].concat();
        end_as_they_like("chunks of one byte without end", PROTOCOL, chunks, chunk(b"x"), self);
        let refusal = b"HTTP/1.1 500 x\r\nContent-Type: text/html\r\n\r\n".to_vec();
        end_as_they_like("a refusal without end", LOST, refusal, b"<p>".to_vec(), self);
        let long = format!("\"{}\"", "x".repeat(10 << 20));
        self.inserts("a token of 10 MB", PROTOCOL, adapter.token_of(&long));
        let refusal = adapter.refusal(&"long ".repeat(2 << 20));
        let bytes = format!("HTTP/1.1 500 x\r\nContent-Length: {}\r\n\r\n{refusal}", refusal.len());
        self.says("a refusal of 10 MB", LOST, bytes, After::Close);
    }

    fn slow(&mut self) {
        let adapter = self.adapter;
        let kind = adapter.content_type();
        let whole = chunked_bytes(kind, &adapter.whole());
        let head = chunked_head(kind);
        // 50 ms for each of the first bytes of the head, and of some in the body.
        let slow = whole.clone();
        let body = head.len();
        self.add("one byte each 50 ms", Text, move |stream| {
            for (at, byte) in slow.iter().enumerate() {
                stream.write_all(&[*byte]).ok();
                if at < 15 || (body..body + 25).contains(&at) {
                    thread::sleep(Duration::from_millis(50));
                }
            }
            After::Keep
        });
        self.add_hasty("nothing is said", TIMEOUT, |stream| {
            until_left(stream);
            After::Close
        });
        let stalls = [
            ("half of a head", head[..20].to_vec()),
            ("a head", head.clone()),
            ("one token", [head.clone(), chunk(&adapter.token("Hel"))].concat()),
            ("half of a token", [&head[..], &chunk(&adapter.token("Hel"))[..20]].concat()),
        ];
        for (what, bytes) in stalls {
            self.add_hasty(format!("nothing after {what}"), TIMEOUT, move |stream| {
                stream.write_all(&bytes).ok();
                until_left(stream);
                After::Close
            });
        }
        self.add_hasty("a head that drips without end", TIMEOUT, |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").ok();
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
            After::Close
        });
    }

    fn lines(&mut self) {
        let adapter = self.adapter;
        self.inserts("an error in the middle", LOST, adapter.error("it broke"));
        self.inserts("no memory in the middle", Error(&["out-of-memory"]), adapter.error("CUDA error: out of memory"));
        self.inserts("an error that repeats the key", LOST, adapter.error(crate::adapter::KEY));
        self.inserts("an error of 100 kB", LOST, adapter.error(&"long ".repeat(20_000)));
        self.inserts("an error that is an object", LOST, adapter.framed(r#"{"error":{"message":"it broke","code":5}}"#));
        self.inserts("an error that is a number", LOST, adapter.framed(r#"{"error":5}"#));
        for (name, json) in [
            ("half of an object", r#"{"model":"m","#),
            ("no JSON", "no JSON at all"),
            ("a number", "5"),
            ("a text", "\"text\""),
            ("a list", "[]"),
            ("a list of objects", r#"[{"response":"x"}]"#),
            ("an empty object", "{}"),
            ("two objects in one", "{}{}"),
            ("a truth", "true"),
            ("a null", "null"),
            ("a comment", "/* x */ {}"),
            ("single quotes", "{'a': 1}"),
            ("a trailing comma", r#"{"a":1,}"#),
            ("a NaN", r#"{"eval_count":NaN}"#),
            ("an unknown object", r#"{"status":"fine"}"#),
        ] {
            self.inserts(format!("{name} instead of a token"), PROTOCOL, adapter.framed(json));
        }
        self.inserts("a hundred thousand brackets", PROTOCOL, adapter.framed(&"[".repeat(100_000)));
        self.inserts("a hundred thousand objects in each other", PROTOCOL, adapter.framed(&"{\"a\":".repeat(100_000)));
        for value in ["5", "true", "[]", "{}", "1e400", "\"\\x\"", "\"\\ud800\"", "\"unended"] {
            self.inserts(format!("the text {value}"), PROTOCOL, adapter.token_of(value));
        }
        self.inserts("no text", Text, adapter.token_of("null"));
        self.inserts("an empty text", Text, adapter.token(""));
        let wrong: &[&str] = match adapter {
            Adapter::OllamaGenerate => &[
                r#"{"response":"x","done":"yes"}"#,
                r#"{"response":"x","done":1}"#,
                r#"{"response":"","done_reason":5}"#,
                r#"{"message":5}"#,
            ],
            Adapter::OllamaChat => &[
                r#"{"message":5}"#,
                r#"{"message":"x"}"#,
                r#"{"message":[]}"#,
                r#"{"message":{"content":{"a":1}}}"#,
                r#"{"message":{"content":"x"},"done":"no"}"#,
            ],
            _ => &[
                r#"{"choices":5}"#,
                r#"{"choices":"x"}"#,
                r#"{"choices":{}}"#,
                r#"{"choices":[5]}"#,
                r#"{"choices":[{"index":-1,"text":"x"}]}"#,
                r#"{"choices":[{"index":1,"text":"x"}]}"#,
                r#"{"choices":[{"index":4294967296,"text":"x"}]}"#,
                r#"{"choices":[{"index":0,"text":"x"},{"index":1,"text":"y"}]}"#,
                r#"{"choices":[{"index":0,"delta":5}]}"#,
                r#"{"choices":[{"index":0,"delta":"x"}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":5}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":5}}]}"#,
                r#"{"choices":[{"index":0,"text":"","finish_reason":5}]}"#,
                r#"{"choices":[],"usage":5}"#,
                r#"{"choices":[],"usage":[]}"#,
                r#"{"choices":[],"usage":"x"}"#,
            ],
        };
        for json in wrong {
            self.inserts(format!("wrong types in {json}"), PROTOCOL, adapter.framed(json));
        }
        let known = adapter.framed(r#"{"choices":[],"usage":null,"response":"","message":null,"done":false,"new":[1]}"#);
        self.inserts("fields that nobody knows", Text, known);
        // Ends.
        let tokens = adapter.tokens();
        let text_after = [tokens.concat(), adapter.end()[0].clone(), adapter.token("y")].concat();
        self.answers("text after the end", PROTOCOL, &[text_after]);
        let odd = String::from_utf8(self.body()).unwrap().replace("\"stop\"", "\"whim\"");
        self.answers("an unknown reason to end", PROTOCOL, &[odd.into_bytes()]);
        let twice = String::from_utf8(adapter.end()[0].clone()).unwrap().replace("\"stop\"", "\"length\"");
        let parts = [tokens.concat(), adapter.end()[0].clone(), twice.into_bytes()].concat();
        self.answers("two ends that differ", PROTOCOL, &[parts]);
        let first = adapter.end()[0].clone();
        let same = [tokens.concat(), first, adapter.end().concat()].concat();
        self.answers("the same end twice", Text, &[same]);
        self.answers("nothing but an end", Either(&["protocol"]), &[WORDS.iter().fold(Vec::new(), |mut all, word| { all.extend(adapter.token(word)); all }), adapter.end().concat()]);
    }

    /// Counters that cannot be, one by one.
    fn counters(&mut self) {
        let adapter = self.adapter;
        let tokens = adapter.tokens();
        for field in adapter.counters() {
            for value in [
                "-1", "-9223372036854775808", "0", "3.5", "1e400", "1e18", "4294967295", "4294967296",
                "9223372036854775807", "18446744073709551615", "18446744073709551616",
                "99999999999999999999999999999999", "\"4\"", "true", "[]", "{}", "null",
            ] {
                let want = if value == "null" { Text } else { Either(&["protocol", "invalid-request"]) };
                let end = adapter.end_with(&format!(",\"{field}\":{value}"));
                self.answers(format!("`{field}` is {value}"), want, &[tokens.clone(), end].concat());
            }
        }
        self.answers("no counters", Text, &[tokens.clone(), adapter.end_with("")].concat());
        if !adapter.is_ollama() {
            for value in ["-1", "99999999999999999999", "4294967295", "\"1\"", "null"] {
                let fields =
                    format!(r#","prompt_tokens":5,"completion_tokens":4,"prompt_tokens_details":{{"cached_tokens":{value}}}"#);
                let want = if value == "null" { Text } else { Either(&["protocol"]) };
                self.answers(format!("`cached_tokens` is {value}"), want, &[tokens.clone(), adapter.end_with(&fields)].concat());
            }
            for value in ["-1.0", "1e300", "\"1\"", "null", "-0.0"] {
                let timings = adapter.framed(&format!(
                    r#"{{"choices":[],"timings":{{"prompt_ms":{value},"predicted_ms":{value},"cache_n":{value}}}}}"#
                ));
                let want = if value.starts_with('"') { Either(&["protocol"]) } else { Text };
                self.inserts(format!("`timings` of {value}"), want, timings);
            }
        }
        let twice = adapter.end_with(&format!(",\"{0}\":4,\"{0}\":4", adapter.counters()[0]));
        self.answers("a counter told twice", Either(&["protocol"]), &[tokens, twice].concat());
    }

    fn text(&mut self) {
        let adapter = self.adapter;
        for (name, bytes) in [
            ("a lone byte of two", &b"\"\xc3\""[..]),
            ("a byte that is never there", b"\"\xff\""),
            ("half of a crab", b"\"\xf0\x9f\xa6\""),
            ("an overlong zero", b"\"\xc0\x80\""),
            ("a surrogate", b"\"\xed\xa0\x80\""),
        ] {
            let template = adapter.token_of("HERE");
            let at = template.windows(4).position(|four| four == b"HERE").unwrap();
            let token = [&template[..at], bytes, &template[at + 4..]].concat();
            self.inserts(format!("{name} in a text"), PROTOCOL, token);
        }
        // A line that begins with no known field is read over in server-sent events.
        let want = if adapter.is_ollama() { PROTOCOL } else { Text };
        let garbage = [&b"\xff\xfe\x00"[..], b"\n\n"].concat();
        self.inserts("bytes that are no text instead of a token", want, garbage);
        // Characters that are cut by what arrives, not by what is sent.
        let body = self.body();
        let kind = adapter.content_type();
        let cuts: Vec<usize> = (1..body.len()).filter(|at| body[*at] & 0xc0 == 0x80).collect();
        for cut in cuts {
            let parts = [body[..cut].to_vec(), body[cut..].to_vec()];
            self.answers(format!("a character in two chunks at byte {cut}"), Text, &parts);
            let head = chunked_head(kind);
            self.add(format!("a character in two reads at byte {cut}"), Text, move |stream| {
                stream.write_all(&[head.clone(), chunk(&parts[0])].concat()).ok();
                thread::sleep(Duration::from_millis(3));
                stream.write_all(&[chunk(&parts[1]), b"0\r\n\r\n".to_vec()].concat()).ok();
                After::Keep
            });
        }
        let escaped: Vec<u8> = [
            adapter.token_of(r#""Hel""#),
            adapter.token_of(r#""lo gr\u00f6\u00DFer""#),
            adapter.token_of(r#"" \ud83e\udd80""#),
            adapter.token_of(r#"" \"end\"\u000a""#),
        ]
        .concat();
        self.answers("everything escaped", Text, &[escaped, adapter.end().concat()]);
    }

    fn ndjson(&mut self) {
        let adapter = self.adapter;
        let body = String::from_utf8(self.body()).unwrap();
        self.answers("line ends of two bytes", Text, &[body.replace('\n', "\r\n").into_bytes()]);
        self.answers("empty lines between", Text, &[body.replace('\n', "\n\n\r\n").into_bytes()]);
        self.answers("no line end at the end", Text, &[body.trim_end().as_bytes().to_vec()]);
        self.answers("a mark of byte order", PROTOCOL, &[format!("\u{feff}{body}").into_bytes()]);
        self.answers("all objects in one line", PROTOCOL, &[body.replace('\n', "").into_bytes()]);
        self.answers("objects over several lines", PROTOCOL, &[body.replace(',', ",\n").into_bytes()]);
        let text = serde_json::to_string(&WORDS.concat()).unwrap();
        let said = if adapter.is_chat() {
            format!(r#""message":{{"role":"assistant","content":{text}}}"#)
        } else {
            format!(r#""response":{text}"#)
        };
        let line = format!(r#"{{{said},"done":true,"done_reason":"stop","eval_count":4}}"#);
        self.answers("the whole answer in one line", Text, &[line.clone().into_bytes()]);
        let json = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{line}", line.len());
        self.says("an answer that is no stream", Text, json, After::Keep);
        let pieces = [adapter.tokens().concat(), adapter.framed(r#"{"done":true,"done_reason":"load"}"#)].concat();
        self.answers("a load instead of an end", PROTOCOL, &[pieces]);
        self.answers("the other interface's events", PROTOCOL, &Adapter::OpenAiChat.whole());
    }

    fn events(&mut self) {
        let adapter = self.adapter;
        let body = String::from_utf8(self.body()).unwrap();
        self.answers("line ends of two bytes", Text, &[body.replace('\n', "\r\n").into_bytes()]);
        self.answers("line ends of one other byte", Text, &[body.replace('\n', "\r").into_bytes()]);
        self.answers("a mark of byte order", Text, &[format!("\u{feff}{body}").into_bytes()]);
        self.answers("comments between", Text, &[body.replace("\n\n", "\n\n: ping\n\n:\n").into_bytes()]);
        self.answers("names and numbers of events", Text, &[body.replace("data:", "event: message\nid: 5\nretry: 9\ndata:").into_bytes()]);
        self.answers("no space after the colon", Text, &[body.replace("data: ", "data:").into_bytes()]);
        self.answers("data over several lines", Text, &[body.replace("{\"id\":\"c\",", "{\"id\":\"c\",\ndata: ").into_bytes()]);
        self.answers("no `[DONE]`", Text, &[body.replace("data: [DONE]\n\n", "").into_bytes()]);
        self.answers("no blank line at the end", Text, &[body.trim_end().as_bytes().to_vec()]);
        self.answers("`[DONE]` twice", Either(&["protocol"]), &[body.clone().into_bytes(), adapter.framed("[DONE]")]);
        self.answers("something after `[DONE]`", PROTOCOL, &[body.clone().into_bytes(), adapter.token("y")]);
        self.answers("`[DONE]` alone", PROTOCOL, &[adapter.framed("[DONE]")]);
        self.answers("`[DONE]` after two tokens", PROTOCOL, &[adapter.tokens()[..2].concat(), adapter.framed("[DONE]")]);
        let [finish, _, done] = adapter.end().try_into().unwrap();
        self.answers("no usage", Text, &[adapter.tokens().concat(), finish, done]);
        self.inserts("an event named `error`", LOST, b"event: error\ndata: it broke\n\n".to_vec());
        self.inserts("an error of another kind", LOST, adapter.framed(r#"{"object":"error","message":"it broke","code":500}"#));
        self.answers("the other interface's lines", PROTOCOL, &Adapter::OllamaChat.whole());
        let whole = r#"{"choices":[{"index":0,"text":"x","message":{"content":"x"},"finish_reason":"stop"}]}"#;
        let json = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{whole}", whole.len());
        self.says("an answer that is no stream", PROTOCOL, json, After::Keep);
    }
}
