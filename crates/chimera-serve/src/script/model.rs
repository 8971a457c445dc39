//! A model of a script: its tokens and their schedule, the lies its counters tell, and where it breaks. How it is put
//! into bytes is in the neighbouring modules.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{ScriptError, invalid};

/// Most tokens of one answer: its bytes are rendered ahead of time and must fit into memory.
pub const MAX_TOKENS: u32 = 250_000;
/// Longest line that [`FaultKind::LongLine`] makes, in bytes.
pub const MAX_LINE: u32 = 64 << 20;

/// Durations as milliseconds, which may have decimals.
pub(super) mod millis {
    use super::{D, Deserialize, Deserializer, Duration};

    pub(crate) fn deserialize<'de, De: Deserializer<'de>>(reader: De) -> Result<Duration, De::Error> {
        Ok(D::deserialize(reader)?.0)
    }
}

/// A duration in milliseconds.
struct D(Duration);

impl<'de> Deserialize<'de> for D {
    fn deserialize<De: Deserializer<'de>>(reader: De) -> Result<Self, De::Error> {
        let ms = f64::deserialize(reader)?;
        // A year bounds sums of many steps far below the end of the clock.
        if !(0.0..=365.25 * 86_400_000.0).contains(&ms) {
            return Err(De::Error::custom("a duration is 0 milliseconds to one year"));
        }
        Ok(Self(Duration::from_nanos((ms * 1e6).round() as u64)))
    }
}

/// A model that speaks all four protocols.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptModel {
    /// Name in requests. `name:latest` means the same model.
    pub name: String,
    /// Context length it claims, in tokens.
    #[serde(default = "context")]
    pub context: u32,
    /// Time a load takes; it also precedes the first token of a model that is not resident.
    #[serde(default, rename = "load_ms", with = "millis")]
    pub load: Duration,
    /// Whether it is resident when the server starts.
    #[serde(default = "yes")]
    pub resident: bool,
    /// Whether the last chunk of an OpenAI stream carries llama.cpp's `timings`.
    #[serde(default)]
    pub timings: bool,
    /// What it says, and when.
    #[serde(default)]
    pub tokens: Tokens,
    /// What it says about itself.
    #[serde(default)]
    pub lies: Lies,
    /// Where it breaks.
    #[serde(default)]
    pub fault: Option<Fault>,
}

fn context() -> u32 {
    4096
}

fn yes() -> bool {
    true
}

impl ScriptModel {
    /// An honest resident model.
    pub fn new(name: impl Into<String>, tokens: Tokens) -> Self {
        Self {
            name: name.into(),
            context: context(),
            load: Duration::ZERO,
            resident: true,
            timings: false,
            tokens,
            lies: Lies::default(),
            fault: None,
        }
    }

    /// The same model with a fault.
    #[must_use]
    pub fn failing(mut self, at: u32, kind: FaultKind) -> Self {
        self.fault = Some(Fault { at, kind });
        self
    }

    /// The same model with lies.
    #[must_use]
    pub fn lying(mut self, lies: Lies) -> Self {
        self.lies = lies;
        self
    }

    pub(super) fn check(&self, path: &str) -> Result<(), ScriptError> {
        let is_text = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_text) {
            return Err(invalid(format!("{path}.name"), "a model's name is letters, digits and `-_.:/@`"));
        }
        self.tokens.check(&format!("{path}.tokens"))?;
        if let Some(fault) = &self.fault {
            fault.check(&format!("{path}.fault"))?;
        }
        Ok(())
    }
}

/// How many tokens an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// This many, whatever the request says.
    Fixed(u32),
    /// As many as the request allows (`num_predict`, `max_tokens`, `max_completion_tokens`), 128 where it does not say.
    FromRequest,
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u32),
            Word(String),
        }
        match Either::deserialize(reader) {
            Ok(Either::Number(n)) => Ok(Self::Fixed(n)),
            Ok(Either::Word(word)) if word == "from_request" => Ok(Self::FromRequest),
            _ => Err(D::Error::custom("a count is a whole number or \"from_request\"")),
        }
    }
}

/// Tokens and their schedule. Token *i* (from 0) is due `ttft + i * gap` after the request was read; a write is due
/// with its first token, so that fewer and larger writes have the same rate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// How many.
    pub count: Count,
    /// From the request to the first token.
    #[serde(rename = "ttft_ms", with = "millis")]
    pub ttft: Duration,
    /// From token to token; zero is unpaced, as fast as the client reads.
    #[serde(rename = "gap_ms", with = "millis")]
    pub gap: Duration,
    /// Tokens in one line (NDJSON) or event (SSE), 1 to 16.
    pub per_chunk: u8,
    /// Lines or events in one HTTP chunk.
    pub lines_per_write: u16,
    /// The texts of the tokens, used in turn.
    pub words: Vec<String>,
    /// Each write is cut in the middle of a character of several bytes, and the rest follows in a write of its own half
    /// a gap later. A write without such a character stays whole.
    pub split_utf8: bool,
    /// Whether the head goes out at once rather than with the first token.
    pub early_head: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            count: Count::FromRequest,
            ttft: Duration::ZERO,
            gap: Duration::ZERO,
            per_chunk: 1,
            lines_per_write: 1,
            words: [" naïve", " 漢字", " token", " 🦀"].map(str::to_owned).to_vec(),
            split_utf8: false,
            early_head: false,
        }
    }
}

impl Tokens {
    /// `count` tokens on a schedule, one to a line and a write.
    #[must_use]
    pub fn paced(count: u32, ttft: Duration, gap: Duration) -> Self {
        Self { count: Count::Fixed(count), ttft, gap, ..Self::default() }
    }

    /// `count` tokens as fast as the client reads.
    #[must_use]
    pub fn unpaced(count: u32) -> Self {
        Self::paced(count, Duration::ZERO, Duration::ZERO)
    }

    /// The same with `per_chunk` tokens in each line or event.
    #[must_use]
    pub fn per_chunk(mut self, per_chunk: u8) -> Self {
        self.per_chunk = per_chunk;
        self
    }

    /// The text of the tokens from `first` up to, not including, `end`.
    #[must_use]
    pub fn text(&self, first: u32, end: u32) -> String {
        let words = self.words.len().max(1);
        (first..end).filter_map(|i| self.words.get(i as usize % words)).map(String::as_str).collect()
    }

    fn check(&self, path: &str) -> Result<(), ScriptError> {
        if let Count::Fixed(n) = self.count
            && n > MAX_TOKENS
        {
            return Err(invalid(format!("{path}.count"), format!("at most {MAX_TOKENS} tokens")));
        }
        if !(1..=16).contains(&self.per_chunk) {
            return Err(invalid(format!("{path}.per_chunk"), "1 to 16 tokens in a chunk"));
        }
        if self.lines_per_write == 0 {
            return Err(invalid(format!("{path}.lines_per_write"), "at least one line in a write"));
        }
        if self.words.is_empty() || self.words.iter().any(|w| w.is_empty() || w.len() > 1024) {
            return Err(invalid(format!("{path}.words"), "at least one word, each of 1 to 1,024 bytes"));
        }
        Ok(())
    }
}

/// What a server says about itself. The default is the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lies {
    /// Durations (Ollama) and `timings` (llama.cpp).
    pub durations: Durations,
    /// Token counts (Ollama, usage, `timings`).
    pub counters: Counters,
    /// The final line, or the chunk with the finish reason, comes twice; so does `[DONE]`.
    pub done_twice: bool,
    /// An OpenAI stream has no usage, even when it was asked for; a single answer has none either.
    pub no_usage: bool,
    /// The stream just ends: no `[DONE]`, no final line of Ollama.
    pub no_done: bool,
}

/// Durations that a server reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durations {
    /// As they were on the server's clock: prefill from the request read (and the model loaded) to the first token
    /// written, decode from the first token written to the last.
    #[default]
    Honest,
    /// Zero.
    Zero,
    /// All the same.
    #[serde(rename = "constant_ms", deserialize_with = "millis::deserialize")]
    Constant(Duration),
    /// Each longer than it was by this.
    #[serde(rename = "longer_ms", deserialize_with = "millis::deserialize")]
    Longer(Duration),
}

/// Token counts that a server reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counters {
    /// As it was.
    #[default]
    Honest,
    /// None: the fields are absent.
    Missing,
    /// The count of generated tokens is off by this.
    Off(i32),
}

/// Where a model breaks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// After this many tokens. Must be 0 for kinds that change the whole response. An answer with fewer tokens breaks
    /// at its end.
    #[serde(default)]
    pub at: u32,
    /// How.
    pub kind: FaultKind,
}

/// How a model breaks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A line or event with an error in a response of status 200, then the end.
    ErrorLine,
    /// A status instead of the stream, with the protocol's error object.
    HttpError(u16),
    /// FIN without a proper end.
    Close,
    /// RST.
    Reset,
    /// Nothing more, ever.
    Stall,
    /// A line of bytes that are neither JSON nor UTF-8, then the end.
    Garbage,
    /// A line cut in its middle, then the proper end of the response.
    TruncatedLine,
    /// Tokens without end, at the pace of the others.
    Endless,
    /// One token whose line is at least this many bytes; then all goes on.
    LongLine(u32),
    /// A page of HTML, status 200.
    WrongContentType,
    /// Status 307 to this location.
    Redirect(String),
    /// The right stream in `content-encoding: gzip`, which nobody asked for.
    Gzip,
    /// A gzip that unpacks to this many MiB of one token's text.
    GzipBomb(u16),
}

impl FaultKind {
    /// One word for it, as in scripts and in the truth's `fault`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ErrorLine => "error_line",
            Self::HttpError(_) => "http_error",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::Garbage => "garbage",
            Self::TruncatedLine => "truncated_line",
            Self::Endless => "endless",
            Self::LongLine(_) => "long_line",
            Self::WrongContentType => "wrong_content_type",
            Self::Redirect(_) => "redirect",
            Self::Gzip => "gzip",
            Self::GzipBomb(_) => "gzip_bomb",
        }
    }

    /// Whether the kind changes the whole response rather than a place in its stream.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(
            self,
            Self::HttpError(_) | Self::WrongContentType | Self::Redirect(_) | Self::Gzip | Self::GzipBomb(_)
        )
    }
}

impl Fault {
    fn check(&self, path: &str) -> Result<(), ScriptError> {
        if self.kind.is_whole() && self.at != 0 {
            return Err(invalid(
                format!("{path}.at"),
                format!("`{}` changes the whole response: leave `at` out", self.kind.name()),
            ));
        }
        match &self.kind {
            FaultKind::HttpError(status) if !(400..=599).contains(status) => {
                Err(invalid(format!("{path}.kind.http_error"), "an error has status 400 to 599"))
            }
            FaultKind::LongLine(bytes) if *bytes > MAX_LINE => {
                Err(invalid(format!("{path}.kind.long_line"), format!("at most {MAX_LINE} bytes")))
            }
            FaultKind::GzipBomb(mib) if *mib > 1024 => {
                Err(invalid(format!("{path}.kind.gzip_bomb"), "at most 1,024 MiB"))
            }
            FaultKind::Redirect(to) if to.is_empty() || to.contains(['\r', '\n', '\0']) => {
                Err(invalid(format!("{path}.kind.redirect"), "a location is one line of text"))
            }
            _ => Ok(()),
        }
    }
}
