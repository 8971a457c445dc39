//! The folder of tidy artefacts, and which of its files a study has read, with their digests: they go into the report's
//! provenance. How original layouts become tidy is not known here.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{ReplayError, Table};

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path below the folder, with `/`.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// A folder of tidy artefacts.
#[derive(Debug)]
pub struct Artifacts {
    root: PathBuf,
    read: RefCell<BTreeMap<String, DataFile>>,
}

impl Artifacts {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`ReplayError::Missing`] when it is none, or holds none of the groups `agents`, `backends`, `cost_scaling`.
    pub fn open(root: impl Into<PathBuf>) -> Result<Artifacts, ReplayError> {
        let root = root.into();
        if !["agents", "backends", "cost_scaling"].iter().any(|group| root.join(group).is_dir()) {
            return Err(ReplayError::Missing { path: root.join("agents") });
        }
        Ok(Artifacts { root, read: RefCell::default() })
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).is_file()
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// [`ReplayError::Missing`], [`ReplayError::Io`].
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, ReplayError> {
        let full = self.root.join(Path::new(path));
        let bytes = fs::read(&full).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ReplayError::Missing { path: full.clone() },
            _ => ReplayError::Io { path: full.clone(), source },
        })?;
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let file = DataFile { path: path.to_owned(), bytes: bytes.len() as u64, sha256 };
        self.read.borrow_mut().insert(path.to_owned(), file);
        Ok(bytes)
    }

    /// A CSV file with these columns (and possibly others).
    ///
    /// # Errors
    /// As [`Artifacts::bytes`] and [`Table::parse`].
    pub fn table(&self, path: &str, columns: &[&str]) -> Result<Table, ReplayError> {
        Table::parse(self.root.join(path), &self.bytes(path)?, columns)
    }

    /// A JSON file.
    ///
    /// # Errors
    /// As [`Artifacts::bytes`]; [`ReplayError::Malformed`].
    pub fn json(&self, path: &str) -> Result<serde_json::Value, ReplayError> {
        let bytes = self.bytes(path)?;
        parse(&self.root.join(path), 0, bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes))
    }

    /// A file of one JSON value per line; empty lines are left out.
    ///
    /// # Errors
    /// As [`Artifacts::bytes`]; [`ReplayError::Malformed`] with the line.
    pub fn json_lines(&self, path: &str) -> Result<Vec<serde_json::Value>, ReplayError> {
        let bytes = self.bytes(path)?;
        let full = self.root.join(path);
        (0_u64..)
            .zip(bytes.split(|byte| *byte == b'\n'))
            .filter(|(_, line)| !line.trim_ascii().is_empty())
            .map(|(number, line)| parse(&full, number, line))
            .collect()
    }

    /// Files that were read so far, by path.
    #[must_use]
    pub fn files(&self) -> Vec<DataFile> {
        self.read.borrow().values().cloned().collect()
    }

    /// Forgets which files were read: before the next study.
    pub fn forget(&self) {
        self.read.borrow_mut().clear();
    }
}

fn parse(path: &Path, before: u64, text: &[u8]) -> Result<serde_json::Value, ReplayError> {
    serde_json::from_slice(text).map_err(|error| ReplayError::Malformed {
        path: path.to_owned(),
        line: before + error.line() as u64,
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_with_their_digest_and_damage_has_a_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("agents")).unwrap();
        fs::write(folder.path().join("agents/a.jsonl"), "{\"x\":1}\n\n{\"x\":\n").unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let error = artifacts.json_lines("agents/a.jsonl").unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
        assert!(matches!(artifacts.table("agents/b.csv", &[]), Err(ReplayError::Missing { .. })));
        let files = artifacts.files();
        assert_eq!((files.len(), files[0].bytes, files[0].sha256.len()), (1, 15, 64));
        artifacts.forget();
        assert!(artifacts.files().is_empty());
        assert!(Artifacts::open(folder.path().join("agents")).is_err());
    }
}
