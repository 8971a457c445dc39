//! Bodies of requests. What is held in memory depends on `num_ctx` and `num_thread`: they are the same in every body of a
//! session, and everything that decides an answer is sent, so that no model's own defaults change what is measured.

use std::time::Duration;

use chimera_core::{BackendError, BackendId, Message, Prompt, Request, Role, Sampling};
use serde::Serialize;

/// What stays the same in all requests of a session.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Name on the server.
    pub(crate) model: String,
    pub(crate) context: u32,
    pub(crate) threads: Option<u32>,
    /// `None` for ever.
    pub(crate) keep: Option<Duration>,
    pub(crate) templated: bool,
}

#[derive(Debug, Serialize)]
struct Options {
    num_ctx: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_thread: Option<u32>,
    #[serde(flatten)]
    answer: Option<AnswerOptions>,
}

#[derive(Debug, Serialize)]
struct AnswerOptions {
    num_predict: u32,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    seed: u32,
}

#[derive(Debug, Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Spoken<'a>>>,
    stream: bool,
    /// Seconds; negative for ever.
    keep_alive: i64,
    // Newer servers refuse what does not fit when they are told to; older ones read over these.
    truncate: bool,
    shift: bool,
    options: Options,
}

/// A request on the wire.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) path: &'static str,
    pub(crate) json: Vec<u8>,
}

impl Held {
    fn keep_alive(&self) -> i64 {
        // A server divides its time into nanoseconds of 63 bits.
        const MOST: u64 = 1 << 32;
        self.keep.map_or(-1, |keep| i64::try_from(keep.as_secs().min(MOST)).unwrap_or(-1))
    }

    fn body(&self) -> Body<'_> {
        Body {
            model: &self.model,
            prompt: None,
            raw: None,
            messages: None,
            stream: true,
            keep_alive: self.keep_alive(),
            truncate: false,
            shift: false,
            options: Options { num_ctx: self.context, num_thread: self.threads, answer: None },
        }
    }

    fn to_json(&self, body: &Body<'_>, id: &BackendId) -> Result<Vec<u8>, BackendError> {
        serde_json::to_vec(body).map_err(|error| BackendError::failed(id, error))
    }

    /// Makes the model resident and generates nothing.
    pub(crate) fn loading(&self, id: &BackendId) -> Result<Asked, BackendError> {
        let body = Body { prompt: Some(""), stream: false, ..self.body() };
        Ok(Asked { path: "/api/generate", json: self.to_json(&body, id)? })
    }

    /// One token that nobody wants: it is answered when a slot is free.
    pub(crate) fn nudge(&self, id: &BackendId) -> Result<Asked, BackendError> {
        let mut body = Body { prompt: Some("x"), raw: Some(true), stream: false, ..self.body() };
        body.options.answer = Some(answer_options(&Request::text("x", 1)));
        Ok(Asked { path: "/api/generate", json: self.to_json(&body, id)? })
    }

    /// A generation.
    ///
    /// # Errors
    /// What a server cannot do, before it is asked.
    pub(crate) fn generation(&self, request: &Request, id: &BackendId) -> Result<Asked, BackendError> {
        let unsupported =
            |what: &str| Err(BackendError::Unsupported { backend: id.clone(), what: what.to_owned() });
        let invalid = |reason: &str| {
            Err(BackendError::InvalidRequest { backend: id.clone(), reason: reason.to_owned() })
        };
        if request.ignore_eos {
            return unsupported("going on past the end of the sequence: Ollama has no option for it");
        }
        if request.max_tokens == 0 {
            return unsupported("a prefill alone: Ollama takes a budget of zero for one without an end");
        }
        if i32::try_from(request.max_tokens).is_err() {
            return invalid("the budget is larger than Ollama's 32-bit `num_predict`");
        }
        let Sampling { temperature, top_p, repeat_penalty, .. } = request.sampling;
        if !(temperature.is_finite() && temperature >= 0.0 && repeat_penalty.is_finite())
            || top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0))
        {
            return invalid("a temperature below zero, a `top_p` outside (0, 1], or a number that is none");
        }
        let mut body = self.body();
        body.options.answer = Some(answer_options(request));
        let path = match &request.prompt {
            // An empty prompt means "load" to a server.
            Prompt::Text(text) if text.is_empty() => return invalid("the prompt is empty"),
            Prompt::Chat(messages) if messages.is_empty() => return invalid("the chat has no message"),
            Prompt::Text(text) => {
                body.prompt = Some(text);
                body.raw = Some(!self.templated);
                "/api/generate"
            }
            Prompt::Chat(messages) => {
                body.messages = Some(messages.iter().map(spoken).collect());
                "/api/chat"
            }
            Prompt::Tokens(_) => return unsupported("prompts of token ids"),
            _ => return unsupported("this kind of prompt"),
        };
        Ok(Asked { path, json: self.to_json(&body, id)? })
    }
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

fn answer_options(request: &Request) -> AnswerOptions {
    let sampling = request.sampling;
    let greedy = sampling.temperature == 0.0;
    AnswerOptions {
        num_predict: request.max_tokens,
        temperature: sampling.temperature,
        // Zero keeps all. The largest of one is the largest, whatever a server makes of a temperature of zero.
        top_k: if greedy { 1 } else { sampling.top_k.unwrap_or(0) },
        top_p: if greedy { 1.0 } else { sampling.top_p.unwrap_or(1.0) },
        min_p: 0.0,
        repeat_penalty: sampling.repeat_penalty,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: seed(request.seed),
    }
}

/// A server's seed has 32 bits and is drawn at random when it is negative: small seeds are sent as they are, larger ones
/// folded to 31 bits.
fn seed(seed: u64) -> u32 {
    const BITS: u64 = 0x7fff_ffff;
    let folded = (seed ^ (seed >> 31) ^ (seed >> 62)) & BITS;
    u32::try_from(folded).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn held() -> Held {
        Held {
            model: "m".into(),
            context: 512,
            threads: Some(2),
            keep: Some(Duration::from_secs(60)),
            templated: false,
        }
    }

    fn json_of(asked: &Asked) -> Value {
        serde_json::from_slice(&asked.json).unwrap()
    }

    #[test]
    fn everything_that_decides_an_answer_is_sent() {
        let id = BackendId::new("o");
        let asked = held().generation(&Request::text("größer", 7).seed(3), &id).unwrap();
        assert_eq!(asked.path, "/api/generate");
        assert_eq!(
            json_of(&asked),
            json!({
                "model": "m", "prompt": "größer", "raw": true, "stream": true, "keep_alive": 60,
                "truncate": false, "shift": false,
                "options": {
                    "num_ctx": 512, "num_thread": 2, "num_predict": 7, "temperature": 0.0, "top_k": 1,
                    "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0, "presence_penalty": 0.0,
                    "frequency_penalty": 0.0, "seed": 3,
                },
            })
        );
        let hot = Sampling { temperature: 0.5, top_k: Some(9), top_p: Some(0.25), repeat_penalty: 1.5 };
        let json = json_of(&held().generation(&Request::text("x", 7).sampling(hot), &id).unwrap());
        let options = &json["options"];
        assert_eq!(
            (&options["temperature"], &options["top_k"], &options["top_p"], &options["repeat_penalty"]),
            (&json!(0.5), &json!(9), &json!(0.25), &json!(1.5))
        );
        let open = Sampling { temperature: 1.0, ..Sampling::default() };
        let json = json_of(&held().generation(&Request::text("x", 7).sampling(open), &id).unwrap());
        assert_eq!((&json["options"]["top_k"], &json["options"]["top_p"]), (&json!(0), &json!(1.0)));
    }

    #[test]
    fn what_holds_the_model_is_the_same_in_every_body() {
        let id = BackendId::new("o");
        let forever = Held { keep: None, templated: true, ..held() };
        let chat: [Message; 2] = [
            Message { role: Role::System, content: "Be brief.".into() },
            Message { role: Role::User, content: "Hi".into() },
        ];
        let bodies = [
            forever.loading(&id).unwrap(),
            forever.nudge(&id).unwrap(),
            forever.generation(&Request::text("x", 1), &id).unwrap(),
            forever.generation(&Request::new(Prompt::Chat(chat.into()), 1), &id).unwrap(),
        ];
        for asked in &bodies {
            let json = json_of(asked);
            assert_eq!(
                (
                    &json["model"],
                    &json["keep_alive"],
                    &json["options"]["num_ctx"],
                    &json["options"]["num_thread"]
                ),
                (&json!("m"), &json!(-1), &json!(512), &json!(2)),
                "{json}"
            );
        }
        assert_eq!(json_of(&bodies[2])["raw"], json!(false));
        assert_eq!(bodies[3].path, "/api/chat");
        assert_eq!(
            json_of(&bodies[3])["messages"],
            json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
        );
    }

    #[test]
    fn what_a_server_cannot_do_is_refused_before_it_is_asked() {
        let id = BackendId::new("o");
        let code = |request: Request| held().generation(&request, &id).unwrap_err().code();
        assert_eq!(code(Request::text("x", 0)), "unsupported");
        assert_eq!(code(Request::text("x", 2).exact()), "unsupported");
        assert_eq!(code(Request::tokens(vec![1], 2)), "unsupported");
        assert_eq!(code(Request::text("", 2)), "invalid-request");
        assert_eq!(code(Request::text("x", u32::MAX)), "invalid-request");
        let cold = Sampling { temperature: -1.0, ..Sampling::default() };
        assert_eq!(code(Request::text("x", 1).sampling(cold)), "invalid-request");
        let none = Sampling { temperature: f32::NAN, ..Sampling::default() };
        assert_eq!(code(Request::text("x", 1).sampling(none)), "invalid-request");
    }

    #[test]
    fn seeds_are_never_negative_and_small_ones_are_kept() {
        assert_eq!((seed(0), seed(42), seed(0x7fff_ffff)), (0, 42, 0x7fff_ffff));
        assert_ne!(seed(1), seed(1 << 40));
        assert!(seed(u64::MAX) <= 0x7fff_ffff);
    }
}
