//! Runs blocks in this process: simulations on virtual time, and tests. Nothing is fresh about such a block but its
//! registry, so first uses of a process are those of the registry's backends.

use std::{io, sync::Arc};

use chimera_core::Clock;
use chimera_records::RunDir;

use super::{BlockJob, Launcher, child::run_job};
use crate::{BlockEnd, Cancel, Progress, Registry};

/// What one block runs with.
type Setting = (Box<dyn Registry>, Arc<dyn Clock>);

/// Runs blocks in this process, each with a registry and a clock of its own.
pub struct InlineLauncher<F> {
    make: F,
}

impl<F> std::fmt::Debug for InlineLauncher<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineLauncher").finish_non_exhaustive()
    }
}

impl<F: FnMut(&BlockJob) -> Setting> InlineLauncher<F> {
    /// A launcher that takes the registry and the clock of each block from `make`.
    pub fn new(make: F) -> Self {
        Self { make }
    }
}

impl<F: FnMut(&BlockJob) -> Setting> Launcher for InlineLauncher<F> {
    fn launch(
        &mut self,
        job: &BlockJob,
        cancel: &Cancel,
        report: &mut dyn FnMut(Progress),
    ) -> io::Result<BlockEnd> {
        let (registry, clock) = (self.make)(job);
        // Virtual time has no wall-clock origin: the run's own start stands for it.
        let origin = RunDir::open(&job.run).map_or(0, |run| run.manifest().created_unix_ms);
        report(Progress::ProcessReady { block: job.block, startup_ns: None });
        Ok(match run_job(job, &*registry, &clock, origin, None, cancel, report) {
            Ok(end) => end,
            Err(error) => BlockEnd::Failed { code: error.code().into(), reason: error.to_string() },
        })
    }
}
