//! An import: every reader once, every file once, the manifest last. A folder that has a manifest is checked, never
//! written to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    FileRecord, ImportError, MANIFEST, Manifest, Snapshots,
    git::Repo,
    manifest::sha256,
    readers::{self, Output},
    source::Source,
};

/// What an import came to.
#[derive(Debug)]
pub struct Imported {
    /// The folder's manifest.
    pub manifest: Manifest,
    /// Whether the folder was there already and was only checked.
    pub checked: bool,
    /// What differs from the manifest, one sentence each; empty after a first import.
    pub differing: Vec<String>,
}

impl Imported {
    /// Whether everything was imported and nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.manifest.errors.is_empty() && self.differing.is_empty()
    }
}

/// Imports from a clone into a folder, or checks the folder when it holds an import of the same commits. `progress` is
/// told what is being read.
///
/// # Errors
/// [`ImportError`]: there is no clone, it lacks a commit, the folder is in use, or files cannot be read or written.
/// Sources that do not parse are no error: they are listed in [`Manifest::errors`].
pub fn import(
    clone: &Path,
    out: &Path,
    snapshots: &Snapshots,
    progress: &mut dyn FnMut(&str),
) -> Result<Imported, ImportError> {
    let known = Manifest::read(out)?;
    if known.is_none() && fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ImportError::Occupied { path: out.to_owned() });
    }
    let repo = Repo::open(clone)?;
    let mut source = Source::open(&repo, snapshots)?;
    if let Some(manifest) = known {
        if manifest.commits != source.commits() {
            let reason = "the folder is an import of other commits".to_owned();
            return Err(ImportError::Foreign { path: out.join(MANIFEST), reason });
        }
        let mut differing = manifest.check(out);
        // Object ids are digests: equal ids are equal sources.
        let sources = manifest.files.iter().flat_map(|file| &file.sources);
        differing.extend(
            sources
                .filter(|file| source.oid(&file.commit, &file.path) != Some(&file.git_oid))
                .map(|file| format!("{}: the clone has another content", file.path)),
        );
        return Ok(Imported { manifest, checked: true, differing });
    }
    let mut files = Vec::new();
    for (name, reader) in readers::ALL {
        progress(name);
        for output in reader(&mut source)? {
            files.push(write(out, output)?);
        }
    }
    files.sort_by(|a: &FileRecord, b| a.path.cmp(&b.path));
    let manifest = Manifest {
        format: Manifest::FORMAT,
        commits: source.commits(),
        files,
        errors: source.into_troubles(),
    };
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| ImportError::Foreign { path: out.join(MANIFEST), reason: error.to_string() })?;
    put(&out.join(MANIFEST), format!("{text}\n").as_bytes())?;
    Ok(Imported { manifest, checked: false, differing: Vec::new() })
}

fn write(out: &Path, output: Output) -> Result<FileRecord, ImportError> {
    put(&out.join(&output.path), &output.bytes)?;
    Ok(FileRecord {
        rows: output.rows,
        bytes: output.bytes.len() as u64,
        sha256: sha256(&output.bytes),
        path: output.path,
        sources: output.sources,
    })
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    let failed = |path: PathBuf| move |source| ImportError::Io { path, source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed(folder.to_owned()))?;
    }
    fs::write(path, bytes).map_err(failed(path.to_owned()))
}
