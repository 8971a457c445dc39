//! A look at a shared library before the system's loader sees it. The loader maps a file without asking whether it is
//! whole, and a truncated one ends the process with a bus error; what is wrong has to be found here.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// What `e_machine` of an ELF file says of this processor.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else {
    None
};

/// Segments that are mapped.
const LOAD: u32 = 1;

/// Whether a file can be a shared library of this system that is whole.
///
/// # Errors
/// What it is instead, or what is missing of it.
pub fn check_library(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut head = [0; 64];
    let read = file.read(&mut head).map_err(|error| error.to_string())?;
    let head = &head[..read];
    if head.is_empty() {
        return Err("the file is empty".into());
    }
    if cfg!(windows) {
        return if head.starts_with(b"MZ") { Ok(()) } else { Err("it is no Windows library".into()) };
    }
    if cfg!(target_vendor = "apple") {
        let known = [[0xCF, 0xFA, 0xED, 0xFE], [0xCA, 0xFE, 0xBA, 0xBE]];
        let mach = known.iter().any(|magic| head.starts_with(magic));
        return if mach { Ok(()) } else { Err("it is no Mach-O library".into()) };
    }
    elf(&mut file, head, length)
}

fn elf(file: &mut File, head: &[u8], length: u64) -> Result<(), String> {
    if !head.starts_with(b"\x7fELF") {
        return Err("it is no ELF library".into());
    }
    if head.len() < 64 {
        return Err("the file ends too early".into());
    }
    let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    if head[4] != 2 || head[5] != 1 {
        return Err("it is a library of another kind of processor".into());
    }
    let machine = half(18);
    if MACHINE.is_some_and(|ours| ours != machine) {
        return Err(format!(
            "it is for the processor `{}`, and this program is for `{}`",
            machine_name(machine),
            std::env::consts::ARCH
        ));
    }
    if half(16) != 3 {
        return Err("it is an ELF file, but no shared library".into());
    }
    let (start, size, count) = (long(head, 32), u64::from(half(54)), u64::from(half(56)));
    if size < 56 || count == 0 {
        return Err("its program headers are damaged".into());
    }
    let truncated = |end: Option<u64>| {
        let missing = end.is_none_or(|end| end > length);
        missing.then(|| format!("the file ends too early: it has {length} bytes of {}", shown(end)))
    };
    let end = size.checked_mul(count).and_then(|bytes| bytes.checked_add(start));
    if let Some(why) = truncated(end) {
        return Err(why);
    }
    let mut header = [0; 56];
    for index in 0..count {
        file.seek(SeekFrom::Start(start + index * size)).map_err(|error| error.to_string())?;
        file.read_exact(&mut header).map_err(|error| error.to_string())?;
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if kind == LOAD
            && let Some(why) = truncated(long(&header, 8).checked_add(long(&header, 32)))
        {
            return Err(why);
        }
    }
    Ok(())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

fn shown(end: Option<u64>) -> String {
    end.map_or_else(|| "more than any file has".to_owned(), |end| format!("at least {end}"))
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => "riscv64".into(),
        other => format!("number {other}"),
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lib.so");
        std::fs::write(&path, bytes).expect("a file");
        check_library(&path).err()
    }

    /// A header with one loaded segment of the whole file.
    fn library(length: u64, machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', 2, 1]);
        bytes[16] = 3;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 1;
        bytes[64 + 32..64 + 40].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    #[test]
    fn whole_libraries_of_this_processor_pass() {
        let Some(ours) = MACHINE else {
            println!("SKIP: the ELF number of this processor is not known here");
            return;
        };
        assert_eq!(said(&library(256, ours)), None);
        let real = std::env::current_exe().expect("a program");
        // A position-independent program has the header of a library.
        assert_eq!(check_library(&real), Ok(()));
    }

    #[test]
    fn everything_else_is_told_apart() {
        let ours = MACHINE.unwrap_or(62);
        let other = if ours == 62 { 183 } else { 62 };
        let says = |bytes: &[u8], word: &str| {
            let said = said(bytes).expect("a refusal");
            assert!(said.contains(word), "{said}");
        };
        says(b"", "empty");
        says(b"this is a text file", "no ELF");
        says(b"\x7fELF\x02\x01", "too early");
        says(&library(257, ours), "256 bytes of at least 257");
        says(&library(u64::MAX, ours), "too early");
        says(&library(256, other), "processor");
        let mut program = library(256, ours);
        program[16] = 2;
        says(&program, "no shared library");
        let mut headers = library(256, ours);
        headers[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        says(&headers, "too early");
        assert!(check_library(Path::new("no/such/library.so")).is_err());
    }
}
