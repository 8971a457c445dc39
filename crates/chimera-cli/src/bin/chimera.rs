//! `chimera`: models, runs and backends.

use std::process::ExitCode;

use chimera_cli::{exit, models, probe, runs};
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "chimera", version, about = "Measures local LLM inference")]
enum Arguments {
    /// Which backends work here, and what mends the others.
    Probe {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List, make, fetch or convert models.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// List, show or merge run directories.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
}

fn main() -> ExitCode {
    exit::finish(match Arguments::parse() {
        Arguments::Probe { json } => probe::main(json),
        Arguments::Models(command) => models::main(&command),
        Arguments::Runs(command) => runs::main(&command),
    })
}
