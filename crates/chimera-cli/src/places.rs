//! Where things lie: the models that were made or fetched, the libraries of engines, what those built, and the runs. In a
//! checkout they lie in it; elsewhere in the user's cache and in the current folder.

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
    kept("zoo")
}

/// Folder of engines that TensorRT has built: `CHIMERA_ENGINES`, or `target/engines` of the checkout, or the user's cache.
#[must_use]
pub fn engines() -> PathBuf {
    env::var_os("CHIMERA_ENGINES").map_or_else(|| kept("engines"), PathBuf::from)
}

/// A folder of things that can be made again.
fn kept(name: &str) -> PathBuf {
    if let Some(root) = checkout() {
        return root.join("target").join(name);
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir);
    cache.join("chimeraforge").join(name)
}

/// Folder under which a study's runs are made: `runs/<study>` of the checkout or of the current folder.
#[must_use]
pub fn runs(study: &str) -> PathBuf {
    let base = checkout().unwrap_or_default();
    base.join("runs").join(study)
}

/// The library of ONNX Runtime: `ORT_DYLIB_PATH`, or the newest that `cargo xtask fetch onnxruntime` has brought, or a
/// bare name, which the system looks for where it has its libraries.
#[must_use]
pub fn onnxruntime() -> PathBuf {
    let system = if cfg!(windows) {
        "onnxruntime.dll"
    } else if cfg!(target_vendor = "apple") {
        "libonnxruntime.dylib"
    } else {
        "libonnxruntime.so"
    };
    env::var_os("ORT_DYLIB_PATH")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| fetched_onnxruntime(&checkout()?.join("target").join("fetched").join("onnxruntime")))
        .unwrap_or_else(|| system.into())
}

/// The folder with TensorRT's libraries: that of `CHIMERA_TENSORRT_DIR`, or the newest that `cargo xtask fetch tensorrt` has
/// brought; none leaves it to the system.
#[must_use]
pub fn tensorrt() -> Option<PathBuf> {
    let named = env::var_os(chimera_tensorrt::VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| {
        let folder = checkout()?.join("target").join("fetched").join("tensorrt-rtx-cu12-libs");
        newest_first(&folder)
            .into_iter()
            .map(|wheel| wheel.join("tensorrt_rtx_libs"))
            .find(|path| path.is_dir())
    })
}

/// Whole wheels under a folder of unpacked ones, the newest version first.
fn newest_first(folder: &Path) -> Vec<PathBuf> {
    let version = |name: &str| name.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>();
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut wheels: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            // The stamp is written last: without it the folder is half of a wheel.
            let whole = path.join("stamp").is_file();
            whole.then(|| Some((version(path.file_name()?.to_str()?)?, path)))?
        })
        .collect();
    wheels.sort();
    wheels.into_iter().rev().map(|(_, wheel)| wheel).collect()
}

/// The library of the newest version under a folder of unpacked wheels.
fn fetched_onnxruntime(folder: &Path) -> Option<PathBuf> {
    newest_first(folder).into_iter().find_map(|wheel| {
        let libraries = std::fs::read_dir(wheel.join("onnxruntime").join("capi")).ok()?;
        libraries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ["libonnxruntime.so", "libonnxruntime.1", "onnxruntime.dll"]
                .iter()
                .any(|start| name.starts_with(start))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_wheel_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(fetched_onnxruntime(folder.path()), None);
        for (version, whole) in [("1.9.0", true), ("1.32.0", true), ("1.40.0", false), ("1.33.0.part", true)]
        {
            let wheel = folder.path().join(version);
            let capi = wheel.join("onnxruntime/capi");
            std::fs::create_dir_all(&capi).expect("a folder");
            std::fs::write(capi.join("libonnxruntime_providers_shared.so"), "").expect("a file");
            std::fs::write(capi.join(format!("libonnxruntime.so.{version}")), "").expect("a file");
            if whole {
                std::fs::write(wheel.join("stamp"), "").expect("a file");
            }
        }
        let wanted = folder.path().join("1.32.0/onnxruntime/capi/libonnxruntime.so.1.32.0");
        assert_eq!(fetched_onnxruntime(folder.path()), Some(wanted));
    }
}
