//! Requests at once, on virtual time: they leave together, what the backend does with them is what is recorded, and one
//! that fails takes the trial with it and disturbs nothing else.
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chimera_core::{Clock, Phase, SystemClock};
use chimera_harness::{BlockEnd, BlockRun, Cancel, MemorySink, run_block};
use chimera_records::{Design, Lane, Metric, Outcome, Plan, Trial};
use chimera_sim::Fault;
use common::{Sim, design, run, settings};

/// One model, one prompt, one budget: alone and two at once.
fn pairs(blocks: u32) -> String {
    design(blocks, "")
        .replace("model = [\"small\", \"large\"]", "model = [\"small\"]")
        .replace("scenario = [\"short\", \"long\"]", "scenario = [\"long\"]")
        .replace("gen = [4, 8]", "gen = [8]\nconcurrency = [1, 2]")
}

fn steady(trials: &[Trial], concurrency: u32) -> &Trial {
    trials.iter().find(|t| t.is_steady() && t.factors.concurrency == concurrency).unwrap()
}

fn queue(lane: &Lane) -> u64 {
    lane.timings.iter().find(|t| t.phase == Phase::Queue).unwrap().nanos
}

#[test]
fn a_backend_with_two_places_runs_two_requests_in_the_time_of_one() {
    let ran = run(&pairs(1), 0, &Sim::with(|sim| sim.capabilities(|able| able.max_in_flight = Some(2))));
    assert_eq!(ran.end, BlockEnd::Done);
    // A shape for each number of requests, and a cell for each.
    assert_eq!(ran.sink.trials.len(), 4);
    let (one, two) = (steady(&ran.sink.trials, 1), steady(&ran.sink.trials, 2));
    assert_eq!((one.lanes.len(), two.lanes.len()), (1, 2));
    assert!(two.flags.is_empty(), "{:?}", two.flags);
    let span = |trial: &Trial| Metric::SpanEngine.of(trial).unwrap();
    assert_eq!(span(one), Metric::E2eEngine.of(one).unwrap());
    assert!((span(two) / span(one) - 1.0).abs() < 1e-6, "{} and {}", span(two), span(one));
    assert_eq!(two.lanes[0].sent, two.lanes[1].sent, "they leave at the same moment");
    assert!(two.lanes.iter().all(|lane| lane.intended.is_some() && lane.generated == Some(8)));
    assert_eq!(one.lanes[0].intended, None, "a request alone has no schedule");
    assert!(two.lanes.iter().all(|lane| queue(lane) == 0));
    // The stamps of both lanes are kept.
    let lanes: BTreeSet<u32> =
        ran.sink.stamps.iter().filter(|stamps| stamps.trial == two.id).map(|stamps| stamps.lane).collect();
    assert_eq!(lanes, BTreeSet::from([0, 1]));
}

#[test]
fn a_backend_with_one_place_lets_the_second_wait_and_the_record_says_so() {
    let ran = run(&pairs(1), 0, &Sim::with(|sim| sim.capabilities(|able| able.max_in_flight = Some(1))));
    let (one, two) = (steady(&ran.sink.trials, 1), steady(&ran.sink.trials, 2));
    let span = |trial: &Trial| Metric::SpanEngine.of(trial).unwrap();
    assert!((span(two) / span(one) - 2.0).abs() < 1e-6, "{} and {}", span(two), span(one));
    let waited: Vec<u64> = two.lanes.iter().map(queue).collect();
    let alone = (span(one) * 1e9).round() as u64;
    assert_eq!(waited[0], 0);
    assert!(waited[1].abs_diff(alone) <= 1, "waited {} ns for a request of {alone} ns", waited[1]);
}

/// Runs the pairs with a fault in the second request of the steady trial of two, whichever comes first.
fn with_fault(fault: Fault) -> (Vec<Trial>, u32) {
    let text = pairs(1);
    let plan = Plan::new(&settings(&text)).unwrap();
    let block = &plan.blocks[0];
    let mut begun = 0;
    for trial in &block.trials {
        let cell = plan.cell(trial).unwrap();
        if cell.concurrency == 2 && trial.role == chimera_records::TrialRole::Measured {
            let ran = run(&text, 0, &Sim::with(move |sim| sim.fault(begun + 1, fault)));
            return (ran.sink.trials, trial.id);
        }
        begun += u64::from(cell.concurrency);
    }
    panic!("no trial of two requests");
}

#[test]
fn one_request_that_fails_fails_the_trial_with_its_lane_named_and_the_other_is_read_to_its_end() {
    let (trials, id) = with_fault(Fault::ErrorAfter(3));
    for trial in &trials {
        if trial.id != id {
            assert_eq!(trial.outcome, Outcome::Completed, "trial {}", trial.id);
            continue;
        }
        let Outcome::Failed { code, reason } = &trial.outcome else { panic!("{:?}", trial.outcome) };
        assert_eq!(code, "failed");
        assert!(reason.starts_with("lane 1: "), "{reason}");
        assert!(trial.lanes.is_empty(), "a failed trial carries no latency");
    }
    assert_eq!(trials.len(), 4, "the block goes on");
}

#[test]
fn a_request_that_is_cut_off_breaks_the_law_in_its_own_lane() {
    let (trials, id) = with_fault(Fault::TruncateAfter(3));
    let trial = trials.iter().find(|trial| trial.id == id).unwrap();
    let Outcome::Failed { code, reason } = &trial.outcome else { panic!("{:?}", trial.outcome) };
    assert_eq!(code, "law");
    assert!(reason.contains("lane 1"), "{reason}");
}

#[test]
fn a_request_that_stands_still_censors_the_trial() {
    let (trials, id) = with_fault(Fault::StallAfter(3));
    let trial = trials.iter().find(|trial| trial.id == id).unwrap();
    assert_eq!(trial.outcome, Outcome::Censored { timeout_s: 5.0 });
}

#[test]
fn requests_at_once_are_cancelled_together() {
    let text = pairs(1);
    let settings = settings(&text);
    let plan = Plan::new(&settings).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (cancel, done) = (Cancel::new(), BTreeSet::new());
    // Whatever is second or third of the generations belongs to a pair.
    let registry = Sim::with(|sim| sim.fault(1, Fault::StallAfter(1)).fault(2, Fault::StallAfter(1)));
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
    let end = futures_executor::block_on(run_block(block, &mut sink, &mut |_| {})).unwrap();
    thread.join().unwrap();
    assert_eq!(end, BlockEnd::Cancelled);
    let last = sink.trials.last().unwrap();
    assert_eq!((&last.outcome, last.factors.concurrency), (&Outcome::Cancelled, 2));
}

#[test]
fn batches_and_requests_at_once_are_not_crossed() {
    let error = Design::parse(&pairs(1).replace("concurrency = [1, 2]", "concurrency = [2]\nbatch = [4]"));
    let said = error.unwrap_err().to_string();
    assert!(said.contains("grid `main`: concurrency") && said.contains("a grid for each"), "{said}");
    let zero = Design::parse(&pairs(1).replace("concurrency = [1, 2]", "concurrency = [0]"));
    assert!(zero.unwrap_err().to_string().contains("at least 1"));
}
