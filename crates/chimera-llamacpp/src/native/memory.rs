//! How much memory may be asked for. llama.cpp writes to its cache as soon as it has one, and a system that promises more
//! than it has ends a process that does so.

/// Bytes that can be had without swapping; `None` where the system does not say.
pub(super) fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_says_how_much_there_is() {
        match available() {
            Some(bytes) => assert!(bytes > 1 << 20, "{bytes} bytes"),
            None if cfg!(target_os = "linux") => panic!("Linux says how much memory there is"),
            None => {}
        }
    }
}
