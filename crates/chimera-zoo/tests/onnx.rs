//! Graphs seen from outside: what is in the folder, what the reference packages say of it, and what is refused.

use std::path::Path;
use std::process::Command;

use chimera_onnx::quantise::{Activations, Range, StaticOptions, calibration_points, static_int8};
use chimera_zoo::{Architecture, Gpt2Spec, ModelSpec, Variant, Zoo};

#[test]
fn a_graph_lies_beside_its_configuration_and_its_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let files = zoo.ensure("llama-0.1m", Variant::F16Onnx).unwrap();
    assert_eq!(files.weights.file_name().unwrap(), "model.onnx");
    assert!(files.config.is_some() && files.tokenizer.is_some() && files.manifest.tokenizer);
    files.verify().unwrap();
    // The head is the embedding: its rows are stored once and read whole. Tables of 2048 positions are read by the row.
    let f16 = 2 * (106_816 + 2 * 16);
    let constants = files.manifest.bytes_per_decode_token - f16;
    assert!(constants < 400, "{constants} bytes of lists and scalars");
    let size = files.manifest.weights_bytes().unwrap();
    let tables = 2 * 2 * 2048 * 16;
    assert!(size < f16 + tables + 20_000, "the file has {size} bytes");
    // The same bits again.
    let other = tempfile::tempdir().unwrap();
    let again = Zoo::open(other.path()).unwrap().ensure("llama-0.1m", Variant::F16Onnx).unwrap();
    assert_eq!(again.manifest.digest(), files.manifest.digest());
}

#[test]
fn what_cannot_be_a_graph_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    let error = zoo.ensure("gemma3-1m", Variant::F32Onnx).unwrap_err();
    assert!(error.is_skip() && error.to_string().contains("Gemma 3"), "{error}");
    let large = ModelSpec {
        name: "large".to_owned(),
        seed: 1,
        architecture: Architecture::Gpt2(Gpt2Spec::new(24, 1280, 20)),
    };
    let error = zoo.ensure_spec(&large, Variant::F32Onnx).unwrap_err();
    assert!(error.is_skip() && error.to_string().contains("2 GiB"), "{error}");
    assert_eq!(Zoo::reason_to_skip(&large, Variant::F16Onnx), None);
    assert!(Zoo::reason_to_skip(&large, Variant::Int8DynamicOnnx).unwrap().contains("2 GiB"));
    let files = zoo.ensure("tiny-gpt2", Variant::F32Safetensors).unwrap();
    let error = zoo.derive(&files, "x", "x", |model| Ok(model.clone())).unwrap_err();
    assert_eq!(error.code(), "zoo.unsupported");
    let files = zoo.ensure("tiny-gpt2", Variant::F32Onnx).unwrap();
    let error = zoo.derive(&files, "../x", "x", |model| Ok(model.clone())).unwrap_err();
    assert_eq!(error.code(), "zoo.invalid_spec");
}

#[test]
fn reference_packages_check_and_run_the_graphs() {
    let Some(python) = std::env::var_os("CHIMERA_ORACLE_PYTHON") else {
        println!(
            "SKIP: no Python with the reference packages (CHIMERA_ORACLE_PYTHON names it; `cargo xtask test` makes one)"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let zoo = Zoo::open(dir.path()).unwrap();
    for name in ["tiny-gpt2", "gpt2-5m", "llama-0.1m", "llama-1m", "llama-10m"] {
        for variant in [Variant::F32Safetensors, Variant::F16Onnx, Variant::Int8DynamicOnnx] {
            zoo.ensure(name, variant).unwrap();
        }
        // Static forms with ranges wide enough for whatever these models compute; ranges that were measured are an engine's
        // business.
        let from = zoo.ensure(name, Variant::F32Onnx).unwrap();
        for (form, activations) in [("static-i8", Activations::I8), ("static-u8", Activations::U8)] {
            let made = zoo.derive(&from, &format!("onnx-int8-{form}"), "INT8 static (given)", |model| {
                let ranges = calibration_points(model)
                    .into_iter()
                    .map(|point| (point.value, Range { min: -8.0, max: 8.0 }))
                    .collect();
                let mut options = StaticOptions::default();
                options.activations = activations;
                static_int8(model, &ranges, &options)
            });
            assert_eq!(made.unwrap().manifest.arm, "INT8 static (given)");
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/graphs.py");
    let output = Command::new(python).arg(script).arg(dir.path()).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(3) {
        println!("SKIP: {}", text.trim());
        return;
    }
    println!("{text}");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("checked 5 graphs"), "{text}");
}
