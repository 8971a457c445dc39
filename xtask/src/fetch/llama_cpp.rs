//! What building llama.cpp takes (feature `llamacpp`): libclang for the bindings and cmake, as wheels where the system has
//! none, and a C and a C++ compiler, which are the user's to install. llama.cpp's sources come with a crate, by cargo.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::{
    libclang,
    wheel::{Pinned, Wheel},
};
use crate::build::root;

/// Features that need it.
pub(crate) const FEATURES: &[&str] = &["chimera-cli/llamacpp", "chimera-benches/llamacpp"];

const CMAKE: Wheel = Wheel {
    name: "cmake",
    version: "4.4.5",
    files: &[
        Pinned {
            os: "linux",
            arch: "x86_64",
            file: "cmake-4.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            sha256: "85625a9b6d5e88ff99c7eb79123d85570844e77ac076366cf75c609cc0b1b579",
            holds: "cmake/data/bin/cmake",
        },
        Pinned {
            os: "linux",
            arch: "aarch64",
            file: "cmake-4.4.5-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
            sha256: "25fc8469e67857124ef10c002331c0ab416eb7b8d9e1d6e4c58e84e730013ece",
            holds: "cmake/data/bin/cmake",
        },
        Pinned {
            os: "macos",
            arch: "aarch64",
            file: "cmake-4.4.5-py3-none-macosx_10_10_universal2.whl",
            sha256: "e07a5716b4233dc9c69d6ca6993f4405eefc7687e718d9f6eebbb6cc1be304ef",
            holds: "cmake/data/bin/cmake",
        },
        Pinned {
            os: "windows",
            arch: "x86_64",
            file: "cmake-4.4.5-py3-none-win_amd64.whl",
            sha256: "d5521b4a9e864505c550abae99ff593d501bd08225583e69b3a9a4ca7f36a03f",
            holds: "cmake/data/bin/cmake.exe",
        },
    ],
};

/// `cargo xtask fetch llama-cpp`.
pub(crate) fn fetch() -> Result<()> {
    for (name, value) in prepare()? {
        println!("{name}={}", value.display());
    }
    println!(
        "every `cargo xtask` from now on builds with llama.cpp, which takes some minutes the first time"
    );
    Ok(())
}

/// Fetches what is missing, and the environment to build in.
pub(crate) fn prepare() -> Result<Vec<(&'static str, OsString)>> {
    libclang::check_cpp()?;
    starts("make").or_else(|_| starts("ninja")).context(
        "neither `make` nor `ninja` starts, with which cmake builds: install one of them (`apt install make`)",
    )?;
    let cmake = if starts("cmake").is_ok() { None } else { Some(CMAKE.held()?) };
    let all = environment_of(&libclang::folder()?, cmake.as_deref())?;
    let wanted = wanted();
    fs::create_dir_all(root().join("target/fetched")).context("target/fetched cannot be made")?;
    fs::write(&wanted, "").with_context(|| format!("{} cannot be written", wanted.display()))?;
    Ok(all)
}

/// The environment to build in, if everything is here already.
pub(crate) fn environment() -> Option<Vec<(&'static str, OsString)>> {
    if !wanted().is_file() {
        return None;
    }
    let libclang = libclang::present()?;
    let cmake = if starts("cmake").is_ok() { None } else { CMAKE.present().and_then(|_| CMAKE.held().ok()) };
    if cmake.is_none() && starts("cmake").is_err() {
        return None;
    }
    libclang::check_cpp().ok()?;
    environment_of(&libclang, cmake.as_deref()).ok()
}

/// Says that llama.cpp was asked for: libclang alone may be here for another part, and nobody should wait minutes for a
/// build that they did not ask for.
fn wanted() -> PathBuf {
    root().join("target/fetched/llama-cpp-wanted")
}

fn environment_of(libclang: &Path, cmake: Option<&Path>) -> Result<Vec<(&'static str, OsString)>> {
    let mut all = libclang::environment(libclang)?;
    if let Some(cmake) = cmake {
        all.push(("CMAKE", cmake.as_os_str().to_owned()));
    }
    // Make is what cmake takes unless told otherwise.
    if !cfg!(windows) && env::var_os("CMAKE_GENERATOR").is_none() && starts("make").is_err() {
        all.push(("CMAKE_GENERATOR", "Ninja".into()));
    }
    Ok(all)
}

fn starts(program: &str) -> Result<PathBuf> {
    let status = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("`{program}` does not start"))?;
    anyhow::ensure!(status.success(), "`{program} --version` fails");
    Ok(program.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetched_cmake_is_named_to_the_build() {
        let Ok(all) = environment_of(Path::new("some/folder"), Some(Path::new("a/cmake"))) else {
            println!("SKIP: no C compiler here");
            return;
        };
        assert!(all.contains(&("LIBCLANG_PATH", "some/folder".into())), "{all:?}");
        assert!(all.contains(&("CMAKE", "a/cmake".into())), "{all:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = starts("no-such-program-of-chimera").expect_err("there is none").to_string();
        assert!(error.contains("no-such-program-of-chimera"), "{error}");
    }
}
