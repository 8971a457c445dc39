//! The client on tokio's own sockets, under both of its runtimes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use chimera_core::{Clock, SystemClock};
use chimera_wire::{Call, Client, Endpoint, Limits, Piece, Tokio, WireError};
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// Answers every request by a script.
fn serve(script: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, script) = (Arc::clone(&connections), Arc::new(script));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            stream.set_nodelay(true).unwrap();
            let (number, script) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&script));
            thread::spawn(move || {
                let mut asked = Vec::new();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    asked.push(byte[0]);
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        script(&mut stream, number);
                    }
                }
            });
        }
    });
    Server { address, connections }
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    [
        ("current_thread", Builder::new_current_thread().enable_io().build().unwrap()),
        ("multi_thread", Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap()),
    ]
}

fn client(server: &Server, connector: Tokio, limits: Limits) -> (Client, Arc<SystemClock>) {
    let clock = Arc::new(SystemClock::new());
    let endpoint = Endpoint::parse(&server.address.to_string(), 80).unwrap();
    let builder = Client::builder(endpoint, clock.clone()).connector(Arc::new(connector)).limits(limits);
    (builder.build().unwrap(), clock)
}

async fn pieces(client: &Client) -> Result<Vec<Piece>, WireError> {
    let mut answer = client.send(&Call::get("/")).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = answer.body.next().await {
        pieces.push(piece?);
    }
    Ok(pieces)
}

fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| std::str::from_utf8(&piece.bytes).unwrap()).collect()
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(stream: &mut TcpStream, text: &str) {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).ok();
}

#[test]
fn reads_are_stamped_by_us_and_by_the_kernel_and_the_connection_is_used_again() {
    let gap = Duration::from_millis(30);
    let server = serve(move |stream, _| {
        stream.write_all(CHUNKED).ok();
        for word in ["one", "two", "three"] {
            thread::sleep(gap);
            chunk(stream, word);
        }
        stream.write_all(b"0\r\n\r\n").ok();
    });
    for (name, runtime) in runtimes() {
        let (client, clock) = client(&server, Tokio::new(), Limits::default());
        let before = clock.now();
        for _ in 0..3 {
            // A task of its own: on the second runtime it may change threads.
            let client = client.clone();
            let task = runtime.spawn(async move { pieces(&client).await });
            let pieces = runtime.block_on(task).unwrap().unwrap();
            assert_eq!(text(&pieces), "onetwothree", "{name}");
            let [first, .., last] = pieces.as_slice() else { panic!("{name}: one piece") };
            assert!(last.at.since(first.at).unwrap() > gap / 3, "{name}: {pieces:?}");
            assert!(pieces.iter().all(|p| p.kernel.is_none_or(|kernel| kernel <= p.at && kernel >= before)));
        }
        let lag = client.lag();
        if cfg!(target_os = "linux") {
            assert!(lag.stamped > 0, "{name}: {lag:?}");
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "one connection for each client");
}

#[test]
fn without_kernel_stamps_reads_are_counted_as_unstamped() {
    let server = serve(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
    });
    for (name, runtime) in runtimes() {
        let (client, _) = client(&server, Tokio::without_kernel_stamps(), Limits::default());
        assert_eq!(text(&runtime.block_on(pieces(&client)).unwrap()), "ok");
        let lag = client.lag();
        assert!(lag.stamped == 0 && lag.unstamped > 0, "{name}: {lag:?}");
    }
}

#[test]
fn many_streams_run_at_once() {
    let server = serve(|stream, number| {
        stream.write_all(CHUNKED).ok();
        for token in 0..20 {
            thread::sleep(Duration::from_millis(2));
            chunk(stream, &format!("{number}.{token} "));
        }
        stream.write_all(b"0\r\n\r\n").ok();
    });
    for (name, runtime) in runtimes() {
        let (client, _) = client(&server, Tokio::new(), Limits::default());
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let client = client.clone();
                runtime.spawn(async move { pieces(&client).await })
            })
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for task in tasks {
            let all = text(&runtime.block_on(task).unwrap().unwrap());
            let number = all.split('.').next().unwrap().to_owned();
            let meant: String = (0..20).map(|token| format!("{number}.{token} ")).collect();
            assert_eq!(all, meant, "{name}");
            assert!(seen.insert(number), "{name}: a connection was used by two streams at once");
        }
    }
}

#[test]
fn faults_have_the_same_errors_as_on_other_sockets() {
    let quick =
        Limits { head: Duration::from_millis(300), stall: Duration::from_millis(300), ..Limits::default() };
    type Script = fn(&mut TcpStream, usize);
    let cases: [(Script, &str); 5] = [
        (|_, _| thread::sleep(Duration::from_secs(2)), "timeout"),
        (
            |stream, _| {
                stream.write_all(CHUNKED).ok();
                thread::sleep(Duration::from_secs(2));
            },
            "timeout",
        ),
        (
            |stream, _| {
                stream.write_all(CHUNKED).ok();
                chunk(stream, "x");
                stream.shutdown(std::net::Shutdown::Both).ok();
            },
            "lost",
        ),
        (|stream, _| drop(stream.write_all(b"no HTTP at all\r\n\r\n")), "protocol"),
        (|stream, _| drop(stream.write_all(b"HTTP/1.1 301 x\r\nLocation: /\r\n\r\n")), "protocol"),
    ];
    for (script, code) in cases {
        let server = serve(script);
        for (name, runtime) in runtimes() {
            let (client, _) = client(&server, Tokio::new(), quick);
            let error = runtime.block_on(pieces(&client)).unwrap_err();
            assert_eq!(error.code(), code, "{name}: {error}");
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = Server { address: listener.local_addr().unwrap(), connections: Arc::default() };
    drop(listener);
    for (name, runtime) in runtimes() {
        let (client, _) = client(&nobody, Tokio::new(), quick);
        let error = runtime.block_on(pieces(&client)).unwrap_err();
        assert_eq!(error.code(), "connect", "{name}: {error}");
    }
}

#[test]
fn a_dropped_body_closes_the_connection() {
    let (told, hears) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let server = serve(move |stream, _| {
        stream.write_all(CHUNKED).ok();
        chunk(stream, "x");
        let mut byte = [0];
        let closed = stream.read(&mut byte).map_or(true, |n| n == 0);
        told.lock().unwrap().send(closed).ok();
    });
    for (name, runtime) in runtimes() {
        let (client, _) = client(&server, Tokio::new(), Limits::default());
        runtime.block_on(async {
            let mut answer = client.send(&Call::get("/")).await.unwrap();
            answer.body.next().await.unwrap().unwrap();
        });
        assert!(hears.recv_timeout(Duration::from_secs(10)).unwrap(), "{name}");
    }
}
