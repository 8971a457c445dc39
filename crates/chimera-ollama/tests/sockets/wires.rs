//! Recorded answers of a real server (0.11.4), replayed through a socket whole, byte by byte and in random pieces.

use std::{thread, time::Duration};

use async_io::block_on;
use chimera_core::{
    BackendError, BackendId, FinishReason, InferenceBackend, Message, Phase, Prompt, Request, Role,
};
use futures_util::StreamExt;
use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::*;

/// Text, chunks, prompt tokens, generated tokens, reason; or the code of an error.
type Expected = Result<(&'static str, usize, Option<u32>, Option<u32>, FinishReason), &'static str>;

use FinishReason::Length;

const GENERATIONS: &[(&str, Expected)] = &[
    ("generate-raw-stream-cold", Ok((", the city of", 4, Some(4), Some(4), Length))),
    ("generate-raw-stream-cached", Ok((", the city of", 4, Some(4), Some(4), Length))),
    ("generate-raw-unary", Ok((", the city of", 1, Some(4), Some(4), Length))),
    ("generate-templated-stream", Ok(("I'm glad to", 4, Some(13), Some(4), Length))),
    ("generate-num-predict-1", Ok((" Paris", 1, Some(5), Some(1), Length))),
    ("generate-tiny-gpt2-f32", Ok((" Gre Dag 396 livestream", 4, Some(4), Some(4), Length))),
    // Four tokens, of which three left no whole character.
    ("generate-llama-0.1m-f32", Ok(("at", 1, Some(9), Some(4), Length))),
    ("chat-stream", Ok(("The phrase \"the", 4, Some(10), Some(4), Length))),
    ("generate-truncated-True", Err("invalid-request")),
    ("generate-output-beyond-num-ctx", Err("invalid-request")),
    // One token 31 times, then the end of the body without `done`.
    ("generate-repeats-itself", Err("failed")),
    ("generate-unknown", Err("model-not-found")),
    ("error-option-type", Err("invalid-request")),
    ("error-keep-alive", Err("invalid-request")),
    ("error-raw-system", Err("invalid-request")),
    ("error-bad-json", Err("invalid-request")),
    ("error-unknown-path", Err("unsupported")),
    ("generate-empty-prompt-loads", Err("protocol")),
    ("unload", Err("protocol")),
    ("root", Err("protocol")),
    // An error in the middle of a stream whose status is 200.
    ("create-nonsense", Err("protocol")),
    ("create-nothing", Err("failed")),
];

/// The window that the answer was recorded with.
fn window(name: &str) -> u32 {
    match name {
        "generate-truncated-True" => 256,
        "generate-output-beyond-num-ctx" => 64,
        _ => 2048,
    }
}

fn request(name: &str) -> Request {
    let budget = match name {
        "generate-output-beyond-num-ctx" | "generate-repeats-itself" => 200,
        _ => 8,
    };
    if name.starts_with("chat") {
        let chat = [Message { role: Role::User, content: "the".into() }];
        return Request::new(Prompt::Chat(chat.into()), budget);
    }
    Request::text("Paris", budget)
}

/// Writes in pieces that end at `cuts`.
fn replay(name: &str, cuts: Vec<usize>) -> Result<Said, BackendError> {
    let bytes = wire(name);
    let server = Scripted::generating(move |_, stream| {
        let mut start = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            write(stream, &bytes[start..cut.clamp(start, bytes.len())]);
            start = cut.clamp(start, bytes.len());
            // So that the pieces come in reads of their own, mostly.
            thread::sleep(Duration::from_micros(if cuts.len() < 100 { 200 } else { 0 }));
        }
    });
    block_on(async {
        let backend = server.builder().id(BackendId::new("ollama")).build().unwrap();
        let model = chimera_core::ModelRef::named(MODEL);
        let session = backend.load(&model, &context(window(name))).await?;
        read(&*session, request(name)).await
    })
}

fn check(name: &str, found: &Result<Said, BackendError>, expected: &Expected) {
    match (found, expected) {
        (Ok(said), Ok((text, chunks, prompt, generated, reason))) => {
            assert_eq!((said.text.as_str(), said.chunks), (*text, *chunks), "{name}");
            assert_eq!(
                (said.end.prompt, said.end.generated, said.end.reason, said.end.cached),
                (*prompt, *generated, *reason, None),
                "{name}"
            );
            let phases: Vec<_> = said.end.timings.iter().map(|timing| timing.phase).collect();
            assert_eq!(phases, [Phase::Load, Phase::Prefill, Phase::Decode, Phase::Total], "{name}");
        }
        (Err(error), Err(code)) => assert_eq!(error.code(), *code, "{name}: {error}"),
        (found, expected) => panic!("{name}: {found:?} instead of {expected:?}"),
    }
}

#[test]
fn recorded_answers_mean_the_same_whole_and_byte_by_byte() {
    for (name, expected) in GENERATIONS {
        let whole = replay(name, Vec::new());
        check(name, &whole, expected);
        let single = replay(name, (1..wire(name).len()).collect());
        assert_eq!(format!("{single:?}"), format!("{whole:?}"), "{name}");
    }
    println!("{} recorded answers replayed whole and byte by byte", GENERATIONS.len());
}

#[test]
fn recorded_answers_mean_the_same_in_random_pieces() {
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() });
    let strategy = (0..GENERATIONS.len(), prop::collection::vec(0_usize..1_200, 0..12));
    runner
        .run(&strategy, |(index, mut cuts)| {
            cuts.sort_unstable();
            let (name, expected) = &GENERATIONS[index];
            check(name, &replay(name, cuts), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn counters_are_verbatim_and_a_cached_prompt_shows_in_them() {
    let cold = replay("generate-raw-stream-cold", Vec::new()).unwrap();
    let cached = replay("generate-raw-stream-cached", Vec::new()).unwrap();
    let nanos = |said: &Said| said.end.timings.iter().map(|timing| timing.nanos).collect::<Vec<_>>();
    assert_eq!(nanos(&cold), [388_636_413, 29_348_747, 37_441_125, 456_350_904]);
    assert_eq!(cold.end.prompt, cached.end.prompt, "the count does not show that a prompt was cached");
    assert!(nanos(&cached)[1] < nanos(&cold)[1]);
}

#[test]
fn what_a_server_says_of_its_models_is_read() {
    let server = Scripted::start(loading);
    block_on(async {
        let backend = server.builder().build().unwrap();
        assert_eq!(backend.version().await.unwrap(), "0.11.4");
        let tags = backend.tags().await.unwrap();
        let digest = "69853df17894b8dd8b0095bd7c30b972c7b09d44b5e76f9d53812343f72e185e";
        assert_eq!((tags[0].name.as_str(), tags[0].digest.as_deref()), (MODEL, Some(digest)));
        assert_eq!(tags[0].size, Some(98_363_007));
        let ps = backend.ps().await.unwrap();
        assert_eq!((ps[0].context_length, ps[0].size_vram), (Some(2048), Some(0)));
        let facts = backend.show(MODEL).await.unwrap();
        assert_eq!(facts.number("attention.head_count_kv"), Some(3));
        let weights = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
        assert_eq!(facts.weights_sha256(), Some(weights));
        let session = load(&backend).await.unwrap();
        let info = session.model();
        assert_eq!((info.name.as_str(), info.digest.as_deref()), (MODEL, Some(digest)));
        assert_eq!(
            (info.layers, info.width, info.heads, info.kv_heads, info.vocabulary, info.context),
            (Some(30), Some(576), Some(9), Some(3), Some(49_152), Some(2048))
        );
        assert_eq!(info.parameters.unwrap().total, 134_515_008);
        assert_eq!(info.quantisation.as_deref(), Some("Q4_1"));
        assert_eq!(info.kv_bytes_per_position, None, "the type of the cache is not told");
    });
}

#[test]
fn management_calls_end_in_what_the_server_says() {
    let server = Scripted::start(|request, stream| {
        let name = match request.line.as_str() {
            "POST /api/pull" => "pull-unreachable",
            "DELETE /api/delete" if request.json()["model"] == "there" => "delete",
            "DELETE /api/delete" => "delete-unknown",
            "POST /api/show" => "show-unknown",
            "GET /api/tags" => "tags-empty",
            "GET /api/ps" => "ps-empty",
            _ => "error-unknown-path",
        };
        write(stream, &wire(name));
    });
    block_on(async {
        let backend = server.builder().build().unwrap();
        let mut steps = Vec::new();
        let error = backend.pull("nope-nope", |step| steps.push(step.status)).await.unwrap_err();
        assert_eq!((error.code(), steps), ("failed", vec!["pulling manifest".to_owned()]));
        assert!(error.to_string().contains("no such host"), "{error}");
        backend.delete("there").await.unwrap();
        assert_eq!(backend.delete("gone").await.unwrap_err().code(), "model-not-found");
        assert_eq!(backend.show("nope").await.unwrap_err().code(), "model-not-found");
        assert!(backend.tags().await.unwrap().is_empty() && backend.ps().await.unwrap().is_empty());
        assert_eq!(backend.version().await.unwrap_err().code(), "unsupported");
    });
}

#[test]
fn a_chunk_has_the_stamp_of_its_lines_end() {
    let gap = Duration::from_millis(40);
    let server = Scripted::generating(move |_, stream| {
        let lines = streamed(&[r#"{"response":"a","done":false}"#, r#"{"response":"b","done":true}"#]);
        let middle = lines.windows(4).position(|four| four == b"b\",\"").unwrap();
        write(stream, &lines[..middle]);
        thread::sleep(gap);
        write(stream, &lines[middle..]);
    });
    block_on(async {
        let session = load(&server.builder().build().unwrap()).await.unwrap();
        let stream = session.generate(Request::text("x", 8).into());
        let events: Vec<_> = stream.map(|event| event.unwrap()).collect().await;
        let at: Vec<_> = events.iter().map(|event| event.at).collect();
        // Sent, headers, two chunks, the end.
        assert_eq!(at.len(), 5, "{events:?}");
        assert!(at[3].since(at[2]).unwrap() > gap / 2, "{events:?}");
        assert_eq!(at[3], at[4]);
    });
}
