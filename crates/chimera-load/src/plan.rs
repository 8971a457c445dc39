//! A configuration with its files read: what a run is made from. It also writes the design that a run directory keeps,
//! in which a load run is an ordinary study with one scenario and a `[load]` table.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use chimera_records::{Design, Grid, Limits, ModelEntry, Process, Scenario, Warmup};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{Arrivals, Level, LoadConfig, LoadError, Prompts};

/// Largest file of prompts or arrivals.
const MOST_BYTES: u64 = 256 << 20;

/// One prompt of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilePrompt {
    pub(crate) prompt: Arc<str>,
    #[serde(default)]
    pub(crate) max_tokens: Option<u32>,
}

/// A configuration with its files read.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    config: LoadConfig,
    pub(crate) prompts: Arc<[FilePrompt]>,
    pub(crate) times: Arc<[f64]>,
    scenario: String,
    design: String,
}

impl LoadPlan {
    /// Validates a configuration and reads its files; relative paths are taken from `base`.
    ///
    /// # Errors
    /// [`LoadError::Config`] and [`LoadError::File`].
    pub fn new(config: LoadConfig, base: &Path) -> Result<Self, LoadError> {
        config.validate()?;
        let mut facts = Vec::new();
        let (prompts, scenario) = match &config.prompts {
            Prompts::Synthetic { .. } => (Vec::new(), "synthetic".to_owned()),
            Prompts::File { path } => {
                let path = base.join(path);
                let (lines, digest) = lines(&path)?;
                let prompts = read_prompts(&path, &lines)?;
                facts.push(format!("{} prompts, sha256 {digest}", prompts.len()));
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().replace('@', "-"));
                (prompts, stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| "prompts".to_owned()))
            }
        };
        let times = match &config.arrivals {
            Arrivals::Replay { file, .. } => {
                let path = base.join(file);
                let (lines, digest) = lines(&path)?;
                let times = read_times(&path, &lines)?;
                facts.push(format!("{} arrivals, sha256 {digest}", times.len()));
                times
            }
            _ => Vec::new(),
        };
        let design = design(&config, &scenario, &prompts, &facts)?;
        Ok(Self { config, prompts: prompts.into(), times: times.into(), scenario, design })
    }

    /// What was asked.
    #[must_use]
    pub fn config(&self) -> &LoadConfig {
        &self.config
    }

    /// The design of the run, in TOML: what [`chimera_records::RunDir::create`] keeps. [`LoadConfig::from_design`] reads
    /// the configuration back.
    #[must_use]
    pub fn design(&self) -> &str {
        &self.design
    }

    /// Name of a level's cell in records.
    #[must_use]
    pub fn scenario(&self, level: Level) -> String {
        format!("{}@{level}", self.scenario)
    }

    /// The levels that the configuration names; a search for saturation begins with its only one.
    #[must_use]
    pub fn levels(&self) -> Vec<Level> {
        Level::all(&self.config.arrivals)
    }

    /// The cell's budget in records: the largest that a request can have.
    #[must_use]
    pub fn budget(&self) -> u32 {
        budget(&self.config, &self.prompts)
    }
}

fn budget(config: &LoadConfig, prompts: &[FilePrompt]) -> u32 {
    let own = |prompt: &FilePrompt| prompt.max_tokens.unwrap_or_else(|| config.output.most());
    prompts.iter().map(own).max().unwrap_or_else(|| config.output.most())
}

/// An ordinary design. The scenario's text says how prompts are made and how requests are warmed up: runs that differ in
/// it do not compare. What only says how long was measured, and what is called good, stands in `[load]` alone.
fn design(
    config: &LoadConfig,
    scenario: &str,
    prompts: &[FilePrompt],
    facts: &[String],
) -> Result<String, LoadError> {
    let unwritable = |error: toml::ser::Error| LoadError::config("load", error.to_string());
    let load = toml::Table::try_from(config).map_err(unwritable)?;
    let mut workload = toml::Table::new();
    for key in ["prompts", "output", "nonce", "chat", "exact", "seed", "warmup", "timeout_s", "max_in_flight"]
    {
        if let Some(value) = load.get(key) {
            workload.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(file) = workload.get_mut("prompts").and_then(toml::Value::as_table_mut) {
        // A copy elsewhere is the same file; the digest tells.
        file.remove("path");
    }
    if !facts.is_empty() {
        let facts = facts.iter().cloned().map(toml::Value::String).collect();
        workload.insert("files".to_owned(), toml::Value::Array(facts));
    }
    let budget = budget(config, prompts);
    let design = Design {
        schema: 1,
        study: Design::LOAD_STUDY.to_owned(),
        title: format!("Load on {} with {}", config.backend, config.model),
        seed: config.seed,
        blocks: config.blocks,
        process: Process { threads: vec![0], timeout_s: config.timeout_s },
        warmup: Warmup { budget },
        limits: Limits::default(),
        sampling: config.sampling,
        model: vec![ModelEntry {
            id: config.model.clone(),
            source: config.model.clone(),
            variant: "as served".to_owned(),
            family: config.model.clone(),
            optional: false,
        }],
        scenario: vec![Scenario {
            id: scenario.to_owned(),
            text: toml::to_string(&workload).map_err(unwritable)?,
            tokens: None,
        }],
        grid: vec![Grid {
            id: "load".to_owned(),
            backend: vec![config.backend.clone()],
            model: vec![config.model.clone()],
            scenario: vec![scenario.to_owned()],
            budget: vec![budget],
            batch: vec![1],
            concurrency: vec![1],
        }],
        hypothesis: Vec::new(),
        published: Vec::new(),
        capacity: None,
        quality: None,
        profile: BTreeMap::new(),
    };
    let mut table = toml::Table::try_from(&design).map_err(unwritable)?;
    table.insert("load".to_owned(), toml::Value::Table(load));
    toml::to_string(&table).map_err(unwritable)
}

/// Lines of a file that are not blank, with their numbers, and the digest of the file.
fn lines(path: &Path) -> Result<(Vec<(usize, String)>, String), LoadError> {
    let refused = |reason: String| LoadError::File { path: PathBuf::from(path), reason };
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut reader = BufReader::new(file.take(MOST_BYTES + 1));
    let (mut all, mut hash, mut read, mut number) = (Vec::new(), Sha256::new(), 0_u64, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = reader.read_until(b'\n', &mut line).map_err(|error| refused(error.to_string()))?;
        if n == 0 {
            break;
        }
        number += 1;
        read += n as u64;
        if read > MOST_BYTES {
            return Err(refused(format!("larger than {} MiB: take a part of it", MOST_BYTES >> 20)));
        }
        hash.update(&line);
        let text = std::str::from_utf8(&line).map_err(|_| refused(format!("line {number} is not UTF-8")))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.trim().is_empty() {
            all.push((number, text.to_owned()));
        }
    }
    if all.is_empty() {
        return Err(refused("it has no line that is not blank".to_owned()));
    }
    let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((all, digest))
}

/// A file whose first line begins with `{` is JSONL throughout; any other has one prompt per line.
fn read_prompts(path: &Path, lines: &[(usize, String)]) -> Result<Vec<FilePrompt>, LoadError> {
    let json = lines.first().is_some_and(|(_, line)| line.trim_start().starts_with('{'));
    let one = |(number, line): &(usize, String)| {
        let refused = |reason: String| LoadError::File {
            path: path.into(),
            reason: format!("line {number}: {reason}"),
        };
        if !json {
            return Ok(FilePrompt { prompt: line.as_str().into(), max_tokens: None });
        }
        let prompt: FilePrompt = serde_json::from_str(line).map_err(|error| {
            refused(format!("{error} (a line is {{\"prompt\": \"…\"}}, with \"max_tokens\" or without)"))
        })?;
        if prompt.prompt.is_empty() || prompt.max_tokens == Some(0) {
            return Err(refused("an empty prompt, or a budget of no tokens".to_owned()));
        }
        Ok(prompt)
    };
    lines.iter().map(one).collect()
}

fn read_times(path: &Path, lines: &[(usize, String)]) -> Result<Vec<f64>, LoadError> {
    let mut last = 0.0_f64;
    let one = |(number, line): &(usize, String)| {
        let time = line.trim().parse::<f64>().ok().filter(|time| time.is_finite() && *time >= last);
        last = time.ok_or_else(|| LoadError::File {
            path: path.into(),
            reason: format!("line {number}: `{}` is no time in seconds at or after {last}", line.trim()),
        })?;
        Ok(last)
    };
    lines.iter().map(one).collect()
}
