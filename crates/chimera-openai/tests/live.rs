//! Real servers: the one that `CHIMERA_OPENAI_URL` names (with `CHIMERA_OPENAI_MODEL`, or the first model that it lists, and
//! `OPENAI_API_KEY` where it wants one), and the OpenAI interface of the Ollama that `CHIMERA_OLLAMA_URL` names, with a model
//! made from a generated file. What a server declares is what it is held to.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[expect(dead_code, reason = "this test takes a part of it")]
mod support;

use std::sync::{Arc, Mutex, MutexGuard};

use async_io::block_on;
use chimera_core::{
    Capabilities, FinishReason, InferenceBackend, LoadOptions, Message, ModelRef, Prompt, Request, Role,
    Session, SystemClock,
};
use chimera_openai::{OpenAiBackend, OpenAiBuilder};
use chimera_wire::{Call, Client, Endpoint};
use chimera_zoo::{Variant, Zoo};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use support::read;

/// One server has one slot, perhaps.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn named(variable: &str, what: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("SKIP: {variable} names no {what}");
    }
    value
}

fn builder(url: &str, port: u16) -> OpenAiBuilder {
    OpenAiBackend::builder(Endpoint::parse(url, port).unwrap(), Arc::new(SystemClock::new()))
}

fn chat(text: &str, tokens: u32) -> Request {
    let messages = [Message { role: Role::User, content: text.into() }];
    Request::new(Prompt::Chat(messages.into()), tokens)
}

/// Holds a server to what it declares.
async fn judge(backend: &OpenAiBackend, model: &str) {
    let probe = backend.probe().await.unwrap();
    println!("{} {:?} {:?}", probe.availability, probe.version, probe.details);
    assert!(probe.availability.is_ready());
    let able = &probe.capabilities;
    let session = backend.load(&ModelRef::named(model), &LoadOptions::default()).await.unwrap();
    println!("{:?}", session.model());
    let unknown = backend.load(&ModelRef::named("no-such-model"), &LoadOptions::default()).await;
    assert_eq!(unknown.err().map(|error| error.code()), Some("model-not-found"));
    for request in [Request::text("The quick brown fox", 8), chat("Say hello.", 8)] {
        let said = read(&*session, request.clone()).await.unwrap();
        println!("{said:?}");
        let end = &said.end;
        assert!(end.generated.is_none_or(|generated| generated <= 8 && generated > 0));
        if let (FinishReason::Length, Some(generated)) = (end.reason, end.generated) {
            assert_eq!(generated, 8);
        }
        let phases: Vec<_> = end.timings.iter().map(|timing| (timing.phase, timing.source)).collect();
        assert_eq!(phases, able.phases);
        if able.token_counts {
            assert!(said.tokens.is_some() && said.tokens == end.generated);
        }
    }
    capable(able, &*session).await;
    // A dropped stream leaves the session usable.
    let mut stream = session.generate(Request::text("Once upon a time", 64).into());
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    session.idle().await;
    read(&*session, Request::text("The quick brown fox", 2)).await.unwrap();
    session.unload().await.unwrap();
    println!("{:?}", backend.lag());
}

async fn capable(able: &Capabilities, session: &dyn Session) {
    if able.exact_budget {
        let said = read(session, Request::text("The end.", 24).exact()).await.unwrap();
        assert_eq!((said.end.reason, said.end.generated), (FinishReason::Length, Some(24)));
    }
    if able.tokenize {
        let ids = session.tokenize("The quick brown fox").await.unwrap();
        assert!(!ids.is_empty());
        if able.token_prompts {
            let count = u32::try_from(ids.len()).unwrap();
            let said = read(session, Request::tokens(ids, 2)).await.unwrap();
            assert_eq!(said.end.prompt, Some(count));
        }
    }
}

#[test]
fn a_real_server_does_what_it_declares() {
    let Some(url) = named("CHIMERA_OPENAI_URL", "server") else { return };
    let _turn = turn();
    let mut builder = builder(&url, 8080);
    if let Ok(key) = std::env::var("OPENAI_API_KEY") {
        builder = builder.bearer(key);
    }
    let backend = builder.build().unwrap();
    block_on(async {
        let model = match std::env::var("CHIMERA_OPENAI_MODEL") {
            Ok(model) => model,
            Err(_) => match backend.models().await.unwrap().first() {
                Some(model) => model.clone(),
                None => panic!("the server lists no model: name one in CHIMERA_OPENAI_MODEL"),
            },
        };
        judge(&backend, &model).await;
    });
}

/// Makes a model of a generated file on an Ollama server, by its own interface.
async fn made(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let weights = Zoo::open(folder.path()).unwrap().ensure("llama-1m", Variant::F32Gguf).unwrap().weights;
    let bytes = std::fs::read(&weights).unwrap();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let endpoint = Endpoint::parse(url, 11434).unwrap();
    let client = Client::builder(endpoint, Arc::new(SystemClock::new())).build().unwrap();
    let blob = Call::upload(format!("/api/blobs/sha256:{digest}"), &weights, bytes.len() as u64);
    assert!(client.send(&blob).await.unwrap().status.is_success());
    let name = "chimera-live-openai";
    let create = serde_json::json!({
        "model": name, "name": name, "files": { "model.gguf": format!("sha256:{digest}") }, "stream": false,
    });
    let answer = client.send(&Call::post("/api/create", create.to_string())).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.status);
    answer.bytes(1 << 20).await.unwrap();
    name.to_owned()
}

#[test]
fn the_same_interface_of_a_real_ollama_is_plain() {
    let Some(url) = named("CHIMERA_OLLAMA_URL", "Ollama server") else { return };
    let _turn = turn();
    block_on(async {
        let model = made(&url).await;
        let backend = builder(&url, 11434).build().unwrap();
        assert!(backend.models().await.unwrap().iter().any(|listed| listed.starts_with(&model)));
        judge(&backend, &model).await;
        let probe = backend.probe().await.unwrap();
        assert!(probe.details.contains(&("flavour".into(), "plain".into())), "{probe:?}");
        // Parts carry no token count here, and the last usage is the true one.
        let session = backend.load(&ModelRef::named(&*model), &LoadOptions::default()).await.unwrap();
        let said = read(&*session, Request::text("the", 5)).await.unwrap();
        assert!(said.tokens.is_none() || said.chunks == 0);
        assert!(said.end.prompt.is_some_and(|prompt| prompt > 0) && said.end.generated.is_some());
        let exact = read(&*session, Request::text("the", 5).exact()).await.unwrap_err();
        assert_eq!(exact.code(), "unsupported");
    });
}
