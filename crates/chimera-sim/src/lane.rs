//! One sequence of a simulated generation: what was asked, what is judged before it runs, and where it stands.

use chimera_core::{BackendError, Prompt, Request, Result, Role, Stamp};

use crate::{
    noise::{Purpose, mix},
    session::Resident,
    text::{Assembler, Story},
};

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) prompt: u32,
    pub(crate) budget: u32,
    pub(crate) eos_after: Option<u32>,
    pub(crate) story: Story,
    pub(crate) assembler: Assembler,
    pub(crate) text: String,
    /// Tokens of the chunk that is being filled.
    pub(crate) held: u32,
    pub(crate) last: Stamp,
    pub(crate) running: bool,
}

/// Judges one request and makes its lane.
pub(crate) fn lane(resident: &Resident, request: &Request, salt: u64) -> Result<Lane> {
    let (device, model) = (&resident.device, &resident.model);
    let capabilities = &device.capabilities;
    let need = |declared: bool, what: &str| {
        if declared {
            return Ok(());
        }
        Err(BackendError::Unsupported { backend: device.id.clone(), what: what.into() })
    };
    need(capabilities.exact_budget || !request.ignore_eos, "an exact budget")?;
    need(capabilities.prefill_only || request.max_tokens > 0, "a prefill alone")?;
    match &request.prompt {
        Prompt::Tokens(_) => need(capabilities.token_prompts, "prompts of token ids")?,
        Prompt::Chat(_) => need(capabilities.chat, "chat")?,
        Prompt::Text(_) => {}
        _ => need(false, "this kind of prompt")?,
    }
    let vocabulary = model.vocabulary();
    if let Prompt::Tokens(ids) = &request.prompt
        && let Some(id) = ids.iter().find(|id| **id >= vocabulary)
    {
        return Err(BackendError::InvalidRequest {
            backend: device.id.clone(),
            reason: format!("token id {id} in a vocabulary of {vocabulary}"),
        });
    }
    let mut hash = beginning(salt);
    if request.sampling.temperature > 0.0 {
        hash = mix(hash ^ request.seed);
    }
    let mut prompt = 0_u32;
    for_each_id(&request.prompt, |id| {
        hash = then(hash, id);
        prompt = prompt.saturating_add(1);
    });
    Ok(Lane {
        prompt,
        budget: request.max_tokens,
        eos_after: model.eos_after.filter(|_| !request.ignore_eos),
        story: Story::new(hash),
        assembler: Assembler::default(),
        text: String::new(),
        held: 0,
        last: Stamp::default(),
        running: true,
    })
}

/// The hash of an empty prompt, from which a greedy answer follows.
pub(crate) fn beginning(salt: u64) -> u64 {
    mix(salt ^ Purpose::Text as u64)
}

/// The hash of a prompt with one token more.
pub(crate) fn then(hash: u64, id: u32) -> u64 {
    mix(hash ^ u64::from(id))
}

/// Token ids of a prompt.
pub(crate) fn ids(prompt: &Prompt) -> Vec<u32> {
    let mut ids = Vec::new();
    for_each_id(prompt, |id| ids.push(id));
    ids
}

/// Visits the token ids of a prompt; a chat is rendered as `role: content` lines.
fn for_each_id(prompt: &Prompt, mut visit: impl FnMut(u32)) {
    match prompt {
        Prompt::Text(text) => text.bytes().for_each(|byte| visit(byte.into())),
        Prompt::Tokens(ids) => ids.iter().for_each(|&id| visit(id)),
        Prompt::Chat(messages) => {
            for message in messages.iter() {
                let role = match message.role {
                    Role::System => "system: ",
                    Role::User => "user: ",
                    Role::Assistant => "assistant: ",
                    _ => "tool: ",
                };
                for part in [role, &message.content, "\n"] {
                    part.bytes().for_each(|byte| visit(byte.into()));
                }
            }
        }
        _ => {}
    }
}
