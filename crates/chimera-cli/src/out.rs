//! Standard output, in one place. Whoever reads only the first lines (`chimera probe | head -1`) has seen what they wanted:
//! the rest is dropped and nothing fails. Any other failure to write is remembered and ends the program with its code, since
//! an output that is cut off must not look whole.

use std::{
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

static CLOSED: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicBool = AtomicBool::new(false);

/// Writes a line.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::out::write(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(crate) use say;

/// Writes a text that brings its own line ends.
macro_rules! say_text {
    ($($text:tt)*) => {
        $crate::out::write(format_args!($($text)*))
    };
}
pub(crate) use say_text;

/// Writes to standard output.
pub(crate) fn write(text: fmt::Arguments<'_>) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        CLOSED.store(true, Ordering::Relaxed);
        if error.kind() != io::ErrorKind::BrokenPipe {
            FAILED.store(true, Ordering::Relaxed);
            eprintln!("error: standard output cannot be written: {error}");
        }
    }
}

/// Whether something could not be written, for another reason than that nobody reads.
pub(crate) fn failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}
