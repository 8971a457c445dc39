//! Blocks in real processes on real time, killed at many points. This test program is the block's process and the
//! supervisor's process too: two ignored tests are their entry points and are started by the others.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chimera_core::{Clock, InferenceBackend};
use chimera_harness::{
    BlockEnd, BlockJob, Cancel, FoundModel, HarnessError, Missing, ProcessLauncher, Progress, Registry,
    RegistryError, Supervisor, serve_block,
};
use chimera_records::{ModelEntry, Outcome, Overrides, Plan, RunDir, RunStatus, Trial};
use chimera_sim::{Laws, SimModel};
use common::{Sim, design, new_run, settings};

const DIE_AFTER: &str = "HARNESS_TEST_DIE_AFTER_MS";
/// Names a model that ends the process of whoever loads it.
const CRASH: &str = "HARNESS_TEST_CRASH";
const RUN: &str = "HARNESS_TEST_RUN";
/// Set by the tests that start an entry point: run by hand, it does nothing.
const STARTED: &str = "HARNESS_TEST_STARTED";

/// Trials of a few milliseconds each.
fn slow() -> Sim {
    let laws = Laws::default()
        .load(Duration::from_millis(2))
        .prefill(Duration::from_micros(500), Duration::ZERO)
        .decode(Duration::from_micros(600), Duration::ZERO);
    Sim::with(move |sim| sim.models(["small", "large"].map(|name| SimModel::new(name).laws(laws))))
}

/// A registry with a model that a native library cannot bear.
struct Crashing(Sim, String);

impl Registry for Crashing {
    fn backend(&self, id: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        self.0.backend(id, clock)
    }

    #[expect(clippy::print_stderr, reason = "as a library says it")]
    fn model(&self, entry: &ModelEntry, backend: &str) -> Result<FoundModel, Missing> {
        if entry.id == self.1 {
            eprintln!("assertion of a library failed");
            std::process::abort();
        }
        self.0.model(entry, backend)
    }
}

/// This program again, at one of its entry points.
fn entry(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(STARTED, "yes");
    command
}

fn kill_hard(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
#[ignore = "the process of a block: started by the other tests"]
fn block_process() {
    if env::var_os(STARTED).is_none() {
        return;
    }
    println!(); // The test runner has begun a line; a job's messages have lines of their own.
    if let Ok(after) = env::var(DIE_AFTER) {
        let after = Duration::from_millis(after.parse().unwrap());
        thread::spawn(move || {
            thread::sleep(after);
            kill_hard(std::process::id());
        });
    }
    eprintln!("a word on standard error");
    let end = match env::var(CRASH) {
        Ok(model) => serve_block(BufReader::new(io::stdin()), io::stdout(), |_| Crashing(slow(), model)),
        Err(_) => serve_block(BufReader::new(io::stdin()), io::stdout(), |_| slow()),
    };
    assert!(matches!(end, Ok(BlockEnd::Done | BlockEnd::Cancelled)), "{end:?}");
}

#[test]
#[ignore = "the process of a supervisor: started by the other tests"]
fn supervisor_process() {
    if env::var_os(STARTED).is_none() {
        return;
    }
    let run = RunDir::open(Path::new(&env::var(RUN).unwrap())).unwrap();
    let mut supervisor = Supervisor::take(run).unwrap();
    let status = supervisor.run(&mut launcher(None), &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(status, RunStatus::Complete);
}

fn launcher(die_after_ms: Option<u64>) -> ProcessLauncher<impl FnMut(&BlockJob) -> io::Result<Command>> {
    ProcessLauncher::new(move |job: &BlockJob| {
        let mut command = entry("block_process");
        command.env("RAYON_NUM_THREADS", job.threads.to_string());
        if let Some(after) = die_after_ms {
            command.env(DIE_AFTER, after.to_string());
        }
        Ok(command)
    })
}

fn create(dir: &Path, blocks: u32) -> PathBuf {
    let (text, overrides) = (design(blocks, ""), Overrides::default());
    RunDir::create(dir, &new_run(&text, &overrides)).unwrap().path().to_owned()
}

fn read(path: &Path) -> Vec<Trial> {
    RunDir::open(path).unwrap().read_trials().unwrap().trials
}

fn finish(path: &Path) -> RunDir {
    let mut supervisor = Supervisor::take(RunDir::open(path).unwrap()).unwrap();
    let status = supervisor.run(&mut launcher(None), &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(status, RunStatus::Complete);
    drop(supervisor);
    RunDir::open(path).unwrap()
}

/// No trial before the last recorded one of a block is missing: only the one in flight can have been lost.
fn assert_no_gap(trials: &[Trial], blocks: u32) {
    let plan = Plan::new(&settings(&design(blocks, ""))).unwrap();
    for block in &plan.blocks {
        let recorded: BTreeSet<u32> =
            trials.iter().filter(|trial| trial.block == block.index).map(|trial| trial.id).collect();
        let expected: BTreeSet<u32> =
            block.trials.iter().take(recorded.len()).map(|trial| trial.id).collect();
        assert_eq!(recorded, expected, "block {}", block.index);
    }
}

fn all_measured_once(trials: &[Trial], planned: u32) {
    let completed: Vec<u32> = trials
        .iter()
        .filter(|trial| trial.outcome == Outcome::Completed && trial.is_steady())
        .map(|trial| trial.id)
        .collect();
    let distinct: BTreeSet<u32> = completed.iter().copied().collect();
    assert_eq!(completed.len(), distinct.len(), "no measured trial is repeated");
    assert_eq!(trials.iter().map(|trial| trial.id).collect::<BTreeSet<_>>(), (0..planned).collect());
}

#[test]
fn a_plan_runs_in_processes_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), 2);
    let mut supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
    let mut heard = Vec::new();
    let status = supervisor.run(&mut launcher(None), &Cancel::new(), &mut |p| heard.push(p.clone())).unwrap();
    assert_eq!(status, RunStatus::Complete);
    let manifest = supervisor.run_dir().manifest();
    assert_eq!(manifest.processes.len(), 2);
    for process in &manifest.processes {
        assert!(process.startup_ns.is_some_and(|ns| ns > 0));
        assert!(!cfg!(target_os = "linux") || process.peak_rss_bytes > Some(1 << 20));
    }
    assert!(manifest.models["large"].info["sim"].parameters.is_some(), "told by the block's process");
    let notes = heard.iter().filter(|p| matches!(p, Progress::Note { text } if text.contains("a word on")));
    assert_eq!(notes.count(), 2, "what a block says on standard error is passed on");
    let trials = read(&path);
    all_measured_once(&trials, 24);
    for trial in trials.iter().filter(|trial| trial.is_steady()) {
        let lane = &trial.lanes[0];
        let decode = lane.last_token.unwrap() - lane.first_token.unwrap();
        let law = u64::from(lane.generated.unwrap() - 1) * 600_000;
        assert!(decode >= law, "{decode} ns are less than the law's {law}");
    }
}

#[test]
fn a_block_that_is_killed_loses_at_most_the_trial_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let mut died = 0;
    for after_ms in [1, 8, 17, 23, 31, 44, 52] {
        let path = create(dir.path(), 1);
        let mut supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
        let mut told = BTreeSet::new();
        let status = supervisor
            .run(&mut launcher(Some(after_ms)), &Cancel::new(), &mut |p| {
                if let Progress::TrialEnded(end) = p {
                    told.insert(end.id);
                }
            })
            .unwrap();
        let manifest = supervisor.run_dir().manifest().clone();
        drop(supervisor);
        let before = read(&path);
        assert!(told.is_subset(&before.iter().map(|trial| trial.id).collect()), "what was told is recorded");
        assert_no_gap(&before, 1);
        if status == RunStatus::Failed {
            died += 1;
            let failure = manifest.failure.unwrap();
            assert!(failure.contains("block 0 died") && failure.contains("signal: 9"), "{failure}");
            assert_eq!(manifest.counts.completed, before.len() as u64);
        }
        finish(&path);
        let after = read(&path);
        assert_eq!(after[..before.len()], before, "what was recorded stands");
        all_measured_once(&after, 12);
    }
    assert!(died >= 3, "only {died} of 7 were killed in time");
}

#[test]
fn a_cell_that_crashes_its_process_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = design(2, "limits.failed_share = 0.5");
    let path = RunDir::create(dir.path(), &new_run(&text, &Overrides::default())).unwrap().path().to_owned();
    let mut crashing = ProcessLauncher::new(|_: &BlockJob| {
        let mut command = entry("block_process");
        command.env(CRASH, "large");
        Ok(command)
    });
    let mut supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
    let status = supervisor.run(&mut crashing, &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(status, RunStatus::Complete, "{:?}", supervisor.run_dir().manifest().failure);
    let processes = &supervisor.run_dir().manifest().processes;
    let ends: Vec<(u32, u32, bool)> =
        processes.iter().map(|p| (p.block, p.attempt, p.failure.is_some())).collect();
    assert_eq!(ends, [(0, 1, true), (0, 2, false), (1, 1, true), (1, 2, false)]);
    let trials = read(&path);
    let of = |model: &str, block: u32| {
        let trials = trials.iter().filter(move |trial| trial.block == block);
        trials.filter(|trial| &*trial.factors.model == model).collect::<Vec<_>>()
    };
    for block in 0..2 {
        let small = of("small", block);
        assert!(!small.is_empty() && small.iter().all(|trial| trial.outcome == Outcome::Completed));
        let (crashed, left): (Vec<&Trial>, Vec<&Trial>) =
            of("large", block).into_iter().partition(|trial| matches!(trial.outcome, Outcome::Failed { .. }));
        let [culprit] = crashed[..] else { panic!("one trial crashed: {crashed:?}") };
        let Outcome::Failed { code, reason } = &culprit.outcome else { unreachable!() };
        assert_eq!(&**code, "crashed");
        assert!(reason.contains("assertion of a library failed"), "{reason}");
        assert!(!left.is_empty() && left.iter().all(|t| matches!(t.outcome, Outcome::Skipped { .. })));
    }
    drop(supervisor);
    // Nothing is left to be done.
    let again = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
    assert_eq!(again.pending().len(), 0);
}

/// Waits until so many trials are recorded.
fn wait_for_trials(path: &Path, count: usize) {
    let start = Instant::now();
    while fs::read(path.join("trials.jsonl")).unwrap().iter().filter(|byte| **byte == b'\n').count() < count {
        assert!(start.elapsed() < Duration::from_secs(60), "no trial in a minute");
        thread::sleep(Duration::from_millis(1));
    }
}

fn start_supervisor(path: &Path) -> Child {
    let mut command = entry("supervisor_process");
    command.env(RUN, path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_supervisor_that_is_killed_takes_its_block_with_it_and_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    for trials in [1, 5, 13] {
        let path = create(dir.path(), 4);
        let mut child = start_supervisor(&path);
        wait_for_trials(&path, trials);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(RunDir::open(&path).unwrap().manifest().status, RunStatus::Running, "it had no time");
        // The block's process notices and ends; taking the run waits for that.
        let supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
        let before = read(&path);
        drop(supervisor);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(read(&path), before, "nobody writes any more");
        assert!(before.len() < 48, "it was killed before its end");
        assert_no_gap(&before, 4);
        let cancelled = before.iter().filter(|trial| trial.outcome == Outcome::Cancelled).count();
        assert!(cancelled <= 1);
        let run = finish(&path);
        assert_eq!(run.manifest().counts.completed, 48);
        all_measured_once(&read(&path), 48);
    }
}

#[test]
fn a_run_in_use_is_refused_to_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), 200); // Some ten seconds: it is still at it when it is asked for.
    let mut child = start_supervisor(&path);
    wait_for_trials(&path, 1);
    let refused = Supervisor::take(RunDir::open(&path).unwrap()).map(drop);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(&refused, Err(HarnessError::Run(error)) if error.code() == "busy"), "{refused:?}");
    Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
}

#[test]
fn a_cancelled_supervisor_stops_its_block_soon() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), 2);
    let mut supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
    let cancel = Cancel::new();
    let asker = cancel.clone();
    let mut ended = 0;
    let mut asked = None;
    let status = supervisor
        .run(&mut launcher(None), &cancel, &mut |p| {
            if let Progress::TrialEnded(_) = p {
                ended += 1;
                if ended == 3 {
                    asker.cancel();
                    asked = Some(Instant::now());
                }
            }
        })
        .unwrap();
    assert_eq!(status, RunStatus::Cancelled);
    assert!(asked.unwrap().elapsed() < Duration::from_secs(3), "{:?}", asked.unwrap().elapsed());
    assert_eq!(supervisor.run_dir().manifest().processes.len(), 1);
    drop(supervisor);
    assert_no_gap(&read(&path), 2);
    finish(&path);
    all_measured_once(&read(&path), 24);
}

#[test]
fn a_process_that_cannot_start_is_an_error_and_the_run_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), 1);
    let mut supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
    let mut nowhere = ProcessLauncher::new(|_: &BlockJob| Ok(Command::new("/nowhere/at/all")));
    let error = supervisor.run(&mut nowhere, &Cancel::new(), &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), "launch");
    assert_eq!(supervisor.run_dir().manifest().status, RunStatus::Failed);
    // A program that knows nothing of jobs dies of it, and its words are in the reason.
    let mut foreign = ProcessLauncher::new(|_: &BlockJob| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo what is this >&2; exit 3"]);
        Ok(command)
    });
    let status = supervisor.run(&mut foreign, &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(status, RunStatus::Failed);
    let failure = supervisor.run_dir().manifest().failure.clone().unwrap();
    assert!(failure.contains("exit status: 3") && failure.contains("what is this"), "{failure}");
    drop(supervisor);
    finish(&path);
}
