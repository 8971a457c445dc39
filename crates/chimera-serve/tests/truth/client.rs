//! A client that reads raw bytes from a socket, and stamps each read.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use chimera_core::{Clock, Stamp, SystemClock};
use chimera_serve::{
    script::{Protocol, Script, ScriptModel, Tokens},
    truth::{TruthOptions, TruthServer},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A server of a script on the clock that is returned with it.
pub(crate) fn serve(script: Script) -> (TruthServer, Arc<dyn Clock>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server = TruthServer::start(script, TruthOptions::loopback(Arc::clone(&clock))).expect("a server");
    (server, clock)
}

pub(crate) fn serve_model(tokens: Tokens) -> (TruthServer, Arc<dyn Clock>) {
    serve(Script::new().model(ScriptModel::new("m", tokens)))
}

/// How a response ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing says.
    Proper,
    /// By a FIN before its framing was satisfied.
    Eof,
    Reset,
    /// Nothing came for as long as the client waits.
    Silence,
    /// The client has read as many bytes as it wanted.
    Enough,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// HTTP chunks, where there were any.
    pub(crate) chunks: Vec<Vec<u8>>,
    /// Stamp after each read, and bytes of the response by then.
    pub(crate) reads: Vec<(Stamp, usize)>,
    pub(crate) end: End,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn number(&self) -> u64 {
        self.header("x-chimera-request").expect("a number").parse().expect("a number")
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    clock: Arc<dyn Clock>,
    /// Bytes that were read beyond the last response.
    rest: Vec<u8>,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, clock: &Arc<dyn Clock>) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, clock: Arc::clone(clock), rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Response {
        self.send(request(method, path, body));
        self.read(usize::MAX)
    }

    pub(crate) fn generate(&mut self, protocol: Protocol, model: &str, limit: u32) -> Response {
        self.ask("POST", protocol.path(), &body(protocol, model, limit, true))
    }

    /// Reads up to the end of a chunked response whose beginning was thrown away.
    pub(crate) fn read_tail(&mut self) {
        let mut tail = Vec::new();
        while !tail.ends_with(b"\r\n0\r\n\r\n") {
            let mut buffer = [0; 512];
            let n = self.stream.read(&mut buffer).expect("bytes");
            assert!(n > 0, "the end came early");
            tail.extend_from_slice(&buffer[..n]);
        }
    }

    /// Reads one response, or some bytes of it.
    pub(crate) fn read(&mut self, enough: usize) -> Response {
        let mut raw = std::mem::take(&mut self.rest);
        let mut reads = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let mut over = None;
        loop {
            if let Some((mut response, used)) = whole(&raw, over) {
                self.rest = raw.split_off(used);
                response.reads = reads;
                return response;
            }
            over = match self.stream.read(&mut buffer) {
                Ok(0) => Some(End::Eof),
                Ok(n) => {
                    raw.extend_from_slice(&buffer[..n]);
                    reads.push((self.clock.now(), raw.len()));
                    (raw.len() >= enough).then_some(End::Enough)
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Some(End::Silence)
                }
                Err(error) => panic!("{error}"),
            };
        }
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn body(protocol: Protocol, model: &str, limit: u32, stream: bool) -> String {
    match protocol {
        Protocol::OllamaGenerate => format!(
            r#"{{"model":"{model}","prompt":"two words","stream":{stream},"options":{{"num_predict":{limit}}}}}"#
        ),
        Protocol::OllamaChat => format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"two words"}}],"stream":{stream},"options":{{"num_predict":{limit}}}}}"#
        ),
        Protocol::OpenAiCompletions => format!(
            r#"{{"model":"{model}","prompt":"two words","stream":{stream},"max_tokens":{limit},"stream_options":{{"include_usage":true}}}}"#
        ),
        Protocol::OpenAiChat => format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"two words"}}],"stream":{stream},"max_tokens":{limit},"stream_options":{{"include_usage":true}}}}"#
        ),
    }
}

/// A response and its length, where it is whole; or what there is of it, where nothing more comes.
fn whole(raw: &[u8], over: Option<End>) -> Option<(Response, usize)> {
    let mut response = Response {
        status: 0,
        head: String::new(),
        body: Vec::new(),
        chunks: Vec::new(),
        reads: Vec::new(),
        end: over.unwrap_or(End::Proper),
    };
    let Some(blank) = raw.windows(4).position(|end| end == b"\r\n\r\n") else {
        response.body = raw.to_vec();
        return over.map(|_| (response, raw.len()));
    };
    response.head = String::from_utf8(raw[..blank + 2].to_vec()).expect("an ASCII head");
    response.status = response.head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    let start = blank + 4;
    if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().expect("a length");
        if raw.len() >= start + length {
            response.body = raw[start..start + length].to_vec();
            response.end = End::Proper;
            return Some((response, start + length));
        }
    } else if response.header("transfer-encoding").is_some() {
        let mut at = start;
        while let Some(line) = raw[at..].windows(2).position(|end| end == b"\r\n") {
            let size = std::str::from_utf8(&raw[at..at + line]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            let from = at + line + 2;
            if raw.len() < from + size + 2 {
                break;
            }
            assert_eq!(&raw[from + size..from + size + 2], b"\r\n", "the end of a chunk");
            at = from + size + 2;
            if size == 0 {
                response.end = End::Proper;
                response.body = response.chunks.concat();
                return Some((response, at));
            }
            response.chunks.push(raw[from..from + size].to_vec());
        }
        over?;
        response.body = response.chunks.concat();
        return Some((response, raw.len()));
    } else if over == Some(End::Eof) {
        response.end = End::Proper;
    }
    over?;
    response.body = raw[start..].to_vec();
    Some((response, raw.len()))
}
