//! How an adapter says in the words of the contract what a server or the wire did: without the key, which some servers repeat,
//! and no longer than a line. Which of a server's refusals means what is the adapter's business.

use std::fmt;

use chimera_core::{BackendError, BackendId};

use crate::WireError;

/// Characters of somebody else's text that are shown.
pub const SHOWN: usize = 300;

/// Who is asked, and what must not be shown.
#[derive(Clone)]
pub struct Teller {
    id: BackendId,
    secret: Option<Box<str>>,
    start: &'static str,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Teller {
    /// Speaks for a backend. `secret` is a key that is never shown; `start` says what mends a server that does not listen.
    #[must_use]
    pub fn new(id: BackendId, secret: Option<&str>, start: &'static str) -> Self {
        Self { id, secret: secret.filter(|secret| !secret.is_empty()).map(Into::into), start }
    }

    /// The backend.
    #[must_use]
    pub fn id(&self) -> &BackendId {
        &self.id
    }

    /// A server's text, short, on one line, without the key: some repeat what they were sent.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        let hidden = match &self.secret {
            Some(secret) => text.replace(&**secret, "…"),
            None => text.to_owned(),
        };
        let mut shown: String =
            hidden.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if hidden.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        shown.trim().to_owned()
    }

    /// What it sent cannot be understood.
    #[must_use]
    pub fn protocol(&self, detail: impl fmt::Display) -> BackendError {
        BackendError::Protocol { backend: self.id.clone(), detail: self.shown(&detail.to_string()) }
    }

    /// It does not take this request: send another.
    #[must_use]
    pub fn invalid(&self, reason: impl fmt::Display) -> BackendError {
        BackendError::InvalidRequest { backend: self.id.clone(), reason: reason.to_string() }
    }

    /// It cannot be had now.
    #[must_use]
    pub fn unavailable(&self, reason: impl fmt::Display) -> BackendError {
        BackendError::Unavailable { backend: self.id.clone(), reason: reason.to_string() }
    }

    /// It does not do this.
    #[must_use]
    pub fn unsupported(&self, what: impl fmt::Display) -> BackendError {
        BackendError::Unsupported { backend: self.id.clone(), what: what.to_string() }
    }

    /// It has no such model.
    #[must_use]
    pub fn not_found(&self, model: &str, reason: impl fmt::Display) -> BackendError {
        BackendError::ModelNotFound {
            backend: self.id.clone(),
            model: model.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Why nobody answered at an endpoint, without the remedy: a probe has a place of its own for that.
    #[must_use]
    pub fn why(&self, endpoint: &str, error: &BackendError) -> String {
        let reason = match error {
            BackendError::Unavailable { reason, .. } => {
                reason.strip_suffix(&self.remedy()).unwrap_or(reason).to_owned()
            }
            other => other.to_string(),
        };
        if reason.contains(endpoint) { reason } else { format!("{endpoint}: {reason}") }
    }

    /// A failure of the wire, with what mends it where somebody can.
    #[must_use]
    pub fn wire(&self, error: WireError) -> BackendError {
        match error {
            WireError::Connect { .. } => self.unavailable(format!("{error}{}", self.remedy())),
            other => other.into_backend(&self.id),
        }
    }

    fn remedy(&self) -> String {
        format!(" ({})", self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown_and_a_page_becomes_a_line() {
        let teller = Teller::new(BackendId::new("o"), Some("sekret"), "start it");
        let said = teller.shown(&format!("no\nsekret {}", "x".repeat(10_000)));
        assert!(said.starts_with("no … x") && said.chars().count() <= SHOWN + 1, "{said}");
        assert!(teller.protocol("sekret").to_string().contains('…'));
        assert!(Teller::new(BackendId::new("o"), Some(""), "").shown("as it is").contains("as it is"));
    }

    #[test]
    fn a_probe_shows_the_reason_without_the_remedy() {
        let teller = Teller::new(BackendId::new("o"), None, "start it");
        let refused = teller.unavailable("nobody listens (start it)");
        assert_eq!(teller.why("http://here:1", &refused), "http://here:1: nobody listens");
    }
}
