//! What the server sends, to the letter.

use std::{io::Write, process::Stdio, time::Duration};

use chimera_serve::script::{
    Act, Answer, Counters, Durations, FaultKind, Framing, Lies, Protocol, Script, ScriptModel, Tokens, When,
};
use serde_json::Value;

use crate::client::{Client, End, body, ms, serve, serve_model};

const CONSTANT: Lies = Lies {
    durations: Durations::Constant(Duration::from_millis(5)),
    counters: Counters::Honest,
    done_twice: false,
    no_usage: false,
    no_done: false,
};

/// The text with the date and the Unix time of the answer replaced.
fn dateless(text: &str) -> String {
    let cut = |text: &str, before: &str, is_part: fn(char) -> bool| {
        let mut parts = text.split(before);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(before);
            out.push('T');
            out.push_str(part.trim_start_matches(is_part));
        }
        out
    };
    let text = cut(text, "\"created_at\":\"", |c| c.is_ascii_digit() || "-:TZ.".contains(c));
    cut(&text, "\"created\":", |c| c.is_ascii_digit())
}

#[test]
fn streams_are_those_of_the_protocols() {
    let mut model = ScriptModel::new("m", Tokens::unpaced(2)).lying(CONSTANT);
    model.tokens.words = [" a\"", " é"].map(str::to_owned).to_vec();
    let (server, clock) = serve(Script::new().model(model));
    let mut client = Client::new(server.addr(), &clock);
    let mut body = |protocol| dateless(client.generate(protocol, "m", 2).text());

    assert_eq!(
        body(Protocol::OllamaGenerate),
        concat!(
            r#"{"model":"m","created_at":"T","response":" a\"","done":false}"#,
            "\n",
            r#"{"model":"m","created_at":"T","response":" é","done":false}"#,
            "\n",
            r#"{"created_at":"T","done":true,"done_reason":"length","eval_count":2,"eval_duration":5000000,"load_duration":5000000,"model":"m","prompt_eval_count":3,"prompt_eval_duration":5000000,"response":"","total_duration":5000000}"#,
            "\n",
        )
    );
    assert_eq!(
        body(Protocol::OllamaChat),
        concat!(
            r#"{"model":"m","created_at":"T","message":{"role":"assistant","content":" a\""},"done":false}"#,
            "\n",
            r#"{"model":"m","created_at":"T","message":{"role":"assistant","content":" é"},"done":false}"#,
            "\n",
            r#"{"created_at":"T","done":true,"done_reason":"length","eval_count":2,"eval_duration":5000000,"load_duration":5000000,"message":{"content":"","role":"assistant"},"model":"m","prompt_eval_count":3,"prompt_eval_duration":5000000,"total_duration":5000000}"#,
            "\n",
        )
    );
    assert_eq!(
        body(Protocol::OpenAiCompletions),
        concat!(
            r#"data: {"id":"cmpl-chimera","object":"text_completion","created":T,"model":"m","choices":[{"index":0,"text":" a\"","logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"cmpl-chimera","object":"text_completion","created":T,"model":"m","choices":[{"index":0,"text":" é","logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"choices":[{"finish_reason":"length","index":0,"text":""}],"created":T,"id":"cmpl-chimera","model":"m","object":"text_completion"}"#,
            "\n\n",
            r#"data: {"choices":[],"created":T,"id":"cmpl-chimera","model":"m","object":"text_completion","usage":{"completion_tokens":2,"prompt_tokens":3,"total_tokens":5}}"#,
            "\n\ndata: [DONE]\n\n",
        )
    );
    assert_eq!(
        body(Protocol::OpenAiChat),
        concat!(
            r#"data: {"id":"chatcmpl-chimera","object":"chat.completion.chunk","created":T,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"chatcmpl-chimera","object":"chat.completion.chunk","created":T,"model":"m","choices":[{"index":0,"delta":{"content":" a\""},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"chatcmpl-chimera","object":"chat.completion.chunk","created":T,"model":"m","choices":[{"index":0,"delta":{"content":" é"},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"choices":[{"delta":{},"finish_reason":"length","index":0}],"created":T,"id":"chatcmpl-chimera","model":"m","object":"chat.completion.chunk"}"#,
            "\n\n",
            r#"data: {"choices":[],"created":T,"id":"chatcmpl-chimera","model":"m","object":"chat.completion.chunk","usage":{"completion_tokens":2,"prompt_tokens":3,"total_tokens":5}}"#,
            "\n\ndata: [DONE]\n\n",
        )
    );
}

#[test]
fn single_answers_are_those_of_the_protocols() {
    let (server, clock) = serve_model(Tokens::paced(3, ms(4), ms(3)));
    let mut client = Client::new(server.addr(), &clock);
    for protocol in Protocol::ALL {
        let response = client.ask("POST", protocol.path(), &body(protocol, "m", 9, false));
        let value: Value = serde_json::from_slice(&response.body).expect("JSON");
        let (text, reason) = match protocol {
            Protocol::OllamaGenerate => (&value["response"], &value["done_reason"]),
            Protocol::OllamaChat => (&value["message"]["content"], &value["done_reason"]),
            Protocol::OpenAiCompletions => {
                (&value["choices"][0]["text"], &value["choices"][0]["finish_reason"])
            }
            Protocol::OpenAiChat => {
                (&value["choices"][0]["message"]["content"], &value["choices"][0]["finish_reason"])
            }
        };
        assert_eq!((text, reason), (&" naïve 漢字 token".into(), &"stop".into()), "{value}");
        if protocol.is_ollama() {
            assert_eq!(value["prompt_eval_duration"], 4_000_000);
            assert_eq!(value["eval_duration"], 6_000_000);
            assert_eq!(value["total_duration"], 10_000_000);
        } else {
            assert_eq!(value["usage"]["completion_tokens"], 3);
        }
    }
    let truth = server.stop().expect("the truth");
    assert!(truth.records.iter().all(|record| record.tokens() == 3));
    // Not before the last token is due.
    assert!(truth.records.iter().all(|record| record.writes[0].before >= record.received.after(ms(10))));
}

/// The objects of a stream, without `[DONE]`.
fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| line.strip_prefix("data: ").unwrap_or(line))
        .filter(|line| !line.is_empty() && *line != "[DONE]")
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn durations_are_honest_by_the_stamps_or_lies() {
    let tokens = Tokens::paced(5, ms(20), ms(10));
    let with = |name: &str, lies: Lies| {
        let mut model = ScriptModel::new(name, tokens.clone()).lying(lies);
        model.timings = true;
        model
    };
    let lies = |durations| Lies { durations, ..Lies::default() };
    let script = Script::new()
        .model(with("honest", Lies::default()))
        .model(with("zero", lies(Durations::Zero)))
        .model(with("longer", lies(Durations::Longer(ms(60_000)))))
        .model(with("missing", Lies { counters: Counters::Missing, ..Lies::default() }))
        .model(with("off", Lies { counters: Counters::Off(3), ..Lies::default() }));
    let (server, clock) = serve(script);
    let mut client = Client::new(server.addr(), &clock);
    let mut last = |protocol, model| {
        let response = client.generate(protocol, model, 9);
        (objects(response.text()).pop().expect("an end"), response.number())
    };
    let (honest, number) = last(Protocol::OllamaGenerate, "honest");
    let (timed, timed_number) = last(Protocol::OpenAiChat, "honest");
    let (zero, _) = last(Protocol::OllamaGenerate, "zero");
    let (longer, _) = last(Protocol::OllamaGenerate, "longer");
    let (missing, _) = last(Protocol::OllamaGenerate, "missing");
    let (no_usage, _) = last(Protocol::OpenAiChat, "missing");
    let (off, _) = last(Protocol::OllamaGenerate, "off");

    let truth = server.stop().expect("the truth");
    let span = |number| {
        let record = truth.request(number).expect("a record");
        let stamps: Vec<_> = record.token_writes().collect();
        let (first, last) = (stamps[0], stamps[stamps.len() - 1]);
        ((first.before - record.received) as u64, (last.after - first.before) as u64)
    };
    let (prefill, decode) = span(number);
    assert_eq!(honest["prompt_eval_duration"], prefill);
    assert_eq!(honest["eval_duration"], decode);
    assert_eq!((&honest["eval_count"], &honest["prompt_eval_count"]), (&5.into(), &3.into()));
    let (prefill, decode) = span(timed_number);
    assert_eq!(timed["timings"]["prompt_ms"], prefill as f64 / 1e6);
    assert_eq!(timed["timings"]["predicted_ms"], decode as f64 / 1e6);
    assert_eq!(timed["timings"]["predicted_n"], 5);
    assert_eq!(timed["usage"]["completion_tokens"], 5);
    assert_eq!((&zero["total_duration"], &zero["eval_duration"]), (&0.into(), &0.into()));
    assert!(longer["eval_duration"].as_u64().expect("a number") >= 60_000_000_000);
    assert!(missing.get("eval_count").is_none() && missing.get("prompt_eval_count").is_none());
    assert_eq!(no_usage["usage"], serde_json::json!({}));
    assert_eq!(off["eval_count"], 8);
}

#[test]
fn ends_can_be_told_twice_or_not_at_all() {
    let with = |name: &str, lies| ScriptModel::new(name, Tokens::unpaced(2)).lying(lies);
    let script = Script::new()
        .model(with("twice", Lies { done_twice: true, ..Lies::default() }))
        .model(with("none", Lies { no_done: true, ..Lies::default() }))
        .model(with("no-usage", Lies { no_usage: true, ..Lies::default() }));
    let (server, clock) = serve(script);
    let mut client = Client::new(server.addr(), &clock);
    let mut text = |protocol, model| {
        let response = client.generate(protocol, model, 9);
        assert_eq!(response.end, End::Proper);
        response.text().to_owned()
    };
    let twice = text(Protocol::OllamaChat, "twice");
    assert_eq!(twice.matches("\"done\":true").count(), 2);
    let twice = text(Protocol::OpenAiChat, "twice");
    assert_eq!((twice.matches("\"stop\"").count(), twice.matches("[DONE]").count()), (2, 2));
    assert_eq!(text(Protocol::OllamaChat, "none").matches("\"done\":true").count(), 0);
    assert_eq!(text(Protocol::OpenAiChat, "none").matches("[DONE]").count(), 0);
    let no_usage = text(Protocol::OpenAiCompletions, "no-usage");
    assert!(!no_usage.contains("\"usage\"") && no_usage.ends_with("[DONE]\n\n"));
}

#[test]
fn answers_to_the_letter_are_sent_as_they_are() {
    let script = Script::new()
        .rule(When::post("/x").times(1), Answer::json(503, &serde_json::json!({ "error": "busy" })))
        .rule(
            When::post("/x").containing("raw"),
            Answer::new(200, Framing::Raw)
                .step(ms(1), Act::write(*b"\x00\xffno http", 0))
                .step(ms(1), Act::Close),
        )
        .rule(
            When::any().containing("close"),
            Answer::new(200, Framing::UntilClose).header("a", "b").step(Duration::ZERO, Act::write("abc", 1)),
        )
        .rule(When::get("/empty"), Answer::new(204, Framing::Length));
    let (server, clock) = serve(script);
    let mut client = Client::new(server.addr(), &clock);
    let busy = client.ask("POST", "/x", "raw");
    assert_eq!((busy.status, busy.text()), (503, "{\"error\":\"busy\"}"));
    let empty = client.ask("GET", "/empty?q=1", "");
    assert_eq!((empty.status, empty.body.len(), empty.number()), (204, 0, 2));
    let raw = client.ask("POST", "/x", "raw");
    assert_eq!((raw.body.as_slice(), raw.end), (&b"\x00\xffno http"[..], End::Eof));

    let mut client = Client::new(server.addr(), &clock);
    let closed = client.ask("POST", "/x", "close");
    assert_eq!(closed.head, "HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\nx-chimera-request: 4\r\n");
    assert_eq!((closed.text(), closed.end), ("abc", End::Proper));
    let mut client = Client::new(server.addr(), &clock);
    assert_eq!(client.ask("POST", "/x", "other").status, 404);
}

#[test]
fn the_server_answers_what_clients_ask_before_they_generate() {
    let mut cold = ScriptModel::new("cold", Tokens::unpaced(2));
    cold.resident = false;
    cold.load = ms(30);
    let (server, clock) = serve(Script::new().model(ScriptModel::new("m", Tokens::unpaced(2))).model(cold));
    let mut client = Client::new(server.addr(), &clock);
    let mut ask = |method: &str, path: &str, body: &str| {
        let response = client.ask(method, path, body);
        (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
    };
    assert_eq!(ask("GET", "/", "").0, 200);
    assert!(ask("GET", "/api/version", "").1["version"].is_string());
    let names = |value: &Value| {
        let all = value["models"].as_array().expect("models");
        all.iter().map(|m| m["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ask("GET", "/api/tags", "").1), ["m", "cold"]);
    assert_eq!(names(&ask("GET", "/api/ps", "").1), ["m"]);
    assert_eq!(
        ask("POST", "/api/show", r#"{"model":"m:latest"}"#).1["model_info"]["llama.context_length"],
        4096
    );
    let (status, unknown) = ask("POST", "/api/show", r#"{"model":"x"}"#);
    assert_eq!((status, &unknown["error"]), (404, &"model 'x' not found".into()));
    assert_eq!(ask("GET", "/v1/models", "").1["data"][1]["id"], "cold");
    assert_eq!(ask("GET", "/health", "").1["status"], "ok");
    let (_, load) = ask("POST", "/api/generate", r#"{"model":"cold"}"#);
    assert_eq!((&load["done"], &load["done_reason"]), (&true.into(), &"load".into()));
    assert_eq!(names(&ask("GET", "/api/ps", "").1), ["m", "cold"]);
    let (_, unload) = ask("POST", "/api/generate", r#"{"model":"cold","keep_alive":0}"#);
    assert_eq!(unload["done_reason"], "unload");
    assert_eq!(names(&ask("GET", "/api/ps", "").1), ["m"]);
    let (_, cold) = ask("POST", "/api/generate", r#"{"model":"cold","prompt":"a","stream":false}"#);
    assert_eq!(cold["load_duration"], 30_000_000);
    assert_eq!(ask("POST", "/v1/chat/completions", r#"{"model":"x"}"#).0, 404);
    assert_eq!(ask("POST", "/v1/chat/completions", "{").0, 400);
    assert_eq!(ask("GET", "/v1/chat/completions", "").0, 405);
    assert_eq!(ask("GET", "/nowhere", "").0, 404);
    let loads: Vec<_> = server
        .stop()
        .expect("the truth")
        .records
        .into_iter()
        .filter(|r| r.model.as_deref() == Some("cold"))
        .collect();
    assert!(loads[0].writes[0].before >= loads[0].received.after(ms(30)), "a load takes its time");
}

#[test]
fn packed_answers_unpack_to_the_plain_ones() {
    let plain = ScriptModel::new("m", Tokens::unpaced(50)).lying(CONSTANT);
    let script = |model: ScriptModel| serve(Script::new().model(model));
    let (server, clock) = script(plain.clone());
    let want = Client::new(server.addr(), &clock).generate(Protocol::OllamaGenerate, "m", 9);
    let (server, clock) = script(plain.clone().failing(0, FaultKind::Gzip));
    let packed = Client::new(server.addr(), &clock).generate(Protocol::OllamaGenerate, "m", 9);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.chunks.len(), want.chunks.len());
    let (server, clock) = script(plain.failing(0, FaultKind::GzipBomb(3)));
    let bomb = Client::new(server.addr(), &clock).generate(Protocol::OllamaGenerate, "m", 9);
    let (Some(got), Some(burst)) = (unpack(&packed.body), unpack(&bomb.body)) else {
        println!("SKIP: no gzip to unpack with");
        return;
    };
    assert_eq!(dateless(std::str::from_utf8(&got).expect("text")), dateless(want.text()));
    assert!(bomb.body.len() < 30_000, "{} bytes", bomb.body.len());
    let lines = objects(std::str::from_utf8(&burst).expect("text"));
    assert_eq!(lines[0]["response"], "x".repeat(3 << 20));
    assert_eq!(lines[1]["done"], true);
}

/// By the system's gzip, which checks the sums; none where there is no gzip.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut child = std::process::Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut to = child.stdin.take().expect("a pipe");
    let packed = packed.to_vec();
    let writer = std::thread::spawn(move || to.write_all(&packed));
    let output = child.wait_with_output().expect("output");
    writer.join().expect("joined").expect("written");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}
