//! The adapter: probing, and loading a model into a session of its own thread.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelRef, Phase, Probe, Result, Session,
};

use crate::threads;

/// Positions that one prefill step reads: as many as llama.cpp's own programs compute at once.
pub(crate) const PREFILL_CHUNK: usize = 512;

/// Most lanes in one batch.
pub(crate) const MAX_BATCH: usize = 64;

/// llama.cpp in this process.
#[derive(Debug, Clone)]
pub struct LlamaCppBackend {
    id: BackendId,
    #[cfg_attr(
        not(feature = "llamacpp"),
        expect(dead_code, reason = "nothing is stamped without llama.cpp")
    )]
    clock: Arc<dyn Clock>,
    models: Option<PathBuf>,
    gpu_layers: u32,
}

/// Makes a [`LlamaCppBackend`].
#[derive(Debug, Clone)]
pub struct LlamaCppBackendBuilder {
    backend: LlamaCppBackend,
}

impl LlamaCppBackendBuilder {
    /// Another name than `llamacpp`.
    #[must_use]
    pub fn id(mut self, id: BackendId) -> Self {
        self.backend.id = id;
        self
    }

    /// The folder in which a model without a path is looked for: `NAME/` or `NAME.gguf`.
    #[must_use]
    pub fn models_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.backend.models = Some(folder.into());
        self
    }

    /// How many layers a GPU computes; none unless asked. Needs a feature for that GPU. Never run on hardware.
    #[must_use]
    pub fn gpu_layers(mut self, layers: u32) -> Self {
        self.backend.gpu_layers = layers;
        self
    }

    /// The backend.
    #[must_use]
    pub fn build(self) -> LlamaCppBackend {
        self.backend
    }
}

impl LlamaCppBackend {
    /// A backend on the CPU whose events are stamped by `clock`.
    pub fn builder(clock: impl Clock) -> LlamaCppBackendBuilder {
        let id = BackendId::new("llamacpp");
        LlamaCppBackendBuilder { backend: Self { id, clock: Arc::new(clock), models: None, gpu_layers: 0 } }
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
        // Sums on the CPU are always split the same way; those of GPU libraries need not be.
        capabilities.deterministic = self.gpu_layers == 0;
        capabilities.max_batch = u32::try_from(MAX_BATCH).ok();
        // Others wait in a queue.
        capabilities.max_in_flight = Some(1);
        capabilities.prefill_chunk = u32::try_from(PREFILL_CHUNK).ok();
        capabilities.stamps = ClockSource::Engine;
        capabilities.phases = [Phase::Queue, Phase::Tokenize, Phase::Prefill, Phase::Decode]
            .map(|p| (p, ClockSource::Engine))
            .to_vec();
        capabilities
    }

    /// Whether llama.cpp is here and computes where it is asked to.
    fn availability(&self) -> Availability {
        #[cfg(not(feature = "llamacpp"))]
        return Availability::NotCompiled {
            reason: "this binary was built without the feature llamacpp".into(),
            remedy: "cargo xtask fetch llama-cpp, which brings what building it needs; cargo xtask then builds with it".into(),
        };
        #[cfg(feature = "llamacpp")]
        if self.gpu_layers > 0 && !crate::native::has_gpu() {
            let features = compiled_devices();
            match features.as_str() {
                "none" => Availability::NotCompiled {
                    reason: "this llama.cpp was built without a GPU's feature".into(),
                    remedy: "build with --features llamacpp-cuda, llamacpp-metal or llamacpp-vulkan, or use the CPU".into(),
                },
                _ => Availability::NoDevice {
                    reason: format!("llama.cpp was built for {features} and finds no such device"),
                    remedy: "install the driver, or use the CPU".into(),
                },
            }
        } else {
            Availability::Ready
        }
    }

    fn unavailable(&self, obstacle: &Availability) -> BackendError {
        BackendError::Unavailable { backend: self.id.clone(), reason: obstacle.to_string() }
    }
}

/// GPU libraries that are compiled in.
fn compiled_devices() -> String {
    let features: Vec<&str> = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("vulkan", cfg!(feature = "vulkan")),
    ]
    .iter()
    .filter(|(_, on)| *on)
    .map(|(name, _)| *name)
    .collect();
    if features.is_empty() {
        "none".to_owned()
    } else {
        format!("{} (not run on hardware)", features.join(" "))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl InferenceBackend for LlamaCppBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    async fn probe(&self) -> Result<Probe> {
        let detail = |name: &str, value: String| (name.to_owned(), value);
        let device = if self.gpu_layers == 0 { "cpu" } else { "gpu" };
        let mut details = vec![
            detail("device", device.to_owned()),
            detail("threads", threads().to_string()),
            detail("gpu-features", compiled_devices()),
        ];
        #[cfg(feature = "llamacpp")]
        details.extend(crate::native::details());
        #[cfg(feature = "llamacpp")]
        let version = Some(crate::native::VERSION.to_owned());
        #[cfg(not(feature = "llamacpp"))]
        let version = None;
        details.sort();
        Ok(Probe { availability: self.availability(), capabilities: self.capabilities(), version, details })
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let obstacle = self.availability();
        if !obstacle.is_ready() {
            return Err(self.unavailable(&obstacle));
        }
        self.start(model, options).await
    }
}

impl LlamaCppBackend {
    #[cfg(feature = "llamacpp")]
    async fn start(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        use chimera_engine::{
            EngineSession, LanguageModel,
            files::{FileError, Located, locate},
        };

        let name = model.name.to_string();
        let file = match locate(model, self.models.as_deref()) {
            Ok(Located::Gguf(path)) => Ok(path),
            Ok(Located::Safetensors { weights, .. }) => Err(FileError::Unsupported(format!(
                "{}: llama.cpp takes GGUF; `chimera models convert` writes it",
                weights.display()
            ))),
            Err(error) => Err(error),
        };
        let file = file.map_err(|error| error.into_backend(&self.id, &name))?;
        let (id, options, gpu_layers) = (self.id.clone(), options.clone(), self.gpu_layers);
        let load = move || {
            let model = crate::native::Model::load(&name, &file, &options, gpu_layers)
                .map_err(|error| error.into_backend(&id, &name))?;
            Ok(Box::new(model) as Box<dyn LanguageModel>)
        };
        let thread = crate::native::thread().map_err(|error| error.into_backend(&self.id))?;
        let (id, clock) = (self.id.clone(), Arc::clone(&self.clock));
        Ok(Arc::new(EngineSession::start_in(thread, id, clock, load).await?))
    }

    #[cfg(not(feature = "llamacpp"))]
    async fn start(&self, _: &ModelRef, _: &LoadOptions) -> Result<Arc<dyn Session>> {
        Err(self.unavailable(&self.availability()))
    }
}
