//! The library of ONNX Runtime: looked at, opened once per process, and asked for its version before `ort` uses it. `ort`
//! panics where a library is not what it expects; nothing reaches it that was not checked here.

use std::{
    ffi::{CStr, c_char},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chimera_engine::files::check_library;
use ort::{environment::Environment, logging::LogLevel};

/// The oldest version of the C interface that this adapter speaks, which is also the oldest minor version of the library
/// that has it. Feature `api-24` of `ort`.
pub(crate) const OLDEST: u32 = 24;

/// Why there is no library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(crate) struct LibraryError {
    path: PathBuf,
    reason: String,
}

impl LibraryError {
    /// What the user can do.
    pub(crate) fn remedy(&self) -> String {
        format!(
            "`cargo xtask fetch onnxruntime` brings it, or set ORT_DYLIB_PATH to a libonnxruntime of version 1.{OLDEST} \
             or newer"
        )
    }
}

/// The library of this process.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) path: PathBuf,
    /// `1.32.0`.
    pub(crate) version: String,
    pub(crate) environment: Environment,
}

/// It stays until the process ends: values and sessions of every model point into it.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Opens the library, or gives the one that this process has opened before. A bare name is looked for by the system.
pub(crate) fn load(path: &Path) -> Result<Loaded, LibraryError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let refuse = |reason: String| LibraryError { path: path.to_owned(), reason };
    if let Some(loaded) = loaded.as_ref() {
        let same = loaded.path == path
            || matches!((path.canonicalize(), loaded.path.canonicalize()), (Ok(a), Ok(b)) if a == b);
        return if same {
            Ok(loaded.clone())
        } else {
            Err(refuse(format!(
                "this process has opened {} already, and a process can have one",
                loaded.path.display()
            )))
        };
    }
    // `ort` would take a relative path as one beside the program.
    let full = if is_bare(path) {
        path.to_owned()
    } else {
        let full = path.canonicalize().map_err(|error| refuse(error.to_string()))?;
        check_library(&full).map_err(refuse)?;
        full
    };
    let version = version(&full).map_err(refuse)?;
    if !is_new_enough(&version) {
        return Err(refuse(format!(
            "it is version {version}, and 1.{OLDEST} is the oldest that can be used"
        )));
    }
    let environment = ort::init_from(&full)
        .map_err(|error| error.to_string())
        .and_then(|builder| {
            let builder = builder.with_name("chimera").with_telemetry(false).with_logger(Arc::new(log));
            builder.build().map_err(|error| error.to_string())
        })
        .map_err(refuse)?;
    // Everything below warnings costs time in the middle of a measurement.
    environment.set_log_level(LogLevel::Warning);
    let made = Loaded { path: path.to_owned(), version, environment };
    *loaded = Some(made.clone());
    Ok(made)
}

/// Whether a path is but a name, which the system's loader looks for.
fn is_bare(path: &Path) -> bool {
    path.components().count() == 1 && !path.exists()
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next().flatten(), parts.next().flatten());
    major == Some(1) && minor.is_some_and(|minor| minor >= OLDEST)
}

/// Messages of the library go where those of this program go.
fn log(level: LogLevel, category: &str, _id: &str, at: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::trace!(category, at, "{message}"),
        LogLevel::Warning => tracing::debug!(category, at, "{message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(category, at, "{message}"),
    }
}

/// `OrtApiBase` of the C interface. Its two entries have never changed.
#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "system" fn(version: u32) -> *const std::ffi::c_void,
    get_version: unsafe extern "system" fn() -> *const c_char,
}

/// The version that the library calls itself, once it has shown that it has the C interface that is needed.
#[expect(unsafe_code, reason = "a library can be asked for its version by its C interface alone")]
fn version(path: &Path) -> Result<String, String> {
    // SAFETY: opening a library runs its constructors. It is the library that the user named, and `ort` opens it next.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| in_full(&error))?;
    type GetApiBase = unsafe extern "system" fn() -> *const ApiBase;
    // SAFETY: a library that exports this name has the C interface of ONNX Runtime, where it has this type.
    let base: libloading::Symbol<'_, GetApiBase> = unsafe { library.get(b"OrtGetApiBase") }
        .map_err(|_| "it is no ONNX Runtime: it does not export `OrtGetApiBase`".to_owned())?;
    // SAFETY: it takes no arguments and gives a pointer to a table that lives as long as the library, or null.
    let base = unsafe { base().as_ref() }.ok_or("its `OrtGetApiBase` gives nothing")?;
    // SAFETY: it gives a text that lives as long as the library, or null.
    let version = unsafe { (base.get_version)() };
    if version.is_null() {
        return Err("it does not tell its version".into());
    }
    // SAFETY: it is not null and, by the C interface, ends with a zero byte.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    if is_new_enough(&version) {
        // SAFETY: it takes a number and gives a pointer to a table, or null for a version that it lacks.
        let api = unsafe { (base.get_api)(OLDEST) };
        if api.is_null() {
            return Err(format!("it is version {version} and lacks version {OLDEST} of the C interface"));
        }
    }
    Ok(version)
}

/// An error with what caused it: the loader's own words are there.
fn in_full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", in_full(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, wanted) in [
            ("1.24.0", true),
            ("1.32.0", true),
            ("1.100.1", true),
            ("1.9.0", false),
            ("1.23.2", false),
            ("2.40.0", false),
            ("nonsense", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), wanted, "{version}");
        }
    }
}
