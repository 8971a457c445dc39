//! The other end of a block's process: reads its job, runs it, tells what happens, and ends when its supervisor does.

use std::{
    collections::BTreeSet,
    io::{BufRead, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use chimera_core::{Clock, SystemClock};
use chimera_records::{QualityRecord, RunDir, Settings, unix_ms};
use chimera_telemetry::HostProbe;

use super::BlockJob;
use crate::{
    BlockEnd, BlockRun, Cancel, CheckJob, HarnessError, Progress, Registry,
    quality::{CheckRun, Tell, run_check},
    run_block,
};

/// How long a process may go on after its supervisor is gone or asked it to stop. Records are whole at any moment, so
/// ending it loses no more than the trial in flight.
const GRACE: Duration = Duration::from_secs(10);

/// Exit status of a process that did not stop in time.
pub(super) const EXIT_LATE: i32 = 75;

/// Runs the block that a supervisor asks for on `input`, and tells it what happens on `output`, one line of JSON each.
///
/// The binary calls this in its hidden subcommand, with its standard input and output, and with a registry for the job.
/// The end of `input` is the request to stop, whether the supervisor closed it or died; a write to `output` that fails
/// is one too. If the block has not stopped ten seconds after that, this ends the whole process with status 75.
///
/// # Errors
/// No job on `input`, or a job that cannot be run; the supervisor is told first.
pub fn serve_block<R: Registry>(
    mut input: impl BufRead + Send + 'static,
    mut output: impl Write,
    registry: impl FnOnce(&BlockJob) -> R,
) -> Result<BlockEnd, HarnessError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let origin = unix_ms().saturating_sub(clock.now().0 / 1_000_000);
    let job = read_job(&mut input)?;
    let cancel = Cancel::new();
    watch(input, cancel.clone())
        .map_err(|error| HarnessError::Job { reason: format!("its input cannot be watched: {error}") })?;
    let registry = registry(&job);
    let host = HostProbe::system();
    let mut tell = |message: Progress| {
        let sent = serde_json::to_string(&message).map_err(std::io::Error::from).and_then(|mut line| {
            line.push('\n');
            output.write_all(line.as_bytes())?;
            output.flush()
        });
        if sent.is_err() {
            cancel.cancel(); // Nobody listens any more.
        }
    };
    tell(Progress::ProcessReady { block: job.block, startup_ns: None });
    let result = run_job(&job, &registry, &clock, origin, Some(&host), &cancel, &mut tell);
    let end = match &result {
        Ok(end) => end.clone(),
        Err(error) => BlockEnd::Failed { code: error.code().into(), reason: error.to_string() },
    };
    let peak_rss_bytes = host.memory().peak_resident_bytes;
    tell(Progress::BlockEnded { block: job.block, end, peak_rss_bytes });
    result
}

fn read_job(input: &mut impl BufRead) -> Result<BlockJob, HarnessError> {
    let refused = |reason: String| HarnessError::Job { reason };
    let mut line = String::new();
    input.read_line(&mut line).map_err(|error| refused(error.to_string()))?;
    serde_json::from_str(&line).map_err(|error| refused(error.to_string()))
}

/// Waits for the end of the input on a thread of its own.
fn watch(mut input: impl BufRead + Send + 'static, cancel: Cancel) -> std::io::Result<()> {
    let wait = move || {
        let mut ignored = Vec::new();
        // An error is an end too; what else may come means nothing.
        while matches!(input.read_until(b'\n', &mut ignored), Ok(1..)) {
            ignored.clear();
        }
        cancel.cancel();
        thread::sleep(GRACE);
        std::process::exit(EXIT_LATE);
    };
    thread::Builder::new().name("supervisor-watch".into()).spawn(wait).map(drop)
}

/// Runs a job in this process, writing to its run's directory.
pub(super) fn run_job(
    job: &BlockJob,
    registry: &dyn Registry,
    clock: &Arc<dyn Clock>,
    origin_unix_ms: u64,
    host: Option<&HostProbe>,
    cancel: &Cancel,
    report: &mut dyn FnMut(Progress),
) -> Result<BlockEnd, HarnessError> {
    let run = RunDir::open(&job.run)?;
    let settings = run.settings()?;
    let plan = run.plan(&settings)?;
    if let Some(check) = &job.check {
        return check_arm(&run, &settings, check, registry, clock, cancel, report);
    }
    let no_such = HarnessError::NoSuchBlock { block: job.block };
    let block = plan.blocks.get(job.block as usize).ok_or(no_such)?;
    let done: &BTreeSet<u32> = &job.done;
    let mut writer = run.writer()?;
    let block = BlockRun {
        settings: &settings,
        plan: &plan,
        block,
        attempt: job.attempt,
        done,
        threads: job.threads,
        registry,
        clock,
        origin_unix_ms,
        host,
        cancel,
    };
    // The executor that also serves the sockets of this thread: what comes over a wire is stamped without a detour through
    // another thread.
    let end = async_io::block_on(run_block(block, &mut writer, report))?;
    for (backend, lag) in registry.client_lag() {
        report(Progress::ClientLag { backend, lag });
    }
    Ok(end)
}

/// Checks an arm in this process, writing to its run's directory.
fn check_arm(
    run: &RunDir,
    settings: &Settings,
    job: &CheckJob,
    registry: &dyn Registry,
    clock: &Arc<dyn Clock>,
    cancel: &Cancel,
    report: &mut dyn FnMut(Progress),
) -> Result<BlockEnd, HarnessError> {
    let Some(quality) = &settings.design.quality else {
        return Err(HarnessError::Job { reason: "the design asks for no checks".into() });
    };
    let known = run.read_quality()?.records;
    let mut writer = run.quality_writer()?;
    let folder = run.path();
    let check = CheckRun { settings, quality, job, known: &known, folder, registry, clock, cancel };
    let mut keep = |record: &QualityRecord| writer.append(record);
    let end = async_io::block_on(run_check(check, Tell { keep: &mut keep, progress: report }))?;
    writer.sync()?;
    Ok(end)
}
