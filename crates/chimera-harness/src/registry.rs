//! Where backends and models come from. The binary implements it: it is the only place that names adapters.

use std::{path::PathBuf, sync::Arc};

use chimera_core::{Clock, InferenceBackend, ModelRef};
use chimera_records::{Audit, Build, FileRecord, LagRecord, ModelEntry};

/// Knows every backend and every model that a design may name.
///
/// Its methods are called from inside [`crate::run_block`], so from inside an executor: they may block, but they must not
/// start an executor of their own on the same thread.
pub trait Registry {
    /// A backend by the name that designs use. Its events are stamped by `clock`.
    ///
    /// # Errors
    /// An unknown name, or a configuration that cannot be used. A backend that is merely not usable here is no error:
    /// it answers so when it is probed.
    fn backend(&self, id: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError>;

    /// A model of the design in the form that this backend loads. It may make or fetch files; it is never called while
    /// something is measured.
    ///
    /// # Errors
    /// Why it cannot be had. Its trials are then skipped for that reason.
    fn model(&self, entry: &ModelEntry, backend: &str) -> Result<FoundModel, Missing>;

    /// A text that a design names, by its path in the checkout.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn text(&self, name: &str) -> Result<String, Missing> {
        Err(Missing { reason: format!("nothing here ships the text {name}") })
    }

    /// What the files of a model hold in the form that this backend loads, or what its engine makes of them: precisions
    /// that were found, never ones that are claimed. Called in the process that checks the arm, before it is loaded.
    ///
    /// # Errors
    /// Why nothing can be said.
    fn audit(&self, entry: &ModelEntry, backend: &str) -> Result<Vec<Audit>, Missing> {
        let _ = entry;
        Err(Missing { reason: format!("nothing here looks into files of backend {backend}") })
    }

    /// What it cost to make the files of a model in the form that this backend loads (conversion, quantisation, an
    /// engine), as far as it is known. Loading them is timed by the caller, who asks this after the load.
    fn builds(&self, entry: &ModelEntry, backend: &str) -> Vec<Build> {
        let _ = (entry, backend);
        Vec::new()
    }

    /// How late this process has been as a client of each backend behind a wire, by the names that designs use. Asked
    /// when the block has ended; a registry without such backends has nothing to say.
    fn client_lag(&self) -> Vec<(String, LagRecord)> {
        Vec::new()
    }
}

/// A model that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundModel {
    /// What the backend is asked for.
    pub reference: ModelRef,
    /// Its files, for the manifest.
    pub files: Vec<FileRecord>,
    /// Where the weights come from and under which licence.
    pub provenance: Option<String>,
}

impl FoundModel {
    /// A model that a backend finds by its name, of which nothing else is known.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { reference: ModelRef::named(name), files: Vec::new(), provenance: None }
    }

    /// A model at a path, of which nothing else is known.
    pub fn at(name: impl Into<Arc<str>>, path: impl Into<PathBuf>) -> Self {
        Self { reference: ModelRef::at(name, path), files: Vec::new(), provenance: None }
    }
}

/// A model that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Missing {
    /// Why, and what would mend it.
    pub reason: String,
}

/// A backend that cannot be named or configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No such backend in this binary.
    #[error("there is no backend `{id}` here; there are: {known}")]
    Unknown {
        /// Asked.
        id: String,
        /// What there is.
        known: String,
    },
    /// The name is known and cannot be made into a backend.
    #[error("backend `{id}` cannot be set up: {reason}")]
    Setup {
        /// Asked.
        id: String,
        /// Why, and what would mend it.
        reason: String,
    },
}
