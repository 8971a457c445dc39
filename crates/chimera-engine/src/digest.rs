//! SHA-256 of a weights file. A `manifest.json` beside the file that names it with its size is believed; otherwise the
//! whole file is read, which takes about a second per gigabyte and is part of the time that loading takes.

use std::{fs::File, io::Read, path::Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// SHA-256 of a weights file in hexadecimal: as the `manifest.json` beside it has it, or else of what is read.
///
/// # Errors
/// The file cannot be read.
pub fn file_digest(path: &Path) -> std::io::Result<String> {
    if let Some(known) = recorded(path) {
        return Ok(known);
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hex(hash))
}

/// The digest of weights in several files: that of the one file, or else SHA-256 over the digests of all, in order.
///
/// # Errors
/// A file cannot be read.
pub fn files_digest(paths: &[&Path]) -> std::io::Result<String> {
    if let [path] = paths {
        return file_digest(path);
    }
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(file_digest(path)?);
    }
    Ok(hex(hash))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn recorded(path: &Path) -> Option<String> {
    let manifest = std::fs::read(path.parent()?.join("manifest.json")).ok()?;
    let manifest: Manifest = serde_json::from_slice(&manifest).ok()?;
    let name = path.file_name()?.to_str()?;
    let bytes = path.metadata().ok()?.len();
    let entry = manifest.files.into_iter().find(|entry| entry.name == name && entry.bytes == bytes)?;
    (entry.sha256.len() == 64).then_some(entry.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_have_one_digest_in_which_each_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "abc").unwrap();
        std::fs::write(path("b"), "x").unwrap();
        let (a, b) = (path("a"), path("b"));
        assert_eq!(files_digest(&[&a]).unwrap(), file_digest(&a).unwrap());
        let both = files_digest(&[&a, &b]).unwrap();
        assert_ne!(both, files_digest(&[&b, &a]).unwrap());
        std::fs::write(&b, "y").unwrap();
        assert_ne!(both, files_digest(&[&a, &b]).unwrap());
    }

    #[test]
    fn a_manifest_is_believed_only_for_its_file_of_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.gguf");
        std::fs::write(&path, "abc").unwrap();
        // The test vector of FIPS 180-2.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_digest(&path).unwrap(), known);
        let other = "0".repeat(64);
        let manifest = |bytes: u64| {
            format!(
                r#"{{"format": 1, "files": [{{"name": "w.gguf", "bytes": {bytes}, "sha256": "{other}"}}]}}"#
            )
        };
        std::fs::write(folder.path().join("manifest.json"), manifest(4)).unwrap();
        assert_eq!(file_digest(&path).unwrap(), known);
        std::fs::write(folder.path().join("manifest.json"), manifest(3)).unwrap();
        assert_eq!(file_digest(&path).unwrap(), other);
    }
}
