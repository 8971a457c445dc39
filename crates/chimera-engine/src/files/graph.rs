//! ONNX graphs: from a model's name or path to its files, and what stands in `config.json` beside a graph, which does not
//! tell it. The graph itself is read elsewhere.

use std::path::{Path, PathBuf};

use chimera_core::ModelRef;
use serde_json::Value;

use super::{
    FileError,
    locate::{in_models, with_extension},
};

/// Files of one model that is a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphFiles {
    /// The graph.
    pub graph: PathBuf,
    /// Where `config.json` and `tokenizer.json` are; exports put graphs in a folder `onnx` below it.
    pub folder: PathBuf,
}

const GRAPH: &str = "model.onnx";
const CONFIG: &str = "config.json";

impl GraphFiles {
    /// Finds a model: at its path where it has one, else by name in the folder of models.
    ///
    /// # Errors
    /// There is none, or what is there is no graph.
    pub fn locate(model: &ModelRef, models: Option<&Path>) -> Result<Self, FileError> {
        match &model.path {
            Some(path) => at(path),
            None => at(&in_models(&model.name, models)?),
        }
    }
}

fn at(path: &Path) -> Result<GraphFiles, FileError> {
    let graph = if path.is_dir() {
        in_folder(path)?
    } else if !path.exists() {
        return Err(FileError::NotFound(format!("{} does not exist", path.display())));
    } else if path.extension().is_some_and(|extension| extension == "onnx") {
        path.to_owned()
    } else {
        return Err(FileError::invalid(path, "it is neither .onnx nor a folder of a model"));
    };
    let beside = graph.parent().unwrap_or(Path::new(".")).to_owned();
    let above = beside.parent().filter(|above| beside.ends_with("onnx") && above.join(CONFIG).is_file());
    let folder = if beside.join(CONFIG).is_file() { &*beside } else { above.unwrap_or(&beside) }.to_owned();
    Ok(GraphFiles { graph, folder })
}

fn in_folder(folder: &Path) -> Result<PathBuf, FileError> {
    for graph in [folder.join(GRAPH), folder.join("onnx").join(GRAPH)] {
        if graph.is_file() {
            return Ok(graph);
        }
    }
    match with_extension(folder, "onnx")?.as_slice() {
        [file] => Ok(file.clone()),
        [] => Err(FileError::NotFound(format!("{} holds no {GRAPH}", folder.display()))),
        several => Err(FileError::NotFound(format!(
            "{} holds {} .onnx files: name one of them",
            folder.display(),
            several.len()
        ))),
    }
}

/// What `config.json` says of a model, under the names of either family.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphConfig {
    /// `model_type`: `gpt2`, `llama`.
    pub family: String,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest prompt and answer together.
    pub context: usize,
    /// Tokens that it knows, where it says so.
    pub vocabulary: Option<usize>,
    /// Tokens that end an answer; those of `generation_config.json` before those of `config.json`.
    pub end_of_sequence: Vec<u32>,
}

impl GraphConfig {
    /// Reads `config.json` and, where it is there, `generation_config.json`.
    ///
    /// # Errors
    /// No file, or one that lacks a shape or has one that cannot be.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(CONFIG);
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => FileError::NotFound(format!(
                "{} is missing: a graph does not tell its context, its heads or its end-of-sequence token",
                path.display()
            )),
            _ => FileError::io(&path, error),
        })?;
        let config: Value =
            serde_json::from_slice(&bytes).map_err(|e| FileError::invalid(&path, e.to_string()))?;
        let generation = std::fs::read(folder.join("generation_config.json")).ok();
        let generation =
            generation.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null);
        Self::parse(&config, &generation).map_err(|what| FileError::invalid(&path, what))
    }

    fn parse(config: &Value, generation: &Value) -> Result<Self, String> {
        let number = |names: &[&str]| names.iter().find_map(|name| size(&config[*name]));
        let must = |names: &[&str]| number(names).ok_or_else(|| format!("`{}` is missing or zero", names[0]));
        let (layers, width) = (must(&["num_hidden_layers", "n_layer"])?, must(&["hidden_size", "n_embd"])?);
        let heads = must(&["num_attention_heads", "n_head"])?;
        let head_dim = match number(&["head_dim"]) {
            Some(dim) => dim,
            None if width.is_multiple_of(heads) => width / heads,
            None => return Err(format!("a width of {width} does not divide into {heads} heads")),
        };
        let end = |from: &Value| -> Vec<u32> {
            let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            let ids = &from["eos_token_id"];
            ids.as_array()
                .map_or_else(|| id(ids).into_iter().collect(), |all| all.iter().filter_map(id).collect())
        };
        let mut end_of_sequence = end(generation);
        if end_of_sequence.is_empty() {
            end_of_sequence = end(config);
        }
        Ok(Self {
            family: config["model_type"].as_str().unwrap_or("unknown").to_owned(),
            layers,
            width,
            heads,
            kv_heads: number(&["num_key_value_heads"]).unwrap_or(heads),
            head_dim,
            context: must(&["max_position_embeddings", "n_positions", "n_ctx"])?,
            vocabulary: number(&["vocab_size"]),
            end_of_sequence,
        })
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_are_found_by_name_and_by_path() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        let make = |name: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "").expect("a file");
        };
        for name in [
            "a/model.onnx",
            "a/config.json",
            "b/onnx/model.onnx",
            "b/config.json",
            "c/x.onnx",
            "d/x",
            "e.bin",
        ] {
            make(name);
        }
        make("f/one.onnx");
        make("f/two.onnx");
        let find = |name: &str| GraphFiles::locate(&ModelRef::named(name), Some(root));
        let place =
            |graph: &str, folder: &str| GraphFiles { graph: root.join(graph), folder: root.join(folder) };
        assert_eq!(find("a").expect("a model"), place("a/model.onnx", "a"));
        assert_eq!(find("b").expect("an export"), place("b/onnx/model.onnx", "b"));
        assert_eq!(find("c").expect("one graph"), place("c/x.onnx", "c"));
        let direct = GraphFiles::locate(&ModelRef::at("x", root.join("b/onnx/model.onnx")), None);
        assert_eq!(direct.expect("a path"), place("b/onnx/model.onnx", "b"));
        for name in ["d", "f", "g", "", "../a", "/etc"] {
            assert!(matches!(find(name), Err(FileError::NotFound(_))), "{name}");
        }
        let odd = GraphFiles::locate(&ModelRef::at("e", root.join("e.bin")), None);
        assert!(matches!(odd, Err(FileError::Invalid { .. })));
    }

    #[test]
    fn configs_of_both_families_are_read() {
        let gpt2 = json!({"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "n_positions": 128,
                          "vocab_size": 100, "eos_token_id": 99});
        let read = GraphConfig::parse(&gpt2, &Value::Null).expect("a config");
        assert_eq!((read.layers, read.width, read.heads, read.kv_heads, read.head_dim), (2, 64, 4, 4, 16));
        assert_eq!((read.context, read.vocabulary, read.end_of_sequence), (128, Some(100), vec![99]));
        let llama = json!({"model_type": "llama", "num_hidden_layers": 3, "hidden_size": 60, "head_dim": 8,
                           "num_attention_heads": 7, "num_key_value_heads": 1, "max_position_embeddings": 256,
                           "eos_token_id": 1});
        let read = GraphConfig::parse(&llama, &json!({"eos_token_id": [2, 3]})).expect("a config");
        assert_eq!((read.kv_heads, read.head_dim, read.end_of_sequence), (1, 8, vec![2, 3]));
        assert!(GraphConfig::parse(&json!({"n_layer": 0}), &Value::Null).is_err());
        let uneven = json!({"n_layer": 1, "n_embd": 10, "n_head": 3, "n_positions": 8});
        assert!(GraphConfig::parse(&uneven, &Value::Null).expect_err("no whole heads").contains("divide"));
    }
}
