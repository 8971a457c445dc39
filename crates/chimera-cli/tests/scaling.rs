//! The scaling phase as a user meets it: the real binary, real processes per block, the simulated backend.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_phase-scaling");

fn tr121(args: &[&str]) -> Output {
    Command::new(PROGRAM).arg("tr121").args(args).stdin(Stdio::null()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the smoke profile on the simulator and gives its directory.
fn smoke(parent: &Path, more: &[&str]) -> PathBuf {
    let before = runs(parent);
    let mut args = vec!["--profile", "smoke", "--backend", "sim", "--out", parent.to_str().unwrap()];
    args.extend(more);
    let output = tr121(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut after = runs(parent);
    after.retain(|run| !before.contains(run));
    let [run] = after.as_slice() else { panic!("one run, not {after:?}") };
    run.clone()
}

fn runs(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("manifest.json").is_file()).collect()
}

fn manifest(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("manifest.json")).unwrap()).unwrap()
}

fn trial_ids(run: &Path) -> Vec<u64> {
    let file = BufReader::new(fs::File::open(run.join("trials.jsonl")).unwrap());
    let mut ids: Vec<u64> = file
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_run_leaves_everything_that_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let run = smoke(dir.path(), &[]);
    for name in [
        "design.toml",
        "manifest.json",
        "trials.jsonl",
        "events.jsonl",
        "findings.json",
        "report.md",
        "report.html",
    ] {
        assert!(fs::metadata(run.join(name)).expect(name).len() > 0, "{name} is empty");
    }
    assert!(run.join("tables/exponents.csv").is_file() && run.join("plots/scaling-decode.svg").is_file());
    let manifest = manifest(&run);
    assert_eq!(manifest["status"], "complete");
    assert_eq!(manifest["counts"]["completed"], manifest["counts"]["planned"]);
    assert_eq!(manifest["processes"].as_array().unwrap().len(), 3, "one process per block");
    assert!(manifest["clocks"]["per_event_ns"].as_f64().unwrap() > 0.0);
    assert!(manifest["host"]["memory_read_rate"].as_f64().unwrap() > 0.0);
    assert!(manifest["program"]["toolchain"].as_str().unwrap().starts_with("rustc"));
    let ids = trial_ids(&run);
    assert_eq!(ids, (0..60).collect::<Vec<u64>>());
}

#[test]
fn stages_repeat_and_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let run = smoke(dir.path(), &[]);
    let read = |name: &str| fs::read(run.join(name)).unwrap();
    let (findings, html) = (read("findings.json"), read("report.html"));
    fs::remove_file(run.join("report.html")).unwrap();
    let output = tr121(&["--run", run.to_str().unwrap(), "--stage", "render"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(read("report.html"), html);
    fs::remove_file(run.join("findings.json")).unwrap();
    let output = tr121(&["--run", run.to_str().unwrap(), "--stage", "render"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("--stage analyse"), "{}", text(&output.stderr));
    let output = tr121(&["--run", run.to_str().unwrap(), "--stage", "analyse", "--json"]);
    assert!(output.status.success());
    assert_eq!((read("findings.json"), read("report.html")), (findings, html));
    let headline: Value = serde_json::from_slice(&output.stdout).expect("standard output is JSON alone");
    assert!(headline.to_string().contains("slope-decode"), "{headline}");
}

#[test]
fn a_dry_run_lists_the_trials_and_runs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("runs");
    let output = tr121(&["--profile", "smoke", "--dry-run", "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listing = text(&output.stdout);
    assert_eq!(listing.lines().filter(|line| line.contains(" measured ")).count(), 30);
    assert!(listing.contains("60 trials in 3 blocks") && listing.contains("minutes"), "{listing}");
    assert!(!out.exists());
}

#[test]
fn wrong_use_is_refused_with_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml");
    fs::write(&bad, "schema = 1\nstudy = \"tr121\"\nbloks = 3\n").unwrap();
    let bad = bad.to_str().unwrap().to_owned();
    let missing = dir.path().join("nothing");
    let missing = missing.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--profile", "tiny", "--dry-run"], 2, "default, gate, paper, smoke"),
        (&["--model", "gpt5", "--dry-run"], 2, "gpt2-100m"),
        (&["--backend", "abacus", "--dry-run"], 2, "candle"),
        (&["--shard", "9/8", "--dry-run"], 2, "2/8"),
        (&["--design", &bad, "--dry-run"], 2, "bloks"),
        (&["--run", missing, "--stage", "analyse"], 4, "manifest.json"),
        (&["--resume", missing], 4, "manifest.json"),
    ];
    for (args, code, expected) in cases {
        let output = tr121(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?} should say `{expected}`: {said}");
    }
}

#[test]
fn a_newer_run_is_refused_and_a_cut_line_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let run = smoke(dir.path(), &[]);
    // The end of the last line is lost, as after a crash of the machine.
    let trials = fs::read(run.join("trials.jsonl")).unwrap();
    fs::write(run.join("trials.jsonl"), &trials[..trials.len() - 40]).unwrap();
    let output = tr121(&["--run", run.to_str().unwrap(), "--stage", "analyse"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read_to_string(run.join("report.md")).unwrap().contains("trials.jsonl, line 60"));
    let output = tr121(&["--resume", run.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let ids = trial_ids(&run);
    assert!((0..60).all(|id| ids.contains(&id)), "{ids:?}");
    assert_eq!(manifest(&run)["status"], "complete");

    let newer =
        fs::read_to_string(run.join("manifest.json")).unwrap().replacen("\"major\": 1", "\"major\": 2", 1);
    fs::write(run.join("manifest.json"), newer).unwrap();
    let output = tr121(&["--run", run.to_str().unwrap(), "--stage", "analyse"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("run format 2."), "{}", text(&output.stderr));
}

/// A run on the simulator whose first block has ended, with the rest of what it says.
fn under_way(parent: &Path) -> (Child, impl Iterator<Item = std::io::Result<String>>) {
    let mut child = Command::new(PROGRAM)
        .args([
            "tr121",
            "--profile",
            "default",
            "--backend",
            "sim",
            "--model",
            "gpt2-100m",
            "--model",
            "gpt2-75m",
        ])
        .args(["--out", parent.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("block 1:")), "no block ended");
    (child, lines)
}

/// The one run under a folder.
fn only_run(parent: &Path) -> PathBuf {
    let found = runs(parent);
    let [run] = found.as_slice() else { panic!("one run, not {found:?}") };
    run.clone()
}

#[test]
fn a_killed_run_is_resumed_to_the_same_plan() {
    let dir = tempfile::tempdir().unwrap();
    // The supervisor dies without a word.
    let (mut child, _lines) = under_way(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let run = only_run(dir.path());
    let run = run.as_path();
    let kept = trial_ids(run);
    assert!(!kept.is_empty());
    let output = tr121(&["--resume", run.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let manifest = manifest(run);
    assert_eq!(manifest["status"], "complete");
    let mut ids = trial_ids(run);
    ids.dedup();
    assert_eq!(
        ids.len() as u64,
        manifest["counts"]["planned"].as_u64().unwrap(),
        "every trial has its record"
    );
}

#[test]
fn shards_join_to_the_whole_and_other_plans_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shard = |which: &str| {
        let parent = dir.path().join(which.replace('/', "of"));
        smoke(&parent, &["--shard", which])
    };
    let (one, two) = (shard("1/2"), shard("2/2"));
    let chimera = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_chimera")).args(args).output().unwrap();
    let joined = dir.path().join("joined");
    let output = chimera(&[
        "runs",
        "merge",
        "--out",
        joined.to_str().unwrap(),
        one.to_str().unwrap(),
        two.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(trial_ids(&joined), (0..60).collect::<Vec<u64>>());
    assert!(tr121(&["--run", joined.to_str().unwrap(), "--stage", "analyse"]).status.success());

    let other = smoke(&dir.path().join("other"), &["--model", "gpt2-5m"]);
    let refused = dir.path().join("refused");
    let output = chimera(&[
        "runs",
        "merge",
        "--out",
        refused.to_str().unwrap(),
        one.to_str().unwrap(),
        other.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("plan"), "{}", text(&output.stderr));
    assert!(!refused.exists());
}

#[test]
fn ctrl_c_stops_cleanly_and_the_run_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, lines) = under_way(dir.path());
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    if !sent.is_ok_and(|status| status.success()) {
        println!("SKIP: this system has no `kill` to send an interrupt with");
        child.kill().unwrap();
        return;
    }
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("--resume")), "{rest:?}");
    let run = only_run(dir.path());
    let run = run.as_path();
    assert_eq!(manifest(run)["status"], "cancelled");
    let output = tr121(&["--resume", run.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(manifest(run)["status"], "complete");
}

#[test]
fn a_model_file_that_changed_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let zoo = dir.path().join("zoo");
    let out = dir.path().join("runs");
    let run = || {
        Command::new(PROGRAM)
            .args(["tr121", "--profile", "smoke", "--model", "tiny-gpt2", "--out", out.to_str().unwrap()])
            .env("CHIMERA_ZOO", &zoo)
            .output()
            .unwrap()
    };
    let output = run();
    // One model gives no fit, but its latencies are a report.
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut open = vec![zoo.clone()];
    let mut weights = None;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.ends_with("model.safetensors") {
                weights = Some(path);
            }
        }
    }
    let weights = weights.expect("the weights");
    let good = fs::read(&weights).unwrap();
    // One bit, the size unchanged; then half a file.
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [flipped.as_slice(), &good[..good.len() / 2]] {
        fs::write(&weights, bad).unwrap();
        let output = run();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("model.safetensors") && said.contains("remove the folder"), "{said}");
    }
    assert_eq!(runs(&out).len(), 1, "nothing was run on a bad file");
}
