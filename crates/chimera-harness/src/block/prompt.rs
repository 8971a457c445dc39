//! Prompts of a scenario for one model, made before the trial that needs them: token ids where the backend takes them,
//! text where it does not. Behind a wire every prompt begins with a nonce, so that no prefix cache can answer it; in
//! process there is none, since the KV cache starts empty.

use std::sync::Arc;

use chimera_core::{BackendError, Capabilities, ClockSource, Prompt, Request, Session, SessionExt};
use chimera_records::Scenario;
use sha2::{Digest, Sha256};

use super::length::{exactly, repeat, text_of};

/// Letters of a nonce: 26 to the power of 8 prompts.
const LETTERS: usize = 8;

/// A prompt that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    content: Content,
    /// Its length in tokens, where it is known or the scenario fixes it; with the nonce, where there is one.
    pub expected: Option<u32>,
}

#[derive(Debug, Clone)]
enum Content {
    Fixed(Prompt),
    Nonced { text: Arc<str>, tokens: Option<u32> },
}

/// What a nonce is made from: nothing that two trials share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Salt<'a> {
    /// When the block's process began: another run of the same plan has another.
    pub origin_unix_ms: u64,
    /// The server that may remember.
    pub backend: &'a str,
    pub block: u32,
    pub attempt: u32,
    pub trial: u32,
    pub lane: u32,
}

impl Prepared {
    /// The prompt of one lane of one trial.
    pub(super) fn prompt(&self, salt: Salt<'_>) -> Prompt {
        match &self.content {
            Content::Fixed(prompt) => prompt.clone(),
            Content::Nonced { text, .. } => Prompt::Text(Arc::from(format!("{}{text}", nonce(salt)))),
        }
    }

    /// Tokens of the nonce, where there is one and its length is known.
    pub(super) fn nonce_tokens(&self) -> Option<u32> {
        match self.content {
            Content::Fixed(_) => None,
            Content::Nonced { tokens, .. } => tokens,
        }
    }
}

/// Letters with spaces between. Nearly every vocabulary has a token for each letter after a space, so that all nonces
/// have one length; hexadecimal digits would be joined to tokens in ways that differ from one nonce to the next.
fn nonce(salt: Salt<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(salt.origin_unix_ms.to_le_bytes());
    hash.update(salt.backend.as_bytes());
    for number in [salt.block, salt.attempt, salt.trial, salt.lane] {
        hash.update(number.to_le_bytes());
    }
    let mut text = String::with_capacity(2 * LETTERS + 1);
    for byte in hash.finalize().iter().take(LETTERS) {
        text.push(char::from(b'a' + byte % 26));
        text.push(' ');
    }
    text
}

/// Makes the prompt of a scenario.
pub(super) async fn prepare(
    scenario: &Scenario,
    session: &dyn Session,
    capabilities: &Capabilities,
    salt: Salt<'_>,
) -> Result<Prepared, BackendError> {
    // Who stamps says who is far away: a client's stamps are those of a wire.
    if capabilities.stamps == ClockSource::Client {
        return nonced(scenario, session, salt).await;
    }
    if capabilities.tokenize && capabilities.token_prompts {
        let ids = match scenario.tokens {
            None => session.tokenize(&scenario.text).await?,
            Some(wanted) => exactly(wanted as usize, &scenario.text, session).await?,
        };
        let expected = u32::try_from(ids.len()).ok();
        return Ok(Prepared { content: Content::Fixed(Prompt::Tokens(ids.into())), expected });
    }
    let text = match scenario.tokens {
        None => scenario.text.clone(),
        Some(wanted) => text_of(wanted, &scenario.text),
    };
    let content = Content::Fixed(Prompt::Text(Arc::from(text)));
    Ok(Prepared { content, expected: scenario.tokens })
}

/// A prompt behind a nonce. Its lengths are found out by asking for one token: servers count what they read.
async fn nonced(
    scenario: &Scenario,
    session: &dyn Session,
    salt: Salt<'_>,
) -> Result<Prepared, BackendError> {
    // Trials count from 0; these come from the other end.
    let mut turn = u32::MAX;
    let mut fresh = || {
        turn -= 1;
        nonce(Salt { trial: turn, ..salt })
    };
    let natural = scenario.text.clone();
    let short = natural.split_whitespace().next().unwrap_or("x").to_owned();
    let with = counted(session, format!("{}{short}", fresh())).await?;
    let without = counted(session, short).await?;
    let tokens = with.zip(without).and_then(|(with, without)| with.checked_sub(without));
    let (text, expected) = match scenario.tokens {
        None => (natural, None),
        Some(wanted) => {
            let mut best = text_of(wanted.saturating_sub(tokens.unwrap_or(0)), &natural);
            // Lengths in characters around the right one; servers do not cut prompts for us.
            for _ in 0..12 {
                let Some(found) = counted(session, format!("{}{best}", fresh())).await? else { break };
                if found == wanted {
                    break;
                }
                let characters = best.chars().count();
                let step =
                    characters as f64 / f64::from(found.max(1)) * (f64::from(wanted) - f64::from(found));
                let step = if step.abs() < 1.0 { step.signum() } else { step };
                let next = (characters as f64 + step.round()).max(1.0) as usize;
                best =
                    repeat(&natural, next / (natural.chars().count() + 1) + 1).chars().take(next).collect();
            }
            (best, Some(wanted))
        }
    };
    Ok(Prepared { content: Content::Nonced { text: text.into(), tokens }, expected })
}

/// Tokens that the server counts in a prompt; `None` where it does not say.
async fn counted(session: &dyn Session, text: String) -> Result<Option<u32>, BackendError> {
    let end = session.run(Request::text(text, 1)).await.map_err(|error| error.error)?;
    Ok(end.prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_wherever_anything_does_and_have_one_shape() {
        let salt = Salt { origin_unix_ms: 1, backend: "b", block: 0, attempt: 1, trial: 2, lane: 0 };
        let all = [
            salt,
            Salt { origin_unix_ms: 2, ..salt },
            Salt { backend: "c", ..salt },
            Salt { block: 1, ..salt },
            Salt { attempt: 2, ..salt },
            Salt { trial: 3, ..salt },
            Salt { lane: 1, ..salt },
        ]
        .map(nonce);
        for (index, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 2 * LETTERS);
            assert!(one.split(' ').take(LETTERS).all(|letter| letter.len() == 1));
            assert!(all.iter().skip(index + 1).all(|other| other != one));
        }
        assert_eq!(nonce(salt), nonce(salt));
    }
}
