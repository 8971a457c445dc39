//! What a server says when it refuses, in the words of the contract: by status before a stream, by the message inside it.

use chimera_core::{BackendError, BackendId};
use chimera_wire::{SHOWN, Teller};
use serde_json::Value;

/// What mends a server that does not listen.
const START: &str = "start it with `ollama serve`, or set OLLAMA_HOST";

/// Who speaks for a backend.
pub(crate) fn teller(id: BackendId, secret: Option<&str>) -> Teller {
    Teller::new(id, secret, START)
}

/// An error that a server reports in words alone, as it does in the middle of a stream.
pub(crate) fn told(teller: &Teller, message: &str) -> BackendError {
    let lower = message.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let said = teller.shown(message);
    if has(&["out of memory", "more system memory", "cudamalloc", "insufficient memory", "not enough memory"])
    {
        return BackendError::OutOfMemory { backend: teller.id().clone(), reason: said };
    }
    if has(&["context length", "context size", "must be of type", "too long"]) {
        return teller.invalid(said);
    }
    if has(&["server busy", "maximum pending requests"]) {
        return teller.unavailable(format!("{said} (try again later)"));
    }
    BackendError::failed(teller.id(), format!("the server says: {said}"))
}

/// A refusal before the stream: the status, the beginning of the body, and which model and path were asked.
pub(crate) fn refused(teller: &Teller, status: u16, body: &[u8], model: &str, path: &str) -> BackendError {
    let own = message_of(body);
    let said = match &own {
        Some(message) => teller.shown(message),
        None => teller.shown(&String::from_utf8_lossy(body.get(..4 * SHOWN).unwrap_or(body))),
    };
    let said = if said.is_empty() { "no reason given".to_owned() } else { said };
    let backend = teller.id().clone();
    match status {
        400 | 405 | 413 | 422 => teller.invalid(format!("{said} (status {status})")),
        401 | 403 => teller.unavailable(format!(
            "status {status}, {said}: the server wants a key; set OLLAMA_API_KEY or give another"
        )),
        // A path that does not exist is answered without an error object.
        404 if own.is_none() || model.is_empty() => BackendError::Unsupported {
            backend,
            what: format!("{path}: the server does not know it ({said})"),
        },
        404 => BackendError::ModelNotFound {
            backend,
            model: model.to_owned(),
            reason: format!(
                "the server answers `{said}`; fetch it with `ollama pull {model}`, or give the path of a GGUF file"
            ),
        },
        429 | 502..=504 => teller.unavailable(format!("status {status}, {said} (try again later)")),
        501 => BackendError::Unsupported { backend, what: format!("{path}: {said}") },
        _ => match told(teller, &said) {
            BackendError::Failed { .. } => {
                BackendError::failed(teller.id(), format!("status {status} from {path}: {said}"))
            }
            sorted => sorted,
        },
    }
}

/// The message in an error object: `{"error": "…"}`, or `{"error": {"message": "…"}}` as proxies have it.
pub(crate) fn message_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(error_text(value.get("error")?))
}

/// The text of an `error` field.
pub(crate) fn error_text(error: &Value) -> String {
    match error {
        Value::String(text) => text.clone(),
        other => match other.get("message").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16, body: &str) -> &'static str {
        let teller = teller(BackendId::new("o"), None);
        refused(&teller, status, body.as_bytes(), "m", "/api/generate").code()
    }

    #[test]
    fn refusals_are_sorted_by_what_a_caller_can_do() {
        for (status, body, expected) in [
            (404, r#"{"error":"model 'm' not found"}"#, "model-not-found"),
            (404, "404 page not found", "unsupported"),
            (400, r#"{"error":"raw mode does not support template, system, or context"}"#, "invalid-request"),
            (413, "too large", "invalid-request"),
            (401, r#"{"error":"unauthorized"}"#, "unavailable"),
            (403, "", "unavailable"),
            (429, "{}", "unavailable"),
            (
                503,
                r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
                "unavailable",
            ),
            (
                500,
                r#"{"error":"model requires more system memory (9 GiB) than is available"}"#,
                "out-of-memory",
            ),
            (500, r#"{"error":"option \"temperature\" must be of type float32"}"#, "invalid-request"),
            (500, r#"{"error":"the input length exceeds the context length"}"#, "invalid-request"),
            (500, r#"{"error":{"message":"boom"}}"#, "failed"),
            (418, "<html>", "failed"),
        ] {
            assert_eq!(code(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_missing_model_is_named_with_its_remedy() {
        let teller = teller(BackendId::new("o"), None);
        let told = refused(&teller, 404, br#"{"error":"model 'm' not found"}"#, "m", "/api/show").to_string();
        assert!(told.contains("ollama pull m") && told.contains("GGUF"), "{told}");
    }

    #[test]
    fn what_is_shown_is_short_and_holds_no_key() {
        let teller = teller(BackendId::new("o"), Some("sekret"));
        let body = format!("{{\"error\":\"bad key sekret {}\"}}", "x".repeat(10_000));
        let told = refused(&teller, 401, body.as_bytes(), "m", "/").to_string();
        assert!(!told.contains("sekret") && told.len() < 1_000, "{told}");
        assert!(!super::told(&teller, "sekret").to_string().contains("sekret"));
        assert!(!teller.protocol("sekret").to_string().contains("sekret"));
        assert!(!format!("{teller:?}").contains("sekret"));
    }
}
