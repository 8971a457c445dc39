//! Tests below the session: where nodes were placed, what is profiled, what is bound, what memory says.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use chimera_core::{Availability, LoadOptions, ModelRef};
use chimera_engine::{EngineError, LanguageModel, Wanted, files::GraphFiles};
use chimera_zoo::{ModelFiles, Variant, Zoo};
use ort::{
    memory::Allocator,
    value::{DynTensor, TensorElementType},
};

use crate::{
    build::{self, Variation},
    cache::Cache,
    device,
    error::of_run,
    library::{self, Loaded},
    model::OrtModel,
    options::{Options, Provider, Shapes},
    placement,
};

/// The library, or nothing and a line that says so.
fn library() -> Option<Loaded> {
    let set = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = set.or_else(fetched) else {
        println!("SKIP: no ONNX Runtime here; `cargo xtask fetch onnxruntime` brings it");
        return None;
    };
    Some(library::load(&path).unwrap())
}

fn fetched() -> Option<PathBuf> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/fetched/onnxruntime"));
    let wheels = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    let capi = wheels.filter(|path| path.join("stamp").is_file()).max()?.join("onnxruntime/capi");
    let mut files = std::fs::read_dir(capi).ok()?.flatten().map(|entry| entry.path());
    files.find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ["libonnxruntime.so", "libonnxruntime.1", "onnxruntime.dll"]
            .iter()
            .any(|start| name.starts_with(start))
    })
}

/// Files of a model, made once per build folder.
fn files(name: &str) -> ModelFiles {
    // The test's program is in `deps` of the build folder.
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(Path::parent).unwrap().join("chimera-onnxruntime-zoo");
    Zoo::open(folder).unwrap().ensure(name, Variant::F32Onnx).unwrap()
}

fn model(library: &Loaded, options: &Options) -> OrtModel {
    let located = GraphFiles::locate(&ModelRef::at("model", files("llama-0.1m").dir), None).unwrap();
    OrtModel::load("model", &located, &LoadOptions::default(), library, options).unwrap()
}

#[test]
fn every_node_has_a_provider_and_another_one_is_no_answer() {
    let Some(library) = library() else { return };
    let mut builder = build::builder(&library, &Options::default(), Variation::default())
        .unwrap()
        .with_config_entry(placement::RECORD, "1")
        .unwrap();
    let session = builder.commit_from_file(files("llama-0.1m").weights).unwrap();
    let placed = placement::of(&session).unwrap();
    println!("{placed}");
    assert_eq!(placed.check(Provider::Cpu), Ok(()));
    assert!(placed.check(Provider::Cuda(0)).unwrap_err().contains("no node"));
    assert!(placed.check(Provider::TensorRt(0)).unwrap_err().contains("CPUExecutionProvider"));
}

#[test]
fn a_provider_that_is_not_there_is_never_the_cpu() {
    let Some(library) = library() else { return };
    for provider in [Provider::Cuda(0), Provider::TensorRt(0)] {
        let options = Options { provider, ..Options::default() };
        if device::obstacle(&library, &options).is_none() {
            println!("SKIP: {provider} is there");
            continue;
        }
        let obstacle = device::obstacle(&library, &options).unwrap();
        println!("{obstacle}");
        assert!(matches!(obstacle, Availability::NoDevice { .. } | Availability::LibraryMissing { .. }));
        let located = GraphFiles::locate(&ModelRef::at("model", files("llama-0.1m").dir), None).unwrap();
        let loaded = OrtModel::load("model", &located, &LoadOptions::default(), &library, &options);
        let Err(error) = loaded else { panic!("{provider} was replaced by something else") };
        assert!(error.to_string().contains(&provider.to_string()), "{error}");
    }
}

#[test]
fn a_profile_names_operators_and_their_provider() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = Options { profile: Some(folder.path().join("run")), ..Options::default() };
    let mut model = model(&library, &options);
    let mut cache = model.start(&[0], 8).unwrap();
    model.forward(cache.as_mut(), &[1, 2, 3], Wanted::Last).unwrap();
    let profile = model.end_profile().unwrap();
    assert!(profile.starts_with(folder.path()), "{}", profile.display());
    let text = std::fs::read_to_string(profile).unwrap();
    assert!(text.contains("MatMul") && text.contains("CPUExecutionProvider"));
}

#[test]
fn fixed_sessions_are_as_many_as_their_limit() {
    let Some(library) = library() else { return };
    let one = NonZeroUsize::new(1);
    let mut model =
        model(&library, &Options { shapes: Shapes::Fixed(2), threads: one, ..Options::default() });
    let mut lengths = Vec::new();
    for tokens in [&[1, 2, 3][..], &[1], &[2], &[1, 2], &[4]] {
        let mut cache = model.start(&[0], 8).unwrap();
        let logits = model.forward(cache.as_mut(), tokens, Wanted::All).unwrap();
        assert_eq!(logits.rows(), tokens.len());
        lengths.push(model.fixed_sessions());
    }
    // Three tokens, one, again one, two by the dynamic session, again one.
    assert_eq!(lengths, [1, 2, 2, 2, 2]);
}

#[test]
fn a_cache_grows_within_the_room_that_was_asked_for() {
    let Some(library) = library() else { return };
    let mut model = model(&library, &Options::default());
    let mut cache = model.start(&[0, 2], 8).unwrap();
    model.forward(cache.as_mut(), &[1, 2, 3, 1, 2, 3], Wanted::None).unwrap();
    let any: &mut dyn std::any::Any = cache.as_mut();
    let ours = any.downcast_mut::<Cache>().unwrap();
    assert_eq!(ours.length, 3);
    let shape: Vec<i64> = ours.values[0].dtype().tensor_shape().unwrap().to_vec();
    assert_eq!((shape[0], shape[2]), (2, 3), "{shape:?}");
    let logits = model.forward(cache.as_mut(), &[4, 4], Wanted::Last).unwrap();
    assert_eq!((logits.rows(), cache.len()), (2, 4));
    // Beyond the room that was asked for there is none.
    let full = model.forward(cache.as_mut(), &[1; 10], Wanted::Last);
    assert!(matches!(full, Err(EngineError::OutOfMemory(_))));
    assert!(model.forward(cache.as_mut(), &[1; 3], Wanted::Last).is_err(), "three tokens for two lanes");
}

#[test]
fn memory_that_is_not_there_is_said_in_words_that_are_known() {
    if library().is_none() {
        return;
    }
    // Sixty terabytes.
    let shape = [1_i64 << 44];
    let error = DynTensor::new(&Allocator::default(), TensorElementType::Float32, shape).unwrap_err();
    assert!(matches!(of_run(&error), EngineError::OutOfMemory(_)), "{error}");
}
