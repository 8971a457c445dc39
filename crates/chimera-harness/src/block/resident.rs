//! Backends, models and prompts of a process, each set up when it is first needed and kept until the block ends. What
//! stands in the way of one is remembered: its trials are skipped or fail for the same reason, without trying again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chimera_core::{BackendError, Capabilities, InferenceBackend, LoadOptions, Session};
use chimera_records::{Cell, Outcome};

use super::{
    BlockRun, Bounds,
    prompt::{Prepared, prepare},
};
use crate::Progress;

/// Why a trial was not run to its end.
#[derive(Debug, Clone)]
pub(crate) enum Obstacle {
    Skip(String),
    Fail { code: String, reason: String },
    Cancelled,
}

impl Obstacle {
    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    pub(super) fn timeout(limit: Duration) -> Self {
        Self::Fail { code: "timeout".into(), reason: format!("not done after {} s", limit.as_secs_f64()) }
    }

    /// Says what was being done.
    pub(super) fn during(self, what: &str) -> Self {
        match self {
            Self::Fail { code, reason } => Self::Fail { code, reason: format!("{what}: {reason}") },
            other => other,
        }
    }

    /// A model or a backend that is not there is a gap, anything else a failure.
    fn of(error: &BackendError) -> Self {
        let reason = error.to_string();
        match error {
            BackendError::Unavailable { .. }
            | BackendError::Unsupported { .. }
            | BackendError::ModelNotFound { .. } => Self::Skip(reason),
            other => Self::Fail { code: other.code().into(), reason },
        }
    }

    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::Skip(reason) => Outcome::Skipped { reason },
            Self::Fail { code, reason } => Outcome::Failed { code, reason },
            Self::Cancelled => Outcome::Cancelled,
        }
    }
}

#[derive(Debug)]
struct Backend {
    backend: Arc<dyn InferenceBackend>,
    capabilities: Capabilities,
}

#[derive(Debug)]
struct Model<'a> {
    session: Arc<dyn Session>,
    prompts: HashMap<&'a str, Result<Prepared, Obstacle>>,
}

/// Everything a trial needs, ready.
pub(super) struct Ready<'r> {
    pub session: &'r Arc<dyn Session>,
    pub capabilities: &'r Capabilities,
    pub prompt: &'r Prepared,
}

#[derive(Debug, Default)]
pub(super) struct Residents<'a> {
    backends: HashMap<&'a str, Result<Backend, Obstacle>>,
    models: HashMap<(&'a str, &'a str), Result<Model<'a>, Obstacle>>,
}

impl<'a> Residents<'a> {
    /// Sets up what a cell needs and is not there yet. `load_ns` is filled when the model is loaded for it, whatever
    /// happens after that.
    pub(super) async fn ready(
        &mut self,
        run: &BlockRun<'a>,
        cell: &'a Cell,
        bounds: &Bounds<'_>,
        load_ns: &mut Option<u64>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Ready<'_>, Obstacle> {
        let name = cell.backend.as_str();
        if !self.backends.contains_key(name) {
            let found = set_up(run, name, bounds, progress).await;
            remember(&mut self.backends, name, found)?;
        }
        let backend = get(&self.backends, &name)?;
        let key = (name, cell.model.as_str());
        if !self.models.contains_key(&key) {
            let loaded = load(run, cell, backend, bounds, progress).await;
            let loaded = loaded.map(|(model, nanos)| {
                *load_ns = Some(nanos);
                model
            });
            remember(&mut self.models, key, loaded)?;
        }
        let model = match self.models.get_mut(&key) {
            Some(Ok(model)) => model,
            Some(Err(obstacle)) => return Err(obstacle.clone()),
            None => return Err(Obstacle::Cancelled),
        };
        let scenario = cell.scenario.as_str();
        if !model.prompts.contains_key(scenario) {
            let made = match run.settings.design.scenario(scenario) {
                None => Err(Obstacle::skip(format!("the design has no scenario `{scenario}`"))),
                Some(entry) => bounds
                    .within(prepare(
                        entry,
                        &*model.session,
                        &backend.capabilities,
                        super::salt(run, cell, 0, 0),
                    ))
                    .await
                    .and_then(|made| made.map_err(|error| Obstacle::of(&error)))
                    .map_err(|obstacle| obstacle.during("preparing the prompt")),
            };
            remember(&mut model.prompts, scenario, made)?;
        }
        let prompt = get(&model.prompts, &scenario)?;
        Ok(Ready { session: &model.session, capabilities: &backend.capabilities, prompt })
    }

    /// Unloads every model.
    pub(super) async fn unload(self, progress: &mut dyn FnMut(Progress)) {
        for ((backend, name), model) in self.models {
            if let Ok(model) = model
                && let Err(error) = model.session.unload().await
            {
                let text = format!("model {name} could not be unloaded from {backend}: {error}");
                progress(Progress::Note { text });
            }
        }
    }
}

/// Keeps what was found. A cancelled attempt found nothing out, so it is not kept.
fn remember<K: std::hash::Hash + Eq, V>(
    all: &mut HashMap<K, Result<V, Obstacle>>,
    key: K,
    found: Result<V, Obstacle>,
) -> Result<(), Obstacle> {
    if let Err(Obstacle::Cancelled) = found {
        return Err(Obstacle::Cancelled);
    }
    all.insert(key, found);
    Ok(())
}

fn get<'m, K: std::hash::Hash + Eq, V>(
    all: &'m HashMap<K, Result<V, Obstacle>>,
    key: &K,
) -> Result<&'m V, Obstacle> {
    match all.get(key) {
        Some(Ok(value)) => Ok(value),
        Some(Err(obstacle)) => Err(obstacle.clone()),
        None => Err(Obstacle::Cancelled),
    }
}

async fn set_up(
    run: &BlockRun<'_>,
    name: &str,
    bounds: &Bounds<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Backend, Obstacle> {
    let backend = run
        .registry
        .backend(name, Arc::clone(run.clock))
        .map_err(|error| Obstacle::skip(error.to_string()))?;
    let probe = bounds
        .within(backend.probe())
        .await
        .map_err(|obstacle| obstacle.during("probing the backend"))?
        .map_err(|error| Obstacle::skip(format!("the probe of backend {name} failed: {error}")))?;
    let availability = probe.availability.clone();
    let capabilities = probe.capabilities.clone();
    progress(Progress::BackendProbed { backend: name.to_owned(), probe });
    if !availability.is_ready() {
        return Err(Obstacle::skip(format!("backend {name} is not ready: {availability}")));
    }
    Ok(Backend { backend, capabilities })
}

async fn load<'a>(
    run: &BlockRun<'_>,
    cell: &Cell,
    backend: &Backend,
    bounds: &Bounds<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Model<'a>, u64), Obstacle> {
    let mut missing = |reason: String| {
        progress(Progress::ModelMissing {
            backend: cell.backend.clone(),
            model: cell.model.clone(),
            reason: reason.clone(),
        });
        Obstacle::Skip(reason)
    };
    let Some(entry) = run.settings.design.model(&cell.model) else {
        return Err(missing(format!("the design has no model `{}`", cell.model)));
    };
    let found = match run.registry.model(entry, &cell.backend) {
        Ok(found) => found,
        Err(error) => return Err(missing(error.reason)),
    };
    let start = run.clock.now();
    let loaded = bounds
        .within(backend.backend.load(&found.reference, &LoadOptions::default()))
        .await
        .map_err(|obstacle| obstacle.during("loading the model"))?;
    let load_ns = run.clock.now().0.saturating_sub(start.0);
    let session = match loaded {
        Ok(session) => session,
        Err(error) => {
            return Err(match Obstacle::of(&error) {
                Obstacle::Skip(reason) => missing(reason),
                other => other,
            });
        }
    };
    progress(Progress::ModelLoaded {
        backend: cell.backend.clone(),
        model: cell.model.clone(),
        load_ns,
        info: session.model().clone(),
        files: found.files,
        provenance: found.provenance,
    });
    Ok((Model { session, prompts: HashMap::new() }, load_ns))
}
