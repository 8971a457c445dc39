//! A server on a plain socket that says exactly what it is told, and wires after the documented formats.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use chimera_core::{BackendError, Batch, Event, EventKind, Finished, Session, StreamError, SystemClock};
use chimera_openai::{OpenAiBackend, OpenAiBuilder};
use chimera_wire::Endpoint;
use futures_util::StreamExt;

pub(crate) const MODEL: &str = "tiny";

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }

    /// Whether it asks for a stream of text.
    pub(crate) fn is_generation(&self) -> bool {
        self.json()["stream"] == true
    }
}

/// Answers one request; the connection is closed after it.
type Script = dyn Fn(&Asked, &mut TcpStream) + Send + Sync;

pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub(crate) fn start(script: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&asked), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || {
                    if let Some(request) = read_request(&mut stream) {
                        seen.lock().unwrap().push(request.clone());
                        script(&request, &mut stream);
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// A server that lists [`MODEL`], answers a single token at once, and leaves its streams to `script`.
    pub(crate) fn generating(script: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start(move |request, stream| {
            if request.is_generation() { script(request, stream) } else { management(request, stream) }
        })
    }

    /// The same, all streams answered by one wire.
    pub(crate) fn replaying(wire: Vec<u8>) -> Self {
        Self::generating(move |_, stream| write(stream, &wire))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn builder(&self) -> OpenAiBuilder {
        let endpoint = Endpoint::parse(&self.url(), 80).unwrap();
        OpenAiBackend::builder(endpoint, Arc::new(SystemClock::new()))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
    }
}

/// What a server without anything of its own answers beside its streams.
pub(crate) fn management(request: &Asked, stream: &mut TcpStream) {
    let json = "application/json";
    let answer = if request.is("GET /v1/models") {
        let list =
            format!(r#"{{"object":"list","data":[{{"id":"{MODEL}","object":"model","owned_by":"me"}}]}}"#);
        plain("200 OK", json, &list)
    } else if request.is("POST /v1/") || request.is("POST /api/v0/") {
        plain("200 OK", json, r#"{"choices":[{"index":0,"text":"a","finish_reason":"length"}]}"#)
    } else {
        plain("404 Not Found", json, r#"{"error":{"message":"Not Found"}}"#)
    };
    write(stream, &answer);
}

pub(crate) fn write(stream: &mut TcpStream, bytes: &[u8]) {
    // The client may be gone; that is its business.
    let _ = stream.write_all(bytes);
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        all.push(byte[0]);
    }
    let head = String::from_utf8(all).unwrap();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|value| value.trim().to_owned())
    });
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked { line, head, body })
}

pub(crate) fn wire(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wires").join(format!("{name}.http"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An answer of events, each in a chunk of the transfer.
pub(crate) fn streamed(parts: &[&str]) -> Vec<u8> {
    let mut all =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for part in parts {
        all.extend_from_slice(format!("{:x}\r\ndata: {part}\n\n\r\n", part.len() + 8).as_bytes());
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

pub(crate) fn plain(status: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What one generation said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) chunks: usize,
    /// Tokens that the chunks carried, where all of them said.
    pub(crate) tokens: Option<u32>,
    pub(crate) end: Finished,
}

pub(crate) async fn read(session: &dyn Session, batch: impl Into<Batch>) -> Result<Said, BackendError> {
    let mut law = chimera_core::Law::new(1);
    let (mut text, mut chunks, mut tokens, mut end) = (String::new(), 0, Some(0), None);
    let mut failed = None;
    let mut stream = session.generate(batch.into());
    while let Some(item) = stream.next().await {
        law.see(&item).unwrap();
        match item {
            Ok(Event { kind: EventKind::Chunk { text: part, tokens: carried, .. }, .. }) => {
                text.push_str(&part);
                chunks += 1;
                tokens = tokens.zip(carried).map(|(sum, carried)| sum + carried);
            }
            Ok(Event { kind: EventKind::Finished(finished), .. }) => end = Some(finished),
            Ok(_) => {}
            Err(StreamError { error, .. }) => failed = Some(error),
        }
    }
    law.end().unwrap();
    match (failed, end) {
        (Some(error), None) => Err(error),
        (None, Some(end)) => Ok(Said { text, chunks, tokens, end }),
        (failed, end) => panic!("an end {end:?} and an error {failed:?}"),
    }
}
