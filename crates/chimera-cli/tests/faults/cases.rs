//! The faults: what the server says instead, and what is documented for it.

use std::{io::Write, net::TcpStream, sync::Arc, thread, time::Duration};

use crate::{
    adapter::Adapter,
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
pub(crate) const CUT: Want = Error(&["failed", "protocol"]);
pub(crate) const PROTOCOL: Want = Error(&["protocol"]);
pub(crate) const LOST: Want = Error(&["failed"]);
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
        if adapter.is_ollama() {
            cases.ndjson()
        } else {
            cases.events()
        }
        cases.all
    }

    pub(crate) fn add(
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
    pub(crate) fn says(
        &mut self,
        name: impl Into<String>,
        want: Want,
        bytes: impl Into<Vec<u8>>,
        after: After,
    ) {
        let bytes = bytes.into();
        self.add(name, want, move |stream| {
            stream.write_all(&bytes).ok();
            after
        });
    }

    /// A whole chunked answer of these parts.
    pub(crate) fn answers(&mut self, name: impl Into<String>, want: Want, parts: &[Vec<u8>]) {
        let bytes = chunked_bytes(self.adapter.content_type(), parts);
        self.says(name, want, bytes, After::Keep);
    }

    /// The same with parts after the second token.
    pub(crate) fn inserts(&mut self, name: impl Into<String>, want: Want, part: Vec<u8>) {
        let mut parts = self.adapter.whole();
        parts.insert(2, part);
        self.answers(name, want, &parts);
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.adapter.whole().concat()
    }

    /// A healthy body of known length under another head.
    pub(crate) fn under(&mut self, name: impl Into<String>, want: Want, status: &str, headers: &str) {
        let body = self.body();
        let head = format!("{status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.says(name, want, [head.as_bytes(), &body].concat(), After::Keep);
    }

    /// Chunks of a healthy answer in another framing, under the usual head.
    pub(crate) fn framed(&mut self, name: impl Into<String>, want: Want, framing: impl Fn(&[u8]) -> Vec<u8>) {
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
        end_as_they_like(
            "a head without end",
            PROTOCOL,
            b"HTTP/1.1 200 OK\r\nA: ".to_vec(),
            b"x".to_vec(),
            self,
        );
        end_as_they_like(
            "headers without end",
            PROTOCOL,
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            b"A: x\r\n".to_vec(),
            self,
        );
        end_as_they_like("garbage without end", PROTOCOL, Vec::new(), b"\x00\x01\xfe garbage".to_vec(), self);
        end_as_they_like(
            "interim answers without end",
            PROTOCOL,
            Vec::new(),
            b"HTTP/1.1 100 x\r\n\r\n".to_vec(),
            self,
        );
        end_as_they_like("a line without end", PROTOCOL, begun.clone(), b"x".to_vec(), self);
        end_as_they_like("line ends without end", PROTOCOL, begun.clone(), b"\n".to_vec(), self);
        end_as_they_like(
            "spaces and line ends without end",
            PROTOCOL,
            begun.clone(),
            b" \r\n".to_vec(),
            self,
        );
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
}
