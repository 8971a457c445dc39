//! `compare`, `power`, `aa` and `claims` as a user meets them: the real binary on runs of the simulator, its exit codes and
//! its files.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn chimera(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chimera"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A run of the gate profile on the simulator.
fn gate(parent: &Path) -> PathBuf {
    let output = Command::new(env!("CARGO_BIN_EXE_phase-scaling"))
        .args(["tr121", "--profile", "gate", "--backend", "sim", "--out", parent.to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut runs = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    runs.next().expect("a run")
}

/// A copy of a run with a change to its trials and its manifest.
fn changed(run: &Path, to: &Path, trial: impl Fn(&mut Value), manifest: impl Fn(&mut Value)) -> PathBuf {
    fs::create_dir(to).unwrap();
    for name in ["design.toml", "events.jsonl"] {
        fs::copy(run.join(name), to.join(name)).unwrap();
    }
    let lines: Vec<String> = fs::read_to_string(run.join("trials.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            trial(&mut value);
            value.to_string() + "\n"
        })
        .collect();
    fs::write(to.join("trials.jsonl"), lines.concat()).unwrap();
    let mut value: Value = serde_json::from_slice(&fs::read(run.join("manifest.json")).unwrap()).unwrap();
    value["run_id"] = "another".into();
    manifest(&mut value);
    fs::write(to.join("manifest.json"), value.to_string()).unwrap();
    to.to_owned()
}

fn slower(trial: &mut Value) {
    for lane in trial["lanes"].as_array_mut().into_iter().flatten() {
        let (first, last) = (lane["first_token"].as_u64().unwrap(), lane["last_token"].as_u64().unwrap());
        lane["last_token"] = (last + (last - first) / 3).into();
    }
}

#[test]
fn exit_codes_say_what_the_data_say() {
    let dir = tempfile::tempdir().unwrap();
    let a = gate(&dir.path().join("runs"));
    let nothing = |_: &mut Value| ();
    let b = changed(&a, &dir.path().join("slower"), slower, nothing);
    let other = changed(
        &a,
        &dir.path().join("other"),
        |_| (),
        |manifest| {
            manifest["host"]["cpu"] = "another CPU".into();
        },
    );
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (a, b, other) = (path(&a), path(&b), path(&other));
    let html = path(&dir.path().join("html"));

    let regression = chimera(&["compare", &a, &b, "--html", &html]);
    assert_eq!(regression.status.code(), Some(1), "{}", text(&regression.stderr));
    let shown = text(&regression.stdout);
    assert!(shown.starts_with("### Regression: ") && shown.contains("| slower"), "{shown}");
    assert!(fs::read_to_string(Path::new(&html).join("report.html")).unwrap().contains("Two runs compared"));

    let json = chimera(&["compare", &b, &a, "--metric", "tpot.engine", "--json"]);
    assert_eq!(json.status.code(), Some(0), "faster is no regression");
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON alone on standard output");
    assert!(json["rows"].as_array().unwrap().iter().all(|row| row["call"] == "faster"));

    let refused = chimera(&["compare", &a, &other]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("--vary host"), "{}", text(&refused.stderr));
    assert_eq!(chimera(&["compare", &a, &other, "--vary", "host"]).status.code(), Some(0));

    let undecided = chimera(&["compare", &a, &other, "--vary", "host", "--margin", "0.0001%", "--strict"]);
    assert_eq!(undecided.status.code(), Some(2), "{}", text(&undecided.stdout));

    assert_eq!(chimera(&["compare", &a, "nowhere"]).status.code(), Some(4));
    let wrong = chimera(&["compare", &a, &b, "--metric", "speed"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("tpot.engine"), "it lists the metrics");

    let plan = chimera(&["power", "--from", &a, "--effect", "5%", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    assert!(plan["blocks"].as_u64().is_some_and(|blocks| blocks >= 5));
    let rates = chimera(&["aa", &a]);
    assert!(matches!(rates.status.code(), Some(0 | 1)) && text(&rates.stdout).contains("random splits"));
}

#[test]
fn claims_need_data_and_a_known_report() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    assert_eq!(chimera(&["claims", "--artifacts", folder]).status.code(), Some(4), "no artefacts there");
    fs::create_dir(dir.path().join("agents")).unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let unknown = chimera(&["claims", "--artifacts", folder, "--out", out, "--report", "tr999"]);
    assert_eq!(unknown.status.code(), Some(2));
    let missing = chimera(&["replay", "tr999", "--artifacts", folder]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("there is no report"));
}
