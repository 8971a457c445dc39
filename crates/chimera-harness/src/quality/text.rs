//! The perplexity of a text, chunk by chunk. Chunks are disjoint sequences of the arm's own tokens, each read without
//! context, from the beginning of the text; what is left over at its end is not read.

use std::{fmt::Write, time::Duration};

use chimera_core::{Capabilities, Clock, Session};
use chimera_records::{ChunkScore, Perplexity, Quality};
use sha2::{Digest, Sha256};

use super::arm::Gap;
use crate::block::Bounds;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares a text with the digest that the design names.
pub(super) fn verified(quality: &Quality, text: String) -> Result<String, Gap> {
    let found = hex(&Sha256::digest(text.as_bytes()));
    if found == quality.sha256 {
        return Ok(text);
    }
    let (name, wanted) = (&quality.text, &quality.sha256);
    Err(Gap::new("text", format!("{name} has SHA-256 {found}, the design names {wanted}: restore the file")))
}

/// Reads a text.
pub(super) async fn perplexity(
    quality: &Quality,
    text: &str,
    session: &dyn Session,
    capabilities: &Capabilities,
    (backend, model): (&str, &str),
    bounds: &Bounds<'_>,
) -> Result<Perplexity, Gap> {
    for (able, what) in [(capabilities.tokenize, "tokenisation"), (capabilities.scoring, "scoring")] {
        if !able {
            return Err(Gap::new("unsupported", format!("backend {backend} offers no {what}")));
        }
    }
    if let Some(context) = session.model().context.filter(|context| *context < quality.chunk) {
        let reason = format!("chunks of {} tokens exceed the model's context of {context}", quality.chunk);
        return Err(Gap::new("context", reason));
    }
    let start = bounds.clock.now();
    let tokens = bounds.within(session.tokenize(text)).await??;
    let wanted = (quality.chunk as usize).saturating_mul(quality.chunks as usize);
    let Some(tokens) = tokens.get(..wanted) else {
        let reason = format!(
            "{} has {} tokens here, {wanted} are asked for: ask for fewer chunks",
            quality.text,
            tokens.len()
        );
        return Err(Gap::new("text", reason));
    };
    let mut digest = Sha256::new();
    tokens.iter().for_each(|id| digest.update(id.to_le_bytes()));
    let mut chunks = Vec::new();
    for chunk in tokens.chunks(quality.chunk as usize) {
        let left = bounds.timeout.saturating_sub(bounds.clock.now().since(start).unwrap_or_default());
        let score = Bounds { timeout: left.max(Duration::from_millis(1)), ..*bounds }
            .within(session.score(chunk))
            .await??;
        let predicted = score.log_probabilities.len();
        if predicted + 1 != chunk.len() || score.log_probabilities.iter().any(|p| !p.is_finite()) {
            let reason = format!(
                "{predicted} log probabilities for a chunk of {} tokens, or one that is none",
                chunk.len()
            );
            return Err(Gap::new("protocol", reason));
        }
        chunks.push(ChunkScore {
            tokens: u32::try_from(predicted).unwrap_or(u32::MAX),
            nll: -score.log_probabilities.iter().map(|&p| f64::from(p)).sum::<f64>(),
        });
    }
    let digest = hex(&digest.finalize());
    Ok(Perplexity {
        backend: backend.to_owned(),
        model: model.to_owned(),
        text: quality.text.clone(),
        text_sha256: quality.sha256.clone(),
        chunk: quality.chunk,
        stride: quality.chunk,
        tokens_digest: digest.get(..16).unwrap_or_default().to_owned(),
        chunks,
        seconds: bounds.clock.now().since(start).unwrap_or_default().as_secs_f64(),
    })
}
