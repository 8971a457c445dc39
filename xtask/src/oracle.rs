//! A Python with the packages that some tests compare with (scipy for statistics, gguf and safetensors for model files).
//! It is made once under `target/`, from pinned versions. Nothing but those tests needs it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::build::root;

/// Files that pin the packages.
const REQUIREMENTS: &[&str] =
    &["fixtures/stats/requirements.txt", "crates/chimera-zoo/tests/oracle/requirements.txt"];

/// The interpreter, made first if it is not there; an error says why there is none, and the tests that need it skip.
pub(crate) fn python() -> Result<PathBuf> {
    let root = root();
    let mut wanted = String::new();
    for file in REQUIREMENTS {
        wanted += &std::fs::read_to_string(root.join(file)).with_context(|| (*file).to_owned())?;
    }
    let home = root.join("target").join("oracle");
    let interpreter = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let stamp = home.join("requirements");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(interpreter);
    }
    eprintln!("xtask: making a Python with the reference packages under target/oracle");
    let python = if cfg!(windows) { "python" } else { "python3" };
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&home))?;
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    for file in REQUIREMENTS {
        pip.arg("-r").arg(root.join(file));
    }
    run(&mut pip)?;
    // Written last: a stamp says that everything before it went well.
    std::fs::write(&stamp, wanted).context("target/oracle cannot be written")?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{:?}", command.get_program()))?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it failed and said nothing")
    );
    Ok(())
}
