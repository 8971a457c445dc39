//! `cargo xtask bench-tools`: makes the environments of two load generators of others and starts the script that drives them
//! and `chimera bench` on one scripted server. What is measured and how the truth is joined is `benches/load_tools.py`'s
//! business.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    build::{binary, root},
    python::{AIPERF, Environment, GUIDELLM},
};

/// Runs the three, one after the other; one that cannot be installed is left out and named.
pub(crate) fn run() -> Result<u8> {
    let chimera = binary("chimera")?;
    let tools = [(&AIPERF, "aiperf"), (&GUIDELLM, "guidellm")].map(|(tool, name)| program(tool, name));
    let scratch = root().join("target/bench-tools").join(std::process::id().to_string());
    let python = if cfg!(windows) { "python" } else { "python3" };
    let status = Command::new(python)
        .arg(root().join("benches/load_tools.py"))
        .arg(chimera)
        .arg(root().join("fixtures/scripts/steady.toml"))
        .arg(scratch)
        .args(tools)
        .status()
        .context("no Python starts")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The program that an environment brings, beside its interpreter; `-` where it cannot be made.
fn program(tool: &Environment, name: &str) -> PathBuf {
    match tool.python() {
        Ok(python) => {
            python.with_file_name(if cfg!(windows) { format!("{name}.exe") } else { name.to_owned() })
        }
        Err(error) => {
            eprintln!("xtask: no {name} ({error:#})");
            "-".into()
        }
    }
}
