//! Our client, reqwest on tokio, and Python's asyncio with httpx on one scripted server in one run, taking turns: how late
//! does each see a token, and what does a token cost it? Lateness is the client's stamp minus the beginning of the server's
//! write, by one monotonic clock. Started by `cargo xtask bench-clients`; without a Python that has httpx in
//! CHIMERA_CLIENTS_PYTHON the third is left out and said so.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench may fail loudly and say what it saw"
)]

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use chimera_core::{
    Batch, Clock, EventKind, InferenceBackend, LoadOptions, ModelRef, Request, Stamp, SystemClock,
};
use chimera_ollama::OllamaBackend;
use chimera_serve::{
    script::{Count, Script, ScriptModel, Tokens},
    truth::{TruthOptions, TruthServer},
};
use chimera_wire::Endpoint;
use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};

/// Turns that each client takes.
const TURNS: u32 = 3;
/// Streams at once, and the pace of each.
const STREAMS: u32 = 64;
const RATE: f64 = 50.0;
const COUNT: u32 = 150;

const OURS: &str = "chimera-wire";
const REQWEST: &str = "reqwest, tokio";
const HTTPX: &str = "asyncio, httpx";

/// Stamps by model, and processor time.
struct Seen {
    streams: BTreeMap<String, Vec<Stamp>>,
    cpu: Duration,
}

fn gap() -> Duration {
    Duration::from_secs_f64(1.0 / RATE)
}

fn wait(i: u32) -> Duration {
    gap().mul_f64(f64::from(i) / f64::from(STREAMS))
}

/// Processor time of this process without the server's thread cannot be had, so a client's is its thread's.
fn thread_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn ours(url: &str, prefix: &str, clock: &Arc<dyn Clock>) -> Seen {
    let endpoint = Endpoint::parse(url, 80).unwrap();
    let backend = OllamaBackend::builder(endpoint, Arc::clone(clock)).build().unwrap();
    async_io::block_on(async {
        let names: Vec<String> = (0..STREAMS).map(|i| format!("{prefix}{i}")).collect();
        let loads = names.iter().map(|name| async {
            backend.load(&ModelRef::named(name.as_str()), &LoadOptions::default()).await.unwrap()
        });
        let sessions = join_all(loads).await;
        let before = thread_time();
        let all = (0..STREAMS).zip(names).zip(sessions).map(|((i, name), session)| async move {
            clock.sleep_until(clock.now().after(wait(i))).await;
            let mut events = session.generate(Batch::from(Request::text("x", COUNT)));
            let mut stamps = Vec::new();
            while let Some(event) = events.next().await {
                let event = event.unwrap();
                if matches!(event.kind, EventKind::Chunk { .. }) {
                    stamps.push(event.at);
                }
            }
            (name, stamps)
        });
        let streams = join_all(all).await.into_iter().collect();
        Seen { streams, cpu: thread_time() - before }
    })
}

fn reqwest(url: &str, prefix: &str, clock: &Arc<dyn Clock>) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::new();
    runtime.block_on(async {
        let before = thread_time();
        let all = (0..STREAMS).map(|i| {
            let (client, name) = (client.clone(), format!("{prefix}{i}"));
            async move {
                tokio::time::sleep(wait(i)).await;
                let body = json!({
                    "model": name, "prompt": "x", "raw": true, "stream": true, "options": { "num_predict": COUNT }
                });
                let request = client.post(format!("{url}/api/generate")).body(body.to_string());
                let mut body = request.send().await.unwrap().bytes_stream();
                let (mut stamps, mut open) = (Vec::new(), Vec::new());
                while let Some(bytes) = body.next().await {
                    let at = clock.now();
                    open.extend_from_slice(&bytes.unwrap());
                    while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = open.drain(..=end).collect();
                        let value: Value = serde_json::from_slice(&line).unwrap();
                        if value["response"].as_str().is_some_and(|text| !text.is_empty()) {
                            stamps.push(at);
                        }
                    }
                }
                (name, stamps)
            }
        });
        let streams = join_all(all).await.into_iter().collect();
        Seen { streams, cpu: thread_time() - before }
    })
}

fn httpx(python: &str, url: &str, prefix: &str, origin_ns: i64) -> Seen {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/httpx_client.py");
    let output = Command::new(python)
        .args([
            script,
            url,
            prefix,
            &STREAMS.to_string(),
            &COUNT.to_string(),
            &gap().as_secs_f64().to_string(),
        ])
        .output()
        .expect("the Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams = value["streams"].as_object().unwrap().iter().map(|(model, stamps)| {
        let stamps = stamps.as_array().unwrap().iter();
        (
            model.clone(),
            stamps.map(|ns| Stamp(u64::try_from(ns.as_i64().unwrap() - origin_ns).unwrap())).collect(),
        )
    });
    Seen { streams: streams.collect(), cpu: Duration::from_secs_f64(value["cpu_s"].as_f64().unwrap()) }
}

fn main() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let python = std::env::var("CHIMERA_CLIENTS_PYTHON").ok();
    let mut clients = vec![OURS, REQWEST];
    match &python {
        Some(_) => clients.push(HTTPX),
        None => println!("SKIP: no Python with httpx (CHIMERA_CLIENTS_PYTHON), so {HTTPX} is left out"),
    }
    let tokens =
        Tokens { count: Count::FromRequest, ..Tokens::paced(COUNT, Duration::from_millis(100), gap()) };
    let prefix = |client: usize, turn: u32| format!("c{client}t{turn}s");
    let mut script = Script::new();
    for client in 0..clients.len() {
        for turn in 0..TURNS {
            for i in 0..STREAMS {
                script =
                    script.model(ScriptModel::new(format!("{}{i}", prefix(client, turn)), tokens.clone()));
            }
        }
    }
    let server = TruthServer::start(script, TruthOptions::loopback(Arc::clone(&clock))).unwrap();
    let origin = server.header().clock_monotonic_ns;
    let url = server.url();
    let mut seen: Vec<Vec<Seen>> = clients.iter().map(|_| Vec::new()).collect();
    for turn in 0..TURNS {
        for (client, name) in clients.iter().enumerate() {
            let prefix = prefix(client, turn);
            let found = match (*name, &python, origin) {
                (OURS, ..) => ours(&url, &prefix, &clock),
                (REQWEST, ..) => reqwest(&url, &prefix, &clock),
                (_, Some(python), Some(origin)) => httpx(python, &url, &prefix, origin),
                _ => continue,
            };
            seen[client].push(found);
        }
    }
    let truth = server.stop().unwrap();
    let writes: BTreeMap<&str, Vec<Stamp>> = truth
        .records
        .iter()
        .filter(|record| record.tokens() > 1)
        .filter_map(|record| {
            Some((record.model.as_deref()?, record.token_writes().map(|w| w.before).collect()))
        })
        .collect();
    println!("{STREAMS} streams x {RATE} tok/s, {COUNT} tokens each, {TURNS} turns; microseconds\n");
    println!("| client         | late p50 |  p99 |   max | processor per token |");
    println!("|:---------------|---------:|-----:|------:|--------------------:|");
    for (name, turns) in clients.iter().zip(&seen) {
        let (mut late, mut cpu) = (Vec::new(), Duration::ZERO);
        for turn in turns {
            cpu += turn.cpu;
            for (model, stamps) in &turn.streams {
                let writes = &writes[model.as_str()];
                assert_eq!(writes.len(), stamps.len(), "{name}: tokens of {model}");
                late.extend(stamps.iter().zip(writes).map(|(ours, theirs)| ours.0.saturating_sub(theirs.0)));
            }
        }
        if late.is_empty() {
            continue;
        }
        late.sort_unstable();
        let at =
            |share: f64| late[((share * late.len() as f64).ceil() as usize).saturating_sub(1)] as f64 / 1e3;
        let each = cpu.as_secs_f64() * 1e6 / late.len() as f64;
        println!("| {name:14} | {:8.1} | {:4.0} | {:5.0} | {each:19.1} |", at(0.5), at(0.99), at(1.0));
    }
}
