//! Scheduling and lifetimes: who goes first, what is resident, what a client that leaves leaves behind, how a server
//! ends and how it refuses to start.

use std::{
    io::Read,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use chimera_core::Availability;
use chimera_serve::{ServeError, ServeOptions, Server};
use chimera_sim::{Fault, LoadFault, SimModel};
use serde_json::{Value, json};

use crate::support::*;

fn ask(model: &str, tokens: i64) -> Value {
    json!({ "model": model, "prompt": "x", "options": { "temperature": 0, "num_predict": tokens } })
}

fn slots(n: usize) -> ServeOptions {
    ServeOptions { slots: NonZeroUsize::new(n).unwrap(), ..ServeOptions::default() }
}

fn resident(server: &Server) -> Vec<String> {
    let ps = get(server, "/api/ps").json();
    ps["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap().to_owned()).collect()
}

fn in_flight(server: &Server) -> f64 {
    metric(server, "chimera_serve_in_flight")
}

fn queued(server: &Server) -> f64 {
    metric(server, "chimera_serve_queue_depth")
}

#[test]
fn one_slot_serves_in_the_order_of_arrival() {
    let server = start(sim(), slots(1));
    let mut line = Vec::new();
    for waiting in 0..4_u32 {
        line.push(later(&server, "/api/generate", ask("slow", 15)));
        until("its place in the line", || in_flight(&server) == 1.0 && queued(&server) == f64::from(waiting));
    }
    let ends: Vec<Instant> = line
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .map(|(reply, end)| {
            assert_eq!(reply.lines().last().unwrap()["eval_count"], 15);
            end
        })
        .collect();
    assert!(ends.is_sorted());
    server.stop();
}

#[test]
fn two_slots_generate_together_and_a_full_queue_refuses() {
    let options = ServeOptions { queue: 1, ..slots(2) };
    let server = start(sim(), options);
    let long = || later(&server, "/api/generate", ask("slow", 120));
    let running = [long(), long()];
    until("two at once", || in_flight(&server) == 2.0);
    let waits = later(&server, "/api/generate", ask("slow", 1));
    until("one in the line", || queued(&server) == 1.0);
    let refused = post(&server, "/api/generate", &ask("slow", 1));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let body = json!({ "model": "slow", "prompt": "x", "max_tokens": 1 });
    let refused = post(&server, "/v1/completions", &body);
    assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (429, json!("queue_full")));
    for thread in running.into_iter().chain([waits]) {
        assert_eq!(thread.join().unwrap().0.status, 200);
    }
    server.stop();
}

#[test]
fn the_least_recently_used_model_makes_room() {
    let options = ServeOptions { resident: NonZeroUsize::new(2).unwrap(), ..ServeOptions::default() };
    let server = start(sim(), options);
    let run = |model: &str| assert_eq!(post(&server, "/api/generate", &ask(model, 2)).status, 200);
    for model in ["tiny", "other", "tiny"] {
        run(model);
    }
    assert_eq!(metric(&server, "chimera_serve_evictions_total"), 0.0);
    run("slow");
    assert_eq!(resident(&server), ["tiny", "slow"]);
    assert_eq!(metric(&server, "chimera_serve_evictions_total"), 1.0);
    assert_eq!(metric(&server, "chimera_serve_load_seconds_count"), 3.0);
    server.stop();
}

#[test]
fn a_model_in_use_is_not_evicted() {
    let server = start(sim(), slots(2));
    let busy = later(&server, "/api/generate", ask("slow", 40));
    until("the first", || in_flight(&server) == 1.0);
    let next = later(&server, "/api/generate", ask("tiny", 2));
    let (first, first_end) = busy.join().unwrap();
    let (second, second_end) = next.join().unwrap();
    assert_eq!(first.lines().last().unwrap()["eval_count"], 40);
    assert_eq!(second.lines().last().unwrap()["eval_count"], 2);
    assert!(first_end <= second_end);
    assert_eq!(resident(&server), ["tiny"]);
    server.stop();
}

#[test]
fn keep_alive_says_how_long_a_model_stays() {
    let server = plain();
    let keep = |value: Value| {
        let mut body = ask("tiny", 1);
        body["keep_alive"] = value;
        assert_eq!(post(&server, "/api/generate", &body).status, 200);
    };
    keep(json!(-1));
    assert!(get(&server, "/api/ps").json()["models"][0]["expires_at"].as_str().unwrap().starts_with("9999"));
    keep(json!("50ms"));
    until("its expiry", || resident(&server).is_empty());
    keep(json!(0));
    until("its unload", || resident(&server).is_empty());
    keep(json!("5m"));
    assert_eq!(resident(&server), ["tiny"]);
    let unload = post(&server, "/api/generate", &json!({ "model": "tiny", "keep_alive": 0 })).json();
    assert_eq!((&unload["done"], &unload["done_reason"]), (&json!(true), &json!("unload")));
    assert!(resident(&server).is_empty(), "unloaded when the answer came");
    let load = post(&server, "/api/chat", &json!({ "model": "tiny", "messages": [] })).json();
    assert_eq!((&load["done_reason"], &load["message"]["content"]), (&json!("load"), &json!("")));
    assert!(load["load_duration"].as_u64().unwrap() >= 2_000_000, "the simulated load takes 2 ms: {load}");
    server.stop();
}

#[test]
fn another_context_reloads_the_model() {
    let server = plain();
    let load = |context: Value| {
        let mut body = ask("tiny", 1);
        body["options"]["num_ctx"] = context;
        body["stream"] = json!(false);
        post(&server, "/api/generate", &body).json()["load_duration"].as_u64().unwrap()
    };
    let loads = || metric(&server, "chimera_serve_load_seconds_count");
    assert!(load(json!(64)) >= 2_000_000);
    assert_eq!(get(&server, "/api/ps").json()["models"][0]["context_length"], 64);
    load(json!(64));
    assert_eq!(loads(), 1.0, "resident already");
    assert!(load(json!(128)) >= 2_000_000);
    load(json!(null));
    assert_eq!(
        (loads(), get(&server, "/api/ps").json()["models"][0]["context_length"].clone()),
        (3.0, json!(4096))
    );
    assert_eq!(metric(&server, "chimera_serve_evictions_total"), 0.0);
    server.stop();
}

#[test]
fn a_client_that_leaves_cancels_its_generation() {
    let server = start(sim(), slots(1));
    for stream in [true, false] {
        let mut body = ask("slow", 3000);
        body["stream"] = json!(stream);
        let mut socket = send(server.addr(), "POST", "/api/generate", &[], body.to_string().as_bytes());
        until("its start", || in_flight(&server) == 1.0);
        if stream {
            let mut some = [0_u8; 200];
            socket.read_exact(&mut some).unwrap();
        }
        let waits = later(&server, "/api/generate", ask("slow", 1));
        until("one in the line", || queued(&server) == 1.0);
        drop(socket);
        // Else the next would wait for 30 s.
        assert_eq!(waits.join().unwrap().0.status, 200);
    }
    assert_eq!(metric(&server, "chimera_serve_cancelled_total"), 2.0);
    // One that leaves the line takes nobody's place.
    let running = later(&server, "/api/generate", ask("slow", 60));
    until("the running one", || in_flight(&server) == 1.0);
    let gone = send(server.addr(), "POST", "/api/generate", &[], ask("slow", 3000).to_string().as_bytes());
    until("one in the line", || queued(&server) == 1.0);
    drop(gone);
    until("an empty line", || queued(&server) == 0.0);
    assert_eq!(running.join().unwrap().0.status, 200);
    server.stop();
}

#[test]
fn a_stalled_backend_meets_the_limit_of_time() {
    let options = ServeOptions { request_timeout: Duration::from_millis(300), ..ServeOptions::default() };
    let backend = sim()
        .fault(0, Fault::StallAfter(0))
        .fault(1, Fault::StallAfter(9))
        .model(SimModel::new("other").load_fault(LoadFault::Stall));
    let server = start(backend, options);
    assert_eq!(post(&server, "/api/generate", &ask("tiny", 30)).status, 504);
    let inside = post(&server, "/api/generate", &ask("tiny", 30));
    assert_eq!(inside.status, 200);
    assert!(inside.lines().last().unwrap()["error"].as_str().unwrap().contains("0.3 s"));
    assert_eq!(post(&server, "/api/generate", &ask("other", 1)).status, 504);
    until("the place of the load", || post(&server, "/api/generate", &ask("tiny", 1)).status == 200);
    server.stop();
}

#[test]
fn a_server_that_stops_lets_the_running_finish() {
    let server = start(sim(), slots(1));
    let addr = server.addr();
    let running = later(&server, "/api/generate", ask("slow", 60));
    until("its start", || in_flight(&server) == 1.0);
    let stopping = std::thread::spawn(move || server.stop());
    // New requests are refused while it drains.
    let mut refused = None;
    until("the refusal", || {
        let reply = receive(send(addr, "GET", "/v1/models", &[], b""));
        if reply.status == 503 {
            refused = Some(reply)
        }
        refused.is_some()
    });
    assert_eq!(refused.unwrap().json()["error"]["code"], "draining");
    let (reply, _) = running.join().unwrap();
    assert_eq!(reply.lines().last().unwrap()["eval_count"], 60);
    stopping.join().unwrap();
    assert!(std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn what_outlasts_the_drain_is_cut_with_a_word() {
    let options = ServeOptions { drain: Duration::from_millis(100), ..slots(1) };
    let server = start(sim(), options);
    let running = later(&server, "/api/generate", ask("slow", 3000));
    until("its start", || in_flight(&server) == 1.0);
    let waiting = later(&server, "/api/generate", ask("slow", 3000));
    until("one in the line", || queued(&server) == 1.0);
    server.stop();
    let (reply, _) = running.join().unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.lines().last().unwrap()["error"].as_str().unwrap().contains("stopped"));
    assert_eq!(waiting.join().unwrap().0.status, 503);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let refuse = |options: ServeOptions| {
        let error = Server::start(Arc::new(sim().build()), served(), options).unwrap_err();
        (error.code(), error.to_string())
    };
    let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let (code, text) = refuse(ServeOptions { bind: open, ..ServeOptions::default() });
    assert_eq!(code, "token-needed");
    assert!(text.contains("bind 127.0.0.1"));
    let (code, _) = refuse(ServeOptions { token: Some(String::new()), ..ServeOptions::default() });
    assert_eq!(code, "options");
    let (code, text) = refuse(slots(5));
    assert_eq!(
        (code, text.as_str()),
        ("options", "5 slots, and the backend generates 4 at once: set slots to 4 or fewer")
    );
    let first = plain();
    let (code, text) = refuse(ServeOptions { bind: first.addr(), ..ServeOptions::default() });
    assert_eq!(code, "address-in-use");
    assert!(text.contains("another port"));
    // The port is free again at once.
    let bind = first.addr();
    first.stop();
    let again = start(sim(), ServeOptions { bind, ..ServeOptions::default() });
    assert_eq!(again.addr(), bind);
    drop(again);
    let gone = Availability::NoDevice { reason: "none".into(), remedy: "buy one".into() };
    let backend = Arc::new(sim().availability(gone).build());
    let error = Server::start(backend, served(), ServeOptions::default()).unwrap_err();
    assert!(matches!(&error, ServeError::Backend(_)) && error.to_string().contains("buy one"));
}

#[test]
fn with_a_token_only_health_is_open() {
    let options = ServeOptions {
        token: Some("secret".into()),
        bind: "0.0.0.0:0".parse().unwrap(),
        ..ServeOptions::default()
    };
    assert!(!format!("{options:?}").contains("secret"));
    let server = start(sim(), options);
    let addr = SocketAddr::from(([127, 0, 0, 1], server.addr().port()));
    let with = |path: &str, headers: &[&str]| receive(send(addr, "GET", path, headers, b""));
    assert_eq!(with("/healthz", &[]).status, 200);
    for path in ["/", "/api/tags", "/v1/models", "/metrics", "/nothing"] {
        let refused = with(path, &[]);
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(with(path, &["authorization: Bearer wrong"]).status, 401);
    }
    assert_eq!(with("/v1/models", &[]).json()["error"]["code"], "invalid_api_key");
    assert_eq!(with("/api/tags", &["Authorization: Bearer secret"]).status, 200);
    server.stop();
}

#[test]
fn metrics_count_what_happened() {
    let server = plain();
    post(&server, "/api/generate", &ask("tiny", 12));
    post(&server, "/api/generate", &json!({}));
    get(&server, "/nothing/at/all");
    let reply = get(&server, "/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "chimera_serve_requests_total{route=\"/api/generate\",status=\"200\"} 1",
        "chimera_serve_requests_total{route=\"/api/generate\",status=\"400\"} 1",
        "chimera_serve_requests_total{route=\"other\",status=\"404\"} 1",
        "chimera_serve_generated_tokens_total 12",
        "chimera_serve_prompt_tokens_total 8",
        "chimera_serve_in_flight 0",
        "chimera_serve_resident_models 1",
        "chimera_serve_load_seconds_count 1",
        "chimera_serve_time_to_first_text_seconds_count 1",
        "chimera_serve_generation_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        assert!(reply.body.lines().any(|other| other == line), "{line} is not in\n{}", reply.body);
    }
    server.stop();
}
