//! Bad input: wrong routes, sizes, slow and broken clients, bodies of any bytes.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use chimera_serve::{ServeOptions, ServedModel, Server};
use chimera_sim::SimModel;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn wrong_routes_and_methods() {
    let server = plain();
    let lost = get(&server, "/api/nothing");
    assert_eq!((lost.status, lost.json()["error"].is_string()), (404, true));
    assert_eq!(get(&server, "/v1/nothing").json()["error"]["code"], "not_found");
    assert_eq!(get(&server, "/api/chat").status, 405);
    let wrong = get(&server, "/v1/completions");
    assert_eq!((wrong.status, wrong.json()["error"]["code"].clone()), (405, json!("method_not_allowed")));
    assert_eq!(receive(send(server.addr(), "DELETE", "/api/tags", &[], b"")).status, 405);
    server.stop();
}

#[test]
fn what_is_too_large_is_refused() {
    let server = start(sim(), ServeOptions { max_body: 1000, ..ServeOptions::default() });
    let long = json!({ "model": "tiny", "prompt": "x".repeat(2000) });
    assert_eq!(post(&server, "/api/generate", &long).status, 413);
    assert_eq!(post(&server, "/v1/completions", &long).json()["error"]["code"], "request_too_large");
    // Without a declared length the body is cut off where the limit is.
    let mut stream = connect(server.addr());
    stream.write_all(b"POST /api/generate HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n").unwrap();
    for _ in 0..20 {
        if stream.write_all(&[b"64\r\n".as_slice(), &[b'x'; 100], b"\r\n"].concat()).is_err() {
            break;
        }
    }
    assert_eq!(receive(stream).status, 413);
    let many: Vec<String> = (0..200).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(receive(send(server.addr(), "GET", "/", &many, b"")).status, 431);
    let wide = format!("x-wide: {}", "x".repeat(200_000));
    assert_eq!(receive(send(server.addr(), "GET", "/", &[&wide], b"")).status, 431);
    let path = format!("/{}", "x".repeat(60_000));
    assert!([404, 414].contains(&get(&server, &path).status));
    assert_eq!(get(&server, "/healthz").status, 200);
    server.stop();
}

#[test]
fn a_slow_head_is_cut_off() {
    let server =
        start(sim(), ServeOptions { header_timeout: Duration::from_millis(200), ..ServeOptions::default() });
    let mut streams: Vec<_> = (0..20).map(|_| connect(server.addr())).collect();
    for stream in &mut streams {
        stream.write_all(b"POST /api/generate HTTP/1.1\r\nhost: ").unwrap();
    }
    assert_eq!(get(&server, "/healthz").status, 200, "others are served meanwhile");
    for mut stream in streams {
        // Closed, with a word (408) or without.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
    server.stop();
}

#[test]
fn a_body_that_never_comes_meets_the_limit_of_time() {
    let server =
        start(sim(), ServeOptions { request_timeout: Duration::from_millis(300), ..ServeOptions::default() });
    let mut stream = connect(server.addr());
    stream
        .write_all(
            b"POST /api/generate HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 50\r\n\r\n{",
        )
        .unwrap();
    assert_eq!(receive(stream).status, 504);
    let mut stream = connect(server.addr());
    stream.write_all(b"POST /api/generate HTTP/1.1\r\nhost: t\r\ncontent-length: 50\r\n\r\n{").unwrap();
    drop(stream);
    assert_eq!(get(&server, "/healthz").status, 200);
    server.stop();
}

#[test]
fn what_is_not_http_is_refused() {
    let server = plain();
    for noise in [
        b"\x16\x03\x01\x02\x00\x01\x00".as_slice(),
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = connect(server.addr());
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(get(&server, "/healthz").status, 200);
    server.stop();
}

#[test]
fn a_client_that_never_reads_gives_its_slot_back_in_time() {
    let endless = SimModel::new("endless")
        .laws(quick().decode(Duration::ZERO, Duration::ZERO))
        .info(|info| info.context = Some(1 << 30));
    let options = ServeOptions { request_timeout: Duration::from_secs(2), ..ServeOptions::default() };
    let models = vec![ServedModel::named("endless"), ServedModel::named("tiny")];
    let server = Server::start(Arc::new(sim().model(endless).build()), models, options).unwrap();
    // More than all buffers between the two take.
    let body = json!({ "model": "endless", "prompt": "x", "options": { "num_predict": 50_000_000 } });
    let deaf = send(server.addr(), "POST", "/api/generate", &[], body.to_string().as_bytes());
    until("the generation", || metric(&server, "chimera_serve_in_flight") > 0.0);
    // One slot: this waits for it, and no longer than the other may take. Asked again until it is there.
    let mut last = None;
    until("the slot", || {
        let body =
            json!({ "model": "tiny", "prompt": "x", "stream": false, "options": { "num_predict": 2 } });
        let reply = post(&server, "/api/generate", &body);
        let status = reply.status;
        last = Some(reply.body);
        status == 200
    });
    println!("{last:?}");
    drop(deaf);
    server.stop();
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const FIELDS: [&str; 16] = [
    "prompt",
    "messages",
    "stream",
    "options",
    "keep_alive",
    "format",
    "raw",
    "images",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "n",
    "stream_options",
    "ignore_eos",
];
const OPTIONS: [&str; 9] =
    ["num_predict", "temperature", "top_k", "top_p", "repeat_penalty", "seed", "num_ctx", "stop", "num_keep"];

/// A body that is almost right: a real model and prompt, with some fields of any kind.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec((prop::sample::select(&FIELDS[..]), any_json()), 0..4);
    let options = prop::collection::vec((prop::sample::select(&OPTIONS[..]), any_json()), 0..3);
    (fields, options).prop_map(|(fields, options)| {
        let mut body =
            json!({ "model": "tiny", "prompt": "x", "messages": [{ "role": "user", "content": "x" }] });
        let options: serde_json::Map<String, Value> =
            options.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        body["options"] = options.into();
        for (name, value) in fields {
            body[name] = value;
        }
        body.to_string().into_bytes()
    })
}

#[test]
fn no_body_breaks_the_server() {
    let server = plain();
    let bodies = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => any_json().prop_map(|value| value.to_string().into_bytes()),
        4 => almost(),
        1 => (almost(), any::<prop::sample::Index>()).prop_map(|(mut body, at)| { let at = at.index(body.len()); body.truncate(at); body }),
        1 => Just(b"[".repeat(100_000)),
    ];
    let paths = prop::sample::select(vec![
        "/api/generate",
        "/api/chat",
        "/api/show",
        "/v1/completions",
        "/v1/chat/completions",
    ]);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let addr = server.addr();
    let begun = Instant::now();
    let outcome = runner.run(&(paths, bodies), |(path, body)| {
        let reply = receive(send(addr, "POST", path, &[], &body));
        prop_assert!(reply.status < 500, "{} {}: {}", path, reply.status, reply.body);
        if reply.status != 200 {
            prop_assert!(!reply.json()["error"].is_null());
        }
        Ok(())
    });
    outcome.unwrap();
    println!("400 bodies in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(get(&server, "/healthz").status, 200);
    server.stop();
}
