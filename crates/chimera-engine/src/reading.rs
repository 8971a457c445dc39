//! Reads a sequence of token ids without generating: the logits after each position, or what they give the next token. It
//! runs in the worker thread; nothing here is timed.

use chimera_core::{BackendError, BackendId, Logits, Result, Score};

use crate::{EngineError, LanguageModel, Wanted};

/// Whether nobody waits for the answer any more, or the session is closed.
pub(crate) type Stop<'a> = dyn Fn() -> bool + 'a;

/// How well the model predicts each token but the first.
pub(crate) fn score(
    model: &mut dyn LanguageModel,
    backend: &BackendId,
    tokens: &[u32],
    stop: &Stop<'_>,
) -> Result<Score> {
    admit(model, backend, tokens)?;
    let next = tokens.get(1..).unwrap_or_default();
    let mut log_probabilities = Vec::with_capacity(next.len());
    // What follows the last token is not asked for, so it is not read.
    let read = tokens.get(..next.len()).unwrap_or_default();
    each_row(model, backend, read, stop, |position, row| {
        log_probabilities.extend(next.get(position).and_then(|&id| log_probability(row, id as usize)));
    })?;
    if log_probabilities.len() != next.len() {
        let detail =
            format!("rows of logits too short for {} of the tokens", next.len() - log_probabilities.len());
        return Err(BackendError::Protocol { backend: backend.clone(), detail });
    }
    Ok(Score { log_probabilities })
}

/// The logits after each position.
pub(crate) fn logits(
    model: &mut dyn LanguageModel,
    backend: &BackendId,
    tokens: &[u32],
    stop: &Stop<'_>,
) -> Result<Logits> {
    admit(model, backend, tokens)?;
    let vocabulary = model.vocabulary();
    let mut values = Vec::new();
    let room = tokens.len().saturating_mul(vocabulary);
    values.try_reserve_exact(room).map_err(|_| BackendError::OutOfMemory {
        backend: backend.clone(),
        reason: format!("no room for {} rows of {vocabulary} logits: ask for fewer tokens", tokens.len()),
    })?;
    let mut odd = None;
    each_row(model, backend, tokens, stop, |_, row| {
        // A padded output has columns that are no token.
        match row.get(..vocabulary) {
            Some(row) => values.extend_from_slice(row),
            None => odd = Some(row.len()),
        }
    })?;
    if let Some(found) = odd {
        let detail = format!("a row of {found} logits for a vocabulary of {vocabulary}");
        return Err(BackendError::Protocol { backend: backend.clone(), detail });
    }
    Ok(Logits { values, vocabulary })
}

fn admit(model: &dyn LanguageModel, backend: &BackendId, tokens: &[u32]) -> Result<()> {
    let refuse = |reason| BackendError::InvalidRequest { backend: backend.clone(), reason };
    let vocabulary = model.vocabulary();
    if let Some(id) = tokens.iter().find(|&&id| id as usize >= vocabulary) {
        return Err(refuse(format!("token id {id} is not in the vocabulary of {vocabulary}")));
    }
    if tokens.len() > model.context() {
        return Err(refuse(format!("{} tokens exceed the context of {}", tokens.len(), model.context())));
    }
    Ok(())
}

/// Reads tokens chunk by chunk and shows the logits after each.
fn each_row(
    model: &mut dyn LanguageModel,
    backend: &BackendId,
    tokens: &[u32],
    stop: &Stop<'_>,
    mut see: impl FnMut(usize, &[f32]),
) -> Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    let failed = |error: EngineError| error.into_backend(backend);
    let mut cache = model.start(&[0], tokens.len()).map_err(failed)?;
    let chunk = model.prefill_chunk().max(1);
    let mut position = 0;
    for part in tokens.chunks(chunk) {
        if stop() {
            return Err(BackendError::Closed { backend: backend.clone() });
        }
        let logits = model.forward(cache.as_mut(), part, Wanted::All).map_err(failed)?;
        for index in 0..part.len() {
            let row = logits.row(index).ok_or_else(|| BackendError::Protocol {
                backend: backend.clone(),
                detail: format!("{} rows of logits for {} positions", logits.rows(), part.len()),
            })?;
            see(position, row);
            position += 1;
        }
    }
    Ok(())
}

/// Natural-log probability of one entry: its logit minus the log of the sum of exponentials.
fn log_probability(logits: &[f32], index: usize) -> Option<f32> {
    let own = f64::from(*logits.get(index)?);
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    Some((own - largest - sum.ln()) as f32)
}
