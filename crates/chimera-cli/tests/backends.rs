//! The phase of backends as a user meets it: the real binary, real processes per block, the simulator and Candle.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use chimera_cli::registry::Lab;
use chimera_core::{Clock, LoadOptions, SystemClock};
use chimera_harness::Registry;
use chimera_records::Design;
use chimera_studies::{Study, Tr117, Tr118};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_phase-backends");

fn run(study: &str, out: &Path, args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args([study, "--profile", "smoke", "--offline", "--out", out.to_str().unwrap()])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn only_run(parent: &Path) -> PathBuf {
    let found: Vec<PathBuf> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn trials(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn both_reports_run_on_the_simulator_and_on_candle_beside_backends_that_are_not_there() {
    for study in ["tr117", "tr118"] {
        let dir = tempfile::tempdir().unwrap();
        let args = [
            "--backend",
            "candle",
            "--backend",
            "sim",
            "--backend",
            "pytorch",
            "--model",
            "tiny-gpt2",
            "--model",
            "gpt2-5m",
        ];
        // TR117 has no model of that size; one that a design lacks is refused.
        let args = if study == "tr117" { &args[..8] } else { &args[..] };
        let output = run(study, dir.path(), args);
        assert!(output.status.success(), "{study}: {}", told(&output));
        let run = only_run(dir.path());
        let page = fs::read_to_string(run.join("report.md")).unwrap();
        for title in ["Agreement, before any timing", "Failure matrix", "Hypotheses and published claims"] {
            assert!(page.contains(title), "{study}: no {title}");
        }
        assert!(page.contains("worker"), "{study}: the reason for the missing backend");
        let all = trials(&run);
        let status = |backend: &str| -> BTreeSet<String> {
            let own = all.iter().filter(|trial| trial["factors"]["backend"] == backend);
            own.map(|trial| trial["outcome"]["status"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(status("candle"), BTreeSet::from(["completed".to_owned()]), "{study}");
        assert_eq!(status("pytorch"), BTreeSet::from(["skipped".to_owned()]), "{study}");
        assert!(
            all.iter().filter(|t| t["factors"]["backend"] == "pytorch").all(|t| t.get("lanes").is_none())
        );
        assert!(status("sim").contains("completed"), "{study}");
        for file in
            ["report.html", "findings.json", "tables/matrix.csv", "tables/obstacles.csv", "tables/gates.csv"]
        {
            assert!(run.join(file).is_file(), "{study}: no {file}");
        }
        // The stages can be repeated, and say the same.
        let again = Command::new(PROGRAM)
            .args([study, "--stage", "analyse", "--run", run.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(again.status.success(), "{}", told(&again));
        assert_eq!(fs::read_to_string(run.join("report.md")).unwrap(), page);
    }
}

#[test]
fn a_backend_that_nobody_has_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("tr117", dir.path(), &["--backend", "onnxruntme"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("there is no backend `onnxruntme`"), "{}", told(&output));
}

#[test]
fn the_prompts_have_the_lengths_that_the_published_ones_had() {
    let lab = Lab::open().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let backend = lab.backend("candle", clock).unwrap();
    let expected = [
        ("micro", 1),
        ("short", 9),
        ("medium", 17),
        ("long", 27),
        ("stress", 51),
        ("micro-2", 1),
        ("short-2", 11),
        ("medium-2", 19),
        ("long-2", 25),
    ];
    for study in [&Tr117 as &dyn Study, &Tr118] {
        let design = Design::parse(study.design()).unwrap();
        let found = lab.model(design.model("tiny-gpt2").unwrap(), "candle").unwrap();
        let lengths = async {
            let session = backend.load(&found.reference, &LoadOptions::default()).await.unwrap();
            for (id, tokens) in expected {
                let Some(scenario) = design.scenario(id) else { continue };
                assert_eq!(
                    session.tokenize(&scenario.text).await.unwrap().len(),
                    tokens,
                    "{}: {id}",
                    study.id()
                );
            }
        };
        futures_executor::block_on(lengths);
        assert!(design.scenario("medium").is_some());
    }
}
