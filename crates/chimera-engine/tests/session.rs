//! The worker, the decode loop and the stream on a scripted model: what an engine's tests cannot provoke.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    any::Any,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chimera_core::{
    BackendError, BackendId, Batch, EventKind, FinishReason, Law, ModelInfo, Phase, Request, Sampling,
    Session, SessionExt, SystemClock,
};
use chimera_engine::{EngineError, EngineSession, KvCache, LanguageModel, Logits, Tokenizer, Wanted};
use futures_executor::block_on;
use futures_util::{FutureExt, StreamExt};

const VOCABULARY: usize = 256;
const END: u32 = 255;

/// The next token is the last one plus one; 254 is followed by the end. A panic, an error or a pause can be asked for
/// by a token. Every call is noted.
struct Counting {
    info: ModelInfo,
    calls: Arc<Mutex<Vec<(usize, Wanted)>>>,
    dropped: Arc<AtomicUsize>,
    dirty_cache: bool,
}

const PANIC: u32 = 200;
const ERROR: u32 = 201;
const NAN: u32 = 202;
const SLOW: u32 = 100;

struct Positions {
    lanes: usize,
    length: usize,
}
impl KvCache for Positions {
    fn len(&self) -> usize {
        self.length
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl LanguageModel for Counting {
    fn info(&self) -> &ModelInfo {
        &self.info
    }
    fn tokenizer(&self) -> Result<Arc<Tokenizer>, String> {
        Tokenizer::bytes_only(VOCABULARY).map(Arc::new).map_err(|e| e.to_string())
    }
    fn end_of_sequence(&self) -> &[u32] {
        &[END]
    }
    fn vocabulary(&self) -> usize {
        VOCABULARY
    }
    fn context(&self) -> usize {
        128
    }
    fn max_batch(&self) -> usize {
        3
    }
    fn prefill_chunk(&self) -> usize {
        4
    }
    fn start(&mut self, padding: &[usize], _capacity: usize) -> Result<Box<dyn KvCache>, EngineError> {
        Ok(Box::new(Positions { lanes: padding.len(), length: usize::from(self.dirty_cache) }))
    }
    fn forward(
        &mut self,
        cache: &mut dyn KvCache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, EngineError> {
        let cache: &mut dyn Any = cache;
        let cache = cache.downcast_mut::<Positions>().unwrap();
        let count = tokens.len() / cache.lanes;
        cache.length += count;
        self.calls.lock().unwrap().push((count, wanted));
        if tokens.contains(&SLOW) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!tokens.contains(&PANIC), "a token asked for it");
        if tokens.contains(&ERROR) {
            return Err(EngineError::OutOfMemory("a token asked for it".into()));
        }
        let mut values = Vec::new();
        for lane in tokens.chunks(count) {
            let rows = match wanted {
                Wanted::None => &[],
                Wanted::Last => &lane[count - 1..],
                Wanted::All => lane,
            };
            for &token in rows {
                let mut row = vec![if token == NAN { f32::NAN } else { 0.0 }; VOCABULARY];
                if token != NAN {
                    row[(token as usize + 1) % VOCABULARY] = 10.0;
                }
                values.extend(row);
            }
        }
        if wanted == Wanted::None { Ok(Logits::none()) } else { Logits::new(values, VOCABULARY) }
    }
}

struct Rig {
    session: EngineSession,
    calls: Arc<Mutex<Vec<(usize, Wanted)>>>,
    dropped: Arc<AtomicUsize>,
}

fn rig_with(dirty_cache: bool) -> Rig {
    let (calls, dropped) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let model = Counting {
        info: ModelInfo::named("counting"),
        calls: Arc::clone(&calls),
        dropped: Arc::clone(&dropped),
        dirty_cache,
    };
    let start = EngineSession::start(BackendId::new("test"), Arc::new(SystemClock::new()), move || {
        Ok(Box::new(model) as Box<dyn LanguageModel>)
    });
    Rig { session: block_on(start).unwrap(), calls, dropped }
}

fn rig() -> Rig {
    rig_with(false)
}

fn code(session: &EngineSession, request: Request) -> &'static str {
    block_on(session.run(request)).unwrap_err().error.code()
}

#[test]
fn budgets_ends_and_reasons() {
    let rig = rig();
    let run = |request| block_on(rig.session.run(request)).unwrap();
    let answer = run(Request::tokens(vec![1, 2], 3));
    assert_eq!((answer.ids.unwrap(), answer.reason), (vec![3, 4, 5], FinishReason::Length));
    // The end of the sequence is neither a chunk nor counted.
    let answer = run(Request::tokens(vec![252], 9));
    assert_eq!(
        (answer.ids.unwrap(), answer.reason, answer.generated),
        (vec![253, 254], FinishReason::Stop, Some(2))
    );
    let answer = run(Request::tokens(vec![252], 6).exact());
    assert_eq!((answer.ids.unwrap(), answer.reason), (vec![253, 254, 255, 0, 1, 2], FinishReason::Length));
    let answer = run(Request::tokens(vec![252], 0));
    assert_eq!((answer.ids.unwrap(), answer.generated), (vec![], Some(0)));
    // Five prompt tokens in chunks of four, then one step less than there are tokens.
    rig.calls.lock().unwrap().clear();
    run(Request::tokens(vec![1; 5], 3));
    assert_eq!(
        *rig.calls.lock().unwrap(),
        [(4, Wanted::None), (1, Wanted::Last), (1, Wanted::Last), (1, Wanted::Last)]
    );
}

#[test]
fn lanes_of_a_batch_follow_the_law_and_do_not_meet() {
    let rig = rig();
    let requests = vec![
        Request::tokens(vec![10], 6),
        Request::tokens(vec![1, 2, 3, 4, 5, 6, 20], 2),
        Request::tokens(vec![9, 253], 50),
    ];
    let events: Vec<_> = block_on(rig.session.generate(Batch(requests)).collect());
    let mut law = Law::new(3);
    events.iter().for_each(|event| law.see(event).unwrap());
    law.end().unwrap();
    let mut ids = vec![Vec::new(); 3];
    for event in events.into_iter().map(Result::unwrap) {
        match event.kind {
            EventKind::Chunk { id, .. } => ids[event.lane as usize].push(id.unwrap()),
            EventKind::PromptProcessed { tokens, cached } => {
                assert_eq!((tokens, cached), (Some([1, 7, 2][event.lane as usize]), Some(0)));
            }
            EventKind::Finished(end) => {
                let phases: Vec<Phase> = end.timings.iter().map(|t| t.phase).collect();
                assert_eq!(phases, [Phase::Queue, Phase::Prefill, Phase::Decode]);
            }
            _ => {}
        }
    }
    assert_eq!(ids, [vec![11, 12, 13, 14, 15, 16], vec![21, 22], vec![254]]);
}

#[test]
fn characters_arrive_whole() {
    // U+00C3 begins with byte C2, which is followed by C3 here: C2 C3 is no character, C3 C4 neither.
    let rig = rig();
    let mut texts = Vec::new();
    let mut events = rig.session.generate(Request::tokens(vec![0xC1], 3).into());
    while let Some(event) = block_on(events.next()) {
        if let EventKind::Chunk { text, .. } = event.unwrap().kind {
            texts.push(text);
        }
    }
    assert_eq!(texts, ["", "\u{FFFD}", "\u{FFFD}"]);
    let text = block_on(rig.session.run(Request::text("`", 3))).unwrap().text;
    assert_eq!(text, "abc");
}

#[test]
fn what_cannot_run_is_refused_before_any_work() {
    let rig = rig();
    let session = &rig.session;
    assert_eq!(code(session, Request::tokens(vec![], 1)), "invalid-request");
    assert_eq!(code(session, Request::tokens(vec![256], 1)), "invalid-request");
    assert_eq!(code(session, Request::tokens(vec![1; 100], 29)), "invalid-request");
    let hot = Sampling { temperature: -1.0, ..Sampling::default() };
    assert_eq!(code(session, Request::tokens(vec![1], 1).sampling(hot)), "invalid-request");
    let chat = chimera_core::Prompt::Chat(Arc::new([]));
    assert_eq!(code(session, Request::new(chat, 1)), "unsupported");
    for lanes in [0, 4] {
        let batch = Batch(vec![Request::tokens(vec![1], 1); lanes]);
        let events: Vec<_> = block_on(session.generate(batch).collect());
        assert!(matches!(&events[..], [Err(e)] if e.error.code() == "invalid-request"), "{events:?}");
    }
    assert!(rig.calls.lock().unwrap().is_empty());
}

#[test]
fn errors_and_numbers_that_are_none_end_a_stream_and_nothing_more() {
    let rig = rig();
    assert_eq!(code(&rig.session, Request::tokens(vec![ERROR], 1)), "out-of-memory");
    assert_eq!(code(&rig.session, Request::tokens(vec![NAN], 1)), "failed");
    assert!(block_on(rig.session.run(Request::tokens(vec![1], 1))).is_ok());
    assert_eq!(code(&rig_with(true).session, Request::tokens(vec![1], 1)), "protocol");
}

#[test]
fn a_panic_becomes_an_error_and_the_model_is_not_used_again() {
    let rig = rig();
    let failed = block_on(rig.session.run(Request::tokens(vec![PANIC], 1))).unwrap_err();
    assert!(failed.error.to_string().contains("a token asked for it"), "{failed}");
    assert_eq!(code(&rig.session, Request::tokens(vec![1], 1)), "failed");
    assert_eq!(block_on(rig.session.score(&[1, 2])).unwrap_err().code(), "failed");
    block_on(rig.session.idle());
    block_on(rig.session.unload()).unwrap();
    assert_eq!(rig.dropped.load(Ordering::SeqCst), 1);
    assert_eq!(code(&rig.session, Request::tokens(vec![1], 1)), "closed");

    let start = EngineSession::start(BackendId::new("test"), Arc::new(SystemClock::new()), || {
        panic!("while loading")
    });
    assert!(block_on(start).unwrap_err().to_string().contains("while loading"));
    let start = EngineSession::start(BackendId::new("test"), Arc::new(SystemClock::new()), || {
        Err(BackendError::OutOfMemory { backend: BackendId::new("test"), reason: "small".into() })
    });
    assert_eq!(block_on(start).unwrap_err().code(), "out-of-memory");
}

#[test]
fn a_dropped_stream_stops_and_the_session_is_idle_soon() {
    let rig = rig();
    // The prompt's last token is slow, and is read again only in the first chunk; tokens above 100 are quick.
    let mut stream = rig.session.generate(Request::tokens(vec![SLOW; 120], 0).into());
    assert!(matches!(block_on(stream.next()).unwrap().unwrap().kind, EventKind::Sent));
    drop(stream);
    block_on(rig.session.idle());
    let calls = rig.calls.lock().unwrap().len();
    assert!(calls <= 3, "{calls} chunks of 30 were read after the drop");
    // What was never polled never ran.
    drop(rig.session.generate(Request::tokens(vec![1], 1).into()));
    block_on(rig.session.idle());
    assert_eq!(rig.calls.lock().unwrap().len(), calls);
}

#[test]
fn unloading_ends_what_runs_and_frees_the_model() {
    let rig = rig();
    let mut stream = rig.session.generate(Request::tokens(vec![SLOW; 120], 0).into());
    block_on(stream.next()).unwrap().unwrap();
    let mut queued = rig.session.generate(Request::tokens(vec![1], 1).into());
    assert!(queued.next().now_or_never().is_none(), "it waits for the first");
    block_on(rig.session.unload()).unwrap();
    assert_eq!(rig.dropped.load(Ordering::SeqCst), 1);
    for mut stream in [stream, queued] {
        let error = loop {
            match block_on(stream.next()).unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.error.code(), "closed");
        assert!(block_on(stream.next()).is_none());
    }
    block_on(rig.session.unload()).unwrap();
    block_on(rig.session.idle());
    assert_eq!(block_on(rig.session.score(&[1, 2])).unwrap_err().code(), "closed");

    let rig = self::rig();
    let dropped = Arc::clone(&rig.dropped);
    drop(rig);
    let begin = std::time::Instant::now();
    while dropped.load(Ordering::SeqCst) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(5), "the model outlives its session");
        std::thread::yield_now();
    }
}

#[test]
fn scores_are_log_probabilities() {
    let rig = rig();
    // The successor has logit 10 among 255 zeros.
    let right = (10f64.exp() / (10f64.exp() + 255.0)).ln();
    let wrong = (1.0 / (10f64.exp() + 255.0)).ln();
    let score = block_on(rig.session.score(&[1, 2, 3, 4, 5, 6, 9])).unwrap().log_probabilities;
    assert_eq!(score.len(), 6);
    for p in &score[..5] {
        assert!((f64::from(*p) - right).abs() < 1e-6, "{p}");
    }
    assert!((f64::from(score[5]) - wrong).abs() < 1e-5, "{}", score[5]);
    let calls: Vec<_> = rig.calls.lock().unwrap().iter().map(|c| c.0).collect();
    assert_eq!(calls, [4, 2]);
}

#[test]
fn a_seed_gives_its_tokens_again() {
    let rig = rig();
    let hot = Sampling { temperature: 3.0, top_k: Some(40), ..Sampling::default() };
    let run = |seed| {
        let request = Request::tokens(vec![7], 40).exact().sampling(hot).seed(seed);
        block_on(rig.session.run(request)).unwrap().ids.unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn logits_come_in_chunks_and_a_dropped_reading_stops() {
    let rig = rig();
    let calls = || std::mem::take(&mut *rig.calls.lock().unwrap());
    let logits = block_on(rig.session.logits(&[1, 2, 3, 4, 9])).unwrap();
    assert_eq!((logits.rows(), logits.vocabulary), (5, VOCABULARY));
    for (index, token) in [1, 2, 3, 4, 9].into_iter().enumerate() {
        let row = logits.row(index).unwrap();
        let likeliest = row.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0;
        assert_eq!(likeliest, token + 1, "the row after {token}");
    }
    assert_eq!(calls(), [(4, Wanted::All), (1, Wanted::All)], "every token is read, in chunks");
    // A score does not read the last token, which predicts nothing that is asked.
    let score = block_on(rig.session.score(&[1, 2, 3, 4, 9])).unwrap().log_probabilities;
    assert!(score[0] > -0.1 && score[3] < -5.0, "{score:?}");
    assert_eq!(calls(), [(4, Wanted::All)]);
    assert_eq!(block_on(rig.session.logits(&[])).unwrap().rows(), 0);

    // Sixteen chunks of five milliseconds, and nobody waits for them.
    let slow = vec![SLOW; 64];
    assert!(rig.session.logits(&slow).now_or_never().is_none());
    block_on(rig.session.idle());
    let read = calls().len();
    assert!(read < 16, "{read} of 16 chunks were read for nobody");

    let code = |tokens: &[u32]| block_on(rig.session.logits(tokens)).unwrap_err().code();
    assert_eq!(code(&[1, 256]), "invalid-request");
    assert_eq!(code(&[1; 129]), "invalid-request");
    assert_eq!(code(&[1, ERROR]), "out-of-memory");
    assert_eq!(code(&[PANIC]), "failed");
    assert_eq!(code(&[1]), "failed", "after a panic the model is not trusted");
}
