//! The Python environments that some tests need: one with the packages they compare with (scipy for statistics, gguf
//! and safetensors for model files), one with the official clients that must work against our server. Each is made once
//! under `target/`, from pinned versions. Nothing but those tests needs them.

use std::{
    fmt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::build::root;

/// An environment: a folder under `target/` and the files that pin its packages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    folder: &'static str,
    requirements: &'static [&'static str],
    /// Variable that tells the tests where the interpreter is.
    pub(crate) variable: &'static str,
    /// What is in it, in words.
    about: &'static str,
}

impl fmt::Display for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Python with {}", self.about)
    }
}

/// What results and files are compared with.
pub(crate) const ORACLE: Environment = Environment {
    folder: "oracle",
    requirements: &["fixtures/stats/requirements.txt", "crates/chimera-zoo/tests/oracle/requirements.txt"],
    variable: "CHIMERA_ORACLE_PYTHON",
    about: "the reference packages",
};

/// The clients that people use, unchanged.
pub(crate) const CLIENTS: Environment = Environment {
    folder: "clients",
    requirements: &["crates/chimera-serve/tests/clients/requirements.txt"],
    variable: "CHIMERA_CLIENTS_PYTHON",
    about: "the official clients",
};

/// Engines in Python, for the benches that compare with them; no test needs it.
pub(crate) const ENGINES: Environment = Environment {
    folder: "engines",
    requirements: &["benches/engines-requirements.txt"],
    variable: "CHIMERA_ENGINES_PYTHON",
    about: "the engines",
};

/// Load generators that others use, each in an environment of its own: their pins contradict each other.
pub(crate) const AIPERF: Environment = Environment {
    folder: "aiperf",
    requirements: &["benches/requirements-aiperf.txt"],
    variable: "CHIMERA_AIPERF_PYTHON",
    about: "aiperf",
};

/// The other one.
pub(crate) const GUIDELLM: Environment = Environment {
    folder: "guidellm",
    requirements: &["benches/requirements-guidellm.txt"],
    variable: "CHIMERA_GUIDELLM_PYTHON",
    about: "guidellm",
};

/// All that tests need.
pub(crate) const ALL: &[Environment] = &[ORACLE, CLIENTS];

impl Environment {
    /// The interpreter, made first if it is not there; an error says why there is none, and the tests that need it skip.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        let root = root();
        let mut wanted = String::new();
        for file in self.requirements {
            wanted += &std::fs::read_to_string(root.join(file)).with_context(|| (*file).to_owned())?;
        }
        let home = root.join("target").join(self.folder);
        let interpreter = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        let stamp = home.join("requirements");
        if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
            return Ok(interpreter);
        }
        eprintln!("xtask: making a {self} under target/{}", self.folder);
        let python = if cfg!(windows) { "python" } else { "python3" };
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&home))?;
        let mut pip = Command::new(&interpreter);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        for file in self.requirements {
            pip.arg("-r").arg(root.join(file));
        }
        run(&mut pip)?;
        // Written last: a stamp says that everything before it went well.
        std::fs::write(&stamp, wanted)
            .with_context(|| format!("target/{} cannot be written", self.folder))?;
        Ok(interpreter)
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn environments_share_neither_folder_nor_variable() {
        let all: Vec<_> = ALL.iter().chain([&ENGINES]).collect();
        let folders: BTreeSet<_> = all.iter().map(|environment| environment.folder).collect();
        let variables: BTreeSet<_> = all.iter().map(|environment| environment.variable).collect();
        assert_eq!((folders.len(), variables.len()), (all.len(), all.len()));
    }

    #[test]
    fn a_missing_list_of_packages_is_named() {
        let nothing = Environment {
            folder: "no-such-environment",
            requirements: &["no/such/requirements.txt"],
            variable: "CHIMERA_NO_SUCH_PYTHON",
            about: "nothing",
        };
        let error = format!("{:#}", nothing.python().expect_err("there is no such file"));
        assert!(error.contains("no/such/requirements.txt"), "{error}");
    }
}
