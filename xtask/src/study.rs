//! Builds a binary of the laboratory and hands it the rest of the command line. What the options mean is the binary's
//! business; its exit code is passed on.

use std::process::Command;

use anyhow::{Context, Result};

use crate::build;

/// Reports that are measured on this machine, with the binary of their phase.
const LIVE: &[(&str, &str)] =
    &[("tr117", "phase-backends"), ("tr118", "phase-backends"), ("tr121", "phase-scaling")];

/// Whether a command is the name of a report, `tr114` or `tr114-v1` for instance.
pub(crate) fn is_report(command: &str) -> bool {
    command.strip_prefix("tr").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Measures a report live; with `--artifacts`, or where there is nothing to measure it with, from its published data.
pub(crate) fn report(report: &str, args: &[String]) -> Result<u8> {
    let published = args.iter().any(|arg| arg == "--artifacts" || arg.starts_with("--artifacts="));
    match LIVE.iter().find(|(live, _)| *live == report) {
        Some((study, binary)) if !published => {
            let program = build::binary(binary)?;
            start(Command::new(program).arg(study).args(args))
        }
        _ => {
            let program = build::binary("chimera")?;
            start(Command::new(program).args(["replay", report]).args(args))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_from_other_commands() {
        assert!(is_report("tr121") && is_report("tr117-ma"));
        assert!(!is_report("try") && !is_report("tr") && !is_report("test"));
    }
}
