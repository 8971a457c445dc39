//! From a model's name or path to its files, and what stands in `config.json` beside a graph.

use std::path::{Path, PathBuf};

use chimera_core::ModelRef;
use serde_json::Value;

use crate::error::LoadError;

/// Files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) graph: PathBuf,
    /// Where `config.json` and `tokenizer.json` are; exports put graphs in a folder `onnx` below it.
    pub(crate) folder: PathBuf,
}

const GRAPH: &str = "model.onnx";
const CONFIG: &str = "config.json";

/// Finds a model: at its path where it has one, else by name in the folder of models.
pub(crate) fn locate(model: &ModelRef, models: Option<&Path>) -> Result<Located, LoadError> {
    if let Some(path) = &model.path {
        return at(path);
    }
    let Some(models) = models else {
        return Err(LoadError::NotFound("it has no path, and no folder of models is configured".into()));
    };
    // A name is not a way out of the folder.
    let plain = Path::new(&*model.name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if model.name.is_empty() || !plain {
        return Err(LoadError::NotFound(format!("{:?} is no name of a file or folder", model.name)));
    }
    at(&models.join(&*model.name))
}

fn at(path: &Path) -> Result<Located, LoadError> {
    let graph = if path.is_dir() {
        in_folder(path)?
    } else if !path.exists() {
        return Err(LoadError::NotFound(format!("{} does not exist", path.display())));
    } else if path.extension().is_some_and(|extension| extension == "onnx") {
        path.to_owned()
    } else {
        return Err(LoadError::invalid(path, "it is neither .onnx nor a folder of a model"));
    };
    let beside = graph.parent().unwrap_or(Path::new(".")).to_owned();
    let above = beside.parent().filter(|above| beside.ends_with("onnx") && above.join(CONFIG).is_file());
    let folder = if beside.join(CONFIG).is_file() { &*beside } else { above.unwrap_or(&beside) }.to_owned();
    Ok(Located { graph, folder })
}

fn in_folder(folder: &Path) -> Result<PathBuf, LoadError> {
    for graph in [folder.join(GRAPH), folder.join("onnx").join(GRAPH)] {
        if graph.is_file() {
            return Ok(graph);
        }
    }
    let entries = std::fs::read_dir(folder).map_err(|e| LoadError::io(folder, e))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    match files.as_slice() {
        [file] => Ok(file.clone()),
        [] => Err(LoadError::NotFound(format!("{} holds no {GRAPH}", folder.display()))),
        several => Err(LoadError::NotFound(format!(
            "{} holds {} .onnx files: name one of them",
            folder.display(),
            several.len()
        ))),
    }
}

/// What an export says of its model, under the names of either family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) family: String,
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) context: usize,
    pub(crate) vocabulary: Option<usize>,
    pub(crate) end_of_sequence: Vec<u32>,
}

impl Config {
    /// Reads `config.json` and, where it is there, `generation_config.json`.
    pub(crate) fn read(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join(CONFIG);
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => LoadError::NotFound(format!(
                "{} is missing: a graph does not tell its context, its heads or its end-of-sequence token",
                path.display()
            )),
            _ => LoadError::io(&path, error),
        })?;
        let config: Value =
            serde_json::from_slice(&bytes).map_err(|e| LoadError::invalid(&path, e.to_string()))?;
        let generation = std::fs::read(folder.join("generation_config.json")).ok();
        let generation =
            generation.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null);
        Self::parse(&config, &generation).map_err(|what| LoadError::invalid(&path, what))
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
        let find = |name: &str| locate(&ModelRef::named(name), Some(root));
        let place =
            |graph: &str, folder: &str| Located { graph: root.join(graph), folder: root.join(folder) };
        assert_eq!(find("a").expect("a model"), place("a/model.onnx", "a"));
        assert_eq!(find("b").expect("an export"), place("b/onnx/model.onnx", "b"));
        assert_eq!(find("c").expect("one graph"), place("c/x.onnx", "c"));
        let direct = locate(&ModelRef::at("x", root.join("b/onnx/model.onnx")), None);
        assert_eq!(direct.expect("a path"), place("b/onnx/model.onnx", "b"));
        for name in ["d", "f", "g", "", "../a", "/etc"] {
            assert!(matches!(find(name), Err(LoadError::NotFound(_))), "{name}");
        }
        let odd = locate(&ModelRef::at("e", root.join("e.bin")), None);
        assert!(matches!(odd, Err(LoadError::Invalid { .. })));
    }

    #[test]
    fn configs_of_both_families_are_read() {
        let gpt2 = json!({"model_type": "gpt2", "n_layer": 2, "n_embd": 64, "n_head": 4, "n_positions": 128,
                          "vocab_size": 100, "eos_token_id": 99});
        let read = Config::parse(&gpt2, &Value::Null).expect("a config");
        assert_eq!((read.layers, read.width, read.heads, read.kv_heads, read.head_dim), (2, 64, 4, 4, 16));
        assert_eq!((read.context, read.vocabulary, read.end_of_sequence), (128, Some(100), vec![99]));
        let llama = json!({"model_type": "llama", "num_hidden_layers": 3, "hidden_size": 60, "head_dim": 8,
                           "num_attention_heads": 7, "num_key_value_heads": 1, "max_position_embeddings": 256,
                           "eos_token_id": 1});
        let read = Config::parse(&llama, &json!({"eos_token_id": [2, 3]})).expect("a config");
        assert_eq!((read.kv_heads, read.head_dim, read.end_of_sequence), (1, 8, vec![2, 3]));
        assert!(Config::parse(&json!({"n_layer": 0}), &Value::Null).is_err());
        let uneven = json!({"n_layer": 1, "n_embd": 10, "n_head": 3, "n_positions": 8});
        assert!(Config::parse(&uneven, &Value::Null).expect_err("no whole heads").contains("divide"));
    }
}
