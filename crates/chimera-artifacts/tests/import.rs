//! A small repository in the original layouts, made commit by commit here, imported: rows, sources, places of errors,
//! texts left out, and a second import that checks.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail loudly, and says when it is skipped"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use chimera_artifacts::{ImportError, Imported, MANIFEST, Manifest, Snapshots, import};
use serde_json::{Value, json};

/// A text that stands for every prompt and reply, and must not arrive.
const SECRET: &str = "Tell the dragon a joke";

struct History {
    folder: tempfile::TempDir,
}

impl History {
    /// A repository with all layouts in its first commit, and none in its second; none without git.
    fn new() -> Option<History> {
        if Command::new("git").arg("--version").output().is_err() {
            println!("SKIP: git is not here");
            return None;
        }
        let history = History { folder: tempfile::tempdir().expect("a folder") };
        history.git(&["init", "-q"]);
        for (path, content) in layouts() {
            let path = history.clone_path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        history.git(&["add", "-A"]);
        history.git(&["commit", "-q", "-m", "data"]);
        history.git(&["rm", "-q", "-r", "."]);
        history.git(&["commit", "-q", "--allow-empty", "-m", "data are gone"]);
        Some(history)
    }

    fn git(&self, args: &[&str]) {
        let output = Command::new("git")
            .current_dir(self.folder.path())
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t",
                "-c",
                "commit.gpgsign=false",
                "-c",
                "core.autocrlf=false",
            ])
            .args(args)
            .output()
            .expect("git starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn clone_path(&self) -> &Path {
        self.folder.path()
    }

    fn import(&self, out: &Path) -> Result<Imported, ImportError> {
        import(self.clone_path(), out, &Snapshots::one("HEAD^"), &mut |_| {})
    }
}

fn call(tokens: u64, ms: f64) -> Value {
    json!({
        "ttft_ms": 10.5, "tokens_generated": tokens, "eval_duration_ms": ms, "prompt_eval_duration_ms": 4.25,
        "load_duration_ms": 1.0, "total_duration_ms": ms + 10.0, "throughput_tokens_per_sec": 50.0,
    })
}

/// A run of two Rust agents: `calls` each, of one or two calls.
fn pair(scenario: &str, run: u64, calls: usize) -> Value {
    let result = if calls == 1 {
        json!({"individual_runs": [call(100, 2000.0)], "timestamp": "2025-11-12T00:00:00Z", "prompt": SECRET})
    } else {
        let stage = |name: &str| json!({"stage": name, "prompt": SECRET, "response": SECRET, "metrics": call(100, 2000.0)});
        json!({
            "llm_calls": [stage("analysis"), stage("report")], "timestamp": "2025-11-14T00:00:00Z",
            "benchmark_data_count": 101, "workflow": {"ingest_seconds": 0.5}, "report_markdown": SECRET,
        })
    };
    let agent = |port: u32, options: Value| {
        json!({
            "config": {"base_url": format!("http://localhost:{port}"), "model": "gemma3:latest", "options": options},
            "execution_time_s": 2.5, "result": result,
        })
    };
    json!({
        "collector": agent(11434, json!({})),
        "insight": agent(11435, json!({"num_gpu": 60, "num_ctx": 512, "temperature": 0.8})),
        "run_number": run, "scenario": scenario,
        "summary": {
            "concurrent_wall_time_s": 2.5, "sequential_estimated_s": 5.0, "concurrency_speedup": 2.0,
            "efficiency_percent": 100.0, "throughput_delta": 0.0, "ttft_delta_ms": 0.0,
            "resource_contention_detected": false,
        },
    })
}

fn single() -> Value {
    let calls = json!([
        {"run_number": 1, "stage": "analysis", "prompt": SECRET, "response": "four", "metrics": call(0, 0.0)},
        {"run_number": 1, "stage": "report", "prompt": SECRET, "response": SECRET, "metrics": call(7, 100.0)},
    ]);
    let workflow = json!([{
        "run_number": 1, "benchmark_data_count": 101,
        "workflow": {"analysis_seconds": 1.0, "ingest_seconds": 0.1, "report_seconds": 2.0, "total_seconds": 3.1},
    }]);
    let arm = |options: Value| {
        json!({
            "configuration": options, "model": "gemma3:latest", "timestamp": "2025-11-14T18:59:22Z",
            "system_info": {"rust_version": "1.90.0"}, "llm_calls": calls, "workflow_runs": workflow,
        })
    };
    json!({"baseline": arm(json!({})), "chimera": arm(json!({"num_gpu": 60, "num_ctx": 256, "temperature": 0.6}))})
}

fn record(status: &str, reason: Option<&str>) -> Value {
    let good = reason.is_none();
    json!({
        "spec": {"backend": "tensorrt-fp32", "scenario": "single_micro", "model": "models/gpt2-5m", "repetition": 0,
                 "batch_size": 1, "seq_len": 8, "mode": "prefill"},
        "status": status,
        "latencies_ms": if good { vec![1.120_900_000_387, 2.0] } else { Vec::new() },
        "ttft_ms": [], "tokens_processed": [8, 8],
        "throughput_tok_s": if good { vec![7_137.121_953_1, 4000.0] } else { Vec::new() },
        "predicted_tokens": [SECRET], "outputs": [SECRET],
        "degraded_count": if good { 0 } else { 2 },
        "degraded_reasons": reason.map_or_else(Vec::new, |reason| vec![reason, reason]),
        "warmup_latencies_ms": [9.5, 8.25], "resource_metrics": {"samples": 3, "duration_s": 0.5},
    })
}

/// One call of TR121 as three rows, in the layout of the primary run or in an old one.
fn scaling(old: bool) -> String {
    let header = if old {
        "task_idx,scenario,backend,backend_kind,model,params_millions,prompt,gen_tokens_target,call_idx,is_warmup,rep,mode,\
         status,started_at_unix,prompt_tokens,prefill_ms,kv_decode_ms,gen_tokens"
    } else {
        "task_idx,scenario,backend,backend_kind,model,params_millions,params_millions_config,prompt,gen_tokens_target,\
         call_idx,is_warmup,rep,mode,status,started_at_unix,batch_size,prompt_tokens_raw,prefill_ms,kv_decode_ms,\
         kv_decode_ms_equiv,gen_tokens_raw,params_millions_measured"
    };
    let rows = ["prefill", "kv_decode", "e2e_kv"].map(|mode| {
        if old {
            let tokens = if mode == "prefill" { 0 } else { 58 };
            format!("0,short,ollama,ollama,m:8b,8000.0,{SECRET},64,0,True,,{mode},ok,1.5,19,17.5,661.25,{tokens}")
        } else {
            format!(
                "0,short,ollama,ollama,m:8b,8000.0,8000.0,{SECRET},64,0,False,0,{mode},ok,1.5,1,19,17.5,580.0,640.0,58,8030.0"
            )
        }
    });
    format!("{header}\n{}\n", rows.join("\n"))
}

fn layouts() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut put = |path: &str, content: String| files.push((path.to_owned(), content.into_bytes()));
    let duals = "data/research/tr110_rust_full";
    put(
        &format!("{duals}/baseline-vs-chimera/test001/run_1/metrics.json"),
        pair("baseline_vs_chimera", 1, 2).to_string(),
    );
    // Two editors were at work: a byte order mark here, half a file there.
    put(
        &format!("{duals}/chimera_homo/test103/run_1/metrics.json"),
        format!("\u{feff}{}", pair("chimera_homo", 1, 2)),
    );
    let broken = serde_json::to_string_pretty(&pair("chimera_homo", 2, 2)).unwrap();
    let half: Vec<&str> = broken.lines().take(9).collect();
    put(&format!("{duals}/chimera_homo/test103/run_2/metrics.json"), half.join("\n"));
    // Another layout under the same name.
    put(&format!("{duals}/chimera_homo/test103/run_3/metrics.json"), pair("chimera_homo", 3, 1).to_string());
    let runtimes =
        "experiments/TR115_runtime_optimization/results_v2/runtime-smol-1kb/chimera_homo_gpu80_ctx512";
    put(&format!("{runtimes}/run_4/run_1/metrics.json"), pair("chimera_homo", 1, 2).to_string());
    put(
        "src/rust/demo_multiagent/Demo_rust_multiagent_results/bvc_gpu60/run_1/metrics.json",
        pair("baseline_vs_chimera", 1, 1).to_string(),
    );
    put("data/research/tr109_rust_full/gpu60_ctx256/data/metrics.json", single().to_string());
    put(
        "outputs/reports/gemma3/gemma3_baseline.csv",
        format!(
            "prompt,ttft_s,tokens_s,load_s,prompt_eval_s,eval_s,eval_count,response_chars,error\n\
             {SECRET},2.50,101.0,2.0,0.5,8.0,805,3263,\n{SECRET},0.1,fast,0.1,0.1,3.0,320,1031,\n"
        ),
    );
    put(
        "experiments/TR118/results/tr118v2_crossover/gpt2-5m/raw/bench_prefill_1766111615.jsonl",
        format!("{}\n{}\n{{\"spec\": \n", record("ok", None), record("degraded", Some("engine_missing"))),
    );
    // A trial of the harness: not imported.
    put("experiments/TR118/results/raw/bench_prefill_1765588723.jsonl", format!("{}\n", record("ok", None)));
    let line = json!({"spec": {"backend": "b", "mode": "prefill"}, "latencies_ms": [0.1]}).to_string();
    put("experiments/TR119/results/tr119_matrix/raw/bench_tr119_1766283446.jsonl", format!("{line}\n"));
    let with_text = json!({"spec": {"prompts": [SECRET], "mode": "generate"}, "outputs": [SECRET], "latencies_ms": [0.1]});
    put("experiments/TR119/results/tr119_matrix/raw/bench_tr119_1766283570.jsonl", format!("{with_text}\n"));
    let graphs = "experiments/TR120/results/tr120_root_cause_triton/20251221_181901";
    put(
        &format!("{graphs}/prefill/metrics.csv"),
        "scenario,backend,latency_ms,cuda_event_ms,tokens\n\
         single_micro,transformers-gpu,1.5018649992271094,1.3,1\nsingle_micro,transformers-gpu,2.25,,1\n"
            .to_owned(),
    );
    put(
        &format!("{graphs}/manifest.json"),
        json!({"torch": {"version": "2.8"}, "torch_compile_config": {"dynamic": false, "mode": "reduce-overhead"}}).to_string(),
    );
    put(
        &format!("{graphs}/prefill/dynamo_counters.json"),
        json!({"dynamo_counters": {"stats": {"unique_graphs": 2}, "aten_mm_info": {"aten.addmm_16_6_2": 2, "aten.addmm_8_6_2": 2}}})
            .to_string(),
    );
    put("experiments/tr121/results/20251224_002149/metrics.csv", scaling(false));
    put("experiments/tr121/results/20251223_214754/metrics.csv", scaling(true));
    put("experiments/tr121/configs/scaling.yaml", "seed: 42\n".to_owned());
    put("experiments/TR118/results/tr118v2_audit/crossover_fit.json", "{\n \"points\": [\n".to_owned());
    files
}

/// A table by lines; cells without commas.
fn table(out: &Path, path: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(out.join(path)).expect(path);
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn column(table: &[Vec<String>], name: &str) -> Vec<String> {
    let index = table[0].iter().position(|found| found == name).expect(name);
    table[1..].iter().map(|row| row[index].clone()).collect()
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, into);
        } else {
            into.push(path);
        }
    }
}

#[test]
fn runs_and_calls_arrive_with_their_numbers_and_without_their_texts() {
    let Some(history) = History::new() else { return };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tidy");
    let imported = history.import(&out).expect("an import");
    assert!(!imported.checked && imported.differing.is_empty() && !imported.is_clean());

    let duals = table(&out, "agents/tr114/rust_multiagent_dual_runs.csv");
    assert_eq!(column(&duals, "config"), ["test001", "test103"]);
    assert_eq!(column(&duals, "dir"), ["baseline-vs-chimera", "chimera_homo"]);
    assert_eq!(column(&duals, "a_num_gpu"), ["", ""]);
    assert_eq!(column(&duals, "b_temperature"), ["0.8", "0.8"]);
    assert_eq!(column(&duals, "b2_total_duration_ms"), ["2010.0", "2010.0"]);
    assert_eq!(column(&duals, "a_files"), ["101", "101"]);
    assert_eq!(column(&duals, "resource_contention_detected"), ["False", "False"]);
    let runtimes = table(&out, "agents/tr115/rust_runtime_runs.csv");
    assert_eq!(
        (column(&runtimes, "runtime"), column(&runtimes, "run")),
        (vec!["smol-1kb".into()], vec!["4".into()])
    );
    let single = table(&out, "agents/tr113/rust_multiagent_single_ollama_runs.csv");
    assert_eq!(column(&single, "a1_tokens_generated"), ["100"]);
    assert!(!single[0].contains(&"a2_ttft_ms".to_owned()));
    let calls = table(&out, "agents/tr111/rust_agent_calls.csv");
    assert_eq!(column(&calls, "tokens_generated"), ["0", "7", "0", "7"]);
    assert_eq!(column(&calls, "response_chars"), ["4", "22", "4", "22"]);
    assert_eq!(column(&calls, "num_ctx"), ["", "", "256", "256"]);
    assert_eq!(column(&calls, "wf_total_seconds"), ["3.1"; 4]);
    assert_eq!(column(&table(&out, "agents/tr108/gemma3_latest_baseline.csv"), "ttft_s"), ["2.5"]);
    assert_eq!(column(&table(&out, "agents/tr108/gemma3_latest_baseline.csv"), "prompt_index"), ["1"]);

    let mut files = Vec::new();
    walk(&out, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        assert!(!text.contains(SECRET), "{} holds a prompt or a reply", file.display());
    }
}

#[test]
fn samples_records_graphs_and_scaling_calls_arrive() {
    let Some(history) = History::new() else { return };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tidy");
    history.import(&out).expect("an import");

    let files = table(&out, "backends/tr118/files.csv");
    assert_eq!(files.len(), 2, "trials are left out");
    assert_eq!(
        files[1],
        [
            "0",
            "tr118v2_crossover/gpt2-5m/raw/bench_prefill_1766111615.jsonl",
            "gpt2-5m",
            "5036720",
            "prefill",
            "2",
            "True"
        ]
    );
    let runs = table(&out, "backends/tr118/runs.csv");
    assert_eq!(column(&runs, "status"), ["ok", "degraded"]);
    assert_eq!(column(&runs, "reason"), ["", "engine_missing"]);
    assert_eq!(column(&runs, "warmup_ms"), ["9.5;8.25", "9.5;8.25"]);
    let samples = table(&out, "backends/tr118/samples.csv");
    assert_eq!(column(&samples, "latency_ms"), ["1.1209", "2.0"]);
    assert_eq!(column(&samples, "throughput_tok_s"), ["7137.122", "4000.0"]);

    let raw = |run: &str| {
        fs::read_to_string(out.join(format!("cost_scaling/tr119/raw/bench_tr119_{run}.jsonl"))).unwrap()
    };
    assert_eq!(
        raw("1766283446"),
        "{\"latencies_ms\":[0.1],\"spec\":{\"backend\":\"b\",\"mode\":\"prefill\"}}\n"
    );
    assert_eq!(raw("1766283570"), "{\"latencies_ms\":[0.1],\"spec\":{\"mode\":\"generate\"}}\n");

    let graphs = table(&out, "backends/tr120/samples.csv");
    assert_eq!(column(&graphs, "latency_ms"), ["1.501865", "2.25"]);
    assert_eq!(
        (column(&graphs, "idx"), column(&graphs, "cuda_event_ms")),
        (vec!["0".into(), "1".into()], vec!["1.3".into(), String::new()])
    );
    let runs = table(&out, "backends/tr120/runs.csv");
    assert_eq!(column(&runs, "padding_inferred"), ["padded8"]);
    assert_eq!(column(&runs, "prefill_graph_seq_lens"), ["8 16"]);

    let calls = table(&out, "cost_scaling/tr121/tr121_calls.csv");
    assert_eq!(column(&calls, "role"), ["primary", "OLDSCHEMA_replicate"]);
    assert_eq!(column(&calls, "gen_tokens_raw"), ["58", "58"]);
    assert_eq!(column(&calls, "params_millions_effective"), ["8030.0", "8000.0"]);
    assert_eq!(column(&calls, "kv_decode_ms_equiv"), ["640.0", ""]);
    assert_eq!(column(&calls, "batch_size"), ["1", "1"]);
    assert_eq!(
        fs::read_to_string(out.join("cost_scaling/tr121/configs/scaling.yaml")).unwrap(),
        "seed: 42\n"
    );
}

#[test]
fn what_does_not_parse_is_named_with_its_line_and_the_rest_goes_on() {
    let Some(history) = History::new() else { return };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tidy");
    let imported = history.import(&out).expect("an import");
    let of = |end: &str| {
        let mut found = imported.manifest.errors.iter().filter(|error| error.path.ends_with(end));
        let first = found.next().unwrap_or_else(|| panic!("no error of {end}"));
        assert!(found.next().is_none(), "{end} is named once");
        (first.line, first.reason.clone())
    };
    assert_eq!(of("chimera_homo/test103/run_2/metrics.json").0, Some(9));
    let (line, reason) = of("chimera_homo/test103/run_3/metrics.json");
    assert!(line.is_none() && reason.contains("individual_runs.1"), "{reason}");
    assert_eq!(of("bench_prefill_1766111615.jsonl").0, Some(3));
    let (line, reason) = of("gemma3_baseline.csv");
    assert!(line == Some(3) && reason.contains("`tokens_s` is `fast`"), "{line:?} {reason}");
    assert_eq!(of("crossover_fit.json").0, Some(3));
    assert!(!out.join("backends/tr118/audit/crossover_fit.json").exists(), "half a file is no file");
    // What this history never had is named as well.
    assert!(of("experiments/TR116/results/multi/rust").1.contains("no such file"));
}

#[test]
fn the_manifest_names_commit_blob_and_digests_of_every_source() {
    let Some(history) = History::new() else { return };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tidy");
    history.import(&out).expect("an import");
    let manifest: Manifest = serde_json::from_slice(&fs::read(out.join(MANIFEST)).unwrap()).unwrap();
    let file =
        manifest.files.iter().find(|file| file.path.ends_with("rust_multiagent_dual_runs.csv")).unwrap();
    assert_eq!((file.rows, file.sources.len()), (Some(2), 4));
    let source = &file.sources[0];
    assert_eq!(source.path, "data/research/tr110_rust_full/baseline-vs-chimera/test001/run_1/metrics.json");
    assert_eq!(Some(&source.commit), manifest.commits.get("bulky"));
    let output = Command::new("git")
        .current_dir(history.clone_path())
        .args(["rev-parse", &format!("{}:{}", source.commit, source.path)])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), source.git_oid);
    assert_eq!((source.sha256.len(), file.sha256.len()), (64, 64));
    let mut found = Vec::new();
    walk(&out, &mut found);
    assert_eq!(found.len(), manifest.files.len() + 1, "every file but the manifest is in it");
}

#[test]
fn a_second_import_checks_and_writes_nothing() {
    let Some(history) = History::new() else { return };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tidy");
    let first = history.import(&out).expect("an import");
    let again = history.import(&out).expect("a check");
    assert!(again.checked && again.differing.is_empty());
    assert_eq!(again.manifest, first.manifest);

    let changed = out.join("agents/tr114/rust_multiagent_dual_runs.csv");
    fs::write(&changed, "config\n").unwrap();
    fs::remove_file(out.join("cost_scaling/tr121/configs/scaling.yaml")).unwrap();
    let again = history.import(&out).expect("a check");
    assert_eq!(again.differing.len(), 2, "{:?}", again.differing);
    assert!(again.differing[0].contains("rust_multiagent_dual_runs.csv"));
    assert_eq!(fs::read_to_string(&changed).unwrap(), "config\n", "a check repairs nothing");

    // The same folder with another state of the history.
    let other = import(history.clone_path(), &out, &Snapshots::one("HEAD"), &mut |_| {});
    assert!(matches!(other, Err(ImportError::Foreign { .. })));
}

#[test]
fn what_is_no_clone_or_lacks_the_history_is_refused_before_anything_is_written() {
    let Some(history) = History::new() else { return };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("tidy");
    let refused = import(parent.path(), &out, &Snapshots::published(), &mut |_| {}).expect_err("no clone");
    assert!(matches!(refused, ImportError::NotAClone { .. }) && refused.is_usage(), "{refused}");
    let refused =
        import(history.clone_path(), &out, &Snapshots::published(), &mut |_| {}).expect_err("no commit");
    assert!(refused.to_string().contains("fetch --unshallow") && refused.is_usage(), "{refused}");
    assert!(!out.exists());

    fs::create_dir(&out).unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    let refused = history.import(&out).expect_err("a folder in use");
    assert!(matches!(refused, ImportError::Occupied { .. }) && refused.is_usage());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}
