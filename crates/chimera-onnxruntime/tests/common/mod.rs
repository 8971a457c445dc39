//! What the tests of the adapter's public side share.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::{path::PathBuf, sync::Arc};

use chimera_conformance::models;
use chimera_core::{Session, SystemClock};
use chimera_onnxruntime::{OnnxRuntimeBackend, OnnxRuntimeBackendBuilder};
use chimera_zoo::{ModelFiles, Variant, Zoo};

/// The library, or why there is none.
pub(crate) fn found() -> Result<PathBuf, String> {
    let set = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    set.or_else(fetched)
        .filter(|path| path.is_file())
        .ok_or_else(|| "no ONNX Runtime here; `cargo xtask fetch onnxruntime` brings it".to_owned())
}

/// The library, or nothing and a line that says so.
pub(crate) fn library() -> Option<PathBuf> {
    found().map_err(|reason| println!("SKIP: {reason}")).ok()
}

/// What `cargo xtask fetch onnxruntime` has brought.
fn fetched() -> Option<PathBuf> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/fetched/onnxruntime"));
    let mut versions: Vec<_> = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).collect();
    versions.sort();
    let capi = versions.into_iter().rev().find(|path| path.join("stamp").is_file())?.join("onnxruntime/capi");
    let mut files = std::fs::read_dir(capi).ok()?.flatten().map(|entry| entry.path());
    files.find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ["libonnxruntime.so", "libonnxruntime.1", "onnxruntime.dll"]
            .iter()
            .any(|start| name.starts_with(start))
    })
}

/// Files of a model, made once per build folder.
pub(crate) fn files(name: &str, variant: Variant) -> ModelFiles {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/zoo");
    Zoo::open(folder).unwrap().ensure(name, variant).unwrap()
}

/// A folder in which the model is found by its name, as a backend looks for it.
pub(crate) fn models_dir(name: &str, variant: Variant) -> PathBuf {
    let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/by-name")).join(variant.name());
    models::by_name(&files(name, variant).dir, name, &folder).unwrap()
}

/// A backend with a library.
pub(crate) fn backend(library: &std::path::Path) -> OnnxRuntimeBackendBuilder {
    OnnxRuntimeBackend::builder(SystemClock::new(), library)
}

/// Awaits something that needs no runtime.
pub(crate) fn wait<T>(future: impl std::future::Future<Output = T>) -> T {
    futures_executor::block_on(future)
}

/// The error of a load that must fail.
pub(crate) fn refused(result: chimera_core::Result<Arc<dyn Session>>) -> chimera_core::BackendError {
    match result {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}
