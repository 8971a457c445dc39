//! What blocks' processes say of backends and models, gathered for the manifest: probing and loading happen where the
//! model runs.

use std::collections::BTreeMap;

use chimera_core::Probe;
use chimera_records::{Manifest, ModelRecord, Settings};

use crate::Progress;

/// Backends and models as far as they are known.
#[derive(Debug)]
pub(super) struct Ledger {
    backends: BTreeMap<String, Probe>,
    models: BTreeMap<String, ModelRecord>,
}

impl Ledger {
    /// What earlier sessions of the run found, and every model of the design.
    pub(super) fn open(manifest: &Manifest, settings: &Settings) -> Self {
        let mut models = manifest.models.clone();
        let used = |id: &String| settings.design.grid.iter().any(|grid| grid.model.contains(id));
        for entry in settings.design.model.iter().filter(|entry| used(&entry.id)) {
            let record = models.entry(entry.id.clone()).or_default();
            record.source.clone_from(&entry.source);
            record.variant.clone_from(&entry.variant);
            record.family.clone_from(&entry.family);
        }
        Self { backends: manifest.backends.clone(), models }
    }

    /// Takes note of what concerns it.
    pub(super) fn note(&mut self, message: &Progress) {
        match message {
            Progress::BackendProbed { backend, probe } => {
                self.backends.insert(backend.clone(), probe.clone());
            }
            Progress::ModelLoaded { backend, model, info, files, provenance, .. } => {
                let record = self.models.entry(model.clone()).or_default();
                record.info.insert(backend.clone(), info.clone());
                for file in files {
                    if !record.files.contains(file) {
                        record.files.push(file.clone());
                    }
                }
                record.provenance = provenance.clone().or_else(|| record.provenance.take());
                record.obstacle = None;
            }
            Progress::ModelMissing { backend, model, reason } => {
                let record = self.models.entry(model.clone()).or_default();
                // A model that one backend has is not missing; the skipped trials say what the other lacks.
                if record.info.is_empty() {
                    record.obstacle = Some(format!("{backend}: {reason}"));
                }
            }
            _ => {}
        }
    }

    pub(super) fn write(&self, manifest: &mut Manifest) {
        manifest.backends.clone_from(&self.backends);
        manifest.models.clone_from(&self.models);
    }
}
