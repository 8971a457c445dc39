//! The simulated device and its builder. How a generation runs is in `stream`.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use chimera_core::{
    Availability, BackendError, BackendId, Capabilities, Clock, ClockSource, InferenceBackend, LoadOptions,
    ModelRef, Phase, Probe, Result, Session, SystemClock,
};

use crate::{
    Fault, LoadFault, Noise, SimModel,
    laws::whole,
    noise::{Purpose, factor, generator, name_hash},
    session::SimSession,
};

/// A backend whose times follow [`crate::Laws`] and whose faults are declared: ground truth for whatever measures it.
///
/// ```
/// use std::sync::Arc;
/// use chimera_core::{BackendExt, Request, SessionExt};
/// use chimera_sim::{SimBackend, SimModel, VirtualClock};
///
/// let sim = SimBackend::builder()
///     .clock(Arc::new(VirtualClock::new()))
///     .model(SimModel::power("small", 1_000_000, 0.8, 20.0))
///     .model(SimModel::power("large", 64_000_000, 0.8, 20.0))
///     .build();
/// futures_executor::block_on(async {
///     let session = sim.load_named("small").await?;
///     let answer = session.run(Request::text("hello", 8).exact()).await.map_err(|e| e.error)?;
///     assert_eq!(answer.generated, Some(8));
///     session.unload().await
/// })
/// .unwrap();
/// ```
#[derive(Debug)]
pub struct SimBackend {
    device: Arc<Device>,
    models: HashMap<String, SimModel>,
    availability: Availability,
}

/// What all sessions of one backend value share.
pub(crate) struct Device {
    pub(crate) id: BackendId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) capabilities: Capabilities,
    pub(crate) seed: u64,
    pub(crate) block: u64,
    pub(crate) noise: Noise,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) tokens_per_chunk: u32,
    pub(crate) prompt_cache: bool,
    /// Generations begun on this value.
    pub(crate) generations: AtomicU64,
    used: AtomicBool,
    loads: AtomicU64,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("seed", &self.seed)
            .field("block", &self.block)
            .field("noise", &self.noise)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// Whether a phase is among the declared ones.
    pub(crate) fn reports(&self, phase: Phase) -> bool {
        self.capabilities.phases.iter().any(|&(declared, _)| declared == phase)
    }
}

impl SimBackend {
    /// A builder with no model, the machine's clock, seed 0, block 0 and no noise.
    #[must_use]
    pub fn builder() -> SimBuilder {
        SimBuilder::default()
    }
}

/// Builds a [`SimBackend`].
#[derive(Debug)]
pub struct SimBuilder {
    id: BackendId,
    clock: Arc<dyn Clock>,
    capabilities: Capabilities,
    availability: Availability,
    models: HashMap<String, SimModel>,
    noise: Noise,
    seed: u64,
    block: u64,
    faults: Vec<(u64, Fault)>,
    tokens_per_chunk: u32,
    prompt_cache: bool,
}

impl Default for SimBuilder {
    fn default() -> Self {
        let mut capabilities = Capabilities::default();
        capabilities.token_counts = true;
        capabilities.exact_budget = true;
        capabilities.prefill_only = true;
        capabilities.token_prompts = true;
        capabilities.chat = true;
        capabilities.tokenize = true;
        capabilities.scoring = true;
        capabilities.logits = true;
        capabilities.deterministic = true;
        capabilities.max_batch = Some(8);
        capabilities.max_in_flight = Some(4);
        capabilities.prefill_chunk = Some(64);
        capabilities.stamps = ClockSource::Engine;
        capabilities.phases = [Phase::Queue, Phase::Prefill, Phase::Decode, Phase::Total]
            .map(|phase| (phase, ClockSource::Engine))
            .to_vec();
        Self {
            id: BackendId::new("sim"),
            clock: Arc::new(SystemClock::new()),
            capabilities,
            availability: Availability::Ready,
            models: HashMap::new(),
            noise: Noise::default(),
            seed: 0,
            block: 0,
            faults: Vec::new(),
            tokens_per_chunk: 1,
            prompt_cache: false,
        }
    }
}

impl SimBuilder {
    /// Names the backend; the default is `sim`.
    #[must_use]
    pub fn id(mut self, id: BackendId) -> Self {
        self.id = id;
        self
    }

    /// Sets the clock that stamps events and is slept on.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Adds a model, or replaces the one of the same name.
    #[must_use]
    pub fn model(mut self, model: SimModel) -> Self {
        self.models.insert(model.info.name.clone(), model);
        self
    }

    /// Adds several models.
    #[must_use]
    pub fn models(self, models: impl IntoIterator<Item = SimModel>) -> Self {
        models.into_iter().fold(self, Self::model)
    }

    /// Sets the noise; the default is none.
    #[must_use]
    pub fn noise(mut self, noise: Noise) -> Self {
        self.noise = noise;
        self
    }

    /// Sets the seed of the noise. What a model says does not depend on it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets which block (process) of a study this value stands for: it chooses the noise of block and model.
    #[must_use]
    pub fn block(mut self, block: u64) -> Self {
        self.block = block;
        self
    }

    /// Makes a generation go wrong, counted from 0 over all sessions of the backend value.
    #[must_use]
    pub fn fault(mut self, generation: u64, fault: Fault) -> Self {
        self.faults.push((generation, fault));
        self
    }

    /// Puts this many tokens (at least one) into a chunk, as servers do.
    #[must_use]
    pub fn tokens_per_chunk(mut self, tokens: u32) -> Self {
        self.tokens_per_chunk = tokens.max(1);
        self
    }

    /// Lets a session remember its last prompt and skip what the next one has in common with it; one token is always
    /// read. Off by default: a KV cache starts empty.
    #[must_use]
    pub fn prompt_cache(mut self, on: bool) -> Self {
        self.prompt_cache = on;
        self
    }

    /// Changes what the backend declares, and with it what it does: a capability that is taken away is refused, counts
    /// and phases that are not declared are not told, `max_in_flight` is the number of places (who comes later waits in
    /// the queue), `prefill_chunk` is what a cancel takes at most, and without `deterministic` the same request says
    /// something else each time. Stamps stay the engine's; of phases it knows queue, prefill, decode and total.
    #[must_use]
    pub fn capabilities(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }

    /// Takes every optional capability away: the least a backend may be.
    #[must_use]
    pub fn modest(self) -> Self {
        self.capabilities(|all| *all = Capabilities::default())
    }

    /// Sets what a probe finds; the default is ready. A backend that is not ready loads nothing.
    #[must_use]
    pub fn availability(mut self, availability: Availability) -> Self {
        self.availability = availability;
        self
    }

    /// The backend. It cannot fail.
    #[must_use]
    pub fn build(self) -> SimBackend {
        let mut capabilities = self.capabilities;
        capabilities.stamps = ClockSource::Engine;
        capabilities.phases.retain(|(phase, source)| {
            *source == ClockSource::Engine
                && matches!(phase, Phase::Queue | Phase::Prefill | Phase::Decode | Phase::Total)
        });
        SimBackend {
            device: Arc::new(Device {
                id: self.id,
                clock: self.clock,
                capabilities,
                seed: self.seed,
                block: self.block,
                noise: self.noise,
                faults: self.faults,
                tokens_per_chunk: self.tokens_per_chunk,
                prompt_cache: self.prompt_cache,
                generations: AtomicU64::new(0),
                used: AtomicBool::new(false),
                loads: AtomicU64::new(0),
            }),
            models: self.models,
            availability: self.availability,
        }
    }
}

#[async_trait]
impl InferenceBackend for SimBackend {
    fn id(&self) -> &BackendId {
        &self.device.id
    }

    async fn probe(&self) -> Result<Probe> {
        Ok(Probe {
            availability: self.availability.clone(),
            capabilities: self.device.capabilities.clone(),
            version: Some(concat!("sim ", env!("CARGO_PKG_VERSION")).into()),
            details: vec![
                ("seed".into(), self.device.seed.to_string()),
                ("block".into(), self.device.block.to_string()),
            ],
        })
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let device = &self.device;
        if !self.availability.is_ready() {
            return Err(BackendError::Unavailable {
                backend: device.id.clone(),
                reason: self.availability.to_string(),
            });
        }
        let Some(found) = self.models.get(&*model.name) else {
            let mut known: Vec<&str> = self.models.keys().map(String::as_str).collect();
            known.sort_unstable();
            return Err(BackendError::ModelNotFound {
                backend: device.id.clone(),
                model: model.name.to_string(),
                reason: format!("it knows {}", known.join(", ")),
            });
        };
        let mut found = found.clone();
        if let Some(asked) = options.context {
            let own = found.info.context.unwrap_or(u32::MAX);
            if asked > own || asked == 0 {
                return Err(BackendError::InvalidRequest {
                    backend: device.id.clone(),
                    reason: format!("a context of {asked} tokens; the model's own is {own}"),
                });
            }
            found.info.context = Some(asked);
        }
        if found.load_fault == Some(LoadFault::Stall) {
            std::future::pending::<()>().await;
        }

        let name = &found.info.name;
        let index = device.loads.fetch_add(1, Ordering::Relaxed);
        let mut rng = generator(&[device.seed, device.block, name_hash(name), Purpose::Load as u64, index]);
        let mut ns = found.laws.load_ns
            * device.noise.level(device.seed, device.block, name, Purpose::Load)
            * factor(&mut rng, device.noise.step);
        if !device.used.swap(true, Ordering::Relaxed) {
            ns += found.laws.first_process_ns;
        }
        device.clock.sleep_until(device.clock.now().after(whole(ns))).await;
        match found.load_fault {
            Some(LoadFault::OutOfMemory) => {
                return Err(BackendError::OutOfMemory {
                    backend: device.id.clone(),
                    reason: format!("the weights of {name} do not fit"),
                });
            }
            Some(LoadFault::Invalid) => {
                return Err(BackendError::ModelInvalid {
                    backend: device.id.clone(),
                    model: name.clone(),
                    reason: "its weights are damaged".into(),
                });
            }
            Some(LoadFault::Stall) | None => {}
        }
        Ok(Arc::new(SimSession::new(Arc::clone(device), found)))
    }
}
