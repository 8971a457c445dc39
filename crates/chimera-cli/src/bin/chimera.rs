//! `chimera`: models, runs and backends.

use std::process::ExitCode;

use chimera_cli::{artifacts, bench, compare, exit, models, probe, prove, replay, runs, serve};
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
    /// Hold a run against another: 0 no regression, 1 a regression supported by the data, 2 cannot tell (--strict), 3
    /// not comparable.
    Compare(compare::CompareArgs),
    /// Put a backend behind Ollama's and OpenAI's interfaces, or play a script and tell the truth about it.
    Serve(serve::ServeArgs),
    /// Our own error, against a server that knows the truth.
    Prove(prove::ProveArgs),
    /// Put a backend or a server under load.
    Bench(bench::BenchArgs),
    /// A published report again, from its published data.
    Replay(replay::ReplayArgs),
    /// Every published claim: value, recomputed value, status.
    Claims(replay::ClaimsArgs),
    /// The published data out of a clone of their repository.
    #[command(subcommand)]
    Artifacts(artifacts::ArtifactsCommand),
    /// How many blocks does the next comparison need?
    Power(compare::PowerArgs),
    /// How often does this machine, with this design, call a difference where there is none?
    Aa(compare::AaArgs),
}

fn main() -> ExitCode {
    exit::finish(match Arguments::parse() {
        Arguments::Probe { json } => probe::main(json),
        Arguments::Models(command) => models::main(&command),
        Arguments::Runs(command) => runs::main(&command),
        Arguments::Compare(args) => compare::compare(&args),
        Arguments::Serve(args) => serve::main(&args),
        Arguments::Prove(args) => prove::main(&args),
        Arguments::Bench(args) => bench::main(&args),
        Arguments::Replay(args) => replay::replay(&args),
        Arguments::Claims(args) => replay::claims(&args),
        Arguments::Artifacts(command) => artifacts::main(&command),
        Arguments::Power(args) => compare::power(&args),
        Arguments::Aa(args) => compare::aa(&args),
    })
}
