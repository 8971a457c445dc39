//! The snapshots of the history that hold data, and reading files out of them. Everything that is read is noted, and so
//! is everything that could not be.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    ImportError, SourceRecord, Trouble,
    git::{Blobs, Repo, TreeFile},
    manifest::sha256,
};

/// A snapshot: the last commit before a group of data was deleted, or the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// The newest commit: TR108, TR109, TR111 v1, TR113, TR114 v1, and configurations.
    Head,
    /// The last commit that holds the 150 runs of two Python agents (TR110).
    PythonPairs,
    /// The last commit that holds TR111, TR114, TR116, TR117-MA, TR119 and TR121.
    Bulky,
    /// The last commit that holds the runs of async runtimes (TR115).
    Runtimes,
    /// A commit that holds TR118 and TR120.
    December,
}

impl At {
    const ALL: [At; 5] = [At::Head, At::PythonPairs, At::Bulky, At::Runtimes, At::December];

    /// Its name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            At::Head => "head",
            At::PythonPairs => "python-pairs",
            At::Bulky => "bulky",
            At::Runtimes => "runtimes",
            At::December => "december",
        }
    }
}

/// Which commit each snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots(BTreeMap<At, String>);

impl Snapshots {
    /// The commits of the public history. They are pinned: a later commit changes no import.
    #[must_use]
    pub fn published() -> Snapshots {
        let commits = [
            "405b1eb65e18c6fb6bc6bfbd46f0d18a531da6fa",
            "ac38ad299b4cd9a1b8ea81c8739b2ba72a0c2423",
            "e24fb6f5aaa50d6893faf87ad3cc91f1c3b7fd79",
            "970b0b915e64ac7f4506b667748bdd368454e084",
            "d1b67d83b89bbf7f9060dbcd6cb01e444a27330e",
        ];
        Snapshots(At::ALL.into_iter().zip(commits.map(str::to_owned)).collect())
    }

    /// One commit, given as git names it, for all snapshots: a history that has never deleted anything.
    #[must_use]
    pub fn one(commit: &str) -> Snapshots {
        Snapshots(At::ALL.into_iter().map(|at| (at, commit.to_owned())).collect())
    }

    /// First digits of the newest commit: the name of an import's folder.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.0.get(&At::Head).map(|commit| commit.chars().take(12).collect()).unwrap_or_default()
    }
}

/// A file of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    commit: String,
    file: TreeFile,
}

impl Entry {
    pub(crate) fn path(&self) -> &str {
        &self.file.path
    }

    /// The path below a folder.
    pub(crate) fn below(&self, folder: &str) -> &str {
        self.path().strip_prefix(folder).map_or(self.path(), |rest| rest.trim_start_matches('/'))
    }
}

/// A clone that is being read.
#[derive(Debug)]
pub(crate) struct Source {
    blobs: Blobs,
    commits: BTreeMap<At, String>,
    trees: BTreeMap<String, Vec<TreeFile>>,
    read: Vec<SourceRecord>,
    troubles: Vec<Trouble>,
}

impl Source {
    pub(crate) fn open(repo: &Repo, snapshots: &Snapshots) -> Result<Source, ImportError> {
        let mut commits = BTreeMap::new();
        let mut trees = BTreeMap::new();
        for (at, name) in &snapshots.0 {
            let commit = repo.commit(name)?;
            if !trees.contains_key(&commit) {
                trees.insert(commit.clone(), repo.tree(&commit)?);
            }
            commits.insert(*at, commit);
        }
        Ok(Source { blobs: repo.blobs()?, commits, trees, read: Vec::new(), troubles: Vec::new() })
    }

    pub(crate) fn commits(&self) -> BTreeMap<String, String> {
        self.commits.iter().map(|(at, commit)| (at.name().to_owned(), commit.clone())).collect()
    }

    /// The object id of a path, for a check without reading.
    pub(crate) fn oid(&self, commit: &str, path: &str) -> Option<&str> {
        let tree = self.trees.get(commit)?;
        tree.binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()
            .and_then(|index| tree.get(index))
            .map(|file| file.oid.as_str())
    }

    /// The files below `folder` whose path below it is wanted, in the order of their paths. That there are none is noted.
    pub(crate) fn files(&mut self, at: At, folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
        let commit = self.commits.get(&at).cloned().unwrap_or_default();
        let found: Vec<Entry> = self
            .trees
            .get(&commit)
            .into_iter()
            .flatten()
            .filter(|file| {
                file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).is_some_and(&wanted)
            })
            .map(|file| Entry { commit: commit.clone(), file: file.clone() })
            .collect();
        if found.is_empty() {
            let reason = "there is no such file in this commit".to_owned();
            self.troubles.push(Trouble { commit, path: folder.to_owned(), line: None, reason });
        }
        found
    }

    /// One file.
    pub(crate) fn file(&mut self, at: At, path: &str) -> Option<Entry> {
        let commit = self.commits.get(&at).cloned().unwrap_or_default();
        if let Some(oid) = self.oid(&commit, path) {
            let file = TreeFile { path: path.to_owned(), oid: oid.to_owned() };
            return Some(Entry { commit, file });
        }
        let reason = "there is no such file in this commit".to_owned();
        self.troubles.push(Trouble { commit, path: path.to_owned(), line: None, reason });
        None
    }

    /// Its bytes, without a byte order mark when `text`; none, and a note, when the clone does not hold them.
    pub(crate) fn bytes(&mut self, entry: &Entry) -> Result<Option<Vec<u8>>, ImportError> {
        let Some(bytes) = self.blobs.read(&entry.file.oid)? else {
            self.trouble(entry, None, "the clone does not hold this blob");
            return Ok(None);
        };
        self.read.push(SourceRecord {
            commit: entry.commit.clone(),
            path: entry.file.path.clone(),
            git_oid: entry.file.oid.clone(),
            sha256: sha256(&bytes),
        });
        Ok(Some(bytes))
    }

    /// Its text, without a byte order mark.
    pub(crate) fn text(&mut self, entry: &Entry) -> Result<Option<String>, ImportError> {
        let Some(bytes) = self.bytes(entry)? else { return Ok(None) };
        match std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes)) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.trouble(entry, Some(line), "it is not UTF-8");
                Ok(None)
            }
        }
    }

    /// Its JSON.
    pub(crate) fn json(&mut self, entry: &Entry) -> Result<Option<Value>, ImportError> {
        let Some(text) = self.text(entry)? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                self.trouble(entry, Some(error.line() as u64), &error.to_string());
                Ok(None)
            }
        }
    }

    /// Its JSON lines with their numbers from 1; empty lines are left out, damaged ones are noted and left out.
    pub(crate) fn json_lines(&mut self, entry: &Entry) -> Result<Vec<(u64, String, Value)>, ImportError> {
        let Some(text) = self.text(entry)? else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        for (number, line) in (1_u64..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            match serde_json::from_str(line) {
                Ok(value) => lines.push((number, line.to_owned(), value)),
                Err(error) => self.trouble(entry, Some(number), &error.to_string()),
            }
        }
        Ok(lines)
    }

    /// Its rows by the names of its columns, with their lines; damaged rows are noted and left out.
    pub(crate) fn csv(&mut self, entry: &Entry) -> Result<Vec<Record>, ImportError> {
        let Some(text) = self.text(entry)? else { return Ok(Vec::new()) };
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let names: Vec<String> = match reader.headers() {
            Ok(names) => names.iter().map(|name| name.trim().to_owned()).collect(),
            Err(error) => {
                self.trouble(entry, Some(1), &error.to_string());
                return Ok(Vec::new());
            }
        };
        let mut rows = Vec::new();
        for row in reader.records() {
            match row {
                Ok(row) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    let cells = names.iter().cloned().zip(row.iter().map(|cell| cell.trim().to_owned()));
                    rows.push(Record { line, cells: cells.collect() });
                }
                Err(error) => {
                    let line = error.position().map(csv::Position::line);
                    self.trouble(entry, line, &error.to_string());
                }
            }
        }
        Ok(rows)
    }

    /// Notes what is wrong with a source.
    pub(crate) fn trouble(&mut self, entry: &Entry, line: Option<u64>, reason: &str) {
        self.troubles.push(Trouble {
            commit: entry.commit.clone(),
            path: entry.file.path.clone(),
            line,
            reason: reason.to_owned(),
        });
    }

    /// What was read since the last call.
    pub(crate) fn take_read(&mut self) -> Vec<SourceRecord> {
        std::mem::take(&mut self.read)
    }

    pub(crate) fn into_troubles(self) -> Vec<Trouble> {
        self.troubles
    }
}

/// A row of a CSV source.
#[derive(Debug)]
pub(crate) struct Record {
    pub line: u64,
    cells: BTreeMap<String, String>,
}

impl Record {
    /// A cell; empty when the layout has no such column.
    pub(crate) fn get(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }

    /// A number's cell in its shortest form, or what is wrong with it.
    pub(crate) fn number(&self, column: &str) -> Result<String, String> {
        match self.cells.get(column) {
            Some(cell) => {
                crate::cells::number(cell).ok_or_else(|| format!("`{column}` is `{cell}`: not a number"))
            }
            None => Err(format!("there is no column `{column}`")),
        }
    }
}
