//! What the tests of the adapter's public side share.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::sync::Arc;

use chimera_candle::CandleBackend;
use chimera_conformance::models;
use chimera_core::{BackendExt, Session};
use chimera_zoo::{ModelFiles, Variant, Zoo};

/// Files of a model, made once per build folder.
pub(crate) fn files(name: &str, variant: Variant) -> ModelFiles {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/zoo");
    Zoo::open(folder).unwrap().ensure(name, variant).unwrap()
}

/// A folder in which the model is found by its name, as a backend looks for it.
pub(crate) fn models_dir(name: &str, variant: Variant) -> std::path::PathBuf {
    let folder =
        std::path::PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/by-name")).join(variant.name());
    models::by_name(&files(name, variant).dir, name, &folder).unwrap()
}

/// The model, resident.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn session(name: &str, variant: Variant) -> Arc<dyn Session> {
    let backend = CandleBackend::builder(chimera_core::SystemClock::new())
        .models_dir(models_dir(name, variant))
        .build();
    futures_executor::block_on(backend.load_named(name)).unwrap()
}
