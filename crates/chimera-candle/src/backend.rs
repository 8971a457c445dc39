//! The adapter: probing, and loading a model into a session of its own thread.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelRef, Phase, Probe, Result, Session,
};
use chimera_engine::{EngineSession, LanguageModel, files::locate};

use crate::{
    CandleDevice,
    device::{instruction_sets, threads},
    model::{CandleModel, MAX_BATCH, PREFILL_CHUNK},
};

/// Version of the library that computes.
const CANDLE: &str = "0.11.1";

/// Candle in this process.
#[derive(Debug, Clone)]
pub struct CandleBackend {
    id: BackendId,
    clock: Arc<dyn Clock>,
    models: Option<PathBuf>,
    device: CandleDevice,
}

/// Makes a [`CandleBackend`].
#[derive(Debug, Clone)]
pub struct CandleBackendBuilder {
    backend: CandleBackend,
}

impl CandleBackendBuilder {
    /// Another name than `candle`.
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

    /// Another device than the CPU. Whether it is there is found out by probing and loading.
    #[must_use]
    pub fn device(mut self, device: CandleDevice) -> Self {
        self.backend.device = device;
        self
    }

    /// The backend.
    #[must_use]
    pub fn build(self) -> CandleBackend {
        self.backend
    }
}

impl CandleBackend {
    /// A backend on the CPU whose events are stamped by `clock`.
    pub fn builder(clock: impl Clock) -> CandleBackendBuilder {
        let id = BackendId::new("candle");
        CandleBackendBuilder {
            backend: Self { id, clock: Arc::new(clock), models: None, device: CandleDevice::Cpu },
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.token_counts = true;
        capabilities.exact_budget = true;
        capabilities.prefill_only = true;
        capabilities.token_prompts = true;
        capabilities.tokenize = true;
        // Of models that bring a template; the others say that they do not.
        capabilities.chat = true;
        capabilities.scoring = true;
        capabilities.logits = true;
        // Sums on the CPU are always split the same way; those of GPU libraries need not be.
        capabilities.deterministic = self.device == CandleDevice::Cpu;
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
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl InferenceBackend for CandleBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    async fn probe(&self) -> Result<Probe> {
        let availability = match self.device.open() {
            Ok(_) => Availability::Ready,
            Err(obstacle) => obstacle,
        };
        let features: Vec<&str> = [("cuda", cfg!(feature = "cuda")), ("metal", cfg!(feature = "metal"))]
            .iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| *name)
            .collect();
        let detail = |name: &str, value: String| (name.to_owned(), value);
        Ok(Probe {
            availability,
            capabilities: self.capabilities(),
            version: Some(CANDLE.to_owned()),
            details: vec![
                detail("device", self.device.to_string()),
                detail("threads", threads().to_string()),
                detail("instruction-sets", instruction_sets().join(" ")),
                detail("features", if features.is_empty() { "none".to_owned() } else { features.join(" ") }),
            ],
        })
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let device = self.device.open().map_err(|obstacle| BackendError::Unavailable {
            backend: self.id.clone(),
            reason: obstacle.to_string(),
        })?;
        let name = model.name.to_string();
        let located = locate(model, self.models.as_deref()).map_err(|e| e.into_backend(&self.id, &name))?;
        let (id, options) = (self.id.clone(), options.clone());
        let load = move || {
            let model = CandleModel::load(&name, &located, &options, &device)
                .map_err(|error| error.into_backend(&id, &name))?;
            Ok(Box::new(model) as Box<dyn LanguageModel>)
        };
        Ok(Arc::new(EngineSession::start(self.id.clone(), Arc::clone(&self.clock), load).await?))
    }
}
