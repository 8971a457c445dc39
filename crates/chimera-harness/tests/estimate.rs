//! Estimates of time against simulated runs whose time is known.

mod common;

use chimera_core::Clock;
use chimera_harness::{CostHint, estimate, hints_from};
use chimera_records::Plan;
use common::{Sim, design, run, settings};

#[test]
fn an_estimate_is_the_sum_of_its_hints() {
    let settings = settings(&design(2, ""));
    let plan = Plan::new(&settings).unwrap();
    let hint = CostHint { load_s: 100.0, prompt_token_s: 0.0, generated_token_s: 1.0 };
    let all = estimate(&settings, &plan, &plan.blocks, 5.0, |_, _| Some(hint));
    // Per block: a start, two loads, four first uses of 2 tokens, four cells of 4 and four of 8.
    let per_block = 5.0 + 2.0 * 100.0 + 4.0 * 2.0 + 4.0 * 4.0 + 4.0 * 8.0;
    assert_eq!((all.blocks, all.trials, all.unknown), (2, 24, 0));
    assert!((all.seconds - 2.0 * per_block).abs() < 1e-9, "{}", all.seconds);

    let some = estimate(&settings, &plan, plan.blocks.iter().take(1), 0.0, |backend, model| {
        (backend == "sim" && model.id == "small").then_some(hint)
    });
    assert_eq!((some.trials, some.unknown), (12, 6), "what has no hint is counted, not guessed");
}

#[test]
fn an_earlier_run_predicts_the_next_one() {
    let text = design(2, "");
    let ran = run(&text, 0, &Sim::plain());
    let hints = hints_from(&ran.sink.trials);
    let small = hints[&("sim".to_owned(), "small".to_owned())];
    // A step of the small model takes 10 us, a prompt token an eighth of it, a load 64 times as much.
    for (found, law) in
        [(small.load_s, 640e-6), (small.prompt_token_s, 1.25e-6), (small.generated_token_s, 10e-6)]
    {
        assert!((found / law - 1.0).abs() < 0.01, "{found} s, the law says {law} s");
    }
    let settings = settings(&text);
    let plan = Plan::new(&settings).unwrap();
    let next = estimate(&settings, &plan, &plan.blocks[1..], 0.0, |backend, model| {
        hints.get(&(backend.to_owned(), model.id.clone())).copied()
    });
    let really = run(&text, 1, &Sim::plain()).clock.now().0 as f64 / 1e9;
    assert!((next.seconds / really - 1.0).abs() < 0.15, "{} s said, {really} s needed", next.seconds);
}
