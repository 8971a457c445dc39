//! What all requests share, and the way of a request: who may ask, which route it is, what is counted. The endpoints are
//! in the dialects.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Request, Response},
    routing::{get, post},
};
use chimera_core::{Capabilities, Message};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::{
    ServeOptions, ServedModel,
    http::{
        auth,
        body::text,
        fault::{Dialect, Fault, Kind},
    },
    ollama, openai,
    work::{
        ask::{Ask, Input},
        metrics::Metrics,
        queue::Queue,
        residents::Residents,
        run::Run,
        template,
    },
};

/// The shared state of one server.
pub(crate) struct App {
    pub(crate) options: ServeOptions,
    pub(crate) models: Vec<ServedModel>,
    pub(crate) capabilities: Capabilities,
    pub(crate) queue: Queue,
    pub(crate) residents: Arc<Residents>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started: SystemTime,
    /// No new work any more.
    pub(crate) draining: AtomicBool,
    /// Running generations end now.
    pub(crate) cut: watch::Sender<bool>,
    requests: AtomicU64,
    /// Requests whose answer has not begun.
    answering: AtomicUsize,
}

/// Every path that is answered; anything else is counted under one name.
const ROUTES: [&str; 16] = [
    "/",
    "/healthz",
    "/metrics",
    "/api/version",
    "/api/tags",
    "/api/ps",
    "/api/show",
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/api/embeddings",
    "/v1/models",
    "/v1/models/{id}",
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/embeddings",
];

impl App {
    pub(crate) fn new(
        options: ServeOptions,
        models: Vec<ServedModel>,
        capabilities: Capabilities,
        residents: Arc<Residents>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            queue: Queue::new(options.slots, options.queue),
            options,
            models,
            capabilities,
            residents,
            metrics,
            started: SystemTime::now(),
            draining: AtomicBool::new(false),
            cut: watch::Sender::new(false),
            requests: AtomicU64::new(0),
            answering: AtomicUsize::new(0),
        }
    }

    /// The served model of a name; `name` and `name:latest` are the same.
    pub(crate) fn model(&self, name: &str) -> Result<&ServedModel, Fault> {
        let bare = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
        let exact = self.models.iter().find(|model| model.name == name);
        exact.or_else(|| self.models.iter().find(|model| bare(&model.name) == bare(name))).ok_or_else(|| {
            let shown: String = name.chars().take(200).collect();
            Fault::new(Kind::ModelNotFound, format!("model '{shown}' not found"))
        })
    }

    /// The number of a generation, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether a request waits for its answer or a generation runs.
    pub(crate) fn busy(&self) -> bool {
        self.answering.load(Ordering::SeqCst) > 0 || self.metrics.in_flight.load(Ordering::SeqCst) > 0
    }

    /// Turns messages into an input that the backend takes.
    pub(crate) fn chat(&self, messages: Vec<Message>) -> Result<Input, Fault> {
        if self.capabilities.chat {
            return Ok(Input::Chat(messages));
        }
        if !self.options.plain_chat {
            return Err(template::none());
        }
        Ok(Input::Text(template::lines(&messages)))
    }

    /// Starts a generation within the limits of time, unless the server stops first.
    pub(crate) async fn begin(self: &Arc<Self>, ask: Ask, arrived: Instant) -> Result<Run, Fault> {
        let mut cut = self.cut.subscribe();
        let deadline = arrived + self.options.request_timeout;
        tokio::select! {
            run = Run::begin(self, ask, arrived) => run,
            () = tokio::time::sleep_until(deadline.into()) => Err(Fault::timeout(self.options.request_timeout)),
            () = raised(&mut cut) => Err(Fault::draining()),
        }
    }
}

/// Resolves once the flag is up, and when nobody can put it up any more.
pub(crate) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|up| *up).await;
}

/// A seed for who gave none.
pub(crate) fn any_seed() -> u64 {
    // Each state has its own random keys.
    RandomState::new().hash_one(0_u8)
}

/// Headers that the answers of a generation carry.
pub(crate) fn mark(headers: &mut HeaderMap, number: u64, cut: u32) {
    headers.insert("x-chimera-request", HeaderValue::from(number));
    if cut > 0 {
        headers.insert("x-chimera-truncated", HeaderValue::from(cut));
    }
}

/// The table of routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(ollama::root))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/api/version", get(ollama::version))
        .route("/api/tags", get(ollama::tags))
        .route("/api/ps", get(ollama::ps))
        .route("/api/show", post(ollama::show))
        .route("/api/generate", post(ollama::generate))
        .route("/api/chat", post(ollama::chat))
        .route("/api/embed", post(ollama::embed))
        .route("/api/embeddings", post(ollama::embed))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{*id}", get(openai::model))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/embeddings", post(openai::embed))
        .method_not_allowed_fallback(async |request: Request<Body>| {
            let (method, path) = (request.method(), request.uri().path());
            Fault::new(Kind::Method, format!("{method} is not for {path}")).response(Dialect::of(path))
        })
        .fallback(async |request: Request<Body>| {
            let path = request.uri().path();
            let shown: String = path.chars().take(200).collect();
            Fault::new(Kind::NoRoute, format!("nothing is at {shown}")).response(Dialect::of(path))
        })
        .with_state(app)
}

struct Answering<'a>(&'a AtomicUsize);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers one request.
pub(crate) async fn answer(app: Arc<App>, router: Router, request: Request<Body>) -> Response<Body> {
    app.answering.fetch_add(1, Ordering::SeqCst);
    let _answering = Answering(&app.answering);
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    let route = route(path);
    let refusal = match &app.options.token {
        _ if route == "/healthz" => None,
        Some(token) if !auth::allowed(request.headers(), token) => {
            let message = "this server needs its token: send it as `Authorization: Bearer …`";
            Some(Fault::new(Kind::Unauthorized, message))
        }
        _ if app.draining.load(Ordering::Relaxed) && route != "/metrics" => Some(Fault::draining()),
        _ => None,
    };
    let response = match refusal {
        Some(fault) => fault.response(dialect),
        None => match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
    };
    app.metrics.request(route, response.status().as_u16());
    response
}

fn route(path: &str) -> &'static str {
    if path.strip_prefix("/v1/models/").is_some_and(|id| !id.is_empty()) {
        return "/v1/models/{id}";
    }
    ROUTES.iter().find(|known| **known == path).copied().unwrap_or("other")
}

async fn health(State(app): State<Arc<App>>) -> Response<Body> {
    if app.draining.load(Ordering::Relaxed) {
        return Fault::draining().response(Dialect::Ollama);
    }
    text("ok\n")
}

async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    let resident = app.residents.list().len();
    let mut response = text(app.metrics.text(app.queue.depth(), resident));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, kind);
    response
}
