//! Requests that are malformed, too large, too slow or too many.

use std::{io::Read, net::TcpStream, sync::Arc, time::Duration};

use chimera_core::{Clock, SystemClock};
use chimera_serve::script::{Protocol, Script, ScriptModel, Tokens};
use chimera_serve::truth::{Ending, Limits, TruthOptions, TruthServer};
use proptest::prelude::*;

use crate::client::{Client, End, body, ms, serve_model};

fn limited(limits: Limits) -> (TruthServer, Arc<dyn Clock>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let script = Script::new().model(ScriptModel::new("m", Tokens::unpaced(3)));
    let options = TruthOptions::loopback(Arc::clone(&clock));
    (TruthServer::start_with(script, options, limits).expect("a server"), clock)
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_closed() {
    let (server, clock) = limited(Limits::default());
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(70 << 10));
    let cases = [
        ("GARBAGE\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}".to_owned(), 400),
        ("GET / HTTP/1.1\r\ncontent-length: many\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n".to_owned(), 413),
        (large, 431),
    ];
    for (request, status) in &cases {
        let mut client = Client::new(server.addr(), &clock);
        client.send(request);
        let response = client.read(usize::MAX);
        assert_eq!((response.status, response.end), (*status, End::Proper), "{request:.40}");
        assert!(response.text().starts_with("{\"error\":"));
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(client.stream.read(&mut [0]).expect("a FIN"), 0);
    }
    let truth = server.stop().expect("the truth");
    assert_eq!(truth.records.len(), cases.len());
    assert!(truth.records.iter().all(|r| r.ending == Ending::Refused));
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let (server, clock) = limited(Limits { body: 1000, ..Limits::default() });
    let mut client = Client::new(server.addr(), &clock);
    client.send(format!("POST / HTTP/1.1\r\ncontent-length: 8000000\r\n\r\n{}", "a".repeat(8_000_000)));
    assert_eq!(client.read(usize::MAX).status, 413);
}

#[test]
fn a_slow_request_is_dropped_and_an_idle_connection_is_closed() {
    let (server, clock) = limited(Limits { request: ms(150), idle: ms(150), ..Limits::default() });
    let mut loris = Client::new(server.addr(), &clock);
    let mut silent = Client::new(server.addr(), &clock);
    let mut idle = Client::new(server.addr(), &clock);
    assert_eq!(idle.ask("GET", "/health", "").status, 200);
    let mut dropped = false;
    for byte in "GET / HTTP/1.1\r\nhost: x\r\nx: y".repeat(50).bytes() {
        use std::io::Write;
        if loris.stream.write_all(&[byte]).is_err() {
            dropped = true;
            break;
        }
        loris.stream.set_read_timeout(Some(ms(5))).expect("a timeout");
        let response = loris.read(1);
        if response.end != End::Silence {
            assert!(
                String::from_utf8_lossy(&response.body).starts_with("HTTP/1.1 408") || response.status == 408
            );
            dropped = true;
            break;
        }
    }
    assert!(dropped, "the request never ended");
    assert_eq!(silent.stream.read(&mut [0]).expect("a FIN"), 0);
    assert_eq!(idle.stream.read(&mut [0]).expect("a FIN"), 0);
}

#[test]
fn there_are_no_more_connections_than_allowed() {
    let (server, clock) = limited(Limits { connections: 2, ..Limits::default() });
    let mut first = Client::new(server.addr(), &clock);
    assert_eq!(first.ask("GET", "/health", "").status, 200);
    let mut second = Client::new(server.addr(), &clock);
    assert_eq!(second.ask("GET", "/health", "").status, 200);
    let mut third = TcpStream::connect(server.addr()).expect("the system accepts");
    third.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)));
    drop(first);
    let mut fourth = None;
    for _ in 0..400 {
        let mut client = Client::new(server.addr(), &clock);
        use std::io::Write;
        let sent = client.stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").is_ok();
        if sent && client.read(usize::MAX).status == 200 {
            fourth = Some(client);
            break;
        }
        std::thread::sleep(ms(5));
    }
    assert!(fourth.is_some(), "a place that is free again is given again");
}

#[test]
fn requests_of_all_kinds_are_read() {
    let (server, clock) = serve_model(Tokens::unpaced(3));
    let json = body(Protocol::OllamaGenerate, "m", 9, true);
    let mut client = Client::new(server.addr(), &clock);
    client.send(format!(
        "POST /api/generate HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        json.len()
    ));
    let mut go = [0; 25];
    client.stream.read_exact(&mut go).expect("100");
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(&json);
    assert_eq!(client.read(usize::MAX).text().lines().count(), 4);
    let (first, second) = json.split_at(10);
    client.send(format!(
        "POST /api/generate HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\na\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        second.len()
    ));
    assert_eq!(client.read(usize::MAX).text().lines().count(), 4);
    client.send("HEAD / HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\nconnection: close\r\n\r\n");
    let mut both = String::new();
    client.stream.read_to_string(&mut both).expect("both");
    let (head, rest) = both.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("content-length: 17") && rest.starts_with("HTTP/1.1 200 OK\r\n"), "{both}");
    assert!(rest.contains("connection: close\r\n"));
    let mut old = Client::new(server.addr(), &clock);
    old.send(format!("POST /api/generate HTTP/1.0\r\ncontent-length: {}\r\n\r\n{json}", json.len()));
    let response = old.read(usize::MAX);
    assert_eq!((response.header("transfer-encoding"), response.text().lines().count()), (None, 4));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever bytes come, the server answers the next client.
    #[test]
    fn no_bytes_break_the_server(bytes in proptest::collection::vec(any::<u8>(), 0..400), valid in any::<bool>()) {
        use std::io::Write;
        let (server, clock) = serve_model(Tokens::unpaced(3));
        let mut client = Client::new(server.addr(), &clock);
        let head = if valid { "POST /api/generate HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" } else { "" };
        // The server may close before all is sent.
        let _ = client.stream.write_all(head.as_bytes()).and_then(|()| client.stream.write_all(&bytes));
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.stream.read_to_end(&mut answer);
        prop_assert_eq!(Client::new(server.addr(), &clock).ask("GET", "/health", "").status, 200);
        prop_assert!(server.stop().is_ok());
    }
}
