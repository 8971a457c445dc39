//! Lines and events of the four protocols, and what stands at the end of a stream.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Asked, Counters, Durations, Protocol, ScriptModel};

/// Text before and after the escaped text of a token.
pub(super) struct Frame {
    pub(super) before: String,
    pub(super) after: &'static str,
}

/// The line or event that carries text, cut at the text.
pub(super) fn frame(protocol: Protocol, model: &str, created: &(String, u64)) -> Frame {
    let (date, unix) = created;
    // Names of models need no escapes: `ScriptModel::check`.
    let (before, after) = match protocol {
        Protocol::OllamaGenerate => {
            (format!(r#"{{"model":"{model}","created_at":"{date}","response":""#), "\",\"done\":false}\n")
        }
        Protocol::OllamaChat => (
            format!(
                r#"{{"model":"{model}","created_at":"{date}","message":{{"role":"assistant","content":""#
            ),
            "\"},\"done\":false}\n",
        ),
        Protocol::OpenAiCompletions => (
            format!(
                r#"data: {{"id":"cmpl-chimera","object":"text_completion","created":{unix},"model":"{model}","choices":[{{"index":0,"text":""#
            ),
            "\",\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        ),
        Protocol::OpenAiChat => (
            format!(
                r#"data: {{"id":"chatcmpl-chimera","object":"chat.completion.chunk","created":{unix},"model":"{model}","choices":[{{"index":0,"delta":{{"content":""#
            ),
            "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        ),
    };
    Frame { before, after }
}

/// The event with the role that precedes the text of a chat; none in other protocols.
pub(super) fn role(protocol: Protocol, model: &str, created: &(String, u64)) -> Option<Vec<u8>> {
    (protocol == Protocol::OpenAiChat).then(|| {
        format!(
            "data: {{\"id\":\"chatcmpl-chimera\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":\"{model}\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n",
            created.1
        )
        .into_bytes()
    })
}

/// A line or event with some JSON.
pub(super) fn line(protocol: Protocol, value: &Value) -> Vec<u8> {
    if protocol.is_ollama() { format!("{value}\n") } else { format!("data: {value}\n\n") }.into_bytes()
}

/// Times of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// From the request read to now.
    pub total: Duration,
    /// Of the load of the model.
    pub load: Duration,
    /// From the end of the load to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

/// The end of an answer in its protocol, but for its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The protocol.
    pub protocol: Protocol,
    /// The model and its lies.
    pub model: ScriptModel,
    /// What was asked: usage, and whether this is a stream.
    pub asked: Asked,
    /// Tokens generated.
    pub tokens: u32,
    /// The whole text, where this is no stream.
    pub text: String,
    /// Times by the schedule, for use where the real ones are not to be had.
    pub scheduled: Times,
}

impl Summary {
    fn finish(&self) -> &'static str {
        if self.asked.limit.is_some_and(|limit| self.tokens >= limit) { "length" } else { "stop" }
    }

    fn told(&self, real: Duration) -> u64 {
        let told = match self.model.lies.durations {
            Durations::Honest => real,
            Durations::Zero => Duration::ZERO,
            Durations::Constant(all) => all,
            Durations::Longer(by) => real + by,
        };
        u64::try_from(told.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Counts of prompt and generated tokens as told; `None` where the counters are missing.
    fn counts(&self) -> Option<(u32, u32)> {
        match self.model.lies.counters {
            Counters::Honest => Some((self.asked.prompt_tokens, self.tokens)),
            Counters::Missing => None,
            Counters::Off(by) => Some((self.asked.prompt_tokens, self.tokens.saturating_add_signed(by))),
        }
    }

    fn usage(&self) -> Value {
        self.counts().map_or(json!({}), |(prompt, generated)| {
            json!({
                "prompt_tokens": prompt,
                "completion_tokens": generated,
                "total_tokens": u64::from(prompt) + u64::from(generated),
            })
        })
    }

    /// llama.cpp's `timings`.
    fn timings(&self, times: &Times) -> Value {
        let ms = |ns: u64| ns as f64 / 1e6;
        let rate = |n: u32, ms: f64| if ms > 0.0 { f64::from(n) / ms * 1e3 } else { 0.0 };
        let each = |n: u32, ms: f64| if n > 0 { ms / f64::from(n) } else { 0.0 };
        let (prompt_ms, predicted_ms) = (ms(self.told(times.prefill)), ms(self.told(times.decode)));
        let mut timings = json!({ "prompt_ms": prompt_ms, "predicted_ms": predicted_ms });
        if let Some((prompt, predicted)) = self.counts() {
            timings["cache_n"] = json!(0);
            timings["prompt_n"] = json!(prompt);
            timings["prompt_per_token_ms"] = json!(each(prompt, prompt_ms));
            timings["prompt_per_second"] = json!(rate(prompt, prompt_ms));
            timings["predicted_n"] = json!(predicted);
            timings["predicted_per_token_ms"] = json!(each(predicted, predicted_ms));
            timings["predicted_per_second"] = json!(rate(predicted, predicted_ms));
        }
        timings
    }

    fn ollama(&self, times: &Times) -> Value {
        let mut last = json!({
            "model": self.model.name,
            "created_at": self.asked.created.0,
            "done": true,
            "done_reason": self.finish(),
            "total_duration": self.told(times.total),
            "load_duration": self.told(times.load),
            "prompt_eval_duration": self.told(times.prefill),
            "eval_duration": self.told(times.decode),
        });
        if self.protocol == Protocol::OllamaChat {
            last["message"] = json!({ "role": "assistant", "content": self.text });
        } else {
            last["response"] = json!(self.text);
        }
        if let Some((prompt, generated)) = self.counts() {
            last["prompt_eval_count"] = json!(prompt);
            last["eval_count"] = json!(generated);
        }
        last
    }

    fn openai(&self, choices: Value, object: [&str; 2]) -> Value {
        let [id, object] = object;
        json!({
            "id": id,
            "object": object,
            "created": self.asked.created.1,
            "model": self.model.name,
            "choices": choices,
        })
    }

    /// The bytes: lines or events at the end of a stream, or a single object.
    #[must_use]
    pub fn render(&self, times: &Times) -> Vec<u8> {
        if self.asked.stream { self.render_stream(times) } else { self.render_single(times) }
    }

    /// The same for a prompt of so many tokens.
    pub(crate) fn render_for(&self, times: &Times, prompt_tokens: u32) -> Vec<u8> {
        let mut summary = self.clone();
        summary.asked.prompt_tokens = prompt_tokens;
        summary.render(times)
    }

    fn render_stream(&self, times: &Times) -> Vec<u8> {
        let lies = &self.model.lies;
        let mut out = Vec::new();
        let repeats = if lies.done_twice { 2 } else { 1 };
        if self.protocol.is_ollama() {
            if !lies.no_done {
                let last = line(self.protocol, &self.ollama(times));
                (0..repeats).for_each(|_| out.extend_from_slice(&last));
            }
            return out;
        }
        let chat = self.protocol == Protocol::OpenAiChat;
        let names = if chat {
            ["chatcmpl-chimera", "chat.completion.chunk"]
        } else {
            ["cmpl-chimera", "text_completion"]
        };
        let mut choice = json!({ "index": 0, "finish_reason": self.finish() });
        if chat {
            choice["delta"] = json!({});
        } else {
            choice["text"] = json!("");
        }
        let mut last = self.openai(json!([choice]), names);
        let usage = (self.asked.usage && !lies.no_usage).then(|| {
            let mut chunk = self.openai(json!([]), names);
            chunk["usage"] = self.usage();
            chunk
        });
        let mut chunks = match usage {
            None => {
                if self.model.timings {
                    last["timings"] = self.timings(times);
                }
                vec![last.clone()]
            }
            Some(mut usage) => {
                if self.model.timings {
                    usage["timings"] = self.timings(times);
                }
                vec![last.clone(), usage]
            }
        };
        if lies.done_twice {
            chunks.insert(0, last);
        }
        chunks.iter().for_each(|chunk| out.extend_from_slice(&line(self.protocol, chunk)));
        if !lies.no_done {
            (0..repeats).for_each(|_| out.extend_from_slice(b"data: [DONE]\n\n"));
        }
        out
    }

    fn render_single(&self, times: &Times) -> Vec<u8> {
        let value = if self.protocol.is_ollama() {
            self.ollama(times)
        } else {
            let mut choice = json!({ "index": 0, "finish_reason": self.finish(), "logprobs": null });
            let names = if self.protocol == Protocol::OpenAiChat {
                choice["message"] = json!({ "role": "assistant", "content": self.text });
                ["chatcmpl-chimera", "chat.completion"]
            } else {
                choice["text"] = json!(self.text);
                ["cmpl-chimera", "text_completion"]
            };
            let mut whole = self.openai(json!([choice]), names);
            if !self.model.lies.no_usage {
                whole["usage"] = self.usage();
            }
            if self.model.timings {
                whole["timings"] = self.timings(times);
            }
            whole
        };
        value.to_string().into_bytes()
    }
}
