//! Ollama's endpoints: shapes, options, streams against whole answers.

use std::collections::BTreeSet;

use chimera_serve::ServeOptions;
use chimera_sim::{Fault, SimModel};
use serde_json::{Value, json};

use crate::support::*;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn set<const N: usize>(names: [&'static str; N]) -> BTreeSet<&'static str> {
    names.into()
}

const COUNTERS: [&str; 7] = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_cached_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
];

fn greedy(model: &str, prompt: &str, tokens: i64) -> Value {
    json!({ "model": model, "prompt": prompt, "options": { "temperature": 0, "num_predict": tokens } })
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

#[test]
fn the_small_endpoints() {
    let server = plain();
    let root = get(&server, "/");
    assert_eq!((root.status, root.body.as_str()), (200, "Ollama is running"));
    let head = receive(send(server.addr(), "HEAD", "/", &[], b""));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let version = get(&server, "/api/version").json();
    assert!(version["version"].as_str().unwrap().split('.').all(|part| part.parse::<u32>().is_ok()));

    let tags = get(&server, "/api/tags").json();
    let names: Vec<&str> =
        tags["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny", "other", "slow"]);
    // Nobody knows more of a model that was never resident.
    assert_eq!(keys(&tags["models"][0]), set(["name", "model", "modified_at", "details"]));
    assert_eq!(get(&server, "/api/ps").json(), json!({ "models": [] }));

    assert_eq!(post(&server, "/api/generate", &json!({ "model": "tiny" })).json()["done_reason"], "load");
    let ps = get(&server, "/api/ps").json();
    assert_eq!(ps["models"].as_array().unwrap().len(), 1);
    let expected = set(["name", "model", "digest", "details", "expires_at", "context_length"]);
    assert_eq!(keys(&ps["models"][0]), expected);
    assert_eq!(ps["models"][0]["context_length"], 4096);
    let tags = get(&server, "/api/tags").json();
    assert_eq!(
        tags["models"][0]["details"],
        json!({ "parameter_size": "1.00M", "quantization_level": "F32" })
    );

    let show = post(&server, "/api/show", &json!({ "model": "tiny:latest" })).json();
    assert_eq!(show["model_info"]["general.parameter_count"], 1_000_000);
    assert_eq!(show["model_info"]["chimera.context_length"], 4096);
    assert_eq!(show["capabilities"], json!(["completion"]));
    assert_eq!(post(&server, "/api/show", &json!({ "name": "tiny" })).status, 200);
    let missing = post(&server, "/api/show", &json!({ "model": "none" }));
    assert_eq!((missing.status, missing.json()), (404, json!({ "error": "model 'none' not found" })));
    for path in ["/api/embed", "/api/embeddings"] {
        assert_eq!(post(&server, path, &json!({ "model": "tiny", "input": "x" })).status, 501);
    }
    assert_eq!(get(&server, "/healthz").body, "ok\n");
    server.stop();
}

#[test]
fn a_stream_concatenated_is_the_whole_answer() {
    let server = plain();
    for (path, field) in [("/api/generate", "response"), ("/api/chat", "message")] {
        let body = if field == "response" {
            greedy("tiny", "hello", 30)
        } else {
            let mut body = greedy("tiny", "", 30);
            body["messages"] =
                json!([{ "role": "system", "content": "s" }, { "role": "user", "content": "hello" }]);
            body
        };
        let text = |value: &Value| match field {
            "response" => value["response"].as_str().unwrap().to_owned(),
            _ => value["message"]["content"].as_str().unwrap().to_owned(),
        };
        let stream = post(&server, path, &body);
        assert_eq!(stream.status, 200);
        assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
        assert!(stream.header("x-chimera-request").unwrap().parse::<u64>().is_ok());
        let lines = stream.lines();
        let (last, chunks) = lines.split_last().unwrap();
        assert!(chunks.len() > 10 && chunks.iter().all(|line| line["done"] == false));
        for line in chunks {
            assert_eq!(keys(line), set(["model", "created_at", field, "done"]));
        }
        let dates: Vec<&str> = lines.iter().map(|line| line["created_at"].as_str().unwrap()).collect();
        assert!(dates.is_sorted() && dates.iter().all(|date| date.len() == 30));
        let mut expected = set(COUNTERS);
        expected.extend(["model", "created_at", field, "done", "done_reason"]);
        assert_eq!(keys(last), expected);
        assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("length")));
        assert_eq!(last["eval_count"], 30);
        let total = |key: &str| last[key].as_u64().unwrap();
        let parts = total("load_duration") + total("prompt_eval_duration") + total("eval_duration");
        assert!(total("total_duration") >= parts, "{last}");

        let whole = post(&server, path, &with(body, "stream", json!(false)));
        assert_eq!(whole.header("content-type"), Some("application/json; charset=utf-8"));
        let whole = whole.json();
        assert_eq!(keys(&whole), keys(last));
        let joined: String = chunks.iter().map(text).collect();
        assert_eq!(text(&whole), joined + &text(last));
        assert!(!text(&whole).is_empty());
    }
    server.stop();
}

#[test]
fn budgets_as_the_real_one_counts_them() {
    let server = plain();
    let run = |tokens: i64| {
        post(&server, "/api/generate", &with(greedy("tiny", "x", tokens), "stream", json!(false))).json()
    };
    // Zero reads the prompt alone; negative goes on to the end of the answer.
    let zero = run(0);
    assert_eq!((&zero["response"], &zero["done_reason"]), (&json!(""), &json!("length")));
    assert_eq!(zero["eval_count"], 0);
    assert!(zero["prompt_eval_duration"].as_u64().unwrap() > 0);
    assert!(zero.get("eval_duration").is_none(), "nothing was decoded: {zero}");
    for open in [-1, -5] {
        let open = run(open);
        assert_eq!((&open["done_reason"], &open["eval_count"]), (&json!("stop"), &json!(40)));
    }
    server.stop();
}

#[test]
fn stop_strings_cut_across_chunks_and_cancel() {
    let server = plain();
    let body = with(greedy("slow", "stop me", 2000), "stream", json!(false));
    let mut long = body.clone();
    long["options"]["num_predict"] = json!(60);
    let text = post(&server, "/api/generate", &long).json()["response"].as_str().unwrap().to_owned();
    // Three characters, hence at least three chunks.
    let inner: Vec<char> = text.chars().skip(8).take(3).collect();
    let stop: String = inner.iter().collect();
    let mut cut = body;
    cut["options"]["stop"] = json!([stop]);
    let answer = post(&server, "/api/generate", &cut).json();
    assert_eq!(answer["response"], text[..text.find(&stop).unwrap()]);
    assert_eq!(answer["done_reason"], "stop");
    let counted = answer["eval_count"].as_u64().unwrap();
    assert!((3..60).contains(&counted), "{answer}");
    // Two thousand steps of 10 ms would hold the only slot for 20 s.
    until("the slot", || metric(&server, "chimera_serve_in_flight") == 0.0);
    let next = post(&server, "/api/generate", &with(greedy("tiny", "x", 1), "stream", json!(false)));
    assert_eq!(next.status, 200);
    server.stop();
}

#[test]
fn wrong_requests_are_named() {
    let server = plain();
    let chat = |messages: Value| json!({ "model": "tiny", "messages": messages });
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("/api/generate", json!({}), 400, "model is required"),
        ("/api/generate", json!({ "model": "none", "prompt": "x" }), 404, "model 'none' not found"),
        ("/api/generate", json!({ "model": 3 }), 400, "invalid JSON"),
        ("/api/generate", json!([]), 400, "invalid JSON"),
        (
            "/api/generate",
            with(greedy("tiny", "x", 1), "options", json!({ "seed": "x" })),
            400,
            "option \"seed\" must be of type integer",
        ),
        ("/api/generate", with(greedy("tiny", "x", 1), "images", json!(["aGk="])), 400, "images"),
        ("/api/generate", with(greedy("tiny", "x", 1), "format", json!("json")), 400, "format"),
        ("/api/generate", with(greedy("tiny", "x", 1), "format", json!({ "type": "object" })), 400, "format"),
        ("/api/generate", with(greedy("tiny", "x", 1), "suffix", json!("y")), 400, "suffix"),
        ("/api/generate", with(greedy("tiny", "x", 1), "template", json!("y")), 400, "template"),
        ("/api/generate", with(greedy("tiny", "x", 1), "context", json!([1])), 400, "context"),
        ("/api/generate", with(greedy("tiny", "x", 1), "think", json!(true)), 400, "thinking"),
        ("/api/generate", with(greedy("tiny", "x", 1), "logprobs", json!(true)), 400, "logprobs"),
        ("/api/generate", with(greedy("tiny", "x", 1), "keep_alive", json!("soon")), 400, "keep_alive"),
        (
            "/api/generate",
            with(greedy("tiny", "x", 1), "options", json!({ "num_ctx": 99_999 })),
            400,
            "context",
        ),
        (
            "/api/chat",
            chat(json!([{ "role": "user", "content": "x", "images": ["aGk="] }])),
            400,
            "messages[0].images",
        ),
        ("/api/chat", chat(json!([{ "role": "judge", "content": "x" }])), 400, "messages[0].role"),
        (
            "/api/chat",
            with(chat(json!([{ "role": "user", "content": "x" }])), "tools", json!([{}])),
            400,
            "tools",
        ),
    ];
    for (path, body, status, says) in cases {
        let reply = post(&server, path, &body);
        assert_eq!(reply.status, status, "{body}");
        let json = reply.json();
        assert_eq!(keys(&json), set(["error"]));
        assert!(json["error"].as_str().unwrap().contains(says), "{json} should say {says}");
    }
    let neutral = json!({
        "model": "tiny", "prompt": "x", "raw": true, "suffix": "", "template": "", "context": [], "images": [],
        "format": "", "think": false, "logprobs": false, "unheard_of": 1,
        "options": { "num_predict": 1, "temperature": 0, "min_p": 0.1, "unheard_of": "x" },
    });
    let reply = post(&server, "/api/generate", &neutral);
    assert_eq!((reply.status, reply.header("x-chimera-ignored")), (200, Some("min_p,unheard_of")));
    server.stop();
}

#[test]
fn raw_goes_around_the_template() {
    let server = plain();
    let prompt_tokens = |raw: bool| {
        let body = with(with(greedy("tiny", "hello", 1), "raw", json!(raw)), "stream", json!(false));
        post(&server, "/api/generate", &body).json()["prompt_eval_count"].as_u64().unwrap()
    };
    assert_eq!(prompt_tokens(true), 5);
    // The simulator's template is `user: …` and a line's end.
    assert_eq!(prompt_tokens(false), 12);
    server.stop();
}

#[test]
fn a_long_prompt_is_cut_and_the_answer_says_so() {
    let server = plain();
    let mut body =
        with(with(greedy("tiny", &"word ".repeat(60), 16), "raw", json!(true)), "stream", json!(false));
    body["options"]["num_ctx"] = json!(128);
    let reply = post(&server, "/api/generate", &body);
    // 300 bytes, of which 128 - 16 fit.
    assert_eq!(reply.header("x-chimera-truncated"), Some("188"));
    let json = reply.json();
    assert_eq!((&json["prompt_eval_count"], &json["eval_count"]), (&json!(112), &json!(16)));
    let short = post(&server, "/api/generate", &with(body.clone(), "prompt", json!("hi")));
    assert_eq!(short.header("x-chimera-truncated"), None);
    // A budget beyond the window ends with the window.
    let mut greedy = with(body.clone(), "prompt", json!("hi"));
    greedy["model"] = json!("slow");
    greedy["options"]["num_predict"] = json!(1000);
    let json = post(&server, "/api/generate", &greedy).json();
    assert_eq!((&json["eval_count"], &json["done_reason"]), (&json!(126), &json!("length")));
    let refused = post(&server, "/api/generate", &with(body.clone(), "truncate", json!(false)));
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("300 tokens"));

    // A chat loses its oldest messages, never the system's words or the last one.
    let turn = |role: &str, text: &str| json!({ "role": role, "content": text.repeat(40) });
    body["messages"] = json!([
        { "role": "system", "content": "be" }, turn("user", "a"), turn("assistant", "b"), { "role": "user", "content": "last" },
    ]);
    let chat = post(&server, "/api/chat", &body);
    assert_eq!(chat.header("x-chimera-truncated"), Some("40"));
    // What is left, with the simulator's template.
    let left = "system: be\n".len() + "assistant: \n".len() + 40 + "user: last\n".len();
    assert_eq!(chat.json()["prompt_eval_count"], left);
    // A last message that does not fit by itself loses its beginning: 96 of its 300 tokens are left, since 16 are for
    // the answer and the server counts 16 for the template.
    body["messages"] = json!([{ "role": "user", "content": "word ".repeat(60) }]);
    let chat = post(&server, "/api/chat", &body);
    assert_eq!(chat.header("x-chimera-truncated"), Some("204"));
    assert_eq!(chat.json()["prompt_eval_count"], 128 - 16 - 16 + "user: \n".len());
    body["options"]["num_ctx"] = json!(8);
    assert_eq!(post(&server, "/api/chat", &body).status, 400, "no room for any template");
    server.stop();
}

#[test]
fn errors_before_and_in_a_stream() {
    let backend = sim()
        .fault(0, Fault::OutOfMemory)
        .fault(1, Fault::ErrorAfter(5))
        .fault(2, Fault::TruncateAfter(5))
        .fault(3, Fault::ErrorAfter(5));
    let server = start(backend, ServeOptions::default());
    let body = greedy("tiny", "x", 30);
    let before = post(&server, "/api/generate", &body);
    assert_eq!(before.status, 500);
    assert!(before.json()["error"].as_str().unwrap().contains("memory"));
    for says in ["simulated fault", "without an end"] {
        let inside = post(&server, "/api/generate", &body);
        assert_eq!(inside.status, 200);
        let lines = inside.lines();
        let (last, chunks) = lines.split_last().unwrap();
        assert!(chunks.len() >= 3 && chunks.iter().all(|line| line["done"] == false));
        assert!(last["error"].as_str().unwrap().contains(says), "{last}");
    }
    let whole = post(&server, "/api/generate", &with(body.clone(), "stream", json!(false)));
    assert_eq!((whole.status, whole.json()["error"].is_string()), (500, true));
    assert_eq!(post(&server, "/api/generate", &body).status, 200, "the server goes on");
    server.stop();
}

#[test]
fn unknown_counts_stay_absent() {
    let server = start(sim().modest(), ServeOptions::default());
    let reply = post(&server, "/api/generate", &with(greedy("tiny", "x", 5), "stream", json!(false)));
    let json = reply.json();
    assert_eq!(reply.status, 200, "{json}");
    for absent in ["prompt_eval_count", "prompt_eval_cached_count", "eval_count"] {
        assert!(json.get(absent).is_none(), "{json}");
    }
    // No phases are reported: these are spans between the stamps of events.
    assert!(
        json["prompt_eval_duration"].as_u64().unwrap() > 0 && json["eval_duration"].as_u64().unwrap() > 0
    );
    let body = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "x" }] });
    let refused = post(&server, "/api/chat", &body);
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("chat template"));
    assert_eq!(post(&server, "/api/generate", &greedy("tiny", "x", 0)).status, 400, "no prefill alone");
    server.stop();

    let plain = ServeOptions { plain_chat: true, ..ServeOptions::default() };
    let server = start(sim().modest(), plain);
    assert_eq!(post(&server, "/api/chat", &body).status, 200);
    server.stop();
}

#[test]
fn a_model_that_does_not_load() {
    let backend = sim().model(SimModel::new("other").load_fault(chimera_sim::LoadFault::OutOfMemory));
    let server = start(backend, ServeOptions::default());
    let reply = post(&server, "/api/generate", &greedy("other", "x", 1));
    assert_eq!(reply.status, 500);
    assert_eq!(
        post(&server, "/api/generate", &greedy("tiny", "x", 1)).status,
        200,
        "its place is free again"
    );
    server.stop();
}
