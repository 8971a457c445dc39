//! Reads the kernel's counters cheaply: files stay open and are read again from their beginning. Turning counters into
//! shares is not done here.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::{HostDescription, HostSnapshot, ProcessMemory};

/// Counters of one host, kept open.
///
/// ```
/// use std::time::{Duration, Instant};
/// use chimera_telemetry::{HostProbe, noise_between};
///
/// let probe = HostProbe::system();
/// let (before, start) = (probe.snapshot(), Instant::now());
/// std::thread::sleep(Duration::from_millis(2));
/// let noise = noise_between(&before, &probe.snapshot(), start.elapsed());
/// assert!(noise.cpu_pressure.is_none_or(|share| (0.0..=1.0).contains(&share)));
/// ```
#[derive(Debug)]
pub struct HostProbe {
    root: PathBuf,
    cpu_pressure: Option<File>,
    memory_pressure: Option<File>,
    stat: Option<File>,
    loadavg: Option<File>,
}

impl HostProbe {
    /// The machine this runs on.
    #[must_use]
    pub fn system() -> Self {
        Self::at("/")
    }

    /// A machine whose `proc` and `sys` lie under `root`: another mount, or a tree made for a test.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let open = |path: &str| File::open(root.join(path)).ok();
        Self {
            cpu_pressure: open("proc/pressure/cpu"),
            memory_pressure: open("proc/pressure/memory"),
            stat: open("proc/stat"),
            loadavg: open("proc/loadavg"),
            root,
        }
    }

    /// The counters now. Costs a few microseconds and allocates nothing.
    #[must_use]
    pub fn snapshot(&self) -> HostSnapshot {
        let ticks = first_bytes(self.stat.as_ref(), ticks);
        HostSnapshot {
            cpu_pressure_us: first_bytes(self.cpu_pressure.as_ref(), some_total),
            memory_pressure_us: first_bytes(self.memory_pressure.as_ref(), some_total),
            steal_ticks: ticks.and_then(|ticks| ticks.steal),
            total_ticks: ticks.map(|ticks| ticks.total),
            load1: first_bytes(self.loadavg.as_ref(), |text| text.split(' ').next()?.parse().ok()),
        }
    }

    /// What the machine is. Reads a dozen files: call it once per run.
    #[must_use]
    pub fn describe(&self) -> HostDescription {
        HostDescription::read(&self.root)
    }

    /// Memory of this process now, and the most it has had.
    #[must_use]
    pub fn memory(&self) -> ProcessMemory {
        ProcessMemory::read(&self.root)
    }

    /// Where `proc` and `sys` are looked for.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Reads the beginning of a file again and gives its text to `parse`. All that is wanted stands in the first lines; the
/// line of `/proc/stat` that sums all CPUs comes first on every kernel.
fn first_bytes<T>(file: Option<&File>, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0_u8; 256];
    let length = read_start(file?, &mut buffer).ok()?;
    let bytes = buffer.get(..length)?;
    // The cut may go through a character; what precedes it is whole.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
    };
    parse(text)
}

#[cfg(unix)]
fn read_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, 0)
}

#[cfg(not(unix))]
fn read_start(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    use std::io::{Read, Seek};
    file.rewind()?;
    file.read(buffer)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`, with or without a `full` line after it.
fn some_total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

#[derive(Debug, Clone, Copy)]
struct Ticks {
    total: u64,
    steal: Option<u64>,
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`. Guest time is part of user time, so it is not
/// added again.
fn ticks(text: &str) -> Option<Ticks> {
    let mut total = 0_u64;
    let mut steal = None;
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
    for (index, field) in fields.enumerate() {
        let value: u64 = field.parse().ok()?;
        total = total.saturating_add(value);
        if index == 7 {
            steal = Some(value);
        }
    }
    Some(Ticks { total, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_and_ticks_are_read_from_their_own_fields() {
        let text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        assert_eq!(some_total(text), Some(77));
        assert_eq!(some_total("full avg10=0.00 total=3\n"), None);
        let ticks = ticks("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 2 3\n").unwrap();
        assert_eq!((ticks.total, ticks.steal), (36, Some(8)));
        assert_eq!(
            super::ticks("cpu  1 2 3 4\n").map(|t| (t.total, t.steal)),
            Some((10, None)),
            "an old kernel"
        );
        assert!(super::ticks("intr 5\n").is_none());
    }
}
