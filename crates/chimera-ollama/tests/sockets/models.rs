//! How a model comes to a server: by name, from a file, and what the server is told each time.

use std::{io::Write as _, path::Path};

use async_io::block_on;
use chimera_core::{InferenceBackend, LoadOptions, ModelRef, Request};
use serde_json::json;

use crate::support::*;

const END: &str = r#"{"response":"","done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":1}"#;

/// A server that knows no model but those that were created.
fn empty() -> Scripted {
    let created = std::sync::Mutex::new(Vec::<String>::new());
    Scripted::start(move |request, stream| {
        let json = request.json();
        let name = json["model"].as_str().unwrap_or_default().to_owned();
        match request.line.as_str() {
            "POST /api/show" if created.lock().unwrap().contains(&name) => loading(request, stream),
            "POST /api/show" => write(stream, &wire("show-unknown")),
            line if line.starts_with("HEAD /api/blobs/") => write(stream, &wire("create-blob-head-missing")),
            line if line.starts_with("POST /api/blobs/") => write(stream, &wire("create-blob-post")),
            "POST /api/create" => {
                created.lock().unwrap().push(name);
                write(stream, &wire("create"));
            }
            _ if request.is_generation() => write(stream, &plain("200 OK", "application/json", END)),
            _ => loading(request, stream),
        }
    })
}

fn gguf(folder: &Path, name: &str, content: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"GGUF").unwrap();
    file.write_all(content).unwrap();
    path
}

#[test]
fn a_file_becomes_a_model_whose_name_says_which_file_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let one = gguf(folder.path(), "one.gguf", b"weights");
    let other = gguf(folder.path(), "other.gguf", b"other weights");
    let server = empty();
    block_on(async {
        let backend = server.builder().build().unwrap();
        let mut names = Vec::new();
        for path in [&one, &other, &one] {
            let session = backend.load(&ModelRef::at("tiny:1", path), &context(64)).await.unwrap();
            assert_eq!(session.model().name, "tiny:1");
            read(&*session, Request::text("x", 4)).await.unwrap();
            let asked = server.asked.lock().unwrap();
            names.push(asked.iter().rfind(|asked| asked.is_generation()).unwrap().json()["model"].clone());
        }
        assert_eq!(names[0], names[2]);
        assert_ne!(names[0], names[1]);
        assert!(names[0].as_str().unwrap().starts_with("tiny-1-"), "{names:?}");
        let lines = server.lines();
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("POST /api/blobs/sha256:")).count(),
            2,
            "{lines:?}"
        );
        assert_eq!(lines.iter().filter(|line| *line == "POST /api/create").count(), 2);
    });
    let asked = server.asked.lock().unwrap();
    let blob = asked.iter().find(|asked| asked.is("POST /api/blobs/")).unwrap();
    assert_eq!(blob.body, b"GGUFweights");
    // Old servers read a recipe, newer ones a list of files; both name the same bytes.
    let create = asked.iter().find(|asked| asked.is("POST /api/create")).unwrap().json();
    let digest = blob.line.trim_start_matches("POST /api/blobs/");
    assert_eq!(create["files"], json!({ "one.gguf": digest }));
    assert_eq!(create["modelfile"], json!(format!("FROM @{digest}\n")));
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("model.gguf");
    std::fs::write(&text, "no model").unwrap();
    let server = empty();
    block_on(async {
        let backend = server.builder().build().unwrap();
        let load = async |model: ModelRef| match backend.load(&model, &LoadOptions::default()).await {
            Ok(_) => panic!("{model:?} is loaded"),
            Err(error) => (error.code(), error.to_string()),
        };
        let (code, told) = load(ModelRef::named("nope")).await;
        assert_eq!(code, "model-not-found");
        assert!(told.contains("no model nope") && told.contains("ollama pull nope"), "{told}");
        assert_eq!(load(ModelRef::at("nope", folder.path().join("absent.gguf"))).await.0, "model-not-found");
        let (code, told) = load(ModelRef::at("nope", &text)).await;
        assert_eq!(code, "model-invalid");
        assert!(told.contains("model.gguf"), "{told}");
    });
}

#[test]
fn a_file_that_the_server_cannot_use_is_an_invalid_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = gguf(folder.path(), "broken.gguf", b"");
    let server = Scripted::start(|request, stream| match request.line.as_str() {
        "POST /api/show" => write(stream, &wire("show-unknown")),
        "POST /api/create" => {
            write(stream, &streamed(&[r#"{"status":"parsing GGUF"}"#, r#"{"error":"unexpected EOF"}"#]));
        }
        _ => write(stream, &wire("create-blob-head-there")),
    });
    block_on(async {
        let backend = server.builder().build().unwrap();
        let error = match backend.load(&ModelRef::at("m", &path), &LoadOptions::default()).await {
            Ok(_) => panic!("a broken file is loaded"),
            Err(error) => error,
        };
        assert_eq!(error.code(), "model-invalid");
        assert!(
            error.to_string().contains("unexpected EOF") && error.to_string().contains("broken.gguf"),
            "{error}"
        );
    });
    assert!(server.lines().iter().all(|line| !line.starts_with("POST /api/blobs")), "it was there already");
}

#[test]
fn a_model_that_the_server_has_and_cannot_run_is_invalid() {
    let server = Scripted::start(|request, stream| {
        if request.is("POST /api/generate") {
            let told = r#"{"error":"unable to load model: /models/blobs/sha256-00"}"#;
            write(stream, &plain("500 Internal Server Error", "application/json", told));
        } else {
            loading(request, stream);
        }
    });
    block_on(async {
        let error = load(&server.builder().build().unwrap()).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "model-invalid", "{error}");
        assert!(error.to_string().contains("unable to load model"), "{error}");
    });
}

#[test]
fn the_same_options_go_with_every_request() {
    let server = Scripted::replaying(plain("200 OK", "application/json", END));
    block_on(async {
        let backend = server.builder().threads(Some(3)).keep_alive(None).build().unwrap();
        // Without a word from anybody: the model's own context, but no more than 4096.
        let session = backend.load(&ModelRef::named(MODEL), &LoadOptions::default()).await.unwrap();
        for prompt in ["one", "two"] {
            read(&*session, Request::text(prompt, 4)).await.unwrap();
        }
        let other = server.builder().context(99).build().unwrap();
        other.load(&ModelRef::named(MODEL), &LoadOptions::default()).await.unwrap();
        other.load(&ModelRef::named(MODEL), &context(77)).await.unwrap();
    });
    let asked = server.asked.lock().unwrap();
    let all: Vec<_> = asked.iter().filter(|asked| asked.is("POST /api/generate")).map(Asked::json).collect();
    let held = |json: &serde_json::Value| {
        (
            json["options"]["num_ctx"].clone(),
            json["options"]["num_thread"].clone(),
            json["keep_alive"].clone(),
        )
    };
    assert_eq!(all.len(), 5);
    for json in &all[..3] {
        assert_eq!(held(json), (json!(4096), json!(3), json!(-1)));
        assert_eq!((&json["truncate"], &json["shift"]), (&json!(false), &json!(false)));
    }
    assert_eq!(held(&all[3]), (json!(99), json!(null), json!(1800)));
    assert_eq!(held(&all[4]).0, json!(77));
}

#[test]
fn an_old_server_that_lacks_half_of_it_still_works() {
    // What 0.1 had: no list of resident models, no metadata, no reason, no counts of cached prompts.
    let server = Scripted::start(|request, stream| {
        let json = "application/json";
        match request.line.as_str() {
            "POST /api/show" => {
                write(stream, &plain("200 OK", json, r#"{"modelfile":"FROM x","template":"{{ .Prompt }}"}"#))
            }
            "POST /api/generate" if request.is_generation() => {
                write(
                    stream,
                    &streamed(&[
                        r#"{"response":"a","done":false}"#,
                        r#"{"done":true,"eval_count":1,"eval_duration":5}"#,
                    ]),
                );
            }
            "POST /api/generate" => write(stream, &plain("200 OK", json, r#"{"done":true}"#)),
            _ => write(stream, &wire("error-unknown-path")),
        }
    });
    block_on(async {
        let backend = server.builder().build().unwrap();
        let session = backend.load(&ModelRef::named("m"), &LoadOptions::default()).await.unwrap();
        let info = session.model();
        assert_eq!((info.digest.as_deref(), info.layers, info.parameters), (None, None, None));
        assert_eq!(info.context, Some(4096));
        let said = read(&*session, Request::text("x", 8)).await.unwrap();
        assert_eq!((said.text.as_str(), said.end.prompt, said.end.generated), ("a", None, Some(1)));
        assert_eq!(said.end.timings.len(), 1);
        session.unload().await.unwrap();
    });
}

/// The file is read while it is sent: what the process holds does not grow with it.
#[cfg(target_os = "linux")]
#[test]
fn an_upload_takes_bounded_memory() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = gguf(folder.path(), "large.gguf", b"");
    let megabytes = 150_u64;
    std::fs::File::options().write(true).open(&path).unwrap().set_len(megabytes << 20).unwrap();
    let server = empty();
    let before = peak();
    let mut steps = Vec::new();
    block_on(async {
        let backend = server.builder().build().unwrap();
        backend.create_from_gguf("large", &path, |step| steps.push(step)).await.unwrap();
    });
    let grown = peak().saturating_sub(before) / 1024;
    println!("an upload of {megabytes} MiB took {grown} MiB more at most");
    assert!(grown < megabytes / 2, "{grown} MiB");
    assert_eq!(steps.first().unwrap().total, Some(megabytes << 20));
    assert_eq!(steps.last().unwrap().status, "success");
}
