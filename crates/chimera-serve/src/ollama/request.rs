//! Bodies of `/api/generate` and `/api/chat`, judged and turned into work. What the server cannot do is refused by
//! name, never dropped.

use std::sync::Arc;

use chimera_core::{Message, Role};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::options::Options;
use crate::{
    app::App,
    http::{body::parse, fault::Fault},
    work::{
        ask::{Ask, Input, Wanted},
        keep::Keep,
    },
};

/// What a request asks the server to do.
#[derive(Debug)]
pub(crate) struct Job {
    /// The model's name as the client wrote it: answers repeat it.
    pub(crate) name: String,
    pub(crate) chat: bool,
    pub(crate) stream: bool,
    pub(crate) ignored: Vec<String>,
    pub(crate) task: Task,
}

/// Generations and the two requests without a prompt.
#[derive(Debug)]
pub(crate) enum Task {
    Generate(Ask),
    Load(Wanted),
    Unload(Arc<str>),
}

/// Fields of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Common {
    model: Option<String>,
    stream: Option<bool>,
    format: Option<Value>,
    options: Option<Map<String, Value>>,
    keep_alive: Value,
    think: Option<Value>,
    truncate: Option<bool>,
    logprobs: Option<bool>,
    top_logprobs: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GenerateBody {
    #[serde(flatten)]
    common: Common,
    prompt: Option<String>,
    suffix: Option<String>,
    system: Option<String>,
    template: Option<String>,
    context: Option<Vec<i64>>,
    raw: Option<bool>,
    images: Option<Vec<Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChatBody {
    #[serde(flatten)]
    common: Common,
    messages: Option<Vec<Turn>>,
    tools: Option<Vec<Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Turn {
    role: String,
    content: Option<String>,
    images: Option<Vec<Value>>,
    tool_calls: Option<Vec<Value>>,
}

/// Whether a field holds nothing.
fn blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    }
}

fn some(list: Option<&Vec<Value>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

struct Head {
    name: String,
    wanted: Wanted,
    options: Options,
    shorten: bool,
}

impl Common {
    fn judge(&self, app: &App) -> Result<Head, Fault> {
        let name = self.model.clone().unwrap_or_default();
        if name.is_empty() {
            return Err(Fault::bad("model is required"));
        }
        let model = app.model(&name)?;
        if !blank(self.format.as_ref()) {
            return Err(Fault::unsupported("format: no backend here can be held to a format; leave it out"));
        }
        if !blank(self.think.as_ref()) {
            return Err(Fault::unsupported(format!("{name:?} does not support thinking; leave think out")));
        }
        if self.logprobs == Some(true) || self.top_logprobs.is_some_and(|n| n != 0) {
            return Err(Fault::unsupported("logprobs are not served; leave them out"));
        }
        let keep = Keep::parse(&self.keep_alive)?;
        let options = match &self.options {
            Some(map) => Options::parse(map)?,
            None => Options::default(),
        };
        let context = options.context.or(app.options.context);
        let wanted = Wanted { reference: model.reference.clone(), context, keep };
        Ok(Head { name, wanted, options, shorten: self.truncate != Some(false) })
    }

    fn stream(&self) -> bool {
        self.stream != Some(false)
    }
}

impl Head {
    fn job(self, chat: bool, stream: bool, input: Option<Input>) -> Job {
        let ignored = self.options.ignored;
        let task = match input {
            None if self.wanted.keep == Some(Keep::NOT_AT_ALL) => Task::Unload(self.wanted.reference.name),
            None => Task::Load(self.wanted),
            Some(input) => Task::Generate(Ask {
                model: self.wanted,
                input,
                budget: self.options.budget,
                shorten: self.shorten,
                keep_tokens: self.options.keep_tokens,
                sampling: self.options.sampling,
                seed: self.options.seed,
                ignore_eos: false,
                stops: self.options.stops,
            }),
        };
        Job { name: self.name, chat, stream, ignored, task }
    }
}

/// The job of a `/api/generate` body.
pub(crate) fn generate(app: &App, body: &[u8]) -> Result<Job, Fault> {
    let body: GenerateBody = parse(body)?;
    let head = body.common.judge(app)?;
    if some(body.images.as_ref()) {
        return Err(Fault::unsupported("images: no backend here sees them; send text alone"));
    }
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if filled(&body.suffix) {
        return Err(Fault::unsupported(format!("{:?} does not support insert; leave suffix out", head.name)));
    }
    if filled(&body.template) {
        return Err(Fault::unsupported(
            "template: the model's own is used; render it yourself and send raw: true",
        ));
    }
    if body.context.is_some_and(|context| !context.is_empty()) {
        return Err(Fault::unsupported("context is not kept between requests; use /api/chat"));
    }
    let raw = body.raw == Some(true);
    if raw && filled(&body.system) {
        return Err(Fault::bad("raw mode does not support system; put it into the prompt"));
    }
    let prompt = body.prompt.unwrap_or_default();
    let system = body.system.filter(|system| !system.is_empty());
    let input = if prompt.is_empty() {
        None
    } else if raw || (system.is_none() && !app.capabilities.chat) {
        Some(Input::Text(prompt))
    } else if system.is_none() {
        Some(Input::Prompt(prompt))
    } else {
        let message = |role, content: String| Message { role, content: content.into() };
        let system = system.map(|system| message(Role::System, system));
        Some(app.chat(system.into_iter().chain([message(Role::User, prompt)]).collect())?)
    };
    Ok(head.job(false, body.common.stream(), input))
}

/// The job of a `/api/chat` body.
pub(crate) fn chat(app: &App, body: &[u8]) -> Result<Job, Fault> {
    let body: ChatBody = parse(body)?;
    let head = body.common.judge(app)?;
    if some(body.tools.as_ref()) {
        return Err(Fault::unsupported(format!("{:?} does not support tools; leave them out", head.name)));
    }
    let mut messages = Vec::new();
    for (index, turn) in body.messages.unwrap_or_default().into_iter().enumerate() {
        if some(turn.images.as_ref()) {
            return Err(Fault::unsupported(format!(
                "messages[{index}].images: no backend here sees them; send text alone"
            )));
        }
        if some(turn.tool_calls.as_ref()) {
            return Err(Fault::unsupported(format!("messages[{index}].tool_calls: tools are not served")));
        }
        let role = match turn.role.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            _ => {
                return Err(Fault::bad(format!(
                    "messages[{index}].role: one of \"system\", \"user\", \"assistant\" and \"tool\""
                )));
            }
        };
        messages.push(Message { role, content: turn.content.unwrap_or_default().into() });
    }
    let input = if messages.is_empty() { None } else { Some(app.chat(messages)?) };
    Ok(head.job(true, body.common.stream(), input))
}
