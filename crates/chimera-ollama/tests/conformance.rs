//! The suite against our own server over the simulator, through sockets and on the machine's clock. Broken answers come
//! from a socket that replays what real servers and proxies say when they break.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "this suite takes a part of it")]
mod support;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chimera_conformance::{Breakage, Fixture, MultiByte, conformance_suite};
use chimera_core::{InferenceBackend, ModelRef};
use chimera_ollama::OllamaBackend;
use chimera_serve::{ServeOptions, ServedModel, Server};
use chimera_sim::{Laws, SimBackend, SimModel};
use chimera_wire::Endpoint;
use support::{Scripted, streamed, wire, write};

/// One server for all tests of this file.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let laws = Laws::default()
            .load(Duration::from_millis(2))
            .prefill(Duration::from_micros(200), Duration::from_micros(1))
            .decode(Duration::from_micros(200), Duration::ZERO);
        let sim = SimBackend::builder()
            .model(SimModel::new("tiny").laws(laws))
            .model(SimModel::new("brief").laws(laws).eos_after(5))
            .build();
        let options = ServeOptions {
            slots: NonZeroUsize::new(4).unwrap(),
            resident: NonZeroUsize::new(2).unwrap(),
            plain_chat: true,
            ..ServeOptions::default()
        };
        Server::start(Arc::new(sim), ["tiny", "brief"].map(ServedModel::named).to_vec(), options).unwrap()
    })
}

fn backend(address: &str, fixture: &Fixture) -> OllamaBackend {
    let endpoint = Endpoint::parse(address, 80).unwrap();
    OllamaBackend::builder(endpoint, fixture.clock()).deterministic(true).parallel(4).build().unwrap()
}

/// A server whose first two generations break.
fn broken(fixture: &Fixture, how: Breakage) -> Arc<dyn InferenceBackend> {
    let count = AtomicUsize::new(0);
    let chunk = r#"{"model":"m","created_at":"2026-11-25T02:27:47.9Z","response":" the","done":false}"#;
    let bytes = match how {
        Breakage::Error => {
            streamed(&[chunk, r#"{"error":"an unknown error was encountered while running the model"}"#])
        }
        // The transfer ends as it should; only `done` is missing.
        _ => streamed(&[chunk, chunk]),
    };
    let server = Scripted::generating(move |_, stream| {
        let whole = wire("generate-raw-stream-cold");
        let number = count.fetch_add(1, Ordering::SeqCst);
        write(stream, if number < 2 { &bytes } else { &whole });
    });
    Arc::new(backend(&format!("http://{}", server.address), fixture))
}

fn fixture() -> Fixture {
    Fixture::new("tiny", MultiByte::contains("The quick brown fox", "數"))
        .stops(ModelRef::named("brief"), "hello", 32)
        .tolerance(Duration::from_millis(50))
        .broken(broken)
        .skips(&[
            "usage_equals_what_was_streamed",
            "budget_of_zero_reads_the_prompt_alone",
            "exact_budget_is_exact",
            "token_prompts_are_taken_as_they_are",
            "stamps_do_not_wait_for_the_reader",
            "dropping_cancels_in_time",
            "lanes_equal_their_solo_runs",
            "tokens_are_stable",
            "score_keeps_its_laws",
            "logits_have_a_row_per_token",
            "logits_equal_the_score",
            "logits_choose_the_greedy_token",
            "logits_of_what_cannot_be_read_are_refused",
            "dropped_logits_leave_no_trace",
        ])
}

conformance_suite! {
    backend: |fixture| backend(&server().url(), fixture),
    fixture: fixture,
    block_on: async_io::block_on,
}
