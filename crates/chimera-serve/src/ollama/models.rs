//! `/api/tags`, `/api/ps` and `/api/show`: what is known of the served models. What nobody knows is left out, and most
//! is known only once a model was resident.

use std::{sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use chimera_core::ModelInfo;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    ServedModel,
    app::App,
    http::{
        body::{json, parse, read},
        date::rfc3339,
        fault::{Dialect, Fault},
    },
};

/// What stands for a date that never comes.
const NEVER: &str = "9999-12-31T23:59:59Z";

pub(crate) async fn tags(State(app): State<Arc<App>>) -> Response<Body> {
    let models: Vec<Value> = app.models.iter().map(|model| entry(&app, model)).collect();
    json(&json!({ "models": models }))
}

fn entry(app: &App, model: &ServedModel) -> Value {
    let info = app.residents.known(&model.reference.name);
    let mut entry = Map::new();
    entry.insert("name".into(), json!(model.name));
    entry.insert("model".into(), json!(model.name));
    let file =
        model.reference.path.as_ref().and_then(|path| path.metadata().ok()).filter(|meta| meta.is_file());
    let modified = file.as_ref().and_then(|meta| meta.modified().ok()).unwrap_or(app.started);
    entry.insert("modified_at".into(), json!(rfc3339(modified)));
    if let Some(meta) = file {
        entry.insert("size".into(), json!(meta.len()));
    }
    if let Some(digest) = info.as_ref().and_then(|info| info.digest.as_ref()) {
        entry.insert("digest".into(), json!(digest));
    }
    entry.insert("details".into(), details(model, info.as_ref()));
    Value::Object(entry)
}

fn details(model: &ServedModel, info: Option<&ModelInfo>) -> Value {
    let mut details = Map::new();
    if let Some(path) = &model.reference.path {
        let format = if path.extension().is_some_and(|ext| ext == "gguf") { "gguf" } else { "safetensors" };
        details.insert("format".into(), json!(format));
    }
    if let Some(parameters) = info.and_then(|info| info.parameters) {
        details.insert("parameter_size".into(), json!(size(parameters.total)));
    }
    if let Some(quantisation) = info.and_then(|info| info.quantisation.as_ref()) {
        details.insert("quantization_level".into(), json!(quantisation));
    }
    Value::Object(details)
}

/// A parameter count as Ollama writes it: `134.52M`.
fn size(count: u64) -> String {
    let n = count as f64;
    match count {
        1_000_000_000.. => format!("{:.1}B", n / 1e9),
        1_000_000.. => format!("{:.2}M", n / 1e6),
        1_000.. => format!("{:.2}K", n / 1e3),
        _ => count.to_string(),
    }
}

pub(crate) async fn ps(State(app): State<Arc<App>>) -> Response<Body> {
    let mut models = Vec::new();
    for resident in app.residents.list() {
        let Some(model) = app.models.iter().find(|model| model.reference.name == resident.name) else {
            continue;
        };
        let mut entry = Map::new();
        entry.insert("name".into(), json!(model.name));
        entry.insert("model".into(), json!(model.name));
        if let Some(digest) = &resident.info.digest {
            entry.insert("digest".into(), json!(digest));
        }
        entry.insert("details".into(), details(model, Some(&resident.info)));
        entry.insert("expires_at".into(), json!(resident.expires.map_or_else(|| NEVER.into(), rfc3339)));
        if let Some(context) = resident.context {
            entry.insert("context_length".into(), json!(context));
        }
        models.push(Value::Object(entry));
    }
    json(&json!({ "models": models }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShowBody {
    model: Option<String>,
    /// The old name of the field.
    name: Option<String>,
}

pub(crate) async fn show(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let body = read(request, app.options.max_body, app.options.request_timeout).await;
    match body.and_then(|body| describe(&app, &body)) {
        Ok(value) => json(&value),
        Err(fault) => fault.response(Dialect::Ollama),
    }
}

fn describe(app: &App, body: &[u8]) -> Result<Value, Fault> {
    let body: ShowBody = parse(body)?;
    let name = body.model.or(body.name).filter(|name| !name.is_empty());
    let model = app.model(&name.ok_or_else(|| Fault::bad("model is required"))?)?;
    let info = app.residents.known(&model.reference.name);
    let mut facts = Map::new();
    if let Some(info) = &info {
        let rows = [
            ("general.parameter_count", info.parameters.map(|p| p.total)),
            ("chimera.block_count", info.layers.map(u64::from)),
            ("chimera.embedding_length", info.width.map(u64::from)),
            ("chimera.attention.head_count", info.heads.map(u64::from)),
            ("chimera.attention.head_count_kv", info.kv_heads.map(u64::from)),
            ("chimera.vocab_size", info.vocabulary.map(u64::from)),
            ("chimera.context_length", info.context.map(u64::from)),
        ];
        for (key, value) in rows {
            if let Some(value) = value {
                facts.insert(key.into(), json!(value));
            }
        }
    }
    let modified =
        entry(app, model).get("modified_at").cloned().unwrap_or_else(|| json!(rfc3339(SystemTime::now())));
    Ok(json!({
        "details": details(model, info.as_ref()),
        "model_info": facts,
        "capabilities": ["completion"],
        "modified_at": modified,
    }))
}
