//! The client against sockets that say exactly what they are told: stamps, framing, connections used again, and everything
//! that a server can do wrong.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use chimera_core::{Clock, Stamp, SystemClock};
use chimera_wire::{AsyncIo, Call, Client, Connector, Endpoint, Limits, Piece, WireError};
use futures_util::StreamExt;

/// What a server does with a connection.
type Script = dyn Fn(&mut TcpStream, usize) + Send + Sync;

/// A server that reads a request, then does what it is told; connections are numbered from 0.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(script: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, count) = (Arc::clone(&requests), Arc::clone(&connections));
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                let number = count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        seen.lock().unwrap().push(request);
                        script(&mut stream, number);
                    }
                });
            }
        });
        Self { address, requests, connections }
    }

    fn client(&self, limits: Limits) -> (Client, Arc<SystemClock>) {
        let clock = Arc::new(SystemClock::new());
        let endpoint = Endpoint::parse(&format!("http://{}/base", self.address), 80).unwrap();
        let client = Client::builder(endpoint, clock.clone()).limits(limits).build().unwrap();
        (client, clock)
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
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
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().to_owned())
    });
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: Application/X-NDJSON; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(stream: &mut TcpStream, text: &str) {
    let framed = format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(framed.as_bytes()).ok();
}

async fn read(client: &Client, call: &Call) -> Result<(Stamp, Stamp, Vec<Piece>, Stamp), WireError> {
    let mut answer = client.send(call).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = answer.body.next().await {
        pieces.push(piece?);
    }
    Ok((answer.sent, answer.headers_at, pieces, answer.body.last_read()))
}

fn text(pieces: &[Piece]) -> String {
    String::from_utf8(pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect()).unwrap()
}

#[test]
fn pieces_carry_the_stamps_of_their_reads_and_the_connection_is_used_again() {
    let gap = Duration::from_millis(30);
    let server = Server::start(move |stream, _| {
        stream.write_all(CHUNKED).ok();
        for word in ["one", "two", "three"] {
            thread::sleep(gap);
            chunk(stream, word);
        }
        thread::sleep(gap);
        stream.write_all(b"0\r\n\r\n").ok();
    });
    let (client, clock) = server.client(Limits::default());
    for _ in 0..3 {
        let before = clock.now();
        let call = Call::post("/api", "{\"a\":1}");
        let (sent, headers, pieces, last) = async_io::block_on(read(&client, &call)).unwrap();
        assert_eq!(text(&pieces), "onetwothree");
        assert!(before <= sent && sent <= headers, "{before:?} {sent:?} {headers:?}");
        let mut at = headers;
        for piece in &pieces {
            // Sleeping ends no earlier than asked; a late machine makes the gaps longer, never much shorter.
            assert!(piece.at.since(at).unwrap() > gap / 3, "{:?} after {at:?}", piece.at);
            assert!(piece.kernel.is_none_or(|kernel| kernel <= piece.at && kernel >= sent));
            at = piece.at;
        }
        assert!(last.since(at).unwrap() > gap / 3, "the end has a read of its own");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "one connection serves all");
    let request = server.requests.lock().unwrap().first().unwrap().to_ascii_lowercase();
    assert!(
        request.starts_with("post /base/api http/1.1\r\n") && request.ends_with("{\"a\":1}"),
        "{request}"
    );
    assert!(request.contains("accept-encoding: identity"));
    if cfg!(target_os = "linux") {
        let lag = client.lag();
        assert!(lag.stamped > 0, "{lag:?}");
    }
}

#[test]
fn bytes_of_one_read_that_hyper_joins_keep_their_own_stamps() {
    // A chunk that arrives in two reads.
    let server = Server::start(|stream, _| {
        stream.write_all(CHUNKED).ok();
        stream.write_all(b"a\r\n01234").ok();
        thread::sleep(Duration::from_millis(30));
        stream.write_all(b"56789\r\n0\r\n\r\n").ok();
    });
    let (client, _) = server.client(Limits::default());
    let (_, _, pieces, _) = async_io::block_on(read(&client, &Call::get("/"))).unwrap();
    assert_eq!(text(&pieces), "0123456789");
    let first = pieces.first().unwrap();
    assert_eq!(&first.bytes[..], b"01234");
    assert!(pieces.last().unwrap().at.since(first.at).unwrap() > Duration::from_millis(10));
}

#[test]
fn a_dropped_body_closes_the_connection() {
    let (told, hears) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    let server = Server::start(move |stream, _| {
        stream.write_all(CHUNKED).ok();
        chunk(stream, "x");
        let mut byte = [0];
        let closed = stream.read(&mut byte).is_ok_and(|n| n == 0) || stream.take_error().is_ok();
        told.lock().unwrap().send(closed).ok();
    });
    let (client, _) = server.client(Limits::default());
    async_io::block_on(async {
        let mut answer = client.send(&Call::get("/")).await.unwrap();
        answer.body.next().await.unwrap().unwrap();
    });
    assert!(hears.recv_timeout(Duration::from_secs(10)).unwrap());
}

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    let server = Server::start(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
        stream.shutdown(std::net::Shutdown::Both).ok();
    });
    let (client, _) = server.client(Limits::default());
    for _ in 0..3 {
        let answer = async_io::block_on(async { client.send(&Call::get("/")).await?.bytes(10).await });
        assert_eq!(&answer.unwrap()[..], b"ok");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

fn failure(limits: Limits, script: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> WireError {
    let server = Server::start(script);
    let (client, _) = server.client(limits);
    match async_io::block_on(read(&client, &Call::get("/"))) {
        Ok((.., pieces, _)) => panic!("an answer: {}", text(&pieces)),
        Err(error) => error,
    }
}

#[test]
fn everything_a_server_can_do_wrong_has_its_error() {
    let quick =
        Limits { head: Duration::from_millis(200), stall: Duration::from_millis(200), ..Limits::default() };
    let nothing = failure(quick, |_, _| thread::sleep(Duration::from_secs(2)));
    assert!(matches!(nothing, WireError::Timeout { what: "the beginning of the answer", .. }), "{nothing}");
    let stall = failure(quick, |stream, _| {
        stream.write_all(CHUNKED).ok();
        chunk(stream, "x");
        thread::sleep(Duration::from_secs(2));
    });
    assert!(matches!(stall, WireError::Timeout { what: "the next part of the answer", .. }), "{stall}");
    let all = Limits::default();
    let cut = failure(all, |stream, _| {
        stream.write_all(CHUNKED).ok();
        chunk(stream, "x");
        stream.shutdown(std::net::Shutdown::Both).ok();
    });
    assert_eq!(cut.code(), "lost", "{cut}");
    let closed = failure(all, |stream, _| drop(stream.shutdown(std::net::Shutdown::Both)));
    assert_eq!(closed.code(), "lost", "{closed}");
    let garbage = failure(all, |stream, _| {
        stream.write_all(b"SSH-2.0-x\r\n\r\n").ok();
    });
    assert_eq!(garbage.code(), "protocol", "{garbage}");
    let away = failure(all, |stream, _| {
        stream
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n")
            .ok();
    });
    assert!(away.to_string().contains("http://elsewhere/"), "{away}");
    let bomb = failure(all, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx").ok();
    });
    assert!(bomb.to_string().contains("gzip"), "{bomb}");
    let endless = failure(Limits { body: 100_000, ..all }, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(endless.code(), "too-large", "{endless}");
    let head = failure(all, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").ok();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(head.code(), "protocol", "{head}");
}

#[test]
fn a_reset_at_every_byte_is_an_error_and_never_a_short_success() {
    let whole = [CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"].concat();
    for end in 0..whole.len() {
        let part = whole[..end].to_vec();
        let error = failure(Limits::default(), move |stream, _| {
            stream.write_all(&part).ok();
            stream.shutdown(std::net::Shutdown::Both).ok();
        });
        assert!(matches!(error, WireError::Lost { .. } | WireError::Protocol { .. }), "byte {end}: {error}");
    }
}

#[test]
fn nobody_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint::parse(&address.to_string(), 80).unwrap();
    let client = Client::builder(endpoint, Arc::new(SystemClock::new())).build().unwrap();
    let error = async_io::block_on(client.send(&Call::get("/"))).unwrap_err();
    assert_eq!(error.code(), "connect", "{error}");
}

#[test]
fn any_executor_will_do() {
    let server = Server::start(|stream, _| {
        stream.write_all(CHUNKED).ok();
        chunk(stream, "x");
        stream.write_all(b"0\r\n\r\n").ok();
    });
    let (client, _) = server.client(Limits::default());
    let call = Call::get("/");
    let run = || async { text(&read(&client, &call).await.unwrap().2) };
    assert_eq!(async_io::block_on(run()), "x");
    assert_eq!(futures_executor::block_on(run()), "x");
    assert_eq!(smol::block_on(run()), "x");
    assert_eq!(smol::future::block_on(smol::LocalExecutor::new().run(run())), "x");
}

#[test]
fn many_streams_run_on_one_thread() {
    let server = Server::start(|stream, number| {
        stream.write_all(CHUNKED).ok();
        for token in 0..20 {
            thread::sleep(Duration::from_millis(2));
            chunk(stream, &format!("{number}.{token} "));
        }
        stream.write_all(b"0\r\n\r\n").ok();
    });
    let (client, _) = server.client(Limits::default());
    let call = Call::get("/");
    let all = (0..32).map(|_| read(&client, &call));
    let answers = async_io::block_on(futures_util::future::join_all(all));
    for answer in answers {
        let (.., pieces, _) = answer.unwrap();
        let all = text(&pieces);
        let number = all.split('.').next().unwrap();
        let meant: String = (0..20).map(|token| format!("{number}.{token} ")).collect();
        assert_eq!(all, meant);
    }
}

#[test]
fn without_kernel_stamps_reads_are_counted_as_unstamped() {
    let server = Server::start(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
    });
    let clock = Arc::new(SystemClock::new());
    let endpoint = Endpoint::parse(&server.address.to_string(), 80).unwrap();
    let connector: Arc<dyn Connector> = Arc::new(AsyncIo::without_kernel_stamps());
    let client = Client::builder(endpoint, clock).connector(connector).build().unwrap();
    async_io::block_on(async { client.send(&Call::get("/")).await.unwrap().bytes(10).await }).unwrap();
    let lag = client.lag();
    assert_eq!((lag.stamped, lag.p50_ns), (0, None));
    assert!(lag.unstamped > 0);
}

#[test]
fn a_file_is_sent_in_parts_and_a_short_one_is_noticed() {
    let length = 3_000_000_usize;
    let path = std::env::temp_dir().join(format!("chimera-wire-upload-{}", std::process::id()));
    std::fs::write(&path, vec![b'x'; length]).unwrap();
    let server = Server::start(|stream, _| {
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").ok();
    });
    let (client, _) = server.client(Limits::default());
    let send = |length: u64| async_io::block_on(client.send(&Call::upload("/blob", path.clone(), length)));
    let status = send(length as u64).map(|answer| answer.status.as_u16());
    let short = send(length as u64 + 1).map(|_| ());
    std::fs::remove_file(&path).unwrap();
    let gone = send(1).map(|_| ());
    assert_eq!(status.unwrap(), 201);
    let request = server.requests.lock().unwrap().first().unwrap().clone();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("content-length: {length}")) && head.contains("octet-stream"), "{head}");
    assert!(body.len() == length && body.bytes().all(|byte| byte == b'x'));
    assert_eq!(short.unwrap_err().code(), "lost");
    assert_eq!(gone.unwrap_err().code(), "lost");
}
