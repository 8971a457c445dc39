//! The scaling phase: TR121. It also is the process of each of its blocks.

use std::process::ExitCode;

use chimera_cli::{exit, study};
use clap::Parser;

#[derive(Debug, Parser)]
#[expect(clippy::large_enum_variant, reason = "parsed once")]
#[command(name = "phase-scaling", version, about = "How latency grows with model size")]
enum Arguments {
    /// How prefill and decode latency grow with model size.
    Tr121(study::StudyArgs),
    /// Runs one block; started by the supervisor.
    #[command(name = "__block", hide = true)]
    Block,
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Tr121(args) => study::main(&chimera_studies::Tr121, &args),
        Arguments::Block => study::block(),
    };
    exit::finish(done)
}
