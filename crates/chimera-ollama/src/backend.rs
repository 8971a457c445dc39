//! One server as a backend: how it is reached, what it declares, and how a model becomes resident.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelInfo, ModelRef, Phase, Probe, Result, Session,
};
use chimera_wire::{Client, Connector, Endpoint, Lag, LagMeter, Limits, Proxy, WireError};

use crate::{
    api::{ModelFacts, Progress, Resident, Stored, same_name},
    ask::Held,
    gguf::{Gguf, is_gguf},
    manage::Server,
    refusal::teller,
    session::OllamaSession,
};

/// Where an Ollama listens unless it is told otherwise.
const PORT: u16 = 11434;
/// How long a probe waits for each of its answers: what is there says so at once, also where a model is being loaded.
const LOOK: Duration = Duration::from_secs(10);
/// The context when nobody says one: a model's own may take more memory than there is.
const CONTEXT: u32 = 4096;

/// How long a server may take to become free after a generation was dropped, unless the caller says otherwise.
const FREE: Duration = Duration::from_secs(60);

/// Makes an [`OllamaBackend`].
#[derive(Debug)]
pub struct OllamaBuilder {
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    id: Option<BackendId>,
    bearer: Option<Secret>,
    proxy: Option<Proxy>,
    connector: Option<Arc<dyn Connector>>,
    limits: Limits,
    templated: bool,
    context: Option<u32>,
    keep: Option<Duration>,
    threads: Option<u32>,
    parallel: Option<u32>,
    patience: Duration,
    deterministic: bool,
    phases: Vec<Phase>,
}

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl OllamaBuilder {
    /// Another name than `ollama@host:port`.
    #[must_use]
    pub fn id(mut self, id: BackendId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sends a key with every request. It is never shown.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(Secret(token.into()));
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

    /// Wraps texts into the model's template. By default a text is sent raw, as it is.
    #[must_use]
    pub fn templated(mut self, templated: bool) -> Self {
        self.templated = templated;
        self
    }

    /// Tokens of context where a load does not say. By default the model's own, 4096 at most.
    #[must_use]
    pub fn context(mut self, context: u32) -> Self {
        self.context = Some(context);
        self
    }

    /// How long a model stays resident after its last request; `None` for ever. By default half an hour.
    #[must_use]
    pub fn keep_alive(mut self, keep: Option<Duration>) -> Self {
        self.keep = keep;
        self
    }

    /// Threads of the server's engine (`num_thread`). By default the server chooses.
    #[must_use]
    pub fn threads(mut self, threads: Option<u32>) -> Self {
        self.threads = threads;
        self
    }

    /// How long a server may take to become free after a generation was dropped, before its model is unloaded to end whatever
    /// it does; a minute by default. What a slow server still computes is lost, so this is for servers known to be fast.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Declares that the server runs this many generations of one model at once (`OLLAMA_NUM_PARALLEL`). It cannot be asked.
    #[must_use]
    pub fn parallel(mut self, generations: u32) -> Self {
        self.parallel = Some(generations.max(1));
        self
    }

    /// Declares that the same request always has the same answer. Some engines differ with what was cached or ran beside it.
    #[must_use]
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self
    }

    /// The durations that this server reports with every answer; others are left out of the events. By default the four
    /// that every Ollama reports. For proxies that leave them out or make them up: none.
    #[must_use]
    pub fn reports(mut self, phases: &[Phase]) -> Self {
        self.phases = [Phase::Load, Phase::Prefill, Phase::Decode, Phase::Total]
            .into_iter()
            .filter(|phase| phases.contains(phase))
            .collect();
        self
    }

    /// The backend. Nothing is connected yet.
    ///
    /// # Errors
    /// [`WireError::Address`] for a key that no header can hold.
    pub fn build(self) -> std::result::Result<OllamaBackend, WireError> {
        let id = self.id.unwrap_or_else(|| BackendId::new(format!("ollama@{}", self.endpoint.authority())));
        let mut client =
            Client::builder(self.endpoint, Arc::clone(&self.clock)).limits(self.limits).proxy(self.proxy);
        if let Some(connector) = self.connector {
            client = client.connector(connector);
        }
        let secret = self.bearer.as_ref().map(|secret| secret.0.as_str());
        if let Some(token) = secret {
            client = client.bearer(token)?;
        }
        let teller = teller(id.clone(), secret);
        let server = Server { client: client.build()?, clock: self.clock, teller, patience: self.patience };
        let mut capabilities = Capabilities::default();
        capabilities.chat = true;
        capabilities.max_batch = Some(1);
        capabilities.max_in_flight = self.parallel;
        capabilities.deterministic = self.deterministic;
        capabilities.phases = self.phases.iter().map(|phase| (*phase, ClockSource::Server)).collect();
        Ok(OllamaBackend {
            server: Arc::new(server),
            capabilities,
            context: self.context,
            keep: self.keep,
            threads: self.threads,
            templated: self.templated,
            phases: self.phases,
        })
    }
}

/// An Ollama server.
#[derive(Debug)]
pub struct OllamaBackend {
    server: Arc<Server>,
    capabilities: Capabilities,
    context: Option<u32>,
    keep: Option<Duration>,
    threads: Option<u32>,
    templated: bool,
    phases: Vec<Phase>,
}

impl OllamaBackend {
    /// A backend for the server at `endpoint`, whose stamps are those of `clock`.
    #[must_use]
    pub fn builder(endpoint: Endpoint, clock: Arc<dyn Clock>) -> OllamaBuilder {
        OllamaBuilder {
            endpoint,
            clock,
            id: None,
            bearer: None,
            proxy: None,
            connector: None,
            limits: Limits::default(),
            templated: false,
            context: None,
            keep: Some(Duration::from_secs(30 * 60)),
            threads: None,
            parallel: None,
            patience: FREE,
            deterministic: false,
            phases: vec![Phase::Load, Phase::Prefill, Phase::Decode, Phase::Total],
        }
    }

    /// A builder from what the environment says: `OLLAMA_HOST` (this machine's port 11434 otherwise), `OLLAMA_API_KEY`, and
    /// the proxy variables.
    ///
    /// # Errors
    /// [`WireError::Address`] for an address or a proxy that cannot be used.
    pub fn builder_from_env(clock: Arc<dyn Clock>) -> std::result::Result<OllamaBuilder, WireError> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let host = set("OLLAMA_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
        let endpoint = Endpoint::parse(&host, PORT)?;
        let proxy = Proxy::from_env(&endpoint)?;
        let builder = Self::builder(endpoint, clock).proxy(proxy);
        Ok(match set("OLLAMA_API_KEY") {
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

    /// The server's address.
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

    /// The server's version as it calls itself.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] by servers older than the call; otherwise why nothing was answered.
    pub async fn version(&self) -> Result<String> {
        self.server.version().await
    }

    /// The models in the server's store.
    ///
    /// # Errors
    /// Why nothing was answered.
    pub async fn tags(&self) -> Result<Vec<Stored>> {
        self.server.tags().await
    }

    /// What the server knows of a model.
    ///
    /// # Errors
    /// [`BackendError::ModelNotFound`], or why nothing was answered.
    pub async fn show(&self, model: &str) -> Result<ModelFacts> {
        self.server.show(model).await
    }

    /// The models that are resident.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] by servers older than the call; otherwise why nothing was answered.
    pub async fn ps(&self) -> Result<Vec<Resident>> {
        self.server.ps().await
    }

    /// Makes a model of a GGUF file on this machine: its digest, its upload unless the server has it, and the model.
    ///
    /// # Errors
    /// [`BackendError::ModelInvalid`] for a file that cannot be used, or what the server says.
    pub async fn create_from_gguf(
        &self,
        name: &str,
        path: &Path,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<()> {
        let file = self.gguf(name, path).await?;
        self.server.create(name, &file, &mut progress).await
    }

    /// Lets the server fetch a model from its registry.
    ///
    /// # Errors
    /// What the server says, also in the middle.
    pub async fn pull(&self, name: &str, mut progress: impl FnMut(Progress) + Send) -> Result<()> {
        self.server.pull(name, &mut progress).await
    }

    /// Removes a model from the server's store.
    ///
    /// # Errors
    /// [`BackendError::ModelNotFound`], or why nothing was answered.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.server.delete(name).await
    }

    /// Frees a model's memory, whoever loaded it, and waits until it is no longer resident (five seconds at most).
    ///
    /// # Errors
    /// [`BackendError::ModelNotFound`], or why nothing was answered.
    pub async fn unload(&self, name: &str) -> Result<()> {
        self.server.unload(name).await
    }

    async fn gguf(&self, name: &str, path: &Path) -> Result<Gguf> {
        let invalid = |reason: String| BackendError::ModelInvalid {
            backend: self.server.teller.id().clone(),
            model: name.to_owned(),
            reason,
        };
        let (path, shown) = (path.to_owned(), path.display().to_string());
        let read = blocking::unblock(move || {
            if is_gguf(&path)? { Gguf::read(&path).map(Some) } else { Ok::<_, std::io::Error>(None) }
        });
        match read.await {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(invalid(format!("{shown} is no GGUF file"))),
            Err(error) => Err(invalid(format!("{shown}: {error}"))),
        }
    }

    /// The name that a model has on the server, and what the server says of it. A file is taken when the server has no such
    /// name, or has other weights under it.
    async fn find(&self, model: &ModelRef) -> Result<(String, ModelFacts)> {
        let known = self.server.show(&model.name).await;
        let file = model.path.as_deref().filter(|path| path.is_file());
        let absent = matches!(&known, Err(BackendError::ModelNotFound { .. }));
        let (Some(path), true) = (file, absent || known.is_ok()) else {
            return known.map(|facts| (model.name.to_string(), facts));
        };
        if let Ok(facts) = &known
            && facts.weights_sha256().is_none()
        {
            return known.map(|facts| (model.name.to_string(), facts));
        }
        let file = self.gguf(&model.name, path).await?;
        if let Ok(facts) = known
            && facts.weights_sha256() == Some(&file.sha256)
        {
            return Ok((model.name.to_string(), facts));
        }
        let name = file.name(&model.name);
        match self.server.show(&name).await {
            Ok(facts) => return Ok((name, facts)),
            Err(BackendError::ModelNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.server.create(&name, &file, &mut |_| {}).await.map_err(|error| match error {
            BackendError::Failed { backend, source } => BackendError::ModelInvalid {
                backend,
                model: model.name.to_string(),
                reason: format!("{}: {source}", path.display()),
            },
            other => other,
        })?;
        let facts = self.server.show(&name).await?;
        Ok((name, facts))
    }

    fn described(asked: &str, facts: &ModelFacts, digest: Option<String>, window: u32) -> ModelInfo {
        let mut info = ModelInfo::named(asked);
        info.digest = digest.filter(|digest| !digest.is_empty());
        info.parameters = facts.parameters();
        info.layers = facts.number("block_count");
        info.width = facts.number("embedding_length");
        info.heads = facts.number("attention.head_count");
        info.kv_heads = facts.number("attention.head_count_kv");
        info.vocabulary = facts.number("vocab_size");
        info.context = Some(window);
        let details = facts.details.as_ref();
        info.quantisation = details.and_then(|details| details.quantization_level.clone());
        // Some files do not say it, and a server says `unknown`.
        info.quantisation = info.quantisation.filter(|level| !level.is_empty() && level != "unknown");
        info
    }
}

/// A server's failure to load a model that it has is the model's.
fn unusable(error: BackendError, model: &str) -> BackendError {
    match error {
        BackendError::Failed { backend, source } => {
            let reason = source.to_string();
            let signs = ["unable to load model", "runner process", "unsupported model", "invalid file magic"];
            if signs.iter().any(|sign| reason.contains(sign)) {
                return BackendError::ModelInvalid { backend, model: model.to_owned(), reason };
            }
            BackendError::Failed { backend, source }
        }
        other => other,
    }
}

#[async_trait]
impl InferenceBackend for OllamaBackend {
    fn id(&self) -> &BackendId {
        self.server.teller.id()
    }

    async fn probe(&self) -> Result<Probe> {
        let server = &self.server;
        let endpoint = server.client.endpoint().to_string();
        let found = match server.soon(LOOK, server.version()).await {
            Ok(version) => Ok(Some(version)),
            // Older than the call, perhaps.
            Err(BackendError::Unsupported { .. }) => match server.soon(LOOK, server.greets()).await {
                Ok(true) => Ok(None),
                Ok(false) => Err(format!("what answers at {endpoint} is no Ollama")),
                Err(error) => Err(server.teller.why(&endpoint, &error)),
            },
            Err(error) => Err(server.teller.why(&endpoint, &error)),
        };
        let (availability, version) = match found {
            Ok(version) => (Availability::Ready, version),
            Err(reason) => {
                let remedy =
                    "start it with `ollama serve` (`cargo xtask fetch ollama` brings one), or set OLLAMA_HOST, and \
                     OLLAMA_API_KEY where a key is wanted"
                        .to_owned();
                (Availability::Unreachable { reason, remedy }, None)
            }
        };
        Ok(Probe {
            availability,
            capabilities: self.capabilities.clone(),
            version,
            details: vec![("endpoint".to_owned(), endpoint)],
        })
    }

    /// Asks what the model is, creates it from its GGUF file where the server lacks it, and makes it resident with an empty
    /// generation. The context is what `options` say, else what the builder says, else the model's own up to 4096.
    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let (name, facts) = self.find(model).await?;
        let own = facts.number("context_length");
        let context = options
            .context
            .or(self.context)
            .unwrap_or_else(|| own.map_or(CONTEXT, |own| own.min(CONTEXT)))
            .max(1);
        let held = Held {
            model: name.clone(),
            context,
            threads: self.threads,
            keep: self.keep,
            templated: self.templated,
        };
        let asked = held.loading(self.server.teller.id())?;
        self.server
            .once(asked.path, asked.json, &name)
            .await
            .map_err(|error| unusable(error, &model.name))?;
        // A server may give less than was asked, never more of it than the model has.
        let resident = self.server.resident(&name).await;
        let told = resident.as_ref().and_then(|resident| resident.context_length).filter(|told| *told > 0);
        let window = told.map_or(context, |told| told.min(context));
        let mut digest = resident.and_then(|resident| resident.digest);
        if digest.is_none() {
            let stored = self.server.tags().await.unwrap_or_default();
            digest = stored.into_iter().find(|stored| same_name(&stored.name, &name)).and_then(|s| s.digest);
        }
        let info = Self::described(&model.name, &facts, digest, window);
        let server = Arc::clone(&self.server);
        Ok(Arc::new(OllamaSession::new(server, held, info, window, self.phases.clone())))
    }
}
