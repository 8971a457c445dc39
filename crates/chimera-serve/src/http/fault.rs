//! Why a request has no good answer, and how each dialect says so. Where a fault comes from is not known here.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use chimera_core::BackendError;
use serde_json::{Value, json};

/// Whose words are spoken on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"error": "…"}`.
    Ollama,
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
}

impl Dialect {
    pub(crate) fn of(path: &str) -> Self {
        if path == "/v1" || path.starts_with("/v1/") { Self::OpenAi } else { Self::Ollama }
    }
}

/// A request that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

/// What sort of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    Unsupported,
    ContextLength,
    Unauthorized,
    ModelNotFound,
    NoRoute,
    Method,
    TooLarge,
    QueueFull,
    Draining,
    Timeout,
    NotImplemented,
    Unavailable,
    ModelInvalid,
    OutOfMemory,
    Protocol,
    Failed,
}

impl Fault {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    pub(crate) fn draining() -> Self {
        Self::new(Kind::Draining, "the server is stopping: ask again when it is back")
    }

    pub(crate) fn timeout(limit: std::time::Duration) -> Self {
        Self::new(Kind::Timeout, format!("no answer within the server's limit of {} s", limit.as_secs_f64()))
    }

    pub(crate) fn status(&self, dialect: Dialect) -> StatusCode {
        match self.kind {
            Kind::BadRequest | Kind::Unsupported | Kind::ContextLength => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::ModelNotFound | Kind::NoRoute => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::QueueFull if dialect == Dialect::OpenAi => StatusCode::TOO_MANY_REQUESTS,
            Kind::QueueFull | Kind::Draining | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Protocol => StatusCode::BAD_GATEWAY,
            Kind::ModelInvalid | Kind::OutOfMemory | Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A short stable name.
    pub(crate) fn code(&self) -> &'static str {
        match self.kind {
            Kind::BadRequest => "invalid_request",
            Kind::Unsupported => "unsupported",
            Kind::ContextLength => "context_length_exceeded",
            Kind::Unauthorized => "invalid_api_key",
            Kind::ModelNotFound => "model_not_found",
            Kind::NoRoute => "not_found",
            Kind::Method => "method_not_allowed",
            Kind::TooLarge => "request_too_large",
            Kind::QueueFull => "queue_full",
            Kind::Draining => "draining",
            Kind::Timeout => "timeout",
            Kind::NotImplemented => "not_implemented",
            Kind::Unavailable => "unavailable",
            Kind::ModelInvalid => "model_invalid",
            Kind::OutOfMemory => "out_of_memory",
            Kind::Protocol => "protocol",
            Kind::Failed => "failed",
        }
    }

    fn kind_name(&self) -> &'static str {
        match self.status(Dialect::OpenAi).as_u16() {
            401 => "authentication_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// The body of an error, as an answer and as a line of a stream alike.
    pub(crate) fn json(&self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::Ollama => json!({ "error": self.message }),
            Dialect::OpenAi => json!({ "error": {
                "message": self.message, "type": self.kind_name(), "param": null, "code": self.code(),
            } }),
        }
    }

    pub(crate) fn response(&self, dialect: Dialect) -> Response<Body> {
        let mut response = Response::new(Body::from(self.json(dialect).to_string()));
        *response.status_mut() = self.status(dialect);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        match self.kind {
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::QueueFull => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Kind::Draining => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            // What was not read of the body must not be taken for the next request.
            Kind::TooLarge => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        let kind = match &error {
            BackendError::Unavailable { .. } | BackendError::Closed { .. } => Kind::Unavailable,
            BackendError::Unsupported { .. } => Kind::Unsupported,
            BackendError::ModelNotFound { .. } => Kind::ModelNotFound,
            BackendError::ModelInvalid { .. } => Kind::ModelInvalid,
            BackendError::InvalidRequest { .. } => Kind::BadRequest,
            BackendError::OutOfMemory { .. } => Kind::OutOfMemory,
            BackendError::Timeout { .. } => Kind::Timeout,
            BackendError::Protocol { .. } => Kind::Protocol,
            _ => Kind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}
