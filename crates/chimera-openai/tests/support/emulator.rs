//! A small server over the simulator that speaks as vLLM or as llama.cpp's server are documented to speak. It stands in for
//! what only they say (tokens so far with every part, timings, slots, tokenisation); it proves nothing about them.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_io::block_on;
use chimera_core::{
    BackendError, EventKind, FinishReason, Finished, InferenceBackend, LoadOptions, ModelRef, Phase, Prompt,
    Request, Sampling, Session,
};
use chimera_sim::{Laws, SimBackend, SimModel};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::{Asked, Scripted, plain, write};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Vllm,
    LlamaCpp,
}

struct Emulator {
    speech: Speech,
    sessions: [(&'static str, Arc<dyn Session>); 2],
    working: AtomicUsize,
}

/// A server of its own, with the models `tiny` and `brief`.
pub(crate) fn start(speech: Speech) -> Scripted {
    let laws = Laws::default()
        .load(Duration::from_millis(1))
        .prefill(Duration::from_micros(200), Duration::from_micros(1))
        .decode(Duration::from_micros(200), Duration::ZERO);
    let sim = SimBackend::builder()
        .model(SimModel::new("tiny").laws(laws))
        .model(SimModel::new("brief").laws(laws).eos_after(5))
        .build();
    let sessions = ["tiny", "brief"].map(|name| {
        let session = block_on(sim.load(&ModelRef::named(name), &LoadOptions::default()));
        (name, session.unwrap())
    });
    let emulator = Emulator { speech, sessions, working: AtomicUsize::new(0) };
    // The simulator's sessions live as long as it does.
    let sim = Mutex::new(sim);
    Scripted::start(move |request, stream| {
        let _sim = &sim;
        emulator.answer(request, stream);
    })
}

impl Emulator {
    fn answer(&self, request: &Asked, stream: &mut TcpStream) {
        let vllm = self.speech == Speech::Vllm;
        let answer = match request.line.as_str() {
            "GET /v1/models" => {
                let owner = if vllm { "vllm" } else { "llamacpp" };
                let list = self.sessions.iter().map(|(name, session)| {
                    let context = session.model().context;
                    json!({"id": name, "object": "model", "owned_by": owner, "max_model_len": context})
                });
                json!({"object": "list", "data": list.collect::<Vec<_>>()})
            }
            "GET /version" if vllm => json!({"version": "0.11.2"}),
            "GET /props" if !vllm => json!({"total_slots": 4, "build_info": "b7137"}),
            "GET /slots" if !vllm => {
                let works = self.working.load(Ordering::SeqCst) > 0;
                json!([{"id": 0, "is_processing": works}])
            }
            "POST /tokenize" => {
                let body = request.json();
                let text = body[if vllm { "prompt" } else { "content" }].as_str().unwrap().to_owned();
                json!({"tokens": block_on(self.sessions[0].1.tokenize(&text)).unwrap()})
            }
            "POST /v1/completions" | "POST /v1/chat/completions" => {
                self.working.fetch_add(1, Ordering::SeqCst);
                block_on(self.generate(&request.json(), stream));
                self.working.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            _ => {
                return write(
                    stream,
                    &plain("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#),
                );
            }
        };
        write(stream, &plain("200 OK", "application/json", &answer.to_string()));
    }

    async fn generate(&self, body: &Value, stream: &mut TcpStream) {
        let (_, session) = self.sessions.iter().find(|(name, _)| body["model"] == *name).unwrap();
        let mut events = session.generate(asked(body).into());
        let is_chat = body.get("messages").is_some();
        let (mut so_far, mut prompt, mut begun) = (0, 0, false);
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    let status = match error.error {
                        BackendError::InvalidRequest { .. } => "400 Bad Request",
                        _ => "500 Internal Server Error",
                    };
                    let body = json!({"error": {"message": error.error.to_string()}}).to_string();
                    return write(stream, &plain(status, "application/json", &body));
                }
            };
            let part = match event.kind {
                EventKind::PromptProcessed { tokens, .. } => {
                    prompt = tokens.unwrap_or_default();
                    continue;
                }
                EventKind::Chunk { text, tokens, .. } => {
                    so_far += tokens.unwrap_or_default();
                    if text.is_empty() && self.speech == Speech::LlamaCpp {
                        continue;
                    }
                    self.part(is_chat, &text, None, prompt, so_far)
                }
                EventKind::Finished(end) => self.end(is_chat, &end, prompt, so_far),
                _ => continue,
            };
            if body["stream"] == false {
                if part.contains("[DONE]") {
                    let answer = r#"{"choices":[{"index":0,"text":"x","finish_reason":"length"}]}"#;
                    write(stream, &plain("200 OK", "application/json", answer));
                }
                continue;
            }
            let mut bytes = Vec::new();
            if !std::mem::replace(&mut begun, true) {
                bytes.extend_from_slice(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
                );
            }
            bytes.extend_from_slice(part.as_bytes());
            // Nobody listens any more: what is dropped here stops the work.
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }

    fn part(&self, is_chat: bool, text: &str, reason: Option<&str>, prompt: u32, so_far: u32) -> String {
        let choice = if is_chat {
            json!({"index": 0, "delta": {"content": text}, "finish_reason": reason})
        } else {
            json!({"index": 0, "text": text, "finish_reason": reason})
        };
        let mut part = json!({"id": "1", "model": "m", "choices": [choice]});
        if self.speech == Speech::Vllm {
            part["usage"] = usage(prompt, so_far);
        }
        format!("data: {part}\n\n")
    }

    fn end(&self, is_chat: bool, end: &Finished, prompt: u32, so_far: u32) -> String {
        let reason = if end.reason == FinishReason::Length { "length" } else { "stop" };
        let mut last = json!({"id": "1", "model": "m", "choices": [], "usage": usage(prompt, so_far)});
        if self.speech == Speech::LlamaCpp {
            let ms = |phase| {
                let timing = end.timings.iter().find(|timing| timing.phase == phase);
                timing.map_or(0.0, |timing| timing.nanos as f64 / 1e6)
            };
            last["timings"] =
                json!({"cache_n": 0, "prompt_ms": ms(Phase::Prefill), "predicted_ms": ms(Phase::Decode)});
        }
        format!("{}data: {last}\n\ndata: [DONE]\n\n", self.part(is_chat, "", Some(reason), prompt, so_far))
    }
}

fn usage(prompt: u32, so_far: u32) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": so_far, "total_tokens": prompt + so_far})
}

fn asked(body: &Value) -> Request {
    let number = |key: &str| body[key].as_u64().unwrap_or_default();
    let prompt = match &body["prompt"] {
        Value::String(text) => Prompt::Text(text.as_str().into()),
        Value::Array(ids) => Prompt::Tokens(ids.iter().map(|id| id.as_u64().unwrap() as u32).collect()),
        _ => {
            let messages = body["messages"].as_array().unwrap().iter();
            let texts: Vec<&str> = messages.map(|message| message["content"].as_str().unwrap()).collect();
            Prompt::Text(texts.join("\n").into())
        }
    };
    let mut request = Request::new(prompt, number("max_tokens") as u32).seed(number("seed"));
    request.ignore_eos = body["ignore_eos"] == true;
    request.sampling = Sampling {
        temperature: body["temperature"].as_f64().unwrap() as f32,
        top_k: body["top_k"].as_i64().and_then(|k| u32::try_from(k).ok()).filter(|k| *k > 0),
        top_p: body["top_p"].as_f64().map(|p| p as f32),
        repeat_penalty: 1.0,
    };
    request
}
