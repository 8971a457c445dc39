//! A script: what a server shall answer, byte for byte and when. It is data (TOML, or built in Rust); playing it is the
//! business of [`crate::truth`]. A script describes one server: [`Rule`]s that answer single requests to the letter,
//! and [`ScriptModel`]s that speak Ollama's and OpenAI's protocols with a given schedule of tokens, and that may lie or
//! break.
//!
//! ```toml
//! [[models]]
//! name = "steady"
//! [models.tokens]
//! count = 100          # or "from_request"
//! ttft_ms = 100
//! gap_ms = 20
//!
//! [[rules]]            # The first request to this path fails; later ones reach the model.
//! when = { method = "POST", path = "/api/generate", times = 1 }
//! [rules.answer]
//! status = 503
//! headers = [["content-type", "application/json"]]
//! framing = "length"
//! steps = [{ act = "head" }, { after_ms = 5, act = { write = { bytes = '{"error":"busy"}' } } }, { act = "end" }]
//! ```
//!
//! A request is answered by the first rule that matches and is not used up, then by the model it names, then by what
//! clients ask of a server before they generate (`/api/tags`, `/v1/models`, ...), and else with 404.

mod ask;
mod body;
mod bytes;
mod generate;
mod model;
mod wire;

use std::time::Duration;

use serde::Deserialize;

pub use ask::{Asked, Protocol};
pub use model::{
    Count, Counters, Durations, Fault, FaultKind, Lies, MAX_LINE, MAX_TOKENS, ScriptModel, Tokens,
};
pub use wire::{Summary, Times};

pub(crate) use bytes::rfc3339;

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The text is not TOML, or not a script.
    #[error("script, at `{path}`: {reason}")]
    Parse {
        /// Path of the key, such as `models[0].tokens.count`.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// The script is well-formed and asks for what cannot be.
    #[error("script, at `{path}`: {reason}")]
    Invalid {
        /// Path of the key.
        path: String,
        /// What is wrong there, and what would be right.
        reason: String,
    },
}

/// What one server answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Answers to the letter. The first that matches and is not used up wins.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Models that speak all four protocols.
    #[serde(default)]
    pub models: Vec<ScriptModel>,
}

impl Script {
    /// A script that answers nothing but questions about itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A script with one more rule, asked after those it has.
    #[must_use]
    pub fn rule(mut self, when: When, answer: Answer) -> Self {
        self.rules.push(Rule { when, answer });
        self
    }

    /// A script with one more model.
    #[must_use]
    pub fn model(mut self, model: ScriptModel) -> Self {
        self.models.push(model);
        self
    }

    /// Reads a script and checks it.
    ///
    /// # Errors
    ///
    /// [`ScriptError::Parse`] when the text is not a script, [`ScriptError::Invalid`] when it cannot be played; both
    /// name the key.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let parse =
            |path: String, reason: String| ScriptError::Parse { path, reason: reason.trim().to_owned() };
        let reader =
            toml::Deserializer::parse(text).map_err(|error| parse(".".to_owned(), error.to_string()))?;
        let script: Self = serde_path_to_error::deserialize(reader)
            .map_err(|error| parse(error.path().to_string(), error.inner().message().to_owned()))?;
        script.check()?;
        Ok(script)
    }

    /// Checks what types cannot: limits, names, answers whose parts contradict each other.
    ///
    /// # Errors
    ///
    /// [`ScriptError::Invalid`] with the path of the first key that cannot be played.
    pub fn check(&self) -> Result<(), ScriptError> {
        for (i, rule) in self.rules.iter().enumerate() {
            rule.answer.check(&format!("rules[{i}].answer"))?;
        }
        for (i, model) in self.models.iter().enumerate() {
            model.check(&format!("models[{i}]"))?;
            if self.models[..i].iter().any(|earlier| earlier.name == model.name) {
                return Err(invalid(
                    format!("models[{i}].name"),
                    format!("`{}` is the name of an earlier model too; give each its own", model.name),
                ));
            }
        }
        Ok(())
    }
}

pub(crate) fn invalid(path: String, reason: impl Into<String>) -> ScriptError {
    ScriptError::Invalid { path, reason: reason.into() }
}

/// An answer and the requests it is for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests.
    #[serde(default)]
    pub when: When,
    /// What they get.
    pub answer: Answer,
}

/// Which requests a rule answers. What is absent matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The method, in capitals.
    pub method: Option<String>,
    /// The path, without the query.
    pub path: Option<String>,
    /// Bytes that the body holds somewhere.
    pub body_contains: Option<String>,
    /// How many requests the rule answers before it is used up.
    pub times: Option<u32>,
}

impl When {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// `POST` to `path`.
    pub fn post(path: impl Into<String>) -> Self {
        Self { method: Some("POST".to_owned()), path: Some(path.into()), ..Self::default() }
    }

    /// `GET` of `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Some("GET".to_owned()), path: Some(path.into()), ..Self::default() }
    }

    /// The same, and the body holds `text`.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.body_contains = Some(text.into());
        self
    }

    /// The same, for the first `times` requests only.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Whether a request is meant, whatever the rule was used for before.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str, body: &[u8]) -> bool {
        self.method.as_deref().is_none_or(|m| m == method)
            && self.path.as_deref().is_none_or(|p| p == path)
            && self.body_contains.as_deref().is_none_or(|text| bytes::contains(body, text.as_bytes()))
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// `Transfer-Encoding: chunked`, one HTTP chunk for each [`Act::Write`].
    #[default]
    Chunked,
    /// `Content-Length`, the sum of all writes.
    Length,
    /// The end of the connection.
    UntilClose,
    /// The writes are the bytes of the whole response, head included. The server adds nothing.
    Raw,
}

/// One response, to the letter.
///
/// A response with framing other than [`Framing::Raw`] has one head. Without an [`Act::Head`] it goes out with the first
/// write; without an ending it ends properly after the last step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Status code; ignored by [`Framing::Raw`].
    #[serde(default = "ok")]
    pub status: u16,
    /// Headers beside those of the framing, `x-chimera-request` and, where it applies, `connection: close`.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// How the end of the body is told.
    #[serde(default)]
    pub framing: Framing,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

fn ok() -> u16 {
    200
}

impl Answer {
    /// An answer with no headers and no steps yet.
    #[must_use]
    pub fn new(status: u16, framing: Framing) -> Self {
        Self { status, headers: Vec::new(), framing, steps: Vec::new() }
    }

    /// A whole body of some content type at once.
    pub fn body(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, Framing::Length)
            .header("content-type", content_type)
            .step(Duration::ZERO, Act::Head)
            .step(Duration::ZERO, Act::write(body, 0))
            .step(Duration::ZERO, Act::End)
    }

    /// A JSON body at once.
    #[must_use]
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::body(status, "application/json; charset=utf-8", value.to_string())
    }

    /// The answer with one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The answer with one more step.
    #[must_use]
    pub fn step(mut self, after: Duration, act: Act) -> Self {
        self.steps.push(Step { after, act });
        self
    }

    /// Tokens that the steps carry, without those of [`Act::Endless`].
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.steps
            .iter()
            .map(|step| match &step.act {
                Act::Write { tokens, .. } => u64::from(*tokens),
                Act::Lines { lines } => lines.iter().map(|line| u64::from(line.tokens)).sum(),
                _ => 0,
            })
            .sum()
    }

    fn check(&self, path: &str) -> Result<(), ScriptError> {
        if !(100..=999).contains(&self.status) {
            return Err(invalid(format!("{path}.status"), "a status code is 100 to 999"));
        }
        for (i, (name, value)) in self.headers.iter().enumerate() {
            let name_ok = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
            if !name_ok || value.contains(['\r', '\n', '\0']) {
                return Err(invalid(
                    format!("{path}.headers[{i}]"),
                    "a header is a token and a line of text; use framing \"raw\" for anything else",
                ));
            }
        }
        let mut head = false;
        for (i, step) in self.steps.iter().enumerate() {
            let at = || format!("{path}.steps[{i}].act");
            match &step.act {
                Act::Head if self.framing == Framing::Raw => {
                    return Err(invalid(at(), "raw framing has no head of its own: write its bytes"));
                }
                Act::Head if head || self.steps[..i].iter().any(|s| s.act.has_bytes()) => {
                    return Err(invalid(at(), "there is one head, and it comes before the first write"));
                }
                Act::Head => head = true,
                Act::Endless { .. } if self.framing == Framing::Length => {
                    return Err(invalid(at(), "what has no end has no length: use framing \"chunked\""));
                }
                Act::Endless { bytes, .. } if bytes.is_empty() => {
                    return Err(invalid(at(), "an endless write needs bytes"));
                }
                act if act.is_ending() && i + 1 != self.steps.len() => {
                    return Err(invalid(at(), "nothing can follow an ending"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// One thing that happens and when.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Time since the step before was *due* (not done), so that lateness does not add up; for the first step, since the
    /// request was read. Zero means "together with the step before, in one write call where that is possible";
    /// anything more, be it a nanosecond, means a write call of its own.
    #[serde(default, rename = "after_ms", with = "model::millis")]
    pub after: Duration,
    /// What happens.
    pub act: Act,
}

/// What a server can do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// The head of the response goes out.
    Head,
    /// Bytes of the body: one HTTP chunk where the framing is chunked.
    Write {
        /// The bytes: in TOML a text, or a list of numbers.
        #[serde(deserialize_with = "bytes::text_or_numbers")]
        bytes: Vec<u8>,
        /// Tokens that are complete with the last of these bytes.
        #[serde(default)]
        tokens: u32,
    },
    /// Several lines in one HTTP chunk, each with its own tokens.
    #[serde(skip)]
    Lines {
        /// The lines, with their ends.
        lines: Vec<Line>,
    },
    /// The end of a stream in its protocol (counters, usage, `[DONE]`), with durations as they really were: it is
    /// rendered when it is due, from the stamps of what was written. Under [`Framing::Length`] from the schedule.
    #[serde(skip)]
    Summary(Box<Summary>),
    /// The same bytes again and again, for ever.
    Endless {
        /// One turn of it.
        #[serde(deserialize_with = "bytes::text_or_numbers")]
        bytes: Vec<u8>,
        /// Tokens in it.
        #[serde(default)]
        tokens: u32,
        /// From turn to turn; zero is as fast as the client reads.
        #[serde(default, rename = "every_ms", with = "model::millis")]
        every: Duration,
    },
    /// The proper end. The connection stays open where the framing allows.
    End,
    /// FIN, without a proper end.
    Close,
    /// RST.
    Reset,
    /// Nothing more, ever. The connection stays open until the client leaves.
    Stall,
}

impl Act {
    /// A write of `bytes` that completes `tokens` tokens.
    pub fn write(bytes: impl Into<Vec<u8>>, tokens: u32) -> Self {
        Self::Write { bytes: bytes.into(), tokens }
    }

    fn has_bytes(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Lines { .. } | Self::Summary(_) | Self::Endless { .. })
    }

    fn is_ending(&self) -> bool {
        matches!(self, Self::Endless { .. } | Self::End | Self::Close | Self::Reset | Self::Stall)
    }
}

/// One line of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its bytes, end of line included.
    pub bytes: Vec<u8>,
    /// Tokens in it.
    pub tokens: u32,
}
