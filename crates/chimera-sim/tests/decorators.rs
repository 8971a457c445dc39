//! What decorators add; that they disturb nothing is judged by the conformance suite.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fmt::Write,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use chimera_core::{
    BackendError, BackendExt, Clock, Event, EventKind, InferenceBackend, Request, Session, SessionExt,
    StreamError,
    decorate::{FaultPlan, Faulty, Limited, Notice, Recorded, Sink, StreamFault, Traced},
};
use chimera_sim::{SimBackend, SimModel, VirtualClock};
use futures_executor::block_on;
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, join, join_all, select},
};

type Item = Result<Event, StreamError>;

fn sim() -> (VirtualClock, SimBackend) {
    let clock = VirtualClock::new();
    let backend = SimBackend::builder().clock(Arc::new(clock.clone())).model(SimModel::new("m")).build();
    (clock, backend)
}

fn ask() -> Request {
    Request::text("hello", 4).exact()
}

async fn all(session: &dyn Session) -> Vec<Item> {
    session.generate(ask().into()).collect().await
}

fn first_and_last(items: &[Item]) -> (u64, u64) {
    let at = |item: Option<&Item>| item.unwrap().as_ref().unwrap().at.0;
    (at(items.first()), at(items.last()))
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

#[test]
fn who_finds_no_place_has_not_sent() {
    let (clock, backend) = sim();
    let limited = Limited::new(backend, one());
    block_on(async {
        let able = limited.probe().await.unwrap().capabilities;
        assert_eq!(able.max_in_flight, Some(1));
        // The limit counts over all sessions.
        let (a, b) = (limited.load_named("m").await.unwrap(), limited.load_named("m").await.unwrap());
        let (first, second) = join(all(&*a), all(&*b)).await;
        let ((_, end), (sent, _)) = (first_and_last(&first), first_and_last(&second));
        assert_eq!(sent, end, "the second is sent when the first has ended");

        // A place is free again when a stream is dropped, begun or waiting.
        let mut held = a.generate(ask().into());
        held.next().await.unwrap().unwrap();
        let mut waiting = b.generate(ask().into());
        let mut lost = b.generate(ask().into());
        assert!(waiting.next().now_or_never().is_none() && lost.next().now_or_never().is_none());
        drop(lost);
        drop(held);
        let sent = waiting.next().await.unwrap().unwrap();
        assert_eq!((sent.kind, sent.at), (EventKind::Sent, clock.now()));
        // Its end alone frees it, though it is still held.
        while waiting.next().await.is_some() {}
        assert_eq!(all(&*a).await.len(), 7);
        assert!(waiting.next().await.is_none());
    });
}

#[test]
fn two_places_carry_two() {
    let (_, backend) = sim();
    let limited = Limited::new(backend, NonZeroUsize::new(2).unwrap());
    block_on(async {
        let session = limited.load_named("m").await.unwrap();
        let spans: Vec<_> = join_all((0..6).map(|_| all(&*session)))
            .await
            .iter()
            .map(|items| first_and_last(items))
            .collect();
        for (start, _) in &spans {
            let running = spans.iter().filter(|(s, e)| s <= start && start < e).count();
            assert!(running <= 2, "{running} at {start}: {spans:?}");
        }
        let began = spans.iter().map(|span| span.0).min();
        assert_eq!(spans.iter().filter(|span| Some(span.0) == began).count(), 2);
    });
}

#[derive(Debug, Default)]
struct Log(Mutex<String>);

impl Sink for Log {
    fn take(&self, notice: Notice<'_>) {
        let mut log = self.0.lock().unwrap();
        match notice {
            Notice::Loaded { model, outcome } => {
                write!(log, "load {model} {}; ", outcome.map_or_else(|e| e.code(), |_| "ok"))
            }
            Notice::Asked { generation, batch } => write!(log, "{generation} asks {}; ", batch.0.len()),
            Notice::Item { generation, item } => match item {
                Ok(event) => write!(log, "{generation} at {}; ", event.at.0),
                Err(error) => write!(log, "{generation} {}; ", error.error.code()),
            },
            Notice::Ended { generation, drained } => write!(log, "{generation} drained {drained}; "),
            Notice::Unloaded { outcome } => write!(log, "unload {}; ", outcome.is_ok()),
            _ => Ok(()),
        }
        .unwrap();
    }
}

#[test]
fn a_record_is_what_the_caller_saw() {
    let (_, backend) = sim();
    let log = Arc::new(Log::default());
    let recorded = Recorded::new(backend, Arc::clone(&log) as Arc<dyn Sink>);
    let expected = block_on(async {
        let mut expected = String::from("load none model-not-found; load m ok; 0 asks 1; ");
        recorded.load_named("none").await.unwrap_err();
        let session = recorded.load_named("m").await.unwrap();
        for item in all(&*session).await {
            write!(expected, "0 at {}; ", item.unwrap().at.0).unwrap();
        }
        let mut cut = session.generate(ask().into());
        let sent = cut.next().await.unwrap().unwrap().at.0;
        drop(cut);
        session.unload().await.unwrap();
        session.run(ask()).await.unwrap_err();
        write!(expected, "0 drained true; 1 asks 1; 1 at {sent}; 1 drained false; unload true; ").unwrap();
        // `run` stops reading at the error.
        expected.push_str("2 asks 1; 2 closed; 2 drained false; ");
        expected
    });
    assert_eq!(*log.0.lock().unwrap(), expected);
}

#[test]
fn faults_come_as_planned_and_nowhere_else() {
    let (clock, backend) = sim();
    let failed = |id: &_| BackendError::failed(id, "planned");
    let plan = FaultPlan::none()
        .load(1, |id| BackendError::OutOfMemory { backend: id.clone(), reason: "planned".into() })
        .generation(1, StreamFault::Error { at: 3, error: failed })
        .generation(2, StreamFault::Truncate { at: 0 })
        .generation(3, StreamFault::Truncate { at: 5 })
        .generation(4, StreamFault::Stall { at: 2 })
        .generation(5, StreamFault::Error { at: 7, error: failed })
        .generation(6, StreamFault::Error { at: 0, error: failed });
    let faulty = Faulty::new(backend, plan);
    block_on(async {
        let session = faulty.load_named("m").await.unwrap();
        assert_eq!(faulty.load_named("m").await.unwrap_err().code(), "out-of-memory");
        let other = faulty.load_named("m").await.unwrap();

        let whole = all(&*session).await;
        assert_eq!(whole.len(), 7);
        let errors = |items: &[Item]| -> Vec<_> {
            items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| item.as_ref().err().map(|e| (i, e.error.code())))
                .collect()
        };
        let broken = all(&*session).await;
        assert_eq!((broken.len(), errors(&broken)), (4, vec![(3, "failed")]));
        // The error has the stamp of the event in whose place it stands.
        let third = |items: &[Item]| match items.get(3) {
            Some(Ok(event)) => event.at,
            Some(Err(error)) => error.at,
            None => panic!("too short"),
        };
        let (from, to) = (first_and_last(&whole).0, first_and_last(&broken[..1]).0);
        assert_eq!(third(&whole).0 - from, third(&broken).0 - to);

        // Generations count over all sessions.
        assert_eq!(all(&*other).await.len(), 0);
        let cut = all(&*session).await;
        assert_eq!((cut.len(), errors(&cut)), (5, vec![]));
        let mut stalled = session.generate(ask().into());
        for _ in 0..2 {
            stalled.next().await.unwrap().unwrap();
        }
        let patience = clock.sleep_until(clock.now().after(Duration::from_secs(60)));
        assert!(matches!(select(stalled.next(), patience).await, Either::Right(_)));
        drop(stalled);
        session.idle().await;

        // A fault beyond the end does nothing.
        assert_eq!(errors(&all(&*session).await), []);
        assert_eq!(errors(&all(&*session).await), [(0, "failed")]);
        assert_eq!(errors(&all(&*session).await), []);
    });
}

/// Collects the names of spans and the messages of events.
#[derive(Debug, Default, Clone)]
struct Collector(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Collector {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut log = self.0.lock().unwrap();
        log.push(attributes.metadata().name().to_owned());
        tracing::span::Id::from_u64(log.len() as u64)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(format!("- {}", message.0));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_trace_tells_what_happened() {
    let (_, backend) = sim();
    let traced = Traced::new(backend);
    let collector = Collector::default();
    tracing::subscriber::with_default(collector.clone(), || {
        block_on(async {
            let session = traced.load_named("m").await.unwrap();
            traced.load_named("none").await.unwrap_err();
            session.run(Request::text("x", 1).exact()).await.unwrap();
            drop(session.generate(ask().into()));
            session.unload().await.unwrap();
            session.run(ask()).await.unwrap_err();
            let plan = FaultPlan::none().generation(0, StreamFault::Truncate { at: 1 });
            let session = Traced::new(Faulty::new(sim().1, plan)).load_named("m").await.unwrap();
            session.run(ask()).await.unwrap_err();
            let mut cut = session.generate(ask().into());
            cut.next().await.unwrap().unwrap();
        });
    });
    let log = collector.0.lock().unwrap().join(" ");
    assert_eq!(
        log,
        "load load - failed generate - sent - prompt processed - chunk - finished generate - dropped \
         unload generate - failed \
         load generate - sent - ended without a terminal event generate - sent - dropped"
    );
}
