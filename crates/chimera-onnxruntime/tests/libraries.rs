//! Files that are no usable library: probing says what each is, and neither panics nor ends the process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use chimera_core::{Availability, BackendError, InferenceBackend, LoadOptions, ModelRef};

/// What probing says of a library that is none.
fn said(library: &Path) -> String {
    let backend = common::backend(library).build();
    let probe = common::wait(backend.probe()).expect("an answer");
    assert_eq!(probe.version, None);
    let Availability::LibraryMissing { reason, remedy } = &probe.availability else {
        panic!("{:?}", probe.availability);
    };
    assert!(remedy.contains("ORT_DYLIB_PATH"), "{remedy}");
    // Loading says the same.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("model.onnx"), "").expect("a file");
    let error = common::refused(common::wait(
        backend.load(&ModelRef::at("x", folder.path()), &LoadOptions::default()),
    ));
    assert!(
        matches!(&error, BackendError::Unavailable { reason: said, .. } if said.contains(reason)),
        "{error}"
    );
    reason.clone()
}

#[test]
fn what_is_no_library_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("libonnxruntime.so");
    assert!(said(&path).contains("libonnxruntime.so"));
    for bytes in [&b""[..], b"a text file\n", b"\x7fELF\x02\x01\x01"] {
        std::fs::write(&path, bytes).expect("a file");
        assert!(said(&path).contains("libonnxruntime.so"));
    }
    assert!(said(Path::new("libno-such-onnxruntime.so.7")).contains("libno-such-onnxruntime"));
}

#[test]
fn a_truncated_library_is_refused_before_it_is_opened() {
    let Some(library) = common::library() else { return };
    let whole = std::fs::read(library).expect("a readable library");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("libonnxruntime.so");
    for share in [100, 50, 10, 2] {
        std::fs::write(&path, &whole[..whole.len() / 100 * (100 - share)]).expect("a file");
        let said = said(&path);
        assert!(!cfg!(target_os = "linux") || said.contains("empty") || said.contains("too early"), "{said}");
    }
}

/// Builds a library of one function.
fn compile(folder: &Path, source: &str) -> Option<PathBuf> {
    let (file, library) = (folder.join("shim.c"), folder.join("libshim.so"));
    std::fs::write(&file, source).expect("a file");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&file).output();
    if built.is_ok_and(|output| output.status.success()) {
        return Some(library);
    }
    println!("SKIP: no C compiler here to make a wrong library with");
    None
}

#[test]
fn libraries_of_something_else_and_of_old_versions_are_named() {
    let shim = |body: &str| {
        format!(
            "static const void *get_api(unsigned version) {{ (void)version; return 0; }}\n\
             static const char *get_version(void) {{ return {body}; }}\n\
             static const struct {{ const void *(*a)(unsigned); const char *(*b)(void); }} base = \
             {{ get_api, get_version }};\n\
             const void *OrtGetApiBase(void) {{ return &base; }}\n"
        )
    };
    for (source, word) in [
        ("int nothing(void) { return 0; }\n".to_owned(), "OrtGetApiBase"),
        ("const void *OrtGetApiBase(void) { return 0; }\n".to_owned(), "gives nothing"),
        (shim("\"1.17.3\""), "1.17.3"),
        (shim("\"0.1\""), "0.1"),
        (shim("\"newest\""), "newest"),
        (shim("0"), "does not tell"),
        (shim("\"1.99.0\""), "lacks version"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(library) = compile(folder.path(), &source) else { return };
        let said = said(&library);
        assert!(said.contains(word), "{said}");
    }
}
