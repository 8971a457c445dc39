//! What kind of server it is, and what is said of it.

use std::sync::Arc;

use async_io::block_on;
use chimera_core::{Capabilities, InferenceBackend, LoadOptions, ModelRef, Probe, Request};
use chimera_openai::{Flavour, OpenAiBackend};
use chimera_wire::Endpoint;

use crate::{support::*, wires::server_of};

fn probed(server: &Scripted, flavour: Flavour) -> Probe {
    let probe = block_on(server.builder().flavour(flavour).build().unwrap().probe()).unwrap();
    assert!(probe.availability.is_ready(), "{probe:?}");
    probe
}

fn detail<'a>(probe: &'a Probe, key: &str) -> &'a str {
    probe.details.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
}

#[test]
fn each_kind_is_found_out_with_evidence() {
    for (kind, flavour, evidence, version) in [
        ("llamacpp", "llama.cpp", "`llamacpp`", Some("b7137-10e978015")),
        ("vllm", "vllm", "`vllm`", Some("0.11.2")),
        ("sglang", "sglang", "`sglang`", Some("0.5.5")),
        ("tgi", "tgi", "/info", Some("3.3.4")),
        ("lmstudio", "lm-studio", "/api/v0/models", None),
        ("ollama", "plain", "nothing", None),
    ] {
        let server = server_of(kind);
        let probe = probed(&server, Flavour::Auto);
        assert_eq!((detail(&probe, "flavour"), probe.version.as_deref()), (flavour, version), "{probe:?}");
        assert!(detail(&probe, "evidence").contains(evidence), "{probe:?}");
        assert_eq!(detail(&probe, "models"), "1");
        // Harmless: nothing but questions.
        assert!(server.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", server.lines());
    }
}

#[test]
fn a_server_with_owners_of_its_own_is_known_by_its_paths() {
    for (kind, own, flavour) in [("llamacpp", "/props", "llama.cpp"), ("sglang", "/get_model_info", "sglang")]
    {
        let inner = server_of(kind);
        let address = inner.address;
        // The list of somebody else, the paths of the kind.
        let server = Scripted::start(move |request, stream| {
            if request.is("GET /v1/models") {
                return management(request, stream);
            }
            let mut other = std::net::TcpStream::connect(address).unwrap();
            write(&mut other, format!("{} HTTP/1.1\r\nHost: x\r\n\r\n", request.line).as_bytes());
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut other, &mut answer).unwrap();
            write(stream, &answer);
        });
        let probe = probed(&server, Flavour::Auto);
        assert_eq!(detail(&probe, "flavour"), flavour);
        assert!(detail(&probe, "evidence").contains(own));
    }
}

#[test]
fn what_is_declared_follows_from_the_kind() {
    let server = Scripted::start(management);
    let of = |flavour| probed(&server, flavour).capabilities;
    let able = |c: &Capabilities| [c.token_counts, c.exact_budget, c.token_prompts, c.tokenize, c.chat];
    assert_eq!(able(&of(Flavour::Plain)), [false, false, false, false, true]);
    assert_eq!(able(&of(Flavour::LlamaCpp)), [false, true, true, true, true]);
    assert_eq!(able(&of(Flavour::Vllm)), [true, true, true, true, true]);
    assert_eq!(able(&of(Flavour::SgLang)), [true, true, true, false, true]);
    assert_eq!(able(&of(Flavour::Tgi)), [false, false, false, false, true]);
    assert_eq!(able(&of(Flavour::LmStudio)), [false, false, false, false, true]);
    assert_eq!(able(&of(Flavour::Chimera)), [false, true, true, false, true]);
    assert_eq!((of(Flavour::LlamaCpp).phases.len(), of(Flavour::Vllm).phases.len()), (2, 0));
    let mine =
        server.builder().flavour(Flavour::Vllm).completions(false).chat(false).parallel(3).build().unwrap();
    let capabilities = block_on(mine.probe()).unwrap().capabilities;
    assert_eq!((capabilities.token_prompts, capabilities.chat), (false, false));
    assert_eq!(capabilities.max_in_flight, Some(3));
    // llama.cpp tells its slots.
    assert_eq!(probed(&server_of("llamacpp"), Flavour::Auto).capabilities.max_in_flight, Some(2));
}

#[test]
fn the_address_may_end_in_v1_or_not() {
    let server = server_of("vllm");
    for tail in ["", "/", "/v1", "/v1/"] {
        let endpoint = Endpoint::parse(&format!("{}{tail}", server.url()), 80).unwrap();
        let backend =
            OpenAiBackend::builder(endpoint, Arc::new(chimera_core::SystemClock::new())).build().unwrap();
        assert_eq!(backend.endpoint().to_string(), server.url());
        assert_eq!(block_on(backend.models()).unwrap(), ["Qwen/Qwen3-0.6B"]);
    }
    assert!(server.lines().iter().all(|line| line == "GET /v1/models" || line == "GET /version"));
    let below = Endpoint::parse("http://127.0.0.1:9/api/v1", 80).unwrap();
    let backend = OpenAiBackend::builder(below, Arc::new(chimera_core::SystemClock::new())).build().unwrap();
    assert_eq!(backend.endpoint().to_string(), "http://127.0.0.1:9/api");
}

async fn refused(server: &Scripted, name: &str, context: Option<u32>) -> chimera_core::BackendError {
    let mut options = LoadOptions::default();
    options.context = context;
    match server.builder().build().unwrap().load(&ModelRef::named(name), &options).await {
        Ok(_) => panic!("{name} is loaded"),
        Err(error) => error,
    }
}

#[test]
fn a_name_must_be_listed_and_a_context_must_be_there() {
    block_on(async {
        let llama = server_of("llamacpp");
        let error = refused(&llama, "llama-3", None).await;
        assert_eq!(error.code(), "model-not-found");
        let told = error.to_string();
        assert!(told.contains("gemma-3-270m-it-Q8_0.gguf") && told.contains("any name"), "{told}");
        let error = refused(&server_of("vllm"), "Qwen", None).await;
        assert!(error.code() == "model-not-found" && !error.to_string().contains("any name"), "{error}");
        let error = refused(&llama, "gemma-270m", Some(2049)).await;
        assert!(error.code() == "invalid-request" && error.to_string().contains("2048"), "{error}");
    });
}

#[test]
fn a_model_that_may_be_absent_is_made_resident() {
    block_on(async {
        let load = async |server: &Scripted, name: &str| {
            let backend = server.builder().build().unwrap();
            backend.load(&ModelRef::named(name), &LoadOptions::default()).await.unwrap();
            server.lines().iter().filter(|line| line.starts_with("POST")).count()
        };
        assert_eq!(load(&server_of("ollama"), "smollm2:135m").await, 1);
        assert_eq!(load(&server_of("vllm"), "Qwen/Qwen3-0.6B").await, 0);
        assert_eq!(load(&server_of("llamacpp"), "gemma-270m").await, 0);
        assert_eq!(load(&server_of("lmstudio"), "granite-3.0-2b-instruct").await, 0);
        // The same listed as not loaded: its context is that of the loaded one.
        let loaded = std::sync::atomic::AtomicBool::new(false);
        let sleeping = Scripted::start(move |request, stream| {
            if request.is("POST /api/v0/completions") {
                loaded.store(true, std::sync::atomic::Ordering::SeqCst);
                return write(stream, &plain("200 OK", "application/json", r#"{"choices":[{"text":"a"}]}"#));
            }
            let state = if loaded.load(std::sync::atomic::Ordering::SeqCst) {
                r#""loaded","loaded_context_length":4096"#
            } else {
                r#""not-loaded""#
            };
            let list = format!(r#"{{"data":[{{"id":"g","max_context_length":8192,"state":{state}}}]}}"#);
            let answer = if request.line.ends_with("/models") { list } else { r#"{"error":"x"}"#.to_owned() };
            write(stream, &plain("200 OK", "application/json", &answer));
        });
        let backend = sleeping.builder().build().unwrap();
        let session = backend.load(&ModelRef::named("g"), &LoadOptions::default()).await.unwrap();
        assert_eq!(session.model().context, Some(4096));
        let asked = sleeping.asked.lock().unwrap().iter().find(|asked| asked.is("POST")).unwrap().json();
        assert_eq!((&asked["max_tokens"], &asked["stream"]), (&1.into(), &false.into()));
    });
}

#[test]
fn a_chat_s_budget_takes_the_name_that_the_server_wants() {
    let server = Scripted::generating(|request, stream| {
        let json = request.json();
        if json.get("max_completion_tokens").is_none() {
            let refusal = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","code":"unsupported_parameter"}}"#;
            return write(stream, &plain("400 Bad Request", "application/json", refusal));
        }
        write(
            stream,
            &streamed(&[r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}"#, "[DONE]"]),
        );
    });
    block_on(async {
        let backend = server.builder().build().unwrap();
        let session = backend.load(&ModelRef::named(MODEL), &LoadOptions::default()).await.unwrap();
        let chat: [chimera_core::Message; 1] =
            [chimera_core::Message { role: chimera_core::Role::User, content: "hi".into() }];
        let request = Request::new(chimera_core::Prompt::Chat(chat.into()), 5);
        assert_eq!(read(&*session, request.clone()).await.unwrap().text, "hi");
        assert_eq!(read(&*session, request).await.unwrap().text, "hi");
        // A raw completion has one name only, and its refusal is final.
        let error = read(&*session, Request::text("x", 5)).await.unwrap_err();
        assert_eq!(error.code(), "invalid-request");
    });
    let asked = server.asked.lock().unwrap();
    let names: Vec<bool> = asked
        .iter()
        .filter(|asked| asked.is_generation() && asked.is("POST /v1/chat"))
        .map(|asked| asked.json().get("max_completion_tokens").is_some())
        .collect();
    // Refused once, then known.
    assert_eq!(names, [false, true, true]);
}

#[test]
fn a_server_that_only_chats_is_found_out_when_it_loads() {
    let server = Scripted::start(|request, stream| {
        let json = request.json();
        if request.is("POST /v1/completions") {
            return write(stream, &plain("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#));
        }
        if request.is("POST") && json.get("max_completion_tokens").is_none() {
            let refusal = r#"{"error":{"message":"use 'max_completion_tokens' instead"}}"#;
            return write(stream, &plain("400 Bad Request", "application/json", refusal));
        }
        management(request, stream);
    });
    block_on(async {
        let backend = server.builder().flavour(Flavour::Plain).build().unwrap();
        let session = backend.load(&ModelRef::named(MODEL), &LoadOptions::default()).await.unwrap();
        let error = read(&*session, Request::text("x", 1)).await.unwrap_err();
        assert!(error.code() == "unsupported" && error.to_string().contains("no completions"), "{error}");
        let posts: Vec<_> = server.lines().into_iter().filter(|line| line.starts_with("POST")).collect();
        // A raw token, a chat's token, and that by its other name.
        assert_eq!(posts, ["POST /v1/completions", "POST /v1/chat/completions", "POST /v1/chat/completions"]);
    });
}
