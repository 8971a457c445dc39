//! The manifest of a run: everything that is true of the run as a whole, so that its trials can be believed or doubted
//! years later. Writing it is the harness's business; where it lies is the run directory's.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chimera_core::{ModelInfo, Probe};
use serde::{Deserialize, Serialize};

use crate::Overrides;

/// Version of the layout of a run directory. A newer minor can be read (records ignore keys they do not know), a newer
/// major cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FormatVersion {
    /// Changes when older readers would misread.
    pub major: u32,
    /// Changes when a key was added. A new word in a closed list is a new major.
    pub minor: u32,
}

impl FormatVersion {
    /// What this crate writes. 1.2 added the factor `concurrency`, the design's `[quality]` table and `quality.jsonl`; a reader
    /// of 1.1 refuses a design that has the first two by their names, and misses the third without misreading the rest.
    pub const CURRENT: FormatVersion = FormatVersion { major: 1, minor: 2 };

    /// Whether this crate reads it.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.major >= 1 && self.major <= Self::CURRENT.major
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Under way, or killed: the trials say how far it came.
    Running,
    /// Every planned trial of this run (or shard) has its record.
    Complete,
    /// Stopped by the user; can be resumed.
    Cancelled,
    /// Stopped by an error, or more failures than the design allows; can be resumed.
    Failed,
}

/// A share of a plan's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub index: u32,
    /// Number of shards.
    pub of: u32,
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || format!("`{text}` is not a shard: write 2/8 for the second of eight");
        let (index, of) = text.split_once('/').ok_or_else(refused)?;
        let shard =
            Shard { index: index.parse().map_err(|_| refused())?, of: of.parse().map_err(|_| refused())? };
        if shard.index == 0 || shard.index > shard.of { Err(refused()) } else { Ok(shard) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What made the run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgramRecord {
    /// Name and version.
    pub version: String,
    /// Git revision of the source, when it was built from a checkout.
    pub git_revision: Option<String>,
    /// Whether the source differed from that revision.
    pub git_dirty: Option<bool>,
    /// `rustc --version`.
    pub toolchain: Option<String>,
    /// Cargo profile.
    pub profile: Option<String>,
    /// Instruction sets that the compiler was allowed to use.
    pub target_features: Option<String>,
    /// The command line after the program's name.
    pub arguments: Vec<String>,
}

/// The machine. `None` means that it does not tell.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostRecord {
    /// Operating system and kernel.
    pub system: Option<String>,
    /// Processor architecture.
    pub architecture: String,
    /// CPU model.
    pub cpu: Option<String>,
    /// Cores that the process may use.
    pub cores: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Bytes per second that all cores together read from memory, measured at the start of the run: the roof of a
    /// decode step.
    pub memory_read_rate: Option<f64>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// Whether a hypervisor is under it.
    pub virtualised: Option<bool>,
}

/// The instrument's own figures, measured at the start of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Clocks {
    /// Smallest step of the clock in nanoseconds.
    pub resolution_ns: Option<u64>,
    /// Cost of one reading in nanoseconds.
    pub reading_ns: Option<f64>,
    /// Cost of the harness per event in nanoseconds, measured on a stream that does nothing else.
    pub per_event_ns: Option<f64>,
}

/// Pressure and steal over the whole run, as shares of its time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NoiseRecord {
    /// CPU pressure, `some`.
    pub cpu_pressure: Option<f64>,
    /// Memory pressure, `some`.
    pub memory_pressure: Option<f64>,
    /// Steal.
    pub steal: Option<f64>,
}

/// One process of one block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Block.
    pub block: u32,
    /// Attempt at that block, from 1.
    pub attempt: u32,
    /// Threads it ran with.
    pub threads: u32,
    /// Wall-clock start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From the start of the process to the readiness of its harness, in nanoseconds.
    pub startup_ns: Option<u64>,
    /// Largest resident memory in bytes.
    pub peak_rss_bytes: Option<u64>,
    /// How late this process was as a client of each backend behind a wire.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client_lag: BTreeMap<String, LagRecord>,
    /// Host on which it ran (runs merged from several hosts differ here).
    pub host: Option<String>,
    /// Why it ended before its block did (a signal, no memory, a full disk); absent when it ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The instrument's own error, measured at the start of the run against a server in the same process that writes down what it
/// sent when: the short form of `chimera prove`. What is absent was not measured, or could not be certified.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SelfProof {
    /// Streams at once.
    pub streams: u32,
    /// Tokens per second of each.
    pub rate: f64,
    /// Tokens compared.
    pub tokens: u64,
    /// Our stamp of a token minus the beginning of the server's write of it, median, in nanoseconds: never flattering.
    pub receive_p50_ns: Option<u64>,
    /// Its 99th percentile, from 662 tokens on.
    pub receive_p99_ns: Option<u64>,
    /// Its largest value.
    pub receive_max_ns: Option<u64>,
    /// Processor time of the client per paced token, in nanoseconds.
    pub cpu_ns_per_token: Option<f64>,
    /// How late the client was by the kernel's stamps.
    pub lag: LagRecord,
}

/// How late a client was: from the arrival of bytes in the kernel to our stamp. Part of the error of every time that was
/// measured over a wire.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LagRecord {
    /// Reads with a stamp of the kernel.
    pub stamped: u64,
    /// Reads without one.
    pub unstamped: u64,
    /// Reads whose kernel stamp lies after ours: the wall clock was moved.
    pub impossible: u64,
    /// Median in nanoseconds.
    pub p50_ns: Option<u64>,
    /// 99th percentile in nanoseconds, where the reads certify one.
    pub p99_ns: Option<u64>,
    /// Largest in nanoseconds.
    pub max_ns: Option<u64>,
    /// Wall clock minus the process's monotonic clock in nanoseconds.
    pub offset_ns: i64,
    /// How wrong that offset may be in nanoseconds.
    pub offset_error_ns: u64,
}

/// A file that the run depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// File name without folders.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 in hex; absent for a file too large to hash at the start of a run, and then the size must do.
    pub sha256: Option<String>,
}

/// A model of the design, as it was found or not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRecord {
    /// Model that the zoo made or fetched.
    pub source: String,
    /// Precision and container.
    pub variant: String,
    /// Family.
    pub family: String,
    /// What the backend says of it once resident, by backend.
    pub info: BTreeMap<String, ModelInfo>,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// Where the weights come from and under which licence.
    pub provenance: Option<String>,
    /// Why it could not be had.
    pub obstacle: Option<String>,
}

/// How many trials ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// In the plan (or shard).
    pub planned: u64,
    /// With a terminal record.
    pub completed: u64,
    /// See [`crate::Outcome`].
    pub failed: u64,
    /// See [`crate::Outcome`].
    pub skipped: u64,
    /// See [`crate::Outcome`].
    pub cancelled: u64,
    /// See [`crate::Outcome`].
    pub censored: u64,
    /// Trials that carry a flag.
    pub flagged: u64,
}

/// Everything that is true of a run as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the directory.
    pub format: FormatVersion,
    /// Name of the run.
    pub run_id: String,
    /// Study.
    pub study: String,
    /// Where the run stands.
    pub status: RunStatus,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Start, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// End of the last session that worked on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_ms: Option<u64>,
    /// SHA-256 of `design.toml`.
    pub design_sha256: String,
    /// What the command line asked on top.
    pub overrides: Overrides,
    /// [`crate::Plan::digest`].
    pub plan_digest: String,
    /// Seed of the plan.
    pub seed: u64,
    /// Share of the plan, when not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// What made it.
    #[serde(default)]
    pub program: ProgramRecord,
    /// The machine.
    #[serde(default)]
    pub host: HostRecord,
    /// The instrument.
    #[serde(default)]
    pub clocks: Clocks,
    /// The instrument's own error over a wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_proof: Option<SelfProof>,
    /// Pressure during the run.
    #[serde(default)]
    pub noise: NoiseRecord,
    /// Backends as they answered to the probe.
    #[serde(default)]
    pub backends: BTreeMap<String, Probe>,
    /// Models by id.
    #[serde(default)]
    pub models: BTreeMap<String, ModelRecord>,
    /// Processes, in the order of their starts.
    #[serde(default)]
    pub processes: Vec<ProcessRecord>,
    /// How many trials ended how.
    #[serde(default)]
    pub counts: Counts,
    /// Machines by name, in a merged run: [`Manifest::host`] is the first part's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, HostRecord>,
    /// Run ids that were merged into this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
    /// Repairs made when the run was resumed and differences found when runs were merged, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_major_is_refused_and_a_newer_minor_is_not() {
        assert!(FormatVersion { major: 1, minor: 9 }.is_readable());
        assert!(!FormatVersion { major: 2, minor: 0 }.is_readable());
        assert!(!FormatVersion { major: 0, minor: 0 }.is_readable());
    }

    #[test]
    fn shards_read_and_print() {
        assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
        for wrong in ["0/8", "9/8", "2", "a/b", "1/0", ""] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("2/8"));
        }
    }
}
