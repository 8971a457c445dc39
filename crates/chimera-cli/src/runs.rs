//! `chimera runs`: look at run directories and join shards.

use std::path::PathBuf;

use chimera_records::{RunDir, merge};

use crate::out::say;
use crate::{
    exit::{FILES, WithExit},
    places,
};

/// What to do with runs.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum RunsCommand {
    /// List the runs under a folder [default: every study's].
    List {
        /// Folder that holds runs.
        folder: Option<PathBuf>,
    },
    /// Print the manifest of a run.
    Show {
        /// The run.
        run: PathBuf,
    },
    /// Join runs of one plan (shards, for instance) into a new one.
    Merge {
        /// Directory of the joined run; must not exist.
        #[arg(long)]
        out: PathBuf,
        /// The runs.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
    },
}

/// Does it.
///
/// # Errors
/// Directories that are no runs or do not belong together.
pub fn main(command: &RunsCommand) -> anyhow::Result<u8> {
    match command {
        RunsCommand::List { folder } => {
            let folders = match folder {
                Some(folder) => vec![folder.clone()],
                None => chimera_studies::all().iter().map(|study| places::runs(study.id())).collect(),
            };
            for folder in folders {
                let entries = std::fs::read_dir(&folder);
                let mut paths: Vec<PathBuf> =
                    entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
                paths.sort();
                for path in paths.iter().filter(|path| path.join("manifest.json").is_file()) {
                    match RunDir::open(path) {
                        Ok(run) => {
                            let manifest = run.manifest();
                            say!(
                                "{}  {}  {:?}  {} of {} trials completed",
                                path.display(),
                                manifest.overrides.profile.as_deref().unwrap_or("-"),
                                manifest.status,
                                manifest.counts.completed,
                                manifest.counts.planned
                            );
                        }
                        Err(error) => say!("{}  {error}", path.display()),
                    }
                }
            }
        }
        RunsCommand::Show { run } => {
            let run = RunDir::open(run).exit(FILES)?;
            say!("{}", serde_json::to_string_pretty(run.manifest()).exit(FILES)?);
        }
        RunsCommand::Merge { out, runs } => {
            let merged = merge(runs, out).exit(FILES)?;
            let counts = merged.manifest().counts;
            say!(
                "{}: {} runs, {} of {} trials completed",
                merged.path().display(),
                runs.len(),
                counts.completed,
                counts.planned
            );
        }
    }
    Ok(0)
}
