//! SHA-256 of a weights file. A `manifest.json` beside the file that names it with its size is believed; otherwise the
//! whole file is read, which takes about a second per gigabyte and is part of the time that loading takes.

use std::{fs::File, io::Read, path::Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::FileError;

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

/// SHA-256 of a file of weights in hexadecimal: that of a `manifest.json` beside it, or else of the whole file.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> Result<String, FileError> {
    if let Some(known) = recorded(path) {
        return Ok(known);
    }
    let mut file = File::open(path).map_err(|e| FileError::io(path, e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(|e| FileError::io(path, e))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
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
    fn a_manifest_is_believed_only_for_its_file_of_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.gguf");
        std::fs::write(&path, "abc").unwrap();
        // The test vector of FIPS 180-2.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), known);
        let other = "0".repeat(64);
        let manifest = |bytes: u64| {
            format!(
                r#"{{"format": 1, "files": [{{"name": "w.gguf", "bytes": {bytes}, "sha256": "{other}"}}]}}"#
            )
        };
        std::fs::write(folder.path().join("manifest.json"), manifest(4)).unwrap();
        assert_eq!(of_file(&path).unwrap(), known);
        std::fs::write(folder.path().join("manifest.json"), manifest(3)).unwrap();
        assert_eq!(of_file(&path).unwrap(), other);
    }
}
