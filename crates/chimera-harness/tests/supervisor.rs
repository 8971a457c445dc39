//! Whole plans on virtual time, in this process: manifests, resumption, shards, full disks and broken files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use chimera_core::Clock;
use chimera_harness::{
    BlockJob, Cancel, HarnessError, InlineLauncher, Launcher, Progress, Registry, Supervisor,
};
use chimera_records::{Outcome, Overrides, RunDir, RunError, RunStatus, Shard, Trial, TrialRole, merge};
use chimera_sim::{Fault, VirtualClock};
use common::{Sim, design, new_run};

type Setting = (Box<dyn Registry>, Arc<dyn Clock>);

fn plain(_: &BlockJob) -> Setting {
    (Box::new(Sim::plain()), Arc::new(VirtualClock::new()))
}

fn create(parent: &Path, text: &str, shard: Option<Shard>) -> RunDir {
    let overrides = Overrides::default();
    let mut new = new_run(text, &overrides);
    new.shard = shard;
    RunDir::create(parent, &new).unwrap()
}

fn complete(run: RunDir) -> PathBuf {
    let mut supervisor = Supervisor::take(run).unwrap();
    let status = supervisor.run(&mut InlineLauncher::new(plain), &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(status, RunStatus::Complete);
    supervisor.run_dir().path().to_owned()
}

fn trials(path: &Path) -> Vec<Trial> {
    let read = RunDir::open(path).unwrap().read_trials().unwrap();
    assert_eq!(read.damage, None);
    read.trials
}

/// Measured trials without what only the moment decides.
fn measured(trials: &[Trial]) -> BTreeSet<(u32, u32, u32, String)> {
    trials
        .iter()
        .filter(|trial| trial.role == TrialRole::Measured && trial.outcome == Outcome::Completed)
        .map(|trial| (trial.id, trial.block, trial.position, format!("{:?}", trial.factors)))
        .collect()
}

#[test]
fn a_whole_plan_leaves_a_manifest_that_says_everything() {
    let dir = tempfile::tempdir().unwrap();
    let run = create(dir.path(), &design(3, ""), None);
    let mut supervisor = Supervisor::take(run).unwrap();
    let mut heard = Vec::new();
    let status = supervisor
        .run(&mut InlineLauncher::new(plain), &Cancel::new(), &mut |p| heard.push(p.clone()))
        .unwrap();
    assert_eq!(status, RunStatus::Complete);
    assert!(matches!(heard.first(), Some(Progress::PlanStarted { trials: 36, done: 0, blocks: 3, .. })));
    assert!(matches!(heard.last(), Some(Progress::PlanEnded { status: RunStatus::Complete, .. })));
    assert_eq!(heard.iter().filter(|p| matches!(p, Progress::TrialEnded(_))).count(), 36);
    assert_eq!(heard.iter().filter(|p| matches!(p, Progress::BlockEnded { .. })).count(), 3);

    let path = supervisor.run_dir().path().to_owned();
    drop(supervisor);
    let run = RunDir::open(&path).unwrap();
    let manifest = run.manifest();
    assert_eq!((manifest.counts.planned, manifest.counts.completed), (36, 36));
    assert_eq!(
        manifest.processes.iter().map(|p| (p.block, p.attempt)).collect::<Vec<_>>(),
        [(0, 1), (1, 1), (2, 1)]
    );
    assert!(manifest.backends["sim"].availability.is_ready());
    let small = &manifest.models["small"];
    assert_eq!((small.family.as_str(), small.files[0].name.as_str()), ("sim", "small.bin"));
    assert_eq!(small.info["sim"].parameters.unwrap().total, 1_000_000);
    assert!(manifest.clocks.per_event_ns.is_some() && manifest.clocks.resolution_ns.is_some());
    assert!(manifest.ended_unix_ms >= Some(manifest.created_unix_ms));
    let trials = trials(&path);
    assert_eq!(trials.iter().map(|trial| trial.id).collect::<BTreeSet<_>>(), (0..36).collect());
    assert_eq!(run.events().unwrap().map(Result::unwrap).count(), 36);
    // A complete run has nothing left to do, and says so again.
    let mut again = Supervisor::take(run).unwrap();
    assert!(again.pending().is_empty());
    let mut launched = InlineLauncher::new(|_: &BlockJob| -> Setting { panic!("nothing is pending") });
    assert_eq!(again.run(&mut launched, &Cancel::new(), &mut |_| {}).unwrap(), RunStatus::Complete);
}

#[test]
fn a_cancelled_run_resumes_to_the_same_plan() {
    let text = design(2, "");
    let dir = tempfile::tempdir().unwrap();
    let whole = trials(&complete(create(dir.path(), &text, None)));
    for stop_after in [0, 1, 3, 7, 11, 12, 17, 23] {
        let run = create(dir.path(), &text, None);
        let path = run.path().to_owned();
        let mut supervisor = Supervisor::take(run).unwrap();
        let cancel = Cancel::new();
        if stop_after == 0 {
            cancel.cancel();
        }
        let mut ended = 0;
        let status = supervisor
            .run(&mut InlineLauncher::new(plain), &cancel, &mut |p| {
                if let Progress::TrialEnded(_) = p {
                    ended += 1;
                    if ended == stop_after {
                        cancel.cancel();
                    }
                }
            })
            .unwrap();
        assert_eq!(status, RunStatus::Cancelled);
        assert_eq!(RunDir::open(&path).unwrap().manifest().status, RunStatus::Cancelled);
        drop(supervisor);
        let before = trials(&path);
        assert_eq!(before.len(), stop_after);
        complete(RunDir::open(&path).unwrap());
        let after = trials(&path);
        assert_eq!(after[..before.len()], before, "what was recorded stands");
        assert_eq!(measured(&after), measured(&whole), "stopped after {stop_after}");
        let ids = |trials: &[Trial]| trials.iter().map(|trial| trial.id).collect::<BTreeSet<_>>();
        assert_eq!(ids(&after), ids(&whole));
        let manifest = RunDir::open(&path).unwrap().manifest().clone();
        assert_eq!(manifest.counts.completed, 24, "repeated first uses are counted once");
        // A block that was cut has a second attempt, a block that was not has none.
        let attempts = manifest.processes.iter().filter(|p| p.attempt == 2).count();
        assert_eq!(attempts, usize::from(stop_after % 12 != 0), "stopped after {stop_after}");
    }
}

#[test]
fn shards_merged_equal_the_whole() {
    let text = design(5, "");
    let dir = tempfile::tempdir().unwrap();
    let whole = complete(create(dir.path(), &text, None));
    let shards: Vec<PathBuf> =
        (1..=2).map(|index| complete(create(dir.path(), &text, Some(Shard { index, of: 2 })))).collect();
    let out = dir.path().join("merged");
    let merged = merge(&shards, &out).unwrap();
    assert_eq!(merged.manifest().status, RunStatus::Complete);
    assert_eq!((merged.manifest().counts.completed, merged.manifest().shard), (60, None));
    assert_eq!(merged.manifest().merged_from.len(), 2);
    assert_eq!(merged.manifest().processes.len(), 5);
    let strip = |path: &Path| {
        trials(path)
            .into_iter()
            .map(|mut trial| {
                trial.started_unix_ms = 0; // The only thing that the moment of running decides here.
                serde_json::to_string(&trial).unwrap()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(strip(&out), strip(&whole));
    let stamps = |path: &Path| {
        let mut all: Vec<_> = RunDir::open(path).unwrap().events().unwrap().map(Result::unwrap).collect();
        all.sort_by_key(|stamps| stamps.trial);
        all
    };
    assert_eq!(stamps(&out), stamps(&whole));

    // One shard alone is a run that can be completed.
    let half = merge(&shards[..1], &dir.path().join("half")).unwrap();
    assert_eq!(half.manifest().status, RunStatus::Cancelled);
    let half = complete(half);
    assert_eq!(trials(&half).len(), 60);

    // The same block from two runs is kept once if it is the same, and refused if it is not.
    let twice = merge(&[shards[0].clone(), out.clone()], &dir.path().join("twice")).unwrap();
    assert_eq!(twice.read_trials().unwrap().trials.len(), 60);
    let error = merge(&[whole.clone(), shards[0].clone()], &dir.path().join("no")).unwrap_err();
    assert!(error.to_string().contains("both ran block 0"), "{error}");
    let other = complete(create(dir.path(), &design(2, ""), None));
    let error = merge(&[whole, other], &dir.path().join("no")).unwrap_err();
    assert!(error.to_string().contains("the design differs"), "{error}");
    assert!(!dir.path().join("no").exists());
    assert!(matches!(merge(&shards, &out), Err(RunError::Exists { .. })));
}

#[test]
fn two_supervisors_do_not_share_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = create(dir.path(), &design(1, ""), None);
    let path = run.path().to_owned();
    let first = Supervisor::take(run).unwrap();
    let refused = Supervisor::take(RunDir::open(&path).unwrap());
    assert!(matches!(refused, Err(HarnessError::Run(RunError::Busy { .. }))));
    drop(first);
    complete(RunDir::open(&path).unwrap());
}

#[test]
fn a_cut_line_is_mended_at_resume_and_said_in_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let whole = complete(create(dir.path(), &design(2, ""), None));
    let expected = measured(&trials(&whole));
    let file = whole.join("trials.jsonl");
    let full = fs::read(&file).unwrap();
    let line_ends: Vec<usize> = (0..full.len()).filter(|i| full[*i] == b'\n').collect();
    for cut in [line_ends[20], line_ends[20] + 1, line_ends[20] + 2, line_ends[21] - 1, 5] {
        fs::write(&file, &full[..cut]).unwrap();
        let path = complete(RunDir::open(&whole).unwrap());
        assert_eq!(measured(&trials(&path)), expected, "cut at {cut}");
    }
    let repairs = RunDir::open(&whole).unwrap().manifest().repairs.clone();
    assert_eq!(repairs.len(), 4, "a cut between lines needs no repair: {repairs:?}");
    assert!(repairs[0].contains("completed") && repairs[1].contains("removed"), "{repairs:?}");
}

#[test]
fn a_broken_line_in_the_middle_stops_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = complete(create(dir.path(), &design(1, ""), None));
    let file = path.join("trials.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[4] = "{\"id\":4,";
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let Err(HarnessError::Run(error)) = Supervisor::take(RunDir::open(&path).unwrap()) else {
        panic!("a broken line in the middle is an error");
    };
    assert!(matches!(&error, RunError::Corrupt { line: 5, .. }));
    let told = error.to_string();
    assert!(told.contains("trials.jsonl:5") && told.contains("restore"), "{told}");
}

#[test]
fn a_changed_design_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = create(dir.path(), &design(1, ""), None);
    let path = run.path().to_owned();
    let mut file = fs::OpenOptions::new().append(true).open(path.join("design.toml")).unwrap();
    file.write_all(b"# a note\n").unwrap();
    let refused = Supervisor::take(run).unwrap_err();
    assert!(matches!(&refused, HarnessError::Run(RunError::Changed { what: "the design", .. })));
}

#[test]
fn more_failures_than_the_design_allows_fail_the_run() {
    let faulty = |_: &BlockJob| -> Setting {
        let sim = Sim::with(|sim| sim.fault(6, Fault::ErrorAfter(1)));
        (Box::new(sim), Arc::new(VirtualClock::new()))
    };
    let dir = tempfile::tempdir().unwrap();
    for (limit, expected) in [("0.05", RunStatus::Failed), ("0.1", RunStatus::Complete)] {
        let text = design(2, &format!("limits.failed_share = {limit}"));
        let mut supervisor = Supervisor::take(create(dir.path(), &text, None)).unwrap();
        let status = supervisor.run(&mut InlineLauncher::new(faulty), &Cancel::new(), &mut |_| {}).unwrap();
        assert_eq!(status, expected);
        let manifest = supervisor.run_dir().manifest();
        assert_eq!((manifest.counts.failed, manifest.counts.completed), (2, 22));
        assert_eq!(manifest.failure.is_some(), expected == RunStatus::Failed);
    }
}

/// A launcher whose processes die after some of their trials.
struct Dying<'a> {
    after: usize,
    deaths: &'a Cell<u32>,
}

impl Launcher for Dying<'_> {
    fn launch(
        &mut self,
        job: &BlockJob,
        _cancel: &Cancel,
        report: &mut dyn FnMut(Progress),
    ) -> std::io::Result<chimera_harness::BlockEnd> {
        // The block stops where it would have died, and its last message is lost.
        let (own, mut ended) = (Cancel::new(), 0);
        let (stop, after) = (own.clone(), self.after);
        let mut inner = |p: Progress| {
            if let Progress::TrialEnded(_) = &p {
                ended += 1;
                if ended == after {
                    stop.cancel();
                    return;
                }
            }
            report(p);
        };
        InlineLauncher::new(plain).launch(job, &own, &mut inner)?;
        self.deaths.set(self.deaths.get() + 1);
        Ok(chimera_harness::BlockEnd::Died { reason: "signal: 9 (SIGKILL)".into(), crashed: false })
    }
}

#[test]
fn a_block_whose_process_died_is_marked_and_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    for (policy, launched) in [(chimera_harness::OnDeath::Continue, 3), (chimera_harness::OnDeath::Stop, 1)] {
        let deaths = Cell::new(0);
        let run = create(dir.path(), &design(3, ""), None);
        let path = run.path().to_owned();
        let mut supervisor = Supervisor::take(run).unwrap().on_death(policy);
        let mut dying = Dying { after: 7, deaths: &deaths };
        let status = supervisor.run(&mut dying, &Cancel::new(), &mut |_| {}).unwrap();
        assert_eq!((status, deaths.get()), (RunStatus::Failed, launched));
        drop(supervisor);
        let manifest = RunDir::open(&path).unwrap().manifest().clone();
        assert!(manifest.failure.unwrap().contains("block 0 died: signal: 9"));
        assert!(manifest.processes[0].failure.as_ref().unwrap().contains("SIGKILL"));
        assert_eq!(manifest.counts.completed, u64::from(launched) * 7, "records count, not messages");
        complete(RunDir::open(&path).unwrap());
        let manifest = RunDir::open(&path).unwrap().manifest().clone();
        assert_eq!((manifest.counts.completed, manifest.failure), (36, None));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = create(dir.path(), &design(2, ""), None);
    let path = run.path().to_owned();
    let file = path.join("trials.jsonl");
    // The full device reads as endless zeros, so it takes the file's place after the records have been read.
    let mut supervisor = Supervisor::take(run).unwrap();
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let status = supervisor.run(&mut InlineLauncher::new(plain), &Cancel::new(), &mut |_| {}).unwrap();
    assert_eq!(status, RunStatus::Failed);
    let manifest = supervisor.run_dir().manifest().clone();
    let failure = manifest.failure.unwrap();
    assert!(failure.contains("no space left") && failure.contains("resume"), "{failure}");
    assert_eq!(manifest.processes.len(), 1, "the next block would fail in the same way");
    drop(supervisor);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "").unwrap();
    complete(RunDir::open(&path).unwrap());
}
