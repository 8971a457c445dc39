//! The phase of backends: TR117 and TR118. It also is the process of each of their blocks.

use std::process::ExitCode;

use chimera_cli::{exit, study};
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "phase-backends", version, about = "Engines on the same weights")]
enum Arguments {
    /// Which local engine is fastest on the same weights.
    Tr117(study::StudyArgs),
    /// ONNX Runtime against other engines over model size, and what lower precisions cost.
    Tr118(study::StudyArgs),
    /// Runs one block; started by the supervisor.
    #[command(name = "__block", hide = true)]
    Block,
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Tr117(args) => study::main(&chimera_studies::Tr117, &args),
        Arguments::Tr118(args) => study::main(&chimera_studies::Tr118, &args),
        Arguments::Block => study::block(),
    };
    exit::finish(done)
}
