//! A server on a plain socket that says exactly what it is told, and the recorded wires of a real one.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use chimera_core::{
    BackendError, Batch, Event, EventKind, Finished, InferenceBackend, LoadOptions, ModelRef, Result,
    Session, StreamError, SystemClock,
};
use chimera_ollama::{OllamaBackend, OllamaBuilder};
use chimera_wire::Endpoint;
use futures_util::StreamExt;

pub(crate) const MODEL: &str = "smollm2:135m";

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

    /// Whether it asks for text, not for a model to be loaded or unloaded.
    pub(crate) fn is_generation(&self) -> bool {
        let json = self.json();
        self.is("POST /api/chat") || (self.is("POST /api/generate") && json["prompt"] != "")
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

    /// A server whose model loads as a real one does, and whose generations are answered by `script`.
    pub(crate) fn generating(script: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start(
            move |request, stream| {
                if request.is_generation() { script(request, stream) } else { loading(request, stream) }
            },
        )
    }

    /// The same, all generations answered by one wire.
    pub(crate) fn replaying(wire: Vec<u8>) -> Self {
        Self::generating(move |_, stream| write(stream, &wire))
    }

    pub(crate) fn builder(&self) -> OllamaBuilder {
        let endpoint = Endpoint::parse(&format!("http://{}", self.address), 80).unwrap();
        OllamaBackend::builder(endpoint, Arc::new(SystemClock::new()))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
    }
}

/// What a real server answers to the calls of a load.
pub(crate) fn loading(request: &Asked, stream: &mut TcpStream) {
    let name = match request.line.as_str() {
        "POST /api/show" => "show",
        "GET /api/ps" if request.json() == serde_json::Value::Null => "ps",
        "GET /api/tags" => "tags",
        "GET /api/version" => "version",
        "POST /api/generate" if request.json()["keep_alive"] == 0 => "unload",
        "POST /api/generate" => "generate-empty-prompt-loads",
        _ => "error-unknown-path",
    };
    write(stream, &wire(name));
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
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    // What is large is read and thrown away.
    let mut body = vec![0; if length > 10_000_000 { 0 } else { length }];
    if body.len() == length {
        stream.read_exact(&mut body).ok()?;
    } else {
        let mut part = vec![0; 1 << 16];
        let mut left = length;
        while left > 0 {
            let most = left.min(part.len());
            left -= match stream.read(&mut part[..most]).ok()? {
                0 => return None,
                count => count,
            };
        }
    }
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked { line, head, body })
}

pub(crate) fn wire(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wires").join(format!("{name}.http"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An answer of lines, one in each chunk of the transfer.
pub(crate) fn streamed(lines: &[&str]) -> Vec<u8> {
    let mut all =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for line in lines {
        all.extend_from_slice(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).as_bytes());
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

pub(crate) fn context(tokens: u32) -> LoadOptions {
    let mut options = LoadOptions::default();
    options.context = Some(tokens);
    options
}

pub(crate) async fn load(backend: &OllamaBackend) -> Result<Arc<dyn Session>> {
    backend.load(&ModelRef::named(MODEL), &context(2048)).await
}

/// What one generation said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) chunks: usize,
    pub(crate) end: Finished,
}

pub(crate) async fn read(session: &dyn Session, batch: impl Into<Batch>) -> Result<Said, BackendError> {
    let mut law = chimera_core::Law::new(1);
    let (mut text, mut chunks, mut end) = (String::new(), 0, None);
    let mut failed = None;
    let mut stream = session.generate(batch.into());
    while let Some(item) = stream.next().await {
        law.see(&item).unwrap();
        match item {
            Ok(Event { kind: EventKind::Chunk { text: part, .. }, .. }) => {
                text.push_str(&part);
                chunks += 1;
            }
            Ok(Event { kind: EventKind::Finished(finished), .. }) => end = Some(finished),
            Ok(_) => {}
            Err(StreamError { error, .. }) => failed = Some(error),
        }
    }
    law.end().unwrap();
    match (failed, end) {
        (Some(error), None) => Err(error),
        (None, Some(end)) => Ok(Said { text, chunks, end }),
        (failed, end) => panic!("an end {end:?} and an error {failed:?}"),
    }
}
