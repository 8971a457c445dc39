//! The registry: which backends this program has, and where the weights of a design's models lie. It finds what is
//! there and makes what can be made from a seed; it downloads nothing ([`crate::prepare`] does, before a run).

use std::{num::NonZeroUsize, sync::Arc};

use chimera_candle::CandleBackend;
use chimera_core::{BackendId, Clock, InferenceBackend};
use chimera_harness::{FoundModel, Missing, Registry, RegistryError};
use chimera_records::{FileRecord, ModelEntry};
use chimera_sim::{Noise, SimBackend, SimModel};
use chimera_zoo::{ModelFiles, Origin, Variant, Zoo, ZooError};

/// Backends of this program.
pub const BACKENDS: &[&str] = &["candle", "sim"];

/// Backends and models of this machine.
#[derive(Debug)]
pub struct Lab {
    zoo: Zoo,
    /// Block whose process this is: the simulator draws its noise from it.
    block: u64,
}

impl Lab {
    /// The registry of this machine.
    ///
    /// # Errors
    /// The folder of the zoo cannot be made.
    pub fn open() -> Result<Self, ZooError> {
        Ok(Self { zoo: Zoo::open(crate::places::zoo())?, block: 0 })
    }

    /// The same for the process of one block.
    #[must_use]
    pub fn for_block(mut self, block: u32) -> Self {
        self.block = u64::from(block);
        self
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
        let wanted = generated_variant(wanted).ok_or_else(|| Missing {
            reason: format!("`{variant}` is not a precision that the zoo writes: F32, F16, Q8_0 or Q4_0"),
        })?;
        // The zoo knows the hash of what it fetched; asking for a conversion of the file would read it again.
        self.zoo.ensure(source, wanted).map_err(missing)
    }
}

fn generated_variant(text: &str) -> Option<Variant> {
    Some(match text {
        "F32" => Variant::F32Safetensors,
        "F16" => Variant::F16Safetensors,
        "F32 (GGUF)" => Variant::F32Gguf,
        "F16 (GGUF)" => Variant::F16Gguf,
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
        match id {
            "candle" => Ok(Arc::new(CandleBackend::builder(clock).id(BackendId::new(id)).build())),
            "sim" => Ok(Arc::new(simulator(self.block, clock))),
            _ => Err(RegistryError::Unknown { id: id.to_owned(), known: BACKENDS.join(", ") }),
        }
    }

    fn model(&self, entry: &ModelEntry, backend: &str) -> Result<FoundModel, Missing> {
        if backend == "sim" {
            return Ok(FoundModel {
                provenance: Some("simulated: no weights, times from a formula".to_owned()),
                ..FoundModel::named(entry.source.as_str())
            });
        }
        let files = self.files(&entry.source, &entry.variant)?;
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
