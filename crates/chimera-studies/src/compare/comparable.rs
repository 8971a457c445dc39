//! Whether two runs may be compared: every difference between them that could stand in the place of the effect, by
//! name. A difference that a caller declares (the thing under test) is allowed; any other makes the runs not comparable.
//! What the effect is, is not asked here.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chimera_core::Availability;
use chimera_records::{HostRecord, ModelRecord, RunStatus};
use serde::{Deserialize, Serialize};

use crate::RunData;

/// What two runs can differ in beside the effect under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Weights: digests or sizes of files, or the digest that a server gives.
    ModelDigest,
    /// Text or exact length of prompts.
    Prompts,
    /// How tokens are chosen.
    Sampling,
    /// Budget of first-use trials.
    Warmup,
    /// Version of the engine or server.
    BackendVersion,
    /// Toolchain, build profile and instruction sets of the program.
    Build,
    /// CPU, cores, architecture, memory, hypervisor.
    Host,
    /// Operating system and kernel.
    System,
    /// Frequency governor.
    Governor,
}

impl Aspect {
    /// All aspects.
    pub const ALL: &'static [Aspect] = &[
        Self::ModelDigest,
        Self::Prompts,
        Self::Sampling,
        Self::Warmup,
        Self::BackendVersion,
        Self::Build,
        Self::Host,
        Self::System,
        Self::Governor,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ModelDigest => "model-digest",
            Self::Prompts => "prompts",
            Self::Sampling => "sampling",
            Self::Warmup => "warmup",
            Self::BackendVersion => "backend-version",
            Self::Build => "build",
            Self::Host => "host",
            Self::System => "system",
            Self::Governor => "governor",
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Aspect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|aspect| aspect.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|aspect| aspect.name()).collect();
            format!("`{text}` is nothing that runs differ in; there are: {}", names.join(", "))
        })
    }
}

/// One difference between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In what.
    pub aspect: Aspect,
    /// Of what: a model, a prompt, a property of the host.
    pub subject: String,
    /// In the first run.
    pub a: String,
    /// In the second.
    pub b: String,
    /// Whether the caller declared this aspect as the thing under test.
    pub allowed: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {} against {}", self.aspect, self.subject, self.a, self.b)
    }
}

/// What the comparison uses of both runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Used<'a> {
    pub(super) models: BTreeSet<&'a str>,
    pub(super) scenarios: BTreeSet<&'a str>,
    pub(super) backends: BTreeSet<&'a str>,
}

/// Differences, and what neither of two records can exclude.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    pub(super) differences: Vec<Difference>,
    pub(super) caveats: Vec<String>,
}

impl Inspection {
    fn compare(
        &mut self,
        allowed: &[Aspect],
        aspect: Aspect,
        subject: &str,
        a: Option<String>,
        b: Option<String>,
    ) {
        match (a, b) {
            (Some(a), Some(b)) if a == b => {}
            (None, None) => self.caveats.push(format!("{aspect}, {subject}: neither run recorded it")),
            (a, b) => {
                let (a, b) = told(a, b);
                let allowed = allowed.contains(&aspect);
                self.differences.push(Difference { aspect, subject: subject.to_owned(), a, b, allowed });
            }
        }
    }
}

/// Inspects two runs in what the comparison uses of them.
pub(super) fn inspect(a: &RunData, b: &RunData, used: &Used<'_>, allowed: &[Aspect]) -> Inspection {
    let mut found = Inspection::default();
    let mut see = |aspect, subject: &str, a, b| found.compare(allowed, aspect, subject, a, b);
    for model in &used.models {
        let digest =
            |run: &RunData| run.manifest.models.get(*model).and_then(|m| digest_of(m, &used.backends));
        see(Aspect::ModelDigest, model, digest(a), digest(b));
    }
    for scenario in &used.scenarios {
        let prompt = |run: &RunData| {
            run.settings.design.scenario(scenario).map(|s| match s.tokens {
                Some(tokens) => format!("{tokens} tokens of: {}", s.text),
                None => s.text.clone(),
            })
        };
        see(Aspect::Prompts, scenario, prompt(a), prompt(b));
    }
    let sampling = |run: &RunData| {
        let s = &run.settings.design.sampling;
        Some(format!(
            "temperature {}, top k {:?}, top p {:?}, penalty {}",
            s.temperature, s.top_k, s.top_p, s.repeat_penalty
        ))
    };
    see(Aspect::Sampling, "tokens", sampling(a), sampling(b));
    let warmup = |run: &RunData| Some(format!("{} tokens", run.settings.design.warmup.budget));
    see(Aspect::Warmup, "first use", warmup(a), warmup(b));
    for backend in &used.backends {
        let version = |run: &RunData| {
            let probe = run.manifest.backends.get(*backend)?;
            matches!(probe.availability, Availability::Ready).then(|| probe.version.clone()).flatten()
        };
        // A backend that ran in one run alone is a level of a factor, not a version.
        if a.manifest.backends.contains_key(*backend) && b.manifest.backends.contains_key(*backend) {
            see(Aspect::BackendVersion, backend, version(a), version(b));
        }
    }
    let (pa, pb) = (&a.manifest.program, &b.manifest.program);
    see(Aspect::Build, "toolchain", pa.toolchain.clone(), pb.toolchain.clone());
    see(Aspect::Build, "profile", pa.profile.clone(), pb.profile.clone());
    see(Aspect::Build, "instruction sets", pa.target_features.clone(), pb.target_features.clone());
    for (aspect, subject, of) in HOST {
        see(*aspect, subject, hosts(a, of), hosts(b, of));
    }
    for (name, run) in [("A", a), ("B", b)] {
        if run.manifest.status != RunStatus::Complete {
            found.caveats.push(format!(
                "run {name} is not complete ({:?}): its trials are those that came so far",
                run.manifest.status
            ));
        }
        for damage in &run.damage {
            found.caveats.push(format!("run {name}: {damage}"));
        }
    }
    if pa.git_revision != pb.git_revision {
        let told =
            |value: &Option<String>| value.as_deref().map_or("unknown".to_owned(), |v| short(v).to_owned());
        found.caveats.push(format!(
            "the program was built from {} and {}",
            told(&pa.git_revision),
            told(&pb.git_revision)
        ));
    }
    found
}

type OfHost = fn(&HostRecord) -> Option<String>;

const HOST: &[(Aspect, &str, OfHost)] = &[
    (Aspect::Host, "CPU", |host| host.cpu.clone()),
    (Aspect::Host, "cores", |host| host.cores.map(|n| n.to_string())),
    (Aspect::Host, "architecture", |host| Some(host.architecture.clone())),
    // Firmware and hypervisors take a little of it: a tenth of a GiB is not another machine.
    (Aspect::Host, "memory", |host| {
        host.memory_bytes.map(|n| format!("{:.0} GiB", n as f64 / (1_u64 << 30) as f64))
    }),
    (Aspect::Host, "hypervisor", |host| host.virtualised.map(|v| if v { "yes" } else { "no" }.to_owned())),
    (Aspect::System, "kernel", |host| host.system.clone()),
    (Aspect::Governor, "frequency", |host| host.governor.clone()),
];

/// A property of the host, or of all hosts of a merged run.
fn hosts(run: &RunData, of: &OfHost) -> Option<String> {
    if run.manifest.hosts.is_empty() {
        return of(&run.manifest.host);
    }
    let all: Option<BTreeSet<String>> = run.manifest.hosts.values().map(of).collect();
    all.map(|all| all.into_iter().collect::<Vec<_>>().join(" and "))
}

/// What identifies the weights: the files' digests (or sizes), else what the backends say of them.
fn digest_of(model: &ModelRecord, backends: &BTreeSet<&str>) -> Option<String> {
    if !model.files.is_empty() {
        let files = model.files.iter().map(|file| match &file.sha256 {
            Some(digest) => format!("{} {digest}", file.name),
            None => format!("{} {} bytes", file.name, file.bytes),
        });
        return Some(files.collect::<Vec<_>>().join(", "));
    }
    let told: BTreeSet<&str> = model
        .info
        .iter()
        .filter(|(backend, _)| backends.contains(backend.as_str()))
        .filter_map(|(_, info)| info.digest.as_deref())
        .collect();
    (!told.is_empty()).then(|| told.into_iter().collect::<Vec<_>>().join(", "))
}

/// Two different values, cut so that the difference is seen.
fn told(a: Option<String>, b: Option<String>) -> (String, String) {
    let missing = |value: Option<String>| value.unwrap_or_else(|| "not recorded".to_owned());
    let (a, b) = (missing(a), missing(b));
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    (around(&a, same), around(&b, same))
}

/// A long text around one of its characters.
fn around(text: &str, place: usize) -> String {
    const BEFORE: usize = 24;
    const SHOWN: usize = 64;
    let count = text.chars().count();
    if count <= SHOWN {
        return text.to_owned();
    }
    let from = place.saturating_sub(BEFORE).min(count - 1);
    let part: String = text.chars().skip(from).take(SHOWN).collect();
    let (head, tail) = (if from > 0 { "…" } else { "" }, if from + SHOWN < count { "…" } else { "" });
    format!("{head}{part}{tail}")
}

/// The beginning of a revision.
fn short(text: &str) -> &str {
    text.get(..12).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_difference_is_shown() {
        let (a, b) = (format!("{}cat", "x".repeat(200)), format!("{}dog", "x".repeat(200)));
        let (a, b) = told(Some(a), Some(b));
        assert!(a.ends_with("cat") && b.ends_with("dog") && a.starts_with('…') && a.chars().count() < 70);
        assert_eq!(told(None, Some("x".into())), ("not recorded".into(), "x".into()));
    }
}
