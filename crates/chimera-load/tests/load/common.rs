//! A simulated server and a run on it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chimera_core::{
    BackendExt, Batch, Capabilities, Clock, EventStream, InferenceBackend, ModelInfo, Result, Score, Session,
};
use chimera_load::{
    Arrivals, Cancel, Length, Lengths, LoadConfig, LoadPlan, LoadRun, MemorySink, Progress, Prompts, RunEnd,
    RunOptions, Target, run,
};
use chimera_records::{Trial, TrialRole};
use chimera_sim::{Laws, SimBackend, SimBuilder, SimModel, VirtualClock};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A server whose prefill takes `prefill` and whose decode step takes `step`, whatever the lengths.
pub(crate) fn server(clock: &Arc<dyn Clock>, places: u32, prefill: Duration, step: Duration) -> SimBuilder {
    let laws = Laws { load_ns: 0.0, ..Laws::default() };
    let laws = laws.prefill(prefill, Duration::ZERO).decode(step, Duration::ZERO);
    SimBackend::builder()
        .clock(Arc::clone(clock))
        .capabilities(|all| all.max_in_flight = Some(places))
        .model(SimModel::new("m").laws(laws))
}

pub(crate) fn config(arrivals: Arrivals, requests: u32, output: u32) -> LoadConfig {
    LoadConfig::new("sim", "m", arrivals, Length::Requests(requests))
        .prompts(Prompts::Synthetic { tokens: Lengths::Fixed { tokens: 16 } })
        .output(Lengths::Fixed { tokens: output })
        .blocks(1, 7)
}

pub(crate) fn plan(config: LoadConfig) -> LoadPlan {
    LoadPlan::new(config, Path::new(".")).expect("a plan")
}

pub(crate) struct Done {
    pub(crate) end: RunEnd,
    pub(crate) sink: MemorySink,
    pub(crate) progress: Vec<Progress>,
}

impl Done {
    pub(crate) fn measured(&self) -> Vec<&Trial> {
        let mut all: Vec<&Trial> =
            self.sink.trials.iter().filter(|t| t.role == TrialRole::Measured).collect();
        all.sort_by_key(|trial| trial.id);
        all
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(VirtualClock::new())
}

pub(crate) async fn target(backend: &dyn InferenceBackend) -> Target {
    let capabilities: Capabilities = backend.probe().await.expect("a probe").capabilities;
    Target { session: backend.load_named("m").await.expect("a model"), capabilities, threads: 1 }
}

pub(crate) fn simulate(clock: &Arc<dyn Clock>, backend: &dyn InferenceBackend, plan: &LoadPlan) -> Done {
    simulate_until(clock, backend, plan, &Cancel::new(), |_| {})
}

pub(crate) fn simulate_until(
    clock: &Arc<dyn Clock>,
    backend: &dyn InferenceBackend,
    plan: &LoadPlan,
    cancel: &Cancel,
    mut change: impl FnMut(&mut Target),
) -> Done {
    futures_executor::block_on(async {
        let mut target = target(backend).await;
        change(&mut target);
        let (mut sink, mut progress) = (MemorySink::default(), Vec::new());
        let load = LoadRun { plan, target: &target, clock, cancel, options: RunOptions::simulated() };
        let end = run(load, &mut sink, &mut |event| progress.push(event)).await.expect("a run");
        Done { end, sink, progress }
    })
}

/// Counts the streams that are under way, by polling: from the first poll to the last event.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) inner: Arc<dyn Session>,
    pub(crate) counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) now: AtomicU32,
    pub(crate) most: AtomicU32,
    /// Fewest under way when a stream began, once so many had begun.
    pub(crate) begun: AtomicU32,
}

struct Guard(Arc<Counts>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Session for Counting {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }
    fn generate(&self, batch: Batch) -> EventStream {
        let counts = Arc::clone(&self.counts);
        let mut inner = self.inner.generate(batch);
        let mut guard = None;
        Box::pin(futures_util::stream::poll_fn(move |cx| {
            guard.get_or_insert_with(|| {
                let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
                counts.most.fetch_max(now, Ordering::SeqCst);
                counts.begun.fetch_add(1, Ordering::SeqCst);
                Guard(Arc::clone(&counts))
            });
            inner.as_mut().poll_next(cx)
        }))
    }
    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.inner.tokenize(text).await
    }
    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        self.inner.score(tokens).await
    }
    async fn logits(&self, tokens: &[u32]) -> Result<chimera_core::Logits> {
        self.inner.logits(tokens).await
    }
    async fn idle(&self) {
        self.inner.idle().await;
    }
    async fn unload(&self) -> Result<()> {
        self.inner.unload().await
    }
}
