//! Ollama's native interface: the endpoints that clients of a local model use. Nothing that makes, pulls or deletes
//! models is here, and no embeddings.

mod answer;
mod models;
mod options;
mod request;

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use serde_json::json;

pub(crate) use models::{ps, show, tags};

use crate::{
    app::App,
    http::{
        body::{json, read, text},
        fault::{Dialect, Fault, Kind},
    },
};

/// What `/api/version` says: the newest interface that this one was compared with.
const VERSION: &str = "0.11.4";

pub(crate) async fn root() -> Response<Body> {
    text("Ollama is running")
}

pub(crate) async fn version() -> Response<Body> {
    json(&json!({ "version": VERSION, "server": concat!("chimera-serve ", env!("CARGO_PKG_VERSION")) }))
}

pub(crate) async fn embed() -> Response<Body> {
    Fault::new(Kind::NotImplemented, "embeddings are not served").response(Dialect::Ollama)
}

pub(crate) async fn generate(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let (arrived, number) = (Instant::now(), app.number());
    let body = read(request, app.options.max_body, app.options.request_timeout).await;
    let job = body.and_then(|body| request::generate(&app, &body));
    answer::answer(&app, job, arrived, number).await
}

pub(crate) async fn chat(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let (arrived, number) = (Instant::now(), app.number());
    let body = read(request, app.options.max_body, app.options.request_timeout).await;
    let job = body.and_then(|body| request::chat(&app, &body));
    answer::answer(&app, job, arrived, number).await
}
