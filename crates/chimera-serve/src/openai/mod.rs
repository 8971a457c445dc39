//! OpenAI's interface as local servers offer it: models, completions and chat completions. Nothing that needs an
//! account, files or tools is here, and no embeddings.

mod answer;
mod request;

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{Request, Response},
};
use serde_json::{Value, json};

use crate::{
    ServedModel,
    app::App,
    http::{
        body::{json, read},
        date::unix,
        fault::{Dialect, Fault, Kind},
    },
};

fn entry(app: &App, model: &ServedModel) -> Value {
    json!({ "id": model.name, "object": "model", "created": unix(app.started), "owned_by": "chimera-serve" })
}

pub(crate) async fn models(State(app): State<Arc<App>>) -> Response<Body> {
    let data: Vec<Value> = app.models.iter().map(|model| entry(&app, model)).collect();
    json(&json!({ "object": "list", "data": data }))
}

pub(crate) async fn model(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response<Body> {
    match app.model(&id) {
        Ok(model) => json(&entry(&app, model)),
        Err(fault) => fault.response(Dialect::OpenAi),
    }
}

pub(crate) async fn embed() -> Response<Body> {
    Fault::new(Kind::NotImplemented, "embeddings are not served").response(Dialect::OpenAi)
}

pub(crate) async fn completions(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let (arrived, number) = (Instant::now(), app.number());
    let body = read(request, app.options.max_body, app.options.request_timeout).await;
    let job = body.and_then(|body| request::completions(&app, &body));
    answer::answer(&app, job, arrived, number).await
}

pub(crate) async fn chat(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let (arrived, number) = (Instant::now(), app.number());
    let body = read(request, app.options.max_body, app.options.request_timeout).await;
    let job = body.and_then(|body| request::chat(&app, &body));
    answer::answer(&app, job, arrived, number).await
}
