//! Formatting, clippy and documentation, each with warnings denied.

use anyhow::{Context, Result};

use crate::build;

/// Runs all three and goes on after a failure, so that one run shows everything.
pub(crate) fn run() -> Result<u8> {
    let flags = std::env::var("RUSTDOCFLAGS").unwrap_or_default();
    let checks: [(&str, &[&str]); 3] = [
        ("rustfmt", &["fmt", "--all", "--check"]),
        (
            "clippy",
            &[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--profile",
                build::PROFILE,
                "--",
                "-D",
                "warnings",
            ],
        ),
        (
            "rustdoc",
            &[
                "doc",
                "--quiet",
                "--workspace",
                "--no-deps",
                "--document-private-items",
                "--profile",
                build::PROFILE,
            ],
        ),
    ];
    let mut failed = Vec::new();
    for (name, args) in checks {
        eprintln!("xtask: {name}");
        let status = build::cargo()
            .args(args)
            .env("RUSTDOCFLAGS", format!("{flags} -D warnings"))
            .status()
            .context("cargo could not be started")?;
        if !status.success() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        eprintln!("xtask: rustfmt, clippy and rustdoc are clean");
        return Ok(0);
    }
    eprintln!("xtask: failed: {}", failed.join(", "));
    Ok(1)
}
