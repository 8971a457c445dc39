//! Whether a file can be the shared library that it is called: an ELF file for this machine that is as long as its own
//! headers say. The loader maps what it is given, and a library that was cut off kills the process when its missing part
//! is touched.

use std::{fs::File, io::Read, path::Path};

/// What an ELF header says the machine is.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else {
    None
};

const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// Checks a file; an error says what is wrong with it. On systems whose libraries are no ELF files nothing is checked.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")) {
        return Ok(());
    }
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut head = Vec::new();
    // Program headers follow the header in every library that a linker writes.
    file.by_ref().take(64 * 1024).read_to_end(&mut head).map_err(|error| error.to_string())?;
    inspect(&head, length)
}

fn inspect(head: &[u8], length: u64) -> Result<(), String> {
    if head.get(..4) != Some(b"\x7fELF".as_slice()) {
        return Err("it is no shared library (no ELF file)".to_owned());
    }
    if head.len() < HEADER || head.get(4..6) != Some(&[2, 1]) {
        return Err("it is no 64-bit little-endian library".to_owned());
    }
    if number(head, 16, 2) != Some(3) {
        return Err("it is an ELF file, but no shared library".to_owned());
    }
    let machine = number(head, 18, 2);
    if let (Some(found), Some(wanted)) = (machine, MACHINE)
        && found != u64::from(wanted)
    {
        return Err(format!("it is for another processor (ELF machine {found}, not {wanted})"));
    }
    let cut = || format!("it was cut off: it has {length} bytes and its own headers point beyond");
    let start = number(head, 32, 8).unwrap_or(u64::MAX);
    let (size, count) = (number(head, 54, 2).unwrap_or(0), number(head, 56, 2).unwrap_or(0));
    if size != SEGMENT as u64 || count == 0 {
        return Err("its headers name no segments".to_owned());
    }
    for index in 0..count {
        let at = start.checked_add(index * size).and_then(|at| usize::try_from(at).ok()).ok_or_else(cut)?;
        let (Some(offset), Some(bytes)) = (number(head, at + 8, 8), number(head, at + 32, 8)) else {
            return Err(cut());
        };
        if offset.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(cut());
        }
    }
    Ok(())
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(width)?)?;
    Some(part.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one segment of 100 bytes at offset 120.
    fn library() -> Vec<u8> {
        let mut bytes = vec![0u8; 220];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 3;
        bytes[18..20].copy_from_slice(&MACHINE.unwrap_or(0).to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64 + 8] = 120;
        bytes[64 + 32] = 100;
        bytes
    }

    #[test]
    fn a_whole_library_passes_and_others_say_why_not() {
        let whole = library();
        assert_eq!(inspect(&whole, 220), Ok(()));
        let wrong = |at: usize, value: u8| {
            let mut bytes = library();
            bytes[at] = value;
            inspect(&bytes, 220).unwrap_err()
        };
        assert!(wrong(0, b'T').contains("no ELF file"));
        assert!(wrong(4, 1).contains("64-bit"));
        assert!(wrong(16, 2).contains("no shared library"));
        assert!(wrong(18, 40).contains("another processor"));
        assert!(wrong(64 + 35, 1).contains("cut off"));
        assert!(wrong(56, 0).contains("no segments"));
        assert!(inspect(&whole, 219).unwrap_err().contains("cut off"));
        for length in 0..whole.len() {
            assert!(inspect(&whole[..length], length as u64).is_err(), "{length}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn files_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("libtext.so");
        std::fs::write(&text, "not a library\n").unwrap();
        assert!(check(&text).unwrap_err().contains("no ELF file"));
        assert!(check(&folder.path().join("none.so")).is_err());
        // This test is itself an ELF file for this machine, position independent as libraries are.
        assert_eq!(check(&std::env::current_exe().unwrap()), Ok(()));
    }
}
