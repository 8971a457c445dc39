//! The adapter's public side: probing, finding models, refusing, scoring, threads.

mod common;

use std::sync::Arc;

use chimera_candle::{CandleBackend, CandleDevice};
use chimera_core::{
    Availability, BackendError, BackendExt, BackendId, Batch, EventKind, InferenceBackend, LoadOptions,
    ModelRef, Phase, Request, Session, SessionExt, SystemClock,
};
use chimera_zoo::Variant;
use futures_executor::block_on;
use futures_util::StreamExt;

#[test]
fn a_probe_says_what_there_is() {
    let backend = CandleBackend::builder(SystemClock::new()).id(BackendId::new("candle-a")).build();
    let probe = block_on(backend.probe()).unwrap();
    assert_eq!(probe.availability, Availability::Ready);
    assert_eq!(backend.id(), &BackendId::new("candle-a"));
    let detail = |name: &str| probe.details.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(detail("device"), Some("cpu"));
    assert_eq!(detail("threads"), Some(chimera_candle::threads().to_string().as_str()));
    assert!(detail("instruction-sets").is_some() && detail("features").is_some());

    // The version that is reported is the one that is built.
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let built = lock.split("name = \"candle-core\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(probe.version.as_deref(), Some(built));
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_is_not_compiled_in_is_an_answer() {
    let backend = CandleBackend::builder(SystemClock::new()).device(CandleDevice::Cuda(0)).build();
    let probe = block_on(backend.probe()).unwrap();
    assert!(
        matches!(&probe.availability, Availability::NotCompiled { remedy, .. } if remedy.contains("cuda"))
    );
    let refused = block_on(backend.load_named("any")).unwrap_err();
    assert_eq!(refused.code(), "unavailable");
}

#[test]
fn unknown_and_damaged_models_have_codes() {
    let folder = common::models_dir("llama-0.1m", Variant::F32Gguf);
    let backend = CandleBackend::builder(SystemClock::new()).models_dir(&folder).build();
    let load = |model: ModelRef, options: LoadOptions| block_on(backend.load(&model, &options));
    let unknown = load(ModelRef::named("nobody"), LoadOptions::default()).unwrap_err();
    assert!(matches!(&unknown, BackendError::ModelNotFound { reason, .. } if reason.contains("nobody")));

    let damaged = tempfile::tempdir().unwrap();
    let path = damaged.path().join("half.gguf");
    let whole = std::fs::read(common::files("llama-0.1m", Variant::F32Gguf).weights).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let invalid = load(ModelRef::at("half", &path), LoadOptions::default()).unwrap_err();
    let said = invalid.to_string();
    assert_eq!(invalid.code(), "model-invalid");
    assert!(said.contains("half.gguf") && said.contains("make or fetch"), "{said}");

    let mut options = LoadOptions::default();
    options.context = Some(64);
    let session = load(ModelRef::named("llama-0.1m"), options.clone()).unwrap();
    assert_eq!(session.model().context, Some(64));
    let long = block_on(session.run(Request::tokens(vec![1; 60], 5))).unwrap_err();
    assert_eq!(long.error.code(), "invalid-request");
    assert!(long.error.to_string().contains("context of 64"), "{long}");
    options.context = Some(1 << 20);
    assert_eq!(load(ModelRef::named("llama-0.1m"), options).unwrap_err().code(), "unsupported");
}

#[test]
fn one_model_says_the_same_from_both_containers_and_knows_itself() {
    let run = |variant| {
        let session = common::session("llama-0.1m", variant);
        let answer = block_on(session.run(Request::text("The quick brown fox", 24).exact())).unwrap();
        (answer, session.model().clone())
    };
    let (a, info_a) = run(Variant::F32Safetensors);
    let (b, info_b) = run(Variant::F32Gguf);
    assert_eq!(a, b);
    assert_eq!(a.generated, Some(24));
    assert_ne!(info_a.digest, info_b.digest);
    for info in [info_a, info_b] {
        assert_eq!(info.parameters.unwrap().total, 106_816);
        assert_eq!(
            (info.layers, info.width, info.heads, info.kv_heads, info.vocabulary),
            (Some(2), Some(64), Some(4), Some(2), Some(512))
        );
        assert_eq!(info.quantisation.as_deref(), Some("F32"));
        assert_eq!(info.kv_bytes_per_position, Some(2 * 2 * 2 * 16 * 4));
    }
}

#[test]
fn scores_agree_with_greedy_choice() {
    let session = common::session("llama-0.1m", Variant::F32Safetensors);
    // Longer than one prefill chunk, so that chunks are joined.
    let prompt: Vec<u32> = (0..150u32).map(|i| i * 37 % 500).collect();
    let answer = block_on(session.run(Request::tokens(prompt.clone(), 8).exact())).unwrap();
    let best: Vec<u32> = prompt.iter().copied().chain(answer.ids.unwrap()).collect();
    let score = block_on(session.score(&best)).unwrap();
    assert_eq!(score.log_probabilities.len(), best.len() - 1);
    assert!(score.log_probabilities.iter().all(|p| *p <= 0.0 && p.is_finite()));
    // No other token in the place of a greedy one is more probable.
    for place in [150, 154, 157] {
        for other in [0u32, 77, 300, 511] {
            let mut changed = best[..=place].to_vec();
            changed[place] = other;
            let changed = block_on(session.score(&changed)).unwrap();
            assert!(changed.log_probabilities[place - 1] <= score.log_probabilities[place - 1] + 1e-5);
        }
    }
    assert_eq!(block_on(session.score(&[])).unwrap().perplexity(), None);
    assert_eq!(block_on(session.score(&[1])).unwrap().perplexity(), None);
    assert_eq!(block_on(session.score(&[1, 512])).unwrap_err().code(), "invalid-request");
}

#[test]
fn a_second_generation_waits_and_says_how_long() {
    let session = common::session("llama-1m", Variant::F32Safetensors);
    let last = |request: Request| {
        let events = session.generate(Batch::from(request));
        async move {
            let events: Vec<_> = events.map(Result::unwrap).collect().await;
            let sent = events.iter().find(|e| e.kind == EventKind::Sent).unwrap().at;
            let end = events.last().unwrap().clone();
            let EventKind::Finished(finished) = end.kind else { panic!("no end") };
            let queue = finished.timings.iter().find(|t| t.phase == Phase::Queue).unwrap().nanos;
            (sent, end.at, queue)
        }
    };
    let both = futures_util::future::join(
        last(Request::tokens(vec![1, 2, 3], 200).exact()),
        last(Request::tokens(vec![1, 2, 3], 4).exact()),
    );
    let ((first_sent, first_end, _), (second_sent, _, waited)) = block_on(both);
    assert!(second_sent >= first_end, "they did not run one after the other");
    let span = (first_end - first_sent) as f64;
    assert!(waited as f64 > 0.5 * span, "it waited {waited} ns of about {span}");
}

#[test]
fn sessions_are_independent_and_end_with_their_last_holder() {
    let a = common::session("llama-0.1m", Variant::F32Safetensors);
    let b = common::session("llama-0.1m", Variant::F32Safetensors);
    let request = || Request::tokens(vec![5, 6, 7], 16).exact();
    let (x, y) = block_on(futures_util::future::join(a.run(request()), b.run(request())));
    assert_eq!(x.unwrap(), y.unwrap());
    block_on(a.unload()).unwrap();
    block_on(a.unload()).unwrap();
    assert_eq!(block_on(a.run(request())).unwrap_err().error.code(), "closed");
    assert_eq!(block_on(a.tokenize("x")).unwrap_err().code(), "closed");
    // A stream outlives the handle of its session.
    let stream = b.generate(request().into());
    let weak = Arc::downgrade(&b);
    drop(b);
    assert!(weak.upgrade().is_none());
    assert!(block_on(stream.collect::<Vec<_>>()).into_iter().all(|event| event.is_ok()));
}
