//! Bodies: read whole within a limit of size and time, parsed with the place of the mistake, written as JSON. Streams
//! are made by the dialects.

use axum::{
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Serialize, de::DeserializeOwned};

use super::fault::{Fault, Kind};

/// Reads a body of at most `most` bytes.
pub(crate) async fn read(
    request: Request<Body>,
    most: usize,
    limit: std::time::Duration,
) -> Result<Bytes, Fault> {
    let too_large =
        || Fault::new(Kind::TooLarge, format!("a body of more than {most} bytes: send a shorter prompt"));
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(limit, body).await {
        Err(_) => Err(Fault::timeout(limit)),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Fault::bad(format!("the body broke off: {error}"))),
    }
}

/// Reads JSON; an error says where it is.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    if body.is_empty() {
        return Err(Fault::bad("missing request body"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!(" at {path}") };
        Fault::bad(format!("invalid JSON{place}: {}", error.inner()))
    })?;
    reader.end().map_err(|error| Fault::bad(format!("invalid JSON: {error}")))?;
    Ok(value)
}

/// A whole JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = match serde_json::to_vec(value) {
        Ok(bytes) => Response::new(Body::from(bytes)),
        Err(error) => {
            let mut response = Response::new(Body::from(error.to_string()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    };
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A plain text answer.
pub(crate) fn text(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
