//! OpenAI's endpoints: shapes, streams against whole answers, refusals.

use chimera_serve::ServeOptions;
use chimera_sim::Fault;
use serde_json::{Value, json};

use crate::support::*;

fn completion(tokens: u32) -> Value {
    json!({ "model": "tiny", "prompt": "hello", "max_tokens": tokens, "temperature": 0 })
}

fn chat(tokens: u32) -> Value {
    json!({
        "model": "tiny", "max_completion_tokens": tokens, "temperature": 0,
        "messages": [{ "role": "developer", "content": "be" }, { "role": "user", "content": [{ "type": "text", "text": "hello" }] }],
    })
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

#[test]
fn models() {
    let server = plain();
    let list = get(&server, "/v1/models").json();
    assert_eq!(list["object"], "list");
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["tiny", "other", "slow"]);
    assert_eq!(get(&server, "/v1/models/tiny").json()["object"], "model");
    let missing = get(&server, "/v1/models/org/none");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["error"]["code"], "model_not_found");
    assert_eq!(post(&server, "/v1/embeddings", &json!({})).status, 501);
    server.stop();
}

#[test]
fn a_stream_concatenated_is_the_whole_answer() {
    let server = plain();
    for (path, body) in [("/v1/completions", completion(30)), ("/v1/chat/completions", chat(30))] {
        let is_chat = path.contains("chat");
        let whole = post(&server, path, &body).json();
        let choice = &whole["choices"][0];
        let text = if is_chat { &choice["message"]["content"] } else { &choice["text"] }.as_str().unwrap();
        assert_eq!(choice["finish_reason"], "length");
        assert_eq!(whole["object"], if is_chat { "chat.completion" } else { "text_completion" });
        let usage = &whole["usage"];
        assert_eq!(usage["completion_tokens"], 30);
        assert_eq!(usage["total_tokens"], usage["prompt_tokens"].as_u64().unwrap() + 30);
        assert_eq!(whole["timings"]["predicted_n"], 30);
        assert!(whole["timings"]["prompt_ms"].as_f64().unwrap() > 0.0);

        let mut asked = with(body, "stream", json!(true));
        asked["stream_options"] = json!({ "include_usage": true });
        let stream = post(&server, path, &asked);
        assert!(stream.header("content-type").unwrap().starts_with("text/event-stream"));
        assert!(stream.header("x-chimera-request").is_some());
        let events = stream.events();
        assert_eq!(events.last().unwrap(), "[DONE]");
        let counted = &events[events.len() - 2];
        assert_eq!((&counted["choices"], &counted["usage"]), (&json!([]), usage));
        let chunks = &events[..events.len() - 2];
        let piece = |event: &Value| {
            let choice = &event["choices"][0];
            let text = if is_chat { &choice["delta"]["content"] } else { &choice["text"] };
            text.as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(chunks.iter().map(piece).collect::<String>(), text);
        assert_eq!(chunks.iter().filter(|event| !event["choices"][0]["finish_reason"].is_null()).count(), 1);
        let last = chunks.last().unwrap();
        assert_eq!(
            (&last["choices"][0]["finish_reason"], &last["timings"]["predicted_n"]),
            (&json!("length"), &json!(30))
        );
        if is_chat {
            assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
            assert_eq!(
                chunks.iter().filter(|event| event["choices"][0]["delta"]["role"].is_string()).count(),
                1
            );
        }
        let ids: std::collections::BTreeSet<&str> =
            events[..events.len() - 1].iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1);
    }
    let silent = post(&server, "/v1/completions", &with(completion(3), "stream", json!(true))).events();
    assert!(silent.iter().all(|event| event.get("usage").is_none()), "usage was not asked for");
    server.stop();
}

#[test]
fn prompts_budgets_and_ends() {
    let server = plain();
    let run = |body: &Value| post(&server, "/v1/completions", body).json();
    let text = run(&completion(10));
    for same in [json!(["hello"]), json!([104, 101, 108, 108, 111]), json!([[104, 101, 108, 108, 111]])] {
        assert_eq!(run(&with(completion(10), "prompt", same))["choices"], text["choices"]);
    }
    let mut without = completion(1);
    without.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(run(&without)["usage"]["completion_tokens"], 16);
    // The model ends after 40 tokens, unless told to go on.
    let ends = run(&completion(60));
    assert_eq!(
        (&ends["choices"][0]["finish_reason"], &ends["usage"]["completion_tokens"]),
        (&json!("stop"), &json!(40))
    );
    let on = run(&with(completion(60), "ignore_eos", json!(true)));
    assert_eq!(
        (&on["choices"][0]["finish_reason"], &on["usage"]["completion_tokens"]),
        (&json!("length"), &json!(60))
    );
    let zero = run(&completion(0));
    assert_eq!((&zero["choices"][0]["text"], &zero["usage"]["completion_tokens"]), (&json!(""), &json!(0)));
    let whole = ends["choices"][0]["text"].as_str().unwrap();
    let stop: String = whole.chars().skip(5).take(3).collect();
    let cut = run(&with(completion(60), "stop", json!(stop)));
    assert_eq!(cut["choices"][0]["text"], whole[..whole.find(&stop).unwrap()]);
    assert_eq!(cut["choices"][0]["finish_reason"], "stop");
    // Seeds decide when it samples.
    let sampled = |seed: i64| {
        run(&with(with(completion(10), "temperature", json!(1)), "seed", json!(seed)))["choices"][0]["text"]
            .clone()
    };
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));
    server.stop();
}

#[test]
fn refusals_are_named() {
    let server = plain();
    let long = with(completion(1), "prompt", json!("x".repeat(5000)));
    let tool = json!([{ "type": "function" }]);
    let image =
        json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:," } }] }]);
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("/v1/completions", json!({}), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "model", json!("none")), 404, "model_not_found"),
        ("/v1/completions", with(completion(1), "prompt", json!(["a", "b"])), 400, "unsupported"),
        ("/v1/completions", with(completion(1), "prompt", json!("")), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "prompt", json!({})), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "prompt", json!([999_999])), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "n", json!(2)), 400, "unsupported"),
        ("/v1/completions", with(completion(1), "logprobs", json!(1)), 400, "unsupported"),
        ("/v1/completions", with(completion(1), "echo", json!(true)), 400, "unsupported"),
        ("/v1/completions", with(completion(1), "stop", json!("")), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "top_p", json!(2)), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "max_tokens", json!("1")), 400, "invalid_request"),
        ("/v1/completions", with(completion(1), "presence_penalty", json!(0.5)), 400, "unsupported"),
        ("/v1/completions", long, 400, "context_length_exceeded"),
        ("/v1/chat/completions", with(chat(1), "messages", json!([])), 400, "invalid_request"),
        ("/v1/chat/completions", with(chat(1), "messages", image), 400, "unsupported"),
        ("/v1/chat/completions", with(chat(1), "tools", tool), 400, "unsupported"),
        (
            "/v1/chat/completions",
            with(chat(1), "response_format", json!({ "type": "json_object" })),
            400,
            "unsupported",
        ),
    ];
    for (path, body, status, code) in cases {
        let reply = post(&server, path, &body);
        let json = reply.json();
        assert_eq!((reply.status, json["error"]["code"].as_str()), (status, Some(code)), "{body}: {json}");
        assert!(json["error"]["message"].as_str().is_some_and(|message| message.len() > 8));
        assert_eq!(json["error"]["type"], "invalid_request_error");
    }
    let neutral = json!({ "n": 1, "logprobs": null, "echo": false, "presence_penalty": 0, "logit_bias": {}, "user": "u" });
    let mut body = completion(1);
    body.as_object_mut().unwrap().extend(neutral.as_object().unwrap().clone());
    assert_eq!(post(&server, "/v1/completions", &body).status, 200);
    server.stop();
}

#[test]
fn an_error_in_a_stream_is_an_event() {
    let server = start(sim().fault(0, Fault::ErrorAfter(5)), ServeOptions::default());
    let reply = post(&server, "/v1/completions", &with(completion(30), "stream", json!(true)));
    assert_eq!(reply.status, 200);
    let events = reply.events();
    assert!(events.len() >= 3);
    assert_eq!(events.last().unwrap()["error"]["type"], "server_error");
    server.stop();
}
