//! Interim answers, answers without a body, and encodings: what stands between a request and the bytes that are stamped.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chimera_core::SystemClock;
use chimera_wire::{Call, Client, Endpoint, Limits, WireError};
use futures_util::StreamExt;
use http::Method;

/// A server whose answers are scripted by the number of the request on its connection.
fn client(limits: Limits, script: impl Fn(&mut TcpStream, usize) + Send + Sync + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            stream.set_nodelay(true).unwrap();
            let script = Arc::clone(&script);
            thread::spawn(move || {
                let (mut asked, mut byte, mut number) = (Vec::new(), [0], 0);
                while stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    asked.push(byte[0]);
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        script(&mut stream, number);
                        number += 1;
                    }
                }
            });
        }
    });
    let endpoint = Endpoint::parse(&address.to_string(), 80).unwrap();
    Client::builder(endpoint, Arc::new(SystemClock::new())).limits(limits).build().unwrap()
}

fn ask(client: &Client, call: &Call) -> Result<String, WireError> {
    async_io::block_on(async {
        let bytes = client.send(call).await?.bytes(1000).await?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_few_interim_answers_are_read_over_and_an_endless_row_of_them_is_not() {
    let some = client(Limits::default(), |stream, _| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(20);
        stream.write_all(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{OK}").as_bytes()).ok();
    });
    for _ in 0..5 {
        // Counted anew for every request.
        assert_eq!(ask(&some, &Call::get("/")).unwrap(), "ok");
    }
    let endless = client(Limits::default(), |stream, _| {
        let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2_000);
        while stream.write_all(many.as_bytes()).is_ok() {}
    });
    let begun = Instant::now();
    let error = ask(&endless, &Call::get("/")).unwrap_err();
    assert_eq!(error.code(), "protocol", "{error}");
    assert!(error.to_string().contains("interim"), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "it ends by their number, not by the limit for a head"
    );
}

#[test]
fn an_answer_to_head_has_no_body_whatever_length_it_tells() {
    let gap = Duration::from_millis(40);
    let client = client(Limits::default(), move |stream, number| {
        if number == 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n").ok();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").ok();
        thread::sleep(gap);
        stream.write_all(b"ok").ok();
    });
    assert_eq!(ask(&client, &Call::get("/").method(Method::HEAD)).unwrap(), "");
    // The same connection's next body is stamped by the read that brought it, not by one that brought its head.
    async_io::block_on(async {
        let mut answer = client.send(&Call::get("/")).await.unwrap();
        let piece = answer.body.next().await.unwrap().unwrap();
        assert_eq!(&piece.bytes[..], b"ok");
        assert!(piece.at.since(answer.headers_at).unwrap() > gap / 3, "{piece:?}");
        assert!(piece.at <= answer.body.last_read());
    });
}

#[test]
fn an_encoding_that_is_not_chunked_is_read_to_the_end_and_stamped() {
    let gap = Duration::from_millis(40);
    let client = client(Limits::default(), move |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n").ok();
        for word in ["5 words", "2nd\r\n", "3rd"] {
            thread::sleep(gap);
            stream.write_all(word.as_bytes()).ok();
        }
        stream.shutdown(std::net::Shutdown::Both).ok();
    });
    let pieces = async_io::block_on(async {
        let answer = client.send(&Call::get("/")).await.unwrap();
        answer.body.collect::<Vec<_>>().await
    });
    let pieces: Vec<_> = pieces.into_iter().map(Result::unwrap).collect();
    let text: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
    assert_eq!(text, b"5 words2nd\r\n3rd");
    let [first, .., last] = pieces.as_slice() else { panic!("one piece: {pieces:?}") };
    assert!(last.at.since(first.at).unwrap() > gap / 3, "{pieces:?}");
}
