//! The adapter: probing, and loading a model into a session of its own thread.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelRef, Phase, Probe, Result, Session,
};
use chimera_engine::{EngineSession, LanguageModel, files::GraphFiles};
use chimera_onnx::quantise::{Calibrator, Ranges};

use crate::{
    audit::{self, Observed},
    calibrate, device,
    error::LoadError,
    library::{self, Loaded},
    model::{MAX_BATCH, OrtModel, PREFILL_CHUNK},
    options::{Optimisation, Options, Provider, Shapes, Spinning},
};

/// ONNX Runtime in this process.
#[derive(Debug, Clone)]
pub struct OnnxRuntimeBackend {
    id: BackendId,
    clock: Arc<dyn Clock>,
    library: PathBuf,
    models: Option<PathBuf>,
    options: Options,
}

/// Makes an [`OnnxRuntimeBackend`].
#[derive(Debug, Clone)]
#[must_use]
pub struct OnnxRuntimeBackendBuilder {
    backend: OnnxRuntimeBackend,
}

impl OnnxRuntimeBackendBuilder {
    /// Another name than `onnxruntime`.
    pub fn id(mut self, id: BackendId) -> Self {
        self.backend.id = id;
        self
    }

    /// The folder in which a model without a path is looked for: `NAME/model.onnx`.
    pub fn models_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.backend.models = Some(folder.into());
        self
    }

    /// Another provider than the CPU. Whether it is there is found out by probing and loading.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.backend.options.provider = provider;
        self
    }

    /// How far graphs are optimised: as far as possible unless told otherwise.
    pub fn optimisation(mut self, optimisation: Optimisation) -> Self {
        self.backend.options.optimisation = optimisation;
        self
    }

    /// Threads that compute one operator; unless told otherwise, as many as [`crate::threads`] says.
    pub fn threads(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.backend.options.threads = threads;
        self
    }

    /// What threads do that wait for work: they spin, as ONNX Runtime lets them by default.
    pub fn spinning(mut self, spinning: Spinning) -> Self {
        self.backend.options.spinning = spinning;
        self
    }

    /// Whether the memory of a call is planned from the shapes of the last one like it. It is.
    pub fn memory_pattern(mut self, planned: bool) -> Self {
        self.backend.options.memory_pattern = planned;
        self
    }

    /// Whether memory on the CPU is kept for the next call. It is.
    pub fn arena(mut self, kept: bool) -> Self {
        self.backend.options.arena = kept;
        self
    }

    /// Sessions of fixed shape beside the dynamic one.
    pub fn shapes(mut self, shapes: Shapes) -> Self {
        self.backend.options.shapes = shapes;
        self
    }

    /// Profiles every call of the dynamic session into a file whose name begins so. It costs time in every operator:
    /// nothing that is measured with it is a result.
    pub fn profile(mut self, start: impl Into<PathBuf>) -> Self {
        self.backend.options.profile = Some(start.into());
        self
    }

    /// The backend.
    #[must_use]
    pub fn build(self) -> OnnxRuntimeBackend {
        self.backend
    }
}

impl OnnxRuntimeBackend {
    /// A backend on the CPU whose events are stamped by `clock`. `library` is the path of `libonnxruntime`, or its bare
    /// name, which the system looks for; it is opened by the first probe or load. A process can have one.
    pub fn builder(clock: impl Clock, library: impl Into<PathBuf>) -> OnnxRuntimeBackendBuilder {
        OnnxRuntimeBackendBuilder {
            backend: Self {
                id: BackendId::new("onnxruntime"),
                clock: Arc::new(clock),
                library: library.into(),
                models: None,
                options: Options::default(),
            },
        }
    }

    /// Loads a model without a session around it, for tests and benches that call it directly.
    ///
    /// # Errors
    /// As [`InferenceBackend::load`].
    pub fn language_model(&self, model: &ModelRef, options: &LoadOptions) -> Result<Box<dyn LanguageModel>> {
        let name = model.name.to_string();
        let located = self.locate(model)?;
        let library = self.open()?;
        let model = OrtModel::load(&name, &located, options, &library, &self.options)
            .map_err(|error| error.into_backend(&self.id, &name))?;
        Ok(Box::new(model))
    }

    /// Writes a model's graph as ONNX Runtime optimises it with this backend's options, and says what is in it. `to` is a
    /// file that is made; its graph is for this library and this kind of processor.
    ///
    /// # Errors
    /// As [`InferenceBackend::load`].
    pub fn optimised(&self, model: &ModelRef, to: &Path) -> Result<Observed> {
        let name = model.name.to_string();
        let located = self.locate(model)?;
        let library = self.open()?;
        audit::optimised(&library, &located.graph, &self.options, to)
            .map_err(|error| error.into_backend(&self.id, &name))
    }

    /// Runs each sequence of token ids through a graph and shows the values of every output that it has beside its logits and
    /// its cache: what a calibrator of quantised graphs looks at. The ids must be of a text that no evaluation uses.
    ///
    /// # Errors
    /// As [`InferenceBackend::load`]; [`BackendError::Unsupported`] for a graph without such outputs and for a sequence
    /// beyond its context.
    pub fn activations(
        &self,
        model: &ModelRef,
        sequences: &[Vec<u32>],
        see: &mut dyn FnMut(&str, &[f32]),
    ) -> Result<()> {
        let name = model.name.to_string();
        let located = self.locate(model)?;
        let library = self.open()?;
        calibrate::activations(&library, &located, &self.options, sequences, see)
            .map_err(|error| error.into_backend(&self.id, &name))
    }

    /// Runs sequences of token ids through a graph and lets a calibrator choose the range of every activation that
    /// [`chimera_onnx::quantise::static_int8`] quantises. The ids must be of a text that no evaluation uses.
    ///
    /// # Errors
    /// As [`OnnxRuntimeBackend::activations`]; [`BackendError::Unsupported`] for an activation that shows no finite value.
    pub fn ranges(&self, model: &ModelRef, sequences: &[Vec<u32>], calibrator: Calibrator) -> Result<Ranges> {
        let name = model.name.to_string();
        let located = self.locate(model)?;
        let library = self.open()?;
        calibrate::ranges(&library, &located, &self.options, sequences, calibrator)
            .map_err(|error| error.into_backend(&self.id, &name))
    }

    fn locate(&self, model: &ModelRef) -> Result<GraphFiles> {
        GraphFiles::locate(model, self.models.as_deref())
            .map_err(|error| error.into_backend(&self.id, &model.name))
    }

    /// The library, with a provider that can be used.
    fn open(&self) -> Result<Loaded> {
        let library = library::load(&self.library).map_err(|error| BackendError::Unavailable {
            backend: self.id.clone(),
            reason: format!("{error} ({})", error.remedy()),
        })?;
        match device::obstacle(&library, &self.options) {
            None => Ok(library),
            Some(obstacle) => Err(LoadError::Unavailable(obstacle.to_string()).into_backend(&self.id, "")),
        }
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
        capabilities.deterministic = self.options.provider == Provider::Cpu;
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

    /// What is worth recording of the options.
    fn details(&self, path: &Path) -> Vec<(String, String)> {
        let options = &self.options;
        let on = |set: bool| if set { "on" } else { "off" }.to_owned();
        let mut details: Vec<(String, String)> = vec![
            ("library".into(), path.display().to_string()),
            ("provider".into(), options.provider.to_string()),
            ("threads".into(), options.threads().to_string()),
            ("spinning".into(), options.spinning.to_string()),
            ("optimisation".into(), options.optimisation.to_string()),
            ("memory-pattern".into(), on(options.memory_pattern)),
            ("arena".into(), on(options.arena)),
        ];
        if let Shapes::Fixed(most) = options.shapes {
            details.push(("fixed-shapes".into(), most.to_string()));
        }
        if options.provider != Provider::Cpu {
            details
                .push(("hardware".into(), "this provider was never run on hardware by its authors".into()));
        }
        details
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl InferenceBackend for OnnxRuntimeBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    async fn probe(&self) -> Result<Probe> {
        let (availability, version, build) = match library::load(&self.library) {
            Err(error) => {
                let obstacle =
                    Availability::LibraryMissing { reason: error.to_string(), remedy: error.remedy() };
                (obstacle, None, None)
            }
            Ok(library) => {
                let obstacle = device::obstacle(&library, &self.options);
                (obstacle.unwrap_or(Availability::Ready), Some(library.version), Some(ort::info()))
            }
        };
        let mut details = self.details(&self.library);
        details.extend(build.map(|build| ("build".to_owned(), build.to_owned())));
        Ok(Probe { availability, capabilities: self.capabilities(), version, details })
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let (this, model, options) = (self.clone(), model.clone(), options.clone());
        let load = move || this.language_model(&model, &options);
        Ok(Arc::new(EngineSession::start(self.id.clone(), Arc::clone(&self.clock), load).await?))
    }
}
