//! Built engines on disk, under the hash of everything that shaped them. An entry is an engine and a record beside it; the
//! record is written last and has the engine's own hash, so that half an entry, a damaged one or somebody else's is never
//! taken for what was asked.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    audit::{EngineAudit, Precision},
    options::BuildOptions,
    profile::Profiles,
};

/// Version of what an entry looks like and of how this crate sets up a build.
const FORMAT: u32 = 1;

/// Everything that shapes an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineKey {
    format: u32,
    /// SHA-256 of the graph's file, and of those with its weights where they lie beside it.
    pub graph: Vec<String>,
    /// The graph's precision.
    pub precision: Precision,
    /// Shapes it is built for.
    pub profiles: Profiles,
    /// How it is built, and for which compute capability.
    pub options: BuildOptions,
    /// Version of TensorRT.
    pub library: String,
}

impl EngineKey {
    /// The key of a build.
    #[must_use]
    pub fn new(
        graph: Vec<String>,
        precision: Precision,
        profiles: Profiles,
        options: BuildOptions,
        library: String,
    ) -> Self {
        Self { format: FORMAT, graph, precision, profiles, options, library }
    }

    /// Its hash, as the names of files have it.
    ///
    /// # Errors
    /// None that can happen: the key is plain data.
    pub fn hash(&self) -> Result<String, serde_json::Error> {
        // Fields are written in the order of their declaration, so the same key is the same text.
        Ok(hex(&Sha256::digest(serde_json::to_vec(self)?)))
    }
}

/// What is written beside an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineRecord {
    /// What it was built from.
    pub key: EngineKey,
    /// SHA-256 of the engine. The builder does not give the same bytes twice, so the key does not imply it.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Wall time of the build.
    pub build_seconds: f64,
    /// What it is made of.
    pub audit: EngineAudit,
}

impl EngineRecord {
    /// The record of an engine.
    #[must_use]
    pub fn of(key: EngineKey, engine: &[u8], build_seconds: f64, audit: EngineAudit) -> Self {
        let sha256 = hex(&Sha256::digest(engine));
        Self { key, sha256, bytes: engine.len() as u64, build_seconds, audit }
    }
}

/// An engine of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedEngine {
    /// The serialised engine.
    pub engine: Vec<u8>,
    /// Its record.
    pub record: EngineRecord,
}

/// What the cache has for a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// The engine.
    Hit(Box<CachedEngine>),
    /// Nothing.
    Miss,
    /// Something that is not what it should be. It is not used; storing replaces it.
    Rejected(String),
}

/// A folder of engines.
#[derive(Debug, Clone)]
pub struct EngineCache {
    folder: PathBuf,
}

impl EngineCache {
    /// The cache in a folder, which is made when something is stored.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn paths(&self, key: &EngineKey) -> io::Result<(PathBuf, PathBuf)> {
        let hash = key.hash()?;
        Ok((self.folder.join(format!("{hash}.engine")), self.folder.join(format!("{hash}.json"))))
    }

    /// Looks an engine up.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn find(&self, key: &EngineKey) -> io::Result<Lookup> {
        let (engine, record) = self.paths(key)?;
        let Some(text) = read(&record)? else { return Ok(Lookup::Miss) };
        let reject = |what: String| Ok(Lookup::Rejected(format!("{}: {what}", record.display())));
        let found: EngineRecord = match serde_json::from_slice(&text) {
            Ok(found) => found,
            Err(error) => return reject(format!("the record cannot be read ({error})")),
        };
        if found.key != *key {
            return reject("the record is of another engine".to_owned());
        }
        let Some(bytes) = read(&engine)? else { return reject("its engine is missing".to_owned()) };
        if bytes.len() as u64 != found.bytes {
            return reject(format!("its engine has {} bytes instead of {}", bytes.len(), found.bytes));
        }
        if hex(&Sha256::digest(&bytes)) != found.sha256 {
            return reject("its engine has another hash than it was stored with".to_owned());
        }
        Ok(Lookup::Hit(Box::new(CachedEngine { engine: bytes, record: found })))
    }

    /// The record of the engine that was last built from a graph, by the SHA-256 of the graph's file, and when that was. Records that cannot be
    /// read are passed over: they are none that an engine is loaded by.
    #[must_use]
    pub fn newest(&self, graph: &str) -> Option<(EngineRecord, SystemTime)> {
        let entries = fs::read_dir(&self.folder).ok()?.flatten();
        let records = entries.filter(|entry| entry.path().extension().is_some_and(|found| found == "json"));
        let of_graph = records.filter_map(|entry| {
            let built = entry.metadata().and_then(|data| data.modified()).ok()?;
            let record: EngineRecord = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
            (record.key.graph.first().map(String::as_str) == Some(graph)).then_some((record, built))
        });
        of_graph.max_by_key(|(_, built)| *built)
    }

    /// Stores an engine under the key of its record; whatever was there is replaced.
    ///
    /// # Errors
    /// The folder cannot be made, or a file not written.
    pub fn store(&self, record: &EngineRecord, engine: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let (place, beside) = self.paths(&record.key)?;
        // A record without its engine is rejected, an engine without its record is a miss: in this order a reader that
        // comes between sees one or the other.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write(&place, engine)?;
        self.write(&beside, &serde_json::to_vec_pretty(record)?)
    }

    /// A file that carries a hash in its name: the runtime's own cache of kernels for an engine.
    #[must_use]
    pub fn kernels(&self, record: &EngineRecord) -> PathBuf {
        self.folder.join(format!("{}.kernels", record.sha256))
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let part = self.folder.join(format!(".{name}.{}", std::process::id()));
        let mut file = fs::File::create(&part)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        drop(file);
        let done = written.and_then(|()| fs::rename(&part, to));
        if done.is_err() {
            // The first error is the one that matters.
            let _ = fs::remove_file(&part);
        }
        done
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes as lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Capability;

    fn key() -> EngineKey {
        EngineKey::new(
            vec!["aa".into()],
            Precision::F32,
            Profiles::for_generation(1, 8, 32).unwrap(),
            BuildOptions::new(Capability::Sm89),
            "1.7.1.116".into(),
        )
    }

    #[test]
    fn everything_that_shapes_an_engine_changes_its_key() {
        let base = key();
        let changes: [fn(&mut EngineKey); 7] = [
            |key| key.graph[0] = "ab".into(),
            |key| key.graph.push("weights".into()),
            |key| key.precision = Precision::F16,
            |key| key.profiles = Profiles::for_generation(1, 8, 33).unwrap(),
            |key| key.options = key.options.tf32(true),
            |key| key.options = key.options.for_capability(Capability::Sm120),
            |key| key.library = "1.7.1.117".into(),
        ];
        let mut hashes = vec![base.hash().unwrap()];
        assert_eq!(key().hash().unwrap(), hashes[0]);
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            hashes.push(other.hash().unwrap());
        }
        hashes.push({
            let mut other = base.clone();
            other.options = other.options.level(4).unwrap();
            other.hash().unwrap()
        });
        hashes.push({
            let mut other = base;
            other.options = other.options.workspace(1).unwrap();
            other.hash().unwrap()
        });
        let all = hashes.len();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
        assert!(hashes.iter().all(|hash| hash.len() == 64));
    }

    #[test]
    fn an_engine_comes_back_as_it_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EngineCache::at(folder.path().join("new"));
        assert_eq!(cache.find(&key()).unwrap(), Lookup::Miss);
        let record = EngineRecord::of(key(), b"engine", 1.5, EngineAudit::default());
        cache.store(&record, b"engine").unwrap();
        assert_eq!((record.bytes, record.build_seconds), (6, 1.5));
        let found = CachedEngine { engine: b"engine".to_vec(), record };
        assert_eq!(cache.find(&key()).unwrap(), Lookup::Hit(Box::new(found)));
        let mut other = key();
        other.library = "2".into();
        assert_eq!(cache.find(&other).unwrap(), Lookup::Miss);
        assert_eq!(cache.newest("aa").map(|(record, _)| record.build_seconds), Some(1.5));
        assert_eq!(cache.newest("ab"), None);
        assert_eq!(EngineCache::at(folder.path().join("none")).newest("aa"), None);
        // Nothing is left beside the entry.
        assert_eq!(fs::read_dir(cache.folder()).unwrap().count(), 2);
    }

    #[test]
    fn damaged_and_foreign_entries_are_never_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EngineCache::at(folder.path());
        let (engine, record) = cache.paths(&key()).unwrap();
        let of = |key, engine| EngineRecord::of(key, engine, 1.0, EngineAudit::default());
        let store = || cache.store(&of(key(), b"engine"), b"engine").unwrap();
        let rejected = |words: &str| match cache.find(&key()).unwrap() {
            Lookup::Rejected(why) => assert!(why.contains(words), "{why}"),
            other => panic!("{other:?}"),
        };
        store();
        fs::write(&engine, b"enginE").unwrap();
        rejected("another hash");
        store();
        fs::write(&engine, b"eng").unwrap();
        rejected("3 bytes instead of 6");
        fs::remove_file(&engine).unwrap();
        rejected("missing");
        store();
        fs::write(&record, b"{").unwrap();
        rejected("cannot be read");
        // An entry of another key under this name.
        let mut other = key();
        other.library = "2".into();
        cache.store(&of(other.clone(), b"other"), b"other").unwrap();
        fs::copy(cache.paths(&other).unwrap().1, &record).unwrap();
        rejected("another engine");
        store();
        assert!(matches!(cache.find(&key()).unwrap(), Lookup::Hit(_)));
        // An engine whose record was never written is nothing.
        fs::remove_file(&record).unwrap();
        assert_eq!(cache.find(&key()).unwrap(), Lookup::Miss);
    }
}
