//! What a server says when it refuses, in the words of the contract: by status before a stream, by the message inside it.

use chimera_core::{BackendError, BackendId};
use chimera_wire::{SHOWN, Teller};
use serde_json::Value;

/// What mends a missing or a wrong key.
pub(crate) const KEY: &str = "set OPENAI_API_KEY, or give another key";

/// What mends a server that does not listen.
const START: &str = "start the server, or set OPENAI_BASE_URL";

/// Who speaks for a backend.
pub(crate) fn teller(id: BackendId, secret: Option<&str>) -> Teller {
    Teller::new(id, secret, START)
}

/// An error that a server reports in words alone, as it does in the middle of a stream.
pub(crate) fn told(teller: &Teller, message: &str) -> BackendError {
    let lower = message.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let said = teller.shown(message);
    if has(&["out of memory", "outofmemory", "cudamalloc", "insufficient memory", "not enough memory"]) {
        return BackendError::OutOfMemory { backend: teller.id().clone(), reason: said };
    }
    if has(&[
        "context length",
        "context size",
        "context window",
        "context_length_exceeded",
        "max_model_len",
        "too long",
        "too large to process",
    ]) {
        return teller.invalid(said);
    }
    if has(&["overloaded", "loading model", "queue is full", "rate limit", "too many requests"]) {
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
    match status {
        401 | 403 => teller.unavailable(format!("status {status}, {said}: the server wants a key; {KEY}")),
        // A path that does not exist and a model that does not exist have the same status.
        404 if !model.is_empty() && said.to_ascii_lowercase().contains("model") => teller
            .not_found(model, format!("the server answers `{said}`; `GET /v1/models` lists what it has")),
        404 | 405 | 501 => teller.unsupported(format!("{path}: the server does not know it ({said})")),
        400 | 413 | 422 => match told(teller, &said) {
            memory @ BackendError::OutOfMemory { .. } => memory,
            _ => teller.invalid(format!("{said} (status {status})")),
        },
        408 | 429 | 502..=504 => teller.unavailable(format!("status {status}, {said} (try again later)")),
        _ => match told(teller, &said) {
            BackendError::Failed { .. } => {
                BackendError::failed(teller.id(), format!("status {status} from {path}: {said}"))
            }
            sorted => sorted,
        },
    }
}

/// The message in an error body: `{"error": {"message"}}`, `{"error": "…"}`, `{"object": "error", "message"}`, or FastAPI's
/// `{"detail"}`.
pub(crate) fn message_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    error_in(&value)
}

/// The same of a value; `None` when it is no error.
pub(crate) fn error_in(value: &Value) -> Option<String> {
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        return Some(error_text(error));
    }
    if let Some(detail) = value.get("detail") {
        return Some(match detail {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
    }
    let says = value.get("object").and_then(Value::as_str) == Some("error") || value.get("choices").is_none();
    value.get("message").and_then(Value::as_str).filter(|_| says).map(str::to_owned)
}

/// The text of an `error` field, with its code where it has words.
pub(crate) fn error_text(error: &Value) -> String {
    let Some(message) = error.get("message").and_then(Value::as_str) else {
        return match error {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
    };
    match error.get("code").and_then(Value::as_str).filter(|code| !code.is_empty()) {
        Some(code) => format!("{message} [{code}]"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16, body: &str) -> &'static str {
        let teller = teller(BackendId::new("o"), None);
        refused(&teller, status, body.as_bytes(), "m", "/v1/completions").code()
    }

    #[test]
    fn refusals_are_sorted_by_what_a_caller_can_do() {
        for (status, body, expected) in [
            // vLLM, old and new.
            (
                404,
                r#"{"error":{"message":"The model `m` does not exist.","type":"NotFoundError","code":404}}"#,
                "model-not-found",
            ),
            (
                404,
                r#"{"object":"error","message":"The model `m` does not exist.","code":404}"#,
                "model-not-found",
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 2048 tokens."}"#,
                "invalid-request",
            ),
            (404, r#"{"detail":"Not Found"}"#, "unsupported"),
            (422, r#"{"detail":[{"loc":["body","prompt"],"msg":"field required"}]}"#, "invalid-request"),
            // llama.cpp.
            (
                404,
                r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#,
                "unsupported",
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                "unavailable",
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"request (9 tokens) exceeds the available context size (8 tokens)","type":"exceed_context_size_error"}}"#,
                "invalid-request",
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"input is too large to process. increase the physical batch size"}}"#,
                "invalid-request",
            ),
            // TGI.
            (
                422,
                r#"{"error":"`max_new_tokens` must be <= 512","error_type":"validation"}"#,
                "invalid-request",
            ),
            (424, r#"{"error":"Request failed during generation","error_type":"generation"}"#, "failed"),
            (429, r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, "unavailable"),
            (401, r#"{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}"#, "unavailable"),
            (403, "", "unavailable"),
            (413, "too large", "invalid-request"),
            (500, r#"{"error":{"message":"CUDA out of memory"}}"#, "out-of-memory"),
            (500, "oops", "failed"),
            (501, r#"{"error":{"message":"no"}}"#, "unsupported"),
            (504, "", "unavailable"),
            (418, "<html>", "failed"),
        ] {
            assert_eq!(code(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_holds_no_key() {
        let teller = teller(BackendId::new("o"), Some("sekret"));
        let body = format!("{{\"error\":{{\"message\":\"bad key sekret {}\"}}}}", "x".repeat(10_000));
        let told = refused(&teller, 401, body.as_bytes(), "m", "/").to_string();
        assert!(!told.contains("sekret") && told.len() < 1_000 && told.contains("OPENAI_API_KEY"), "{told}");
        assert!(!super::told(&teller, "sekret").to_string().contains("sekret"));
        assert!(!teller.protocol("sekret").to_string().contains("sekret"));
        assert!(!format!("{teller:?}").contains("sekret"));
    }

    #[test]
    fn answers_are_no_errors() {
        for answer in [r#"{"choices":[],"message":"hi"}"#, r#"{"choices":[],"error":null}"#, "[]", "1"] {
            assert_eq!(message_of(answer.as_bytes()), None, "{answer}");
        }
        assert_eq!(message_of(br#"{"error":{}}"#).as_deref(), Some("{}"));
    }
}
