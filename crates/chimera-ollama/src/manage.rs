//! One server's management calls. They are not timed.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use chimera_core::{BackendError, Clock};
use chimera_wire::{Answer, Call, Client, Lines, Teller};
use futures_util::{
    StreamExt,
    future::{Either, select},
};
use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    api::{ModelFacts, Models, Progress, Resident, Stored, Version, same_name},
    generation::REFUSAL,
    gguf::Gguf,
    refusal::{error_text, refused, told},
};

/// Bytes of an ordinary answer. What a server says of a model with all its tensors takes some 100 KB.
const ANSWER: usize = 16 << 20;
/// Bytes of one line of progress.
const LINE: usize = 1 << 20;

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) teller: Teller,
    /// How long the server may take to become free after a generation was dropped.
    pub(crate) patience: Duration,
}

impl Server {
    fn wire(&self, error: chimera_wire::WireError) -> BackendError {
        self.teller.wire(error)
    }

    /// Asks; any status but a good one is an error.
    async fn ask(&self, call: &Call, path: &str, model: &str) -> Result<Answer, BackendError> {
        let answer = self.client.send(call).await.map_err(|error| self.wire(error))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let status = answer.status.as_u16();
        let body = answer.bytes(REFUSAL).await.unwrap_or_default();
        Err(refused(&self.teller, status, &body, model, path))
    }

    async fn bytes(&self, call: &Call, path: &str, model: &str) -> Result<Bytes, BackendError> {
        let answer = self.ask(call, path, model).await?;
        answer.bytes(ANSWER).await.map_err(|error| self.wire(error))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        call: Call,
        path: &str,
        model: &str,
    ) -> Result<T, BackendError> {
        let body = self.bytes(&call, path, model).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let excerpt = String::from_utf8_lossy(body.get(..120).unwrap_or(&body)).into_owned();
            self.teller.protocol(format_args!("{path} answers what is no answer ({error}): {excerpt}"))
        })
    }

    /// The same answer, where it comes soon.
    pub(crate) async fn soon<T>(
        &self,
        limit: Duration,
        asking: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let late = self.clock.sleep_until(self.clock.now().after(limit));
        match select(pin!(asking), late).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                Err(BackendError::Timeout { backend: self.teller.id().clone(), seconds: limit.as_secs_f64() })
            }
        }
    }

    pub(crate) async fn version(&self) -> Result<String, BackendError> {
        let path = "/api/version";
        Ok(self.json::<Version>(Call::get(path), path, "").await?.version)
    }

    /// Whether the root says what an Ollama says there, for servers older than their version call.
    pub(crate) async fn greets(&self) -> Result<bool, BackendError> {
        let body = self.bytes(&Call::get("/"), "/", "").await?;
        Ok(body.starts_with(b"Ollama is running"))
    }

    pub(crate) async fn tags(&self) -> Result<Vec<Stored>, BackendError> {
        let path = "/api/tags";
        let list: Models<Stored> = self.json(Call::get(path), path, "").await?;
        Ok(list.models.unwrap_or_default())
    }

    pub(crate) async fn ps(&self) -> Result<Vec<Resident>, BackendError> {
        let path = "/api/ps";
        let list: Models<Resident> = self.json(Call::get(path), path, "").await?;
        Ok(list.models.unwrap_or_default())
    }

    pub(crate) async fn show(&self, model: &str) -> Result<ModelFacts, BackendError> {
        let path = "/api/show";
        // Old servers know `name`, newer ones `model`.
        let body = json!({ "model": model, "name": model }).to_string();
        self.json(Call::post(path, body), path, model).await
    }

    /// The resident model of this name, where the server has that call.
    pub(crate) async fn resident(&self, model: &str) -> Option<Resident> {
        let resident = self.ps().await.ok()?;
        resident.into_iter().find(|resident| same_name(&resident.name, model))
    }

    /// Sends something whose answer is one JSON object, which may be an error at status 200.
    pub(crate) async fn once(&self, path: &str, json: Vec<u8>, model: &str) -> Result<Value, BackendError> {
        let body = self.bytes(&Call::post(path, json), path, model).await?;
        let mut last = Value::Null;
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            last = serde_json::from_slice(line).map_err(|error| {
                let excerpt = String::from_utf8_lossy(line.get(..120).unwrap_or(line));
                self.teller.protocol(format_args!("{path} answers what is no answer ({error}): {excerpt}"))
            })?;
            if let Some(error) = last.get("error") {
                return Err(told(&self.teller, &error_text(error)));
            }
        }
        Ok(last)
    }

    /// Unloads a model and waits until it is gone, where the server says what is resident; at most five seconds, since
    /// others may load it again.
    pub(crate) async fn unload(&self, model: &str) -> Result<(), BackendError> {
        let path = "/api/generate";
        let body = json!({ "model": model, "prompt": "", "stream": false, "keep_alive": 0 });
        self.once(path, body.to_string().into_bytes(), model).await?;
        for _ in 0..100 {
            if self.resident(model).await.is_none() {
                break;
            }
            self.clock.sleep_until(self.clock.now().after(Duration::from_millis(50))).await;
        }
        Ok(())
    }

    pub(crate) async fn delete(&self, model: &str) -> Result<(), BackendError> {
        let path = "/api/delete";
        let body = json!({ "model": model, "name": model }).to_string();
        self.ask(&Call::post(path, body).method(Method::DELETE), path, model).await?;
        Ok(())
    }

    /// A call that reports its progress line by line and ends with `success`.
    async fn long(
        &self,
        path: &str,
        body: Value,
        model: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BackendError> {
        #[derive(Deserialize)]
        struct Step {
            error: Option<Value>,
            #[serde(flatten)]
            progress: Progress,
        }
        let call = Call::post(path, body.to_string()).accept("application/x-ndjson");
        let mut answer = self.ask(&call, path, model).await?;
        let mut lines = Lines::new(LINE);
        let mut last = String::new();
        let mut over = false;
        while !over {
            let mut line = match answer.body.next().await {
                Some(piece) => {
                    lines.feed(piece.map_err(|error| self.wire(error))?.bytes);
                    lines.next_line().map_err(|error| self.teller.protocol(error))?
                }
                None => {
                    over = true;
                    lines.finish()
                }
            };
            while let Some(text) = line {
                let step: Step = serde_json::from_slice(&text).map_err(|error| {
                    let excerpt = String::from_utf8_lossy(text.get(..120).unwrap_or(&text)).into_owned();
                    self.teller
                        .protocol(format_args!("{path}: a line that is no progress ({error}): {excerpt}"))
                })?;
                if let Some(error) = step.error {
                    return Err(told(&self.teller, &error_text(&error)));
                }
                last.clone_from(&step.progress.status);
                progress(step.progress);
                line = if over {
                    None
                } else {
                    lines.next_line().map_err(|error| self.teller.protocol(error))?
                };
            }
        }
        if last == "success" {
            return Ok(());
        }
        let shown = self.teller.shown(&last);
        Err(self.teller.protocol(format_args!("{path} ended without `success`, at `{shown}`")))
    }

    pub(crate) async fn pull(
        &self,
        model: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BackendError> {
        self.long("/api/pull", json!({ "model": model, "name": model, "stream": true }), model, progress)
            .await
    }

    /// Puts a file into the server's store, unless it is there, and makes a model of it.
    pub(crate) async fn create(
        &self,
        model: &str,
        file: &Gguf,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BackendError> {
        let blob = format!("/api/blobs/sha256:{}", file.sha256);
        let digest = format!("sha256:{}", file.sha256);
        let there = self.client.send(&Call::get(blob.as_str()).method(Method::HEAD)).await;
        let there = there.map_err(|error| self.wire(error))?.status.is_success();
        let step = |status: &str, completed: u64| Progress {
            status: status.to_owned(),
            digest: Some(digest.clone()),
            total: Some(file.bytes),
            completed: Some(completed),
        };
        if there {
            progress(step("already in the store", file.bytes));
        } else {
            progress(step("uploading", 0));
            self.ask(&Call::upload(blob.as_str(), &file.path, file.bytes), &blob, model).await?;
            progress(step("uploaded", file.bytes));
        }
        let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or("model.gguf");
        // Servers before 0.5.5 read a recipe, later ones a list of files.
        let body = json!({
            "model": model, "name": model, "stream": true,
            "files": { name: digest }, "modelfile": format!("FROM @{digest}\n"),
        });
        self.long("/api/create", body, model, progress).await
    }
}
