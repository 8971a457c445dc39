//! The adapter: probing, building an engine ahead of time, and loading a model into a session of its own thread.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelRef, Phase, Probe, Result, Session,
};
use chimera_engine::{EngineSession, LanguageModel, files::GraphFiles};

use crate::{
    cache::EngineCache,
    engine::{self, ReadyEngine},
    error::TensorRtError,
    graph::Source,
    options::{BuildOptions, Capability, Specialisation},
    profile::Profiles,
};

/// What probes and reports say of this adapter until somebody has run it.
const HARDWARE: &str = "never run on hardware: engines were built and audited with NVIDIA's library on machines without \
                        a GPU, and no pass has run on one";

/// Lanes and tokens of a piece of a prompt that engines are built for unless profiles are given.
const LANES: u32 = 8;
const CHUNK: u32 = 256;

/// TensorRT in this process.
#[derive(Debug, Clone)]
pub struct TensorRtBackend {
    id: BackendId,
    clock: Arc<dyn Clock>,
    models: Option<PathBuf>,
    pub(crate) settings: Settings,
}

/// How engines are found, built and run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) libraries: Option<PathBuf>,
    pub(crate) cache: Option<EngineCache>,
    pub(crate) profiles: Option<Profiles>,
    pub(crate) options: BuildOptions,
    pub(crate) specialisation: Specialisation,
    pub(crate) lanes: u32,
    pub(crate) chunk: u32,
}

impl Settings {
    /// The profiles of an engine for a context.
    pub(crate) fn profiles(&self, context: u32) -> std::result::Result<Profiles, TensorRtError> {
        match &self.profiles {
            Some(profiles) => Ok(profiles.clone()),
            None => Ok(Profiles::for_generation(self.lanes, self.chunk, context)?),
        }
    }

    fn max_batch(&self) -> u32 {
        self.profiles.as_ref().map_or(self.lanes, Profiles::max_batch).min(crate::model::MAX_BATCH as u32)
    }

    fn max_chunk(&self) -> u32 {
        self.profiles.as_ref().map_or(self.chunk, Profiles::max_chunk)
    }
}

/// Makes a [`TensorRtBackend`].
#[derive(Debug, Clone)]
pub struct TensorRtBackendBuilder {
    backend: TensorRtBackend,
}

impl TensorRtBackendBuilder {
    /// Another name than `tensorrt`.
    #[must_use]
    pub fn id(mut self, id: BackendId) -> Self {
        self.backend.id = id;
        self
    }

    /// The folder in which a model without a path is looked for: `NAME/model.onnx`.
    #[must_use]
    pub fn models_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.backend.models = Some(folder.into());
        self
    }

    /// The folder with NVIDIA's libraries; else that of [`crate::VARIABLE`], else where the system's loader looks. A
    /// process keeps the first that it loads.
    #[must_use]
    pub fn libraries(mut self, folder: impl Into<PathBuf>) -> Self {
        self.backend.settings.libraries = Some(folder.into());
        self
    }

    /// Where built engines are kept. Without one every load builds.
    #[must_use]
    pub fn cache(mut self, cache: EngineCache) -> Self {
        self.backend.settings.cache = Some(cache);
        self
    }

    /// The shapes that engines are built for, instead of two profiles for generation.
    #[must_use]
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.backend.settings.profiles = Some(profiles);
        self
    }

    /// How engines are built. The capability is that of the device here unless another is named, and a device runs
    /// engines of its own capability alone.
    #[must_use]
    pub fn options(mut self, options: BuildOptions) -> Self {
        self.backend.settings.options = options;
        self
    }

    /// What the runtime does when a shape comes for the first time.
    #[must_use]
    pub fn specialisation(mut self, specialisation: Specialisation) -> Self {
        self.backend.settings.specialisation = specialisation;
        self
    }

    /// The backend.
    #[must_use]
    pub fn build(self) -> TensorRtBackend {
        self.backend
    }
}

impl TensorRtBackend {
    /// A backend whose events are stamped by `clock`.
    pub fn builder(clock: impl Clock) -> TensorRtBackendBuilder {
        let settings = Settings {
            libraries: None,
            cache: None,
            profiles: None,
            options: BuildOptions::new(Capability::Current),
            specialisation: Specialisation::default(),
            lanes: LANES,
            chunk: CHUNK,
        };
        let (id, clock) = (BackendId::new("tensorrt"), Arc::new(clock));
        TensorRtBackendBuilder { backend: Self { id, clock, models: None, settings } }
    }

    /// Builds a model's engine, or takes it from the cache, and runs nothing. For a named compute capability no device is
    /// needed. It blocks for as long as the builder takes.
    ///
    /// # Errors
    /// No library, no such model, a graph that is not sound or not supported, or the builder's own refusal.
    pub fn build_engine(
        &self,
        model: &ModelRef,
        options: &LoadOptions,
    ) -> std::result::Result<ReadyEngine, TensorRtError> {
        let source = Source::read(&GraphFiles::locate(model, self.models.as_deref())?, options)?;
        engine::ready(&source, &self.settings)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.token_counts = true;
        capabilities.exact_budget = true;
        capabilities.prefill_only = true;
        capabilities.token_prompts = true;
        capabilities.tokenize = true;
        // Where the model brings a template.
        capabilities.chat = true;
        capabilities.scoring = true;
        capabilities.logits = true;
        // The same kernels in the same order; nobody has seen it on a device, so it is not promised.
        capabilities.deterministic = false;
        capabilities.max_batch = Some(self.settings.max_batch());
        // Others wait in a queue.
        capabilities.max_in_flight = Some(1);
        capabilities.prefill_chunk = Some(self.settings.max_chunk());
        capabilities.stamps = ClockSource::Engine;
        capabilities.phases = vec![
            (Phase::Queue, ClockSource::Engine),
            (Phase::Tokenize, ClockSource::Engine),
            (Phase::Prefill, ClockSource::Device),
            (Phase::Decode, ClockSource::Device),
        ];
        capabilities
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl InferenceBackend for TensorRtBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    async fn probe(&self) -> Result<Probe> {
        let found = engine::found(&self.settings);
        let detail = |name: &str, value: String| (name.to_owned(), value);
        let features = if cfg!(feature = "tensorrt") { "tensorrt" } else { "none" };
        let mut details = vec![detail("features", features.to_owned())];
        details.extend(found.library.map(|place| detail("library", place)));
        details.extend(found.device.map(|device| detail("device", device)));
        details.push(detail("hardware", HARDWARE.to_owned()));
        Ok(Probe {
            availability: found.availability,
            capabilities: self.capabilities(),
            version: found.version,
            details,
        })
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let name = model.name.to_string();
        let located = GraphFiles::locate(model, self.models.as_deref())
            .map_err(|error| error.into_backend(&self.id, &name))?;
        let (id, name, options, settings) =
            (self.id.clone(), name.clone(), options.clone(), self.settings.clone());
        let load = move || {
            let resident = Source::read(&located, &options)
                .and_then(|source| engine::resident(&name, &source, &settings))
                .map_err(|error| error.into_backend(&id, &name))?;
            Ok::<Box<dyn LanguageModel>, BackendError>(resident)
        };
        Ok(Arc::new(EngineSession::start(self.id.clone(), Arc::clone(&self.clock), load).await?))
    }
}

/// What probing has found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) availability: Availability,
    pub(crate) version: Option<String>,
    pub(crate) library: Option<String>,
    pub(crate) device: Option<String>,
}
