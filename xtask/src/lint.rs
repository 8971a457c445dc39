//! Formatting, clippy and documentation, each with warnings denied.

use anyhow::{Context, Result};

use crate::{build, native};

/// Runs all three and goes on after a failure, so that one run shows everything.
pub(crate) fn run() -> Result<u8> {
    let flags = std::env::var("RUSTDOCFLAGS").unwrap_or_default();
    // The words before and after the features of native parts, which formatting takes none of.
    let checks: [(&str, &[&str], &[&str]); 3] = [
        ("rustfmt", &["fmt", "--all", "--check"], &[]),
        (
            "clippy",
            &["clippy", "--quiet", "--workspace", "--all-targets", "--profile", build::PROFILE],
            &["--", "-D", "warnings"],
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
            &[],
        ),
    ];
    let mut failed = Vec::new();
    for (name, args, rest) in checks {
        eprintln!("xtask: {name}");
        let mut command = build::cargo();
        command.args(args);
        if name != "rustfmt" {
            native::features(&mut command, None);
        }
        let status = command
            .args(rest)
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
