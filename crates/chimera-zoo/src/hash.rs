//! A file that is hashed and counted while it is written, and the check of a file against such a record. Not a store:
//! it knows nothing of names or folders.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::ZooError;

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char])
        .collect()
}

/// SHA-256 of a byte string, in hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256_file(path: &Path) -> Result<String, ZooError> {
    let mut file = File::open(path).map_err(ZooError::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(ZooError::io("read", path))?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// Writes a file from front to back, hashing as it goes.
pub(crate) struct HashedFile<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl<'a> HashedFile<'a> {
    pub(crate) fn create(path: &'a Path) -> Result<Self, ZooError> {
        let file = File::create(path).map_err(ZooError::io("create", path))?;
        Ok(Self { path, out: BufWriter::with_capacity(1 << 18, file), hash: Sha256::new(), bytes: 0 })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), ZooError> {
        self.hash.update(data);
        self.bytes += data.len() as u64;
        self.out.write_all(data).map_err(ZooError::io("write", self.path))
    }

    /// Appends another file's content.
    pub(crate) fn append(&mut self, path: &Path) -> Result<(), ZooError> {
        let mut file = File::open(path).map_err(ZooError::io("open", path))?;
        let mut buffer = vec![0_u8; 1 << 20];
        loop {
            let read = file.read(&mut buffer).map_err(ZooError::io("read", path))?;
            if read == 0 {
                return Ok(());
            }
            self.write(&buffer[..read])?;
        }
    }

    /// Flushes, and gives the size in bytes and the SHA-256.
    pub(crate) fn finish(mut self) -> Result<(u64, String), ZooError> {
        self.out.flush().map_err(ZooError::io("write", self.path))?;
        Ok((self.bytes, hex(&self.hash.finalize())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_hashes_as_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut file = HashedFile::create(&path).unwrap();
        file.write(b"ab").unwrap();
        file.write(b"c").unwrap();
        let (bytes, sha) = file.finish().unwrap();
        assert_eq!(bytes, 3);
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256_file(&path).unwrap(), sha);
    }
}
