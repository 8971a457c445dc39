//! From a model's name or path to the files of its graph. Nothing is read here but folders.

use std::path::{Path, PathBuf};

use chimera_core::ModelRef;

use crate::error::TensorRtError;

/// Files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// The folder, where `config.json` and perhaps `tokenizer.json` lie.
    pub(crate) folder: PathBuf,
    /// The graph.
    pub(crate) graph: PathBuf,
}

const GRAPH: &str = "model.onnx";

/// Finds a model: at its path where it has one, else by name in the folder of models.
pub(crate) fn locate(model: &ModelRef, models: Option<&Path>) -> Result<Located, TensorRtError> {
    if let Some(path) = &model.path {
        return at(path);
    }
    let Some(models) = models else {
        return Err(TensorRtError::NotFound("it has no path, and no folder of models is configured".into()));
    };
    // A name is not a way out of the folder.
    let plain = Path::new(&*model.name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if model.name.is_empty() || !plain {
        return Err(TensorRtError::NotFound(format!("{:?} is no name of a folder", model.name)));
    }
    at(&models.join(&*model.name))
}

fn at(path: &Path) -> Result<Located, TensorRtError> {
    if path.is_dir() {
        return within(path);
    }
    if !path.exists() {
        return Err(TensorRtError::NotFound(format!("{} does not exist", path.display())));
    }
    if path.extension().is_some_and(|extension| extension == "onnx") {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        return Ok(Located { folder, graph: path.to_owned() });
    }
    Err(TensorRtError::invalid(path, "it is neither .onnx nor a folder of a model"))
}

fn within(folder: &Path) -> Result<Located, TensorRtError> {
    let graph = folder.join(GRAPH);
    if graph.is_file() {
        return Ok(Located { folder: folder.to_owned(), graph });
    }
    let entries = std::fs::read_dir(folder).map_err(|source| TensorRtError::io(folder, source))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    match files.as_slice() {
        [graph] => Ok(Located { folder: folder.to_owned(), graph: graph.clone() }),
        [] => Err(TensorRtError::NotFound(format!("{} holds no {GRAPH}", folder.display()))),
        several => Err(TensorRtError::NotFound(format!(
            "{} holds {} .onnx files and no {GRAPH}: name one of them",
            folder.display(),
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_found_by_name_and_by_path() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (folder, files) in
            [("a", &["model.onnx", "x.onnx"][..]), ("b", &["y.onnx"]), ("c", &["y.onnx", "z.onnx"])]
        {
            std::fs::create_dir(root.join(folder)).unwrap();
            for file in files {
                std::fs::write(root.join(folder).join(file), "").unwrap();
            }
        }
        let find = |name: &str| locate(&ModelRef::named(name), Some(root));
        assert_eq!(find("a").unwrap().graph, root.join("a/model.onnx"));
        assert_eq!(find("b").unwrap().graph, root.join("b/y.onnx"));
        let by_path = locate(&ModelRef::at("any", root.join("c/z.onnx")), None).unwrap();
        assert_eq!(by_path, Located { folder: root.join("c"), graph: root.join("c/z.onnx") });
        for name in ["c", "d", "", "../b", "/etc"] {
            assert!(matches!(find(name), Err(TensorRtError::NotFound(_))), "{name}");
        }
        assert!(matches!(locate(&ModelRef::named("a"), None), Err(TensorRtError::NotFound(_))));
        std::fs::write(root.join("e.bin"), "").unwrap();
        let odd = locate(&ModelRef::at("e", root.join("e.bin")), None);
        assert!(matches!(odd, Err(TensorRtError::Invalid { .. })));
    }
}
