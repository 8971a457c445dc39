//! The adapter's public side where there is no library, or a wrong one. A process keeps the first TensorRT that it loads,
//! so nothing here may load the real one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]

mod common;

use chimera_core::{Availability, BackendId, ClockSource, InferenceBackend, ModelRef, Phase, SystemClock};
use chimera_tensorrt::{BuildOptions, Capability, TensorRtBackend, TensorRtError};
use chimera_zoo::Variant;
use futures_executor::block_on;

#[test]
fn a_probe_answers_whatever_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let backend = TensorRtBackend::builder(SystemClock::new())
        .id(BackendId::new("tensorrt-a"))
        .libraries(folder.path())
        .build();
    let probe = block_on(backend.probe()).unwrap();
    assert_eq!(backend.id(), &BackendId::new("tensorrt-a"));
    match &probe.availability {
        Availability::NotCompiled { remedy, .. } if !cfg!(feature = "tensorrt") => {
            assert!(remedy.contains("cargo xtask fetch tensorrt") && remedy.contains("C++"), "{remedy}");
        }
        Availability::LibraryMissing { reason, remedy } if cfg!(feature = "tensorrt") => {
            assert!(reason.contains(&folder.path().display().to_string()), "{reason}");
            assert!(remedy.contains("cargo xtask fetch tensorrt"), "{remedy}");
        }
        other => panic!("{other}"),
    }
    let detail = |name: &str| probe.details.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert!(detail("hardware").is_some_and(|said| said.contains("never run on hardware")));
    let phases = &probe.capabilities.phases;
    assert!(phases.contains(&(Phase::Decode, ClockSource::Device)), "{phases:?}");
    assert!(!probe.capabilities.deterministic);
}

#[test]
fn without_a_library_loading_is_unavailable_and_other_faults_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let backend = TensorRtBackend::builder(SystemClock::new()).libraries(folder.path()).build();
    let load = |model: ModelRef| block_on(backend.load(&model, &common::whole())).unwrap_err();
    assert_eq!(load(common::model("llama-0.1m", Variant::F32Onnx)).code(), "unavailable");
    assert_eq!(load(ModelRef::named("nobody")).code(), "model-not-found");
    let file = folder.path().join("x.bin");
    std::fs::write(&file, "x").unwrap();
    assert_eq!(load(ModelRef::at("x", file)).code(), "model-invalid");
}

#[test]
fn damaged_graphs_are_found_before_a_library_is_needed() {
    let backend =
        TensorRtBackend::builder(SystemClock::new()).options(BuildOptions::new(Capability::Sm89)).build();
    let files = common::files("llama-0.1m", Variant::F32Onnx);
    let whole = std::fs::read(&files.weights).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(files.config.unwrap(), folder.path().join("config.json")).unwrap();
    let graph = folder.path().join("model.onnx");
    let refused = |bytes: &[u8]| {
        std::fs::write(&graph, bytes).unwrap();
        backend.build_engine(&ModelRef::at("m", folder.path()), &common::whole()).unwrap_err()
    };
    // NVIDIA's parser takes a line of text for a sound graph without nodes.
    for bytes in [b"text\n".as_slice(), b"", &whole[..whole.len() / 2], &whole[..100]] {
        let error = refused(bytes);
        assert!(
            matches!(error, TensorRtError::Invalid { .. } | TensorRtError::Unsupported(_)),
            "{} bytes: {error}",
            bytes.len()
        );
    }
    // The graph is sound and its context is not one that the model has.
    std::fs::write(&graph, &whole).unwrap();
    let mut options = common::whole();
    options.context = Some(1 << 20);
    let error = backend.build_engine(&ModelRef::at("m", folder.path()), &options).unwrap_err();
    assert!(matches!(&error, TensorRtError::Unsupported(what) if what.contains("a context of")), "{error}");
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let error = backend.build_engine(&ModelRef::at("m", folder.path()), &common::whole()).unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}

#[test]
#[cfg(all(feature = "tensorrt", target_os = "linux"))]
fn wrong_libraries_are_named_and_never_run() {
    use std::{fs, io::Read};

    let names = ["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"];
    let folder = tempfile::tempdir().unwrap();
    let said = || {
        let backend = TensorRtBackend::builder(SystemClock::new()).libraries(folder.path()).build();
        match block_on(backend.probe()).unwrap().availability {
            Availability::LibraryMissing { reason, .. } => reason,
            other => panic!("{other}"),
        }
    };
    for name in names {
        fs::write(folder.path().join(name), "text\n").unwrap();
    }
    assert!(said().contains("no ELF library"), "{}", said());
    let Some(real) = common::libraries() else { return };
    // The first megabyte of the real library: its headers are whole, the rest is missing.
    let mut head = Vec::new();
    fs::File::open(real.join(names[0])).unwrap().take(1 << 20).read_to_end(&mut head).unwrap();
    fs::write(folder.path().join(names[0]), head).unwrap();
    assert!(said().contains("ends too early"), "{}", said());
    // A whole library of NVIDIA's, but the other one.
    for name in names {
        fs::copy(real.join(names[1]), folder.path().join(name)).unwrap();
    }
    assert!(!said().is_empty());
}
