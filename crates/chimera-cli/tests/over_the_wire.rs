//! What a user does with servers: a study on a server beside the engine in process, load on one, a script that is played
//! and told the truth about. The server is ours over the simulator, and a real Ollama where there is one.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use chimera_core::SystemClock;
use chimera_serve::{ServeOptions, ServedModel, Server};
use chimera_sim::{SimBackend, SimModel};
use serde_json::Value;

const SCALING: &str = env!("CARGO_BIN_EXE_phase-scaling");
const CHIMERA: &str = env!("CARGO_BIN_EXE_chimera");

const CLEAN: [&str; 4] = ["OLLAMA_HOST", "OPENAI_BASE_URL", "OLLAMA_API_KEY", "OPENAI_API_KEY"];

fn run(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    for variable in CLEAN {
        command.env_remove(variable);
    }
    command.args(args).stdin(Stdio::null()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text_of(output: &Output) -> String {
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}

fn trials(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn only_run(parent: &Path) -> PathBuf {
    let all: Vec<PathBuf> = fs::read_dir(parent)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("manifest.json").is_file())
        .collect();
    let [run] = all.as_slice() else { panic!("one run, not {all:?}") };
    run.clone()
}

fn manifest(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("manifest.json")).unwrap()).unwrap()
}

/// A server over the simulator that has some of the zoo's models.
fn server(names: &[&str]) -> Server {
    let models = names.iter().map(|name| {
        let parameters = chimera_zoo::Zoo::spec(name).unwrap().params();
        SimModel::power(*name, parameters, 0.5, 2_000.0)
    });
    let backend = SimBackend::builder().clock(Arc::new(SystemClock::new())).models(models).build();
    let served = names.iter().map(|name| ServedModel::named(*name)).collect();
    let options =
        ServeOptions { resident: std::num::NonZeroUsize::new(8).unwrap(), ..ServeOptions::default() };
    Server::start(Arc::new(backend), served, options).unwrap()
}

#[test]
fn a_study_runs_on_a_server() {
    let server = server(&["tiny-gpt2", "gpt2-5m", "gpt2-25m", "gpt2-45m", "gpt2-50m"]);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let output = run(
        SCALING,
        &[
            "tr121",
            "--profile",
            "smoke",
            "--backend",
            "ollama",
            "--ollama",
            &server.url(),
            "--alone",
            "--out",
            out,
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let made = only_run(dir.path());
    let manifest = manifest(&made);
    let name = format!("ollama@{}", server.url());
    assert_eq!(manifest["status"], "complete");
    assert_eq!(manifest["counts"]["completed"], manifest["counts"]["planned"], "{}", manifest["counts"]);
    assert_eq!(manifest["backends"][&name]["availability"]["state"], "ready");
    let lag = &manifest["processes"][0]["client_lag"][&name];
    assert!(lag["stamped"].as_u64().unwrap() + lag["unstamped"].as_u64().unwrap() > 0, "{lag}");
    // Every prompt had a nonce, and its length is known apart.
    let trials = BufReader::new(fs::File::open(made.join("trials.jsonl")).unwrap());
    for line in trials.lines() {
        let trial: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let lane = &trial["lanes"][0];
        assert!(lane["nonce_tokens"].as_u64().unwrap() >= 8, "{lane}");
        assert!(lane["prompt_tokens"].as_u64().unwrap() > lane["nonce_tokens"].as_u64().unwrap());
        assert_eq!(trial["stamps"], "client");
    }
    let report = fs::read_to_string(made.join("report.md")).unwrap();
    for needle in ["tpot.client", "prefill.server", "Behind a wire"] {
        assert!(report.contains(needle), "the report does not say {needle}");
    }
    server.stop();
}

#[test]
fn a_server_that_is_not_there_is_a_gap_with_a_remedy() {
    let probe = run(CHIMERA, &["probe"]);
    let said = text(&probe.stdout);
    assert!(probe.status.success(), "{}", text(&probe.stderr));
    for backend in ["candle", "ollama", "openai", "sim"] {
        assert!(said.contains(backend), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let refused =
        run(CHIMERA, &["bench", "http://127.0.0.1:1", "--model", "m", "--out", dir.path().to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("not ready"), "{}", text(&refused.stderr));
    let unknown = run(SCALING, &["tr121", "--profile", "smoke", "--backend", "sim@somewhere"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
}

#[test]
fn load_on_a_server_is_a_run_that_can_be_compared() {
    let server = server(&["gpt2-5m"]);
    let dir = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for part in ["a", "b"] {
        let out = dir.path().join(part);
        let output = run(
            CHIMERA,
            &[
                "bench",
                &server.url(),
                "--model",
                "gpt2-5m",
                "--prompt-tokens",
                "32",
                "--output-tokens",
                "8",
                "--rate",
                "40,80",
                "--requests",
                "15",
                "--warmup",
                "2",
                "--out",
                out.to_str().unwrap(),
            ],
        );
        let said = text(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
        assert!(said.contains("poisson-40") && said.contains("poisson-80"), "{said}");
        // What so few requests do not certify, and whether the levels were steady.
        assert!(said.contains("75 completed requests certify no p95 (--requests 26"), "{said}");
        assert!(said.contains("TTFT of a block's first request"), "{said}");
        runs.push(only_run(&out));
    }
    let manifest = manifest(&runs[0]);
    assert_eq!(manifest["study"], "bench");
    // Two levels, five blocks, 15 requests and 2 of warm-up.
    assert_eq!(manifest["counts"]["completed"], 2 * 5 * 17);
    // The server tells the length of the prompt at the end alone.
    for trial in trials(&runs[0]) {
        let lane = &trial["lanes"][0];
        assert!(lane["prompt_tokens"].as_u64().is_some_and(|n| n > 0), "{trial}");
        assert!(trial["flags"].is_null(), "an honest server is not flagged: {trial}");
    }
    let compared = run(CHIMERA, &["compare", runs[0].to_str().unwrap(), runs[1].to_str().unwrap()]);
    let said = text(&compared.stdout);
    assert!(matches!(compared.status.code(), Some(0 | 1)), "{said}\n{}", text(&compared.stderr));
    assert!(said.contains("tpot.client"), "{said}");
    server.stop();
}

#[test]
fn a_server_that_makes_its_durations_up_is_flagged() {
    let text = fs::read_to_string(fixture("scripts/lies.toml")).unwrap();
    let script = chimera_serve::script::Script::parse(&text).unwrap();
    let options = chimera_serve::truth::TruthOptions::loopback(Arc::new(SystemClock::new()));
    let server = chimera_serve::truth::TruthServer::start(script, options).unwrap();
    for (model, flagged) in [("honest", false), ("constant-durations", true), ("longer-durations", true)] {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("ollama@{}", server.url());
        let output = run(
            CHIMERA,
            &[
                "bench",
                &url,
                "--model",
                model,
                "--output-tokens",
                "20",
                "--requests",
                "3",
                "--warmup",
                "0",
                "--blocks",
                "1",
                "--out",
                dir.path().to_str().unwrap(),
            ],
        );
        assert!(output.status.success(), "{}", text_of(&output));
        for trial in trials(&only_run(dir.path())) {
            let flags = trial["flags"].as_array().cloned().unwrap_or_default();
            let found = flags.contains(&Value::from("implausible-server-timing"));
            assert_eq!(found, flagged, "{model}: {trial}");
        }
    }
    drop(server.stop().unwrap());
}

#[cfg(unix)]
#[test]
fn a_server_before_a_server_passes_its_counts_on() {
    let behind = server(&["gpt2-5m"]);
    let backend = format!("ollama@{}", behind.url());
    let (mut child, address) =
        serving(&["--port", "0", "--backend", &backend, "--model", "gpt2-5m", "--offline"]);
    let body = r#"{"model":"gpt2-5m","prompt":"The quick brown fox","raw":true,"stream":false,"options":{"num_predict":4}}"#;
    let answer = post(address, "/api/generate", body);
    let json: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).expect(&answer);
    assert!(json["prompt_eval_count"].as_u64().is_some_and(|n| n > 0), "{json}");
    assert_eq!(json["eval_count"], 4, "{json}");
    let killed = Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    behind.stop();
}

/// Starts `chimera serve` and waits until it says where it listens.
fn serving(args: &[&str]) -> (Ended, std::net::SocketAddr) {
    let mut command = Command::new(CHIMERA);
    for variable in CLEAN {
        command.env_remove(variable);
    }
    let child = command.arg("serve").args(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Ended(child);
    let mut errors = BufReader::new(child.0.stderr.take().unwrap());
    let mut said = String::new();
    let url = loop {
        let before = said.len();
        assert!(errors.read_line(&mut said).unwrap() > 0, "{said}");
        // The last: its own name may hold another's address.
        let mut urls = said[before..].split_whitespace().filter(|word| word.starts_with("http://"));
        if let Some(url) = urls.next_back() {
            break url.to_owned();
        }
    };
    // Somebody has to read what it says, or it waits.
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    (child, url.trim_start_matches("http://").parse().unwrap())
}

fn post(address: std::net::SocketAddr, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A child that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn a_script_is_played_and_the_truth_is_written_on_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let (script, truth) = (dir.path().join("script.toml"), dir.path().join("truth.jsonl"));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/scripts/steady.toml"), &script)
        .unwrap();
    let child = Command::new(CHIMERA)
        .args([
            "serve",
            "--port",
            "0",
            "--script",
            script.to_str().unwrap(),
            "--truth",
            truth.to_str().unwrap(),
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut said = String::new();
    let mut errors = BufReader::new(child.0.stderr.take().unwrap());
    errors.read_line(&mut said).unwrap();
    let url =
        said.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_else(|| panic!("{said}"));
    let address: std::net::SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    assert!(address.ip().is_loopback());
    {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /api/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let killed = Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let lines = fs::read_to_string(&truth).unwrap();
    assert!(lines.lines().next().unwrap().contains("chimera-truth/1"), "{lines}");
    assert!(lines.contains("/api/version"));
}

#[test]
fn a_real_ollama_runs_the_study_beside_the_engine() {
    let Ok(url) = std::env::var("CHIMERA_OLLAMA_URL") else {
        println!("SKIP: no real Ollama here (`cargo xtask test` starts one where Go or an Ollama is there)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let output = run(
        SCALING,
        &[
            "tr121",
            "--profile",
            "smoke",
            "--backend",
            "ollama",
            "--ollama",
            &url,
            "--out",
            out,
            "--model",
            "tiny-gpt2",
            "--model",
            "gpt2-5m",
        ],
    );
    // Some answers of random weights end early or are cut off by the server, which makes the run a failed one by its
    // design's limits (3); what was measured is there all the same.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
    let made = only_run(dir.path());
    let manifest = manifest(&made);
    let name = format!("ollama@{url}");
    assert_eq!(manifest["backends"][&name]["availability"]["state"], "ready", "{manifest}");
    assert!(manifest["backends"][&name]["version"].is_string());
    assert!(manifest["models"]["gpt2-5m"]["info"][&name]["parameters"]["total"].as_u64() == Some(5_036_720));
    assert!(
        manifest["models"]["gpt2-5m"]["info"]["candle"]["parameters"]["total"].as_u64() == Some(5_036_720)
    );
    let trials = fs::read_to_string(made.join("trials.jsonl")).unwrap();
    let measured = trials
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|trial| {
            trial["factors"]["backend"] == name.as_str() && trial["outcome"]["status"] == "completed"
        })
        .count();
    assert!(measured >= 4, "only {measured} trials of the server completed");
    assert!(made.join("report.html").is_file());
}

#[test]
fn our_own_error_is_measured_and_no_token_is_lost() {
    let output = run(CHIMERA, &["prove", "--quick", "--streams", "2,16", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(proof["wrong"].as_array().unwrap().len(), 0, "{}", proof["wrong"]);
    assert_eq!(proof["answers"], 20);
    assert_eq!(proof["issue"]["issued"], proof["issue"]["planned"], "an arrival was dropped");
    let paced = proof["paced"].as_array().unwrap();
    assert_eq!(paced.len(), 4, "two adapters, two numbers of streams");
    for run in paced {
        let streams = run["streams"].as_u64().unwrap();
        assert_eq!(run["tokens"], streams * 50, "{run}");
        assert_eq!(run["receive"]["n"], run["tokens"]);
        assert_eq!(run["itl"]["n"], streams * 49);
        // Short answers follow, since each has but one beginning: a fifth of what a p99 needs.
        assert!(run["ttft"]["n"].as_u64().unwrap() >= 132, "{run}");
        assert_eq!(run["ttft"]["n"], run["e2e"]["n"], "{run}");
        // Sixteen streams of fifty tokens certify a p99; two do not.
        assert_eq!(run["receive"]["p99_ns"].is_null(), streams == 2, "{run}");
        assert!(run["receive"]["max_ns"].as_u64().unwrap() > 0, "nobody receives in no time");
    }
    for run in proof["unpaced"].as_array().unwrap() {
        let void = run["void"].as_bool().unwrap();
        assert_eq!(run["tokens_per_core_s"].is_null(), void, "a void figure is no figure: {run}");
    }
    for decoder in proof["decoders"].as_array().unwrap() {
        assert!(decoder["ns_per_token"].as_f64().unwrap() > 0.0, "{decoder}");
    }
    assert_eq!(proof["decoders"].as_array().unwrap().len(), 2);
    // In full, both ends of an answer have a p99.
    let output = run(CHIMERA, &["prove", "--streams", "8", "--seconds", "0.5", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
    for run in proof["paced"].as_array().unwrap() {
        for figure in ["ttft", "e2e"] {
            assert!(run[figure]["p99_ns"].as_u64().is_some(), "{figure}: {run}");
        }
    }
}
