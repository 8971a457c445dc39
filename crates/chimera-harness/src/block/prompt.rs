//! Prompts of a scenario for one model, made before the trial that needs them: token ids where the backend takes them,
//! text where it does not.

use std::sync::Arc;

use chimera_core::{BackendError, Capabilities, Prompt, Session};
use chimera_records::Scenario;

/// Characters that one token of English text has, about. Used only where a backend does not tokenize for us; the
/// prompt's real length is then recorded, and flagged where it is not the scenario's.
const CHARACTERS_PER_TOKEN: usize = 4;

/// A prompt that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub prompt: Prompt,
    /// Its length in tokens, where it is known or the scenario fixes it.
    pub expected: Option<u32>,
}

/// Makes the prompt of a scenario.
pub(super) async fn prepare(
    scenario: &Scenario,
    session: &dyn Session,
    capabilities: &Capabilities,
) -> Result<Prepared, BackendError> {
    if capabilities.tokenize && capabilities.token_prompts {
        let ids = match scenario.tokens {
            None => session.tokenize(&scenario.text).await?,
            Some(wanted) => exactly(wanted as usize, &scenario.text, session).await?,
        };
        let expected = u32::try_from(ids.len()).ok();
        return Ok(Prepared { prompt: Prompt::Tokens(ids.into()), expected });
    }
    let text = match scenario.tokens {
        None => scenario.text.clone(),
        Some(wanted) => {
            let wanted = (wanted as usize).saturating_mul(CHARACTERS_PER_TOKEN);
            let each = scenario.text.chars().count() + 1;
            repeat(&scenario.text, wanted / each + 1).chars().take(wanted).collect()
        }
    };
    Ok(Prepared { prompt: Prompt::Text(Arc::from(text)), expected: scenario.tokens })
}

/// The text repeated, with spaces between, and cut to exactly this many tokens.
async fn exactly(wanted: usize, text: &str, session: &dyn Session) -> Result<Vec<u32>, BackendError> {
    let mut times = 1;
    loop {
        let mut ids = session.tokenize(&repeat(text, times)).await?;
        if ids.len() >= wanted {
            ids.truncate(wanted);
            return Ok(ids);
        }
        // One copy gives at least one token or nothing ever will; growth is at least double, so this ends soon.
        let per_copy = (ids.len() / times).max(1);
        times = (wanted / per_copy + 1).max(times * 2);
        if times > wanted.saturating_mul(4).max(16) {
            return Err(BackendError::Protocol {
                backend: chimera_core::BackendId::new(session.model().name.as_str()),
                detail: format!("its tokenizer makes {} tokens of {times} copies of a text", ids.len()),
            });
        }
    }
}

fn repeat(text: &str, times: usize) -> String {
    let mut all = String::with_capacity((text.len() + 1) * times);
    for time in 0..times {
        if time > 0 {
            all.push(' ');
        }
        all.push_str(text);
    }
    all
}
