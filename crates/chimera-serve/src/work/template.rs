//! Which form an input takes for the model that is to answer: some backends have chat templates for some models only, and
//! that is known once the model is there.

use chimera_core::{Message, Role, Session};

use super::ask::Input;
use crate::http::fault::Fault;

/// What mends a chat without a template.
const REMEDY: &str = "send a plain prompt, or start the server with `--plain-chat` (`ServeOptions::plain_chat`), which \
                      writes chats as `role: content` lines that no model was trained on";

/// The input as this session takes it.
pub(crate) fn formed(input: Input, session: &dyn Session, plain: bool) -> Result<Input, Fault> {
    // Where nobody says, the backend is asked.
    if session.model().chat != Some(false) {
        return Ok(match input {
            Input::Prompt(text) => Input::Chat(vec![Message { role: Role::User, content: text.into() }]),
            other => other,
        });
    }
    match input {
        Input::Prompt(text) => Ok(Input::Text(text)),
        Input::Chat(messages) if plain => Ok(Input::Text(lines(&messages))),
        Input::Chat(_) => {
            Err(Fault::unsupported(format!("{:?} has no chat template: {REMEDY}", session.model().name)))
        }
        other => Ok(other),
    }
}

/// A refusal of chats by a backend that has no templates at all.
pub(crate) fn none() -> Fault {
    Fault::unsupported(format!("this backend has no chat template: {REMEDY}"))
}

/// A chat as `role: content` lines.
pub(crate) fn lines(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let role = match message.role {
            Role::System => "system",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
            _ => "user",
        };
        text.push_str(role);
        text.push_str(": ");
        text.push_str(&message.content);
        text.push('\n');
    }
    text.push_str("assistant: ");
    text
}
