//! The folder of model files: what is asked for is read from it, or made there. Files appear whole or not at all, so
//! processes may share a folder without a lock: each makes its own copy under a temporary name, the first rename
//! wins, and the others use the winner's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::ZooError;
use crate::hash::{HashedFile, sha256_file, sha256_of};
use crate::making::{Running, Work};
use crate::manifest::{FileEntry, MANIFEST_FORMAT, Manifest};
use crate::onnx;
use crate::real::real_model;
use crate::spec::{ModelSpec, model_names, models};
use crate::variant::{Container, Variant};
use crate::write::{Job, refuse_what_cannot_exist, write_model};

/// The version of the generator and the writers. It is part of every folder's name: a change of a single bit that
/// they write must change it.
pub const GENERATOR_VERSION: u32 = 1;

/// The version of the generator and of what writes this variant, as it goes into the names of folders. Graphs have one of
/// their own, so that a better graph does not make every other file anew.
pub(crate) fn writers(variant: Variant) -> String {
    match variant.container() {
        Container::Safetensors | Container::Gguf => GENERATOR_VERSION.to_string(),
        Container::Onnx => format!("{GENERATOR_VERSION} graph {}", onnx::GRAPH_VERSION),
    }
}

/// The name of the record in each model's folder.
const MANIFEST: &str = "manifest.json";

/// A folder of models.
#[derive(Debug, Clone)]
pub struct Zoo {
    root: PathBuf,
}

/// The files of one model in one variant.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFiles {
    /// The folder that holds them all.
    pub dir: PathBuf,
    /// `model.safetensors`, `model.onnx`, or the `.gguf` file.
    pub weights: PathBuf,
    /// `config.json`; a GGUF has none, its metadata say the same.
    pub config: Option<PathBuf>,
    /// `tokenizer.json`, where there is one; a GGUF holds its own.
    pub tokenizer: Option<PathBuf>,
    /// The record.
    pub manifest: Manifest,
}

impl ModelFiles {
    /// Reads every file and compares its SHA-256 with the record: seconds for large models.
    ///
    /// # Errors
    /// [`ZooError::Corrupt`] names the first file that differs; [`ZooError::Io`] if one cannot be read.
    pub fn verify(&self) -> Result<(), ZooError> {
        for entry in &self.manifest.files {
            let path = self.dir.join(&entry.name);
            let found = sha256_file(&path)?;
            if found != entry.sha256 {
                return Err(corrupt(
                    &path,
                    &self.dir,
                    format!("its SHA-256 is {found}, recorded {}", entry.sha256),
                ));
            }
        }
        Ok(())
    }

    /// Reads a model's folder and checks the size of every file.
    ///
    /// # Errors
    /// [`ZooError::Corrupt`] if the record cannot be read, is of another version or a size differs;
    /// [`ZooError::Io`] if the folder cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ZooError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => {
                return Err(corrupt(&path, dir, "the record is missing".to_owned()));
            }
            Err(error) => return Err(ZooError::io("read", &path)(error)),
        };
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| corrupt(&path, dir, error.to_string()))?;
        if manifest.format != MANIFEST_FORMAT {
            let detail = format!("its format is {}, this program reads {MANIFEST_FORMAT}", manifest.format);
            return Err(corrupt(&path, dir, detail));
        }
        for entry in &manifest.files {
            let path = dir.join(&entry.name);
            let found = match fs::metadata(&path) {
                Ok(data) => data.len(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(corrupt(&path, dir, "the file is missing".to_owned()));
                }
                Err(error) => return Err(ZooError::io("read", &path)(error)),
            };
            if found != entry.bytes {
                return Err(corrupt(&path, dir, format!("it has {found} bytes, recorded {}", entry.bytes)));
            }
        }
        let at = |name: &str| manifest.file(name).map(|_| dir.join(name));
        let (config, tokenizer) = (at("config.json"), at("tokenizer.json"));
        Ok(Self { dir: dir.to_path_buf(), weights: dir.join(&manifest.weights), config, tokenizer, manifest })
    }
}

fn corrupt(path: &Path, dir: &Path, detail: String) -> ZooError {
    let remedy = format!("remove the folder {} and ask again: it is made anew", dir.display());
    ZooError::Corrupt { path: path.to_path_buf(), detail, remedy }
}

impl Zoo {
    /// The models in folder `root`, which is made if it is missing.
    ///
    /// # Errors
    /// [`ZooError::Io`] if it cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ZooError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(ZooError::io("create", &root))?;
        Ok(Self { root })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The specification of a named model.
    ///
    /// # Errors
    /// [`ZooError::UnknownModel`] lists the names there are.
    pub fn spec(name: &str) -> Result<ModelSpec, ZooError> {
        models()
            .into_iter()
            .find(|m| m.name == name)
            .ok_or_else(|| ZooError::UnknownModel { name: name.to_owned(), known: model_names().join(", ") })
    }

    /// The files of a named model, generated if the folder has them not. A published model's are converted from its own
    /// file, which must have been fetched.
    ///
    /// # Errors
    /// [`ZooError::UnknownModel`]; [`ZooError::NotFetched`]; [`ZooError::Skipped`] where the variant cannot exist; [`ZooError::Corrupt`] where
    /// the folder's files are not what was recorded; [`ZooError::Io`].
    pub fn ensure(&self, name: &str, variant: Variant) -> Result<ModelFiles, ZooError> {
        if real_model(name).is_some() {
            let original =
                self.fetched(name)?.ok_or_else(|| ZooError::NotFetched { name: name.to_owned() })?;
            let sha256 = original.manifest.digest().unwrap_or_default().to_owned();
            return self.convert_hashed(name, &original.weights, sha256, variant);
        }
        self.ensure_spec(&Self::spec(name)?, variant)
    }

    /// As [`Zoo::ensure`], for a specification of the caller's own.
    ///
    /// # Errors
    /// As [`Zoo::ensure`], and [`ZooError::InvalidSpec`].
    pub fn ensure_spec(&self, spec: &ModelSpec, variant: Variant) -> Result<ModelFiles, ZooError> {
        spec.validate()?;
        refuse_what_cannot_exist(spec, variant)?;
        if variant == Variant::Int8DynamicOnnx {
            return self.derive_dynamic(&self.ensure_spec(spec, Variant::F32Onnx)?);
        }
        self.ensure_dir(&self.dir_of(spec, variant), Running::new(Work::Generation), |dir| {
            write_model(dir, &Job::generated(spec, variant)?)
        })
    }

    /// Why a variant cannot exist for a model, if it cannot: what [`Zoo::ensure`] would say, without making anything.
    #[must_use]
    pub fn reason_to_skip(spec: &ModelSpec, variant: Variant) -> Option<String> {
        match refuse_what_cannot_exist(spec, variant) {
            Err(ZooError::Skipped { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    /// Where a model's files are, or would be: `NAME-HASH/VARIANT`, the hash being of the specification, its
    /// tensors and the generator's version.
    #[must_use]
    pub fn dir_of(&self, spec: &ModelSpec, variant: Variant) -> PathBuf {
        // The derived Debug text holds every field in order, and every float exactly. The tensors are part of it, since
        // their scales are chosen by this crate and not by the specification.
        let version = writers(variant);
        let hash = sha256_of(format!("{version} {spec:?} {:?}", spec.tensors()).as_bytes());
        self.root.join(format!("{}-{}", spec.name, &hash[..16])).join(variant.name())
    }

    /// Opens `dir`, or has `make` fill a temporary folder that then becomes `dir`; `running` has just begun.
    pub(crate) fn ensure_dir(
        &self,
        dir: &Path,
        running: Running,
        make: impl FnOnce(&Path) -> Result<Manifest, ZooError>,
    ) -> Result<ModelFiles, ZooError> {
        if dir.is_dir() {
            return ModelFiles::open(dir);
        }
        let temporary = Temporary::create(&self.root)?;
        let mut manifest = make(&temporary.path)?;
        manifest.files.sort_by(|a, b| a.name.cmp(&b.name));
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| ZooError::Io {
            action: "encode the record of",
            path: dir.to_path_buf(),
            source: error.into(),
        })?;
        write_file(&temporary.path, MANIFEST, &text)?;
        running.end(&temporary.path)?;
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(ZooError::io("create", parent))?;
        }
        match fs::rename(&temporary.path, dir) {
            // Another process was first: its files have the same content.
            Err(_) if dir.is_dir() => {}
            other => other.map_err(ZooError::io("rename to", dir))?,
        }
        ModelFiles::open(dir)
    }
}

/// Writes a small file and gives its record.
pub(crate) fn write_file(dir: &Path, name: &str, data: &[u8]) -> Result<FileEntry, ZooError> {
    let path = dir.join(name);
    let mut file = HashedFile::create(&path)?;
    file.write(data)?;
    let (bytes, sha256) = file.finish()?;
    Ok(FileEntry { name: name.to_owned(), bytes, sha256 })
}

/// How temporary folders begin.
const TEMPORARY: &str = ".making-";
/// After this time a temporary folder belongs to nobody: making one takes minutes at most, fetching one an hour.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A folder that is removed when it goes out of scope, unless it was renamed away.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(root: &Path) -> Result<Self, ZooError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        sweep(root);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        // A process of the same number that was killed may have left its folder.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(ZooError::io("remove", &path))?;
        }
        fs::create_dir_all(&path).map_err(ZooError::io("create", &path))?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing can be done here about a folder that cannot be removed; a later sweep tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what killed processes left. What cannot be read or removed stays: it is in nobody's way.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_old_temporary_folders_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * ABANDONED;
        for (name, is_old) in [(".making-1-0", true), (".making-2-0", false), ("gpt2-0", true)] {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            if is_old {
                fs::File::open(&path).unwrap().set_modified(old).unwrap();
            }
        }
        sweep(root.path());
        assert!(!root.path().join(".making-1-0").exists());
        assert!(root.path().join(".making-2-0").exists());
        assert!(root.path().join("gpt2-0").exists());
    }

    #[test]
    fn a_skip_is_known_beforehand() {
        let tiny = Zoo::spec("tiny-gpt2").unwrap();
        assert!(Zoo::reason_to_skip(&tiny, Variant::Q4Gguf).unwrap().contains("32"));
        assert_eq!(Zoo::reason_to_skip(&tiny, Variant::F16Gguf), None);
    }
}
