//! The beginning of an answer: status, headers, and when they came. The body follows.

use bytes::{Bytes, BytesMut};
use chimera_core::Stamp;
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};

use crate::{Body, WireError};

/// An answer whose body has not been read.
#[derive(Debug)]
pub struct Answer {
    /// When the last byte of the request was handed to the socket (the last write before the answer began).
    pub sent: Stamp,
    /// When the read returned that brought the end of the head.
    pub headers_at: Stamp,
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The rest.
    pub body: Body,
}

impl Answer {
    /// The type of the body without its parameters, in lower case; empty when the server does not say.
    #[must_use]
    pub fn content_type(&self) -> String {
        let value = self.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let bare = value.and_then(|value| value.split(';').next()).unwrap_or_default();
        bare.trim().to_ascii_lowercase()
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] beyond `limit` bytes, or what broke on the way.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, WireError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.body.next().await {
            let piece = piece?;
            if all.len() + piece.bytes.len() > limit {
                return Err(WireError::TooLarge {
                    endpoint: self.body.endpoint().to_owned(),
                    what: "the answer",
                    limit: limit as u64,
                });
            }
            all.extend_from_slice(&piece.bytes);
        }
        Ok(all.freeze())
    }
}
