//! The quality stage on simulated arms: what agrees and what does not, what cannot be measured and why, engines that die,
//! and resumption.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use chimera_core::{BackendId, Clock, InferenceBackend};
use chimera_harness::{
    BlockEnd, BlockJob, Cancel, FoundModel, InlineLauncher, Launcher, Missing, Progress, Registry,
    RegistryError, Supervisor, checks,
};
use chimera_records::{
    Agreement, Audit, Basis, Build, Design, ModelEntry, NotMeasured, Outcome, Overrides, Perplexity, Plan,
    QualityCheck, QualityRecord, RunDir, RunStatus,
};
use chimera_sim::{SimBackend, SimModel, VirtualClock};
use common::new_run;
use sha2::{Digest, Sha256};

/// Seven tokens in three chunks of two: the simulator's tokens are bytes.
const TEXT: &str = "abcdefg";

fn text() -> String {
    let sha: String = Sha256::digest(TEXT).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        r#"
schema = 1
study = "s"
title = "t"
seed = 3
blocks = 1
warmup.gen = 2
model = [
  {{ id = "m-f32", source = "m", variant = "F32", family = "f" }},
  {{ id = "m-q8", source = "m", variant = "Q8_0", family = "f" }},
  {{ id = "alone", source = "other", variant = "Q4_0", family = "f" }},
]
scenario = [
  {{ id = "short", text = "hello world" }},
  {{ id = "long", text = "hello world", tokens = 60 }},
]
[[grid]]
id = "main"
backend = ["ours", "wire", "gone"]
model = ["m-f32", "m-q8", "alone"]
scenario = ["short"]
gen = [4]
[quality]
reference = "truth"
reference_variant = "F32"
scenarios = ["short", "long"]
positions = 40
continuation = 8
min_top1 = 0.99
max_kl = 1e-6
text = "text.txt"
sha256 = "{sha}"
chunk = 2
chunks = 3
[quality.thresholds]
F32 = 0.001
Q8 = 0.02
"#
    )
}

/// Four simulated backends. `truth` and `ours` run the same model where the variant is F32 and another one where it is
/// not; `wire` has neither logits nor scores; `gone` is not there.
struct Arms;

impl Registry for Arms {
    fn backend(&self, id: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn InferenceBackend>, RegistryError> {
        if id == "gone" {
            return Err(RegistryError::Setup { id: id.into(), reason: "it was never fitted".into() });
        }
        let sim = SimBackend::builder()
            .id(BackendId::new(id))
            .clock(clock)
            .models(["m", "m in eight bits", "other"].map(SimModel::new))
            .capabilities(|able| {
                (able.logits, able.scoring) = (id != "wire", id != "wire");
            });
        Ok(Arc::new(sim.build()))
    }

    fn model(&self, entry: &ModelEntry, _backend: &str) -> Result<FoundModel, Missing> {
        Ok(FoundModel::named(match entry.id.as_str() {
            "m-q8" => "m in eight bits",
            _ => entry.source.as_str(),
        }))
    }

    fn text(&self, name: &str) -> Result<String, Missing> {
        assert_eq!(name, "text.txt");
        Ok(TEXT.to_owned())
    }

    fn audit(&self, entry: &ModelEntry, backend: &str) -> Result<Vec<Audit>, Missing> {
        if backend == "wire" {
            return Err(Missing { reason: "its weights are elsewhere".into() });
        }
        Ok(vec![Audit {
            backend: backend.into(),
            model: entry.id.clone(),
            file: "weights".into(),
            precisions: Vec::new(),
            weight_bytes_per_token: None,
            claimed: entry.variant.clone(),
            observed_ok: None,
            note: None,
        }])
    }

    fn builds(&self, entry: &ModelEntry, backend: &str) -> Vec<Build> {
        vec![Build {
            backend: backend.into(),
            model: entry.id.clone(),
            what: "conversion".into(),
            seconds: 1.0,
            bytes: None,
            cached: true,
        }]
    }
}

fn create(dir: &Path, text: &str) -> PathBuf {
    let overrides = Overrides::default();
    RunDir::create(dir, &new_run(text, &overrides)).unwrap().path().to_owned()
}

fn setting(_: &BlockJob) -> (Box<dyn Registry>, Arc<dyn Clock>) {
    (Box::new(Arms), Arc::new(VirtualClock::new()))
}

fn run_with(path: &Path, launcher: &mut dyn Launcher, cancel: &Cancel) -> (RunStatus, Vec<Progress>) {
    let mut supervisor = Supervisor::take(RunDir::open(path).unwrap()).unwrap();
    let mut heard = Vec::new();
    let status = supervisor.run(launcher, cancel, &mut |p| heard.push(p.clone())).unwrap();
    (status, heard)
}

fn records(path: &Path) -> Vec<QualityRecord> {
    let read = RunDir::open(path).unwrap().read_quality().unwrap();
    assert_eq!(read.damage, None);
    read.records
}

fn agreements(records: &[QualityRecord]) -> BTreeMap<(String, String, String), Agreement> {
    let of = |record: &QualityRecord| match record {
        QualityRecord::Agreement(of) => {
            Some(((of.backend.clone(), of.model.clone(), of.scenario.clone()), of.clone()))
        }
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

fn gaps<'a>(records: &'a [QualityRecord], arm: (&str, &str)) -> Vec<&'a NotMeasured> {
    let of = |record: &'a QualityRecord| match record {
        QualityRecord::NotMeasured(of) if record.arm() == arm => Some(of),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

#[test]
fn each_arm_is_held_against_the_reference_before_anything_is_timed() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), &text());
    let (status, heard) = run_with(&path, &mut InlineLauncher::new(setting), &Cancel::new());
    assert_eq!(status, RunStatus::Complete);
    let last_check = heard.iter().rposition(|p| matches!(p, Progress::QualityEnded { .. })).unwrap();
    let first_block = heard.iter().position(|p| matches!(p, Progress::BlockStarted { .. })).unwrap();
    assert!(last_check < first_block, "the checks come first");

    let found = records(&path);
    let agreed = agreements(&found);
    let of = |backend: &str, model: &str, scenario: &str| {
        &agreed[&(backend.to_owned(), model.to_owned(), scenario.to_owned())]
    };
    for (backend, scenario, positions) in
        [("truth", "short", 19), ("ours", "short", 19), ("ours", "long", 40), ("truth", "long", 40)]
    {
        let same = of(backend, "m-f32", scenario);
        assert_eq!((same.basis, same.positions), (Basis::Logits, positions), "{backend} {scenario}");
        assert_eq!((same.top1_agreement, same.max_abs_difference), (1.0, Some(0.0)));
        assert!(same.mean_kl.unwrap() < 1e-9);
        assert_eq!((same.reference_backend.as_str(), same.reference_model.as_str()), ("truth", "m-f32"));
    }
    let other = of("ours", "m-q8", "long");
    assert!(other.top1_agreement < 0.9 && other.mean_kl.unwrap() > 0.1, "{other:?}");
    // Behind a wire there are texts alone.
    let wire = of("wire", "m-f32", "short");
    assert_eq!((wire.basis, wire.top1_agreement, wire.mean_kl), (Basis::GreedyText, 1.0, None));
    assert!(wire.positions > 0 && of("wire", "m-q8", "short").top1_agreement < 1.0);

    let perplexity = |backend: &str, model: &str| {
        found
            .iter()
            .find_map(|record| match record {
                QualityRecord::Perplexity(of) if record.arm() == (backend, model) => Some(of.clone()),
                _ => None,
            })
            .unwrap()
    };
    let (reference, ours) = (perplexity("truth", "m-f32"), perplexity("ours", "m-f32"));
    assert_eq!(reference.chunks, ours.chunks);
    assert_eq!((reference.chunks.len(), reference.stride, reference.chunks[0].tokens), (3, 2, 1));
    assert_eq!(reference.tokens_digest, perplexity("ours", "m-q8").tokens_digest);
    let by_hand: f64 = reference.chunks.iter().map(|chunk| chunk.nll).sum::<f64>() / 3.0;
    assert!((reference.value().unwrap() - by_hand.exp()).abs() < 1e-12);

    // What cannot be measured says why.
    let codes = |arm| gaps(&found, arm).iter().map(|gap| (gap.what, gap.code.as_str())).collect::<Vec<_>>();
    assert_eq!(
        codes(("ours", "alone")),
        [(QualityCheck::Agreement, "no-reference"), (QualityCheck::Agreement, "no-reference")]
    );
    assert_eq!(
        codes(("wire", "m-f32")),
        [(QualityCheck::Audit, "audit"), (QualityCheck::Perplexity, "unsupported")]
    );
    let gone = gaps(&found, ("gone", "m-f32"));
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert!(gone.iter().all(|gap| gap.code == "not-ready" && gap.reason.contains("never fitted")));
    let sessions = found.iter().filter(|r| matches!(r, QualityRecord::Build(b) if b.what == "session"));
    assert_eq!(sessions.count(), 7, "two arms of three models, and the reference");
    assert!(!path.join("quality.tmp").exists(), "what passed between processes is removed");

    // Nothing is asked twice.
    let before = std::fs::read(path.join("quality.jsonl")).unwrap();
    let (status, heard) = run_with(&path, &mut InlineLauncher::new(setting), &Cancel::new());
    assert_eq!(status, RunStatus::Complete);
    assert!(!heard.iter().any(|p| matches!(p, Progress::QualityStarted { .. })));
    assert_eq!(std::fs::read(path.join("quality.jsonl")).unwrap(), before);
}

/// Runs arms in this process, but for one whose process dies after some answers.
struct Dying<L> {
    inner: L,
    arm: (&'static str, &'static str),
    /// Lines of `quality.jsonl` that are kept of it.
    answers: usize,
    /// Whether it dies by its own fault.
    crashed: bool,
    started: Arc<Mutex<Vec<(String, String)>>>,
}

/// A launcher whose checker of `m-q8` on `ours` leaves two answers and half of a third.
fn dying_after_two(crashed: bool) -> Dying<impl Launcher> {
    Dying {
        inner: InlineLauncher::new(setting),
        arm: ("ours", "m-q8"),
        answers: 2,
        crashed,
        started: Arc::default(),
    }
}

impl<L: Launcher> Launcher for Dying<L> {
    fn launch(
        &mut self,
        job: &BlockJob,
        cancel: &Cancel,
        report: &mut dyn FnMut(Progress),
    ) -> io::Result<BlockEnd> {
        let Some(check) = &job.check else { return self.inner.launch(job, cancel, report) };
        self.started.lock().unwrap().push((check.backend.clone(), check.model.clone()));
        if (check.backend.as_str(), check.model.as_str()) != self.arm {
            return self.inner.launch(job, cancel, report);
        }
        let file = job.run.join("quality.jsonl");
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let _ = self.inner.launch(job, cancel, report)?;
        // What a kill leaves: some lines, and half of one.
        let whole = std::fs::read_to_string(&file)?;
        let ours: Vec<&str> = whole[before.len()..].lines().collect();
        let half = &ours[self.answers][..ours[self.answers].len() / 2];
        let kept = ours[..self.answers].join("\n");
        let end = if self.answers == 0 { String::new() } else { "\n".to_owned() };
        std::fs::write(&file, format!("{before}{kept}{end}{half}"))?;
        Ok(BlockEnd::Died { reason: "signal 11".into(), crashed: self.crashed })
    }
}

#[test]
fn an_engine_that_dies_takes_nothing_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), &text());
    let (status, _) = run_with(&path, &mut dying_after_two(false), &Cancel::new());
    assert_eq!(status, RunStatus::Complete, "its trials go on to say so themselves");
    let found = records(&path);
    let lost = gaps(&found, ("ours", "m-q8"));
    assert_eq!(lost.len(), 3, "two agreements and the perplexity are open: {lost:?}");
    assert!(lost.iter().all(|gap| gap.code == "died" && gap.reason.contains("signal 11")));
    assert!(agreements(&found).contains_key(&("ours".into(), "m-f32".into(), "short".into())));
    let repairs = RunDir::open(&path).unwrap().manifest().repairs.clone();
    assert!(repairs.iter().any(|repair| repair.starts_with("quality.jsonl: ")), "{repairs:?}");
}

#[test]
fn an_arm_whose_check_crashes_is_not_put_among_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), &text());
    let (status, _) = run_with(&path, &mut dying_after_two(true), &Cancel::new());
    assert_eq!(status, RunStatus::Complete);
    assert!(gaps(&records(&path), ("ours", "m-q8")).iter().all(|gap| gap.code == "crashed"));
    let trials = RunDir::open(&path).unwrap().read_trials().unwrap().trials;
    let (its, others): (Vec<_>, Vec<_>) =
        trials.iter().partition(|trial| (&*trial.factors.backend, &*trial.factors.model) == ("ours", "m-q8"));
    assert!(!its.is_empty());
    for trial in its {
        let Outcome::Skipped { reason } = &trial.outcome else { panic!("{:?}", trial.outcome) };
        assert!(reason.contains("crashed with this model when it was checked"), "{reason}");
    }
    assert!(others.iter().any(|trial| trial.outcome == Outcome::Completed));
}

#[test]
fn a_reference_that_dies_leaves_its_arms_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), &text());
    let arm = ("truth", "m-f32");
    let mut launcher = Dying {
        inner: Forgetful(InlineLauncher::new(setting)),
        arm,
        answers: 0,
        crashed: false,
        started: Arc::default(),
    };
    let (status, _) = run_with(&path, &mut launcher, &Cancel::new());
    assert_eq!(status, RunStatus::Complete);
    let found = records(&path);
    let codes: Vec<&str> = gaps(&found, ("ours", "m-f32")).iter().map(|gap| gap.code.as_str()).collect();
    assert_eq!(codes, ["reference", "reference"]);
    assert!(gaps(&found, arm).iter().all(|gap| gap.code == "died"));
}

/// A launcher whose reference leaves no word, as one that is killed early.
struct Forgetful<L>(L);

impl<L: Launcher> Launcher for Forgetful<L> {
    fn launch(
        &mut self,
        job: &BlockJob,
        cancel: &Cancel,
        report: &mut dyn FnMut(Progress),
    ) -> io::Result<BlockEnd> {
        let end = self.0.launch(job, cancel, report);
        if job.check.as_ref().is_some_and(|check| check.is_reference) {
            std::fs::remove_dir_all(job.run.join("quality.tmp"))?;
        }
        end
    }
}

#[test]
fn a_cancelled_stage_goes_on_where_it_was_and_asks_the_reference_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path(), &text());
    let cancel = Cancel::new();
    let mut supervisor = Supervisor::take(RunDir::open(&path).unwrap()).unwrap();
    let mut ended = 0;
    let status = supervisor
        .run(&mut InlineLauncher::new(setting), &cancel, &mut |progress| {
            if matches!(progress, Progress::QualityEnded { .. }) {
                ended += 1;
                if ended == 3 {
                    cancel.cancel();
                }
            }
        })
        .unwrap();
    assert_eq!(status, RunStatus::Cancelled);
    drop(supervisor);
    let before = records(&path);
    let started = Arc::new(Mutex::new(Vec::new()));
    let mut launcher = Dying {
        inner: InlineLauncher::new(setting),
        arm: ("nobody", "dies"),
        answers: 0,
        crashed: false,
        started: Arc::clone(&started),
    };
    let (status, _) = run_with(&path, &mut launcher, &Cancel::new());
    assert_eq!(status, RunStatus::Complete);
    let after = records(&path);
    assert_eq!(after[..before.len()], before[..], "what was found out stays");
    let started = started.lock().unwrap();
    assert_eq!(started.first(), Some(&("truth".to_owned(), "m-f32".to_owned())), "{started:?}");
    let fresh = tempfile::tempdir().unwrap();
    let whole = create(fresh.path(), &text());
    run_with(&whole, &mut InlineLauncher::new(setting), &Cancel::new());
    let keys = |records: &[QualityRecord]| {
        records.iter().map(QualityRecord::key).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(keys(&after), keys(&records(&whole)));
}

#[test]
fn a_text_that_is_not_the_designs_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let other: String = Sha256::digest("another").iter().map(|byte| format!("{byte:02x}")).collect();
    let own: String = Sha256::digest(TEXT).iter().map(|byte| format!("{byte:02x}")).collect();
    for (text, code, says) in [
        (text().replace(&own, &other), "text", "restore the file"),
        (text().replace("chunks = 3", "chunks = 4"), "text", "has 7 tokens here, 8 are asked for"),
    ] {
        let path = create(&dir.path().join(says), &text);
        run_with(&path, &mut InlineLauncher::new(setting), &Cancel::new());
        let found = records(&path);
        let gap = gaps(&found, ("ours", "m-f32"));
        assert_eq!(gap.len(), 1, "{gap:?}");
        assert_eq!((gap[0].what, gap[0].code.as_str()), (QualityCheck::Perplexity, code));
        assert!(gap[0].reason.contains(says), "{}", gap[0].reason);
        assert!(!found.iter().any(|r| matches!(r, QualityRecord::Perplexity(Perplexity { .. }))));
    }
}

#[test]
fn the_reference_comes_before_what_is_compared_with_it() {
    let settings = Design::parse(&text()).unwrap().resolve(&Overrides::default()).unwrap();
    let plan = Plan::new(&settings).unwrap();
    let jobs = checks(&settings, &plan);
    let names: Vec<(&str, &str)> = jobs.iter().map(|j| (j.backend.as_str(), j.model.as_str())).collect();
    assert_eq!(names.first(), Some(&("truth", "m-f32")), "it is in no grid and is needed all the same");
    assert_eq!(jobs.iter().filter(|job| job.is_reference).count(), 1);
    assert_eq!(jobs.len(), 10, "{names:?}");
    assert!(jobs.iter().all(|job| job.reference.is_none() == (job.model == "alone")));
    // Without a table nothing is asked.
    let without = text().split("[quality]").next().unwrap().to_owned();
    let settings = Design::parse(&without).unwrap().resolve(&Overrides::default()).unwrap();
    assert!(checks(&settings, &Plan::new(&settings).unwrap()).is_empty());
}
