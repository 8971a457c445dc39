//! One reading of the kernel's counters, and the share of time that two readings show. Reading them is the probe's
//! business.

use std::time::Duration;

/// Counters of the kernel at one moment. They only grow; a counter that this host does not keep is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostSnapshot {
    /// Microseconds since boot in which some runnable task waited for a CPU (`some` of `/proc/pressure/cpu`).
    pub cpu_pressure_us: Option<u64>,
    /// Microseconds since boot in which some task waited for memory (`some` of `/proc/pressure/memory`).
    pub memory_pressure_us: Option<u64>,
    /// Clock ticks of all CPUs that the hypervisor took away.
    pub steal_ticks: Option<u64>,
    /// Clock ticks of all CPUs, idle and stolen ones included.
    pub total_ticks: Option<u64>,
    /// One-minute load average.
    pub load1: Option<f64>,
}

/// What disturbed a stretch of time, as shares of it. `None` where the host does not tell or the stretch was too short.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// Share of the time in which some runnable task waited for a CPU.
    pub cpu_pressure: Option<f64>,
    /// Share of the time in which some task waited for memory.
    pub memory_pressure: Option<f64>,
    /// Share of all CPU time that the hypervisor took away. CPU time is counted in ticks (10 ms as a rule), so a
    /// stretch in which no tick passed has none.
    pub steal: Option<f64>,
    /// One-minute load average at the end.
    pub load1: Option<f64>,
}

/// What happened from `before` to `after`, which lie `elapsed` apart.
///
/// The kernel's totals are read a moment before and after the stretch, so a share can come out a little above one; it is
/// clamped to one.
#[must_use]
pub fn noise_between(before: &HostSnapshot, after: &HostSnapshot, elapsed: Duration) -> Noise {
    let micros = elapsed.as_secs_f64() * 1e6;
    Noise {
        cpu_pressure: share(before.cpu_pressure_us, after.cpu_pressure_us, micros),
        memory_pressure: share(before.memory_pressure_us, after.memory_pressure_us, micros),
        steal: grown(before.total_ticks, after.total_ticks)
            .and_then(|total| share(before.steal_ticks, after.steal_ticks, total)),
        load1: after.load1,
    }
}

/// Growth of a counter; `None` when either reading is absent or the counter ran back (a migrated guest).
fn grown(before: Option<u64>, after: Option<u64>) -> Option<f64> {
    after?.checked_sub(before?).map(|grown| grown as f64)
}

fn share(before: Option<u64>, after: Option<u64>, of: f64) -> Option<f64> {
    let grown = grown(before, after)?;
    (of > 0.0).then(|| (grown / of).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_by_hand() {
        let before = HostSnapshot {
            cpu_pressure_us: Some(1_000_000),
            memory_pressure_us: Some(0),
            steal_ticks: Some(10),
            total_ticks: Some(1_000),
            load1: Some(0.1),
        };
        let after = HostSnapshot {
            cpu_pressure_us: Some(1_500_000),
            memory_pressure_us: Some(20_000),
            steal_ticks: Some(60),
            total_ticks: Some(1_200),
            load1: Some(0.7),
        };
        let noise = noise_between(&before, &after, Duration::from_secs(2));
        assert_eq!(noise.cpu_pressure, Some(0.25));
        assert_eq!(noise.memory_pressure, Some(0.01));
        assert_eq!(noise.steal, Some(0.25));
        assert_eq!(noise.load1, Some(0.7));
    }

    #[test]
    fn absent_counters_short_stretches_and_backward_counters_give_nothing() {
        let full = HostSnapshot {
            cpu_pressure_us: Some(5),
            memory_pressure_us: None,
            steal_ticks: Some(1),
            total_ticks: Some(9),
            load1: None,
        };
        let noise = noise_between(&full, &full, Duration::from_millis(3));
        assert_eq!(noise, Noise { cpu_pressure: Some(0.0), ..Noise::default() }, "no tick passed: no steal");
        assert_eq!(noise_between(&full, &full, Duration::ZERO), Noise::default());
        let earlier = HostSnapshot { cpu_pressure_us: Some(4), ..full };
        assert_eq!(noise_between(&full, &earlier, Duration::from_secs(1)).cpu_pressure, None);
        assert_eq!(noise_between(&HostSnapshot::default(), &full, Duration::from_secs(1)), Noise::default());
    }
}
