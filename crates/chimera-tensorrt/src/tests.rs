//! The model on an executor that computes on the CPU. It is a double of the device, not of TensorRT's answers: its memory
//! is host memory, its engine is a few lines whose logits say which tokens, masks and positions they were made of, and so
//! every rule about buffers, profiles and the cache can be checked against a sum done by hand.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use chimera_core::{
    BackendId, Batch, ClockSource, EventKind, ModelInfo, Phase, Request, Session, SessionExt, SystemClock,
};
use chimera_engine::{EngineError, EngineSession, LanguageModel, Texts, Tokenizer, Wanted};
use futures_executor::block_on;
use futures_util::StreamExt;

use crate::{
    error::TensorRtError,
    executor::{Binding, DeviceError, Executor, Place},
    interface::{IDS, Interface, KEEP, LOGITS, MASK, POSITIONS, tests::tensors},
    model::{Parts, TensorRtModel},
    profile::{Extent, Profile, Profiles},
    tensor::{Element, TensorSpec, bytes_of},
};

const LAYERS: usize = 2;
const HEADS: usize = 2;
const WIDTH: usize = 4;
const VOCABULARY: usize = 97;
const CONTEXT: usize = 40;

#[derive(Debug, thiserror::Error)]
enum DoubleError {
    #[error("no room for {0} bytes")]
    NoRoom(usize),
    #[error("out of bounds")]
    Bounds,
}

impl DeviceError for DoubleError {
    fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::NoRoom(_))
    }
}

/// Host memory with an identity: which buffers change places can be seen.
struct Memory {
    id: usize,
    bytes: Vec<u8>,
}

/// What a pass was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    profile: usize,
    ids: Vec<usize>,
    keep: Option<i64>,
    past: usize,
    present: usize,
}

/// The device's double.
struct Double {
    tensors: Vec<TensorSpec>,
    room: usize,
    made: usize,
    clock: u64,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Double {
    fn new(tensors: Vec<TensorSpec>) -> Self {
        Self { tensors, room: usize::MAX, made: 0, clock: 0, seen: Arc::default() }
    }
}

fn longs(bytes: &[u8]) -> Vec<i64> {
    bytes.chunks_exact(8).map(|part| i64::from_le_bytes(part.try_into().unwrap())).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|part| f32::from_le_bytes(part.try_into().unwrap())).collect()
}

fn put(memory: &mut Memory, values: &[f32]) {
    for (to, value) in memory.bytes.chunks_exact_mut(4).zip(values) {
        to.copy_from_slice(&value.to_le_bytes());
    }
}

/// The token whose logit is greatest, of what a lane has seen up to a place: every visible token times its position
/// plus one, and the sum over layers and both kinds of cache of what lies there.
fn expected(history: &[(u32, usize)]) -> usize {
    let sum: usize = history.iter().map(|&(token, position)| token as usize * (position + 1)).sum();
    (sum * 2 * LAYERS) % VOCABULARY
}

impl Executor for Double {
    type Memory = Memory;
    type Mark = u64;
    type Error = DoubleError;

    fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    fn allocate(&mut self, bytes: usize) -> Result<Memory, DoubleError> {
        self.room = self.room.checked_sub(bytes).ok_or(DoubleError::NoRoom(bytes))?;
        self.made += 1;
        // What nobody wrote is not a number.
        Ok(Memory { id: self.made, bytes: vec![0xff; bytes.max(1)] })
    }

    fn size(memory: &Memory) -> usize {
        memory.bytes.len()
    }

    fn upload(&mut self, from: &[u8], to: &mut Memory) -> Result<(), DoubleError> {
        to.bytes.get_mut(..from.len()).ok_or(DoubleError::Bounds)?.copy_from_slice(from);
        Ok(())
    }

    fn download(&mut self, from: &Memory, start: usize, into: &mut [u8]) -> Result<(), DoubleError> {
        into.copy_from_slice(from.bytes.get(start..start + into.len()).ok_or(DoubleError::Bounds)?);
        Ok(())
    }

    fn run(&mut self, profile: usize, bindings: &mut [Binding<'_, Memory>]) -> Result<(), DoubleError> {
        let shape_of = |name: &str| bindings.iter().find(|b| b.name == name).unwrap().shape.clone();
        let input = |name: &str| {
            let binding = bindings.iter().find(|b| b.name == name)?;
            let count = bytes_of(&binding.shape, binding.element).unwrap();
            match &binding.place {
                Place::Read(memory) => Some(memory.bytes[..count].to_vec()),
                Place::Host(value) => Some(value.to_le_bytes().to_vec()),
                Place::Write(_) => panic!("{name} is an output"),
            }
        };
        let [lanes, count] = shape_of(IDS)[..] else { panic!("ids") };
        let (ids, mask) = (longs(&input(IDS).unwrap()), longs(&input(MASK).unwrap()));
        let total = shape_of(MASK)[1];
        let before = total - count;
        // A graph without position ids counts visible positions.
        let positions = input(POSITIONS).map_or_else(
            || (0..lanes * count).map(|i| (i % count + before) as i64).collect::<Vec<_>>(),
            |bytes| longs(&bytes),
        );
        let keep = input(KEEP).map(|bytes| longs(&bytes)[0]);
        let first = |prefix: &str| match &bindings.iter().find(|b| b.name == prefix).unwrap().place {
            Place::Read(memory) => memory.id,
            Place::Write(memory) => memory.id,
            Place::Host(_) => 0,
        };
        self.seen.lock().unwrap().push(Seen {
            profile,
            ids: shape_of(IDS),
            keep,
            past: first("past_key_values.0.key"),
            present: first("present.0.key"),
        });
        // Each cache holds, per lane, head, position and place, the token times its position plus one.
        let mut sums = vec![0f64; lanes * count];
        let past: Vec<Vec<f32>> = (0..2 * LAYERS)
            .map(|i| {
                floats(&input(&format!("past_key_values.{}.{}", i / 2, ["key", "value"][i % 2])).unwrap())
            })
            .collect();
        let present = bindings.iter_mut().filter(|b| b.name.starts_with("present"));
        for (index, binding) in present.enumerate() {
            let mut values = Vec::new();
            for lane in 0..lanes {
                for head in 0..HEADS {
                    let old = ((lane * HEADS) + head) * before * WIDTH;
                    values.extend_from_slice(&past[index][old..old + before * WIDTH]);
                    for at in 0..count {
                        let place = lane * count + at;
                        let value = (ids[place] * (positions[place] + 1)) as f32;
                        values.extend(std::iter::repeat_n(value, WIDTH));
                    }
                }
                for at in 0..count {
                    let seen = (0..=before + at).filter(|&p| mask[lane * total + p] == 1);
                    let row = lane * HEADS * total * WIDTH;
                    sums[lane * count + at] += seen.map(|p| f64::from(values[row + p * WIDTH])).sum::<f64>();
                }
            }
            let Place::Write(memory) = &mut binding.place else { panic!("an output is read") };
            put(memory, &values);
        }
        let kept = keep.map_or(count, |n| if n == 0 { count } else { n as usize });
        let mut logits = vec![0f32; lanes * kept * VOCABULARY];
        for lane in 0..lanes {
            for row in 0..kept {
                let sum = sums[lane * count + count - kept + row] as usize;
                logits[(lane * kept + row) * VOCABULARY + sum % VOCABULARY] = 1.0;
            }
        }
        let out = bindings.iter_mut().find(|b| b.name == LOGITS).unwrap();
        let Place::Write(memory) = &mut out.place else { panic!("logits are read") };
        put(memory, &logits);
        self.clock += 1000 * count as u64;
        Ok(())
    }

    fn mark(&mut self) -> Result<u64, DoubleError> {
        Ok(self.clock)
    }

    fn between(&mut self, from: &u64, to: &u64) -> Result<u64, DoubleError> {
        Ok(to - from)
    }
}

fn all() -> Vec<TensorSpec> {
    tensors(LAYERS, HEADS, WIDTH, VOCABULARY)
}

fn parts(tensors: &[TensorSpec], profiles: Profiles) -> Parts {
    Parts {
        info: ModelInfo::named("double"),
        texts: Texts::new(Path::new("double"), Tokenizer::bytes_only(VOCABULARY), Ok(None)),
        end_of_sequence: vec![96],
        context: CONTEXT,
        profiles,
        interface: Interface::of(tensors).unwrap(),
    }
}

fn generation() -> Profiles {
    Profiles::for_generation(3, 5, CONTEXT as u32).unwrap()
}

fn model(tensors: Vec<TensorSpec>, profiles: Profiles) -> (TensorRtModel<Double>, Arc<Mutex<Vec<Seen>>>) {
    let double = Double::new(tensors.clone());
    let seen = Arc::clone(&double.seen);
    (TensorRtModel::new(double, parts(&tensors, profiles)).unwrap(), seen)
}

fn best(row: &[f32]) -> usize {
    row.iter().position(|&value| value == 1.0).unwrap()
}

/// Answers of a model that reads one token after the other, by the sum done by hand.
fn by_hand(prompt: &[u32], budget: usize) -> Vec<u32> {
    let mut history: Vec<(u32, usize)> = prompt.iter().enumerate().map(|(at, &token)| (token, at)).collect();
    (0..budget)
        .map(|_| {
            let next = expected(&history) as u32;
            history.push((next, history.len()));
            next
        })
        .collect()
}

#[test]
fn lanes_of_different_lengths_answer_as_each_would_alone() {
    let (model, seen) = model(all(), generation());
    let session =
        block_on(EngineSession::start(BackendId::new("double"), Arc::new(SystemClock::new()), move || {
            Ok(Box::new(model) as Box<dyn LanguageModel>)
        }))
        .unwrap();
    let prompts: [Vec<u32>; 3] = [vec![3, 1, 4, 1, 5, 9, 2, 6], vec![27, 18], vec![31; 6]];
    let requests: Vec<Request> =
        prompts.iter().map(|prompt| Request::tokens(prompt.clone(), 9).exact()).collect();
    let events: Vec<_> = block_on(session.generate(Batch(requests)).map(Result::unwrap).collect::<Vec<_>>());
    for (lane, prompt) in prompts.iter().enumerate() {
        let ids: Vec<u32> = events
            .iter()
            .filter(|event| event.lane as usize == lane)
            .filter_map(|event| match event.kind {
                EventKind::Chunk { id, .. } => id,
                _ => None,
            })
            .collect();
        assert_eq!(ids, by_hand(prompt, 9), "lane {lane}");
        let end = events.iter().rfind(|event| event.lane as usize == lane).unwrap();
        let EventKind::Finished(finished) = &end.kind else { panic!("no end") };
        let of = |phase| finished.timings.iter().find(|timing| timing.phase == phase).unwrap();
        // The device's clock: a microsecond for each column of eight, and for each of the eight tokens read after.
        for phase in [Phase::Prefill, Phase::Decode] {
            assert_eq!((of(phase).nanos, of(phase).source), (8000, ClockSource::Device));
        }
        assert_eq!(of(Phase::Queue).source, ClockSource::Engine);
    }
    let seen = seen.lock().unwrap();
    // Two pieces of the prompt with the one set of kernels, then a token at a time with the other.
    let profiles: Vec<usize> = seen.iter().map(|pass| pass.profile).collect();
    assert_eq!(profiles, [vec![0; 2], vec![1; 8]].concat());
    assert_eq!((seen[0].ids.as_slice(), seen[1].ids.as_slice()), (&[3, 5][..], &[3, 3][..]));
    assert!(seen.iter().all(|pass| pass.keep == Some(1)));
    // What a pass wrote the next one read, and the two buffers took turns: nothing was copied.
    for pair in seen.windows(2) {
        assert_eq!((pair[1].past, pair[1].present), (pair[0].present, pair[0].past));
    }
}

#[test]
fn every_row_is_given_where_all_are_wanted() {
    let tokens: Vec<u32> = (0..10).map(|i| i * 7 % 90).collect();
    for older in [false, true] {
        let mut tensors = all();
        if older {
            tensors.retain(|tensor| tensor.name != KEEP && tensor.name != POSITIONS);
        }
        let (mut model, seen) = model(tensors, generation());
        let mut cache = model.start(&[0], tokens.len()).unwrap();
        for (piece, part) in tokens.chunks(5).enumerate() {
            let logits = model.forward(cache.as_mut(), part, Wanted::All).unwrap();
            assert_eq!(logits.rows(), 5);
            for row in 0..5 {
                let history: Vec<(u32, usize)> =
                    tokens[..piece * 5 + row + 1].iter().enumerate().map(|(at, &t)| (t, at)).collect();
                assert_eq!(best(logits.row(row).unwrap()), expected(&history), "older {older}");
            }
        }
        assert_eq!(cache.len(), 10);
        assert!(seen.lock().unwrap().iter().all(|pass| pass.keep == (!older).then_some(5)));
        assert_eq!(model.device_nanos(), Some(10_000));
        assert_eq!(model.device_nanos(), Some(0));
    }
}

#[test]
fn a_graph_that_gives_all_rows_is_asked_for_the_last_of_each_lane() {
    let mut tensors = all();
    tensors.retain(|tensor| tensor.name != KEEP);
    let (mut model, _) = model(tensors, generation());
    let mut cache = model.start(&[0, 2], 8).unwrap();
    // Lane 1 begins with two columns of padding.
    let logits = model.forward(cache.as_mut(), &[1, 2, 3, 9, 9, 5], Wanted::Last).unwrap();
    assert_eq!(best(logits.row(0).unwrap()), expected(&[(1, 0), (2, 1), (3, 2)]));
    assert_eq!(best(logits.row(1).unwrap()), expected(&[(5, 0)]));
    assert_eq!(model.forward(cache.as_mut(), &[4, 6], Wanted::None).unwrap().rows(), 0);
}

#[test]
fn shapes_outside_every_profile_are_refused_with_their_ranges() {
    let decode = Profile::new("only", Extent::fixed(1), Extent::fixed(4), Extent::new(0, 0, 4).unwrap());
    let profiles = Profiles::new(vec![decode.unwrap()]).unwrap();
    let (mut model, seen) = model(all(), profiles);
    let mut cache = model.start(&[0], 8).unwrap();
    model.forward(cache.as_mut(), &[1, 2, 3, 4], Wanted::Last).unwrap();
    // One token at a time is no shape of this engine: there is no profile to fall back to.
    let error = model.forward(cache.as_mut(), &[5], Wanted::Last).unwrap_err();
    let error = error.into_backend(&BackendId::new("tensorrt"));
    assert_eq!(error.code(), "invalid-request");
    let said = error.to_string();
    assert!(said.contains("batch 1, sequence 1, past 4"), "{said}");
    assert!(said.contains("only (batch 1, sequence 4, past 0..0..4)"), "{said}");
    assert_eq!(seen.lock().unwrap().len(), 1, "nothing ran");

    for (padding, capacity) in [(vec![0, 0], 8), (vec![0], 9), (vec![], 4)] {
        assert!(matches!(model.start(&padding, capacity), Err(EngineError::Refused(_))), "{padding:?}");
    }
    assert_eq!((model.max_batch(), model.prefill_chunk()), (1, 4));
}

#[test]
fn an_engine_with_other_types_than_the_graph_is_never_run() {
    let parts = || parts(&all(), generation());
    let refused = |change: fn(&mut Vec<TensorSpec>)| {
        let mut tensors = all();
        change(&mut tensors);
        TensorRtModel::new(Double::new(tensors), parts()).map(|_| ()).unwrap_err()
    };
    // 32-bit ids: the fault that overran a buffer by a factor of two in the published study.
    let error = refused(|all| all[0].element = Element::I32);
    assert!(
        matches!(&error, TensorRtError::Unsupported(what) if what.contains("input_ids holds I32")),
        "{error}"
    );
    let error = refused(|all| {
        for tensor in all.iter_mut().filter(|t| t.name.contains("key") || t.name.contains("value")) {
            tensor.element = Element::F16;
        }
    });
    assert!(matches!(error, TensorRtError::NotAsClaimed(_)), "{error}");
}

#[test]
fn tensors_without_a_buffer_stop_a_pass() {
    // A tensor that appears after the model was made, as a changed engine would have it.
    struct Changed(Double);
    impl Executor for Changed {
        type Memory = Memory;
        type Mark = u64;
        type Error = DoubleError;
        fn tensors(&self) -> &[TensorSpec] {
            &self.0.tensors
        }
        fn allocate(&mut self, bytes: usize) -> Result<Memory, DoubleError> {
            // The first buffer taken: from now on the engine wants 32-bit ids.
            self.0.tensors[0].element = Element::I32;
            self.0.allocate(bytes)
        }
        fn size(memory: &Memory) -> usize {
            memory.bytes.len()
        }
        fn upload(&mut self, from: &[u8], to: &mut Memory) -> Result<(), DoubleError> {
            self.0.upload(from, to)
        }
        fn download(&mut self, from: &Memory, start: usize, into: &mut [u8]) -> Result<(), DoubleError> {
            self.0.download(from, start, into)
        }
        fn run(&mut self, _: usize, _: &mut [Binding<'_, Memory>]) -> Result<(), DoubleError> {
            panic!("it must not run")
        }
        fn mark(&mut self) -> Result<u64, DoubleError> {
            self.0.mark()
        }
        fn between(&mut self, from: &u64, to: &u64) -> Result<u64, DoubleError> {
            self.0.between(from, to)
        }
    }
    let mut model = TensorRtModel::new(Changed(Double::new(all())), parts(&all(), generation())).unwrap();
    let mut cache = model.start(&[0], 4).unwrap();
    let said = model.forward(cache.as_mut(), &[1], Wanted::Last).unwrap_err().to_string();
    assert_eq!(said, "input_ids holds I32 and the buffer I64: nothing was copied");
}

#[test]
fn no_room_is_out_of_memory() {
    let mut double = Double::new(all());
    double.room = 1000;
    let mut tight = TensorRtModel::new(double, parts(&all(), generation())).unwrap();
    let Err(error) = tight.start(&[0], 30) else { panic!("there is no room") };
    assert_eq!(error.into_backend(&BackendId::new("tensorrt")).code(), "out-of-memory");
    // A cache that is full is not written beyond its end.
    let (mut model, _) = model(all(), generation());
    let mut cache = model.start(&[0], 2).unwrap();
    model.forward(cache.as_mut(), &[1, 2], Wanted::Last).unwrap();
    assert!(matches!(model.forward(cache.as_mut(), &[3], Wanted::Last), Err(EngineError::OutOfMemory(_))));
    assert!(model.forward(cache.as_mut(), &[], Wanted::Last).is_err());
}

#[test]
fn a_session_scores_and_tokenizes() {
    let (model, _) = model(all(), generation());
    let session =
        block_on(EngineSession::start(BackendId::new("double"), Arc::new(SystemClock::new()), move || {
            Ok(Box::new(model) as Box<dyn LanguageModel>)
        }))
        .unwrap();
    let answer = block_on(session.run(Request::tokens(vec![5, 6, 7], 4).exact())).unwrap();
    let sequence: Vec<u32> = [5, 6, 7].into_iter().chain(answer.ids.unwrap()).collect();
    let score = block_on(session.score(&sequence)).unwrap();
    // The logit of a chosen token is one above all others; of the prompt's own tokens it need not be.
    let chosen = 1f64 - (1f64.exp() + (VOCABULARY - 1) as f64).ln();
    for log_probability in &score.log_probabilities[2..] {
        assert!((f64::from(*log_probability) - chosen).abs() < 1e-5, "{log_probability}");
    }
}
