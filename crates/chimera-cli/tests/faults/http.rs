//! Faults of HTTP: statuses, heads and chunks.

use crate::{
    cases::{CUT, Cases, LOST, PROTOCOL},
    outcome::Want::{Either, Error, Text},
    server::{After, chunk, chunked_bytes},
};

impl Cases {
    pub(crate) fn statuses(&mut self) {
        let ollama = self.adapter.is_ollama();
        for status in [400, 401, 403, 404, 405, 413, 418, 422, 429, 500, 501, 502, 503, 504] {
            let bodies = [
                ("JSON", "application/json", self.adapter.refusal("the model `m` is what it is")),
                ("HTML", "text/html", "<html><h1>It is what it is</h1></html>".to_owned()),
                ("nothing", "text/plain", String::new()),
                ("half of a JSON", "application/json", r#"{"error":"the mod"#.to_owned()),
                ("control characters", "text/plain", "\u{1}\u{7f}".to_owned()),
            ];
            for (what, kind, body) in bodies {
                let json = what == "JSON";
                let code: &[&str] = match status {
                    400 | 413 | 422 => &["invalid-request"],
                    405 if ollama => &["invalid-request"],
                    401 | 403 | 429 | 502..=504 => &["unavailable"],
                    404 if json => &["model-not-found"],
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

    pub(crate) fn heads(&mut self) {
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
        self.under(
            "HTTP/1.0 kept alive",
            Text,
            "HTTP/1.0 200 OK",
            &format!("{plain}Connection: keep-alive\r\n"),
        );
        self.under("HTTP/1.0", Text, "HTTP/1.0 200 OK", &plain);
        self.under("no reason", Text, "HTTP/1.1 200", &plain);
        self.under("a last answer", Text, ok, &format!("{plain}Connection: close\r\n"));
        for line in [
            "HTTP/2.0 200 OK",
            "http/1.1 200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 abc",
            "ICY 200 OK",
            " HTTP/1.1 200 OK",
            "",
        ] {
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
        let latin = [
            b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\n".as_slice(),
            plain.as_bytes(),
            length.as_bytes(),
            b"\r\n",
            body.as_bytes(),
        ]
        .concat();
        self.says("a header that is no UTF-8", Text, latin, After::Keep);
        let whole = String::from_utf8(chunked_bytes(kind, &self.adapter.whole())).unwrap();
        for (name, want, interim) in [
            ("100 Continue", Text, "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
            ("100 Continue twice", Text, "HTTP/1.1 100 Continue\r\n\r\n".repeat(2)),
            ("103 Early Hints", Text, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_owned()),
            ("a thousand interim answers", PROTOCOL, "HTTP/1.1 102 Wait\r\n\r\n".repeat(1000)),
            (
                "101 Switching Protocols",
                CUT,
                "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
            ),
        ] {
            self.says(name, want, format!("{interim}{whole}"), After::Close);
        }
        let identity = format!("{ok}\r\n{plain}Transfer-Encoding: identity\r\n\r\n{body}");
        self.says("the encoding `identity`", Text, identity, After::Close);
        let twice = whole.replacen(
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            1,
        );
        self.says("chunked twice", Either(&["failed", "protocol"]), twice, After::Close);
        let both = whole.replacen("Transfer-Encoding", &format!("{length}Transfer-Encoding"), 1);
        self.says("chunked and a length", Either(&["failed", "protocol"]), both, After::Close);
        let gzipped = whole.replacen("chunked", "gzip, chunked", 1);
        self.says("the encoding `gzip, chunked`", Either(&["protocol"]), gzipped, After::Close);
        let old = whole.replacen("HTTP/1.1", "HTTP/1.0", 1);
        self.says("chunked in HTTP/1.0", Either(&["failed", "protocol"]), old, After::Close);
    }

    pub(crate) fn chunks(&mut self) {
        let one = |size: &'static str| {
            move |body: &[u8]| [size.as_bytes(), b"\r\n", body, b"\r\n0\r\n\r\n"].concat()
        };
        for size in [
            "zz",
            "-1",
            "",
            " ",
            "0x5",
            "FFFFFFFFFFFFFFFFF",
            "1.5",
            "+9",
            "ffffffffffffffff",
            "7fffffffffffffff",
        ] {
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
        self.framed("an extension that never ends", CUT, |_| {
            [b"5;".to_vec(), b"x".repeat(1_000_000)].concat()
        });
        self.framed("no line end after a chunk", CUT, |body| {
            [format!("{:x}\r\n", body.len()).as_bytes(), body, b"0\r\n\r\n"].concat()
        });
        self.framed("trailers", Text, |body| [&chunk(body)[..], b"0\r\nX-Trailer: x\r\n\r\n"].concat());
        self.framed("trailers without an end", CUT, |body| {
            [&chunk(body)[..], b"0\r\nX-Trailer: x\r\n"].concat()
        });
        self.framed("trailers that are none", Either(&["failed", "protocol"]), |body| {
            [&chunk(body)[..], b"0\r\nno trailer at all\r\n\r\n"].concat()
        });
        self.framed("a hundred thousand trailers", Either(&["failed", "protocol"]), |body| {
            [&chunk(body)[..], b"0\r\n", &b"X: x\r\n".repeat(100_000), b"\r\n"].concat()
        });
    }
}
