//! The client over TLS: servers with certificates of their own, and everything that makes a connection insecure.
//!
//! The key under `tls/` is known to everybody, so its certificates are to be trusted nowhere.
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

use chimera_core::SystemClock;
use chimera_wire::{Call, Client, Endpoint, Limits, Piece, WireError};
use futures_util::StreamExt;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

const CERT: &[u8] = include_bytes!("tls/test-cert.der");
const EXPIRED: &[u8] = include_bytes!("tls/test-cert-expired.der");
const ELSEWHERE: &[u8] = include_bytes!("tls/test-cert-elsewhere.der");
const AUTHORITY: &[u8] = include_bytes!("tls/test-cert-authority.der");
const STRANGER: &[u8] = include_bytes!("tls/test-cert-stranger.der");
const KEY: &[u8] = include_bytes!("tls/test-key.der");

type Secure = StreamOwned<ServerConnection, TcpStream>;

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// A secure server that answers every request by a script.
fn serve(cert: &'static [u8], script: impl Fn(&mut Secure) + Send + Sync + 'static) -> Server {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.into()], PrivateKeyDer::Pkcs8(KEY.into()))
        .unwrap();
    let config = Arc::new(config);
    let script = Arc::new(script);
    listen(move |stream| {
        let mut secure = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        while read_head(&mut secure).is_some() {
            script(&mut secure);
        }
    })
}

fn listen(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, talk) = (Arc::clone(&connections), Arc::new(talk));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            stream.set_nodelay(true).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let talk = Arc::clone(&talk);
            thread::spawn(move || talk(stream));
        }
    });
    Server { address, connections }
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        all.push(byte[0]);
    }
    String::from_utf8(all).ok()
}

fn client(address: &str, trusted: Option<&[u8]>) -> Client {
    let limits = Limits { connect: Duration::from_secs(20), ..Limits::default() };
    let endpoint = Endpoint::parse(address, 443).unwrap();
    let mut builder = Client::builder(endpoint, Arc::new(SystemClock::new())).limits(limits);
    if let Some(der) = trusted {
        builder = builder.trust(der).unwrap();
    }
    builder.build().unwrap()
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

fn refused(client: &Client) -> WireError {
    async_io::block_on(pieces(client)).map(|pieces| text(&pieces)).unwrap_err()
}

fn short(stream: &mut Secure) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
}

#[test]
fn a_trusted_server_is_heard_and_its_pieces_are_stamped_as_they_come() {
    let gap = Duration::from_millis(40);
    let server = serve(CERT, move |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok();
        for word in ["one", "two", "three"] {
            thread::sleep(gap);
            stream.write_all(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes()).ok();
        }
        stream.write_all(b"0\r\n\r\n").ok();
    });
    for host in ["127.0.0.1", "localhost"] {
        let client = client(&format!("https://{host}:{}", server.address.port()), Some(CERT));
        for _ in 0..2 {
            let pieces = async_io::block_on(pieces(&client)).unwrap();
            assert_eq!(text(&pieces), "onetwothree");
            let [first, .., last] = pieces.as_slice() else { panic!("one piece: {pieces:?}") };
            // Sleeping ends no earlier than asked, so the second and third words are at least so far apart.
            assert!(last.at.since(first.at).unwrap() > gap / 3, "{pieces:?}");
            assert!(pieces.iter().all(|piece| piece.kernel.is_none()), "records are not reads");
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "one connection for each client");
}

#[test]
fn a_long_answer_crosses_many_records_whole() {
    let long: String = (0..200_000).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let sent = long.clone();
    let server = serve(CERT, move |stream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
        stream.write_all(head.as_bytes()).ok();
        stream.write_all(sent.as_bytes()).ok();
    });
    let client = client(&format!("https://{}", server.address), Some(CERT));
    assert_eq!(text(&async_io::block_on(pieces(&client)).unwrap()), long);
}

#[test]
fn whoever_cannot_prove_who_it_is_is_refused() {
    for (cert, trusted, why, what) in [
        (CERT, None, "UnknownIssuer", "the system knows no such issuer"),
        (CERT, Some(STRANGER), "", "another key under the same name is trusted"),
        (ELSEWHERE, Some(ELSEWHERE), "not valid for name", "a certificate for another name"),
        (EXPIRED, Some(EXPIRED), "expired", "a certificate of the past"),
        (AUTHORITY, Some(AUTHORITY), "CaUsedAsEndEntity", "an authority's certificate in a server's hands"),
    ] {
        let server = serve(cert, short);
        let error = refused(&client(&format!("https://{}", server.address), trusted));
        assert_eq!(error.code(), "tls", "{what}: {error}");
        assert!(error.to_string().contains(why), "{what}: {error}");
    }
}

#[test]
fn whoever_speaks_no_tls_is_refused() {
    let limits = Limits { connect: Duration::from_secs(1), ..Limits::default() };
    let plain = listen(|mut stream| {
        // It answers as a plain server does: when it has seen something that is no request.
        let mut some = [0; 16];
        assert!(stream.read(&mut some).is_ok_and(|n| n > 0));
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").ok();
    });
    let closing = listen(drop);
    let silent = listen(|stream| {
        thread::sleep(Duration::from_secs(5));
        drop(stream);
    });
    for (server, code) in [(plain, "tls"), (closing, "tls"), (silent, "timeout")] {
        let endpoint = Endpoint::parse(&format!("https://{}", server.address), 443).unwrap();
        let builder = Client::builder(endpoint, Arc::new(SystemClock::new())).limits(limits);
        let error = refused(&builder.trust(CERT).unwrap().build().unwrap());
        assert_eq!(error.code(), code, "{error}");
    }
    // And the other way round.
    let secure = serve(CERT, short);
    let error = refused(&client(&format!("http://{}", secure.address), None));
    assert!(matches!(error.code(), "protocol" | "lost"), "{error}");
}

#[test]
fn an_answer_that_only_a_broken_connection_ends_is_not_taken_for_whole() {
    // Without a length and without TLS's own end, whoever sits in between could have cut it.
    let server = serve(CERT, |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of").ok();
        stream.sock.shutdown(std::net::Shutdown::Both).ok();
    });
    let error = refused(&client(&format!("https://{}", server.address), Some(CERT)));
    assert_eq!(error.code(), "lost", "{error}");
    let server = serve(CERT, |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").ok();
        stream.conn.send_close_notify();
        stream.flush().ok();
        stream.sock.shutdown(std::net::Shutdown::Both).ok();
    });
    let client = client(&format!("https://{}", server.address), Some(CERT));
    assert_eq!(text(&async_io::block_on(pieces(&client)).unwrap()), "all of it");
}

#[test]
fn what_is_no_certificate_cannot_be_trusted() {
    let endpoint = Endpoint::parse("https://localhost", 443).unwrap();
    let error = Client::builder(endpoint, Arc::new(SystemClock::new())).trust(b"no certificate").unwrap_err();
    assert_eq!(error.code(), "tls", "{error}");
}
