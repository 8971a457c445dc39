//! Builds a binary of the laboratory and hands it the rest of the command line. What the options mean is the binary's
//! business; its exit code is passed on.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build;

/// Runs one study with the binary of its phase.
pub(crate) fn run(binary: &str, study: &str, args: &[String]) -> Result<u8> {
    let program = build::binary(binary)?;
    start(Command::new(program).arg(study).args(args))
}

/// Runs a command of `chimera`.
pub(crate) fn chimera(command: &str, args: &[String]) -> Result<u8> {
    let program = build::binary("chimera")?;
    start(Command::new(program).arg(command).args(args))
}

fn start(command: &mut Command) -> Result<u8> {
    let status =
        command.status().with_context(|| format!("{:?} could not be started", command.get_program()))?;
    // A program ended by a signal has no code; 130 is what shells say for Ctrl-C.
    Ok(status.code().map_or(130, |code| u8::try_from(code).unwrap_or(1)))
}
