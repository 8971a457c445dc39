//! Exit codes, one per thing that a caller can do about it. `docs/architecture.md` lists the same.

use std::fmt;

/// Wrong use, an unknown name, or a bad design: nothing was run.
pub const USAGE: u8 = 2;
/// The run failed or broke the limits of its design; what was measured is kept.
pub const RUN_FAILED: u8 = 3;
/// A stage could not read or write its files.
pub const FILES: u8 = 4;
/// Stopped by the user; the run can be resumed.
pub const CANCELLED: u8 = 130;

/// An error with the exit code that belongs to it.
#[derive(Debug)]
pub struct Exit {
    /// The code.
    pub code: u8,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.code)
    }
}

impl std::error::Error for Exit {}

/// Gives an error its exit code.
pub trait WithExit<T> {
    /// Attaches `code`; the message stays as it is.
    ///
    /// # Errors
    /// The same error, with the code.
    fn exit(self, code: u8) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithExit<T> for Result<T, E> {
    fn exit(self, code: u8) -> anyhow::Result<T> {
        self.map_err(|error| error.into().context(Exit { code }))
    }
}

/// The code that an error carries; 1 when it carries none.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Exit>().map_or(1, |exit| exit.code)
}

/// The messages of an error, outermost first, without the exit code.
#[must_use]
pub fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().filter(|cause| !cause.is::<Exit>()) {
        let text = cause.to_string();
        // An error whose text already holds its source's is told once.
        if text.starts_with("exit code ") || parts.last().is_some_and(|last| last.contains(&text)) {
            continue;
        }
        parts.push(text);
    }
    parts.join(": ")
}

/// Turns what a command came to into the program's exit code, and prints its error.
#[must_use]
pub fn finish(done: anyhow::Result<u8>) -> std::process::ExitCode {
    match done {
        Ok(0) if crate::out::failed() => FILES.into(),
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("error: {}", message(&error));
            code_of(&error).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_travels_with_the_error_and_stays_out_of_its_message() {
        let inner: Result<(), std::io::Error> = Err(std::io::Error::other("disk on fire"));
        let error = inner.exit(FILES).expect_err("an error");
        assert_eq!(code_of(&error), FILES);
        assert_eq!(message(&error), "disk on fire");
        assert_eq!(code_of(&anyhow::anyhow!("plain")), 1);
        let outer = error.context("while writing");
        assert_eq!(code_of(&outer), FILES);
        assert_eq!(message(&outer), "while writing: disk on fire");
    }
}
