//! From a request to the answer that the script gives it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::script::{Answer, Asked, Protocol, Script, ScriptModel, rfc3339};

use super::{
    compile::{Asks, Prepared, compile},
    parse::Incoming,
};

/// Answers of models that are kept ready, and the largest of them in bytes.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 << 20;

/// What a request gets.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) prepared: Arc<Prepared>,
    pub(super) model: Option<String>,
    /// The load of the model, which precedes all steps.
    pub(super) load: Duration,
    pub(super) prompt_tokens: u32,
}

impl Routed {
    fn plain(answer: &Answer, asks: Asks) -> Self {
        Self {
            prepared: Arc::new(compile(answer, asks, None)),
            model: None,
            load: Duration::ZERO,
            prompt_tokens: 0,
        }
    }
}

/// What of a request changes the bytes of a stream, but for the numbers at its end.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    model: usize,
    protocol: Protocol,
    limit: Option<u32>,
    usage: bool,
    asks: Asks,
}

/// A script with its memory.
#[derive(Debug)]
pub(super) struct Router {
    script: Script,
    used: Vec<u32>,
    resident: Vec<bool>,
    ready: HashMap<Key, Arc<Prepared>>,
    created: (String, u64),
}

impl Router {
    pub(super) fn new(script: Script) -> Self {
        let now = SystemTime::now();
        let unix = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self {
            used: vec![0; script.rules.len()],
            resident: script.models.iter().map(|model| model.resident).collect(),
            ready: HashMap::new(),
            created: (rfc3339(now), unix),
            script,
        }
    }

    /// The answer to a request that is none.
    pub(super) fn refusal(status: u16, reason: &str) -> Prepared {
        let answer = Answer::json(status, &json!({ "error": reason }));
        let mut prepared = compile(&answer, Asks::default(), None);
        prepared.closes = true;
        prepared.head.extend_from_slice(b"connection: close\r\n");
        prepared
    }

    pub(super) fn answer(&mut self, request: &Incoming) -> Routed {
        let asks = Asks { old: request.old, head_only: request.method == "HEAD" };
        for (rule, used) in self.script.rules.iter().zip(&mut self.used) {
            let free = rule.when.times.is_none_or(|times| *used < times);
            if free && rule.when.matches(&request.method, &request.path, &request.body) {
                *used = used.saturating_add(1);
                return Routed::plain(&rule.answer, asks);
            }
        }
        let method = if asks.head_only { "GET" } else { request.method.as_str() };
        match (method, Protocol::at(&request.path)) {
            ("POST", Some(protocol)) => self.generate(protocol, request, asks),
            (_, Some(protocol)) => {
                Routed::plain(&Answer::json(405, &protocol.error(405, "method not allowed")), asks)
            }
            (method, None) => Routed::plain(&self.manage(method, &request.path, &request.body), asks),
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        let bare = name.strip_suffix(":latest").unwrap_or(name);
        self.script.models.iter().position(|m| m.name.strip_suffix(":latest").unwrap_or(&m.name) == bare)
    }

    fn generate(&mut self, protocol: Protocol, request: &Incoming, asks: Asks) -> Routed {
        let refuse = |status, message: &str| {
            Routed::plain(&Answer::json(status, &protocol.error(status, message)), asks)
        };
        let mut asked = match Asked::parse(protocol, &request.body, self.created.clone()) {
            Ok(asked) => asked,
            Err(reason) => return refuse(400, &reason),
        };
        let found = self.find(&asked.model).and_then(|i| self.script.models.get(i).map(|model| (i, model)));
        let Some((index, model)) = found else {
            return refuse(404, &format!("model '{}' not found", asked.model));
        };
        let name = Some(model.name.clone());
        let Some(resident) = self.resident.get_mut(index) else {
            return refuse(404, &format!("model '{}' not found", asked.model));
        };
        let load = if *resident || (asked.empty && asked.unload) { Duration::ZERO } else { model.load };
        *resident = !asked.unload;
        asked.load = load;
        if asked.empty && protocol.is_ollama() {
            let mut routed = Routed::plain(&loaded(protocol, model, &asked), asks);
            (routed.model, routed.load) = (name, load);
            return routed;
        }
        let prompt_tokens = asked.prompt_tokens;
        // The numbers at the end of a stream are rendered when they are due; all else is the same for the same key.
        let key = asked.stream.then_some(Key {
            model: index,
            protocol,
            limit: asked.limit,
            usage: asked.usage,
            asks,
        });
        if let Some(prepared) = key.as_ref().and_then(|key| self.ready.get(key)) {
            return Routed { prepared: Arc::clone(prepared), model: name, load, prompt_tokens };
        }
        let fault = model.fault.as_ref().map(|fault| fault.kind.name().to_owned());
        let prepared = Arc::new(compile(&model.answer(protocol, &asked), asks, fault));
        if let Some(key) = key
            && prepared.blob.len() <= KEPT_BYTES
        {
            if self.ready.len() >= KEPT {
                self.ready.clear();
            }
            self.ready.insert(key, Arc::clone(&prepared));
        }
        Routed { prepared, model: name, load, prompt_tokens }
    }

    /// What clients ask of a server before they generate.
    fn manage(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let models = || self.script.models.iter();
        match (method, path) {
            ("GET", "/") => Answer::body(200, "text/plain; charset=utf-8", "Ollama is running"),
            ("GET", "/api/version") => Answer::json(200, &json!({ "version": "0.0.0" })),
            ("GET", "/api/tags") => {
                let all: Vec<Value> = models().map(|model| self.listed(model)).collect();
                Answer::json(200, &json!({ "models": all }))
            }
            ("GET", "/api/ps") => {
                let all: Vec<Value> = models()
                    .zip(&self.resident)
                    .filter(|(_, resident)| **resident)
                    .map(|(model, _)| {
                        let mut listed = self.listed(model);
                        listed["expires_at"] = json!("2318-09-01T00:00:00Z");
                        listed["size_vram"] = json!(0);
                        listed["context_length"] = json!(model.context);
                        listed
                    })
                    .collect();
                Answer::json(200, &json!({ "models": all }))
            }
            ("POST", "/api/show") => {
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                let name = body["model"].as_str().or(body["name"].as_str()).unwrap_or_default();
                match self.find(name).and_then(|i| self.script.models.get(i)) {
                    Some(model) => Answer::json(200, &shown(model)),
                    None => Answer::json(404, &json!({ "error": format!("model '{name}' not found") })),
                }
            }
            ("GET", "/v1/models") => {
                let all: Vec<Value> = models()
                    .map(|model| {
                        json!({ "id": model.name, "object": "model", "created": self.created.1, "owned_by": "script" })
                    })
                    .collect();
                Answer::json(200, &json!({ "object": "list", "data": all }))
            }
            ("GET", "/health") => Answer::json(200, &json!({ "status": "ok" })),
            _ => Answer::json(404, &json!({ "error": format!("{method} {path}: the script has no answer") })),
        }
    }

    fn listed(&self, model: &ScriptModel) -> Value {
        json!({
            "name": model.name,
            "model": model.name,
            "modified_at": self.created.0,
            "size": SIZE,
            "digest": digest(&model.name),
            "details": details(),
        })
    }
}

/// Bytes and parameters that every model of a script claims, after a small Llama.
const SIZE: u64 = 144_810_464;
const PARAMETERS: u64 = 134_515_008;

fn details() -> Value {
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "134.52M",
        "quantization_level": "Q8_0",
    })
}

fn shown(model: &ScriptModel) -> Value {
    json!({
        "modelfile": format!("FROM {}\n", model.name),
        "template": "{{ .Prompt }}",
        "details": details(),
        "model_info": {
            "general.architecture": "llama",
            "general.parameter_count": PARAMETERS,
            "llama.attention.head_count": 9,
            "llama.attention.head_count_kv": 3,
            "llama.block_count": 30,
            "llama.context_length": model.context,
            "llama.embedding_length": 576,
            "llama.vocab_size": 49_152,
        },
        "capabilities": ["completion"],
    })
}

/// 64 hexadecimal digits that depend on the name alone (FNV-1a, four times); nothing was hashed but the name.
fn digest(name: &str) -> String {
    (0..4u8)
        .map(|salt| {
            let hash = name
                .bytes()
                .chain([salt])
                .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
            format!("{hash:016x}")
        })
        .collect()
}

/// Ollama's answer to a request without a prompt.
fn loaded(protocol: Protocol, model: &ScriptModel, asked: &Asked) -> Answer {
    let mut done = json!({
        "model": model.name,
        "created_at": asked.created.0,
        "done": true,
        "done_reason": if asked.unload { "unload" } else { "load" },
    });
    if protocol == Protocol::OllamaChat {
        done["message"] = json!({ "role": "assistant", "content": "" });
    } else {
        done["response"] = json!("");
    }
    Answer::json(200, &done)
}
