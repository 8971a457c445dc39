//! llama.cpp itself: the library's start, what it says of itself, and a resident model.

mod log;
mod memory;
mod model;
#[cfg(test)]
mod tests;

use std::{ffi::CStr, sync::OnceLock};

use chimera_core::{BackendError, BackendId};
use chimera_engine::{EngineError, EngineThread, files::FileError};
use llama_cpp_2::{LlamaCppError, llama_backend::LlamaBackend};
use llama_cpp_sys_2 as sys;

pub(crate) use model::Model;

/// Version of the crate that brings llama.cpp's sources, and with them their revision.
pub(crate) const VERSION: &str = "llama-cpp-sys-2 0.1.161";

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl LoadError {
    pub(crate) fn into_backend(self, backend: &BackendId, model: &str) -> BackendError {
        match self {
            Self::File(error) => error.into_backend(backend, model),
            Self::Engine(error) => error.into_backend(backend),
        }
    }
}

/// The library, started once in a process and never ended: sessions come and go.
fn library() -> Result<&'static LlamaBackend, EngineError> {
    static LIBRARY: OnceLock<Result<LlamaBackend, LlamaCppError>> = OnceLock::new();
    log::install();
    LIBRARY.get_or_init(LlamaBackend::init).as_ref().map_err(|error| EngineError::failed(error.to_string()))
}

/// The thread of all models. OpenMP gives each thread that calls it a team of its own, and waits in another way where all
/// teams together have more threads than there are processors: with a thread per model, a second model would make every
/// barrier of the first a sleep, and small models several times as slow.
pub(crate) fn thread() -> Result<&'static EngineThread, EngineError> {
    static THREAD: OnceLock<Result<EngineThread, String>> = OnceLock::new();
    let start = || EngineThread::start("llamacpp-engine").map_err(|error| error.to_string());
    THREAD.get_or_init(start).as_ref().map_err(|error| EngineError::failed(error.as_str()))
}

/// Whether a device other than the CPU is there.
pub(crate) fn has_gpu() -> bool {
    library().is_ok_and(LlamaBackend::supports_gpu_offload)
}

/// What llama.cpp says of itself. It is asked once in a process.
pub(crate) fn details() -> Vec<(String, String)> {
    static DETAILS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    DETAILS.get_or_init(ask).clone()
}

fn ask() -> Vec<(String, String)> {
    let detail = |name: &str, value: String| (name.to_owned(), value);
    if let Err(error) = library() {
        return vec![detail("llama.cpp", error.to_string())];
    }
    #[expect(unsafe_code, reason = "llama-cpp-2 has no names for these")]
    // SAFETY: all three return strings that end with a zero. Those of the versions are constants. That of the system is a
    // static buffer, written anew at each call: two threads must not ask at once, and the caller above asks once.
    let [llama, ggml, system] = unsafe {
        [sys::llama_version(), sys::ggml_version(), sys::llama_print_system_info()]
            .map(|text| CStr::from_ptr(text).to_string_lossy().into_owned())
    };
    vec![
        detail("llama.cpp", llama),
        detail("ggml", ggml),
        detail("system", system.trim().trim_end_matches('|').trim().to_owned()),
    ]
}
