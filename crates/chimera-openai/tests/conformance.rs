//! The suite against our own server over the simulator, through sockets and on the machine's clock: once as a server of
//! which nothing is known, once as the one that it is; then against small servers that speak as vLLM and llama.cpp are
//! documented to. Broken answers come from a socket that breaks as real servers do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/emulator.rs"]
mod emulator;
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

use chimera_conformance::{Breakage, Fixture, MultiByte};
use chimera_core::{InferenceBackend, ModelRef, Phase};
use chimera_openai::{Flavour, OpenAiBackend, OpenAiBuilder};
use chimera_serve::{ServeOptions, ServedModel, Server};
use chimera_sim::{Laws, SimBackend, SimModel};
use chimera_wire::Endpoint;
use support::{Scripted, streamed, write};

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

fn builder(address: &str, fixture: &Fixture) -> OpenAiBuilder {
    let endpoint = Endpoint::parse(address, 80).unwrap();
    OpenAiBackend::builder(endpoint, fixture.clock()).deterministic(true).parallel(4)
}

const PART: &str = r#"{"choices":[{"index":0,"text":" the","finish_reason":null}]}"#;
const LAST: &str = r#"{"choices":[{"index":0,"text":" end","finish_reason":"length"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":8}}"#;

/// A server whose first two streams break.
fn broken(fixture: &Fixture, how: Breakage, flavour: Flavour) -> Arc<dyn InferenceBackend> {
    let count = AtomicUsize::new(0);
    let bytes = match how {
        Breakage::Error => {
            streamed(&[PART, r#"{"error":{"message":"boom","type":"server_error"}}"#, "[DONE]"])
        }
        // The transfer ends as it should; only the reason is missing.
        _ => streamed(&[PART, PART]),
    };
    let whole = streamed(&[PART, LAST, USAGE, "[DONE]"]);
    let server = Scripted::generating(move |_, stream| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        write(stream, if number < 2 { &bytes } else { &whole });
    });
    Arc::new(builder(&server.url(), fixture).flavour(flavour).build().unwrap())
}

fn fixture(flavour: Flavour, skips: &[&'static str]) -> Fixture {
    Fixture::new("tiny", MultiByte::contains("The quick brown fox", "數"))
        .stops(ModelRef::named("brief"), "hello", 32)
        .too_long(" x".repeat(20_000))
        .tolerance(Duration::from_millis(50))
        .broken(move |fixture, how| broken(fixture, how, flavour))
        .skips(skips)
}

/// Nothing is known of the server but its interface.
mod plain {
    use super::*;

    fn fixture() -> Fixture {
        super::fixture(
            Flavour::Plain,
            &[
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
            ],
        )
    }

    chimera_conformance::conformance_suite! {
        backend: |fixture| builder(&server().url(), fixture).flavour(Flavour::Plain).build().unwrap(),
        fixture: fixture,
        block_on: async_io::block_on,
    }
}

/// What the server is is found out, by an address that ends in `/v1`.
mod chimera {
    use super::*;

    fn fixture() -> Fixture {
        super::fixture(
            Flavour::Chimera,
            &[
                "usage_equals_what_was_streamed",
                "budget_of_zero_reads_the_prompt_alone",
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
            ],
        )
    }

    chimera_conformance::conformance_suite! {
        backend: |fixture| builder(&format!("{}/v1", server().url()), fixture)
            .reports(&[Phase::Prefill, Phase::Decode])
            .build()
            .unwrap(),
        fixture: fixture,
        block_on: async_io::block_on,
    }
}

/// The tokens of every chunk, token ids, and a call for them.
mod vllm {
    use super::*;

    fn fixture() -> Fixture {
        super::fixture(
            Flavour::Vllm,
            &[
                "budget_of_zero_reads_the_prompt_alone",
                "stamps_do_not_wait_for_the_reader",
                "dropping_cancels_in_time",
                "lanes_equal_their_solo_runs",
                "score_keeps_its_laws",
                "logits_have_a_row_per_token",
                "logits_equal_the_score",
                "logits_choose_the_greedy_token",
                "logits_of_what_cannot_be_read_are_refused",
                "dropped_logits_leave_no_trace",
            ],
        )
    }

    chimera_conformance::conformance_suite! {
        backend: |fixture| builder(&emulator::start(emulator::Speech::Vllm).url(), fixture).build().unwrap(),
        fixture: fixture,
        block_on: async_io::block_on,
    }
}

/// Durations of the server's own, slots, token ids and a call for them.
mod llamacpp {
    use super::*;

    fn fixture() -> Fixture {
        super::fixture(
            Flavour::LlamaCpp,
            &[
                "usage_equals_what_was_streamed",
                "budget_of_zero_reads_the_prompt_alone",
                "stamps_do_not_wait_for_the_reader",
                "dropping_cancels_in_time",
                "lanes_equal_their_solo_runs",
                "score_keeps_its_laws",
                "logits_have_a_row_per_token",
                "logits_equal_the_score",
                "logits_choose_the_greedy_token",
                "logits_of_what_cannot_be_read_are_refused",
                "dropped_logits_leave_no_trace",
            ],
        )
    }

    chimera_conformance::conformance_suite! {
        backend: |fixture| {
            builder(&emulator::start(emulator::Speech::LlamaCpp).url(), fixture).build().unwrap()
        },
        fixture: fixture,
        block_on: async_io::block_on,
    }
}
