//! From a model's name or path to its files. Nothing is read here but folders.

use std::path::{Path, PathBuf};

use chimera_core::ModelRef;

use super::FileError;

/// Files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// Weights with `config.json` and perhaps `tokenizer.json` in one folder.
    Safetensors {
        /// The folder.
        folder: PathBuf,
        /// The file of weights in it.
        weights: PathBuf,
    },
    /// One file with everything.
    Gguf(PathBuf),
}

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";

/// Finds a model: at its path where it has one, else by name in the folder of models.
///
/// # Errors
/// There is none, or what is there is no file of a model.
pub fn locate(model: &ModelRef, models: Option<&Path>) -> Result<Located, FileError> {
    if let Some(path) = &model.path {
        return at(path);
    }
    let folder = in_models(&model.name, models)?;
    let file = folder.with_file_name(format!("{}.gguf", folder.file_name().unwrap_or_default().display()));
    if folder.is_dir() {
        at(&folder)
    } else if file.is_file() {
        Ok(Located::Gguf(file))
    } else {
        Err(FileError::NotFound(format!("neither {} nor {} exists", folder.display(), file.display())))
    }
}

/// The place of a name in the folder of models.
pub(super) fn in_models(name: &str, models: Option<&Path>) -> Result<PathBuf, FileError> {
    let Some(models) = models else {
        return Err(FileError::NotFound("it has no path, and no folder of models is configured".into()));
    };
    // A name is not a way out of the folder.
    let plain = Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(FileError::NotFound(format!("{name:?} is no name of a file or folder")));
    }
    Ok(models.join(name))
}

/// Files of a folder that end so, in order.
pub(super) fn with_extension(folder: &Path, wanted: &str) -> Result<Vec<PathBuf>, FileError> {
    let entries = std::fs::read_dir(folder).map_err(|e| FileError::io(folder, e))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == wanted)).collect();
    files.sort();
    Ok(files)
}

fn at(path: &Path) -> Result<Located, FileError> {
    if path.is_dir() {
        return in_folder(path);
    }
    if !path.exists() {
        return Err(FileError::NotFound(format!("{} does not exist", path.display())));
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("gguf") => Ok(Located::Gguf(path.to_owned())),
        Some("safetensors") => {
            let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
            Ok(Located::Safetensors { folder, weights: path.to_owned() })
        }
        _ => Err(FileError::invalid(path, "it is neither .gguf nor .safetensors nor a folder of a model")),
    }
}

fn in_folder(folder: &Path) -> Result<Located, FileError> {
    let weights = folder.join(WEIGHTS);
    if weights.is_file() {
        return Ok(Located::Safetensors { folder: folder.to_owned(), weights });
    }
    match with_extension(folder, "gguf")?.as_slice() {
        [file] => Ok(Located::Gguf(file.clone())),
        [] if folder.join("model.safetensors.index.json").is_file() => Err(FileError::Unsupported(format!(
            "weights in several files ({}): join them into one {WEIGHTS}",
            folder.display()
        ))),
        [] => Err(FileError::NotFound(format!(
            "{} holds neither {WEIGHTS} (with {CONFIG}) nor a .gguf file",
            folder.display()
        ))),
        several => Err(FileError::NotFound(format!(
            "{} holds {} .gguf files: name one of them",
            folder.display(),
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_name_and_by_path() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("a").join(WEIGHTS), "").unwrap();
        std::fs::write(root.join("b.gguf"), "").unwrap();
        std::fs::create_dir(root.join("c")).unwrap();
        std::fs::write(root.join("c").join("x.gguf"), "").unwrap();

        let find = |name: &str| locate(&ModelRef::named(name), Some(root));
        assert!(matches!(find("a").unwrap(), Located::Safetensors { .. }));
        assert_eq!(find("b").unwrap(), Located::Gguf(root.join("b.gguf")));
        assert_eq!(find("c").unwrap(), Located::Gguf(root.join("c").join("x.gguf")));
        assert_eq!(
            locate(&ModelRef::at("anything", root.join("b.gguf")), None).unwrap(),
            Located::Gguf(root.join("b.gguf"))
        );
        for name in ["d", "", "../b", "/etc"] {
            assert!(matches!(find(name), Err(FileError::NotFound(_))), "{name}");
        }
        assert!(matches!(locate(&ModelRef::named("a"), None), Err(FileError::NotFound(_))));
        std::fs::write(root.join("e.bin"), "").unwrap();
        let odd = locate(&ModelRef::at("e", root.join("e.bin")), None);
        assert!(matches!(odd, Err(FileError::Invalid { .. })));
    }
}
