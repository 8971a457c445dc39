//! `import.json`: where every file of an import comes from, and what did not parse.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ImportError;

/// Name of the manifest in the folder of an import.
pub const MANIFEST: &str = "import.json";

/// An import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Commits that were read, by the name of the snapshot.
    pub commits: BTreeMap<String, String>,
    /// Files that were written, by path.
    pub files: Vec<FileRecord>,
    /// Sources that were not imported.
    pub errors: Vec<Trouble>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Path below the folder, with `/`.
    pub path: String,
    /// Rows without the header (CSV), lines (JSON lines); nothing for other files.
    pub rows: Option<u64>,
    /// Size.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// What it was made of.
    pub sources: Vec<SourceRecord>,
}

/// A source that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// Full id of the commit.
    pub commit: String,
    /// Path in the repository.
    pub path: String,
    /// Object id of the blob.
    pub git_oid: String,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
}

/// A source that was not imported; the others were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Full id of the commit.
    pub commit: String,
    /// Path in the repository: a file, or the folder in which none was found.
    pub path: String,
    /// From 1, where the trouble has a line.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let commit = self.commit.get(..12).unwrap_or(&self.commit);
        match self.line {
            Some(line) => write!(f, "{commit}:{}, line {line}: {}", self.path, self.reason),
            None => write!(f, "{commit}:{}: {}", self.path, self.reason),
        }
    }
}

impl Manifest {
    pub(crate) const FORMAT: u32 = 1;

    /// Reads the manifest of a folder; none when there is none.
    ///
    /// # Errors
    /// [`ImportError::Foreign`] when it is damaged or of another format, [`ImportError::Io`].
    pub fn read(folder: &Path) -> Result<Option<Manifest>, ImportError> {
        let path = folder.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ImportError::Io { path, source }),
        };
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| ImportError::Foreign { path: path.clone(), reason: error.to_string() })?;
        if manifest.format != Manifest::FORMAT {
            let reason = format!("format {} of a manifest is not known here", manifest.format);
            return Err(ImportError::Foreign { path, reason });
        }
        Ok(Some(manifest))
    }

    /// Holds the folder's files against the recorded digests: what differs, one sentence each.
    #[must_use]
    pub fn check(&self, folder: &Path) -> Vec<String> {
        let mut differing = Vec::new();
        for file in &self.files {
            match fs::read(folder.join(&file.path)) {
                Ok(bytes) if sha256(&bytes) == file.sha256 => {}
                Ok(_) => differing.push(format!("{} is not what was imported", file.path)),
                Err(error) => differing.push(format!("{}: {error}", file.path)),
            }
        }
        differing
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
