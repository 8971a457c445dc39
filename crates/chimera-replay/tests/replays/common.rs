//! Where the data are, and comparisons of numbers.

use std::path::{Path, PathBuf};

use chimera_replay::{Artifacts, Replayed, by_id};

/// The published data: `CHIMERA_ARTIFACTS`, or `shared/reference` beside the checkout. Prints the skip when they are not
/// there.
pub(crate) fn published() -> Option<Artifacts> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference");
    let folder = std::env::var_os("CHIMERA_ARTIFACTS").map_or(beside, PathBuf::from);
    match Artifacts::open(folder) {
        Ok(artifacts) => Some(artifacts),
        Err(_) => {
            println!("SKIP: the published data are not here (CHIMERA_ARTIFACTS names their folder)");
            None
        }
    }
}

/// The synthetic data of this project.
pub(crate) fn synthetic() -> Artifacts {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/artifacts");
    Artifacts::open(folder).expect("the synthetic data are part of the project")
}

/// A study on some data.
pub(crate) fn replay(id: &str, data: &Artifacts) -> Replayed {
    by_id(id).expect("a study of this id").replay(data).expect("a replay")
}

/// Whether a quantity is within `relative` of a value.
#[track_caller]
pub(crate) fn close(replayed: &Replayed, name: &str, expected: f64, relative: f64) {
    let value = replayed.values.point(name);
    let within = |value: f64| (value - expected).abs() <= relative * expected.abs().max(1e-12);
    assert!(value.is_some_and(within), "{name}: {value:?}, expected {expected}");
}
