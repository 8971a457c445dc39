//! From a graph to an engine: out of the cache where it is, else built, and in either case held against what it is called
//! before anybody may use it.

use crate::{
    backend::{Found, Settings},
    cache::{CachedEngine, EngineRecord},
    error::TensorRtError,
    graph::Source,
};

/// An engine that was built or found.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyEngine {
    /// The serialised engine.
    pub engine: Vec<u8>,
    /// What it was built from, how long that took, and what it is made of.
    pub record: EngineRecord,
    /// Whether it came from the cache.
    pub cached: bool,
    /// Why what the cache held was not used, where it held something.
    pub rejected: Option<String>,
}

impl From<ReadyEngine> for CachedEngine {
    fn from(ready: ReadyEngine) -> Self {
        Self { engine: ready.engine, record: ready.record }
    }
}

#[cfg(not(feature = "tensorrt"))]
mod without {
    use chimera_core::Availability;
    use chimera_engine::LanguageModel;

    use super::{Found, ReadyEngine, Settings, Source, TensorRtError};

    fn not_compiled() -> Availability {
        Availability::NotCompiled {
            reason: "TensorRT is not compiled in".to_owned(),
            remedy: "`cargo xtask fetch tensorrt` brings the library and libclang, with which every later `cargo xtask` \
                     builds with the feature `tensorrt`; a C++ compiler with its headers is needed too"
                .to_owned(),
        }
    }

    pub(crate) fn found(_: &Settings) -> Found {
        Found { availability: not_compiled(), version: None, library: None, device: None }
    }

    pub(crate) fn ready(_: &Source, _: &Settings) -> Result<ReadyEngine, TensorRtError> {
        Err(TensorRtError::Unavailable(not_compiled()))
    }

    pub(crate) fn resident(
        _: &str,
        _: &Source,
        _: &Settings,
    ) -> Result<Box<dyn LanguageModel>, TensorRtError> {
        Err(TensorRtError::Unavailable(not_compiled()))
    }
}
#[cfg(not(feature = "tensorrt"))]
pub(crate) use without::{found, ready, resident};

#[cfg(feature = "tensorrt")]
mod with {
    use std::path::Path;

    use chimera_core::Availability;
    use chimera_engine::LanguageModel;

    use super::{Found, ReadyEngine, Settings, Source, TensorRtError};
    use crate::{
        cache::{CachedEngine, EngineCache, EngineKey, EngineRecord, Lookup},
        model::{Parts, TensorRtModel},
        native::{self, Device, library, runtime},
        options::{BuildOptions, Capability},
    };

    pub(crate) fn found(settings: &Settings) -> Found {
        let loaded = match library::load(settings.libraries.as_deref()) {
            Ok(loaded) => loaded,
            Err(availability) => return Found { availability, version: None, library: None, device: None },
        };
        let (availability, device) = match native::device() {
            Ok(device) => (usable(&device), Some(device.describe())),
            Err(obstacle) => (obstacle, None),
        };
        Found { availability, version: Some(loaded.version), library: Some(loaded.place), device }
    }

    /// Whether engines can be built for a device.
    fn usable(device: &Device) -> Availability {
        match Capability::from_numbers(device.capability.0, device.capability.1) {
            Some(_) => Availability::Ready,
            None => Availability::NoDevice {
                reason: format!("TensorRT for RTX builds no engines for {}", device.describe()),
                remedy:
                    "run it on a GPU of compute capability 7.5, 8.0, 8.6, 8.9, 12.0 or 12.1; ONNX Runtime's \
                         TensorRT provider serves others"
                        .to_owned(),
            },
        }
    }

    /// The options with the capability of the device here, where none is named.
    fn resolve(options: &BuildOptions, device: Option<&Device>) -> Result<BuildOptions, TensorRtError> {
        let Some(device) = device else { return Ok(*options) };
        let (major, minor) = device.capability;
        let own = match Capability::from_numbers(major, minor) {
            Some(own) => own,
            None => return Err(TensorRtError::Unavailable(usable(device))),
        };
        match options.capability() {
            Capability::Current => Ok(options.for_capability(own)),
            named if named == own => Ok(*options),
            named => Err(TensorRtError::Unsupported(format!(
                "engines for compute capability {named} on {}: leave the capability out, or name {own}",
                device.describe()
            ))),
        }
    }

    pub(crate) fn ready(source: &Source, settings: &Settings) -> Result<ReadyEngine, TensorRtError> {
        let loaded = library::load(settings.libraries.as_deref()).map_err(TensorRtError::Unavailable)?;
        let device = match settings.options.capability() {
            Capability::Current => Some(native::device().map_err(TensorRtError::Unavailable)?),
            _ => None,
        };
        let options = resolve(&settings.options, device.as_ref())?;
        make(source, settings, options, loaded.version)
    }

    fn make(
        source: &Source,
        settings: &Settings,
        options: BuildOptions,
        library: String,
    ) -> Result<ReadyEngine, TensorRtError> {
        let graph = &source.graph;
        let profiles = settings.profiles(source.context)?;
        let key = EngineKey::new(graph.sha256.clone(), graph.precision, profiles.clone(), options, library);
        let mut rejected = None;
        if let Some(cache) = &settings.cache {
            let io = |source| TensorRtError::io(cache.folder(), source);
            match cache.find(&key).map_err(io)? {
                Lookup::Hit(found) => {
                    let CachedEngine { engine, record } = *found;
                    return Ok(ReadyEngine { engine, record, cached: true, rejected });
                }
                Lookup::Miss => {}
                Lookup::Rejected(why) => {
                    tracing::warn!("building anew: {why}");
                    rejected = Some(why);
                }
            }
        }
        let built = native::build::build(graph, &profiles, &options)?;
        if runtime::is_malformed(&built.engine) == Some(true) {
            return Err(TensorRtError::Refused {
                step: "builder",
                said: "the engine that it built has a header that it does not know".to_owned(),
            });
        }
        // What is not what it is called is neither used nor kept.
        built.audit.supports(graph.precision).map_err(TensorRtError::NotAsClaimed)?;
        let record = EngineRecord::of(key, &built.engine, built.seconds, built.audit);
        if let Some(cache) = &settings.cache {
            store(cache, &record, &built.engine)?;
        }
        Ok(ReadyEngine { engine: built.engine, record, cached: false, rejected })
    }

    fn store(cache: &EngineCache, record: &EngineRecord, engine: &[u8]) -> Result<(), TensorRtError> {
        let folder: &Path = cache.folder();
        cache.store(record, engine).map_err(|source| TensorRtError::io(folder, source))
    }

    pub(crate) fn resident(
        name: &str,
        source: &Source,
        settings: &Settings,
    ) -> Result<Box<dyn LanguageModel>, TensorRtError> {
        let loaded = library::load(settings.libraries.as_deref()).map_err(TensorRtError::Unavailable)?;
        let device = native::device().map_err(TensorRtError::Unavailable)?;
        let options = resolve(&settings.options, Some(&device))?;
        let ready = make(source, settings, options, loaded.version)?;
        let profiles = ready.record.key.profiles.clone();
        let cached = CachedEngine::from(ready);
        let executor =
            runtime::RtxExecutor::new(&cached, &device, settings.cache.as_ref(), settings.specialisation)?;
        // The resident engine says itself what it is made of; the builder's list was of the same engine.
        let audit = executor.audit()?;
        audit.supports(source.graph.precision).map_err(TensorRtError::NotAsClaimed)?;
        tracing::info!("{name} on {} with {} B: {audit}", device.describe(), device.memory);
        let parts: Parts = source.parts(name, profiles, &options);
        Ok(Box::new(TensorRtModel::new(executor, parts)?))
    }
}
#[cfg(feature = "tensorrt")]
pub(crate) use with::{found, ready, resident};
