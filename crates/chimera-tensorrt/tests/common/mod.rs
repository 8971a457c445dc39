//! What the tests of the adapter's public side share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::{Path, PathBuf};

use chimera_core::{LoadOptions, ModelRef, SystemClock};
use chimera_tensorrt::{Extent, Profile, Profiles, TensorRtBackend, TensorRtBackendBuilder, VARIABLE};
use chimera_zoo::{ModelFiles, Variant, Zoo};

/// The folder with NVIDIA's libraries, or why there is none.
pub(crate) fn found() -> Result<PathBuf, String> {
    if !cfg!(feature = "tensorrt") {
        return Err(
            "TensorRT is not compiled in; `cargo xtask fetch tensorrt` brings what it takes".to_owned()
        );
    }
    let set = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    set.or_else(fetched).ok_or_else(|| "no TensorRT here; `cargo xtask fetch tensorrt` brings it".to_owned())
}

/// The folder, or nothing and a line that says so.
pub(crate) fn libraries() -> Option<PathBuf> {
    found().map_err(|reason| println!("SKIP: {reason}")).ok()
}

/// What `cargo xtask fetch tensorrt` has brought.
fn fetched() -> Option<PathBuf> {
    let root =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/fetched/tensorrt-rtx-cu12-libs"));
    let mut versions: Vec<_> = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).collect();
    versions.sort();
    let wheel = versions.into_iter().rev().find(|path| path.join("stamp").is_file())?;
    Some(wheel.join("tensorrt_rtx_libs"))
}

/// Files of a model, made once per build folder.
pub(crate) fn files(name: &str, variant: Variant) -> ModelFiles {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/zoo");
    Zoo::open(folder).unwrap().ensure(name, variant).unwrap()
}

/// A model at its files.
pub(crate) fn model(name: &str, variant: Variant) -> ModelRef {
    ModelRef::at(name, files(name, variant).dir)
}

/// A backend on the system's clock.
pub(crate) fn builder(libraries: &Path) -> TensorRtBackendBuilder {
    TensorRtBackend::builder(SystemClock::new()).libraries(libraries)
}

/// Two small profiles: prompts in pieces of eight, and a token at a time, in two lanes.
pub(crate) fn profiles() -> Profiles {
    Profiles::for_generation(2, 8, 64).unwrap()
}

/// One profile, for tests that build often.
pub(crate) fn one_profile() -> Profiles {
    let extent = |min, opt, max| Extent::new(min, opt, max).unwrap();
    Profiles::new(vec![Profile::new("p", extent(1, 1, 1), extent(1, 4, 8), extent(0, 4, 24)).unwrap()])
        .unwrap()
}

pub(crate) fn whole() -> LoadOptions {
    LoadOptions::default()
}
