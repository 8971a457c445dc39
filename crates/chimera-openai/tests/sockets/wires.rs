//! Answers after the documented formats of several servers and recorded ones of Ollama (see `wires/README.md`), replayed
//! through a socket whole, byte by byte and in random pieces.

use std::{thread, time::Duration};

use async_io::block_on;
use chimera_core::{
    BackendError, BackendId, FinishReason, InferenceBackend, LoadOptions, Message, ModelRef, Phase, Prompt,
    Request, Role, Session,
};
use chimera_openai::Flavour;
use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::*;

use FinishReason::{Length, Stop};
use Flavour::{LlamaCpp, LmStudio, Plain, SgLang, Tgi, Vllm};

/// What an answer means.
#[derive(Debug)]
struct Meant {
    text: &'static str,
    chunks: usize,
    /// Tokens that the chunks carry.
    carried: Option<u32>,
    /// Prompt, cached, generated.
    counts: [Option<u32>; 3],
    reason: FinishReason,
    /// Prefill and decode.
    nanos: &'static [u64],
}

const fn meant(
    text: &'static str,
    chunks: usize,
    carried: Option<u32>,
    counts: [Option<u32>; 3],
    reason: FinishReason,
    nanos: &'static [u64],
) -> Result<Meant, &'static str> {
    Ok(Meant { text, chunks, carried, counts, reason, nanos })
}

const NONE: Option<u32> = None;

const ANSWERS: &[(&str, Flavour, Result<Meant, &str>)] = &[
    (
        "llamacpp-completion",
        LlamaCpp,
        meant(" a city größer 数", 4, NONE, [Some(5), Some(0), Some(4)], Length, &[21_418_000, 31_772_500]),
    ),
    (
        "llamacpp-chat",
        LlamaCpp,
        meant("Let meParis", 4, NONE, [Some(10), Some(9), Some(6)], Stop, &[6_200_000, 40_000_000]),
    ),
    (
        "llamacpp-tools",
        LlamaCpp,
        meant(
            r#"weather{"city":"Rome"}"#,
            3,
            NONE,
            [Some(30), Some(0), Some(8)],
            Stop,
            &[21_418_000, 31_772_500],
        ),
    ),
    ("llamacpp-loading", LlamaCpp, Err("unavailable")),
    ("llamacpp-too-long", LlamaCpp, Err("invalid-request")),
    ("llamacpp-unknown-path", LlamaCpp, Err("unsupported")),
    ("llamacpp-error", LlamaCpp, Err("invalid-request")),
    ("llamacpp-error-old", LlamaCpp, Err("protocol")),
    ("vllm-completion", Vllm, meant(" a city in France", 4, Some(5), [Some(5), Some(0), Some(5)], Stop, &[])),
    ("vllm-chat", Vllm, meant("HmParis", 4, Some(6), [Some(12), None, Some(6)], Length, &[])),
    ("vllm-token-ids", Vllm, meant(" a city in", 2, Some(3), [Some(5), None, Some(3)], Length, &[])),
    // The same to somebody who did not ask for counts.
    ("vllm-completion", Plain, meant(" a city in France", 3, NONE, [Some(5), Some(0), Some(5)], Stop, &[])),
    ("vllm-error", Vllm, Err("failed")),
    ("vllm-not-found", Vllm, Err("model-not-found")),
    ("vllm-not-found-old", Vllm, Err("model-not-found")),
    ("vllm-too-long", Vllm, Err("invalid-request")),
    ("vllm-unauthorized", Vllm, Err("unavailable")),
    ("vllm-version", Vllm, Err("protocol")),
    ("sglang-chat", SgLang, meant("Paris", 3, Some(3), [Some(12), Some(4), Some(3)], Stop, &[])),
    ("sglang-completion", SgLang, meant(" a city in", 2, Some(3), [Some(5), None, Some(3)], Length, &[])),
    ("sglang-abort", SgLang, Err("failed")),
    ("tgi-completion", Tgi, meant(" a city in", 3, NONE, [Some(5), None, Some(3)], Length, &[])),
    ("tgi-chat", Tgi, meant("Paris", 2, NONE, [Some(12), None, Some(3)], Stop, &[])),
    ("tgi-error", Tgi, Err("out-of-memory")),
    ("tgi-overloaded", Tgi, Err("unavailable")),
    ("tgi-validation", Tgi, Err("invalid-request")),
    (
        "lmstudio-chat",
        LmStudio,
        meant("Greetings", 2, NONE, [Some(24), None, Some(3)], Stop, &[111_000_000, 954_000_000]),
    ),
    ("lmstudio-error", LmStudio, Err("failed")),
    ("lmstudio-unknown-path", LmStudio, Err("failed")),
    // Recorded. Every part has a usage of zeros; the last one is true.
    (
        "ollama-completion",
        Plain,
        meant("The French language has a", 5, NONE, [Some(11), None, Some(5)], Length, &[]),
    ),
    ("ollama-chat", Plain, meant("I'm glad to make", 5, NONE, [Some(11), None, Some(5)], Length, &[])),
    ("ollama-not-found", Plain, Err("model-not-found")),
    ("ollama-unknown-path", Plain, Err("unsupported")),
];

fn request(name: &str) -> Request {
    if name.contains("chat") || name.contains("tools") {
        let chat = [Message { role: Role::User, content: "the".into() }];
        return Request::new(Prompt::Chat(chat.into()), 8);
    }
    Request::text("Paris", 8)
}

/// Writes in pieces that end at `cuts`.
fn replay(name: &str, flavour: Flavour, cuts: Vec<usize>) -> Result<Said, BackendError> {
    let bytes = wire(name);
    let server = Scripted::generating(move |_, stream| {
        let mut start = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let cut = cut.clamp(start, bytes.len());
            write(stream, &bytes[start..cut]);
            start = cut;
            // So that the pieces come in reads of their own, mostly.
            thread::sleep(Duration::from_micros(if cuts.len() < 100 { 200 } else { 0 }));
        }
    });
    block_on(async {
        let backend = server.builder().id(BackendId::new("openai")).flavour(flavour).build().unwrap();
        let session = backend.load(&ModelRef::named(MODEL), &LoadOptions::default()).await?;
        read(&*session, request(name)).await
    })
}

fn check(name: &str, found: &Result<Said, BackendError>, expected: &Result<Meant, &str>) {
    match (found, expected) {
        (Ok(said), Ok(meant)) => {
            assert_eq!(
                (said.text.as_str(), said.chunks, said.tokens),
                (meant.text, meant.chunks, meant.carried),
                "{name}"
            );
            let counts = [said.end.prompt, said.end.cached, said.end.generated];
            assert_eq!((counts, said.end.reason), (meant.counts, meant.reason), "{name}");
            let nanos: Vec<_> = said.end.timings.iter().map(|timing| timing.nanos).collect();
            assert_eq!(nanos, meant.nanos, "{name}");
            let phases: Vec<_> = said.end.timings.iter().map(|timing| timing.phase).collect();
            assert!(phases.is_empty() || phases == [Phase::Prefill, Phase::Decode], "{name}");
        }
        (Err(error), Err(code)) => assert_eq!(error.code(), *code, "{name}: {error}"),
        (found, expected) => panic!("{name}: {found:?} instead of {expected:?}"),
    }
}

#[test]
fn answers_of_all_kinds_mean_the_same_whole_and_byte_by_byte() {
    for (name, flavour, expected) in ANSWERS {
        let whole = replay(name, *flavour, Vec::new());
        check(name, &whole, expected);
        let single = replay(name, *flavour, (1..wire(name).len()).collect());
        assert_eq!(format!("{single:?}"), format!("{whole:?}"), "{name}");
    }
    println!("{} answers replayed whole and byte by byte", ANSWERS.len());
}

#[test]
fn answers_of_all_kinds_mean_the_same_in_random_pieces() {
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() });
    let strategy = (0..ANSWERS.len(), prop::collection::vec(0_usize..2_500, 0..12));
    runner
        .run(&strategy, |(index, mut cuts)| {
            cuts.sort_unstable();
            let (name, flavour, expected) = &ANSWERS[index];
            check(name, &replay(name, *flavour, cuts), expected);
            Ok(())
        })
        .unwrap();
}

/// A server of one kind with its own management wires.
pub(crate) fn server_of(kind: &'static str) -> Scripted {
    Scripted::start(move |request, stream| {
        let name = match (kind, request.line.as_str()) {
            ("lmstudio", "GET /api/v0/models") => "lmstudio-v0-models",
            (_, "GET /v1/models") => return write(stream, &wire(&format!("{kind}-models"))),
            ("llamacpp", "GET /props") => "llamacpp-props",
            ("llamacpp", "GET /slots") => "llamacpp-slots",
            ("llamacpp", "POST /tokenize") => "llamacpp-tokenize",
            ("llamacpp", "POST /v1/completions") => "llamacpp-completion",
            ("vllm", "GET /version") => "vllm-version",
            ("vllm", "POST /tokenize") => "vllm-tokenize",
            ("vllm", "POST /v1/completions") => "vllm-completion",
            ("sglang", "GET /get_model_info") => "sglang-model-info",
            ("sglang", "GET /get_server_info") => "sglang-server-info",
            ("sglang", "POST /v1/completions") => "sglang-completion",
            ("tgi", "GET /info") => "tgi-info",
            ("tgi", "POST /v1/completions") => "tgi-completion",
            ("lmstudio", "POST /api/v0/chat/completions") => "lmstudio-chat",
            ("lmstudio", _) => "lmstudio-unknown-path",
            ("llamacpp", _) => "llamacpp-unknown-path",
            ("ollama", "POST /v1/completions") if request.is_generation() => "ollama-completion",
            ("ollama", "POST /v1/completions") => return management(request, stream),
            _ => "ollama-unknown-path",
        };
        write(stream, &wire(name));
    })
}

#[test]
fn what_a_server_says_of_its_model_is_read() {
    block_on(async {
        let load = async |kind, name: &str| {
            let server = server_of(kind);
            let backend = server.builder().build().unwrap();
            backend.load(&ModelRef::named(name), &LoadOptions::default()).await.unwrap()
        };
        let llama = load("llamacpp", "gemma-270m").await;
        let info = llama.model();
        assert_eq!((info.name.as_str(), info.context), ("gemma-270m", Some(2048)));
        assert_eq!(
            (info.vocabulary, info.width, info.quantisation.as_deref()),
            (Some(262_144), Some(640), Some("Q8_0"))
        );
        assert_eq!(info.parameters.map(|parameters| parameters.total), Some(268_098_176));
        assert_eq!((info.layers, info.digest.as_ref(), info.weight_bytes_per_token), (None, None, None));
        assert_eq!(load("vllm", "Qwen/Qwen3-0.6B").await.model().context, Some(2048));
        assert_eq!(load("sglang", "qwen").await.model().context, Some(32_768));
        assert_eq!(load("tgi", "HuggingFaceTB/SmolLM2-135M").await.model().context, Some(512));
        let studio = load("lmstudio", "granite-3.0-2b-instruct").await;
        let info = studio.model();
        assert_eq!((info.context, info.quantisation.as_deref()), (Some(4096), Some("Q4_K_M")));
        assert_eq!(load("ollama", "smollm2:135m").await.model().context, None);
    });
}

#[test]
fn token_ids_are_told_by_those_who_can() {
    block_on(async {
        for (kind, name, ids) in [
            ("llamacpp", "gemma-270m", Some([9259, 1902])),
            ("vllm", "Qwen/Qwen3-0.6B", Some([9707, 1879])),
            ("sglang", "qwen", None),
        ] {
            let server = server_of(kind);
            let backend = server.builder().build().unwrap();
            let session: std::sync::Arc<dyn Session> =
                backend.load(&ModelRef::named(name), &LoadOptions::default()).await.unwrap();
            match ids {
                Some(ids) => {
                    assert_eq!(session.tokenize("Hello world").await.unwrap(), ids, "{kind}");
                    assert!(session.tokenize("").await.unwrap().is_empty(), "{kind}");
                }
                None => assert_eq!(session.tokenize("x").await.unwrap_err().code(), "unsupported"),
            }
            assert_eq!(session.score(&[1]).await.unwrap_err().code(), "unsupported");
        }
    });
}
