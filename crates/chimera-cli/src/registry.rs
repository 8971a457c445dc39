//! The registry: which backends this program has, and where the weights of a design's models lie. It finds what is
//! there and makes what can be made from a seed; it downloads nothing ([`crate::prepare`] does, before a run).
//!
//! A backend behind a wire may be named with its address, `ollama@127.0.0.1:11434`: two servers are two backends, and a
//! record says by itself whom it is about.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use chimera_candle::CandleBackend;
use chimera_core::{BackendId, Clock, InferenceBackend};
use chimera_harness::{FoundModel, Missing, Registry, RegistryError};
use chimera_llamacpp::LlamaCppBackend;
use chimera_ollama::OllamaBackend;
use chimera_onnxruntime::{OnnxRuntimeBackend, Provider};
use chimera_openai::OpenAiBackend;
use chimera_records::{Audit, Build, FileRecord, LagRecord, ModelEntry};
use chimera_sim::{Noise, SimBackend, SimModel};
use chimera_tensorrt::{EngineCache, TensorRtBackend};
use chimera_wire::{Endpoint, LagMeter, Proxy, WireError, redacted};
use chimera_zoo::{ModelFiles, Origin, Variant, Work, Zoo, ZooError};

use crate::{
    absent::Absent,
    calibrated::{self, Calibration},
};

/// Backends of this program. Those behind a wire may have an address behind an `@`.
pub const BACKENDS: &[&str] = &[
    "candle",
    "llamacpp",
    "onnxruntime",
    "onnxruntime-cuda",
    "onnxruntime-tensorrt",
    "tensorrt",
    "ollama",
    "openai",
    "sim",
];

/// Port that Ollama listens on unless told otherwise.
pub const OLLAMA_PORT: u16 = 11434;

/// The text that models are judged by.
pub(crate) const EVALUATION: &str = include_str!("../../../fixtures/text/evaluation.txt");
/// The text that ranges of static quantisation are taken from.
pub(crate) const CALIBRATION: &str = include_str!("../../../fixtures/text/calibration.txt");
/// Texts that this program ships, by their paths in the checkout.
const TEXTS: &[(&str, &str)] =
    &[("fixtures/text/evaluation.txt", EVALUATION), ("fixtures/text/calibration.txt", CALIBRATION)];

/// The kind of a backend's name: what stands before the `@`.
#[must_use]
pub fn kind(name: &str) -> &str {
    name.split_once('@').map_or(name, |(kind, _)| kind)
}

/// Whether this program has a backend of this name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    BACKENDS.contains(&kind(name)) && (kind(name) == name || is_remote(name))
}

/// Whether a backend is a server, with a store of models of its own.
#[must_use]
pub fn is_remote(name: &str) -> bool {
    matches!(kind(name), "ollama" | "openai")
}

/// Backends and models of this machine.
#[derive(Debug)]
pub struct Lab {
    zoo: Zoo,
    /// When it was opened: what was made later, this run made.
    opened: SystemTime,
    /// Block whose process this is: the simulator draws its noise from it.
    block: u64,
    /// Threads that an engine on a server may use; none leaves it to the server.
    threads: Option<u32>,
    /// Lags of the clients that were made, by the names of their backends.
    meters: Mutex<Vec<(String, Arc<LagMeter>)>>,
}

impl Lab {
    /// The registry of this machine.
    ///
    /// # Errors
    /// The folder of the zoo cannot be made.
    pub fn open() -> Result<Self, ZooError> {
        Ok(Self {
            zoo: Zoo::open(crate::places::zoo())?,
            opened: SystemTime::now(),
            block: 0,
            threads: None,
            meters: Mutex::default(),
        })
    }

    /// The same for the process of one block.
    #[must_use]
    pub fn for_block(mut self, block: u32, threads: u32) -> Self {
        self.block = u64::from(block);
        self.threads = Some(threads);
        self
    }

    /// The files of a model in the form that a backend takes.
    fn files_for(&self, entry: &ModelEntry, backend: &str) -> Result<ModelFiles, Missing> {
        let variant = match kind(backend) {
            kind if provider(kind).is_some() || kind == "tensorrt" => as_onnx(&entry.variant),
            kind if is_remote(kind) || kind == "llamacpp" => as_gguf(&entry.variant),
            _ => entry.variant.clone(),
        };
        self.files(&entry.source, &variant)
    }

    /// Compares the files of a model with their recorded SHA-256.
    ///
    /// # Errors
    /// A file that is not what it was.
    pub fn verify(&self, entry: &ModelEntry, backend: &str) -> Result<(), String> {
        let files = self.files_for(entry, backend).map_err(|missing| missing.reason)?;
        files.verify().map_err(|error| error.to_string())
    }

    fn keep(&self, id: &str, meter: Arc<LagMeter>) {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).push((id.to_owned(), meter));
    }

    /// The Ollama backend of a name: its address from the name, else from `OLLAMA_HOST`.
    ///
    /// # Errors
    /// An address, a proxy or a key that cannot be used.
    pub fn ollama(&self, name: &str, clock: Arc<dyn Clock>) -> Result<OllamaBackend, WireError> {
        let builder = match name.split_once('@') {
            None => OllamaBackend::builder_from_env(clock)?,
            Some((_, address)) => {
                let endpoint = Endpoint::parse(address, OLLAMA_PORT)?;
                let proxy = Proxy::from_env(&endpoint)?;
                let builder = OllamaBackend::builder(endpoint, clock).proxy(proxy);
                match std::env::var("OLLAMA_API_KEY") {
                    Ok(key) if !key.trim().is_empty() => builder.bearer(key.trim()),
                    _ => builder,
                }
            }
        };
        builder.id(BackendId::new(name)).threads(self.threads).build()
    }

    /// The OpenAI-compatible backend of a name: its address from the name, else from `OPENAI_BASE_URL`.
    ///
    /// # Errors
    /// An address, a proxy or a key that cannot be used.
    pub fn openai(&self, name: &str, clock: Arc<dyn Clock>) -> Result<OpenAiBackend, WireError> {
        let builder = match name.split_once('@') {
            None => OpenAiBackend::builder_from_env(clock)?,
            Some((_, address)) => {
                let endpoint = Endpoint::parse(address, 80)?;
                let proxy = Proxy::from_env(&endpoint)?;
                let builder = OpenAiBackend::builder(endpoint, clock).proxy(proxy);
                match std::env::var("OPENAI_API_KEY") {
                    Ok(key) if !key.trim().is_empty() => builder.bearer(key.trim()),
                    _ => builder,
                }
            }
        };
        builder.id(BackendId::new(name)).build()
    }

    /// ONNX Runtime on a provider, on as many threads as the block has.
    fn onnxruntime(&self, id: &str, provider: Provider, clock: Arc<dyn Clock>) -> OnnxRuntimeBackend {
        let threads = self.threads.and_then(|threads| NonZeroUsize::new(threads as usize));
        OnnxRuntimeBackend::builder(clock, crate::places::onnxruntime())
            .id(BackendId::new(id))
            .provider(provider)
            .threads(threads)
            .build()
    }

    /// TensorRT, with the engines that were built before.
    fn tensorrt(&self, id: &str, clock: Arc<dyn Clock>) -> TensorRtBackend {
        let builder = TensorRtBackend::builder(clock)
            .id(BackendId::new(id))
            .cache(EngineCache::at(crate::places::engines()));
        match crate::places::tensorrt() {
            Some(folder) => builder.libraries(folder).build(),
            None => builder.build(),
        }
    }

    /// Whether a backend's name is one that can be recorded and reached: an address that can be read, without a password.
    /// Nothing is connected.
    ///
    /// # Errors
    /// What is wrong with the address, the proxy or the key.
    pub fn check(&self, name: &str) -> Result<(), RegistryError> {
        let clock = || Arc::new(chimera_core::SystemClock::new());
        match kind(name) {
            "ollama" => self.ollama(name, clock()).map(drop).map_err(|error| setup(name, &error)),
            "openai" => self.openai(name, clock()).map(drop).map_err(|error| setup(name, &error)),
            _ => Ok(()),
        }
    }

    /// The folder of models.
    #[must_use]
    pub fn zoo(&self) -> &Zoo {
        &self.zoo
    }

    /// Files of a model in one precision: found, made from its seed, or converted from a fetched file.
    ///
    /// # Errors
    /// What is missing and the remedy.
    pub fn files(&self, source: &str, variant: &str) -> Result<ModelFiles, Missing> {
        let missing = |error: ZooError| Missing { reason: error.to_string() };
        // "Q8_0 from Q4_1": for real weights the part before names what is written.
        let mut wanted = variant;
        if chimera_zoo::real_model(source).is_some() {
            let original = self.zoo.fetched(source).map_err(missing)?.ok_or_else(|| Missing {
                reason: format!(
                    "its weights are not on this machine: `cargo xtask models fetch {source}` downloads them (or run \
                     without --offline)"
                ),
            })?;
            if variant.ends_with("(original)") {
                return Ok(original);
            }
            wanted = variant.split(" from ").next().unwrap_or(variant);
        }
        if let Some(calibrator) = calibrated::of_variant(wanted) {
            if !wanted.ends_with("(ONNX)") {
                return Err(Missing {
                    reason: format!("`{variant}` is a graph, which this backend does not take"),
                });
            }
            let calibration = Calibration { text: CALIBRATION, evaluation: EVALUATION };
            return calibrated::files(&self.zoo, source, calibrator, calibration);
        }
        let wanted = generated_variant(wanted).ok_or_else(|| Missing {
            reason: format!("`{variant}` is not a precision that the zoo writes for this backend"),
        })?;
        // The zoo knows the hash of what it fetched; asking for a conversion of the file would read it again.
        self.zoo.ensure(source, wanted).map_err(missing)
    }
}

/// Whether the zoo makes or fetches the weights of this name.
pub(crate) fn is_ours(source: &str) -> bool {
    Zoo::spec(source).is_ok() || chimera_zoo::real_model(source).is_some()
}

/// The provider of ONNX Runtime that a backend of this kind is.
fn provider(kind: &str) -> Option<Provider> {
    match kind {
        "onnxruntime" => Some(Provider::Cpu),
        "onnxruntime-cuda" => Some(Provider::Cuda(0)),
        "onnxruntime-tensorrt" => Some(Provider::TensorRt(0)),
        _ => None,
    }
}

/// The form of a precision that servers and llama.cpp take: one GGUF file. The weights are the same.
fn as_gguf(variant: &str) -> String {
    match variant {
        "F32" | "F16" => format!("{variant} (GGUF)"),
        other => other.to_owned(),
    }
}

/// The form of a precision that ONNX Runtime and TensorRT take: one graph. "F32 from Q4_1" says where the weights come from, and the
/// graph is that of the first word.
fn as_onnx(variant: &str) -> String {
    format!("{} (ONNX)", variant.split(" from ").next().unwrap_or(variant))
}

/// A backend's name without what may be a password.
fn shown(name: &str) -> String {
    match name.split_once('@') {
        Some((kind, address)) if BACKENDS.contains(&kind) => format!("{kind}@{}", redacted(address)),
        _ => redacted(name),
    }
}

fn setup(id: &str, error: &WireError) -> RegistryError {
    RegistryError::Setup { id: shown(id), reason: error.to_string() }
}

fn generated_variant(text: &str) -> Option<Variant> {
    Some(match text {
        "F32" => Variant::F32Safetensors,
        "F16" => Variant::F16Safetensors,
        "F32 (GGUF)" => Variant::F32Gguf,
        "F16 (GGUF)" => Variant::F16Gguf,
        "F32 (ONNX)" => Variant::F32Onnx,
        "F16 (ONNX)" => Variant::F16Onnx,
        "INT8 dynamic (ONNX)" => Variant::Int8DynamicOnnx,
        "Q8_0" => Variant::Q8Gguf,
        "Q4_0" => Variant::Q4Gguf,
        _ => return None,
    })
}

/// Where weights come from, in one line.
fn provenance(files: &ModelFiles) -> String {
    let manifest = &files.manifest;
    match &manifest.origin {
        Origin::Generated { generator, seed } => {
            format!("random weights, generator {generator}, seed {seed}")
        }
        Origin::Converted { file, encoding, .. } => {
            format!("converted from {file} ({encoding}), licence {}", manifest.licence)
        }
        Origin::Published { publisher } => format!("{publisher}, licence {}", manifest.licence),
        other => format!("{other:?}, licence {}", manifest.licence),
    }
}

impl Registry for Lab {
    fn backend(&self, id: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        match kind(id) {
            "ollama" => {
                let backend = self.ollama(id, clock).map_err(|error| setup(id, &error))?;
                self.keep(id, backend.lag_meter());
                Ok(Arc::new(backend))
            }
            "openai" => {
                let backend = self.openai(id, clock).map_err(|error| setup(id, &error))?;
                self.keep(id, backend.lag_meter());
                Ok(Arc::new(backend))
            }
            _ if kind(id) != id => Err(RegistryError::Unknown { id: shown(id), known: BACKENDS.join(", ") }),
            "candle" => Ok(Arc::new(CandleBackend::builder(clock).id(BackendId::new(id)).build())),
            "llamacpp" => Ok(Arc::new(LlamaCppBackend::builder(clock).id(BackendId::new(id)).build())),
            "tensorrt" => Ok(Arc::new(self.tensorrt(id, clock))),
            "sim" => Ok(Arc::new(simulator(self.block, clock))),
            other => match (provider(other), Absent::of(id)) {
                (Some(provider), _) => Ok(Arc::new(self.onnxruntime(id, provider, clock))),
                // A place that a design keeps for it: it answers to the probe, and to nothing else.
                (None, Some(absent)) => Ok(Arc::new(absent)),
                (None, None) => Err(RegistryError::Unknown { id: shown(id), known: BACKENDS.join(", ") }),
            },
        }
    }

    fn model(&self, entry: &ModelEntry, backend: &str) -> Result<FoundModel, Missing> {
        if backend == "sim" {
            return Ok(FoundModel {
                provenance: Some("simulated: no weights, times from a formula".to_owned()),
                ..FoundModel::named(entry.source.as_str())
            });
        }
        if kind(backend) == "openai" || (is_remote(backend) && !is_ours(&entry.source)) {
            return Ok(FoundModel {
                provenance: Some("as the server has it".to_owned()),
                ..FoundModel::named(entry.source.as_str())
            });
        }
        let files = self.files_for(entry, backend)?;
        let path = if files.config.is_some() { files.dir.clone() } else { files.weights.clone() };
        let records = files.manifest.files.iter();
        Ok(FoundModel {
            files: records
                .map(|file| FileRecord {
                    name: file.name.clone(),
                    bytes: file.bytes,
                    sha256: Some(file.sha256.clone()),
                })
                .collect(),
            provenance: Some(provenance(&files)),
            ..FoundModel::at(entry.id.as_str(), path)
        })
    }

    fn text(&self, name: &str) -> Result<String, Missing> {
        if let Some((_, text)) = TEXTS.iter().find(|(own, _)| *own == name) {
            return Ok((*text).to_owned());
        }
        let path = crate::places::checkout().unwrap_or_default().join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| Missing { reason: format!("cannot read {}: {error}", path.display()) })
    }

    fn audit(&self, entry: &ModelEntry, backend: &str) -> Result<Vec<Audit>, Missing> {
        if backend == "sim" {
            return Err(Missing { reason: "simulated: there are no weights".to_owned() });
        }
        if kind(backend) == "openai" || !is_ours(&entry.source) {
            return Err(Missing {
                reason: "the server has its own weights: their file is not here".to_owned(),
            });
        }
        let files = self.files_for(entry, backend)?;
        let Some(provider) = provider(kind(backend)) else {
            return Ok(vec![crate::observe::files(&files, entry, backend)?]);
        };
        let engine = self.onnxruntime(backend, provider, Arc::new(chimera_core::SystemClock::new()));
        Ok(vec![crate::observe::optimised(&engine, &files, entry, backend)?])
    }

    fn builds(&self, entry: &ModelEntry, backend: &str) -> Vec<Build> {
        if backend == "sim" || kind(backend) == "openai" || !is_ours(&entry.source) {
            return Vec::new();
        }
        let Ok(files) = self.files_for(entry, backend) else { return Vec::new() };
        let build = |what: &str, seconds, bytes, ended: SystemTime| Build {
            backend: backend.to_owned(),
            model: entry.id.clone(),
            what: what.to_owned(),
            seconds,
            bytes,
            cached: ended < self.opened,
        };
        let mut builds = Vec::new();
        if let Some(making) = files.making() {
            let last = making.steps.len().saturating_sub(1);
            for (at, step) in making.steps.iter().enumerate() {
                // Nobody has to draw random weights for a model, and everybody has to download those of a publisher.
                if matches!(step.work, Work::Conversion | Work::Quantisation) {
                    let bytes = files.manifest.weights_bytes().filter(|_| at == last);
                    builds.push(build(step.work.name(), step.seconds, bytes, making.ended));
                }
            }
        }
        if kind(backend) == "tensorrt" {
            let digest = files.manifest.digest().unwrap_or_default();
            let engine = EngineCache::at(crate::places::engines()).newest(digest);
            builds.extend(
                engine
                    .map(|(record, ended)| build("engine", record.build_seconds, Some(record.bytes), ended)),
            );
        }
        builds
    }

    fn client_lag(&self) -> Vec<(String, LagRecord)> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.iter().map(|(id, meter)| (id.clone(), lag_record(meter))).collect()
    }
}

/// A client's lag as manifests have it.
#[must_use]
pub fn lag_record(meter: &LagMeter) -> LagRecord {
    lag_record_of(&meter.lag())
}

/// The same of figures that were taken before.
#[must_use]
pub fn lag_record_of(lag: &chimera_wire::Lag) -> LagRecord {
    LagRecord {
        stamped: lag.stamped,
        unstamped: lag.unstamped,
        impossible: lag.impossible,
        p50_ns: lag.p50_ns,
        p99_ns: lag.p99_ns,
        max_ns: lag.max_ns,
        offset_ns: lag.offset_ns,
        offset_error_ns: lag.offset_error_ns,
    }
}

/// Noise of the simulated device: standard deviations of logarithms, a few per cent.
const NOISE: Noise = Noise { block: 0.02, model: 0.01, step: 0.05 };

/// A simulated device that knows the zoo's models. Its times follow a power law with exponent 0.5 and a little noise: good
/// for trying the pipeline, and no property of any machine.
fn simulator(block: u64, clock: Arc<dyn Clock>) -> SimBackend {
    let generated = chimera_zoo::models().into_iter().map(|spec| {
        let shape = spec.shape();
        SimModel::power(spec.name.clone(), spec.params(), 0.5, 100.0).info(|info| {
            info.layers = u32::try_from(shape.layers).ok();
            info.width = u32::try_from(shape.width).ok();
        })
    });
    let real =
        chimera_zoo::REAL_MODELS.iter().map(|model| SimModel::power(model.name, 135_000_000, 0.5, 100.0));
    SimBackend::builder()
        .id(BackendId::new("sim"))
        .clock(clock)
        .models(generated)
        .models(real)
        .noise(NOISE)
        .block(block)
        .build()
}

/// Cores that this process may use.
#[must_use]
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
