//! Without noise every event is exactly where its law puts it; with noise the seed says where.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use chimera_core::{
    BackendError, BackendExt, Batch, Capabilities, Clock, Event, EventKind, FinishReason, InferenceBackend,
    LoadOptions, ModelRef, Phase, Request, Session, SessionExt, Stamp, StreamError,
};
use chimera_sim::{Fault, Laws, LoadFault, Noise, SimBackend, SimBuilder, SimModel, VirtualClock};
use futures_executor::block_on;
use futures_util::{StreamExt, future::join_all};

type Item = Result<Event, StreamError>;

fn sim(clock: &VirtualClock, laws: Laws) -> SimBuilder {
    SimBackend::builder().clock(Arc::new(clock.clone())).model(SimModel::new("m").laws(laws))
}

async fn all(session: &dyn Session, batch: impl Into<Batch>) -> Vec<Item> {
    session.generate(batch.into()).collect().await
}

fn at(items: &[Item], wanted: fn(&EventKind) -> bool) -> Vec<u64> {
    items.iter().flatten().filter(|event| wanted(&event.kind)).map(|event| event.at.0).collect()
}

fn sent(kind: &EventKind) -> bool {
    *kind == EventKind::Sent
}
fn prompt(kind: &EventKind) -> bool {
    matches!(kind, EventKind::PromptProcessed { .. })
}
fn chunk(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Chunk { .. })
}
fn finished(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Finished(_))
}

fn laws() -> Laws {
    let micros = Duration::from_micros;
    let mut laws = Laws::default()
        .load(micros(7_000))
        .queue(micros(30))
        .prefill(micros(200), micros(11))
        .decode(micros(900), Duration::from_nanos(170))
        .first_use(micros(5_000), micros(600), micros(80));
    laws.prefill_per_token_squared_ns = 3.0;
    laws
}

#[test]
fn events_are_where_the_closed_form_puts_them() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws()).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        // The first load of a process pays for it, the second does not.
        assert_eq!(clock.now(), Stamp(12_000_000));
        backend.load_named("m").await.unwrap();
        assert_eq!(clock.now(), Stamp(19_000_000));

        // First use of the model and of the shape, then of the shape alone, then none.
        for (tokens, first_use) in [(100_u32, 680_000), (50, 80_000), (100, 0)] {
            let began = clock.now().0;
            let items = all(&*session, Request::tokens(vec![65; tokens as usize], 20).exact()).await;
            let n = u64::from(tokens);
            let logits = began + 30_000 + 200_000 + 11_000 * n + 3 * n * n + first_use;
            assert_eq!(at(&items, sent), [began]);
            assert_eq!(at(&items, prompt), [logits]);
            let chunks = at(&items, chunk);
            assert_eq!(chunks.len(), 20);
            for (i, stamp) in (0..20_u64).zip(&chunks) {
                // i steps with contexts n + 1 to n + i.
                let decode = 900_000 * i + 170 * (i * n + i * (i + 1) / 2);
                assert_eq!(*stamp, logits + decode, "token {i} after {tokens}");
                let law = laws().decode_ns(tokens, u32::try_from(i).unwrap() + 1);
                assert_eq!(law, decode as f64);
            }
            assert_eq!(at(&items, finished), chunks[19..]);
            let Some(Ok(Event { kind: EventKind::Finished(end), .. })) = items.last() else { panic!() };
            let of = |phase| end.timings.iter().find(|t| t.phase == phase).map(|t| t.nanos);
            assert_eq!(of(Phase::Queue), Some(30_000));
            assert_eq!(of(Phase::Prefill), Some(logits - began - 30_000));
            assert_eq!(of(Phase::Decode), Some(chunks[19] - logits));
            assert_eq!(of(Phase::Total), Some(chunks[19] - began));
            assert_eq!((of(Phase::Load), of(Phase::Tokenize)), (None, None));
        }
    });
}

#[test]
fn lanes_share_a_step_and_leave_it_when_they_end() {
    let clock = VirtualClock::new();
    let mut laws = Laws::default().prefill(Duration::ZERO, Duration::from_micros(10));
    laws.decode_fixed_ns = 1_000.0;
    laws.decode_per_context_ns = 0.0;
    laws.batch_factor = 0.5;
    let backend = sim(&clock, laws).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let began = clock.now().0;
        let lane = |tokens: usize, budget| Request::tokens(vec![65; tokens], budget).exact();
        let items = all(&*session, Batch(vec![lane(4, 2), lane(10, 4), lane(7, 1)])).await;
        // Padded to the longest of three lanes; then steps of two lanes, then of one.
        let logits = began + 2 * 10 * 10_000;
        assert_eq!(at(&items, prompt), [logits; 3]);
        let of = |lane| -> Vec<u64> {
            let own = items.iter().flatten().filter(|e| e.lane == lane && chunk(&e.kind));
            own.map(|e| e.at.0 - logits).collect()
        };
        assert_eq!(of(0), [0, 1_500]);
        assert_eq!(of(1), [0, 1_500, 2_500, 3_500]);
        assert_eq!(of(2), [0]);
    });
}

#[test]
fn a_slow_reader_sees_true_stamps_late() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws()).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let mut stream = session.generate(Request::text("abc", 3).exact().into());
        let began = stream.next().await.unwrap().unwrap().at;
        clock.sleep_until(began.after(Duration::from_secs(1))).await;
        let logits = stream.next().await.unwrap().unwrap().at;
        assert_eq!(logits - began, 30_000 + 200_000 + 33_000 + 27 + 680_000);
    });
}

#[test]
fn who_finds_no_place_waits_in_turn() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws().first_use(Duration::ZERO, Duration::ZERO, Duration::ZERO))
        .capabilities(|able| able.max_in_flight = Some(2))
        .build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let began = clock.now().0;
        let ask = || Request::tokens(vec![65; 10], 5).exact();
        let all = join_all((0..5).map(|_| all(&*session, ask()))).await;
        let work = 30_000 + 200_000 + 110_000 + 300 + laws().decode_ns(10, 5) as u64;
        for (index, items) in all.iter().enumerate() {
            // Two at once, so rounds of two.
            let round = index as u64 / 2;
            assert_eq!(at(items, sent), [began]);
            assert_eq!(at(items, finished), [began + work * (round + 1)], "generation {index}");
            let Some(Ok(Event { kind: EventKind::Finished(end), .. })) = items.last() else { panic!() };
            let queue = end.timings.iter().find(|t| t.phase == Phase::Queue).unwrap().nanos;
            assert_eq!(queue, 30_000 + work * round);
        }
    });
}

#[test]
fn a_cancel_ends_with_its_step_or_chunk() {
    let clock = VirtualClock::new();
    let laws = Laws::default()
        .prefill(Duration::ZERO, Duration::from_micros(10))
        .decode(Duration::from_millis(1), Duration::ZERO);
    let backend = sim(&clock, laws).capabilities(|able| able.prefill_chunk = Some(32)).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let ask = || Request::tokens(vec![65; 100], 50).exact();
        // In the middle of the second chunk of the prefill: 64 tokens are read.
        let mut stream = session.generate(ask().into());
        let began = stream.next().await.unwrap().unwrap().at;
        clock.sleep_until(began.after(Duration::from_micros(400))).await;
        drop(stream);
        session.idle().await;
        assert_eq!(clock.now() - began, 640_000);
        // After the third token: its successor is still made.
        let mut stream = session.generate(ask().into());
        let mut last = Stamp(0);
        for _ in 0..5 {
            last = stream.next().await.unwrap().unwrap().at;
        }
        drop(stream);
        session.idle().await;
        assert_eq!(clock.now() - last, 1_000_000);
        // Nobody works: idle at once.
        let now = clock.now();
        session.idle().await;
        assert_eq!(clock.now(), now);
    });
}

#[test]
fn the_end_of_sequence_comes_where_it_is_planned() {
    let clock = VirtualClock::new();
    let backend = SimBackend::builder()
        .clock(Arc::new(clock.clone()))
        .model(SimModel::new("m").eos_after(5))
        .model(SimModel::new("silent").eos_after(0))
        .build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let run = |request: Request| session.run(request);
        let stopped = run(Request::text("x", 9)).await.unwrap();
        assert_eq!((stopped.reason, stopped.generated), (FinishReason::Stop, Some(5)));
        let cut = run(Request::text("x", 5)).await.unwrap();
        assert_eq!((cut.reason, cut.generated), (FinishReason::Length, Some(5)));
        let exact = run(Request::text("x", 9).exact()).await.unwrap();
        assert_eq!((exact.reason, exact.generated), (FinishReason::Length, Some(9)));
        let silent = backend.load_named("silent").await.unwrap();
        let nothing = silent.run(Request::text("x", 9)).await.unwrap();
        assert_eq!((nothing.reason, nothing.generated, &*nothing.text), (FinishReason::Stop, Some(0), ""));
    });
}

#[test]
fn a_prompt_cache_skips_what_is_known() {
    let clock = VirtualClock::new();
    let laws = Laws::default().prefill(Duration::ZERO, Duration::from_micros(10));
    let backend = sim(&clock, laws).prompt_cache(true).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        for (prompt, read) in [("abcdefgh", 8), ("abcdefgh", 1), ("abcdWXYZ", 4), ("other", 5)] {
            let items = all(&*session, Request::text(prompt, 0)).await;
            let (sent, logits) = (at(&items, sent)[0], at(&items, self::prompt)[0]);
            assert_eq!(logits - sent, read * 10_000, "{prompt}");
            let Some(Ok(Event { kind: EventKind::PromptProcessed { tokens, cached }, .. })) = items.get(1)
            else {
                panic!()
            };
            assert_eq!(tokens.unwrap() - cached.unwrap(), u32::try_from(read).unwrap());
        }
    });
}

#[test]
fn faults_are_of_their_kind() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws())
        .fault(0, Fault::OutOfMemory)
        .fault(1, Fault::ErrorAfter(2))
        .fault(2, Fault::TruncateAfter(3))
        .fault(3, Fault::StallAfter(1))
        .model(SimModel::new("big").load_fault(LoadFault::OutOfMemory))
        .model(SimModel::new("damaged").load_fault(LoadFault::Invalid))
        .model(SimModel::new("narrow").memory_tokens(100))
        .build();
    block_on(async {
        let code = |error: BackendError| error.code();
        assert_eq!(code(backend.load_named("none").await.unwrap_err()), "model-not-found");
        assert_eq!(code(backend.load_named("big").await.unwrap_err()), "out-of-memory");
        assert_eq!(code(backend.load_named("damaged").await.unwrap_err()), "model-invalid");

        let session = backend.load_named("m").await.unwrap();
        let ask = || Request::text("abc", 8).exact();
        let ends = |items: &[Item]| {
            (at(items, chunk).len(), items.last().map(|item| item.as_ref().err().map(|e| e.error.code())))
        };
        assert_eq!(ends(&all(&*session, ask()).await), (0, Some(Some("out-of-memory"))));
        assert_eq!(ends(&all(&*session, ask()).await), (2, Some(Some("failed"))));
        let cut = all(&*session, ask()).await;
        assert_eq!(ends(&cut), (3, Some(None)));
        assert!(at(&cut, finished).is_empty());
        let mut stalled = session.generate(ask().into());
        for _ in 0..3 {
            stalled.next().await.unwrap().unwrap();
        }
        let patience = clock.sleep_until(clock.now().after(Duration::from_secs(9)));
        let first = futures_util::future::select(stalled.next(), patience).await;
        assert!(matches!(first, futures_util::future::Either::Right(_)));
        drop(first);
        drop(stalled);
        session.idle().await;
        assert_eq!(ends(&all(&*session, ask()).await), (8, Some(None)));

        let narrow = backend.load_named("narrow").await.unwrap();
        let long = all(&*narrow, Request::text("abc", 98)).await;
        assert_eq!(ends(&long), (0, Some(Some("out-of-memory"))));
        assert_eq!(ends(&all(&*narrow, Request::text("abc", 97).exact()).await).0, 97);
    });
}

#[test]
fn a_context_is_a_limit() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws()).build();
    block_on(async {
        let mut options = LoadOptions::default();
        options.context = Some(20);
        let session = backend.load(&ModelRef::named("m"), &options).await.unwrap();
        assert_eq!(session.model().context, Some(20));
        let code = |prompt: usize, budget| {
            let session = Arc::clone(&session);
            async move {
                let outcome = session.run(Request::tokens(vec![65; prompt], budget).exact()).await;
                outcome.map_err(|error| error.error.code()).map(|_| ())
            }
        };
        assert_eq!(code(10, 10).await, Ok(()));
        assert_eq!(code(10, 11).await, Err("invalid-request"));
        assert_eq!(code(0, 1).await, Err("invalid-request"));
        options.context = Some(1 << 20);
        let error = backend.load(&ModelRef::named("m"), &options).await.unwrap_err();
        assert_eq!(error.code(), "invalid-request");
    });
}

#[test]
fn scores_follow_zipf() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws()).model(SimModel::new("uniform").zipf(0.0)).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let harmonic: f64 = (1..=257).map(|rank| 1.0 / f64::from(rank)).sum();
        let logits = session.logits(&[7, 0, 65]).await.unwrap();
        assert_eq!((logits.rows(), logits.vocabulary, logits.row(3)), (3, 257, None));
        let score = session.score(&[7, 0, 65, 9]).await.unwrap();
        for (position, next) in [0_usize, 65, 9].into_iter().enumerate() {
            let row = logits.row(position).unwrap();
            let p: Vec<f64> = row.iter().map(|&logit| f64::from(logit).exp() / harmonic).collect();
            assert!(
                (p.iter().sum::<f64>() - 1.0).abs() < 1e-5,
                "probabilities sum to {}",
                p.iter().sum::<f64>()
            );
            assert!((f64::from(score.log_probabilities[position]) - p[next].ln()).abs() < 1e-5);
            // Zipf's law, whichever token is the likeliest.
            let mut sorted = p;
            sorted.sort_by(|a, b| b.total_cmp(a));
            for (rank, p) in (1..=257).zip(sorted) {
                assert!((p * harmonic * f64::from(rank) - 1.0).abs() < 1e-4, "rank {rank} has {p}");
            }
        }
        let uniform = backend.load_named("uniform").await.unwrap();
        let perplexity = uniform.score(&[1, 2, 3]).await.unwrap().perplexity().unwrap();
        assert!((perplexity - 257.0).abs() < 1e-3, "{perplexity}");
        assert_eq!(session.score(&[1, 257]).await.unwrap_err().code(), "invalid-request");
    });
}

/// All stamps of a few generations under noise.
fn noisy(seed: u64, block: u64) -> Vec<u64> {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws()).noise(Noise::new(0.1, 0.1, 0.1)).seed(seed).block(block).build();
    block_on(async {
        let session = backend.load_named("m").await.unwrap();
        let ask = || Request::text("hello", 9).exact();
        let rounds = join_all((0..6).map(|_| all(&*session, ask()))).await;
        rounds.iter().flatten().flatten().map(|event| event.at.0).collect()
    })
}

#[test]
fn a_seed_and_a_block_decide_every_stamp() {
    let first = noisy(1, 0);
    assert_eq!(first, noisy(1, 0));
    assert_ne!(first, noisy(2, 0));
    assert_ne!(first, noisy(1, 1));
}

#[test]
fn step_noise_has_the_moments_it_declares() {
    let clock = VirtualClock::new();
    let laws = Laws::default().decode(Duration::from_millis(1), Duration::ZERO);
    let model = SimModel::new("m").laws(laws).info(|info| info.context = Some(100_000));
    let backend = SimBackend::builder()
        .clock(Arc::new(clock.clone()))
        .model(model)
        .noise(Noise::new(0.0, 0.0, 0.2))
        .seed(11)
        .build();
    let stamps = block_on(async {
        let session = backend.load_named("m").await.unwrap();
        at(&all(&*session, Request::text("x", 50_000).exact()).await, chunk)
    });
    let logs: Vec<f64> = stamps.windows(2).map(|w| ((w[1] - w[0]) as f64 / 1e6).ln()).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let deviation = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    assert!(mean.abs() < 4.0 * 0.2 / n.sqrt(), "{mean}");
    assert!((deviation - 0.2).abs() < 4.0 * 0.2 / (2.0 * n).sqrt(), "{deviation}");
    // Steps are independent of each other.
    let lagged = logs.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / n;
    assert!((lagged / deviation.powi(2)).abs() < 4.0 / n.sqrt(), "{lagged}");
}

#[test]
fn what_is_not_declared_is_not_told() {
    let clock = VirtualClock::new();
    let backend = sim(&clock, laws()).modest().build();
    block_on(async {
        let able = backend.probe().await.unwrap().capabilities;
        let mut least = Capabilities::default();
        least.stamps = able.stamps;
        assert_eq!(able, least);
        let session = backend.load_named("m").await.unwrap();
        for event in all(&*session, Request::text("abc", 4)).await.into_iter().flatten() {
            match event.kind {
                EventKind::Chunk { tokens, id, .. } => assert_eq!((tokens, id), (None, None)),
                EventKind::PromptProcessed { tokens, cached } => assert_eq!((tokens, cached), (None, None)),
                EventKind::Finished(end) => assert!(end.generated.is_none() && end.timings.is_empty()),
                _ => {}
            }
        }
    });
}
