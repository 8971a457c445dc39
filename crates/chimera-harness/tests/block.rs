//! One block on virtual time: what is recorded is what the simulator's laws say, and everything that goes wrong has its
//! outcome.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chimera_core::{Availability, Clock, ClockSource, Stamp, SystemClock};
use chimera_harness::{BlockEnd, BlockRun, Cancel, MemorySink, Progress, run_block};
use chimera_records::{First, Flag, Metric, Outcome, Plan, Trial, TrialRole};
use chimera_sim::{Fault, LoadFault, SimModel};
use common::{Sim, design, run, settings};

fn word(trial: &Trial) -> &'static str {
    trial.outcome.word()
}

fn failure(trial: &Trial) -> (&str, &str) {
    match &trial.outcome {
        Outcome::Failed { code, reason } => (code, reason),
        other => panic!("trial {} is {}", trial.id, other.word()),
    }
}

#[test]
fn every_trial_shows_the_laws_and_what_it_was_the_first_to_use() {
    let ran = run(&design(1, ""), 0, &Sim::plain());
    assert_eq!(ran.end, BlockEnd::Done);
    let trials = &ran.sink.trials;
    assert_eq!(trials.len(), 12);
    assert!(trials.iter().all(|trial| word(trial) == "completed" && trial.flags.is_empty()));
    // The law: a step takes 10 * sqrt(parameters) ns, a prompt token an eighth of it, a load 64 times as much.
    let step = |model: &str| if model == "small" { 10_000.0 } else { 20_000.0 };
    let mut seen = BTreeSet::new();
    let mut shapes = BTreeSet::new();
    for (position, trial) in (0_u32..).zip(trials) {
        let factors = &trial.factors;
        let (model, scenario) = (factors.model.to_string(), factors.scenario.to_string());
        let mut firsts = Vec::new();
        firsts.extend((position == 0).then_some(First::Process));
        let new_model = seen.insert(model.clone());
        firsts.extend(new_model.then_some(First::Model));
        firsts.extend(shapes.insert((model.clone(), scenario.clone())).then_some(First::Shape));
        assert_eq!(trial.firsts, firsts, "trial {}", trial.id);
        assert_eq!(trial.is_steady(), trial.role == TrialRole::Measured);
        assert_eq!((trial.position, trial.attempt, trial.stamps), (position, 1, ClockSource::Engine));
        assert_eq!(trial.load_ns, new_model.then_some((64.0 * step(&model)) as u64));
        let [lane] = trial.lanes.as_slice() else { panic!("one lane") };
        let prompt = if scenario == "long" { 300 } else { 11 };
        assert_eq!((lane.prompt_tokens, lane.generated), (Some(prompt), Some(factors.budget)));
        let near = |metric: Metric, nanos: f64| {
            let value = metric.of(trial).unwrap() * 1e9;
            assert!((value - nanos).abs() < 1.5, "{} is {value} ns, the law says {nanos}", metric.name());
        };
        near(Metric::PrefillEngine, f64::from(prompt) * step(&model) / 8.0);
        near(Metric::DecodeEngine, f64::from(factors.budget - 1) * step(&model));
        assert_eq!(trial.started_unix_ms, 1_000 + lane.sent.unwrap() / 1_000_000);
    }
    // Token stamps repeat what the lanes say.
    assert_eq!(ran.sink.stamps.len(), 12);
    for (trial, stamps) in trials.iter().zip(&ran.sink.stamps) {
        let lane = &trial.lanes[0];
        assert_eq!((stamps.trial, stamps.lane, Some(stamps.first)), (trial.id, 0, lane.first_token));
        assert_eq!(stamps.deltas.len() as u32 + 1, lane.generated.unwrap());
        assert_eq!(Some(stamps.first + stamps.deltas.iter().sum::<u64>()), lane.last_token);
        assert_eq!(stamps.carried, None, "every chunk is one token");
    }
    let loaded = ran.progress.iter().filter(|p| matches!(p, Progress::ModelLoaded { .. })).count();
    assert_eq!(loaded, 2, "a model is loaded once and stays");
}

#[test]
fn equal_work_has_equal_digests_across_blocks_and_other_work_has_not() {
    let text = design(2, "");
    let digests = |block| {
        let mut all = BTreeMap::new();
        for trial in run(&text, block, &Sim::plain()).sink.trials {
            if trial.role == TrialRole::Measured {
                all.insert(trial.factors.clone(), trial.lanes[0].output.clone().unwrap());
            }
        }
        all
    };
    let (first, second) = (digests(0), digests(1));
    assert_eq!(first, second);
    assert!(first.values().collect::<BTreeSet<_>>().len() > 1);
    assert!(first.values().all(|digest| digest.len() == 16));
}

#[test]
fn each_fault_has_its_outcome_and_disturbs_no_other_trial() {
    let faulty = Sim::with(|sim| {
        sim.fault(5, Fault::ErrorAfter(2))
            .fault(7, Fault::StallAfter(1))
            .fault(8, Fault::TruncateAfter(3))
            .fault(9, Fault::OutOfMemory)
    });
    let ran = run(&design(1, ""), 0, &faulty);
    let words: Vec<&str> = ran.sink.trials.iter().map(word).collect();
    assert_eq!(ran.end, BlockEnd::Done, "a trial's failure does not end the block");
    assert_eq!(
        words,
        [
            "completed",
            "completed",
            "completed",
            "completed",
            "completed",
            "failed",
            "completed",
            "censored",
            "failed",
            "failed",
            "completed",
            "completed"
        ]
    );
    let trials = &ran.sink.trials;
    assert_eq!(trials[7].outcome, Outcome::Censored { timeout_s: 5.0 });
    let (code, reason) = failure(&trials[8]);
    assert_eq!(code, "law");
    assert!(reason.contains("without a terminal event"), "{reason}");
    assert_eq!(failure(&trials[9]).0, "out-of-memory");
    for trial in trials.iter().filter(|trial| word(trial) != "completed") {
        assert!(trial.lanes.is_empty() && trial.firsts.is_empty(), "no latency of what did not complete");
        assert!(ran.sink.stamps.iter().all(|stamps| stamps.trial != trial.id));
    }
    // The clean run says what the others must show.
    let clean = run(&design(1, ""), 0, &Sim::plain());
    for (ours, clean) in trials.iter().zip(&clean.sink.trials).filter(|(ours, _)| word(ours) == "completed") {
        assert_eq!(Metric::DecodeEngine.of(ours), Metric::DecodeEngine.of(clean));
    }
}

#[test]
fn a_shape_whose_first_use_failed_has_not_been_used() {
    let ran = run(&design(1, ""), 0, &Sim::with(|sim| sim.fault(0, Fault::ErrorAfter(0))));
    let trials = &ran.sink.trials;
    assert_eq!(word(&trials[0]), "failed");
    assert!(trials[1].firsts.contains(&First::Process), "the process is still unused");
    let shape = (&trials[0].factors.model, &trials[0].factors.scenario);
    let again =
        trials.iter().skip(1).find(|trial| (&trial.factors.model, &trial.factors.scenario) == shape).unwrap();
    assert_eq!(again.role, TrialRole::Measured);
    assert!(again.firsts.contains(&First::Shape) && !again.is_steady());
}

#[test]
fn a_model_that_does_not_load_fails_its_trials_and_no_others() {
    for (fault, code) in [
        (LoadFault::Invalid, "model-invalid"),
        (LoadFault::OutOfMemory, "out-of-memory"),
        (LoadFault::Stall, "timeout"),
    ] {
        let broken = Sim::with(move |sim| sim.model(SimModel::new("large").load_fault(fault)));
        let ran = run(&design(1, ""), 0, &broken);
        for trial in &ran.sink.trials {
            if &*trial.factors.model == "large" {
                assert_eq!(failure(trial).0, code, "{fault:?}");
            } else {
                assert_eq!(word(trial), "completed");
            }
        }
        // A load that never ends is waited for once, not for every trial.
        assert!(ran.clock.now() < Stamp(7_000_000_000), "{fault:?} took until {:?}", ran.clock.now());
    }
}

#[test]
fn what_is_not_there_is_skipped_with_its_reason() {
    let text = design(1, "").replace("source = \"large\"", "source = \"missing-large\"");
    let ran = run(&text, 0, &Sim::plain());
    let skipped: Vec<&Trial> = ran.sink.trials.iter().filter(|t| word(t) == "skipped").collect();
    assert_eq!(skipped.len(), 6);
    assert_eq!(skipped[0].outcome, Outcome::Skipped { reason: "missing-large is not here: fetch it".into() });
    let told = ran.progress.iter().filter(|p| matches!(p, Progress::ModelMissing { .. })).count();
    assert_eq!(told, 1, "said once, not for every trial");

    let gone = Sim::with(|sim| {
        sim.availability(Availability::NoDevice { reason: "no such card".into(), remedy: "add one".into() })
    });
    let ran = run(&design(1, ""), 0, &gone);
    assert!(ran.sink.trials.iter().all(|trial| matches!(&trial.outcome,
        Outcome::Skipped { reason } if reason.contains("no such card") && reason.contains("add one"))));

    let unknown = run(&design(1, "").replace("[\"sim\"]", "[\"nowhere\"]"), 0, &Sim::plain());
    assert!(unknown.sink.trials.iter().all(|trial| matches!(&trial.outcome,
        Outcome::Skipped { reason } if reason.contains("no backend `nowhere`"))));
}

#[test]
fn what_a_backend_cannot_do_is_skipped() {
    let narrow = design(1, "").replace("gen = [4, 8]", "gen = [0, 4]\nbatch = [1, 2]");
    let ran = run(
        &narrow,
        0,
        &Sim::with(|sim| {
            sim.capabilities(|can| {
                can.max_batch = None;
                can.prefill_only = false;
            })
        }),
    );
    for trial in &ran.sink.trials {
        let possible = trial.factors.batch == 1 && trial.factors.budget > 0;
        assert_eq!(word(trial), if possible { "completed" } else { "skipped" }, "{:?}", trial.factors);
    }
    let wide = run(&narrow, 0, &Sim::plain());
    for trial in &wide.sink.trials {
        assert_eq!(word(trial), "completed");
        assert_eq!(trial.lanes.len(), trial.factors.batch as usize);
        assert_eq!(trial.lanes[0].generated, Some(trial.factors.budget));
        assert_eq!(trial.lanes[0].output.is_none(), trial.factors.budget == 0, "nothing said, no digest");
    }
    let short = Sim::with(|sim| sim.model(SimModel::new("large").info(|info| info.context = Some(303))));
    for trial in &run(&design(1, ""), 0, &short).sink.trials {
        let fits = &*trial.factors.model == "small"
            || &*trial.factors.scenario == "short"
            || trial.factors.budget <= 3;
        assert_eq!(word(trial), if fits { "completed" } else { "skipped" }, "{:?}", trial.factors);
    }
}

#[test]
fn flags_say_what_a_reader_must_know() {
    let eos = Sim::with(|sim| {
        sim.model(SimModel::new("small").eos_after(3)).capabilities(|can| can.exact_budget = false)
    });
    for trial in &run(&design(1, ""), 0, &eos).sink.trials {
        let short = &*trial.factors.model == "small" && trial.factors.budget > 3;
        assert_eq!(trial.flags, if short { vec![Flag::ShortGeneration] } else { vec![] });
    }

    let cached = run(&design(1, ""), 0, &Sim::with(|sim| sim.prompt_cache(true)));
    assert!(cached.sink.trials.iter().any(|trial| trial.flags.contains(&Flag::CachedPrompt)));

    // A backend that takes no ids cannot be given exactly so many tokens: bytes are the simulator's tokens.
    let text_only = Sim::with(|sim| sim.capabilities(|can| can.token_prompts = false));
    for trial in &run(&design(1, ""), 0, &text_only).sink.trials {
        let long = &*trial.factors.scenario == "long";
        assert_eq!(trial.flags, if long { vec![Flag::PromptLength] } else { vec![] });
        assert!(!long || trial.lanes[0].prompt_tokens == Some(1200), "{:?}", trial.lanes[0].prompt_tokens);
    }
}

#[test]
fn chunks_of_several_tokens_keep_their_counts() {
    let ran = run(&design(1, ""), 0, &Sim::with(|sim| sim.tokens_per_chunk(3)));
    for (trial, stamps) in ran.sink.trials.iter().zip(&ran.sink.stamps) {
        assert_eq!(word(trial), "completed");
        let carried: Option<u32> = stamps.carried.iter().flatten().copied().sum();
        assert_eq!(carried, trial.lanes[0].generated, "budget {}", trial.factors.budget);
        assert_eq!(trial.lanes[0].generated, Some(trial.factors.budget));
        assert!(trial.lanes[0].output.is_some());
    }
}

#[test]
fn a_trial_in_flight_is_cancelled_at_once_and_the_block_ends() {
    let settings = settings(&design(1, ""));
    let plan = Plan::new(&settings).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (cancel, done) = (Cancel::new(), BTreeSet::new());
    let registry = Sim::with(|sim| sim.fault(2, Fault::StallAfter(1)));
    let block = BlockRun {
        settings: &settings,
        plan: &plan,
        block: &plan.blocks[0],
        attempt: 1,
        done: &done,
        threads: 1,
        registry: &registry,
        clock: &clock,
        origin_unix_ms: 0,
        host: None,
        cancel: &cancel,
    };
    let asker = cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(60));
        asker.cancel();
    });
    let mut sink = MemorySink::default();
    let start = Instant::now();
    let end = futures_executor::block_on(run_block(block, &mut sink, &mut |_| {})).unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "the limit of a trial is five seconds");
    thread.join().unwrap();
    assert_eq!(end, BlockEnd::Cancelled);
    let words: Vec<&str> = sink.trials.iter().map(word).collect();
    assert_eq!(words, ["completed", "completed", "cancelled"]);
    assert!(sink.trials[2].lanes.is_empty());
}

#[test]
fn a_resumed_block_uses_its_shapes_anew_and_repeats_nothing_else() {
    let text = design(1, "");
    let settings = settings(&text);
    let plan = Plan::new(&settings).unwrap();
    let all = run(&text, 0, &Sim::plain()).sink.trials;
    // All but the last two measured trials are done.
    let done: BTreeSet<u32> = all.iter().take(10).map(|trial| trial.id).collect();
    let left: Vec<&Trial> = all.iter().skip(10).collect();
    let clock: Arc<dyn Clock> = Arc::new(chimera_sim::VirtualClock::new());
    let registry = Sim::plain();
    let cancel = Cancel::new();
    let block = BlockRun {
        settings: &settings,
        plan: &plan,
        block: &plan.blocks[0],
        attempt: 2,
        done: &done,
        threads: 1,
        registry: &registry,
        clock: &clock,
        origin_unix_ms: 0,
        host: None,
        cancel: &cancel,
    };
    let mut sink = MemorySink::default();
    futures_executor::block_on(run_block(block, &mut sink, &mut |_| {})).unwrap();
    let shape = |trial: &Trial| (trial.factors.model.clone(), trial.factors.scenario.clone());
    let needed: BTreeSet<_> = left.iter().map(|trial| shape(trial)).collect();
    let (firsts, measured): (Vec<&Trial>, Vec<&Trial>) =
        sink.trials.iter().partition(|trial| trial.role == TrialRole::FirstUse);
    assert_eq!(firsts.iter().map(|trial| shape(trial)).collect::<BTreeSet<_>>(), needed);
    assert_eq!(firsts.len(), needed.len());
    assert_eq!(
        measured.iter().map(|trial| trial.id).collect::<Vec<_>>(),
        left.iter().map(|trial| trial.id).collect::<Vec<_>>()
    );
    assert!(sink.trials.iter().all(|trial| trial.attempt == 2));
    assert!(firsts[0].firsts.contains(&First::Process));
    assert!(measured.iter().all(|trial| trial.is_steady()));
}
