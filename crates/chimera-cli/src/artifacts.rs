//! `chimera artifacts import`: published raw data out of a clone's history. What is read is the business of
//! `chimera-artifacts`; here are folders, messages and exit codes.

use std::path::PathBuf;

use chimera_artifacts::{ImportError, Imported, Snapshots};

use crate::out::say;
use crate::{
    exit::{FILES, USAGE, WithExit},
    places,
};

/// A source was not imported, or a file is not what was imported.
pub const INCOMPLETE: u8 = 1;

/// Commands on published data.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ArtifactsCommand {
    /// Import the raw data of published reports out of a clone with its full history; into a folder that holds the import
    /// already: check it.
    Import(ImportArgs),
}

/// Arguments of `artifacts import`.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArgs {
    /// The clone; it is only read.
    pub clone: PathBuf,
    /// Where the tidy files are written [default: target/artifacts/COMMIT].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Runs a command.
///
/// # Errors
/// No clone, a missing commit, a folder in use, a disk that fails. Sources that do not parse and files that changed are
/// exit code [`INCOMPLETE`], not an error.
pub fn main(command: &ArtifactsCommand) -> anyhow::Result<u8> {
    let ArtifactsCommand::Import(args) = command;
    let snapshots = Snapshots::published();
    let out = args.out.clone().unwrap_or_else(|| {
        places::checkout().unwrap_or_default().join("target").join("artifacts").join(snapshots.prefix())
    });
    let done = chimera_artifacts::import(&args.clone, &out, &snapshots, &mut |what| eprintln!("{what}"));
    let imported = match done {
        Ok(imported) => imported,
        Err(error) => {
            let code = code(&error);
            return Err(error).exit(code);
        }
    };
    report(&imported);
    say!("{}", std::path::absolute(&out).unwrap_or(out).display());
    Ok(if imported.is_clean() { 0 } else { INCOMPLETE })
}

fn code(error: &ImportError) -> u8 {
    if error.is_usage() { USAGE } else { FILES }
}

fn report(imported: &Imported) {
    let Imported { manifest, checked, differing } = imported;
    for trouble in &manifest.errors {
        eprintln!("not imported: {trouble}");
    }
    for sentence in differing {
        eprintln!("{sentence}");
    }
    let files = manifest.files.len();
    let sources: usize = manifest.files.iter().map(|file| file.sources.len()).sum();
    let rows: u64 = manifest.files.iter().filter_map(|file| file.rows).sum();
    if *checked {
        eprintln!(
            "checked {files} files against {}: {} differ",
            chimera_artifacts::MANIFEST,
            differing.len()
        );
    } else {
        eprintln!("{files} files with {rows} rows from {sources} sources; {} errors", manifest.errors.len());
    }
}
