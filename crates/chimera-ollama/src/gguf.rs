//! A GGUF file as a server's store wants it: its digest, and a name that says which file it is. Its contents are the
//! server's business.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Digits of the digest in a name: enough that two files never share one by chance.
const DIGITS: usize = 12;
/// Characters of the asked name that are kept.
const NAME: usize = 48;

/// A file and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct Gguf {
    pub(crate) path: PathBuf,
    /// SHA-256 in hexadecimal digits.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Whether a file begins as GGUF does.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn is_gguf(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let mut file = File::open(path)?;
    match file.read_exact(&mut magic) {
        Ok(()) => Ok(&magic == b"GGUF"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl Gguf {
    /// Reads a file through, in bounded memory. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            bytes += count as u64;
            hash.update(buffer.get(..count).unwrap_or_default());
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), sha256, bytes })
    }

    /// A name that servers take, the same for the same file and another for another.
    pub(crate) fn name(&self, asked: &str) -> String {
        let digest = self.sha256.get(..DIGITS).unwrap_or(&self.sha256);
        let mut name = String::new();
        for c in asked.to_ascii_lowercase().chars() {
            let kept = if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
            if kept != '-' || !name.ends_with('-') {
                name.push(kept);
            }
        }
        let middle: String = name.trim_matches(['-', '.', '_']).chars().take(NAME).collect();
        let middle = if middle.is_empty() { "gguf" } else { middle.as_str() };
        format!("{middle}-{digest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_tell_files_apart() {
        let file = |sha256: &str| Gguf { path: "x".into(), sha256: sha256.into(), bytes: 1 };
        let (one, other) = (file(&"ab".repeat(32)), file(&"cd".repeat(32)));
        assert_eq!(one.name("SmolLM2:135m/Q4_1"), "smollm2-135m-q4_1-abababababab");
        assert_ne!(one.name("a"), other.name("a"));
        assert_eq!(one.name("größer//:"), "gr-er-abababababab");
        assert_eq!(one.name("::"), "gguf-abababababab");
        assert!(one.name(&"x".repeat(500)).len() < 80);
    }

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let path = std::env::temp_dir().join(format!("chimera-ollama-gguf-{}", std::process::id()));
        std::fs::write(&path, b"hello").unwrap();
        let read = Gguf::read(&path).unwrap();
        let magic = is_gguf(&path).unwrap();
        std::fs::write(&path, b"GGUF").unwrap();
        let real = is_gguf(&path).unwrap();
        std::fs::write(&path, b"GG").unwrap();
        let short = is_gguf(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!((read.bytes, magic, real, short), (5, false, true, false));
        assert!(Gguf::read(&path).is_err());
    }
}
