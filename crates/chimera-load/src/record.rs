//! A load run's directory: made from a plan, told what was put under load, and closed with how it ended. Its trials are
//! written by [`crate::WriterSink`].

use std::path::Path;

use chimera_core::Probe;
use chimera_records::{
    HostRecord, ModelRecord, NewRun, Overrides, ProcessRecord, ProgramRecord, RunDir, RunError, RunStatus,
    unix_ms,
};

use crate::{LoadPlan, RunEnd, Target};

/// Makes a run directory under `parent`, as [`RunDir::create`] does.
///
/// # Errors
/// A directory that cannot be made.
pub fn create_run(
    parent: &Path,
    plan: &LoadPlan,
    program: ProgramRecord,
    host: HostRecord,
) -> Result<RunDir, RunError> {
    let overrides = Overrides::default();
    RunDir::create(
        parent,
        &NewRun { design: plan.design(), overrides: &overrides, shard: None, program, host },
    )
}

/// Writes into the manifest what is put under load: the backend's probe, the model, and this process.
///
/// # Errors
/// A manifest that cannot be written.
pub fn begin_run(run: &mut RunDir, plan: &LoadPlan, target: &Target, probe: Probe) -> Result<(), RunError> {
    let config = plan.config();
    run.update(|manifest| {
        manifest.counts.planned = 0;
        manifest.backends.insert(config.backend.clone(), probe);
        let mut model = ModelRecord {
            source: config.model.clone(),
            variant: "as served".to_owned(),
            family: config.model.clone(),
            ..ModelRecord::default()
        };
        model.info.insert(config.backend.clone(), target.session.model().clone());
        manifest.models.insert(config.model.clone(), model);
        let started_unix_ms = unix_ms();
        manifest.processes.extend((0..config.blocks).map(|block| ProcessRecord {
            block,
            attempt: 1,
            threads: target.threads,
            started_unix_ms,
            startup_ns: None,
            peak_rss_bytes: None,
            client_lag: std::collections::BTreeMap::new(),
            host: None,
            failure: None,
        }));
    })
}

/// Writes into the manifest how the run ended. Failures under load are results; a run of which nothing completed has
/// failed.
///
/// # Errors
/// A manifest that cannot be written.
pub fn finish_run(run: &mut RunDir, end: &RunEnd) -> Result<(), RunError> {
    run.update(|manifest| {
        manifest.counts = end.counts;
        manifest.ended_unix_ms = Some(unix_ms());
        manifest.status = if end.cancelled {
            RunStatus::Cancelled
        } else if end.counts.completed == 0 {
            manifest.failure = Some("no request completed".to_owned());
            RunStatus::Failed
        } else {
            RunStatus::Complete
        };
    })
}
