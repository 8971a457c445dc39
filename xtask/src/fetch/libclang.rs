//! libclang, which writes bindings from C and C++ headers while native parts are built. The wheel holds the library and
//! none of the compiler's own headers: those of the C compiler here are named instead.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::wheel::{Pinned, Wheel};

const WHEEL: Wheel = Wheel {
    name: "libclang",
    version: "18.1.1",
    files: &[
        Pinned {
            os: "linux",
            arch: "x86_64",
            file: "libclang-18.1.1-py2.py3-none-manylinux2010_x86_64.whl",
            sha256: "c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b",
            holds: "libclang-18.1.1.data/platlib/clang/native/libclang.so",
        },
        Pinned {
            os: "linux",
            arch: "aarch64",
            file: "libclang-18.1.1-py2.py3-none-manylinux2014_aarch64.whl",
            sha256: "54dda940a4a0491a9d1532bf071ea3ef26e6dbaf03b5000ed94dd7174e8f9592",
            holds: "libclang-18.1.1.data/platlib/clang/native/libclang.so",
        },
        Pinned {
            os: "windows",
            arch: "x86_64",
            file: "libclang-18.1.1-py2.py3-none-win_amd64.whl",
            sha256: "4dd2d3b82fab35e2bf9ca717d7b63ac990a3519c7e312f19fa8e86dcc712f7fb",
            holds: "libclang-18.1.1.data/platlib/clang/native/libclang.dll",
        },
    ],
};

/// The folder with the library: that of `LIBCLANG_PATH`, or the fetched one, fetched first if it is not there.
pub(crate) fn folder() -> Result<PathBuf> {
    match named() {
        Some(folder) => Ok(folder),
        None => parent(&WHEEL.held()?),
    }
}

/// The same if it is there already.
pub(crate) fn present() -> Option<PathBuf> {
    named().or_else(|| WHEEL.present().and_then(|_| folder().ok()))
}

fn named() -> Option<PathBuf> {
    std::env::var_os("LIBCLANG_PATH").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn parent(library: &Path) -> Result<PathBuf> {
    Ok(library.parent().context("the library lies in no folder")?.to_path_buf())
}

/// What a build needs to use the library of a folder.
pub(crate) fn environment(folder: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let mut all = vec![("LIBCLANG_PATH", folder.as_os_str().to_owned())];
    let name = "BINDGEN_EXTRA_CLANG_ARGS";
    // Whoever sets the arguments means them.
    if std::env::var_os(name).is_none()
        && let Some(headers) = headers()?
    {
        let mut argument = OsString::from("-I");
        argument.push(headers);
        all.push((name, argument));
    }
    Ok(all)
}

/// The folder of the C compiler's own headers (`stddef.h` and the like); none on Windows, where they are found by
/// themselves.
fn headers() -> Result<Option<PathBuf>> {
    if cfg!(windows) {
        return Ok(None);
    }
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    // Clang has its headers elsewhere and knows the first option alone.
    for name in ["include", "include/stddef.h"] {
        let output = Command::new(&compiler)
            .arg(format!("-print-file-name={name}"))
            .stdin(Stdio::null())
            .output()
            .with_context(|| {
                format!("the C compiler {compiler:?} does not start: install one (`apt install g++`)")
            })?;
        let found = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let folder = if found.is_dir() { Some(found.as_path()) } else { found.parent() };
        if let Some(folder) = folder.filter(|folder| folder.join("stddef.h").is_file()) {
            return Ok(Some(folder.to_path_buf()));
        }
    }
    anyhow::bail!(
        "the C compiler {compiler:?} does not tell where its headers are; set BINDGEN_EXTRA_CLANG_ARGS"
    )
}

/// Whether the C++ compiler here finds its own library's headers.
pub(crate) fn check_cpp() -> Result<()> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let remedy = "bindings of C++ need a C++ compiler and its headers: install them (`apt install g++`, \
                  `xcode-select --install`)";
    let mut child = Command::new(&compiler)
        .args(["-std=c++17", "-fsyntax-only", "-x", "c++", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{compiler:?} does not start; {remedy}"))?;
    if let Some(mut input) = child.stdin.take() {
        use std::io::Write;
        // A compiler that does not read its input fails below.
        let _ = input.write_all(b"#include <cstdint>\n#include <string>\n#include <vector>\n");
    }
    let status = child.wait().with_context(|| format!("{compiler:?}"))?;
    ensure!(status.success(), "{compiler:?} finds no C++ headers; {remedy}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_compilers_headers_are_found() {
        match headers() {
            Ok(Some(folder)) => assert!(folder.join("stddef.h").is_file()),
            Ok(None) => panic!("no answer"),
            Err(error) => println!("SKIP: {error:#}"),
        }
    }

    #[test]
    fn the_environment_names_the_library() {
        if headers().is_err() {
            println!("SKIP: no C compiler here");
            return;
        }
        let all = environment(Path::new("some/folder")).expect("a compiler");
        assert_eq!(all[0], ("LIBCLANG_PATH", OsString::from("some/folder")));
        if cfg!(unix) && std::env::var_os("BINDGEN_EXTRA_CLANG_ARGS").is_none() {
            assert!(all[1].1.to_string_lossy().starts_with("-I"), "{all:?}");
        }
    }
}
