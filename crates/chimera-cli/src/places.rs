//! Where things lie: the models that were made or fetched, and the runs. In a checkout they lie in it; elsewhere in the
//! user's cache and in the current folder.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Root of the checkout this was built from, when it is still there.
#[must_use]
pub fn checkout() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    root.join("Cargo.toml").is_file().then(|| root.to_path_buf())
}

/// Folder of the zoo: `CHIMERA_ZOO`, or `target/zoo` of the checkout, or the user's cache.
#[must_use]
pub fn zoo() -> PathBuf {
    if let Some(dir) = env::var_os("CHIMERA_ZOO") {
        return dir.into();
    }
    if let Some(root) = checkout() {
        return root.join("target").join("zoo");
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir);
    cache.join("chimeraforge").join("zoo")
}

/// Folder under which a study's runs are made: `runs/<study>` of the checkout or of the current folder.
#[must_use]
pub fn runs(study: &str) -> PathBuf {
    let base = checkout().unwrap_or_default();
    base.join("runs").join(study)
}
