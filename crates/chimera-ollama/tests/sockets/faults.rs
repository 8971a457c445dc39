//! What a server can do wrong, and what a client may do to it: every trial has an outcome, nothing hangs, no key is shown.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use async_io::block_on;
use chimera_core::{Batch, EventKind, FinishReason, InferenceBackend, Request, Session};
use chimera_wire::Limits;
use futures_util::StreamExt;

use crate::support::*;

const TOKEN: &str = r#"{"response":" the","done":false}"#;
const END: &str = r#"{"response":"","done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":1}"#;

fn outcome(answer: Vec<u8>) -> Result<Said, chimera_core::BackendError> {
    let server = Scripted::replaying(answer);
    block_on(async {
        let limits = Limits { stall: Duration::from_secs(20), ..Limits::default() };
        let session = load(&server.builder().limits(limits).build().unwrap()).await.unwrap();
        read(&*session, Request::text("x", 8)).await
    })
}

#[test]
fn every_fault_has_its_code() {
    let json = "application/json";
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n";
    let cut_line = format!("{head}\r\n{TOKEN}\n{{\"response\":\"a");
    let short = format!("{head}Content-Length: 1000\r\n\r\n{TOKEN}\n");
    let huge = format!("{head}\r\n{}", "x".repeat(3 << 20));
    let endless = format!("{TOKEN}\n").repeat(500);
    let faults: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "no such model",
            plain("404 Not Found", json, r#"{"error":"model 'm' not found"}"#),
            "model-not-found",
        ),
        ("a wrong key", plain("401 Unauthorized", json, r#"{"error":"unauthorized"}"#), "unavailable"),
        ("busy", plain("503 Service Unavailable", json, r#"{"error":"server busy"}"#), "unavailable"),
        ("too many", plain("429 Too Many Requests", "text/html", "slow down"), "unavailable"),
        ("too large", plain("413 Payload Too Large", "text/html", "<html>"), "invalid-request"),
        ("no memory", plain("500 Oops", json, r#"{"error":"CUDA error: out of memory"}"#), "out-of-memory"),
        ("a failure", plain("500 Oops", json, r#"{"error":"boom"}"#), "failed"),
        ("a page", plain("200 OK", "text/html", "<html>hello</html>"), "protocol"),
        ("events", plain("200 OK", "text/event-stream", "data: {}\n\n"), "protocol"),
        (
            "a redirect",
            b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "protocol",
        ),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n".to_vec(), "protocol"),
        ("nothing", Vec::new(), "failed"),
        ("an empty answer", streamed(&[]), "protocol"),
        ("no end", streamed(&[TOKEN, TOKEN]), "protocol"),
        ("an error line", streamed(&[TOKEN, r#"{"error":"boom"}"#]), "failed"),
        ("an error without words", streamed(&[TOKEN, r#"{"error":{}}"#]), "failed"),
        ("no JSON", streamed(&[TOKEN, "boom"]), "protocol"),
        ("text after the end", streamed(&[TOKEN, END, TOKEN]), "protocol"),
        ("two ends that differ", streamed(&[END, &END.replace("stop", "length")]), "protocol"),
        ("a reason nobody knows", streamed(&[&END.replace("stop", "tired")]), "protocol"),
        ("half a line", cut_line.into_bytes(), "protocol"),
        ("a short body", short.into_bytes(), "failed"),
        ("a line without an end", huge.into_bytes(), "protocol"),
        ("an answer without an end", plain("200 OK", json, &endless), "protocol"),
    ];
    let count = faults.len();
    for (what, answer, code) in faults {
        let error = outcome(answer).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.to_string().len() < 1_000, "{what}: {error}");
    }
    println!("{count} faults x ollama");
}

#[test]
fn an_end_said_twice_is_one_end() {
    let said = outcome(streamed(&[TOKEN, END, r#"{"response":"","done":true}"#])).unwrap();
    assert_eq!(
        (said.text.as_str(), said.end.generated, said.end.reason),
        (" the", Some(1), FinishReason::Stop)
    );
}

#[test]
fn a_body_that_does_not_end_after_its_end_holds_nobody_up() {
    let server = Scripted::generating(|_, stream| {
        let all = streamed(&[TOKEN, END]);
        write(stream, &all[..all.len() - 5]);
        let _ = stream.read(&mut [0]);
    });
    block_on(async {
        let session = load(&server.builder().build().unwrap()).await.unwrap();
        let began = Instant::now();
        let said = read(&*session, Request::text("x", 8)).await.unwrap();
        assert_eq!(said.end.generated, Some(1));
        assert!(began.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn a_reset_at_every_byte_is_an_error_or_the_whole_answer() {
    let whole = streamed(&[TOKEN, END]);
    let mut good = 0;
    for cut in 0..whole.len() {
        match outcome(whole[..cut].to_vec()) {
            // What is missing is the end of the transfer, and the answer's own end was there: still cut, still an error.
            Ok(said) => panic!("{cut} of {} bytes are an answer: {said:?}", whole.len()),
            Err(_) => good += 1,
        }
    }
    assert_eq!(good, whole.len());
    outcome(whole).unwrap();
}

#[test]
fn a_dropped_stream_closes_the_connection_and_idle_waits_for_a_free_slot() {
    let count = AtomicUsize::new(0);
    let closed = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&closed);
    let server = Scripted::generating(move |_, stream| {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            return write(stream, &plain("200 OK", "application/json", END));
        }
        let all = streamed(&[TOKEN]);
        write(stream, &all[..all.len() - 5]);
        // Nothing more is written: only the closed connection can end this.
        let ended = stream.read(&mut [0]);
        seen.store(usize::from(matches!(ended, Ok(0) | Err(_))), Ordering::SeqCst);
    });
    block_on(async {
        let session = load(&server.builder().build().unwrap()).await.unwrap();
        session.idle().await;
        assert_eq!(
            server.lines().iter().filter(|line| line.contains("generate")).count(),
            1,
            "only the load"
        );
        drop(session.generate(Request::text("never polled", 8).into()));
        let mut stream = session.generate(Request::text("x", 8).into());
        while let Some(event) = stream.next().await {
            if matches!(event.unwrap().kind, EventKind::Chunk { .. }) {
                break;
            }
        }
        drop(stream);
        session.idle().await;
        session.idle().await;
        let asked: Vec<_> =
            server.asked.lock().unwrap().iter().filter(|asked| asked.is_generation()).cloned().collect();
        assert_eq!(asked.len(), 2, "the generation and one token to see that the server is free");
        assert_eq!(asked[1].json()["options"]["num_predict"], 1);
        assert_eq!(asked[1].json()["options"]["num_ctx"], asked[0].json()["options"]["num_ctx"]);
    });
    for _ in 0..1_000 {
        if closed.load(Ordering::SeqCst) == 1 {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the connection stays open");
}

#[test]
fn a_server_that_stands_still_after_a_drop_is_mended_by_unloading() {
    let server = Scripted::start(|request, stream| {
        let json = request.json();
        match request.line.as_str() {
            "GET /api/ps" => write(stream, &wire("ps-empty")),
            "POST /api/generate" if json["options"]["num_predict"] == 8 => {
                let all = streamed(&[TOKEN]);
                write(stream, &all[..all.len() - 5]);
                let _ = stream.read(&mut [0]);
            }
            // The runner does not move any more.
            "POST /api/generate" if request.is_generation() => {
                let _ = stream.read(&mut [0]);
            }
            _ => loading(request, stream),
        }
    });
    block_on(async {
        let limits = Limits { head: Duration::from_secs(1), ..Limits::default() };
        let session = load(&server.builder().limits(limits).build().unwrap()).await.unwrap();
        let mut stream = session.generate(Request::text("x", 8).into());
        assert!(matches!(stream.next().await.unwrap().unwrap().kind, EventKind::Sent));
        drop(stream);
        session.idle().await;
        session.idle().await;
    });
    let asked = server.asked.lock().unwrap();
    let unloads = asked.iter().filter(|asked| asked.json()["keep_alive"] == 0).count();
    assert_eq!(unloads, 1, "the second wait finds a free server");
}

#[test]
fn batches_are_refused_and_a_closed_session_stays_closed() {
    let gone = AtomicBool::new(false);
    let server = Scripted::start(move |request, stream| {
        if request.json()["keep_alive"] == 0 {
            gone.store(true, Ordering::SeqCst);
        }
        match request.line.as_str() {
            "GET /api/ps" if gone.load(Ordering::SeqCst) => write(stream, &wire("ps-empty")),
            _ if request.is_generation() => write(stream, &streamed(&[TOKEN, END])),
            _ => loading(request, stream),
        }
    });
    block_on(async {
        let session = load(&server.builder().build().unwrap()).await.unwrap();
        let code = |error: chimera_core::BackendError| error.code();
        assert_eq!(read(&*session, Batch(Vec::new())).await.map_err(code), Err("invalid-request"));
        let two = Batch(vec![Request::text("x", 1), Request::text("x", 1)]);
        assert_eq!(first_error(&*session, two).await, "unsupported");
        session.unload().await.unwrap();
        session.unload().await.unwrap();
        assert_eq!(read(&*session, Request::text("x", 1)).await.map_err(code), Err("closed"));
        let unloads = server.asked.lock().unwrap().iter().filter(|a| a.json()["keep_alive"] == 0).count();
        assert_eq!(unloads, 1);
    });
}

async fn first_error(session: &dyn Session, batch: Batch) -> &'static str {
    session.generate(batch).next().await.unwrap().unwrap_err().error.code()
}

#[test]
fn a_key_is_sent_and_never_shown() {
    let key = "sk-a-very-secret-key";
    let echo = format!("{{\"error\":\"the key {key} is wrong\"}}");
    let answer = plain("401 Unauthorized", "application/json", &echo);
    let server = Scripted::start(move |request, stream| {
        if request.is("POST /api/generate") && request.is_generation() {
            write(stream, &answer);
        } else if request.is("DELETE") {
            write(
                stream,
                &plain("500 Oops", "text/plain", &format!("{} {}", request.head, "x".repeat(9_000))),
            );
        } else {
            loading(request, stream);
        }
    });
    block_on(async {
        let builder = server.builder().bearer(key);
        let mut shown = format!("{builder:?}");
        let backend = builder.build().unwrap();
        let session = load(&backend).await.unwrap();
        shown += &format!("{backend:?} {session:?} {:?}", backend.probe().await.unwrap());
        let error = read(&*session, Request::text("x", 8)).await.unwrap_err();
        shown += &format!("{error} {error:?}");
        let error = backend.delete("m").await.unwrap_err();
        shown += &format!("{error} {error:?}");
        assert!(!shown.contains(key), "{shown}");
        assert!(shown.contains("OLLAMA_API_KEY"), "the remedy is named: {shown}");
    });
    let asked = server.asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.head.contains(&format!("Bearer {key}"))));
}

#[test]
fn a_probe_says_what_is_wrong_and_what_mends_it() {
    let absent = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let nobody = Scripted { address: absent, asked: std::sync::Arc::default() };
    let page = Scripted::start(|_, stream| write(stream, &plain("200 OK", "text/html", "<html>")));
    let old = Scripted::start(|request, stream| {
        write(
            stream,
            &wire(if request.is("GET / ") || request.line == "GET /" {
                "root"
            } else {
                "error-unknown-path"
            }),
        );
    });
    let new = Scripted::start(loading);
    block_on(async {
        for server in [&nobody, &page] {
            let probe = server.builder().build().unwrap().probe().await.unwrap();
            let (reason, remedy) = probe.availability.obstacle().unwrap();
            assert!(reason.contains("127.0.0.1") && remedy.contains("ollama serve"), "{reason} {remedy}");
        }
        // A load says the same.
        let error = match load(&nobody.builder().build().unwrap()).await {
            Ok(_) => panic!("a model of nobody is loaded"),
            Err(error) => error,
        };
        assert_eq!(error.code(), "unavailable");
        assert!(error.to_string().contains("ollama serve"), "{error}");
        let probe = old.builder().build().unwrap().probe().await.unwrap();
        assert!(probe.availability.is_ready() && probe.version.is_none(), "{probe:?}");
        let probe = new.builder().build().unwrap().probe().await.unwrap();
        assert!(probe.availability.is_ready() && probe.version.as_deref() == Some("0.11.4"), "{probe:?}");
    });
}
