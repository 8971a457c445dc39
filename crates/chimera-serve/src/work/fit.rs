//! Makes a prompt and its budget fit the context: what is too long is cut for Ollama's clients and refused for
//! OpenAI's. A backend cannot shift its context while it generates, as Ollama can, so a cut leaves room for the answer.

use std::sync::Arc;

use chimera_core::{Capabilities, Message, Prompt, Role, Session};

use super::ask::{Ask, Input};
use crate::http::fault::{Fault, Kind};

/// Budget without an end where nobody knows the context.
const UNKNOWN_CONTEXT_BUDGET: u32 = 2048;
/// Special tokens that a tokenizer may add to a text without telling.
const TEXT_MARGIN: u32 = 2;
/// What a template may add to a message; the exact number is known to the backend alone.
const MESSAGE_MARGIN: u32 = 16;

/// A request that fits, as far as that can be known.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) prompt: Prompt,
    pub(crate) budget: u32,
    /// Prompt tokens that were left out.
    pub(crate) cut: u32,
}

/// Fits what was asked to the session's context.
pub(crate) async fn fit(
    session: &dyn Session,
    capabilities: &Capabilities,
    ask: &mut Ask,
    context: Option<u32>,
) -> Result<Fitted, Fault> {
    if ask.budget == Some(0) && !capabilities.prefill_only {
        return Err(Fault::unsupported(
            "the backend cannot read a prompt without generating: ask for at least one token",
        ));
    }
    let context = match (context, session.model().context) {
        (Some(asked), Some(own)) => Some(asked.min(own)),
        (asked, own) => asked.or(own),
    };
    let input = std::mem::replace(&mut ask.input, Input::Text(String::new()));
    let Some(context) = context else {
        let prompt = prompt(input);
        return Ok(Fitted { prompt, budget: ask.budget.unwrap_or(UNKNOWN_CONTEXT_BUDGET), cut: 0 });
    };
    let fitter = Fitter { session, capabilities, context };
    match input {
        Input::Text(text) | Input::Prompt(text) => fitter.text(ask, text).await,
        Input::Tokens(ids) => fitter.tokens(ask, ids),
        Input::Chat(messages) => fitter.chat(ask, messages).await,
    }
}

fn prompt(input: Input) -> Prompt {
    match input {
        Input::Text(text) | Input::Prompt(text) => Prompt::Text(text.into()),
        Input::Tokens(ids) => Prompt::Tokens(ids.into()),
        Input::Chat(messages) => Prompt::Chat(messages.into()),
    }
}

struct Fitter<'a> {
    session: &'a dyn Session,
    capabilities: &'a Capabilities,
    context: u32,
}

impl Fitter<'_> {
    /// A bound from above on the tokens of a text: a token is at least a byte.
    fn at_most(text: &str) -> u32 {
        u32::try_from(text.len()).unwrap_or(u32::MAX).saturating_add(TEXT_MARGIN)
    }

    async fn text(&self, ask: &Ask, text: String) -> Result<Fitted, Fault> {
        let bound = Self::at_most(&text);
        if let Some(budget) = ask.budget
            && bound.saturating_add(budget) <= self.context
        {
            return Ok(Fitted { prompt: Prompt::Text(text.into()), budget, cut: 0 });
        }
        if !self.capabilities.tokenize {
            // Nobody can count: what the bound allows, or what was asked.
            let room = self.context.saturating_sub(bound).max(self.context / 2).max(1);
            let budget = ask.budget.unwrap_or(room);
            return Ok(Fitted { prompt: Prompt::Text(text.into()), budget, cut: 0 });
        }
        let ids = self.session.tokenize(&text).await?;
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if count < self.context {
            let room = self.context - count;
            let open = room.saturating_sub(TEXT_MARGIN).max(1);
            return Ok(Fitted {
                prompt: Prompt::Text(text.into()),
                budget: self.budget(ask, room, open),
                cut: 0,
            });
        }
        if ask.shorten && !self.capabilities.token_prompts {
            let budget = self.reserve(ask);
            let left = (self.context - budget).saturating_sub(TEXT_MARGIN).max(1);
            let (tail, tokens) = self.tail(&text, left).await?;
            return Ok(Fitted { prompt: Prompt::Text(tail.into()), budget, cut: count - tokens.min(count) });
        }
        self.tokens(ask, ids)
    }

    /// What a cut leaves free for the answer: what was asked, at most half the context.
    fn reserve(&self, ask: &Ask) -> u32 {
        let half = self.context / 2;
        ask.budget.unwrap_or(half).min(half)
    }

    /// The longest end of a text that has at most `most` tokens, as far as halving finds it, and its tokens.
    async fn tail<'t>(&self, text: &'t str, most: u32) -> Result<(&'t str, u32), Fault> {
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let (mut low, mut high) = (0, starts.len());
        let mut best = ("", 0);
        while low < high {
            let middle = usize::midpoint(low, high);
            let end = starts.get(middle).and_then(|at| text.get(*at..)).unwrap_or_default();
            let tokens = u32::try_from(self.session.tokenize(end).await?.len()).unwrap_or(u32::MAX);
            if tokens <= most {
                best = (end, tokens);
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(best)
    }

    /// The budget that goes with `room` positions left: OpenAI's clients are refused by the backend when they ask for
    /// more, Ollama's get what there is.
    fn budget(&self, ask: &Ask, room: u32, open: u32) -> u32 {
        match ask.budget {
            None => open,
            Some(asked) if ask.shorten => asked.min(room),
            Some(asked) => asked,
        }
    }

    fn tokens(&self, ask: &Ask, mut ids: Vec<u32>) -> Result<Fitted, Fault> {
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if count < self.context {
            let room = self.context - count;
            return Ok(Fitted {
                prompt: Prompt::Tokens(ids.into()),
                budget: self.budget(ask, room, room),
                cut: 0,
            });
        }
        if !ask.shorten {
            return Err(self.too_long(count));
        }
        let budget = self.reserve(ask);
        let left = self.context.saturating_sub(budget).max(1);
        let cut = count.saturating_sub(left);
        let start = ask.keep_tokens.min(left.saturating_sub(1)) as usize;
        let end = (start + cut as usize).min(ids.len());
        ids.drain(start.min(end)..end);
        Ok(Fitted { prompt: Prompt::Tokens(ids.into()), budget, cut })
    }

    async fn chat(&self, ask: &Ask, mut messages: Vec<Message>) -> Result<Fitted, Fault> {
        let mut sizes = Vec::with_capacity(messages.len());
        for message in &messages {
            sizes.push(Self::at_most(&message.content).saturating_add(MESSAGE_MARGIN));
        }
        let sum = |sizes: &[u32]| sizes.iter().fold(0_u32, |sum, n| sum.saturating_add(*n));
        if ask.budget.is_none_or(|budget| sum(&sizes).saturating_add(budget) > self.context)
            && self.capabilities.tokenize
        {
            for (size, message) in sizes.iter_mut().zip(&messages) {
                let ids = self.session.tokenize(&message.content).await?;
                *size = u32::try_from(ids.len()).unwrap_or(u32::MAX).saturating_add(MESSAGE_MARGIN);
            }
        }
        let mut cut = 0;
        if ask.shorten && self.capabilities.tokenize && sum(&sizes) >= self.context {
            let room = self.context - self.reserve(ask);
            // As Ollama does: the oldest go first; the system's words and the last message stay.
            while sum(&sizes) > room {
                let last = messages.len().saturating_sub(1);
                let Some(oldest) = messages.iter().take(last).position(|m| m.role != Role::System) else {
                    break;
                };
                messages.remove(oldest);
                cut += sizes.remove(oldest).saturating_sub(MESSAGE_MARGIN);
            }
            let over = sum(&sizes).saturating_sub(room);
            if let (Some(message), Some(size)) = (messages.last_mut(), sizes.last_mut())
                && over > 0
            {
                let own = size.saturating_sub(MESSAGE_MARGIN);
                let Some(left) = own.checked_sub(over).filter(|left| *left > 0) else {
                    return Err(self.too_long(own));
                };
                let (tail, tokens) = self.tail(&message.content, left).await?;
                message.content = tail.into();
                cut += own.saturating_sub(tokens);
                *size = tokens.saturating_add(MESSAGE_MARGIN);
            }
        }
        let count = sum(&sizes);
        let least = count.saturating_sub(u32::try_from(sizes.len()).unwrap_or(0) * MESSAGE_MARGIN);
        if self.capabilities.tokenize && least >= self.context {
            return Err(self.too_long(least));
        }
        let room = self.context.saturating_sub(count).max(1);
        let budget = self.budget(ask, room, room);
        Ok(Fitted { prompt: Prompt::Chat(Arc::from(messages)), budget, cut })
    }

    fn too_long(&self, count: u32) -> Fault {
        Fault::new(
            Kind::ContextLength,
            format!(
                "the prompt has {count} tokens and the context {}: shorten it, or load the model with a longer context",
                self.context
            ),
        )
    }
}
