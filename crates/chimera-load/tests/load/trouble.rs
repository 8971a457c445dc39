//! What goes wrong: requests that fail or stall, and runs that are stopped.

use std::{sync::Arc, time::Duration};

use chimera_core::{
    BackendError,
    decorate::{FaultPlan, Faulty, StreamFault},
};
use chimera_load::{Arrivals, Cancel, LoadRun, MemorySink, Quantile, RunOptions, Slo, run, summarise};
use chimera_records::Outcome;

use crate::common::{MS, clock, config, plan, server, simulate, target};

#[test]
fn failures_are_counted_and_time_outs_are_censored() {
    let clock = clock();
    let faults = FaultPlan::none()
        .generation(
            3,
            StreamFault::Error {
                at: 2,
                error: |backend| BackendError::Protocol {
                    backend: backend.clone(),
                    detail: "nonsense".into(),
                },
            },
        )
        .generation(4, StreamFault::Truncate { at: 2 })
        .generation(5, StreamFault::Stall { at: 1 })
        .generation(6, StreamFault::Stall { at: 3 });
    let backend = Faulty::new(server(&clock, 100, 10 * MS, MS).build(), faults);
    let slo = Slo { ttft_s: Some(0.02), ..Slo::default() };
    let asked = config(Arrivals::Constant { rate: vec![50.0] }, 20, 4).timeout(2.0).slo(slo);
    let done = simulate(&clock, &backend, &plan(asked));
    let measured = done.measured();
    assert_eq!(measured.len(), 20, "every request has its record");
    let failed = |trial: &chimera_records::Trial| match &trial.outcome {
        Outcome::Failed { code, .. } => code.clone(),
        other => other.word().to_owned(),
    };
    assert_eq!(failed(measured[3]), "protocol");
    assert_eq!(failed(measured[4]), "law");
    assert_eq!((failed(measured[5]), failed(measured[6])), ("censored".into(), "censored".into()));
    for trial in &measured[3..7] {
        let lane = &trial.lanes[0];
        assert!(lane.intended.is_some() && lane.sent.is_some() && lane.last_token.is_none());
    }
    assert!(measured[3].lanes[0].first_token.is_none(), "a failed request carries no latency");
    assert!(measured[5].lanes[0].first_token.is_none() && measured[6].lanes[0].first_token.is_some());

    let summary = &summarise(&done.sink.trials, &slo)[0];
    let counts = summary.counts;
    assert_eq!((counts.completed, counts.failed, counts.censored), (16, 2, 2));
    assert_eq!(summary.failures.get("law"), Some(&1));
    assert_eq!((summary.ttft.n, summary.ttft.censored, summary.e2e.censored), (18, 1, 2));
    assert_eq!(summary.goodput.map(|good| good.share), Some(16.0 / 20.0));
    assert_eq!(summary.within_ttft, Some(17.0 / 20.0), "a first token in time counts for the time to it");
    assert!(summary.e2e.p50.value().is_some());
    assert_eq!(summary.e2e.p90, Quantile::TooFew(64));
}

#[test]
fn a_cancelled_run_keeps_what_was_measured() {
    let clock = clock();
    let backend = server(&clock, 1, 100 * MS, MS).build();
    let asked = plan(config(Arrivals::Constant { rate: vec![20.0] }, 1_000, 1));
    let cancel = Cancel::new();
    let mut sink = MemorySink::default();
    let end = futures_executor::block_on(async {
        let target = target(&backend).await;
        let load = LoadRun {
            plan: &asked,
            target: &target,
            clock: &clock,
            cancel: &cancel,
            options: RunOptions::simulated(),
        };
        let stop = async {
            clock.sleep_until(clock.now().after(Duration::from_millis(1_050))).await;
            cancel.cancel();
        };
        let mut silent = |_| {};
        futures_util::future::join(run(load, &mut sink, &mut silent), stop).await.0
    })
    .expect("a run");
    assert!(end.cancelled);
    // 21 were issued in 1.045 s, ten are served in each second.
    let counts = end.counts;
    assert_eq!((counts.completed, counts.cancelled, counts.planned), (10, 11, 21));
    assert_eq!(sink.trials.len(), 21);
    let cancelled = sink.trials.iter().filter(|trial| trial.outcome == Outcome::Cancelled);
    assert!(
        cancelled.clone().all(|trial| trial.lanes[0].sent.is_some() && trial.lanes[0].first_token.is_none())
    );
    let summary = &summarise(&sink.trials, &Slo::default())[0];
    assert_eq!((summary.counts.cancelled, summary.ttft.n), (11, 10));
}

#[test]
fn an_endless_stream_ends() {
    // A server that ignores the budget: 64 tokens were asked of a model that is told 4,000.
    let clock = clock();
    let backend = server(&clock, 1, MS, MS).build();
    let asked = plan(config(Arrivals::Closed { concurrency: vec![1] }, 1, 4));
    let done = crate::common::simulate_until(&clock, &backend, &asked, &Cancel::new(), |target| {
        target.session = Arc::new(Deaf(Arc::clone(&target.session)));
    });
    match &done.sink.trials[0].outcome {
        Outcome::Failed { code, reason } => {
            assert!(code == "endless" && reason.contains("budget of 4"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

/// Makes more tokens than it was asked for.
#[derive(Debug)]
struct Deaf(Arc<dyn chimera_core::Session>);

#[async_trait::async_trait]
impl chimera_core::Session for Deaf {
    fn model(&self) -> &chimera_core::ModelInfo {
        self.0.model()
    }
    fn generate(&self, mut batch: chimera_core::Batch) -> chimera_core::EventStream {
        batch.0.iter_mut().for_each(|request| request.max_tokens = 4_000);
        self.0.generate(batch)
    }
    async fn tokenize(&self, text: &str) -> chimera_core::Result<Vec<u32>> {
        self.0.tokenize(text).await
    }
    async fn score(&self, tokens: &[u32]) -> chimera_core::Result<chimera_core::Score> {
        self.0.score(tokens).await
    }
    async fn logits(&self, tokens: &[u32]) -> chimera_core::Result<chimera_core::Logits> {
        self.0.logits(tokens).await
    }
    async fn idle(&self) {
        self.0.idle().await;
    }
    async fn unload(&self) -> chimera_core::Result<()> {
        self.0.unload().await
    }
}
