//! What the probe of the host says, in the form of the records.

use std::time::Duration;

use chimera_records::{HostNoise, HostRecord, NoiseRecord};
use chimera_telemetry::{HostProbe, HostSnapshot, noise_between};

/// The machine, for the manifest. Its memory's rate is not measured here: that takes seconds, and not every study asks.
#[must_use]
pub fn host_record(probe: &HostProbe) -> HostRecord {
    let host = probe.describe();
    HostRecord {
        system: host.system,
        architecture: host.architecture.to_owned(),
        cpu: host.cpu,
        cores: host.cores,
        memory_bytes: host.memory_bytes,
        governor: host.governor,
        virtualised: host.virtualised,
        memory_read_rate: None,
    }
}

/// Pressure and steal over a whole run, for the manifest.
#[must_use]
pub fn noise_record(before: &HostSnapshot, after: &HostSnapshot, elapsed: Duration) -> NoiseRecord {
    let noise = noise_between(before, after, elapsed);
    NoiseRecord {
        cpu_pressure: noise.cpu_pressure,
        memory_pressure: noise.memory_pressure,
        steal: noise.steal,
    }
}

/// The host during one trial.
pub(crate) fn trial_noise(before: &HostSnapshot, after: &HostSnapshot, elapsed: Duration) -> HostNoise {
    let noise = noise_between(before, after, elapsed);
    HostNoise { cpu_pressure: noise.cpu_pressure, steal: noise.steal, load1: noise.load1 }
}
