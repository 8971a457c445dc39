//! A server and all its children as one process group that cannot outlive `cargo xtask`: a shell leads the group, holds
//! one end of a pipe, and ends the group when the other end closes, which the system does however this process dies.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// The leader. It starts the program, waits for the pipe to close and then asks the group to end; 5 s later it insists.
/// A program that ends by itself takes the rest of its group along.
const LEADER: &str = "trap : TERM
{ trap : TERM; \"$@\" </dev/null; kill -KILL 0; } &
cat >/dev/null
kill -TERM 0
sleep 5
kill -KILL 0";

/// How long the end of a group may take: the leader's 5 s and a generous reserve.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running group; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
}

impl Group {
    /// Starts the command's program in a group of its own, with the command's arguments, folder and variables and its
    /// output in a file.
    pub(crate) fn start(program: &Command, log: File) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", LEADER, "leader"]).arg(program.get_program()).args(program.get_args());
        if let Some(folder) = program.get_current_dir() {
            shell.current_dir(folder);
        }
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let errors = log.try_clone().context("the log cannot be shared")?;
        shell.stdin(Stdio::piped()).stdout(log).stderr(errors);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        Ok(Self { leader: shell.spawn().context("`sh` could not be started")? })
    }

    /// Whether the program has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.leader.try_wait(), Ok(None))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        let started = Instant::now();
        while !self.has_ended() {
            if started.elapsed() > PATIENCE {
                let _ = self.leader.kill();
                let _ = self.leader.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Read, path::PathBuf, sync::mpsc};

    use super::*;

    fn log(name: &str) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("chimera-xtask-{name}-{}", std::process::id()));
        let file = File::create(&path).expect("a log");
        (path, file)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Waits until nobody holds the write end of a FIFO any more: then every process that inherited it is gone.
    fn is_everyone_gone(fifo: &std::path::Path) -> mpsc::Receiver<String> {
        let (send, receive) = mpsc::channel();
        let path = fifo.to_path_buf();
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
            let _ = read.map(|_| send.send(text));
        });
        receive
    }

    fn fifo(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("chimera-xtask-fifo-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo starts").success());
        path
    }

    fn ends_all(name: &str, script: &str) {
        let fifo = fifo(name);
        let gone = is_everyone_gone(&fifo);
        let (path, file) = log(name);
        let mut command = shell(script);
        command.env("FIFO", &fifo);
        let mut group = Group::start(&command, file).expect("a group");
        // The children hold the FIFO for 300 s unless they are ended.
        assert!(gone.recv_timeout(Duration::from_millis(500)).is_err(), "they ended too early");
        assert!(!group.has_ended());
        drop(group);
        let text = gone.recv_timeout(PATIENCE).expect("every process of the group has ended");
        assert_eq!(text, "up\n");
        std::fs::remove_file(fifo).expect("removed");
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn children_of_children_end_with_the_group() {
        ends_all("polite", "exec >\"$FIFO\"; echo up; sleep 300 & (sleep 300 & wait) & wait");
    }

    #[test]
    fn a_program_that_will_not_end_is_ended() {
        ends_all("stubborn", "trap '' TERM; exec >\"$FIFO\"; echo up; sleep 300; sleep 300");
    }

    #[test]
    fn a_program_that_ends_by_itself_is_noticed() {
        let (path, file) = log("short");
        let mut group = Group::start(&shell("echo \"$WORD\""), file_with(&file)).expect("a group");
        let started = Instant::now();
        while !group.has_ended() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(group.has_ended());
        assert_eq!(std::fs::read_to_string(&path).expect("a log"), "\n");
        std::fs::remove_file(path).expect("removed");
    }

    fn file_with(file: &File) -> File {
        file.try_clone().expect("the same file")
    }
}
