//! Texts and token ids of a wanted length, made from a short text by repeating it.

use chimera_core::{BackendError, Session};

/// Characters that one token of English text has, about. Where a backend does not tokenize for us the prompt's real
/// length is found out or recorded, and flagged where it is not the scenario's.
const CHARACTERS_PER_TOKEN: usize = 4;

/// A text of about this many tokens.
pub(crate) fn text_of(tokens: u32, text: &str) -> String {
    let wanted = (tokens as usize).saturating_mul(CHARACTERS_PER_TOKEN);
    let each = text.chars().count() + 1;
    repeat(text, wanted / each + 1).chars().take(wanted).collect()
}

/// The text repeated, with spaces between, and cut to exactly this many tokens.
pub(crate) async fn exactly(
    wanted: usize,
    text: &str,
    session: &dyn Session,
) -> Result<Vec<u32>, BackendError> {
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

pub(super) fn repeat(text: &str, times: usize) -> String {
    let mut all = String::with_capacity((text.len() + 1) * times);
    for time in 0..times {
        if time > 0 {
            all.push(' ');
        }
        all.push_str(text);
    }
    all
}
