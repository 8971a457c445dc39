//! Recorded runs of every format version are read for ever; one of a newer major is refused. The fixtures were written
//! by the release that introduced their version and are never written again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use chimera_records::{FormatVersion, Metric, QualityRecord, RunDir, RunError, RunStatus, Tally, TrialRole};

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/runs").join(version)
}

/// The fixture with its text changed, in a directory of its own.
fn changed(version: &str, file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(version)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    dir
}

#[test]
fn every_readable_major_has_its_fixture() {
    for major in 1..=FormatVersion::CURRENT.major {
        let run = RunDir::open(&fixture(&format!("v{major}"))).unwrap();
        assert_eq!(run.manifest().format.major, major);
    }
}

#[test]
fn version_1_reads_in_full() {
    let run = RunDir::open(&fixture("v1")).unwrap();
    let manifest = run.manifest();
    assert_eq!((manifest.study.as_str(), manifest.status), ("tr121", RunStatus::Complete));
    assert_eq!(manifest.models["absent"].obstacle.as_deref(), Some("sim: sim-absent is not here: fetch it"));
    assert_eq!(manifest.models["large"].info["sim"].parameters.unwrap().total, 16_000_000);
    assert_eq!(
        manifest.processes.iter().map(|p| (p.block, p.attempt)).collect::<Vec<_>>(),
        [(0, 1), (1, 1), (1, 2), (2, 1)]
    );

    // The same design still makes the same plan: a run of version 1 can be resumed.
    let settings = run.settings().unwrap();
    let plan = run.plan(&settings).unwrap();
    assert_eq!(plan.len() as u64, manifest.counts.planned);

    let read = run.read_trials().unwrap();
    assert_eq!(read.damage, None);
    // Before there were requests at once, every trial was of one; before there were checks, nothing was asked.
    assert!(read.trials.iter().all(|trial| trial.factors.concurrency == 1));
    assert_eq!(run.read_quality().unwrap(), Default::default());
    let tally = Tally::of(&read.trials);
    assert_eq!(tally.counts(manifest.counts.planned), manifest.counts);
    let mut words = BTreeMap::new();
    for trial in &read.trials {
        *words.entry(trial.outcome.word()).or_insert(0) += 1;
    }
    assert_eq!(words, BTreeMap::from([("censored", 1), ("completed", 42), ("failed", 2), ("skipped", 19)]));
    let ids: BTreeSet<u32> = read.trials.iter().map(|trial| trial.id).collect();
    assert_eq!(ids.len() as u64, manifest.counts.planned);

    // The law that it was made with: a step takes a microsecond times the root of the parameters.
    let steady: Vec<_> = read.trials.iter().filter(|trial| trial.is_steady()).collect();
    // Nine of each block's cells can be run; two trials failed and one was censored.
    assert_eq!(steady.len(), 24);
    for trial in steady {
        let step = if &*trial.factors.model == "large" { 4e-3 } else { 1e-3 };
        let lanes = if trial.factors.batch == 2 { 1.25 } else { 1.0 };
        let tpot = Metric::TpotEngine.of(trial).unwrap();
        assert!((tpot - step * lanes).abs() < 1e-9, "trial {}: {tpot}", trial.id);
        assert_eq!(trial.role, TrialRole::Measured);
    }

    // Token stamps agree with the lanes.
    let mut seen = 0;
    for stamps in run.events().unwrap() {
        let stamps = stamps.unwrap();
        let trial = read.trials.iter().find(|t| (t.id, t.attempt) == (stamps.trial, stamps.attempt)).unwrap();
        let lane = &trial.lanes[stamps.lane as usize];
        assert_eq!(lane.first_token, Some(stamps.first));
        assert_eq!(lane.last_token, Some(stamps.first + stamps.deltas.iter().sum::<u64>()));
        seen += 1;
    }
    assert_eq!(seen, read.trials.iter().map(|trial| trial.lanes.len()).sum::<usize>());
}

#[test]
fn a_newer_major_is_refused_and_named() {
    let dir = changed("v1", "manifest.json", "\"major\": 1", "\"major\": 2");
    let error = RunDir::open(dir.path()).unwrap_err();
    assert!(matches!(&error, RunError::Version { found, .. } if found.major == 2));
    assert!(error.to_string().contains("use a release that writes format 2.x"), "{error}");
    // Nothing else of a newer layout is relied on.
    fs::write(
        dir.path().join("manifest.json"),
        r#"{"format":{"major":3,"minor":1,"codename":"x"},"runs":[]}"#,
    )
    .unwrap();
    assert!(matches!(RunDir::open(dir.path()), Err(RunError::Version { found, .. }) if found.major == 3));
}

#[test]
fn a_newer_minor_is_read_with_its_unknown_keys() {
    let dir = changed("v1", "manifest.json", "\"minor\": 0", "\"minor\": 7, \"patch\": 1");
    let path = dir.path().join("trials.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"role\":", "\"mood\":\"good\",\"role\":").replace("{\"prompt", "{\"x\":[1],\"prompt"),
    )
    .unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    let plain = RunDir::open(&fixture("v1")).unwrap();
    assert_eq!(run.read_trials().unwrap(), plain.read_trials().unwrap());
}

#[test]
fn answers_of_the_quality_stage_read_in_full_and_are_written_as_they_were() {
    let text = fs::read_to_string(fixture("quality-v1.jsonl")).unwrap();
    let dir = changed("v1", "design.toml", "", "");
    fs::write(dir.path().join("quality.jsonl"), &text).unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    let read = run.read_quality().unwrap();
    assert_eq!((read.records.len(), read.damage), (8, None));
    for (line, record) in text.lines().zip(&read.records) {
        assert_eq!(serde_json::to_string(record).unwrap(), line);
    }
    let perplexity = read.records.iter().find_map(|record| match record {
        QualityRecord::Perplexity(of) => of.value(),
        _ => None,
    });
    assert!((perplexity.unwrap() - (825.5_f64 / 254.0).exp()).abs() < 1e-12);
    let measured = read.records.iter().filter(|record| record.is_measured()).count();
    assert_eq!(measured, 6);
}
