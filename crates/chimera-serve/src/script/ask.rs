//! What a request asks for, as far as a script cares.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// A protocol for generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `POST /api/generate`, NDJSON.
    OllamaGenerate,
    /// `POST /api/chat`, NDJSON.
    OllamaChat,
    /// `POST /v1/completions`, server-sent events.
    OpenAiCompletions,
    /// `POST /v1/chat/completions`, server-sent events.
    OpenAiChat,
}

impl Protocol {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::OllamaGenerate, Self::OllamaChat, Self::OpenAiCompletions, Self::OpenAiChat];

    /// Where it is served.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::OllamaGenerate => "/api/generate",
            Self::OllamaChat => "/api/chat",
            Self::OpenAiCompletions => "/v1/completions",
            Self::OpenAiChat => "/v1/chat/completions",
        }
    }

    /// The protocol that is served at `path`.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.path() == path)
    }

    /// Whether it is one of Ollama's own.
    #[must_use]
    pub fn is_ollama(self) -> bool {
        matches!(self, Self::OllamaGenerate | Self::OllamaChat)
    }

    /// An error as the protocol's servers put it.
    #[must_use]
    pub fn error(self, status: u16, message: &str) -> Value {
        if self.is_ollama() {
            return serde_json::json!({ "error": message });
        }
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        serde_json::json!({ "error": { "message": message, "type": kind, "param": null, "code": status } })
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The model it names; empty where it names none.
    pub model: String,
    /// Whether the answer is a stream: by default yes for Ollama, no for OpenAI.
    pub stream: bool,
    /// The most tokens it wants; absent where it does not say or says that there is no limit.
    pub limit: Option<u32>,
    /// `stream_options.include_usage`.
    pub usage: bool,
    /// Tokens of the prompt by the script's own tokenizer: one, and one for each word.
    pub prompt_tokens: u32,
    /// Whether there is no prompt: Ollama loads or unloads the model then.
    pub empty: bool,
    /// `keep_alive: 0`: the model is to leave.
    pub unload: bool,
    /// What the load of the model takes before all else.
    pub load: Duration,
    /// `created_at` and `created` of the answer, in RFC 3339 and in Unix seconds.
    pub created: (String, u64),
}

impl Asked {
    /// A request for a stream with usage, as one of `protocol` would ask, for `limit` tokens.
    #[must_use]
    pub fn stream(limit: Option<u32>) -> Self {
        Self {
            model: String::new(),
            stream: true,
            limit,
            usage: true,
            prompt_tokens: 1,
            empty: false,
            unload: false,
            load: Duration::ZERO,
            created: (super::rfc3339(std::time::UNIX_EPOCH), 0),
        }
    }

    /// Reads the body of a request; the reason where it is no such body.
    ///
    /// # Errors
    ///
    /// A sentence for the error object of a 400.
    pub fn parse(protocol: Protocol, body: &[u8], created: (String, u64)) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|error| format!("invalid JSON: {error}"))?;
        if !body.is_object() {
            return Err("the body is not a JSON object".to_owned());
        }
        let options = if protocol.is_ollama() { &body["options"] } else { &body };
        let limit = ["num_predict", "max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|key| options[*key].as_i64())
            .filter(|limit| *limit >= 0)
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        let mut words = 0;
        let mut empty = true;
        let mut count = |text: &Value| {
            if let Some(text) = text.as_str() {
                empty &= text.is_empty();
                words += text.split_whitespace().count();
            }
        };
        match &body["prompt"] {
            Value::Array(prompts) => prompts.iter().for_each(&mut count),
            prompt => count(prompt),
        }
        for message in body["messages"].as_array().into_iter().flatten() {
            match &message["content"] {
                Value::Array(parts) => parts.iter().for_each(|part| count(&part["text"])),
                content => count(content),
            }
        }
        Ok(Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            stream: body["stream"].as_bool().unwrap_or(protocol.is_ollama()),
            limit,
            usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
            prompt_tokens: u32::try_from(words).unwrap_or(u32::MAX).saturating_add(1),
            empty,
            unload: match &body["keep_alive"] {
                Value::Number(n) => n.as_f64() == Some(0.0),
                Value::String(text) => matches!(text.as_str(), "0" | "0s" | "0m"),
                _ => false,
            },
            load: Duration::ZERO,
            created,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(protocol: Protocol, body: &str) -> Asked {
        Asked::parse(protocol, body.as_bytes(), (String::new(), 0)).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_protocols() {
        let a =
            parse(Protocol::OllamaGenerate, r#"{"model":"m","prompt":"a b","options":{"num_predict":7}}"#);
        assert_eq!((a.stream, a.limit, a.prompt_tokens, a.empty, a.unload), (true, Some(7), 3, false, false));
        let a =
            parse(Protocol::OllamaGenerate, r#"{"model":"m","keep_alive":0,"options":{"num_predict":-1}}"#);
        assert_eq!((a.limit, a.empty, a.unload), (None, true, true));
        let a = parse(
            Protocol::OpenAiChat,
            r#"{"messages":[{"content":[{"text":"a b c"}]},{"content":"d"}],"max_tokens":3,"stream_options":{"include_usage":true}}"#,
        );
        assert_eq!((a.stream, a.limit, a.prompt_tokens, a.usage), (false, Some(3), 5, true));
        assert!(Asked::parse(Protocol::OpenAiChat, b"[]", (String::new(), 0)).is_err());
        assert!(Asked::parse(Protocol::OpenAiChat, b"{", (String::new(), 0)).is_err());
    }
}
