//! The simulator behaves like a backend, on a virtual clock and on the machine's, with every capability and with none.

use std::{sync::Arc, time::Duration};

use chimera_conformance::{Fixture, MultiByte, conformance_suite};
use chimera_core::ModelRef;
use chimera_sim::{Laws, Noise, SimBackend, SimBuilder, SimModel, VirtualClock};

fn bytes(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn fixture() -> Fixture {
    Fixture::new("tiny", MultiByte::decodes(bytes)).stops(ModelRef::named("brief"), "hello", 32)
}

fn virtual_fixture() -> Fixture {
    fixture().with_clock(Arc::new(VirtualClock::new())).skips(&[])
}

fn sim(fixture: &Fixture) -> SimBuilder {
    let laws = Laws::default().queue(Duration::from_micros(50)).first_use(
        Duration::from_millis(5),
        Duration::from_millis(2),
        Duration::from_millis(1),
    );
    SimBackend::builder()
        .clock(fixture.clock())
        .noise(Noise::new(0.05, 0.05, 0.02))
        .model(SimModel::new("tiny").laws(laws))
        .model(SimModel::new("brief").laws(laws).eos_after(5))
}

mod on_a_virtual_clock {
    use super::*;
    conformance_suite! {
        backend: |fixture| sim(fixture).build(),
        fixture: virtual_fixture,
        block_on: futures_executor::block_on,
    }
}

mod on_a_real_clock {
    use super::*;
    conformance_suite! {
        backend: |fixture| sim(fixture).build(),
        fixture: || fixture().skips(&[]),
        block_on: futures_executor::block_on,
    }
}

mod with_chunks_of_three {
    use super::*;
    conformance_suite! {
        backend: |fixture| sim(fixture).tokens_per_chunk(3).build(),
        fixture: || {
            Fixture::new("tiny", MultiByte::contains("The quick brown fox", "數"))
                .with_clock(Arc::new(VirtualClock::new()))
                .skips(&[])
        },
        block_on: futures_executor::block_on,
    }
}

mod with_no_capability_at_all {
    use super::*;
    conformance_suite! {
        backend: |fixture| sim(fixture).modest().build(),
        fixture: || {
            Fixture::new("tiny", MultiByte::contains("The quick brown fox", "數"))
                .with_clock(Arc::new(VirtualClock::new()))
                .skips(&[
                    "usage_equals_what_was_streamed",
                    "same_seed_same_text",
                    "budget_of_zero_reads_the_prompt_alone",
                    "exact_budget_is_exact",
                    "token_prompts_are_taken_as_they_are",
                    "chat_is_answered",
                    "dropping_cancels_in_time",
                    "concurrent_generations_do_not_mix",
                    "lanes_equal_their_solo_runs",
                    "tokens_are_stable",
                    "score_keeps_its_laws",
                    "logits_have_a_row_per_token",
                    "logits_equal_the_score",
                    "logits_choose_the_greedy_token",
                    "logits_of_what_cannot_be_read_are_refused",
                    "dropped_logits_leave_no_trace",
                ])
        },
        block_on: futures_executor::block_on,
    }
}
