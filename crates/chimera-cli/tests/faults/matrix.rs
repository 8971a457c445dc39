//! The matrix: each adapter meets each fault, and after each the same session works again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use chimera_core::Session;
use chimera_wire::Limits;

use crate::{
    adapter::Adapter,
    cases::{Case, Cases},
    outcome::{BOUND, Outcome, Want},
    server::Server,
};

/// Bytes of one body: endless ones end there.
const BODY: u64 = 24 << 20;

fn patient() -> Limits {
    Limits { head: BOUND, stall: BOUND, body: BODY, ..Limits::default() }
}

fn hasty() -> Limits {
    let short = Duration::from_millis(1_500);
    Limits { head: short, stall: short, ..patient() }
}

/// What an adapter is at, and since when.
type At = Arc<Mutex<Option<(String, Instant)>>>;

#[derive(Default)]
struct Tally {
    cases: usize,
    outcomes: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

fn run(adapter: Adapter, at: &At) -> Tally {
    let server = Server::start(adapter);
    let patient = adapter.session(server.address, patient()).unwrap();
    let hasty = adapter.session(server.address, hasty()).unwrap();
    let mut tally = Tally::default();
    for Case { name, want, hasty: in_haste, late, play } in Cases::of(adapter) {
        *at.lock().unwrap() = Some((name.clone(), Instant::now()));
        tally.cases += 1;
        let session: &Arc<dyn Session> = if in_haste { &hasty } else { &patient };
        server.break_with(play);
        let broken = Outcome::of(session, adapter);
        server.heal();
        let judged = broken.and_then(|outcome| {
            let code = outcome.end.as_ref().map_or_else(|(code, _)| *code, |_| "success");
            *tally.outcomes.entry(code.to_owned()).or_default() += 1;
            outcome.judge(want)
        });
        if let Err(why) = judged {
            tally.wrong.push(format!("{}, {name}: {why}", adapter.name()));
        }
        if late {
            thread::sleep(Duration::from_millis(150));
        }
        let next = Outcome::of(session, adapter).and_then(|outcome| outcome.judge(Want::Text));
        if let Err(why) = next {
            tally.wrong.push(format!("{}, {name}: and the next request: {why}", adapter.name()));
        }
    }
    *at.lock().unwrap() = None;
    tally
}

#[test]
fn every_fault_on_every_adapter_has_its_outcome() {
    let mut running = Vec::new();
    for adapter in Adapter::ALL {
        let at: At = Arc::default();
        let shared = Arc::clone(&at);
        running.push((adapter, at, thread::spawn(move || run(adapter, &shared))));
    }
    while running.iter().any(|(_, _, thread)| !thread.is_finished()) {
        thread::sleep(Duration::from_millis(100));
        for (adapter, at, _) in &running {
            let at = at.lock().unwrap();
            if let Some((name, since)) = &*at {
                // A fault and a healthy request, each within its bound.
                assert!(since.elapsed() < 3 * BOUND, "{} hangs at `{name}`", adapter.name());
            }
        }
    }
    let mut all = Tally::default();
    let mut shares = Vec::new();
    for (adapter, at, thread) in running {
        let Ok(tally) = thread.join() else {
            panic!("{} panicked at {:?}", adapter.name(), at.lock().unwrap_or_else(|e| e.into_inner()));
        };
        shares.push(format!("{} {}", adapter.name(), tally.cases));
        all.cases += tally.cases;
        for (code, count) in tally.outcomes {
            *all.outcomes.entry(code).or_default() += count;
        }
        all.wrong.extend(tally.wrong);
    }
    println!("matrix: {} cases, {}; outcomes: {:?}", all.cases, shares.join(", "), all.outcomes);
    assert!(all.wrong.is_empty(), "{} of {}:\n{}", all.wrong.len(), all.cases, all.wrong.join("\n"));
}

#[test]
fn a_server_that_dies_and_comes_back_is_used_again() {
    for adapter in Adapter::ALL {
        let mut server = Server::start(adapter);
        let session = adapter.session(server.address, patient()).unwrap();
        for round in 0..3 {
            let judge = |want| Outcome::of(&session, adapter).and_then(|outcome| outcome.judge(want));
            judge(Want::Text).unwrap_or_else(|why| panic!("{}, round {round}: {why}", adapter.name()));
            server.die();
            for _ in 0..2 {
                judge(Want::Error(&["unavailable"]))
                    .unwrap_or_else(|why| panic!("{}, round {round}, dead: {why}", adapter.name()));
            }
            server.come_back();
        }
        let last = Outcome::of(&session, adapter).and_then(|outcome| outcome.judge(Want::Text));
        last.unwrap_or_else(|why| panic!("{}: {why}", adapter.name()));
    }
}
