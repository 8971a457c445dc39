//! TensorRT for RTX: NVIDIA's two libraries, out of the wheel that it publishes for Python, and libclang, with which the
//! bindings are written while the adapter is built (`docs/decisions/0012-tensorrt-through-trtx.md`).

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, Result};

use super::{
    libclang,
    wheel::{Pinned, Wheel},
};

/// Names the folder with the libraries, for whoever has others.
pub(crate) const VARIABLE: &str = "CHIMERA_TENSORRT_DIR";

/// Features of packages that use them.
pub(crate) const FEATURES: &[&str] = &["chimera-cli/tensorrt", "chimera-tensorrt/tensorrt"];

const WHEEL: Wheel = Wheel {
    name: "tensorrt-rtx-cu12-libs",
    version: "1.7.1.116",
    files: &[
        Pinned {
            os: "linux",
            arch: "x86_64",
            file: "tensorrt_rtx_cu12_libs-1.7.1.116-py3-none-manylinux_2_28_x86_64.whl",
            sha256: "68c2615fef1556e7721235682f460f3d78ab89df320a3f34a416367b144817a8",
            holds: "tensorrt_rtx_libs/libtensorrt_rtx.so.1",
        },
        Pinned {
            os: "windows",
            arch: "x86_64",
            file: "tensorrt_rtx_cu12_libs-1.7.1.116-py3-none-win_amd64.whl",
            sha256: "28defeb3aca647646308d00f9fe32e91da37920fb1b121f1c5adbd774cd52358",
            holds: "tensorrt_rtx_libs/tensorrt_rtx_1_7.dll",
        },
    ],
};

/// `cargo xtask fetch tensorrt`.
pub(crate) fn fetch() -> Result<()> {
    println!("{}", folder()?.display());
    let all = prepare()?;
    println!("to build with it by hand:");
    for (name, value) in all {
        println!("  export {name}={:?}", value.to_string_lossy());
    }
    println!("  cargo build --features {}", FEATURES.join(","));
    Ok(())
}

/// Makes sure that everything is here, and gives the environment.
pub(crate) fn prepare() -> Result<Vec<(&'static str, OsString)>> {
    libclang::check_cpp()?;
    folder()?;
    libclang::folder()?;
    environment().context("something that was fetched is gone")
}

/// The folder with the libraries: that of the variable, or the fetched one, fetched first if it is not there.
fn folder() -> Result<PathBuf> {
    match named() {
        Some(folder) => Ok(folder),
        None => Ok(WHEEL.held()?.parent().context("the library lies in no folder")?.to_path_buf()),
    }
}

fn named() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The environment in which the adapter is built and run, if everything that it takes is here already.
pub(crate) fn environment() -> Option<Vec<(&'static str, OsString)>> {
    let libraries = named().or_else(|| WHEEL.present().and_then(|_| folder().ok()))?;
    libclang::check_cpp().ok()?;
    let mut all = libclang::environment(&libclang::present()?).ok()?;
    all.push((VARIABLE, libraries.into_os_string()));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_here_changes_no_build() {
        // Either everything is here, or nothing is said of any part.
        match environment() {
            Some(all) => {
                let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                assert!(names.contains(&VARIABLE) && names.contains(&"LIBCLANG_PATH"), "{names:?}");
            }
            None => println!("SKIP: TensorRT was not fetched"),
        }
    }
}
