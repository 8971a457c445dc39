//! A model's own chat template: messages become the text that it was trained on. Templates are Jinja as Hugging Face's
//! `apply_chat_template` runs it; how the text becomes token ids is [`crate::Tokenizer::encode_template`]'s business.
//!
//! A template is a program of somebody else's: it may take so many steps and no more, and it reaches nothing but the
//! messages.

mod calls;

use std::{fmt, path::Path};

use chimera_core::{Message, Role};
use minijinja::{Environment, UndefinedBehavior, Value, context, syntax::SyntaxConfig};

/// Steps of one rendering. A chat of a thousand messages takes some ten thousand.
const STEPS: u64 = 10_000_000;

/// The name under which the template stands in errors.
const NAME: &str = "chat template";

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template cannot be used at all: send plain prompts.
    #[error("the model's chat template cannot be used: {0}")]
    Template(String),
    /// The template refuses these messages: send others.
    #[error("the model's chat template refuses these messages: {0}")]
    Messages(String),
}

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Reads a template. `begin` and `end` are the spellings of the tokens that begin and end a sequence; empty where there
    /// are none.
    ///
    /// # Errors
    /// [`ChatError::Template`], with the place in it.
    pub fn new(source: &str, begin: impl Into<String>, end: impl Into<String>) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| ChatError::Template(shown(&error)))?);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(STEPS));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", calls::raise);
        environment.add_function("strftime_now", calls::now);
        environment.add_filter("tojson", calls::to_json);
        environment
            .add_template_owned(NAME, calls::without_generation(source))
            .map_err(|error| ChatError::Template(shown(&error)))?;
        Ok(Self { environment, begin: begin.into(), end: end.into() })
    }

    /// The template of a model's folder: `chat_template.jinja`, else what `tokenizer_config.json` holds, where several have
    /// names the one named `default`. `None` where there is neither.
    ///
    /// # Errors
    /// [`ChatError::Template`]: a file that cannot be read, or a template that cannot be used.
    pub fn beside(folder: &Path) -> Result<Option<Self>, ChatError> {
        let config = match read(&folder.join("tokenizer_config.json"))? {
            Some(text) => serde_json::from_str::<serde_json::Value>(&text)
                .map_err(|error| ChatError::Template(format!("tokenizer_config.json: {error}")))?,
            None => serde_json::Value::Null,
        };
        let own = match &config["chat_template"] {
            serde_json::Value::String(source) => Some(source.clone()),
            serde_json::Value::Array(all) => {
                let default = all.iter().find(|entry| entry["name"] == "default");
                default.and_then(|entry| entry["template"].as_str()).map(str::to_owned)
            }
            _ => None,
        };
        let Some(source) = read(&folder.join("chat_template.jinja"))?.or(own) else { return Ok(None) };
        // A token is a text, or an object with one.
        let token = |key: &str| {
            let token = &config[key];
            token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default().to_owned()
        };
        Self::new(&source, token("bos_token"), token("eos_token")).map(Some)
    }

    /// The text of a chat, up to where the model's answer begins.
    ///
    /// # Errors
    /// [`ChatError::Messages`], in the template's own words where it has some.
    pub fn render(&self, messages: &[Message]) -> Result<String, ChatError> {
        let refused = |error: minijinja::Error| ChatError::Messages(shown(&error));
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => role(message.role), content => &*message.content })
            .collect();
        let chat = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
            tools => (),
            documents => (),
        };
        self.environment.get_template(NAME).map_err(refused)?.render(chat).map_err(refused)
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        _ => "user",
    }
}

fn read(path: &Path) -> Result<Option<String>, ChatError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ChatError::Template(format!("{}: {error}", path.display()))),
    }
}

/// What an error says, with its line.
fn shown(error: &minijinja::Error) -> String {
    match error.kind() {
        minijinja::ErrorKind::OutOfFuel => format!("it takes more than {STEPS} steps"),
        // A template's own words need no frame.
        minijinja::ErrorKind::InvalidOperation if error.detail().is_some_and(calls::is_raised) => {
            error.detail().map(calls::raised).unwrap_or_default()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
