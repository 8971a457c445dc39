//! Runs each block in a fresh process. The child is told its job on its standard input, which stays open while it shall
//! run, and tells its progress on its standard output; what it writes on standard error is passed on as notes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use super::{BlockJob, Launcher};
use crate::{BlockEnd, Cancel, Progress};

/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(50);

/// After this the child is killed: longer than it gives itself.
const GRACE: Duration = Duration::from_secs(15);

/// Lines of standard error that are kept for the reason of a death.
const LAST_WORDS: usize = 8;

/// Starts a process for each block.
pub struct ProcessLauncher<F> {
    command: F,
}

impl<F> std::fmt::Debug for ProcessLauncher<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessLauncher").finish_non_exhaustive()
    }
}

impl<F: FnMut(&BlockJob) -> io::Result<Command>> ProcessLauncher<F> {
    /// A launcher that starts what `command` says: as a rule this executable with a hidden subcommand that calls
    /// [`crate::serve_block`], and with the thread count of the job in the environment (`RAYON_NUM_THREADS` and the
    /// like). Its three standard streams and its process group are set by the launcher.
    pub fn new(command: F) -> Self {
        Self { command }
    }
}

enum Said {
    Out(String),
    Err(String),
}

impl<F: FnMut(&BlockJob) -> io::Result<Command>> Launcher for ProcessLauncher<F> {
    fn launch(
        &mut self,
        job: &BlockJob,
        cancel: &Cancel,
        report: &mut dyn FnMut(Progress),
    ) -> io::Result<BlockEnd> {
        let mut command = (self.command)(job)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        apart(&mut command);
        let start = Instant::now();
        let mut child = Ended(command.spawn()?);
        let mut input = child.0.stdin.take();
        let mut line = serde_json::to_vec(job)?;
        line.push(b'\n');
        if let Some(pipe) = &mut input
            && pipe.write_all(&line).is_err()
        {
            input = None; // It is gone already; its exit status says why.
        }
        let (sender, said) = mpsc::channel();
        if let Some(pipe) = child.0.stdout.take() {
            listen(pipe, sender.clone(), Said::Out)?;
        }
        if let Some(pipe) = child.0.stderr.take() {
            listen(pipe, sender.clone(), Said::Err)?;
        }
        drop(sender);

        let mut listener = Listener { block: job.block, start, end: None, last_words: Vec::new() };
        let mut stopping = None;
        loop {
            match said.recv_timeout(TICK) {
                Ok(said) => listener.hear(said, report),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if cancel.is_set() && stopping.is_none() {
                stopping = Some(Instant::now());
                input = None; // The end of its input is the request to stop.
            }
            if stopping.is_some_and(|since| since.elapsed() > GRACE) {
                child.0.kill()?;
            }
        }
        drop(input); // Both its outputs are closed: it is ending, or had better.
        let status = child.wait()?;
        Ok(listener.end(status, cancel))
    }
}

/// A child that is not left behind, whatever happens to its supervisor's thread.
struct Ended(Child);

impl Ended {
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > GRACE {
                self.0.kill()?;
                return self.0.wait();
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Already ended as a rule, and then both do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process ended by a fault of its own: by a signal that faults raise, or with a status that it did not choose.
fn crashed(status: ExitStatus) -> bool {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        // Illegal instruction, trap, abort, bus error, arithmetic, segmentation, system call.
        let bus_and_call: [i32; 2] = if cfg!(target_os = "linux") { [7, 31] } else { [10, 12] };
        return [4, 5, 6, 8, 11].contains(&signal) || bus_and_call.contains(&signal);
    }
    status.code() != Some(super::child::EXIT_LATE)
}

/// Keeps a terminal's Ctrl-C from the child: its supervisor decides, and asks it to stop.
#[cfg(unix)]
fn apart(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn apart(_command: &mut Command) {}

fn listen(
    pipe: impl Read + Send + 'static,
    sender: Sender<Said>,
    say: impl Fn(String) -> Said + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        // A native library may write anything: bytes that are no text are shown as well as they can be.
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(say(text)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("block-output".into()).spawn(work).map(drop)
}

struct Listener {
    block: u32,
    start: Instant,
    end: Option<BlockEnd>,
    last_words: Vec<String>,
}

impl Listener {
    fn hear(&mut self, said: Said, report: &mut dyn FnMut(Progress)) {
        match said {
            Said::Out(line) => match serde_json::from_str(&line) {
                Ok(Progress::ProcessReady { block, .. }) => {
                    let startup_ns = u64::try_from(self.start.elapsed().as_nanos()).ok();
                    report(Progress::ProcessReady { block, startup_ns });
                }
                Ok(message) => {
                    if let Progress::BlockEnded { end, .. } = &message {
                        self.end = Some(end.clone());
                    }
                    report(message);
                }
                // A library that prints to standard output does no harm.
                Err(_) if !line.is_empty() => report(self.note(&line)),
                Err(_) => {}
            },
            Said::Err(line) if line.is_empty() => {}
            Said::Err(line) => {
                if self.last_words.len() == LAST_WORDS {
                    self.last_words.remove(0);
                }
                report(self.note(&line));
                self.last_words.push(line);
            }
        }
    }

    fn note(&self, line: &str) -> Progress {
        Progress::Note { text: format!("block {}: {line}", self.block) }
    }

    /// What the child said of its end counts if it ended as it said; otherwise it died.
    fn end(self, status: ExitStatus, cancel: &Cancel) -> BlockEnd {
        match self.end {
            Some(end) if status.success() || matches!(end, BlockEnd::Failed { .. }) => end,
            None if cancel.is_set() => BlockEnd::Cancelled,
            _ => {
                let mut reason = status.to_string();
                if !self.last_words.is_empty() {
                    reason.push_str("; it last said: ");
                    reason.push_str(&self.last_words.join(" / "));
                }
                BlockEnd::Died { reason, crashed: crashed(status) }
            }
        }
    }
}
