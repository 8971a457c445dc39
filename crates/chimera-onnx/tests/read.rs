//! Files that lie: each is refused with the error that says what to do.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside what the lint takes for tests")]

use std::path::{Path, PathBuf};

use chimera_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto,
};
use chimera_onnx::{Data, DataType, Extent, Model, OnnxError, ReadOptions, node, value};
use prost::Message;

/// `y = x + w`, ready to be spoilt.
fn sound() -> ModelProto {
    let graph = GraphProto {
        name: Some("g".to_owned()),
        node: vec![node("Add", &["x", "w"], &["y"], &[])],
        input: vec![value("x", DataType::F32, &[Extent::Number(2)])],
        output: vec![value("y", DataType::F32, &[Extent::Number(2)])],
        initializer: vec![tensor("w", &[2], 1)],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(18) }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn tensor(name: &str, dims: &[i64], kind: i32) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(kind),
        raw_data: Some(vec![0; 8].into()),
        ..TensorProto::default()
    }
}

fn read(model: &ModelProto) -> Result<Model, OnnxError> {
    Model::from_bytes(&model.encode_to_vec(), &ReadOptions::default())
}

/// The error of a model that `spoil` has changed must have this code and say this.
fn refused(code: &str, part: &str, spoil: impl FnOnce(&mut GraphProto)) {
    let mut model = sound();
    spoil(model.graph.as_mut().unwrap());
    let error = read(&model).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn tensors_must_be_as_large_as_they_say() {
    read(&sound()).unwrap();
    refused("onnx.corrupt", "take 12", |g| g.initializer[0].dims = vec![3]);
    refused("onnx.corrupt", "beyond all memory", |g| g.initializer[0].dims = vec![1 << 40, 1 << 40]);
    refused("onnx.corrupt", "extents [-1]", |g| g.initializer[0].dims = vec![-1]);
    refused("onnx.corrupt", "no values", |g| g.initializer[0].raw_data = None);
    refused("onnx.corrupt", "more than once", |g| g.initializer[0].float_data = vec![1.0, 2.0]);
    refused("onnx.unsupported", "element type 8", |g| g.initializer[0].data_type = Some(8));
    refused("onnx.corrupt", "take 8", |g| {
        g.initializer[0].raw_data = None;
        g.initializer[0].float_data = vec![1.0];
    });
    // Also where no engine would look at first.
    refused("onnx.corrupt", "tensor inner", |g| {
        let attribute = AttributeProto { t: Some(tensor("inner", &[5], 1)), ..AttributeProto::default() };
        let mut constant = node("Constant", &[], &["c"], &[]);
        constant.attribute.push(attribute);
        g.node.push(constant);
    });
}

#[test]
fn values_in_fields_of_their_type_are_read() {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    let empty = |name: &str, dims: &[i64], kind| TensorProto { raw_data: None, ..tensor(name, dims, kind) };
    graph.initializer[0] = TensorProto { float_data: vec![1.5, -2.0], ..empty("w", &[2], 1) };
    graph.initializer.push(TensorProto { int64_data: vec![7], ..empty("n", &[], 7) });
    // One in binary16, and minus three in eight bits.
    graph.initializer.push(TensorProto { int32_data: vec![0x3c00], ..empty("h", &[1], 10) });
    graph.initializer.push(TensorProto { int32_data: vec![-3], ..empty("b", &[1], 3) });
    graph.initializer.push(empty("nothing", &[0, 4], 1));
    let read = read(&model).unwrap();
    assert_eq!(read.initializer("w").unwrap().to_f32().unwrap(), [1.5, -2.0]);
    assert_eq!(read.initializer("n").unwrap().to_i64().unwrap(), [7]);
    assert_eq!(read.initializer("h").unwrap().to_f32().unwrap(), [1.0]);
    assert_eq!(read.initializer("b").unwrap().load().unwrap().as_ref(), [0xfd]);
    assert_eq!(read.initializer("nothing").unwrap().bytes(), 0);
}

#[test]
fn graphs_must_be_graphs() {
    refused("onnx.graph", "a cycle", |g| {
        g.node = vec![node("Add", &["x", "b"], &["a"], &[]), node("Add", &["a", "w"], &["b"], &[])];
    });
    refused("onnx.graph", "uses `nowhere`, which nothing gives", |g| {
        g.node[0].input[1] = "nowhere".to_owned()
    });
    refused("onnx.graph", "before", |g| g.node.insert(0, node("Neg", &["y"], &["z"], &[])));
    refused("onnx.graph", "given twice", |g| g.node.push(node("Neg", &["x"], &["y"], &[])));
    refused("onnx.graph", "output `y`", |g| g.node[0].output[0] = "other".to_owned());
    refused("onnx.graph", "two constants", |g| g.initializer.push(tensor("w", &[2], 1)));
    refused("onnx.graph", "uses `far`", |g| {
        // A branch may use what is outside it, and nothing else.
        let branch = |from: &str| GraphProto {
            node: vec![node("Neg", &[from], &["out"], &[])],
            output: vec![value("out", DataType::F32, &[])],
            ..GraphProto::default()
        };
        let attribute =
            |from: &str| AttributeProto { g: Some(Box::new(branch(from))), ..AttributeProto::default() };
        let mut choice = node("If", &["x"], &["chosen"], &[]);
        choice.attribute = vec![attribute("w"), attribute("far")];
        g.node.push(choice);
    });
}

#[test]
fn unknown_operators_are_named_and_may_be_allowed() {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(node("Frobnicate", &["x"], &["z"], &[]));
    graph.node.push(NodeProto { domain: Some("com.example".to_owned()), ..node("Add", &["x"], &["u"], &[]) });
    model.opset_import.push(OperatorSetIdProto { domain: Some("com.example".to_owned()), version: Some(1) });
    let error = read(&model).unwrap_err();
    let OnnxError::UnknownOperator { operators, .. } = &error else { panic!("{error}") };
    assert_eq!(operators.as_slice(), ["ai.onnx:Frobnicate", "com.example:Add"]);
    let mut options = ReadOptions::default();
    options.allow = vec!["ai.onnx:Frobnicate".to_owned(), "com.example:*".to_owned()];
    Model::from_bytes(&model.encode_to_vec(), &options).unwrap();
    model.opset_import.pop();
    let error = Model::from_bytes(&model.encode_to_vec(), &options).unwrap_err();
    assert_eq!(error.code(), "onnx.graph", "{error}");
    model.opset_import[0].version = Some(99);
    assert_eq!(read(&model).unwrap_err().code(), "onnx.unsupported");
}

#[test]
fn structure_that_takes_more_memory_than_allowed_is_refused() {
    let mut model = sound();
    let graph = model.graph.as_mut().unwrap();
    graph.value_info = vec![Default::default(); 10_000];
    let mut options = ReadOptions::default();
    options.memory = 1 << 20;
    let error = Model::from_bytes(&model.encode_to_vec(), &options).unwrap_err();
    assert!(error.code() == "onnx.corrupt" && error.to_string().contains("memory"), "{error}");
    read(&model).unwrap();
}

/// The model in a folder, its weights where `location` says.
fn external(folder: &Path, entries: &[(&str, &str)]) -> PathBuf {
    let mut model = sound();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.raw_data = None;
    tensor.data_location = Some(1);
    tensor.external_data = entries
        .iter()
        .map(|(key, value)| StringStringEntryProto {
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()),
        })
        .collect();
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

#[test]
fn weights_in_another_file_are_read_from_the_models_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    std::fs::create_dir_all(folder.join("parts")).unwrap();
    std::fs::write(dir.path().join("secret"), [1; 64]).unwrap();
    let data: Vec<u8> = [0.0_f32, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.join("parts/w.bin"), data).unwrap();
    let path = external(&folder, &[("location", "parts/w.bin"), ("offset", "4"), ("length", "8")]);
    let model = Model::read(&path).unwrap();
    assert_eq!(model.initializer("w").unwrap().to_f32().unwrap(), [3.0, 4.0]);
    assert!(matches!(model.initializer("w").unwrap().data, Data::File { .. }));

    let absolute = dir.path().join("secret");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&absolute, folder.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), folder.join("up")).unwrap();
    }
    let outside =
        ["../secret", absolute.to_str().unwrap(), "parts/../../secret", "", "c:\\secret", "..\\secret"];
    let links: &[&str] = if cfg!(unix) { &["link", "up/secret"] } else { &[] };
    for location in outside.iter().chain(links) {
        let path = external(&folder, &[("location", location)]);
        assert_eq!(Model::read(&path).unwrap_err().code(), "onnx.outside_folder", "{location}");
    }
    for location in ["none.bin", "parts"] {
        let path = external(&folder, &[("location", location)]);
        assert_eq!(Model::read(&path).unwrap_err().code(), "onnx.missing_data", "{location}");
    }
    let w = ("location", "parts/w.bin");
    for entries in [
        vec![w, ("offset", "8")],
        vec![w, ("offset", "18446744073709551615")],
        vec![w, ("offset", "-4")],
        vec![w, ("length", "12")],
        vec![("offset", "0")],
    ] {
        let path = external(&folder, &entries);
        assert_eq!(Model::read(&path).unwrap_err().code(), "onnx.corrupt", "{entries:?}");
    }
    // From memory there is no folder.
    let data = std::fs::read(external(&folder, &[w])).unwrap();
    assert_eq!(Model::from_bytes(&data, &ReadOptions::default()).unwrap_err().code(), "onnx.missing_data");
}

#[test]
fn large_weights_stay_in_the_file_and_are_read_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    let mut model = read(&sound()).unwrap();
    let values: Vec<f32> = (0..5000).map(|v| v as f32).collect();
    model.initializers.push(chimera_onnx::Tensor::floats("big", &[50, 100], DataType::F32, &values));
    model.write(&path).unwrap();
    let read = Model::read(&path).unwrap();
    let big = read.initializer("big").unwrap();
    assert!(matches!(&big.data, Data::File { bytes: 20_000, .. }));
    assert!(matches!(read.initializer("w").unwrap().data, Data::Memory(_)));
    assert_eq!(big.to_f32().unwrap(), values);
    // Cut short after it was read: an error, not zeros.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(big.load().unwrap_err().code(), "onnx.io");
    assert_eq!(Model::read(&path).unwrap_err().code(), "onnx.corrupt");
    assert_eq!(Model::read(&dir.path().join("none")).unwrap_err().code(), "onnx.io");
}
