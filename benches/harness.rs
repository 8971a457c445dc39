//! What the harness costs beside the backend's time. Goals: 1 us or less per event, 100 us or less per trial, 20 us or
//! less per reading of the host's counters.
#![expect(missing_docs, reason = "criterion's macros make undocumented items")]
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Batch, Capabilities, Clock, ClockSource, Event, EventKind,
    EventStream, FinishReason, Finished, InferenceBackend, LoadOptions, Logits, ModelInfo, ModelRef, Probe,
    Result, Score, Session, Stamp, SystemClock,
};
use chimera_harness::{
    BlockEnd, BlockRun, Cancel, FoundModel, MemorySink, Missing, Registry, RegistryError, Sink, run_block,
};
use chimera_records::{Design, ModelEntry, Overrides, Plan, RunDir, RunError, TokenStamps, Trial};
use chimera_telemetry::HostProbe;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{StreamExt, stream};

/// A backend that answers at once: whatever time passes is the harness's.
#[derive(Debug)]
struct Instant {
    id: BackendId,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Resident {
    info: ModelInfo,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl InferenceBackend for Instant {
    fn id(&self) -> &BackendId {
        &self.id
    }
    async fn probe(&self) -> Result<Probe> {
        let mut capabilities = Capabilities::default();
        capabilities.token_counts = true;
        capabilities.exact_budget = true;
        capabilities.token_prompts = true;
        capabilities.tokenize = true;
        capabilities.stamps = ClockSource::Engine;
        Ok(Probe { availability: Availability::Ready, capabilities, version: None, details: Vec::new() })
    }
    async fn load(&self, model: &ModelRef, _: &LoadOptions) -> Result<Arc<dyn Session>> {
        Ok(Arc::new(Resident { info: ModelInfo::named(&*model.name), clock: Arc::clone(&self.clock) }))
    }
}

#[async_trait]
impl Session for Resident {
    fn model(&self) -> &ModelInfo {
        &self.info
    }
    fn generate(&self, batch: Batch) -> EventStream {
        let budget = batch.0.first().map_or(0, |request| request.max_tokens);
        let clock = Arc::clone(&self.clock);
        let event = move |kind| Ok(Event { at: clock.now(), lane: 0, kind });
        let last = budget + 2;
        let events = (0..=last).map(move |n| match n {
            0 => event(EventKind::Sent),
            1 => event(EventKind::PromptProcessed { tokens: Some(8), cached: Some(0) }),
            n if n < last => event(EventKind::Chunk { text: "word ".into(), tokens: Some(1), id: Some(n) }),
            _ => event(EventKind::Finished(Finished::new(FinishReason::Length, Some(budget)))),
        });
        stream::iter(events).boxed()
    }
    async fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
        Ok((0..8).collect())
    }
    async fn score(&self, _: &[u32]) -> Result<Score> {
        Err(BackendError::Unsupported { backend: BackendId::new("instant"), what: "scoring".into() })
    }
    async fn logits(&self, _: &[u32]) -> Result<Logits> {
        Err(BackendError::Unsupported { backend: BackendId::new("instant"), what: "logits".into() })
    }
    async fn idle(&self) {}
    async fn unload(&self) -> Result<()> {
        Ok(())
    }
}

struct Only;

impl Registry for Only {
    fn backend(
        &self,
        id: &str,
        clock: Arc<dyn Clock>,
    ) -> std::result::Result<Arc<dyn InferenceBackend>, RegistryError> {
        Ok(Arc::new(Instant { id: BackendId::new(id), clock }))
    }
    fn model(&self, entry: &ModelEntry, _: &str) -> std::result::Result<FoundModel, Missing> {
        Ok(FoundModel::named(entry.source.as_str()))
    }
}

/// Takes records and keeps none.
#[derive(Debug, Default)]
struct Nowhere(usize);

impl Sink for Nowhere {
    fn trial(&mut self, _: &Trial, _: &[TokenStamps]) -> std::result::Result<(), RunError> {
        self.0 += 1;
        Ok(())
    }
    fn finish(&mut self) -> std::result::Result<(), RunError> {
        Ok(())
    }
}

const TRIALS: u64 = 100;

/// One block of a hundred trials, each of about this many tokens.
fn design(tokens: u32) -> String {
    let mut text = format!(
        "schema = 1\nstudy = \"s\"\ntitle = \"t\"\nseed = 1\nblocks = 1\nwarmup.gen = {tokens}\n\
         model = [{{ id = \"m\", source = \"m\", variant = \"f32\", family = \"f\" }}]\n\
         scenario = [{{ id = \"s\", text = \"some prompt\" }}]\n\
         [[grid]]\nid = \"g\"\nbackend = [\"instant\"]\nmodel = [\"m\"]\nscenario = [\"s\"]\ngen = ["
    );
    for n in 0..TRIALS as u32 - 1 {
        write!(text, "{}, ", tokens + n).unwrap();
    }
    text.push(']');
    text
}

fn block(tokens: u32, host: Option<&HostProbe>, sink: &mut dyn Sink) {
    let settings = Design::parse(&design(tokens)).unwrap().resolve(&Overrides::default()).unwrap();
    let plan = Plan::new(&settings).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let run = BlockRun {
        settings: &settings,
        plan: &plan,
        block: &plan.blocks[0],
        attempt: 1,
        done: &BTreeSet::new(),
        threads: 1,
        registry: &Only,
        clock: &clock,
        origin_unix_ms: 0,
        host,
        cancel: &Cancel::new(),
    };
    let end = futures_executor::block_on(run_block(run, sink, &mut |_| {})).unwrap();
    assert_eq!(end, BlockEnd::Done);
}

/// All of a block but its plan, per trial; the backend's own making of events is part of it.
fn trials(c: &mut Criterion) {
    let mut sink = MemorySink::default();
    block(1, None, &mut sink);
    assert!(
        sink.trials.len() as u64 == TRIALS && sink.trials.iter().all(|t| t.outcome.word() == "completed")
    );
    let mut group = c.benchmark_group("trial");
    group.throughput(Throughput::Elements(TRIALS));
    for tokens in [1, 1_000] {
        group.bench_with_input(BenchmarkId::new("tokens", tokens), &tokens, |b, tokens| {
            b.iter(|| block(*tokens, None, &mut Nowhere::default()));
        });
    }
    let host = HostProbe::system();
    group.bench_function("with the host's counters", |b| {
        b.iter(|| block(1, Some(&host), &mut Nowhere::default()));
    });
    group.bench_function("with the host's counters, recorded", |b| {
        let dir = tempfile::tempdir().unwrap();
        let (text, overrides) = (design(1), Overrides::default());
        let (program, record) = Default::default();
        let new = chimera_records::NewRun {
            design: &text,
            overrides: &overrides,
            shard: None,
            program,
            host: record,
        };
        let mut writer = RunDir::create(dir.path(), &new).unwrap().writer().unwrap();
        b.iter(|| block(1, Some(&host), &mut writer));
    });
    group.finish();
}

/// Making the events alone: what to take off the figures above.
fn backend(c: &mut Criterion) {
    let session = Resident { info: ModelInfo::named("m"), clock: Arc::new(SystemClock::new()) };
    let request = chimera_core::Request::tokens([1, 2, 3].as_slice(), 1_000).exact();
    let mut group = c.benchmark_group("backend");
    group.throughput(Throughput::Elements(1_003));
    group.bench_function("1,003 events", |b| {
        b.iter(|| {
            let events = session.generate(Batch::from(request.clone()));
            futures_executor::block_on(events.fold(Stamp(0), |_, event| async move { event.unwrap().at }))
        });
    });
    group.finish();
}

fn host(c: &mut Criterion) {
    let probe = HostProbe::system();
    let mut group = c.benchmark_group("host");
    group.measurement_time(Duration::from_secs(3));
    group.bench_function("snapshot", |b| b.iter(|| probe.snapshot()));
    group.bench_function("calibrate the instrument", |b| b.iter(chimera_harness::calibrate));
    group.finish();
}

criterion_group!(benches, trials, backend, host);
criterion_main!(benches);
