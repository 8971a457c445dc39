//! The four plumbing commands an import needs. One `cat-file --batch` process hands out all blobs, one at a time.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::ImportError;

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeFile {
    /// Path in the repository.
    pub path: String,
    /// Object id of the blob.
    pub oid: String,
}

/// A clone, bare or not.
#[derive(Debug)]
pub(crate) struct Repo {
    path: PathBuf,
}

impl Repo {
    pub(crate) fn open(path: &Path) -> Result<Repo, ImportError> {
        let repo = Repo { path: path.to_owned() };
        match repo.run(&["rev-parse", "--git-dir"]) {
            Ok(_) => Ok(repo),
            Err(ImportError::Git { reason, .. }) => {
                Err(ImportError::NotAClone { path: path.to_owned(), reason })
            }
            Err(other) => Err(other),
        }
    }

    /// The full id of a commit.
    pub(crate) fn commit(&self, name: &str) -> Result<String, ImportError> {
        match self.run(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{name}^{{commit}}"),
        ]) {
            Ok(id) => Ok(String::from_utf8_lossy(&id).trim().to_owned()),
            Err(ImportError::Git { .. }) => {
                Err(ImportError::NoCommit { path: self.path.clone(), commit: name.to_owned() })
            }
            Err(other) => Err(other),
        }
    }

    /// The regular files of a commit in the order of their paths. Links and submodules are left out.
    pub(crate) fn tree(&self, commit: &str) -> Result<Vec<TreeFile>, ImportError> {
        let listing = self.run(&["ls-tree", "-r", "-z", "--full-tree", commit])?;
        let mut files = Vec::new();
        for record in listing.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let text = String::from_utf8_lossy(record);
            let parts = text.split_once('\t').and_then(|(head, path)| {
                let mut head = head.split(' ');
                Some((head.next()?, head.next()?, head.next()?, path))
            });
            let Some((mode, kind, oid, path)) = parts else {
                return Err(ImportError::Git {
                    what: "ls-tree".into(),
                    reason: format!("unexpected: {text}"),
                });
            };
            if kind == "blob" && mode.starts_with("100") {
                files.push(TreeFile { path: path.to_owned(), oid: oid.to_owned() });
            }
        }
        Ok(files)
    }

    pub(crate) fn blobs(&self) -> Result<Blobs, ImportError> {
        let mut child = self
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| ImportError::NoGit { source })?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(ask), Some(answer)) => {
                Ok(Blobs { child, ask: Some(ask), answer: BufReader::with_capacity(1 << 16, answer) })
            }
            _ => Err(broken("its pipes are missing")),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        // Never ask anything, never take a lock: the clone is only read.
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
        command.arg("-C").arg(&self.path).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Result<Vec<u8>, ImportError> {
        let output = self
            .command(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| ImportError::NoGit { source })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ImportError::Git { what: args.first().copied().unwrap_or_default().to_owned(), reason })
    }
}

/// A running `git cat-file --batch`.
#[derive(Debug)]
pub(crate) struct Blobs {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl Blobs {
    /// A blob's bytes; none when the clone does not hold it.
    pub(crate) fn read(&mut self, oid: &str) -> Result<Option<Vec<u8>>, ImportError> {
        let failed = |error: std::io::Error| broken(&error.to_string());
        let ask = self.ask.as_mut().ok_or_else(|| broken("it has ended"))?;
        writeln!(ask, "{oid}").and_then(|()| ask.flush()).map_err(failed)?;
        let mut head = String::new();
        self.answer.read_line(&mut head).map_err(failed)?;
        let size = match head.trim_end().rsplit_once(' ') {
            Some((_, "missing")) => return Ok(None),
            Some((_, size)) => size.parse::<usize>().map_err(|_| broken(&head))?,
            None => return Err(broken(&head)),
        };
        let mut bytes = vec![0; size];
        self.answer.read_exact(&mut bytes).map_err(failed)?;
        let mut newline = [0];
        self.answer.read_exact(&mut newline).map_err(failed)?;
        Ok(Some(bytes))
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // It ends when its input does.
        self.ask = None;
        let _ = self.child.wait();
    }
}

fn broken(reason: &str) -> ImportError {
    ImportError::Git { what: "cat-file --batch".into(), reason: reason.trim().to_owned() }
}
