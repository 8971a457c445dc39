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

/// Root of the workspace: as cargo tells it now, since cargo does not build this program again when the folder moves.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = Path::new(&here);
    here.parent().unwrap_or(here).to_path_buf()
}

/// `cargo` with the flags of this house, in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Whoever sets RUSTFLAGS means it; `RUSTFLAGS=` builds a portable binary.
    if std::env::var_os("RUSTFLAGS").is_none() {
        // The other flags make cargo rebuild when the target folder meets another CPU, whose instructions may be others, or
        // another place: programs and tests keep the path of the checkout that they were built in.
        let (cpu, place) = (cpu_fingerprint(), fingerprint(root().as_os_str().as_encoded_bytes()));
        let flags =
            format!("-C target-cpu=native --cfg chimera_cpu=\"{cpu}\" --cfg chimera_place=\"{place}\"");
        command.env("RUSTFLAGS", flags);
    }
    command.env("CHIMERA_PROFILE", PROFILE);
    native::equip(&mut command);
    command
}

/// A short word for the CPU's instruction sets.
pub(crate) fn cpu_fingerprint() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    fingerprint(flags.unwrap_or(std::env::consts::ARCH).as_bytes())
}

fn fingerprint(of: &[u8]) -> String {
    let mut hash = DefaultHasher::new();
    of.hash(&mut hash);
    format!("{:016x}", hash.finish())
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Builds a binary of `chimera-cli` and says where it is.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--profile", PROFILE, "--package", "chimera-cli", "--bin", name]);
    native::features(&mut command, Some("chimera-cli"));
    let status = command.status().context("cargo could not be started")?;
    anyhow::ensure!(status.success(), "building `{name}` failed");
    Ok(target().join(PROFILE).join(name).with_extension(std::env::consts::EXE_EXTENSION))
}

/// Builds an example and gives the command that runs it. It is built with the features of the whole workspace: with those of
/// its package alone, cargo would build what is native once more for it.
fn example_command(name: &str) -> Result<Command> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--workspace", "--profile", PROFILE, "--example", name]);
    native::features(&mut command, None);
    let status = command.status().context("cargo could not be started")?;
    anyhow::ensure!(status.success(), "building `{name}` failed");
    let program = target().join(PROFILE).join("examples").join(name);
    let mut command = Command::new(program.with_extension(std::env::consts::EXE_EXTENSION));
    command.current_dir(root());
    native::equip(&mut command);
    Ok(command)
}

fn run(command: &mut Command) -> Result<u8> {
    let status =
        command.status().with_context(|| format!("{:?} could not be started", command.get_program()))?;
    Ok(u8::from(!status.success()))
}

/// Runs criterion benches: those named, or all, with a filter. As [`example_command`], with the features of the workspace.
fn criterion(benches: &[&str], filter: &[String]) -> Result<u8> {
    let mut command = cargo();
    command.args(["bench", "--workspace", "--profile", PROFILE]);
    for bench in benches {
        command.args(["--bench", bench]);
    }
    native::features(&mut command, None);
    command.args(if filter.is_empty() { &[] as &[&str] } else { &["--"] }).args(filter);
    run(&mut command)
}

/// Runs the criterion benches.
pub(crate) fn bench(filter: &[String]) -> Result<u8> {
    criterion(&["records", "harness", "analysis", "stats"], filter)
}

/// Runs the benches of the statistics, then the comparison with scipy, which skips without a Python that has it.
pub(crate) fn bench_stats() -> Result<u8> {
    if criterion(&["stats"], &[])? != 0 {
        return Ok(1);
    }
    let mut command = example_command("against-scipy")?;
    match python::ORACLE.python() {
        Ok(python) => drop(command.env(python::ORACLE.variable, python)),
        Err(error) => eprintln!("xtask: no Python with the reference packages ({error:#})"),
    }
    run(&mut command)
}

/// Runs our client, reqwest and asyncio with httpx beside each other; the last is left out without a Python that has it.
pub(crate) fn bench_clients() -> Result<u8> {
    let mut command = example_command("against-clients")?;
    match python::CLIENTS.python() {
        Ok(python) => drop(command.env(python::CLIENTS.variable, python)),
        Err(error) => eprintln!("xtask: no Python with the clients ({error:#})"),
    }
    run(&mut command)
}

/// Runs our adapter of an engine beside the loops that people would write without it.
pub(crate) fn bench_engines(args: &[String]) -> Result<u8> {
    let engine = args.first().map(String::as_str);
    if engine == Some("llamacpp") {
        fetch::llama_cpp::prepare()?;
    }
    let mut command = example_command("against-engines")?;
    if matches!(engine, Some("onnxruntime" | "llamacpp")) {
        command.env(fetch::onnxruntime::VARIABLE, fetch::onnxruntime::library()?);
    }
    if engine == Some("onnxruntime") {
        match python::ENGINES.python() {
            Ok(python) => drop(command.env(python::ENGINES.variable, python)),
            Err(error) => eprintln!("xtask: no Python with the engines ({error:#})"),
        }
    }
    run(command.args(args))
}

/// Builds and runs an example.
pub(crate) fn example(name: &str, args: &[String]) -> Result<u8> {
    run(example_command(name)?.args(args))
}
