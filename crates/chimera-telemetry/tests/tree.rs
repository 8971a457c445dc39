//! The probe on a made tree, on an empty one and on the machine at hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, time::Instant};

use chimera_telemetry::{HostProbe, HostSnapshot, ProcessMemory};

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_made_tree_is_read_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(
        root,
        "proc/pressure/cpu",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 total=0\n",
    );
    put(root, "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n");
    put(root, "proc/stat", "cpu  10 0 10 70 0 0 0 10 0 0\ncpu0 10 0 10 70 0 0 0 10 0 0\n");
    put(root, "proc/loadavg", "1.25 0.50 0.10 1/100 4242\n");
    put(root, "proc/cpuinfo", "processor : 0\nmodel name : Made CPU\nflags : fpu hypervisor\n");
    put(root, "proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\n");
    put(root, "proc/sys/kernel/ostype", "Linux\n");
    put(root, "proc/sys/kernel/osrelease", "6.1.0\n");
    put(root, "proc/sys/kernel/hostname", "made\n");
    put(root, "proc/self/status", "Name: x\nVmHWM:\t 200 kB\nVmRSS:\t 100 kB\n");
    put(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    let probe = HostProbe::at(root);
    assert_eq!(
        probe.snapshot(),
        HostSnapshot {
            cpu_pressure_us: Some(1234),
            memory_pressure_us: Some(9),
            steal_ticks: Some(10),
            total_ticks: Some(100),
            load1: Some(1.25),
        }
    );
    let host = probe.describe();
    assert_eq!(host.name.as_deref(), Some("made"));
    assert_eq!(host.system.as_deref(), Some("Linux 6.1.0"));
    assert_eq!(host.cpu.as_deref(), Some("Made CPU"));
    assert_eq!((host.memory_bytes, host.virtualised), (Some(1_024_000), Some(true)));
    assert_eq!(host.governor.as_deref(), Some("performance"));
    assert_eq!(
        probe.memory(),
        ProcessMemory { resident_bytes: Some(102_400), peak_resident_bytes: Some(204_800) }
    );
    // A counter that moves is seen through the file that stays open.
    fs::write(root.join("proc/pressure/cpu"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=2345\n").unwrap();
    assert_eq!(probe.snapshot().cpu_pressure_us, Some(2345));
}

#[test]
fn an_empty_tree_tells_nothing_and_never_zero() {
    let dir = tempfile::tempdir().unwrap();
    let probe = HostProbe::at(dir.path());
    assert_eq!(probe.snapshot(), HostSnapshot::default());
    assert_eq!(probe.memory(), ProcessMemory::default());
    let host = probe.describe();
    assert_eq!(
        (host.name, host.system, host.cpu, host.memory_bytes, host.governor, host.virtualised),
        (None, None, None, None, None, None)
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_machine_at_hand_answers_cheaply() {
    let probe = HostProbe::system();
    let first = probe.snapshot();
    assert!(first.total_ticks.is_some_and(|ticks| ticks > 0), "every Linux has /proc/stat");
    let memory = probe.memory();
    assert!(memory.peak_resident_bytes >= memory.resident_bytes && memory.resident_bytes > Some(0));
    // The best of several rounds: other programs may run meanwhile.
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..50 {
                std::hint::black_box(probe.snapshot());
            }
            start.elapsed() / 50
        })
        .min()
        .unwrap();
    println!("a snapshot costs {best:?}");
    let cpus = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    // The kernel writes one line per CPU for /proc/stat, whoever reads only the first.
    assert!(best.as_micros() < u128::from(20.max(5 * cpus)), "a snapshot costs {best:?}");
}
