//! A run's directory: `design.toml` verbatim, `manifest.json`, one line per trial in `trials.jsonl`, token stamps in
//! `events.jsonl`, what was found out about its arms in `quality.jsonl`. It is made once and never overwritten; a lock keeps two supervisors apart and another keeps two
//! writers apart. What is in the records is defined elsewhere; deciding what to run is the harness's business.

mod atomic;
mod error;
mod held;
mod lines;
mod merge;
mod name;
mod read;
mod repair;
mod tally;
mod write;

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use self::held::Held;
pub use self::{
    error::RunError,
    merge::merge,
    name::unix_ms,
    read::{Damage, Events, QualityRecords, Trials},
    tally::{Tally, is_terminal},
    write::{QualityWriter, TrialWriter},
};
use crate::{
    Design, FormatVersion, HostRecord, Manifest, Overrides, Plan, ProgramRecord, RunStatus, Settings, Shard,
};

const DESIGN: &str = "design.toml";
const MANIFEST: &str = "manifest.json";
const TRIALS: &str = "trials.jsonl";
const EVENTS: &str = "events.jsonl";
/// Made with its first record: runs whose design has no `[quality]` table lack it.
const QUALITY: &str = "quality.jsonl";
const LOCK: &str = "run.lock";

/// What a new run starts from.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Text of the design, kept verbatim.
    pub design: &'a str,
    /// What the command line asks on top.
    pub overrides: &'a Overrides,
    /// Share of the plan, when not the whole.
    pub shard: Option<Shard>,
    /// What makes the run.
    pub program: ProgramRecord,
    /// The machine.
    pub host: HostRecord,
}

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    manifest: Manifest,
}

/// Held by the one process that supervises a run. Dropping it, or the end of the process, gives the run free.
#[derive(Debug)]
pub struct RunLock {
    _held: Held,
}

impl RunDir {
    /// Makes a run in a new directory under `parent`, named by the time and a random part: two runs never share one.
    ///
    /// # Errors
    /// A design that cannot be used, or a directory that cannot be made.
    pub fn create(parent: &Path, new: &NewRun<'_>) -> Result<RunDir, RunError> {
        fs::create_dir_all(parent).map_err(|error| RunError::io("make", parent, error))?;
        loop {
            let created = unix_ms();
            let run_id = name::run_id(created);
            let path = parent.join(&run_id);
            match Self::create_named(&path, run_id, created, new) {
                Err(RunError::Exists { .. }) => {} // Another run took that name: take the next.
                other => return other,
            }
        }
    }

    /// Makes a run in exactly this directory, which must not exist.
    ///
    /// # Errors
    /// [`RunError::Exists`], and those of [`RunDir::create`].
    pub fn create_at(path: &Path, new: &NewRun<'_>) -> Result<RunDir, RunError> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| RunError::io("make", parent, error))?;
        }
        let created = unix_ms();
        Self::create_named(path, name::run_id(created), created, new)
    }

    fn create_named(path: &Path, run_id: String, created: u64, new: &NewRun<'_>) -> Result<RunDir, RunError> {
        // Everything that can be refused is refused before anything is on disk.
        let place = || path.join(DESIGN);
        let design =
            Design::parse(new.design).map_err(|source| RunError::Design { path: place(), source })?;
        let settings =
            design.resolve(new.overrides).map_err(|source| RunError::Design { path: place(), source })?;
        let plan = Plan::new(&settings).map_err(|source| RunError::Plan { path: path.into(), source })?;
        let blocks = plan.shard(new.shard).map_err(|source| RunError::Plan { path: path.into(), source })?;
        let planned: usize = blocks.iter().map(|block| block.trials.len()).sum();
        let mut manifest = Manifest {
            format: FormatVersion::CURRENT,
            run_id,
            study: design.study.clone(),
            status: RunStatus::Running,
            failure: None,
            created_unix_ms: created,
            ended_unix_ms: None,
            design_sha256: Design::digest(new.design),
            overrides: new.overrides.clone(),
            plan_digest: plan.digest.clone(),
            seed: settings.design.seed,
            shard: new.shard,
            program: new.program.clone(),
            host: new.host.clone(),
            clocks: Default::default(),
            self_proof: None,
            noise: Default::default(),
            backends: Default::default(),
            models: Default::default(),
            processes: Vec::new(),
            counts: Default::default(),
            hosts: Default::default(),
            merged_from: Vec::new(),
            repairs: Vec::new(),
        };
        manifest.counts.planned = planned as u64;

        fs::create_dir(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => RunError::Exists { path: path.into() },
            _ => RunError::io("make", path, error),
        })?;
        let run = RunDir { path: path.into(), manifest };
        run.fill(new.design).inspect_err(|_| {
            // It is ours and nothing is in it; the error that stopped it is what matters.
            let _ = fs::remove_dir_all(path);
        })?;
        Ok(run)
    }

    /// Puts the files of a new run in place. The manifest comes last: a directory that has one is whole.
    fn fill(&self, design: &str) -> Result<(), RunError> {
        atomic::write(&self.path.join(DESIGN), design.as_bytes())?;
        for name in [TRIALS, EVENTS] {
            let file = self.path.join(name);
            File::create_new(&file).map_err(|error| RunError::io("make", file, error))?;
        }
        self.save()
    }

    /// Opens a run.
    ///
    /// # Errors
    /// [`RunError::NotARun`], [`RunError::Version`] for a newer major, [`RunError::Corrupt`] for a broken manifest.
    pub fn open(path: &Path) -> Result<RunDir, RunError> {
        #[derive(Deserialize)]
        struct Head {
            format: FormatVersion,
        }
        let file = path.join(MANIFEST);
        let bytes = fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                RunError::NotARun { path: path.into(), reason: format!("there is no {MANIFEST}") }
            }
            _ => RunError::io("read", &file, error),
        })?;
        let corrupt = |error: serde_json::Error| RunError::Corrupt {
            path: file.clone(),
            line: error.line() as u64,
            reason: error.to_string(),
        };
        // The version is read by itself: nothing else of a newer layout can be relied on.
        let head: Head = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if !head.format.is_readable() {
            return Err(RunError::Version {
                path: path.into(),
                found: head.format,
                supported: FormatVersion::CURRENT,
            });
        }
        let manifest = serde_json::from_slice(&bytes).map_err(corrupt)?;
        Ok(RunDir { path: path.into(), manifest })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest as last read or written.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Changes the manifest and writes it: a reader sees the old one or the new one, never a part.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Io`]; then the old manifest stands on disk.
    pub fn update(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), RunError> {
        change(&mut self.manifest);
        self.save()
    }

    fn save(&self) -> Result<(), RunError> {
        let path = self.path.join(MANIFEST);
        let mut text = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| RunError::io("write", &path, error.into()))?;
        text.push(b'\n');
        atomic::write(&path, &text)
    }

    /// The design's text, as the run was started with it.
    ///
    /// # Errors
    /// [`RunError::Changed`] when somebody edited it since.
    pub fn design(&self) -> Result<String, RunError> {
        let path = self.path.join(DESIGN);
        let text = fs::read_to_string(&path).map_err(|error| RunError::io("read", &path, error))?;
        let found = Design::digest(&text);
        if found != self.manifest.design_sha256 {
            return Err(RunError::Changed {
                path,
                what: "the design",
                expected: self.manifest.design_sha256.clone(),
                found,
                remedy: "restore it; a changed design is a new run",
            });
        }
        Ok(text)
    }

    /// The design with the run's profile and overrides applied.
    ///
    /// # Errors
    /// Those of [`RunDir::design`], and a design that this program does not read.
    pub fn settings(&self) -> Result<Settings, RunError> {
        let text = self.design()?;
        let refused = |source| RunError::Design { path: self.path.join(DESIGN), source };
        Design::parse(&text).map_err(refused)?.resolve(&self.manifest.overrides).map_err(refused)
    }

    /// The run's plan, made again and compared with the digest in the manifest.
    ///
    /// # Errors
    /// [`RunError::Changed`] when this program makes another plan of the same design.
    pub fn plan(&self, settings: &Settings) -> Result<Plan, RunError> {
        let plan =
            Plan::new(settings).map_err(|source| RunError::Plan { path: self.path.clone(), source })?;
        if plan.digest != self.manifest.plan_digest {
            return Err(RunError::Changed {
                path: self.path.clone(),
                what: "the plan",
                expected: self.manifest.plan_digest.clone(),
                found: plan.digest,
                remedy: "continue the run with the release that started it",
            });
        }
        Ok(plan)
    }

    /// Takes the run for this process alone. Reading needs no lock.
    ///
    /// # Errors
    /// [`RunError::Busy`] when another process supervises it.
    pub fn lock(&self) -> Result<RunLock, RunError> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| RunError::io("open", &path, error))?;
        Ok(RunLock { _held: Held::take(file, &path)? })
    }

    /// Opens the records for appending; one writer at a time, so that the child of a supervisor that was killed cannot
    /// write beside the child of its successor.
    ///
    /// # Errors
    /// [`RunError::Busy`] while another process writes, [`RunError::Unrepaired`] after a crash.
    pub fn writer(&self) -> Result<TrialWriter, RunError> {
        TrialWriter::open(&self.path)
    }

    /// Opens `quality.jsonl` for appending, and makes it when it is not there. One writer at a time.
    ///
    /// # Errors
    /// [`RunError::Busy`] while another process writes, [`RunError::Unrepaired`] after a crash.
    pub fn quality_writer(&self) -> Result<QualityWriter, RunError> {
        QualityWriter::open(&self.path)
    }

    /// Reads what was found out about the run's arms; nothing where nothing was asked.
    ///
    /// # Errors
    /// [`RunError::Corrupt`] for a line that cannot be read, the last excepted.
    pub fn read_quality(&self) -> Result<QualityRecords, RunError> {
        read::quality(&self.path.join(QUALITY))
    }

    /// Reads every trial. A last line that was cut off is reported in [`Trials::damage`].
    ///
    /// # Errors
    /// [`RunError::Corrupt`] for a line elsewhere that cannot be read.
    pub fn read_trials(&self) -> Result<Trials, RunError> {
        read::trials(&self.path.join(TRIALS))
    }

    /// Reads token stamps one line at a time, in the order in which they were written.
    ///
    /// # Errors
    /// [`RunError::Io`] when the file cannot be opened.
    pub fn events(&self) -> Result<Events, RunError> {
        read::Events::open(&self.path.join(EVENTS))
    }

    /// Mends what a crash leaves: a last line that was cut off is removed, one that only lacks its end is completed, and
    /// drafts of manifests are removed. Says what it did to records, in words for the manifest. Only the process that
    /// holds the run's lock may call it.
    ///
    /// # Errors
    /// [`RunError::Busy`] while another process writes.
    pub fn repair(&self) -> Result<Vec<String>, RunError> {
        let mut done = Vec::new();
        for (name, kind) in [(TRIALS, repair::Kind::Trial), (EVENTS, repair::Kind::Stamps)] {
            done.extend(repair::tail(&self.path.join(name), name, kind)?);
        }
        let quality = self.path.join(QUALITY);
        if quality.exists() {
            done.extend(repair::tail(&quality, QUALITY, repair::Kind::Quality)?);
        }
        atomic::remove_drafts(&self.path.join(MANIFEST))?;
        Ok(done)
    }
}
