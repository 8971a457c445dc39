//! Bodies of requests. Everything that decides an answer and that the server knows is sent; what it does not know and that
//! would change the answer is refused before it is asked.

use chimera_core::{BackendError, BackendId, Message, Prompt, Request, Role, Sampling};
use serde::Serialize;

use crate::flavour::Flavour;

/// What stays the same in all requests of a session.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Name on the server.
    pub(crate) model: String,
    /// Never [`Flavour::Auto`].
    pub(crate) flavour: Flavour,
    pub(crate) cache_prompt: bool,
    pub(crate) completions: bool,
    pub(crate) chat: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Text(&'a str),
    Ids(&'a [u32]),
}

#[derive(Debug, Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
    #[serde(skip_serializing_if = "is_false")]
    continuous_usage_stats: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    /// First, so that [`renamed`] finds it.
    max_tokens: u32,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<Input<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Spoken<'a>>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    choice: Choice,
}

/// How tokens are chosen, in the words of one flavour.
#[derive(Debug, Default, Serialize)]
struct Choice {
    seed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings_per_token: Option<bool>,
}

/// A request on the wire.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) path: &'static str,
    pub(crate) json: Vec<u8>,
}

/// The same chat with its budget under the newer name, `max_completion_tokens`; `None` for what is no body of ours.
pub(crate) fn renamed(json: &[u8]) -> Option<Vec<u8>> {
    let rest = json.strip_prefix(b"{\"max_tokens\":")?;
    Some([b"{\"max_completion_tokens\":", rest].concat())
}

impl Held {
    pub(crate) fn completions_path(&self) -> &'static str {
        if self.flavour == Flavour::LmStudio { "/api/v0/completions" } else { "/v1/completions" }
    }

    pub(crate) fn chat_path(&self) -> &'static str {
        if self.flavour == Flavour::LmStudio { "/api/v0/chat/completions" } else { "/v1/chat/completions" }
    }

    /// One token that nobody wants: it is answered when the model is resident and, with one slot, when the slot is free.
    pub(crate) fn nudge(&self, id: &BackendId) -> Result<Asked, BackendError> {
        let request = if self.completions {
            Request::text("x", 1)
        } else {
            let message = Message { role: Role::User, content: "x".into() };
            Request::new(Prompt::Chat([message].into()), 1)
        };
        self.asked(&request, false, id)
    }

    /// A generation.
    ///
    /// # Errors
    /// What the server cannot do, before it is asked.
    pub(crate) fn generation(&self, request: &Request, id: &BackendId) -> Result<Asked, BackendError> {
        self.asked(request, true, id)
    }

    fn asked(&self, request: &Request, stream: bool, id: &BackendId) -> Result<Asked, BackendError> {
        let unsupported = |what: &str| {
            let what = format!("{what} (a server of the kind `{}`)", self.flavour);
            BackendError::Unsupported { backend: id.clone(), what }
        };
        let invalid =
            |reason: &str| BackendError::InvalidRequest { backend: id.clone(), reason: reason.to_owned() };
        if request.max_tokens == 0 {
            return Err(unsupported(
                "a prefill alone: a budget of zero means something else to every server",
            ));
        }
        if i32::try_from(request.max_tokens).is_err() {
            return Err(invalid("the budget does not fit into 31 bits"));
        }
        if request.ignore_eos && !self.flavour.ignores_eos() {
            return Err(unsupported("going on past the end of the sequence"));
        }
        let mut body = Body {
            max_tokens: request.max_tokens,
            model: &self.model,
            prompt: None,
            messages: None,
            stream,
            stream_options: stream.then(|| StreamOptions {
                include_usage: true,
                continuous_usage_stats: self.flavour.counts(),
            }),
            choice: Choice::default(),
        };
        let path = match &request.prompt {
            Prompt::Text(text) => {
                if text.is_empty() {
                    return Err(invalid("the prompt is empty"));
                }
                body.prompt = Some(Input::Text(text));
                self.completions_path()
            }
            Prompt::Tokens(ids) if self.flavour.takes_ids() => {
                if ids.is_empty() {
                    return Err(invalid("the prompt is empty"));
                }
                body.prompt = Some(Input::Ids(ids));
                self.completions_path()
            }
            Prompt::Tokens(_) => return Err(unsupported("prompts of token ids")),
            Prompt::Chat(_) if !self.chat => return Err(unsupported("chats, which were switched off")),
            Prompt::Chat(messages) => {
                if messages.is_empty() {
                    return Err(invalid("the chat has no message"));
                }
                body.messages = Some(messages.iter().map(spoken).collect());
                self.chat_path()
            }
            _ => return Err(unsupported("this kind of prompt")),
        };
        if body.prompt.is_some() && !self.completions {
            return Err(unsupported("raw prompts: there are no completions here"));
        }
        body.choice = self.choice(request, body.messages.is_some()).map_err(|refused| match refused {
            Refused::Invalid(reason) => invalid(reason),
            Refused::Unsupported(what) => unsupported(what),
        })?;
        let json = serde_json::to_vec(&body).map_err(|error| BackendError::failed(id, error))?;
        Ok(Asked { path, json })
    }

    fn choice(&self, request: &Request, chat: bool) -> Result<Choice, Refused> {
        let Sampling { temperature, top_k, top_p, repeat_penalty } = request.sampling;
        if !(temperature.is_finite()
            && temperature >= 0.0
            && repeat_penalty.is_finite()
            && repeat_penalty > 0.0)
            || top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0))
        {
            return Err(Refused::Invalid(
                "a temperature below zero, a `top_p` outside (0, 1], a penalty that is not positive, or no number",
            ));
        }
        let greedy = temperature == 0.0;
        let neutral = repeat_penalty == 1.0;
        // The largest logit is the largest, whatever is cut away below it.
        let top_p = top_p.filter(|_| !greedy).unwrap_or(1.0);
        let top_k = top_k.filter(|_| !greedy).map(i64::from);
        let mut choice = Choice {
            seed: seed(request.seed),
            temperature: Some(temperature),
            top_p: Some(top_p),
            presence_penalty: Some(0.0),
            frequency_penalty: Some(0.0),
            ..Choice::default()
        };
        match self.flavour {
            Flavour::Auto | Flavour::Plain => {
                if top_k.is_some() {
                    return Err(Refused::Unsupported("`top_k`"));
                }
                if !neutral {
                    return Err(Refused::Unsupported("a repeat penalty"));
                }
            }
            Flavour::LlamaCpp => {
                choice.top_k = Some(if greedy { 1 } else { top_k.unwrap_or(0) });
                choice.min_p = Some(0.0);
                choice.repeat_penalty = Some(repeat_penalty);
                choice.ignore_eos = Some(request.ignore_eos);
                choice.cache_prompt = Some(self.cache_prompt);
                choice.timings_per_token = Some(false);
            }
            Flavour::Vllm | Flavour::SgLang => {
                choice.top_k = Some(if greedy { -1 } else { top_k.unwrap_or(-1) });
                choice.min_p = Some(0.0);
                choice.repetition_penalty = Some(repeat_penalty);
                choice.ignore_eos = Some(request.ignore_eos);
            }
            Flavour::Chimera => {
                choice.top_k = top_k;
                choice.repetition_penalty = Some(repeat_penalty);
                choice.ignore_eos = Some(request.ignore_eos);
            }
            Flavour::LmStudio => {
                choice.top_k = Some(if greedy { 1 } else { top_k.unwrap_or(0) });
                choice.repeat_penalty = Some(repeat_penalty);
            }
            Flavour::Tgi => {
                // Its `presence_penalty` of a chat becomes a repetition penalty of 2 more, so even a zero must not be sent; a
                // `top_p` of one is refused; and a raw completion with a temperature of zero too, where none means greedy.
                choice.presence_penalty = None;
                choice.frequency_penalty = None;
                choice.top_p = Some(top_p).filter(|p| *p < 1.0);
                choice.temperature = Some(temperature).filter(|_| chat || !greedy);
                if top_k.is_some() {
                    return Err(Refused::Unsupported("`top_k`"));
                }
                if !neutral && chat {
                    return Err(Refused::Unsupported("a repeat penalty of a chat"));
                }
                choice.repetition_penalty = Some(repeat_penalty).filter(|_| !neutral);
            }
        }
        Ok(choice)
    }
}

enum Refused {
    Invalid(&'static str),
    Unsupported(&'static str),
}

fn spoken(message: &Message) -> Spoken<'_> {
    let role = match message.role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        _ => "user",
    };
    Spoken { role, content: &message.content }
}

/// Servers differ in how many bits a seed has, and draw one at random for a negative or the largest one: small seeds are
/// sent as they are, larger ones folded to 31 bits.
fn seed(seed: u64) -> u32 {
    const BITS: u64 = 0x7fff_ffff;
    let folded = (seed ^ (seed >> 31) ^ (seed >> 62)) & BITS;
    u32::try_from(folded).unwrap_or(0)
}

#[cfg(test)]
mod tests;
