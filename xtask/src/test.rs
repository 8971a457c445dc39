//! Runs every test of the workspace and says at the end what ran and what was skipped. A test that cannot run here
//! prints a line `SKIP: reason`; that line is counted and shown, so that a skip is never a silent pass. What some tests
//! need beside them (Python environments, a real Ollama, ONNX Runtime) is got while cargo builds the tests.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
    thread,
};

use anyhow::{Context, Result};

use crate::{build, fetch, native, python, server};

/// What the output of `cargo test` said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Test binaries.
    suites: u64,
    /// Reasons, each with the number of tests that gave it.
    skipped: Vec<(String, u64)>,
    /// Names of failed tests.
    failures: Vec<String>,
}

impl Tally {
    /// Reads one line of output.
    fn see(&mut self, line: &str) {
        let line = line.trim();
        if let Some(reason) = line.strip_prefix("SKIP:") {
            let reason = reason.trim();
            match self.skipped.iter_mut().find(|(known, _)| known == reason) {
                Some((_, count)) => *count += 1,
                None => self.skipped.push((reason.to_owned(), 1)),
            }
        } else if let Some(result) = line.strip_prefix("test result:") {
            self.suites += 1;
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed");
            self.ignored += number_before(result, " ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    fn skips(&self) -> u64 {
        self.skipped.iter().map(|(_, count)| count).sum()
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    text.find(word)
        .and_then(|end| text[..end].rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// What some tests need beside themselves.
struct Prepared {
    /// Whether the tests are built.
    built: bool,
    /// The interpreters of `python::ALL`.
    pythons: Vec<Result<PathBuf>>,
    ollama: Result<server::Server>,
    /// The library of ONNX Runtime.
    onnxruntime: Result<PathBuf>,
}

/// Fetches what native parts take, before cargo is asked to build them.
fn fetch_native() {
    if let Err(error) = fetch::llama_cpp::prepare() {
        eprintln!("xtask: no llama.cpp ({error:#}); tests that need it are skipped");
    }
    if let Err(error) = fetch::tensorrt::prepare() {
        eprintln!("xtask: no TensorRT ({error:#}); tests that need it are skipped");
    }
}

/// Builds the tests and meanwhile makes what some of them need.
fn prepare(filter: &[String]) -> Result<Prepared> {
    thread::scope(|scope| {
        let pythons: Vec<_> = python::ALL.iter().map(|wanted| scope.spawn(|| wanted.python())).collect();
        let ollama = scope.spawn(server::start);
        let onnxruntime = scope.spawn(fetch::onnxruntime::library);
        fetch_native();
        let mut command = build::cargo();
        command.args(["test", "--workspace", "--profile", build::PROFILE, "--no-run", "--quiet"]);
        native::features(&mut command, None);
        let built = command.args(filter).status().context("cargo could not be started")?.success();
        let pythons = pythons.into_iter().map(|made| ended(made.join())).collect();
        let (ollama, onnxruntime) = (ended(ollama.join()), ended(onnxruntime.join()));
        Ok(Prepared { built, pythons, ollama, onnxruntime })
    })
}

/// The result of a thread.
fn ended<T>(joined: thread::Result<Result<T>>) -> Result<T> {
    joined.unwrap_or_else(|_| Err(anyhow::anyhow!("xtask panicked while making it")))
}

/// Runs the tests whose names contain the filter, or all of them.
pub(crate) fn run(filter: &[String]) -> Result<u8> {
    let Prepared { built, pythons, ollama, onnxruntime } = prepare(filter)?;
    if !built {
        return Ok(1);
    }
    let mut cargo = build::cargo();
    for (environment, made) in python::ALL.iter().zip(pythons) {
        match made {
            Ok(python) => drop(cargo.env(environment.variable, python)),
            Err(error) => {
                eprintln!("xtask: no {environment} ({error:#}); tests that need it are skipped");
            }
        }
    }
    match &ollama {
        Ok(server) => {
            cargo.env("CHIMERA_OLLAMA_URL", &server.url).env("CHIMERA_OLLAMA_VERSION", &server.version);
        }
        Err(error) => eprintln!("xtask: no real Ollama ({error:#}); tests that need one are skipped"),
    }
    match onnxruntime {
        Ok(library) => drop(cargo.env(fetch::onnxruntime::VARIABLE, library)),
        Err(error) => eprintln!("xtask: no ONNX Runtime ({error:#}); tests that need it are skipped"),
    }
    cargo.args(["test", "--workspace", "--profile", build::PROFILE, "--no-fail-fast", "--color", "never"]);
    native::features(&mut cargo, None);
    let mut child = cargo
        .args(filter)
        // Captured output of tests that passed is shown too: that is where skips are announced.
        .args(["--", "--show-output"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo could not be started")?;
    let output = child.stdout.take().context("the output of cargo is missing")?;
    let mut tally = Tally::default();
    // Everything that passed is noise; what failed is printed in full, which `cargo test` does between these lines.
    let mut showing = false;
    for line in BufReader::new(output).lines() {
        let line = line.context("the output of cargo cannot be read")?;
        tally.see(&line);
        match line.as_str() {
            "failures:" => showing = true,
            "successes:" => showing = false,
            _ => {}
        }
        if line.starts_with("test result:") {
            showing = false;
            println!("{line}");
        } else if showing {
            println!("{line}");
        }
    }
    let passed = child.wait().context("cargo did not end")?.success();
    drop(ollama);
    if tally.suites == 0 {
        eprintln!("xtask: no test ran");
        return Ok(1);
    }
    println!("\n{} test binaries; left out by name: {} ignored", tally.suites, tally.ignored);
    for (reason, count) in &tally.skipped {
        println!("skipped {count} x: {reason}");
    }
    if tally.skipped.is_empty() {
        println!("nothing was skipped");
    }
    for name in &tally.failures {
        println!("FAILED: {name}");
    }
    // A test that skipped has passed in cargo's eyes; here it has not.
    let skips = tally.skips();
    println!("{} passed, {} failed, {} skipped", tally.passed.saturating_sub(skips), tally.failed, skips);
    Ok(u8::from(!passed || tally.failed > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test b ... FAILED",
            "---- c stdout ----",
            "SKIP: no Python here",
            "SKIP: no Python here",
            "test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.see(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.ignored, tally.suites), (12, 1, 4, 2));
        assert_eq!(tally.skipped, [("no Python here".to_owned(), 2)]);
        assert_eq!(tally.failures, ["b"]);
        assert_eq!(tally.skips(), 2);
    }
}
