//! The two shared libraries: where they are looked for, whether they can be what they are called, and which version they
//! are. A process loads one TensorRT and keeps it.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use chimera_core::Availability;
use chimera_engine::files::check_library;
use libloading::Library;

use crate::VARIABLE;

/// The version whose headers this was compiled with.
const SPOKEN: (i32, i32) = (1, 7);

const REMEDY: &str = "`cargo xtask fetch tensorrt` brings it, or name a folder with TensorRT for RTX 1.7 in \
                      CHIMERA_TENSORRT_DIR";

/// Names of the library and of its parser, as wheels and archives have them.
#[cfg(not(windows))]
const NAMES: [[&str; 2]; 2] = [
    ["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"],
    ["libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so"],
];
#[cfg(windows)]
const NAMES: [[&str; 2]; 1] = [["tensorrt_rtx_1_7.dll", "tensorrt_onnxparser_rtx_1_7.dll"]];

/// The libraries of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// `1.7.1.116`.
    pub(crate) version: String,
    /// Where it was found: a path, or a name that the system's loader knew.
    pub(crate) place: String,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Loads the libraries, unless they are: from a folder, else from that of the environment, else as the loader finds them.
pub(crate) fn load(folder: Option<&Path>) -> Result<Loaded, Availability> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = loaded.as_ref() {
        return Ok(loaded.clone());
    }
    let named = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let found = match folder.map(Path::to_owned).or(named) {
        Some(folder) => within(&folder),
        None => anywhere(),
    };
    let found = found.map_err(|reason| Availability::LibraryMissing { reason, remedy: REMEDY.to_owned() })?;
    Ok(loaded.insert(found).clone())
}

fn within(folder: &Path) -> Result<Loaded, String> {
    let pair = NAMES
        .iter()
        .map(|names| names.map(|name| folder.join(name)))
        .find(|paths| paths.iter().all(|path| path.is_file()))
        .ok_or_else(|| {
            let [library, parser] = NAMES[0];
            format!("{} holds no {library} and {parser}", folder.display())
        })?;
    for path in &pair {
        check_library(path).map_err(|what| format!("{}: {what}", path.display()))?;
    }
    let [library, parser] = pair;
    take(&library.to_string_lossy(), &parser.to_string_lossy())
}

fn anywhere() -> Result<Loaded, String> {
    let mut said = Vec::new();
    for [library, parser] in NAMES {
        match take(library, parser) {
            Ok(loaded) => return Ok(loaded),
            Err(why) => said.push(why),
        }
    }
    Err(format!("{VARIABLE} is not set, and the system's loader finds none: {}", said.join("; ")))
}

fn take(library: &str, parser: &str) -> Result<Loaded, String> {
    let version = version(library)?;
    if (version[0], version[1]) != SPOKEN {
        return Err(format!(
            "{library} is version {}.{}, and this program was built for {}.{}",
            version[0], version[1], SPOKEN.0, SPOKEN.1
        ));
    }
    trtx::dynamically_load_tensorrt(Some(library))
        .map_err(|error| format!("{library}: {}", whole(&error)))?;
    trtx::dynamically_load_tensorrt_onnxparser(Some(parser))
        .map_err(|error| format!("{parser}: {}", whole(&error)))?;
    let version = version.map(|part| part.to_string()).join(".");
    Ok(Loaded { version, place: library.to_owned() })
}

/// An error with its causes: the loader's own words are the last of them.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", whole(cause)),
        None => error.to_string(),
    }
}

/// Major, minor, patch and build number of a library.
fn version(library: &str) -> Result<[i32; 4], String> {
    let names: [&[u8]; 4] = [
        b"getInferLibMajorVersion\0",
        b"getInferLibMinorVersion\0",
        b"getInferLibPatchVersion\0",
        b"getInferLibBuildVersion\0",
    ];
    #[expect(unsafe_code, reason = "a version can only be asked of the library itself")]
    // SAFETY: the file is the library that the user named, and running its initialisers is what loading means. The four
    // functions take nothing and return an `int` in every version of TensorRT; a library without them is refused.
    unsafe {
        let opened = Library::new(library).map_err(|error| format!("{library}: {}", whole(&error)))?;
        let mut parts = [0; 4];
        for (part, name) in parts.iter_mut().zip(names) {
            let ask = opened.get::<unsafe extern "C" fn() -> i32>(name).map_err(|_| {
                format!("{library} is a library, but not TensorRT: it does not tell its version")
            })?;
            *part = ask();
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn wrong_libraries_are_refused_before_they_are_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |words: &str| {
            let said = within(folder.path()).unwrap_err();
            assert!(said.contains(words), "{said}");
        };
        refused("holds no");
        let [library, parser] = NAMES[0].map(|name| folder.path().join(name));
        fs::write(&library, "text\n").unwrap();
        refused("holds no");
        fs::write(&parser, "text\n").unwrap();
        if cfg!(target_os = "linux") {
            refused("no ELF library");
            // A program of this machine, whole and cut off: the first is no TensorRT, the second is never touched.
            let own = fs::read(env::current_exe().unwrap()).unwrap();
            fs::write(&parser, &own).unwrap();
            fs::write(&library, &own[..8192]).unwrap();
            refused("ends too early");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_that_is_not_tensorrt_says_so() {
        let said = take("libc.so.6", "libc.so.6").unwrap_err();
        assert!(said.contains("not TensorRT"), "{said}");
        let said = take("libnothing-of-this-name.so", "libc.so.6").unwrap_err();
        assert!(said.contains("libnothing-of-this-name.so"), "{said}");
    }
}
