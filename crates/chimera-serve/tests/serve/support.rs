//! A blocking HTTP client on plain sockets, which says exactly what was sent and received, and servers over the
//! simulator.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use chimera_serve::{ServeOptions, ServedModel, Server};
use chimera_sim::{Laws, SimBackend, SimBuilder, SimModel};
use serde_json::Value;

/// Longest wait for anything: it guards against hanging and is no claim about speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The lines of an NDJSON stream.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The data of server-sent events; `[DONE]` as text.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.body.split("\n\n").filter(|event| !event.is_empty());
        data.map(|event| {
            let data = event.strip_prefix("data: ").unwrap();
            serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.into()))
        })
        .collect()
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Writes a request and leaves the connection open for the answer.
pub(crate) fn send(addr: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
    let mut stream = connect(addr);
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for header in headers {
        head += header;
        head += "\r\n";
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    // The server may answer and close before it has read a body that is too long.
    if let Err(error) = stream.write_all(&bytes) {
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    }
    stream
}

/// Reads what is left of an answer.
pub(crate) fn receive(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "no answer in time");
    }
    parse(&bytes)
}

pub(crate) fn parse(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut rest = &bytes[end + 4..];
    let mut body = Vec::new();
    if headers.iter().any(|(key, value)| key == "transfer-encoding" && value == "chunked") {
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if size == 0 {
                break;
            }
            body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 4 + size..];
        }
    } else {
        body.extend_from_slice(rest);
    }
    Reply { status, headers, body: String::from_utf8(body).unwrap() }
}

pub(crate) fn get(server: &Server, path: &str) -> Reply {
    receive(send(server.addr(), "GET", path, &[], b""))
}

pub(crate) fn post(server: &Server, path: &str, body: &Value) -> Reply {
    receive(send(server.addr(), "POST", path, &[], body.to_string().as_bytes()))
}

/// Sends in the background; the answer is at the end of the thread.
pub(crate) fn later(
    server: &Server,
    path: &'static str,
    body: Value,
) -> std::thread::JoinHandle<(Reply, Instant)> {
    let addr = server.addr();
    std::thread::spawn(move || {
        let reply = receive(send(addr, "POST", path, &[], body.to_string().as_bytes()));
        (reply, Instant::now())
    })
}

/// Laws that cost next to nothing.
pub(crate) fn quick() -> Laws {
    Laws::default()
        .load(Duration::from_millis(2))
        .prefill(Duration::from_micros(50), Duration::ZERO)
        .decode(Duration::from_micros(50), Duration::ZERO)
}

/// Laws whose decode steps take this long.
pub(crate) fn paced(step: Duration) -> Laws {
    quick().decode(step, Duration::ZERO)
}

pub(crate) fn sim() -> SimBuilder {
    SimBackend::builder()
        .model(SimModel::new("tiny").laws(quick()).eos_after(40))
        .model(SimModel::new("other").laws(quick()).eos_after(40))
        .model(SimModel::new("slow").laws(paced(Duration::from_millis(10))))
}

pub(crate) fn served() -> Vec<ServedModel> {
    ["tiny", "other", "slow"].map(ServedModel::named).to_vec()
}

pub(crate) fn start(backend: SimBuilder, options: ServeOptions) -> Server {
    Server::start(Arc::new(backend.build()), served(), options).unwrap()
}

pub(crate) fn plain() -> Server {
    start(sim(), ServeOptions::default())
}

/// Waits until `done` says so.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The value of one line of `/metrics`.
pub(crate) fn metric(server: &Server, name: &str) -> f64 {
    let text = get(server, "/metrics").body;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.split(' ').nth(1)).map_or(0.0, |value| value.parse().unwrap())
}
