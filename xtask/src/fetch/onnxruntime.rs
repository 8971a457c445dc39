//! The library of ONNX Runtime, out of the wheel that its authors publish for Python. The laboratory loads it at run time
//! (`docs/decisions/0010-onnxruntime.md`); `ORT_DYLIB_PATH` names another.

use std::path::PathBuf;

use anyhow::Result;

use super::wheel::{Pinned, Wheel};

/// Where the tests and the binaries look first.
pub(crate) const VARIABLE: &str = "ORT_DYLIB_PATH";

const WHEEL: Wheel = Wheel {
    name: "onnxruntime",
    version: "1.32.0",
    files: &[
        Pinned {
            os: "linux",
            arch: "x86_64",
            file: "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl",
            sha256: "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
            holds: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        },
        Pinned {
            os: "linux",
            arch: "aarch64",
            file: "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_aarch64.whl",
            sha256: "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
            holds: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        },
        Pinned {
            os: "macos",
            arch: "aarch64",
            file: "onnxruntime-1.32.0-cp312-cp312-macosx_14_0_arm64.whl",
            sha256: "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
            holds: "onnxruntime/capi/libonnxruntime.1.32.0.dylib",
        },
        Pinned {
            os: "windows",
            arch: "x86_64",
            file: "onnxruntime-1.32.0-cp312-cp312-win_amd64.whl",
            sha256: "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40",
            holds: "onnxruntime/capi/onnxruntime.dll",
        },
    ],
};

/// `cargo xtask fetch onnxruntime`.
pub(crate) fn fetch() -> Result<()> {
    println!("{}", library()?.display());
    Ok(())
}

/// The library: that of `ORT_DYLIB_PATH`, or the fetched one, fetched first if it is not there.
pub(crate) fn library() -> Result<PathBuf> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => WHEEL.held(),
    }
}
