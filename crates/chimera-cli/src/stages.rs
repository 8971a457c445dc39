//! The stages after measuring: analyse a run directory into findings, render findings into a report. Each reads files
//! and writes files, so each can be repeated alone.

use std::{fs, path::Path};

use anyhow::Context;
use chimera_records::RunDir;
use chimera_report::Findings;
use chimera_studies::{RunData, Study};

use crate::exit::{FILES, USAGE, WithExit};

/// A stage that can be repeated on an existing run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Check what was not checked yet of the run's arms (agreement, perplexity, files), then records to findings.
    Quality,
    /// Records to findings, then the report.
    Analyse,
    /// Findings to the report.
    Render,
}

/// Reads a run for analysis.
///
/// # Errors
/// Files that cannot be read, or that do not belong together.
pub fn read(path: &Path) -> anyhow::Result<RunData> {
    let run = RunDir::open(path).exit(FILES)?;
    let settings = run.settings().exit(FILES)?;
    let trials = run.read_trials().exit(FILES)?;
    let quality = run.read_quality().exit(FILES)?;
    let damage = [("trials.jsonl", trials.damage), ("quality.jsonl", quality.damage)]
        .into_iter()
        .filter_map(|(file, damage)| {
            let damage = damage?;
            let (line, reason, bytes) = (damage.line, damage.reason, damage.bytes);
            Some(format!("{file}, line {line}: {reason} ({bytes} bytes left out)"))
        })
        .collect();
    let manifest = run.manifest().clone();
    Ok(RunData { settings, manifest, trials: trials.trials, quality: quality.records, damage })
}

/// Analyses a run and writes its report. Gives the findings back.
///
/// # Errors
/// A run that holds nothing to analyse, or files that cannot be read or written.
pub fn analyse(study: &dyn Study, path: &Path) -> anyhow::Result<Findings> {
    let data = read(path)?;
    let findings = study.analyse(&data).exit(FILES)?;
    write(&findings, path)?;
    Ok(findings)
}

/// Renders the findings of a run again.
///
/// # Errors
/// Findings that are missing, unreadable or of another study.
pub fn render(study: &dyn Study, path: &Path) -> anyhow::Result<Findings> {
    let file = path.join("findings.json");
    let json = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {} (make it with --stage analyse)", file.display()))
        .exit(FILES)?;
    let findings = Findings::from_json(&json).with_context(|| file.display().to_string()).exit(FILES)?;
    if findings.draft().study != study.id() {
        return Err(anyhow::anyhow!("{} belongs to the study {}", file.display(), findings.draft().study))
            .exit(USAGE);
    }
    write(&findings, path)?;
    Ok(findings)
}

fn write(findings: &Findings, path: &Path) -> anyhow::Result<()> {
    chimera_report::write_all(findings, path).exit(FILES)?;
    Ok(())
}
