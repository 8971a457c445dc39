//! Bodies of `/v1/completions` and `/v1/chat/completions`, judged and turned into work. What would change the answer and
//! cannot be done is refused by name.

use chimera_core::{Message, Role, Sampling};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    app::{App, any_seed},
    http::{body::parse, fault::Fault},
    work::ask::{Ask, Input, Wanted, check_stops},
};

/// Budget of a completion that names none, as OpenAI has it.
const COMPLETION_TOKENS: u32 = 16;

/// What a request asks the server to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) chat: bool,
    pub(crate) stream: bool,
    /// A last chunk tells the usage.
    pub(crate) usage: bool,
    pub(crate) ask: Ask,
}

/// Fields of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Common {
    model: Option<String>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    repetition_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<OneOrMore>,
    ignore_eos: Option<bool>,
    n: Option<u32>,
    logprobs: Option<Value>,
    logit_bias: Option<Value>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    response_format: Option<Format>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    r#type: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, or a list of strings")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionBody {
    #[serde(flatten)]
    common: Common,
    prompt: Option<PromptField>,
    suffix: Option<String>,
    echo: Option<bool>,
    best_of: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, a list of one string, or a list of token ids")]
enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChatBody {
    #[serde(flatten)]
    common: Common,
    messages: Option<Vec<Turn>>,
    max_completion_tokens: Option<u32>,
    top_logprobs: Option<u32>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Turn {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, or a list of parts with a type")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

fn blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

fn within(name: &str, value: Option<f64>, default: f64, least: f64, most: f64) -> Result<f32, Fault> {
    let x = value.unwrap_or(default);
    if !(least..=most).contains(&x) {
        return Err(Fault::bad(format!("{name} is {x}: give {least} to {most}")));
    }
    Ok(x as f32)
}

impl Common {
    fn ask(&self, app: &App, input: Input, budget: Option<u32>) -> Result<Ask, Fault> {
        let model = self.model(app)?;
        let sampling = Sampling {
            temperature: within("temperature", self.temperature, 1.0, 0.0, 1e6)?,
            top_k: self.top_k.and_then(|k| u32::try_from(k).ok()).filter(|k| *k > 0),
            top_p: Some(within("top_p", self.top_p, 1.0, 0.0, 1.0)?).filter(|p| *p < 1.0),
            repeat_penalty: within(
                "repetition_penalty",
                self.repetition_penalty,
                1.0,
                f64::MIN_POSITIVE,
                1e6,
            )?,
        };
        let stops = match &self.stop {
            None => Vec::new(),
            Some(OneOrMore::One(stop)) => vec![stop.clone()],
            Some(OneOrMore::More(stops)) => stops.clone(),
        };
        if stops.iter().any(String::is_empty) {
            return Err(Fault::bad("stop: an empty string stops everything; leave it out"));
        }
        Ok(Ask {
            model: Wanted { reference: model.reference.clone(), context: app.options.context, keep: None },
            input,
            budget,
            shorten: false,
            keep_tokens: 0,
            sampling,
            seed: self.seed.map_or_else(any_seed, i64::cast_unsigned),
            ignore_eos: self.ignore_eos == Some(true),
            stops: check_stops(stops)?,
        })
    }

    fn model<'a>(&self, app: &'a App) -> Result<&'a crate::ServedModel, Fault> {
        let name = self.model.as_deref().filter(|name| !name.is_empty());
        app.model(name.ok_or_else(|| Fault::bad("model is required"))?)
    }

    fn check(&self) -> Result<(), Fault> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(Fault::unsupported("n: one answer per request; ask again for more"));
        }
        if !blank(self.logprobs.as_ref()) {
            return Err(Fault::unsupported("logprobs are not served; leave them out"));
        }
        if !blank(self.logit_bias.as_ref()) {
            return Err(Fault::unsupported("logit_bias is not served; leave it out"));
        }
        let penalties =
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)];
        for (name, value) in penalties {
            if value.is_some_and(|x| x != 0.0) {
                return Err(Fault::unsupported(format!("{name} is not served; leave it out or send 0")));
            }
        }
        if self.response_format.as_ref().is_some_and(|format| format.r#type != "text") {
            return Err(Fault::unsupported("response_format: no backend here can be held to a format"));
        }
        Ok(())
    }

    fn job(&self, chat: bool, ask: Ask) -> Job {
        Job {
            name: self.model.clone().unwrap_or_default(),
            chat,
            stream: self.stream == Some(true),
            usage: self.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true)),
            ask,
        }
    }
}

/// The job of a `/v1/completions` body.
pub(crate) fn completions(app: &App, body: &[u8]) -> Result<Job, Fault> {
    let body: CompletionBody = parse(body)?;
    body.common.model(app)?;
    body.common.check()?;
    if body.suffix.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(Fault::unsupported("suffix is not served; leave it out"));
    }
    if body.echo == Some(true) {
        return Err(Fault::unsupported("echo is not served; leave it out"));
    }
    if body.best_of.is_some_and(|n| n != 1) {
        return Err(Fault::unsupported("best_of: one answer per request"));
    }
    let several =
        || Fault::unsupported("prompt: one prompt per request; send the others in requests of their own");
    let input = match body.prompt {
        None => return Err(Fault::bad("prompt is required")),
        Some(PromptField::Text(text)) => Input::Text(text),
        Some(PromptField::Texts(texts)) => match <[String; 1]>::try_from(texts) {
            Ok([text]) => Input::Text(text),
            Err(texts) if texts.is_empty() => return Err(Fault::bad("prompt is empty")),
            Err(_) => return Err(several()),
        },
        Some(PromptField::Tokens(ids)) => Input::Tokens(ids),
        Some(PromptField::TokenLists(lists)) => match <[Vec<u32>; 1]>::try_from(lists) {
            Ok([ids]) => Input::Tokens(ids),
            Err(_) => return Err(several()),
        },
    };
    match &input {
        Input::Text(text) if text.is_empty() => return Err(Fault::bad("prompt is empty")),
        Input::Tokens(ids) if ids.is_empty() => return Err(Fault::bad("prompt is empty")),
        Input::Tokens(_) if !app.capabilities.token_prompts => {
            return Err(Fault::unsupported("prompt: this backend takes no token ids; send text"));
        }
        _ => {}
    }
    let budget = Some(body.common.max_tokens.unwrap_or(COMPLETION_TOKENS));
    let ask = body.common.ask(app, input, budget)?;
    Ok(body.common.job(false, ask))
}

/// The job of a `/v1/chat/completions` body.
pub(crate) fn chat(app: &App, body: &[u8]) -> Result<Job, Fault> {
    let body: ChatBody = parse(body)?;
    body.common.model(app)?;
    body.common.check()?;
    if body.top_logprobs.is_some_and(|n| n > 0) {
        return Err(Fault::unsupported("top_logprobs are not served; leave them out"));
    }
    let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if some(&body.tools) || some(&body.functions) {
        return Err(Fault::unsupported("tools are not served; leave them out"));
    }
    let mut messages = Vec::new();
    for (index, turn) in body.messages.unwrap_or_default().into_iter().enumerate() {
        if some(&turn.tool_calls) {
            return Err(Fault::unsupported(format!("messages[{index}].tool_calls: tools are not served")));
        }
        messages.push(message(index, turn)?);
    }
    if messages.is_empty() {
        return Err(Fault::bad("messages is empty"));
    }
    let input = app.chat(messages)?;
    let budget = body.max_completion_tokens.or(body.common.max_tokens);
    let ask = body.common.ask(app, input, budget)?;
    Ok(body.common.job(true, ask))
}

fn message(index: usize, turn: Turn) -> Result<Message, Fault> {
    let role = match turn.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => {
            return Err(Fault::bad(format!(
                "messages[{index}].role: one of \"system\", \"developer\", \"user\", \"assistant\" and \"tool\""
            )));
        }
    };
    let content = match turn.content {
        None => return Err(Fault::bad(format!("messages[{index}].content is missing"))),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            let mut text = String::new();
            for part in parts {
                if part.r#type != "text" {
                    return Err(Fault::unsupported(format!(
                        "messages[{index}].content: parts of type \"text\" alone are served"
                    )));
                }
                text.push_str(&part.text.unwrap_or_default());
            }
            text
        }
    };
    Ok(Message { role, content: content.into() })
}
