//! What the machine is and how much memory a process takes. Read once; never while something is measured.

use std::{fs, path::Path};

/// The machine. `None` means that it does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostDescription {
    /// Name of the host.
    pub name: Option<String>,
    /// Operating system and kernel release.
    pub system: Option<String>,
    /// Processor architecture this program was built for.
    pub architecture: &'static str,
    /// CPU model.
    pub cpu: Option<String>,
    /// Cores that this process may use, affinity and quotas counted.
    pub cores: Option<u32>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Frequency governor of the first CPU.
    pub governor: Option<String>,
    /// Whether a hypervisor is under it.
    pub virtualised: Option<bool>,
}

impl HostDescription {
    pub(crate) fn read(root: &Path) -> Self {
        let line = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let cpuinfo = line("proc/cpuinfo");
        let kernel = line("proc/sys/kernel/osrelease");
        Self {
            name: line("proc/sys/kernel/hostname"),
            system: match (line("proc/sys/kernel/ostype"), kernel) {
                (Some(system), Some(kernel)) => Some(format!("{system} {kernel}")),
                (None, Some(kernel)) => Some(kernel),
                // Without /proc only the family that this was built for is known.
                _ => (root == Path::new("/")).then(|| std::env::consts::OS.to_owned()),
            },
            architecture: std::env::consts::ARCH,
            cpu: cpuinfo.as_deref().and_then(cpu_model),
            cores: std::thread::available_parallelism()
                .ok()
                .and_then(|cores| u32::try_from(cores.get()).ok()),
            memory_bytes: line("proc/meminfo").and_then(|text| kib(&text, "MemTotal:")),
            governor: line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            virtualised: cpuinfo.as_deref().and_then(virtualised),
        }
    }
}

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessMemory {
    /// Resident now.
    pub resident_bytes: Option<u64>,
    /// Most that was ever resident.
    pub peak_resident_bytes: Option<u64>,
}

impl ProcessMemory {
    pub(crate) fn read(root: &Path) -> Self {
        let Ok(status) = fs::read_to_string(root.join("proc/self/status")) else {
            return Self::default();
        };
        Self { resident_bytes: kib(&status, "VmRSS:"), peak_resident_bytes: kib(&status, "VmHWM:") }
    }
}

/// Value of a `Key:   123 kB` line, in bytes.
fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn cpu_field<'a>(cpuinfo: &'a str, key: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim()).filter(|value| !value.is_empty())
    })
}

/// `model name` on x86, `Model` or the implementer's code on ARM.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    ["model name", "Model", "cpu model", "uarch"]
        .into_iter()
        .find_map(|key| cpu_field(cpuinfo, key))
        .map(str::to_owned)
        .or_else(|| {
            let implementer = cpu_field(cpuinfo, "CPU implementer")?;
            let part = cpu_field(cpuinfo, "CPU part")?;
            Some(format!("implementer {implementer} part {part}"))
        })
}

/// The `hypervisor` flag that x86 guests see. Other architectures have no such flag, so nothing is said of them.
fn virtualised(cpuinfo: &str) -> Option<bool> {
    cpu_field(cpuinfo, "flags").map(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named_on_both_architectures() {
        let x86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu hypervisor sse2\n";
        assert_eq!(cpu_model(x86).as_deref(), Some("Some CPU @ 2.00GHz"));
        assert_eq!(virtualised(x86), Some(true));
        assert_eq!(virtualised("flags : fpu sse2\n"), Some(false));
        let arm = "processor : 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nFeatures : fp asimd\n";
        assert_eq!(cpu_model(arm).as_deref(), Some("implementer 0x41 part 0xd0c"));
        assert_eq!(virtualised(arm), None, "no flag is no answer");
        assert_eq!(kib("MemTotal:       24576 kB\n", "MemTotal:"), Some(24576 * 1024));
        assert_eq!(kib("MemTotal: many kB\n", "MemTotal:"), None);
    }
}
