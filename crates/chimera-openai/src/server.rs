//! One server's calls that are not timed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chimera_core::{BackendError, Clock};
use chimera_wire::{Call, Client, Teller, WireError};
use futures_util::future::{Either, select};
use serde_json::Value;

use crate::{
    ask::{Asked, renamed},
    refusal::{error_in, message_of, refused, told},
};

/// Bytes of a refusal that are read.
pub(crate) const REFUSAL: usize = 64 * 1024;
/// Bytes of an ordinary answer. A list of models or the properties of a server with its template take some 100 KB.
const ANSWER: usize = 16 << 20;
/// How long an answer is waited for that says what a server is.
const LOOK: Duration = Duration::from_secs(10);

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) teller: Teller,
}

/// What a `GET` was answered.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) status: u16,
    /// What the server calls itself.
    pub(crate) server: String,
    pub(crate) body: Bytes,
}

impl Looked {
    /// The body of a good answer. Some servers answer what they do not know with a good status and an error.
    pub(crate) fn json(&self) -> Option<Value> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        (self.status == 200 && error_in(&value).is_none()).then_some(value)
    }
}

/// Whether a refusal says that a chat's budget has another name here.
pub(crate) fn wants_other_name(status: u16, body: &[u8]) -> bool {
    let message = matches!(status, 400 | 422).then(|| message_of(body)).flatten();
    message.is_some_and(|message| message.contains("max_completion_tokens"))
}

impl Server {
    /// Asks something harmless.
    pub(crate) async fn look(&self, path: &str) -> Result<Looked, WireError> {
        let call = Call::get(path);
        let asking = async {
            let answer = self.client.send(&call).await?;
            let status = answer.status.as_u16();
            let header = answer.headers.get("server").and_then(|value| value.to_str().ok());
            let server = header.unwrap_or_default().to_owned();
            Ok(Looked { status, server, body: answer.bytes(ANSWER).await? })
        };
        let late = self.clock.sleep_until(self.clock.now().after(LOOK));
        match select(std::pin::pin!(asking), late).await {
            Either::Left((looked, _)) => looked,
            Either::Right(_) => Err(WireError::Timeout {
                endpoint: self.client.endpoint().to_string(),
                what: "an answer to a harmless request",
                limit: LOOK,
            }),
        }
    }

    /// The same of something that a server need not have.
    pub(crate) async fn look_json(&self, path: &str) -> Option<Value> {
        self.look(path).await.ok()?.json()
    }

    /// Sends something whose answer is one JSON object.
    pub(crate) async fn once(&self, asked: Asked, model: &str) -> Result<Value, BackendError> {
        let Asked { path, mut json } = asked;
        let wire = |error| self.teller.wire(error);
        let answer = loop {
            let answer = self.client.send(&Call::post(path, json.clone())).await.map_err(wire)?;
            let status = answer.status.as_u16();
            if status == 200 {
                break answer;
            }
            let body = answer.bytes(REFUSAL).await.unwrap_or_default();
            match renamed(&json) {
                Some(other) if wants_other_name(status, &body) => json = other,
                _ => return Err(refused(&self.teller, status, &body, model, path)),
            }
        };
        let body = answer.bytes(ANSWER).await.map_err(wire)?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| {
            let excerpt = String::from_utf8_lossy(body.get(..120).unwrap_or(&body)).into_owned();
            self.teller.protocol(format_args!("{path} answers what is no answer ({error}): {excerpt}"))
        })?;
        match error_in(&value) {
            Some(message) => Err(told(&self.teller, &message)),
            None => Ok(value),
        }
    }
}
