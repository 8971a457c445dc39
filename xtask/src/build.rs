//! How cargo is called: one profile and one set of flags for binaries, tests, benches and lints, so that nothing is
//! built twice. The binaries use the instruction sets of the CPU they are built on; `docs/performance.md` says why.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{fetch, native, python};

/// Profile of everything that `cargo xtask` builds.
pub(crate) const PROFILE: &str = "lab";

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// `cargo` with the flags of this house, in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Whoever sets RUSTFLAGS means it; `RUSTFLAGS=` builds a portable binary.
    if std::env::var_os("RUSTFLAGS").is_none() {
        // The second flag makes cargo rebuild when the target folder meets another CPU: with `native` alone it would
        // run binaries whose instructions that CPU may lack.
        command.env("RUSTFLAGS", format!("-C target-cpu=native --cfg chimera_cpu=\"{}\"", cpu_fingerprint()));
    }
    command.env("CHIMERA_PROFILE", PROFILE);
    native::equip(&mut command);
    command
}

/// A short word for the CPU's instruction sets.
pub(crate) fn cpu_fingerprint() -> String {
    let mut hash = DefaultHasher::new();
    match std::fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => text
            .lines()
            .find(|line| line.starts_with("flags") || line.starts_with("Features"))
            .unwrap_or_default()
            .hash(&mut hash),
        Err(_) => std::env::consts::ARCH.hash(&mut hash),
    }
    format!("{:016x}", hash.finish())
}

/// Builds a binary of `chimera-cli` and says where it is.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--profile", PROFILE, "--package", "chimera-cli", "--bin", name]);
    native::features(&mut command, Some("chimera-cli"));
    let status = command.status().context("cargo could not be started")?;
    anyhow::ensure!(status.success(), "building `{name}` failed");
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    };
    Ok(target.join(PROFILE).join(name).with_extension(std::env::consts::EXE_EXTENSION))
}

/// Runs the criterion benches.
pub(crate) fn bench(filter: &[String]) -> Result<u8> {
    let mut command = cargo();
    command.args(["bench", "--profile", PROFILE, "--package", "chimera-benches"]);
    native::features(&mut command, Some("chimera-benches"));
    let status = command
        .args(if filter.is_empty() { &[] as &[&str] } else { &["--"] })
        .args(filter)
        .status()
        .context("cargo could not be started")?;
    Ok(u8::from(!status.success()))
}

/// Runs the benches of the statistics, then the comparison with scipy, which skips without a Python that has it.
pub(crate) fn bench_stats() -> Result<u8> {
    let mut command = cargo();
    command.args(["bench", "--profile", PROFILE, "--package", "chimera-benches", "--bench", "stats"]);
    native::features(&mut command, Some("chimera-benches"));
    let status = command.status().context("cargo could not be started")?;
    if !status.success() {
        return Ok(1);
    }
    let mut command = cargo();
    match python::ORACLE.python() {
        Ok(python) => drop(command.env(python::ORACLE.variable, python)),
        Err(error) => eprintln!("xtask: no Python with the reference packages ({error:#})"),
    }
    run_example(&mut command, "chimera-benches", "against-scipy", &[])
}

/// Runs our client, reqwest and asyncio with httpx beside each other; the last is left out without a Python that has it.
pub(crate) fn bench_clients() -> Result<u8> {
    let mut command = cargo();
    match python::CLIENTS.python() {
        Ok(python) => drop(command.env(python::CLIENTS.variable, python)),
        Err(error) => eprintln!("xtask: no Python with the clients ({error:#})"),
    }
    run_example(&mut command, "chimera-benches", "against-clients", &[])
}

/// Runs our adapter of an engine beside the loops that people would write without it.
pub(crate) fn bench_engines(args: &[String]) -> Result<u8> {
    let mut command = cargo();
    if args.first().is_some_and(|engine| engine == "onnxruntime") {
        command.env(fetch::onnxruntime::VARIABLE, fetch::onnxruntime::library()?);
        match python::ENGINES.python() {
            Ok(python) => drop(command.env(python::ENGINES.variable, python)),
            Err(error) => eprintln!("xtask: no Python with the engines ({error:#})"),
        }
    }
    if args.first().is_some_and(|engine| engine == "llamacpp") {
        for (name, value) in fetch::llama_cpp::prepare()? {
            command.env(name, value);
        }
    }
    run_example(&mut command, "chimera-benches", "against-engines", args)
}

/// Builds and runs an example of a package.
pub(crate) fn example(package: &str, name: &str, args: &[String]) -> Result<u8> {
    run_example(&mut cargo(), package, name, args)
}

fn run_example(command: &mut Command, package: &str, name: &str, args: &[String]) -> Result<u8> {
    command.args(["run", "--quiet", "--profile", PROFILE, "--package", package, "--example", name]);
    native::features(command, Some(package));
    command.arg("--").args(args);
    let status = command.status().context("cargo could not be started")?;
    Ok(u8::from(!status.success()))
}
