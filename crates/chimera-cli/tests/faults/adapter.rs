//! The four ways of asking, and what a healthy server says to each.

use std::{net::SocketAddr, sync::Arc};

use chimera_core::{
    Clock, InferenceBackend, LoadOptions, Message, ModelRef, Prompt, Request, Result, Role, Session,
    SystemClock,
};
use chimera_ollama::OllamaBackend;
use chimera_openai::{Flavour, OpenAiBackend};
use chimera_wire::{Endpoint, Limits};
use serde_json::json;

/// The name of the model.
pub(crate) const MODEL: &str = "m";
/// A key that must never be shown.
pub(crate) const KEY: &str = "sekret-key-of-a-test";
/// Tokens asked for.
pub(crate) const BUDGET: u32 = 8;
/// What the tokens say: plain, in two bytes, in four bytes, and with what JSON escapes.
pub(crate) const WORDS: [&str; 4] = ["Hel", "lo größer", " 🦀", " \"end\"\n"];

/// A way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Adapter {
    OllamaGenerate,
    OllamaChat,
    OpenAiCompletions,
    OpenAiChat,
}

impl Adapter {
    pub(crate) const ALL: [Self; 4] =
        [Self::OllamaGenerate, Self::OllamaChat, Self::OpenAiCompletions, Self::OpenAiChat];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OllamaGenerate => "ollama generate",
            Self::OllamaChat => "ollama chat",
            Self::OpenAiCompletions => "openai completions",
            Self::OpenAiChat => "openai chat",
        }
    }

    pub(crate) fn is_ollama(self) -> bool {
        matches!(self, Self::OllamaGenerate | Self::OllamaChat)
    }

    pub(crate) fn is_chat(self) -> bool {
        matches!(self, Self::OllamaChat | Self::OpenAiChat)
    }

    pub(crate) fn content_type(self) -> &'static str {
        if self.is_ollama() { "application/x-ndjson" } else { "text/event-stream" }
    }

    /// JSON as one line or one event.
    pub(crate) fn framed(self, json: &str) -> Vec<u8> {
        if self.is_ollama() { format!("{json}\n") } else { format!("data: {json}\n\n") }.into_bytes()
    }

    /// A token, with its text as it stands in JSON.
    pub(crate) fn token_of(self, value: &str) -> Vec<u8> {
        self.framed(&match self {
            Self::OllamaGenerate => format!(r#"{{"model":"m","response":{value},"done":false}}"#),
            Self::OllamaChat => {
                format!(r#"{{"model":"m","message":{{"role":"assistant","content":{value}}},"done":false}}"#)
            }
            Self::OpenAiCompletions => {
                format!(r#"{{"id":"c","choices":[{{"index":0,"text":{value},"finish_reason":null}}]}}"#)
            }
            Self::OpenAiChat => format!(
                r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":{value}}},"finish_reason":null}}]}}"#
            ),
        })
    }

    pub(crate) fn token(self, text: &str) -> Vec<u8> {
        self.token_of(&json!(text).to_string())
    }

    /// The tokens of a healthy answer.
    pub(crate) fn tokens(self) -> Vec<Vec<u8>> {
        WORDS.iter().map(|word| self.token(word)).collect()
    }

    /// The end, with further fields of it: of the last line, or of the usage.
    pub(crate) fn end_with(self, fields: &str) -> Vec<Vec<u8>> {
        match self {
            Self::OllamaGenerate | Self::OllamaChat => {
                let said = if self.is_chat() {
                    r#""message":{"role":"assistant","content":""}"#
                } else {
                    r#""response":"""#
                };
                let line = format!(r#"{{"model":"m",{said},"done":true,"done_reason":"stop"{fields}}}"#);
                vec![self.framed(&line)]
            }
            Self::OpenAiCompletions => vec![
                self.framed(r#"{"id":"c","choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#),
                self.framed(&format!(r#"{{"id":"c","choices":[],"usage":{{"total_tokens":9{fields}}}}}"#)),
                self.framed("[DONE]"),
            ],
            Self::OpenAiChat => vec![
                self.framed(r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#),
                self.framed(&format!(r#"{{"id":"c","choices":[],"usage":{{"total_tokens":9{fields}}}}}"#)),
                self.framed("[DONE]"),
            ],
        }
    }

    /// The counters that an end may tell.
    pub(crate) fn counters(self) -> &'static [&'static str] {
        if self.is_ollama() {
            &[
                "prompt_eval_count",
                "prompt_eval_cached_count",
                "eval_count",
                "total_duration",
                "load_duration",
                "prompt_eval_duration",
                "eval_duration",
            ]
        } else {
            &["prompt_tokens", "completion_tokens"]
        }
    }

    pub(crate) fn end(self) -> Vec<Vec<u8>> {
        self.end_with(if self.is_ollama() {
            r#","prompt_eval_count":5,"eval_count":4,"total_duration":9000,"load_duration":1000,"prompt_eval_duration":3000,"eval_duration":5000"#
        } else {
            r#","prompt_tokens":5,"completion_tokens":4"#
        })
    }

    /// All of a healthy answer.
    pub(crate) fn whole(self) -> Vec<Vec<u8>> {
        [self.tokens(), self.end()].concat()
    }

    /// A healthy answer of a budget: all of it, or as much as fits.
    pub(crate) fn within(self, budget: usize) -> Vec<Vec<u8>> {
        let mut tokens = self.tokens();
        if budget >= tokens.len() {
            return self.whole();
        }
        tokens.truncate(budget);
        let [prompt, generated] = if self.is_ollama() {
            ["prompt_eval_count", "eval_count"]
        } else {
            ["prompt_tokens", "completion_tokens"]
        };
        let end = self.end_with(&format!(r#","{prompt}":5,"{generated}":{budget}"#)).concat();
        let end = String::from_utf8(end).unwrap().replace("\"stop\"", "\"length\"");
        tokens.push(end.into_bytes());
        tokens
    }

    /// An error in the middle of a stream.
    pub(crate) fn error(self, message: &str) -> Vec<u8> {
        self.framed(&self.refusal(message))
    }

    /// The body of a refusal.
    pub(crate) fn refusal(self, message: &str) -> String {
        if self.is_ollama() {
            json!({ "error": message }).to_string()
        } else {
            json!({ "error": { "message": message, "type": "a_type", "code": null } }).to_string()
        }
    }

    /// What a healthy server answers to whatever is not timed.
    pub(crate) fn manages(self, line: &str) -> String {
        let answer = if line.starts_with("POST /api/show") {
            json!({ "details": {}, "model_info": { "general.architecture": "llama", "llama.context_length": 4096 } })
        } else if line.starts_with("GET /api/ps") {
            json!({ "models": [{ "name": MODEL, "digest": "d", "context_length": 4096 }] })
        } else if line.starts_with("GET /api/version") {
            json!({ "version": "0.11.4" })
        } else if line.starts_with("POST /api/generate") {
            json!({ "model": MODEL, "response": "x", "done": true, "done_reason": "load" })
        } else if line.starts_with("GET /v1/models") {
            json!({ "object": "list", "data": [{ "id": MODEL, "object": "model", "owned_by": "us" }] })
        } else if line.starts_with("POST /v1/chat/completions") {
            json!({ "choices": [{ "index": 0, "message": { "content": "x" }, "finish_reason": "length" }] })
        } else {
            json!({ "choices": [{ "index": 0, "text": "x", "finish_reason": "length" }] })
        };
        answer.to_string()
    }

    pub(crate) fn request(self) -> Request {
        if self.is_chat() {
            let message = Message { role: Role::User, content: "Say something.".into() };
            Request::new(Prompt::Chat([message].into()), BUDGET)
        } else {
            Request::text("Say something.", BUDGET)
        }
    }

    pub(crate) fn backend(
        self,
        address: SocketAddr,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Arc<dyn InferenceBackend> {
        let endpoint = Endpoint::parse(&address.to_string(), 80).unwrap();
        if self.is_ollama() {
            let builder = OllamaBackend::builder(endpoint, clock).limits(limits).bearer(KEY);
            Arc::new(builder.build().unwrap())
        } else {
            let builder = OpenAiBackend::builder(endpoint, clock).limits(limits).bearer(KEY);
            Arc::new(builder.flavour(Flavour::Plain).build().unwrap())
        }
    }

    /// A model made resident.
    pub(crate) fn session(self, address: SocketAddr, limits: Limits) -> Result<Arc<dyn Session>> {
        let backend = self.backend(address, limits, Arc::new(SystemClock::new()));
        async_io::block_on(backend.load(&ModelRef::named(MODEL), &LoadOptions::default()))
    }
}
