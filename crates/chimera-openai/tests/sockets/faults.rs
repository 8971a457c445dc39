//! What a server can do wrong, and what a client may do to it: every trial has an outcome, nothing hangs, no key is shown.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_io::block_on;
use chimera_core::{
    BackendError, Batch, EventKind, InferenceBackend, LoadOptions, ModelRef, Request, Result, Session,
};
use chimera_openai::{Flavour, OpenAiBackend};
use chimera_wire::Limits;
use futures_util::StreamExt;

use crate::{support::*, wires::server_of};

const TOKEN: &str = r#"{"choices":[{"index":0,"text":" the","finish_reason":null}]}"#;
const END: &str = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
const DONE: &str = "[DONE]";

async fn load(backend: &OpenAiBackend) -> Result<Arc<dyn Session>> {
    backend.load(&ModelRef::named(MODEL), &LoadOptions::default()).await
}

fn outcome(answer: Vec<u8>) -> Result<Said, BackendError> {
    let server = Scripted::replaying(answer);
    block_on(async {
        let limits = Limits { stall: Duration::from_secs(20), ..Limits::default() };
        let backend = server.builder().flavour(Flavour::Plain).limits(limits).build().unwrap();
        read(&*load(&backend).await.unwrap(), Request::text("x", 8)).await
    })
}

#[test]
fn every_fault_has_its_code() {
    let json = "application/json";
    let sse = "text/event-stream";
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {sse}\r\n");
    let cut = format!("{head}\r\ndata: {TOKEN}\n\ndata: {{\"choices\":[{{\"te");
    let short = format!("{head}Content-Length: 1000\r\n\r\ndata: {TOKEN}\n\n");
    let huge = format!("{head}\r\ndata: {}", "x".repeat(10 << 20));
    let many = format!("{head}\r\n{}", "data: x\n".repeat(1 << 18));
    let endless = format!("data: {TOKEN}\n\n").repeat(500);
    let faults: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "no such model",
            plain("404 Not Found", json, r#"{"error":{"message":"The model `m` does not exist"}}"#),
            "model-not-found",
        ),
        ("no such path", plain("404 Not Found", json, r#"{"detail":"Not Found"}"#), "unsupported"),
        ("a wrong key", plain("401 Unauthorized", json, r#"{"error":{"message":"bad key"}}"#), "unavailable"),
        ("busy", plain("503 Service Unavailable", json, r#"{"error":"busy"}"#), "unavailable"),
        ("too many", plain("429 Too Many Requests", "text/html", "slow down"), "unavailable"),
        ("too large", plain("413 Payload Too Large", "text/html", "<html>"), "invalid-request"),
        ("no memory", plain("500 Oops", json, r#"{"error":{"message":"CUDA out of memory"}}"#), "out-of-memory"),
        ("a failure", plain("500 Oops", json, r#"{"error":{"message":"boom"}}"#), "failed"),
        ("a page", plain("200 OK", "text/html", "<html>hello</html>"), "protocol"),
        ("an endless page", plain("200 OK", "text/html", &"<html>".repeat(1 << 20)), "protocol"),
        ("no stream", plain("200 OK", json, r#"{"choices":[{"index":0,"text":"hi"}]}"#), "protocol"),
        ("an error with a good status", plain("200 OK", json, r#"{"error":"boom"}"#), "failed"),
        ("lines", plain("200 OK", "application/x-ndjson", TOKEN), "protocol"),
        (
            "a redirect",
            b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "protocol",
        ),
        (
            "compressed",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\n\x1f\x8b"
                .to_vec(),
            "protocol",
        ),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n".to_vec(), "protocol"),
        ("nothing", Vec::new(), "failed"),
        ("an empty answer", streamed(&[]), "protocol"),
        ("only the end", streamed(&[DONE]), "protocol"),
        ("no end", streamed(&[TOKEN, TOKEN]), "protocol"),
        ("no reason", streamed(&[TOKEN, DONE]), "protocol"),
        ("an error event", streamed(&[TOKEN, r#"{"error":{"message":"boom"}}"#, DONE]), "failed"),
        ("an error without words", streamed(&[TOKEN, r#"{"error":{}}"#]), "failed"),
        ("no JSON", streamed(&[TOKEN, "boom"]), "protocol"),
        ("text after the end", streamed(&[TOKEN, END, TOKEN, DONE]), "protocol"),
        ("more after the very end", streamed(&[TOKEN, END, DONE, TOKEN]), "protocol"),
        ("two ends that differ", streamed(&[END, &END.replace("stop", "length")]), "protocol"),
        ("a reason nobody knows", streamed(&[&END.replace("stop", "tired")]), "protocol"),
        ("filtered", streamed(&[TOKEN, &END.replace("stop", "content_filter"), DONE]), "failed"),
        ("too many tokens", streamed(&[TOKEN, &END.replace(":1}", ":99}"), DONE]), "protocol"),
        ("half an event", cut.into_bytes(), "protocol"),
        ("a short body", short.into_bytes(), "failed"),
        ("a line of 10 MB", huge.into_bytes(), "protocol"),
        ("an event of many lines", many.into_bytes(), "protocol"),
        ("an answer without an end", plain("200 OK", sse, &endless), "protocol"),
    ];
    let count = faults.len();
    for (what, answer, code) in faults {
        let error = outcome(answer).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.to_string().len() < 1_000, "{what}: {error}");
    }
    println!("{count} faults x openai");
}

#[test]
fn a_clean_end_without_done_is_an_end() {
    let said = outcome(streamed(&[TOKEN, END])).unwrap();
    assert_eq!((said.text.as_str(), said.end.prompt, said.end.generated), (" the", Some(3), Some(1)));
}

#[test]
fn a_body_that_does_not_end_after_done_holds_nobody_up() {
    let server = Scripted::generating(|_, stream| {
        let all = streamed(&[TOKEN, END, DONE]);
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
fn a_reset_at_every_byte_is_an_error() {
    let whole = streamed(&[TOKEN, END, DONE]);
    for cut in 0..whole.len() {
        // What is missing is the end of the transfer, and the answer's own end may have been there: still cut.
        if let Ok(said) = outcome(whole[..cut].to_vec()) {
            panic!("{cut} of {} bytes are an answer: {said:?}", whole.len());
        }
    }
    outcome(whole).unwrap();
}

/// A server that answers the first stream with one token and then waits for the connection to be closed.
fn stalling(closed: &Arc<AtomicUsize>) -> impl Fn(&Asked, &mut std::net::TcpStream) + Send + Sync + 'static {
    let closed = Arc::clone(closed);
    move |_, stream| {
        let all = streamed(&[TOKEN]);
        write(stream, &all[..all.len() - 5]);
        // Nothing more is written: only the closed connection can end this.
        let ended = stream.read(&mut [0]);
        closed.fetch_add(usize::from(matches!(ended, Ok(0) | Err(_))), Ordering::SeqCst);
    }
}

async fn drop_in_the_middle(session: &dyn Session) {
    drop(session.generate(Request::text("never polled", 8).into()));
    let mut stream = session.generate(Request::text("x", 8).into());
    while let Some(event) = stream.next().await {
        if matches!(event.unwrap().kind, EventKind::Chunk { .. }) {
            break;
        }
    }
}

#[test]
fn a_dropped_stream_closes_the_connection_and_idle_asks_for_one_token() {
    let closed = Arc::default();
    let server = Scripted::generating(stalling(&closed));
    block_on(async {
        let session = load(&server.builder().flavour(Flavour::Plain).build().unwrap()).await.unwrap();
        session.idle().await;
        let posts = || server.lines().iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(posts(), 1, "only the load");
        drop_in_the_middle(&*session).await;
        session.idle().await;
        session.idle().await;
        assert_eq!(posts(), 3, "the load, the generation, and one token to see that the server is free");
        let asked = server.asked.lock().unwrap().last().unwrap().json();
        assert_eq!((&asked["max_tokens"], &asked["stream"]), (&1.into(), &false.into()));
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
fn idle_of_llama_cpp_waits_until_no_slot_works() {
    let inner = server_of("llamacpp");
    let (closed, polls) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let (stall, seen) = (stalling(&closed), Arc::clone(&polls));
    let server = Scripted::start(move |request, stream| {
        let name = match request.line.as_str() {
            "GET /v1/models" => "llamacpp-models",
            "GET /props" => "llamacpp-props",
            "GET /slots" => {
                let busy = seen.fetch_add(1, Ordering::SeqCst) < 3;
                let slots =
                    format!(r#"[{{"id":0,"is_processing":false}},{{"id":1,"is_processing":{busy}}}]"#);
                return write(stream, &plain("200 OK", "application/json", &slots));
            }
            _ => return stall(request, stream),
        };
        write(stream, &wire(name));
    });
    drop(inner);
    block_on(async {
        let backend = server.builder().build().unwrap();
        let session = backend.load(&ModelRef::named("gemma-270m"), &LoadOptions::default()).await.unwrap();
        drop_in_the_middle(&*session).await;
        session.idle().await;
        assert_eq!(polls.load(Ordering::SeqCst), 4);
        assert_eq!(server.lines().iter().filter(|line| line.starts_with("POST")).count(), 1);
    });
}

#[test]
fn batches_are_refused_and_a_closed_session_stays_closed() {
    let server = Scripted::replaying(streamed(&[TOKEN, END, DONE]));
    block_on(async {
        let session = load(&server.builder().build().unwrap()).await.unwrap();
        let code = |error: BackendError| error.code();
        assert_eq!(read(&*session, Batch(Vec::new())).await.map_err(code), Err("invalid-request"));
        let two = Batch(vec![Request::text("x", 1), Request::text("x", 1)]);
        let first = session.generate(two).next().await.unwrap();
        assert_eq!(first.unwrap_err().error.code(), "unsupported");
        session.unload().await.unwrap();
        session.unload().await.unwrap();
        assert_eq!(read(&*session, Request::text("x", 1)).await.map_err(code), Err("closed"));
        assert_eq!(session.tokenize("x").await.map_err(code), Err("closed"));
        assert_eq!(session.score(&[1]).await.map_err(code), Err("closed"));
        session.idle().await;
    });
}

#[test]
fn a_key_is_sent_and_never_shown() {
    let key = "sk-a-very-secret-key";
    let echo = format!("{{\"error\":{{\"message\":\"the key {key} is wrong\"}}}}");
    let answer = plain("401 Unauthorized", "application/json", &echo);
    let strict = {
        let answer = answer.clone();
        Scripted::start(move |_, stream| write(stream, &answer))
    };
    let middle = format!("{{\"error\":{{\"message\":\"lost {key}\"}}}}");
    let server = Scripted::generating(move |request, stream| {
        if request.json()["max_tokens"] == 7 {
            return write(stream, &streamed(&[TOKEN, &middle]));
        }
        write(stream, &answer);
    });
    block_on(async {
        let builder = server.builder().bearer(key);
        let mut shown = format!("{builder:?}");
        let backend = builder.build().unwrap();
        let session = load(&backend).await.unwrap();
        shown += &format!("{backend:?} {session:?} {:?}", backend.probe().await.unwrap());
        for budget in [7, 8] {
            let error = read(&*session, Request::text("x", budget)).await.unwrap_err();
            shown += &format!("{error} {error:?}");
        }
        let refused = strict.builder().bearer(key).build().unwrap();
        let probe = refused.probe().await.unwrap();
        let (reason, remedy) = probe.availability.obstacle().unwrap();
        assert!(reason.contains("wants a key") && remedy.contains("OPENAI_API_KEY"), "{reason} {remedy}");
        let error = match load(&refused).await {
            Ok(_) => panic!("a model is loaded without a key"),
            Err(error) => error,
        };
        assert_eq!(error.code(), "unavailable");
        shown += &format!("{probe:?} {error} {error:?}");
        assert!(!shown.contains(key), "{shown}");
        assert!(shown.contains("OPENAI_API_KEY"), "the remedy is named: {shown}");
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
    let nobody = Scripted { address: absent, asked: Arc::default() };
    let page = Scripted::start(|_, stream| write(stream, &plain("200 OK", "text/html", "<html>")));
    let other = Scripted::start(|_, stream| write(stream, &plain("404 Not Found", "text/html", "<html>")));
    let loading = Scripted::start(|_, stream| write(stream, &wire("llamacpp-loading")));
    block_on(async {
        for (server, says) in [
            (&nobody, "connect"),
            (&page, "no list"),
            (&other, "lists no models"),
            (&loading, "Loading model"),
        ] {
            let backend = server.builder().build().unwrap();
            let probe = backend.probe().await.unwrap();
            let (reason, remedy) = probe.availability.obstacle().unwrap();
            assert!(reason.contains("127.0.0.1") && reason.contains(says), "{reason}");
            assert!(remedy.contains("OPENAI_BASE_URL"), "{remedy}");
            assert!(load(&backend).await.is_err(), "a load says the same");
        }
    });
}
