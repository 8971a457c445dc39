//! Open and closed loops against closed forms.

use std::{io::Write, sync::Arc, sync::atomic::Ordering, time::Duration};

use chimera_core::Clock;
use chimera_load::{Arrivals, Cancel, Length, Lengths, LoadConfig, Slo, summarise};
use chimera_records::{Metric, Outcome, TrialRole};

use crate::common::{Counting, Counts, MS, clock, config, plan, server, simulate, simulate_until};

#[test]
fn a_single_server_with_poisson_arrivals_waits_as_pollaczek_and_khinchine_say() {
    let clock = clock();
    let service = 0.010;
    let backend = server(&clock, 1, 10 * MS, MS).build();
    for rho in [0.5, 0.8] {
        let rate = rho / service;
        let asked = config(Arrivals::Poisson { rate: vec![rate] }, 40_000, 1).warmup(Length::Requests(500));
        let done = simulate(&clock, &backend, &plan(asked));
        let measured = done.measured();
        assert_eq!(measured.len(), 40_000);
        let waits: f64 = measured
            .iter()
            .map(|trial| Metric::TtftIntendedEngine.of(trial).expect("a time") - service)
            .sum();
        let mean = waits / measured.len() as f64;
        // M/D/1: W = rho s / (2 (1 - rho)).
        let expected = rho * service / (2.0 * (1.0 - rho));
        println!("rho {rho}: waited {:.3} ms, M/D/1 says {:.3} ms", mean * 1e3, expected * 1e3);
        // Waiting times depend on each other over about 1/(1 - rho)^2 requests, so fewer are worth counting.
        let tolerance = if rho < 0.6 { 0.04 } else { 0.10 };
        assert!((mean / expected - 1.0).abs() < tolerance, "{mean} against {expected}");
    }
}

#[test]
fn a_closed_loop_keeps_exactly_so_many_under_way() {
    let clock = clock();
    let backend = server(&clock, 3, 10 * MS, 2 * MS).build();
    let asked = config(Arrivals::Closed { concurrency: vec![3] }, 60, 5).warmup(Length::Requests(6));
    let counts = Arc::new(Counts::default());
    let done = simulate_until(&clock, &backend, &plan(asked), &Cancel::new(), |target| {
        let inner = Arc::clone(&target.session);
        target.session = Arc::new(Counting { inner, counts: Arc::clone(&counts) });
    });
    assert_eq!(counts.most.load(Ordering::SeqCst), 3);
    assert_eq!((counts.begun.load(Ordering::SeqCst), counts.now.load(Ordering::SeqCst)), (66, 0));
    assert_eq!(done.sink.trials.iter().filter(|t| t.role == TrialRole::FirstUse).count(), 6);
    let mut lanes: Vec<_> = done.sink.trials.iter().map(|trial| &trial.lanes[0]).collect();
    lanes.sort_by_key(|lane| lane.sent);
    // Every request but the first three begins at the instant another ends, with two others under way.
    for (index, lane) in lanes.iter().enumerate() {
        assert_eq!(lane.intended, lane.sent, "no time passes on our side");
        assert_eq!(lane.in_flight, Some((index as u32).min(2)));
        assert!(index < 3 || lanes[..index].iter().any(|earlier| earlier.done == lane.sent));
    }
    // 10 ms of prefill and four steps of 2 ms: three places serve 3 / 18 ms.
    let summary = &summarise(&done.sink.trials, &Slo::default())[0];
    let rate = summary.achieved_rate.expect("a rate");
    assert!((rate / (3.0 / 0.018) - 1.0).abs() < 0.02, "{rate}");
    assert_eq!((summary.offered_rate, summary.achieved_over_offered), (None, None));
    assert_eq!(summary.output_tokens_per_s.map(|t| (t / rate).round()), Some(5.0));
}

#[test]
fn a_replay_issues_at_the_recorded_times_exactly() {
    let clock = clock();
    let backend = server(&clock, 4, MS, MS).build();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let times = [0.0, 0.1, 0.1, 0.100_5, 2.75, 3.0];
    times.iter().for_each(|time| writeln!(file, "{time}").expect("written"));
    let arrivals = Arrivals::Replay { file: file.path().into(), speed: vec![1.0, 2.0] };
    let asked = LoadConfig { length: None, ..config(arrivals, 1, 3) };
    let done = simulate(&clock, &backend, &plan(asked));
    assert_eq!(done.end.levels.len(), 2);
    for (scenario, speed) in [("synthetic@replay-1", 1.0), ("synthetic@replay-2", 2.0)] {
        let mut sent: Vec<u64> = done
            .measured()
            .iter()
            .filter(|trial| &*trial.factors.scenario == scenario)
            .map(|trial| trial.lanes[0].sent.expect("sent"))
            .collect();
        sent.sort_unstable();
        let offsets: Vec<u64> = sent.iter().map(|at| at - sent[0]).collect();
        let expected: Vec<u64> = times.iter().map(|time| (time / speed * 1e9_f64).round() as u64).collect();
        assert_eq!(offsets, expected);
    }
}

#[test]
fn nothing_is_dropped_when_the_server_is_slower_than_the_arrivals() {
    let clock = clock();
    // Ten a second are served, a hundred arrive.
    let backend = server(&clock, 1, 100 * MS, MS).build();
    let slo = Slo { ttft_s: Some(1.0), ..Slo::default() };
    let asked = config(Arrivals::Constant { rate: vec![100.0] }, 200, 1).slo(slo);
    let done = simulate(&clock, &backend, &plan(asked));
    let measured = done.measured();
    assert_eq!((measured.len(), done.end.counts.completed), (200, 200));
    let first = measured[0].lanes[0].intended.expect("intended");
    for (index, trial) in measured.iter().enumerate() {
        let lane = &trial.lanes[0];
        // Issued on time although nothing was answered: the server's queue takes them, not ours.
        assert_eq!(lane.intended, Some(first + index as u64 * 10_000_000));
        assert_eq!(lane.sent, lane.intended);
        let served = 0.1 * (index + 1) as f64 - 0.01 * index as f64;
        assert!((Metric::TtftIntendedEngine.of(trial).expect("a time") - served).abs() < 1e-6);
    }
    let summary = &summarise(&done.sink.trials, &slo)[0];
    let share = summary.achieved_over_offered.expect("a share");
    assert!((share - 0.1).abs() < 0.01, "{share}");
    assert_eq!(summary.offered_rate.map(f64::round), Some(100.0));
    // 0.1 s and 0.09 s for each one before: eleven are within a second.
    assert!((summary.within_ttft.expect("a share") - 11.0 / 200.0).abs() < 1e-9);
    assert!((summary.goodput.expect("asked").share - 11.0 / 200.0).abs() < 1e-9);
    assert!(summary.most_in_flight > 150);
    let evidence = summary.blocks[0].evidence;
    assert!(evidence.second_half_in_flight > evidence.first_half_in_flight, "the queue is seen to grow");
}

#[test]
fn a_cap_shows_as_waiting_on_our_side_and_drops_nothing() {
    let clock = clock();
    let backend = server(&clock, 8, 100 * MS, MS).build();
    let asked =
        LoadConfig { max_in_flight: Some(2), ..config(Arrivals::Constant { rate: vec![100.0] }, 50, 1) };
    let done = simulate(&clock, &backend, &plan(asked));
    let measured = done.measured();
    assert_eq!(measured.len(), 50);
    assert!(measured.iter().all(|trial| trial.lanes[0].in_flight < Some(2)));
    let last = measured[49];
    let (from_sent, from_intended) = (
        Metric::PrefillEngine.of(last).expect("sent"),
        Metric::TtftIntendedEngine.of(last).expect("intended"),
    );
    // Two at a time, 100 ms each, the second of each pair 10 ms after the first: the 50th is issued after 24 pairs, at
    // 2.41 s, and was due at 0.49 s.
    assert!((from_sent - 0.1).abs() < 1e-6 && (from_intended - 2.02).abs() < 1e-6, "{from_intended}");
    assert!((Metric::IssueErrorEngine.of(last).expect("both stamps") - 1.92).abs() < 1e-6);
}

#[test]
fn the_same_seed_is_the_same_run_and_blocks_differ() {
    let run = |seed| {
        let clock = clock();
        let backend = server(&clock, 2, 5 * MS, MS).build();
        let asked = config(Arrivals::Poisson { rate: vec![20.0, 40.0] }, 30, 4)
            .output(Lengths::Uniform { min: 2, max: 9 })
            .blocks(3, seed);
        simulate(&clock, &backend, &plan(asked)).sink
    };
    let (a, b, other) = (run(1), run(1), run(2));
    assert_eq!(a.trials, b.trials);
    assert_ne!(a.trials, other.trials);
    assert_eq!(a.trials.len(), 3 * 2 * 30);
    let budgets = |block: u32, scenario: &str| -> Vec<u32> {
        let mut all: Vec<_> =
            a.trials.iter().filter(|t| t.block == block && &*t.factors.scenario == scenario).collect();
        all.sort_by_key(|trial| trial.id);
        all.iter().map(|trial| trial.lanes[0].budget.expect("a budget")).collect()
    };
    assert_eq!(
        budgets(0, "synthetic@poisson-20"),
        budgets(0, "synthetic@poisson-40"),
        "levels ask for the same"
    );
    assert_ne!(budgets(0, "synthetic@poisson-20"), budgets(1, "synthetic@poisson-20"));
    let budget = |lane: &chimera_records::Lane| lane.generated == lane.budget;
    assert!(a.trials.iter().all(|trial| trial.factors.budget == 9 && budget(&trial.lanes[0])));
}

#[test]
fn duration_ends_a_closed_loop() {
    let clock = clock();
    let backend = server(&clock, 2, 10 * MS, MS).build();
    let mut asked = config(Arrivals::Closed { concurrency: vec![2] }, 1, 1).warmup(Length::Seconds(0.1));
    asked.length = Some(Length::Seconds(1.0));
    let started = clock.now();
    let done = simulate(&clock, &backend, &plan(asked));
    // A hundred a second and place, of which a tenth of a second is warm-up.
    let warm = done.sink.trials.len() - done.measured().len();
    assert_eq!((warm, done.measured().len()), (20, 200));
    assert!(clock.now().since(started).is_some_and(|took| took < Duration::from_millis(1200)));
    assert!(done.sink.trials.iter().all(|trial| trial.outcome == Outcome::Completed));
}
