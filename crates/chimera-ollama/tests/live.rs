//! A real server, where `CHIMERA_OLLAMA_URL` names one: what it does beside what this adapter says that it does. Models are
//! made from generated files, so nothing is fetched. Tests take turns: a server has one slot.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use async_io::block_on;
use chimera_core::{
    BackendError, EventKind, FinishReason, Finished, InferenceBackend, LoadOptions, Message, ModelRef, Phase,
    Prompt, Request, Role, Session, SystemClock,
};
use chimera_ollama::{OllamaBackend, OllamaBuilder};
use chimera_wire::Endpoint;
use chimera_zoo::{Variant, Zoo};
use futures_util::StreamExt;

/// A builder for the live server and the turn to use it, or a line that says why not.
fn live() -> Option<(OllamaBuilder, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let Some(url) = std::env::var("CHIMERA_OLLAMA_URL").ok().filter(|url| !url.is_empty()) else {
        println!("SKIP: CHIMERA_OLLAMA_URL names no Ollama server");
        return None;
    };
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let endpoint = Endpoint::parse(&url, 11434).unwrap();
    Some((
        OllamaBackend::builder(endpoint, Arc::new(SystemClock::new()))
            .keep_alive(Some(Duration::from_secs(60))),
        turn,
    ))
}

/// A small model of the Llama family, big enough that a prompt takes time to read.
fn model() -> ModelRef {
    static FILES: OnceLock<(tempfile::TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let files = Zoo::open(folder.path()).unwrap().ensure("llama-1m", Variant::F32Gguf).unwrap();
        (folder, files.weights)
    });
    ModelRef::at("chimera-live", path)
}

fn context(tokens: u32) -> LoadOptions {
    let mut options = LoadOptions::default();
    options.context = Some(tokens);
    options
}

async fn ask(session: &dyn Session, request: Request) -> Result<(String, Finished), BackendError> {
    let (mut text, mut end) = (String::new(), None);
    let mut law = chimera_core::Law::new(1);
    let mut stream = session.generate(request.into());
    while let Some(item) = stream.next().await {
        law.see(&item).unwrap();
        match item.map_err(|error| error.error)?.kind {
            EventKind::Chunk { text: part, .. } => text.push_str(&part),
            EventKind::Finished(finished) => end = Some(finished),
            _ => {}
        }
    }
    law.end().unwrap();
    Ok((text, end.unwrap()))
}

fn nanos(end: &Finished, phase: Phase) -> u64 {
    end.timings
        .iter()
        .find(|timing| timing.phase == phase)
        .unwrap_or_else(|| panic!("no {phase:?}: {end:?}"))
        .nanos
}

#[test]
fn a_model_is_made_from_a_file_described_and_asked() {
    let Some((builder, _turn)) = live() else { return };
    block_on(async {
        let backend = builder.build().unwrap();
        println!("server {}", backend.version().await.unwrap());
        let session = backend.load(&model(), &context(512)).await.unwrap();
        let info = session.model();
        println!("{info:?}");
        assert_eq!((info.name.as_str(), info.context), ("chimera-live", Some(512)));
        assert!(info.digest.is_some() && info.parameters.is_some() && info.layers.is_some());
        let (text, end) = ask(&*session, Request::text("The quick brown fox", 16)).await.unwrap();
        println!("{text:?} {end:?}");
        assert!(end.prompt.is_some_and(|prompt| prompt > 0) && end.generated.is_some_and(|n| n > 0));
        if end.reason == FinishReason::Length {
            assert_eq!(end.generated, Some(16));
        }
        let parts = nanos(&end, Phase::Prefill) + nanos(&end, Phase::Decode);
        assert!(parts <= nanos(&end, Phase::Total), "{end:?}");
        let (again, _) = ask(&*session, Request::text("The quick brown fox", 16)).await.unwrap();
        assert_eq!(again, text, "greedy");
        let chat = [Message { role: Role::User, content: "Hello".into() }];
        let (_, end) = ask(&*session, Request::new(Prompt::Chat(chat.into()), 4)).await.unwrap();
        assert!(end.generated.is_some());
        let resident = backend.ps().await.unwrap();
        assert!(resident.iter().any(|model| model.name.starts_with("chimera-live-")), "{resident:?}");
        assert!(backend.lag().stamped + backend.lag().unstamped > 0);
        println!("lag {:?}", backend.lag());
    });
}

#[test]
fn a_cached_prompt_shows_in_the_servers_own_prefill() {
    let Some((builder, _turn)) = live() else { return };
    block_on(async {
        let session = builder.build().unwrap().load(&model(), &context(2048)).await.unwrap();
        let prompt = |nonce: &str| format!("{nonce}{}", " and the city of Paris is large".repeat(60));
        let prefill = async |nonce: &str| {
            let end = ask(&*session, Request::text(prompt(nonce), 2)).await.unwrap().1;
            (end.prompt.unwrap(), nanos(&end, Phase::Prefill))
        };
        let cold = prefill("1001").await;
        // A busy machine makes any single time long; the shortest of some is the cache's.
        let mut warm = prefill("1001").await;
        for _ in 0..4 {
            warm = warm.min(prefill("1001").await);
        }
        let other = prefill("2002").await;
        println!("tokens and ns of prefill: cold {cold:?}, again {warm:?}, with another nonce {other:?}");
        assert_eq!(cold.0, warm.0, "the count stays the same");
        assert!(warm.1 * 3 < cold.1 && warm.1 * 3 < other.1, "only the time gives the cache away");
    });
}

#[test]
fn another_context_reloads_and_the_load_duration_says_so() {
    let Some((builder, _turn)) = live() else { return };
    block_on(async {
        let backend = builder.build().unwrap();
        let load = async |session: &Arc<dyn Session>| {
            nanos(&ask(&**session, Request::text("The city", 2)).await.unwrap().1, Phase::Load)
        };
        let first = backend.load(&model(), &context(512)).await.unwrap();
        let resident = load(&first).await.min(load(&first).await);
        // The second session's load replaces what the first one holds; the first finds out with its next request.
        let second = backend.load(&model(), &context(1024)).await.unwrap();
        let replaced = load(&first).await;
        println!("ns of load: resident {resident}, after another context {replaced}");
        assert!(replaced > 2 * resident, "a reload is visible");
        second.unload().await.unwrap();
    });
}

#[test]
fn a_cut_prompt_is_never_an_answer() {
    let Some((builder, _turn)) = live() else { return };
    block_on(async {
        let session = builder.build().unwrap().load(&model(), &context(128)).await.unwrap();
        let error = ask(&*session, Request::text(" the city".repeat(300), 2)).await.unwrap_err();
        println!("{error}");
        assert_eq!(error.code(), "invalid-request");
        // Answers that run beyond the context, end by themselves, or are ended by the server because they repeat themselves.
        for words in ["the city", "a small town", "one two three"] {
            match ask(&*session, Request::text(format!("{words} ").repeat(12), 400)).await {
                Err(error) => {
                    println!("{error}");
                    assert!(matches!(error.code(), "invalid-request" | "failed"), "{error}");
                }
                Ok((_, end)) => assert!(end.prompt.unwrap() + end.generated.unwrap() <= 128, "{end:?}"),
            }
        }
        ask(&*session, Request::text("The city", 2)).await.unwrap();
    });
}

#[test]
fn a_dropped_generation_frees_the_server() {
    let Some((builder, _turn)) = live() else { return };
    block_on(async {
        let session = builder.build().unwrap().load(&model(), &context(4096)).await.unwrap();
        let clock = std::time::Instant::now();
        let mut stream = session.generate(Request::text("The city", 3000).into());
        let mut chunks = 0;
        while let Some(item) = stream.next().await {
            chunks += usize::from(matches!(item.unwrap().kind, EventKind::Chunk { .. }));
            if chunks == 3 {
                break;
            }
        }
        drop(stream);
        let dropped = clock.elapsed();
        session.idle().await;
        println!("dropped after {dropped:?}, free after {:?} more", clock.elapsed() - dropped);
        assert_eq!(chunks, 3);
        assert!(ask(&*session, Request::text("The city", 2)).await.is_ok());
    });
}

#[test]
fn unloading_frees_the_memory_and_closes() {
    let Some((builder, _turn)) = live() else { return };
    block_on(async {
        let backend = builder.build().unwrap();
        let session = backend.load(&model(), &context(512)).await.unwrap();
        session.unload().await.unwrap();
        session.unload().await.unwrap();
        let resident = backend.ps().await.unwrap();
        assert!(resident.iter().all(|model| !model.name.starts_with("chimera-live-")), "{resident:?}");
        assert_eq!(ask(&*session, Request::text("x", 1)).await.unwrap_err().code(), "closed");
        let error = match backend.load(&ModelRef::named("no-such-model"), &context(512)).await {
            Ok(_) => panic!("a model that does not exist is loaded"),
            Err(error) => error,
        };
        assert_eq!(error.code(), "model-not-found");
    });
}
