//! One server as a backend: how it is reached, what it declares, and how a model becomes a session.

use std::sync::Arc;

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelRef, Phase, Probe, Result, Session,
};
use chimera_wire::{Client, Connector, Endpoint, Lag, LagMeter, Limits, Proxy, WireError};

use crate::{
    ask::Held,
    detect::{self, Found},
    flavour::Flavour,
    refusal::{KEY, teller},
    server::Server,
    session::OpenAiSession,
};

/// Where llama.cpp's server listens unless it is told otherwise.
const PORT: u16 = 8080;

/// Makes an [`OpenAiBackend`].
#[derive(Debug)]
pub struct OpenAiBuilder {
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    id: Option<BackendId>,
    bearer: Option<Secret>,
    proxy: Option<Proxy>,
    connector: Option<Arc<dyn Connector>>,
    limits: Limits,
    settings: Settings,
}

/// What a backend does with a server.
#[derive(Debug, Clone)]
struct Settings {
    flavour: Flavour,
    parallel: Option<u32>,
    deterministic: bool,
    completions: bool,
    chat: bool,
    cache_prompt: bool,
    context: Option<u32>,
    phases: Option<Vec<Phase>>,
}

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl OpenAiBuilder {
    /// Another name than `openai@host:port`.
    #[must_use]
    pub fn id(mut self, id: BackendId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sends a key with every request. It is never shown.
    #[must_use]
    pub fn bearer(mut self, key: impl Into<String>) -> Self {
        self.bearer = Some(Secret(key.into()));
        self
    }

    /// Goes through a proxy. Without this call none is used.
    #[must_use]
    pub fn proxy(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy;
        self
    }

    /// Sockets of another reactor.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// How long and how much is waited for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Says what kind of server it is. By default that is found out at every probe and load.
    #[must_use]
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.settings.flavour = flavour;
        self
    }

    /// Declares that the server runs this many generations at once. llama.cpp is asked for its slots; others cannot be asked.
    #[must_use]
    pub fn parallel(mut self, generations: u32) -> Self {
        self.settings.parallel = Some(generations.max(1));
        self
    }

    /// Declares that the same request always has the same answer. Some engines differ with what was cached or ran beside it.
    #[must_use]
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.settings.deterministic = deterministic;
        self
    }

    /// Whether raw prompts are offered (`/completions`), as they are by default. Servers that only chat do not have it, which
    /// a load finds out where it asks for a token.
    #[must_use]
    pub fn completions(mut self, completions: bool) -> Self {
        self.settings.completions = completions;
        self
    }

    /// Whether chats are offered (`/chat/completions`), as they are by default.
    #[must_use]
    pub fn chat(mut self, chat: bool) -> Self {
        self.settings.chat = chat;
        self
    }

    /// Whether llama.cpp may answer a prompt's beginning from its cache (`cache_prompt`). By default not, so that a prefill
    /// is one.
    #[must_use]
    pub fn cache_prompt(mut self, cache: bool) -> Self {
        self.settings.cache_prompt = cache;
        self
    }

    /// Tokens of context, for servers that do not tell. What a server tells goes before it.
    #[must_use]
    pub fn context(mut self, context: u32) -> Self {
        self.settings.context = Some(context.max(1));
        self
    }

    /// The durations that this server reports with every answer, prefill and decode at most; others are left out of the
    /// events. By default both of llama.cpp and LM Studio, and none of other kinds.
    #[must_use]
    pub fn reports(mut self, phases: &[Phase]) -> Self {
        let known = [Phase::Prefill, Phase::Decode].into_iter().filter(|phase| phases.contains(phase));
        self.settings.phases = Some(known.collect());
        self
    }

    /// The backend. Nothing is connected yet.
    ///
    /// # Errors
    /// [`WireError::Address`] for a key that no header can hold.
    pub fn build(self) -> std::result::Result<OpenAiBackend, WireError> {
        let id = self.id.unwrap_or_else(|| BackendId::new(format!("openai@{}", self.endpoint.authority())));
        let root = rooted(&self.endpoint)?;
        let mut client = Client::builder(root, Arc::clone(&self.clock)).limits(self.limits).proxy(self.proxy);
        if let Some(connector) = self.connector {
            client = client.connector(connector);
        }
        let secret = self.bearer.as_ref().map(|secret| secret.0.as_str());
        if let Some(key) = secret {
            client = client.bearer(key)?;
        }
        let teller = teller(id, secret);
        let server = Server { client: client.build()?, clock: self.clock, teller };
        Ok(OpenAiBackend { server: Arc::new(server), settings: self.settings })
    }
}

/// The address without `/v1` at its end: what a server has beside OpenAI's interface lies there.
fn rooted(endpoint: &Endpoint) -> std::result::Result<Endpoint, WireError> {
    let shown = endpoint.to_string();
    match shown.strip_suffix("/v1") {
        Some(root) => Endpoint::parse(root, endpoint.port()),
        None => Ok(endpoint.clone()),
    }
}

/// A server that speaks OpenAI's interface.
#[derive(Debug)]
pub struct OpenAiBackend {
    server: Arc<Server>,
    settings: Settings,
}

impl OpenAiBackend {
    /// A backend for the server at `endpoint` (with or without `/v1`), whose stamps are those of `clock`.
    #[must_use]
    pub fn builder(endpoint: Endpoint, clock: Arc<dyn Clock>) -> OpenAiBuilder {
        OpenAiBuilder {
            endpoint,
            clock,
            id: None,
            bearer: None,
            proxy: None,
            connector: None,
            limits: Limits::default(),
            settings: Settings {
                flavour: Flavour::Auto,
                parallel: None,
                deterministic: false,
                completions: true,
                chat: true,
                cache_prompt: false,
                context: None,
                phases: None,
            },
        }
    }

    /// A builder from what the environment says: `OPENAI_BASE_URL` (this machine's port 8080 otherwise, never a host far
    /// away), `OPENAI_API_KEY`, and the proxy variables.
    ///
    /// # Errors
    /// [`WireError::Address`] for an address or a proxy that cannot be used.
    pub fn builder_from_env(clock: Arc<dyn Clock>) -> std::result::Result<OpenAiBuilder, WireError> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let base = set("OPENAI_BASE_URL").unwrap_or_else(|| "127.0.0.1".to_owned());
        let endpoint = Endpoint::parse(&base, PORT)?;
        let proxy = Proxy::from_env(&endpoint)?;
        let builder = Self::builder(endpoint, clock).proxy(proxy);
        Ok(match set("OPENAI_API_KEY") {
            Some(key) => builder.bearer(key.trim()),
            None => builder,
        })
    }

    /// The backend that the environment names; see [`Self::builder_from_env`].
    ///
    /// # Errors
    /// The same.
    pub fn from_env(clock: Arc<dyn Clock>) -> std::result::Result<Self, WireError> {
        Self::builder_from_env(clock)?.build()
    }

    /// The server's address, without `/v1`.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.server.client.endpoint()
    }

    /// How late this client was so far.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.server.client.lag()
    }

    /// The meter of that lag, for whoever reports it when the backend is gone.
    #[must_use]
    pub fn lag_meter(&self) -> Arc<LagMeter> {
        self.server.client.lag_meter()
    }

    /// The names of the models that the server lists.
    ///
    /// # Errors
    /// Why it lists none.
    pub async fn models(&self) -> Result<Vec<String>> {
        let found = detect::find(&self.server, self.settings.flavour).await?;
        Ok(found.models.into_iter().map(|model| model.id).collect())
    }

    fn phases(&self, flavour: Flavour) -> Vec<Phase> {
        self.settings.phases.clone().unwrap_or_else(|| flavour.phases().to_vec())
    }

    fn capabilities(&self, flavour: Flavour, slots: Option<u32>) -> Capabilities {
        let settings = &self.settings;
        let mut capabilities = Capabilities::default();
        capabilities.token_counts = flavour.counts();
        capabilities.exact_budget = flavour.ignores_eos();
        capabilities.token_prompts = flavour.takes_ids() && settings.completions;
        capabilities.chat = settings.chat;
        capabilities.tokenize = flavour.tokenizes();
        capabilities.deterministic = settings.deterministic;
        capabilities.max_batch = Some(1);
        capabilities.max_in_flight = settings.parallel.or(slots);
        capabilities.phases =
            self.phases(flavour).into_iter().map(|phase| (phase, ClockSource::Server)).collect();
        capabilities
    }
}

/// Whether a listing leaves open if the model is in memory.
fn may_be_absent(flavour: Flavour, resident: Option<bool>) -> bool {
    match flavour {
        // They serve the models that they were started with.
        Flavour::Vllm | Flavour::SgLang | Flavour::Tgi => false,
        Flavour::LlamaCpp => resident == Some(false),
        _ => resident != Some(true),
    }
}

#[async_trait]
impl InferenceBackend for OpenAiBackend {
    fn id(&self) -> &BackendId {
        self.server.teller.id()
    }

    async fn probe(&self) -> Result<Probe> {
        let endpoint = self.server.client.endpoint().to_string();
        let mut details = vec![("endpoint".to_owned(), endpoint.clone())];
        match detect::find(&self.server, self.settings.flavour).await {
            Ok(Found { flavour, evidence, version, models, slots }) => {
                details.push(("flavour".to_owned(), flavour.to_string()));
                details.push(("evidence".to_owned(), evidence));
                details.push(("models".to_owned(), models.len().to_string()));
                let capabilities = self.capabilities(flavour, slots);
                Ok(Probe { availability: Availability::Ready, capabilities, version, details })
            }
            Err(error) => {
                let remedy = format!("start the server, or set OPENAI_BASE_URL; where it wants a key, {KEY}");
                let availability =
                    Availability::Unreachable { reason: self.server.teller.why(&endpoint, &error), remedy };
                let capabilities = self.capabilities(self.settings.flavour, None);
                Ok(Probe { availability, capabilities, version: None, details })
            }
        }
    }

    /// Finds the model among those that the server lists. Where a listing does not show that it is in memory, one token is
    /// asked for, which makes it so. A context cannot be asked for, only compared with the one that the server has.
    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let server = &self.server;
        if !(self.settings.completions || self.settings.chat) {
            return Err(server.teller.unsupported("anything: completions and chats were both switched off"));
        }
        let mut found = detect::find(server, self.settings.flavour).await?;
        let listed = found.model(server, &model.name)?;
        let mut held = Held {
            model: listed.id.clone(),
            flavour: found.flavour,
            cache_prompt: self.settings.cache_prompt,
            completions: self.settings.completions,
            chat: self.settings.chat,
        };
        if may_be_absent(found.flavour, listed.resident) {
            let nudged = server.once(held.nudge(server.teller.id())?, &model.name).await;
            if held.completions && held.chat && matches!(nudged, Err(BackendError::Unsupported { .. })) {
                // It only chats.
                held.completions = false;
                server.once(held.nudge(server.teller.id())?, &model.name).await?;
            } else {
                nudged?;
            }
            if listed.resident == Some(false) {
                // What a model gets of its context is told once it is in memory.
                found = detect::find(server, found.flavour).await?;
            }
        }
        let mut info = found.model(server, &model.name)?.describe(&model.name);
        info.context = info.context.or(self.settings.context);
        if let (Some(wanted), Some(has)) = (options.context, info.context)
            && wanted > has
        {
            return Err(server.teller.invalid(format_args!(
                "a context of {wanted} tokens, where the server gives {has}: start it with more, or ask for less"
            )));
        }
        let phases = self.phases(found.flavour);
        Ok(Arc::new(OpenAiSession::new(Arc::clone(server), held, info, phases)))
    }
}
