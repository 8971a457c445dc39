//! How a block comes to run: in a process of its own, or in this one.

use std::io;

use super::BlockJob;
use crate::{BlockEnd, Cancel, Progress};

/// Runs one block from start to end.
pub trait Launcher {
    /// Runs the block and passes on what it says. Returns when nothing of it runs any more, soon after `cancel` is set.
    ///
    /// # Errors
    /// It could not be started. What happens after that is the block's end, not an error.
    fn launch(
        &mut self,
        job: &BlockJob,
        cancel: &Cancel,
        report: &mut dyn FnMut(Progress),
    ) -> io::Result<BlockEnd>;
}
