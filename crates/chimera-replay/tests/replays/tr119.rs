//! Tests of tr119 and tr122: golden values on the published data, planted values on the synthetic ones.

use std::{collections::BTreeMap, fs};

use chimera_replay::{Artifacts, Ledger, Replayed, by_id};
use chimera_report::Verdict;

use crate::common::{close, published, replay, synthetic};

const FOLDER: &str = "cost_scaling/tr119";
const RUNS: [&str; 2] = ["bench_tr119_1766283446.jsonl", "bench_tr119_1766283570.jsonl"];
const BACKENDS: [&str; 5] = [
    "onnxruntime-gpu",
    "transformers-gpu-compile",
    "transformers-gpu",
    "onnxruntime-cpu",
    "transformers-cpu",
];

/// Compares quantities with the numbers of a JSON object, to 1e-9.
#[track_caller]
fn golden(replayed: &Replayed, prefix: &str, object: &serde_json::Value, names: &[(&str, &str)]) {
    for (key, name) in names {
        let expected = object.get(key).and_then(serde_json::Value::as_f64).expect("a golden number");
        close(replayed, &format!("{prefix}.{name}"), expected, 1e-9);
    }
}

#[test]
fn golden_file() {
    let Some(data) = published() else { return };
    let replayed = replay("tr119", &data);
    let all = data.json("cost_scaling/golden_recomputed.json").expect("the golden file");
    for (place, object) in all["tr119"].as_object().expect("cells") {
        let (mode, backend) = place.split_once('/').expect("mode and backend");
        golden(
            &replayed,
            &format!("legacy.{mode}.{backend}"),
            object,
            &[
                ("latency_ms", "latency_ms"),
                ("throughput_arith", "tok_s"),
                ("sec_per_1m", "seconds_per_1m"),
                ("kwh_per_1m", "kwh_per_1m"),
                ("gco2e_per_1m", "g_per_1m"),
                ("usd_on_demand", "usd_per_1m.on_demand"),
                ("usd_spot", "usd_per_1m.spot"),
                ("usd_r1", "usd_per_1m.reserved_1yr"),
                ("usd_r3", "usd_per_1m.reserved_3yr"),
                ("infra_on_demand", "infra_per_1m"),
                ("power_eff_w", "effective_w"),
            ],
        );
        let share = object["energy_share"].as_f64().expect("a share");
        close(&replayed, &format!("legacy.{mode}.{backend}.energy_share"), 100.0 * share, 1e-9);
    }
    for (backend, object) in all["tr119_request_256_128"].as_object().expect("requests") {
        golden(
            &replayed,
            &format!("legacy.request.{backend}"),
            object,
            &[
                ("t_prefill_s", "prefill_s"),
                ("t_generate_s", "generate_s"),
                ("kwh", "kwh"),
                ("usd", "usd"),
                ("usd_per_1m_total", "usd_per_1m"),
            ],
        );
        golden(&replayed, &format!("legacy.tco_request.{backend}"), object, &[("usd_year_1b_month", "year")]);
        golden(
            &replayed,
            &format!("time_weighted.{backend}"),
            object,
            &[("usd_time_weighted", "usd"), ("usd_year_time_weighted", "year")],
        );
    }
}

#[test]
fn published_summaries() {
    let Some(data) = published() else { return };
    let replayed = replay("tr119", &data);
    let table =
        data.table(&format!("{FOLDER}/published/latency_summary_cost.csv"), &[]).expect("the summary");
    assert_eq!(table.len(), 50);
    for row in table.rows() {
        let text = |column: &str| row.text(column).expect("a field");
        let prefix = format!("legacy.cell.{}.{}.{}", text("mode"), text("backend"), text("scenario"));
        for (column, name) in [
            ("n", "n"),
            ("throughput_mean_tok_s", "tok_s"),
            ("mean", "latency"),
            ("median", "latency.median"),
            ("std", "latency.sd"),
            ("min", "latency.min"),
            ("max", "latency.max"),
            ("q25", "latency.q25"),
            ("q75", "latency.q75"),
            ("ci_lower", "latency.low"),
            ("ci_upper", "latency.high"),
        ] {
            close(&replayed, &format!("{prefix}.{name}"), row.number(column).expect("a number"), 1e-9);
        }
    }
    let summary = data.json(&format!("{FOLDER}/published/cost_energy_summary.json")).expect("the costs");
    let rows = summary["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 50);
    for row in rows {
        let text = |key: &str| row[key].as_str().expect("a text");
        golden(
            &replayed,
            &format!("legacy.cell.{}.{}.{}", text("mode"), text("backend"), text("scenario")),
            row,
            &[
                ("power_mean_watts", "power_w"),
                ("energy_kwh_per_1m_tokens", "kwh_per_1m"),
                ("carbon_gco2e_per_1m_tokens", "g_per_1m"),
                ("total_cost_usd_per_1m_tokens_on_demand", "usd_per_1m.on_demand"),
                ("total_cost_usd_per_1m_tokens_spot", "usd_per_1m.spot"),
                ("total_cost_usd_per_1m_tokens_reserved_1yr", "usd_per_1m.reserved_1yr"),
                ("total_cost_usd_per_1m_tokens_reserved_3yr", "usd_per_1m.reserved_3yr"),
                ("total_cost_usd_per_1m_tokens_on_prem", "usd_per_1m.on_prem"),
            ],
        );
    }
}

#[test]
fn published_tests_and_totals() {
    let Some(data) = published() else { return };
    let replayed = replay("tr119", &data);
    let tests = data.json(&format!("{FOLDER}/published/statistical_analysis.json")).expect("the tests");
    for mode in ["prefill", "generate"] {
        let own = &tests["by_mode"][mode];
        golden(
            &replayed,
            &format!("legacy.anova.{mode}"),
            &own["anova"],
            &[("f_statistic", "statistic"), ("p_value", "p")],
        );
        let pairs = own["pairwise_comparisons"].as_array().expect("pairs");
        assert_eq!(pairs.len(), 10);
        for pair in pairs {
            let text = |key: &str| pair[key].as_str().expect("a text");
            golden(
                &replayed,
                &format!("legacy.pairwise.{mode}.{}.{}", text("group_a"), text("group_b")),
                pair,
                &[("t_statistic", "statistic"), ("p_value", "p"), ("effect_size_cohens_d", "d")],
            );
        }
    }
    let analysis = data.json(&format!("{FOLDER}/published/cost_energy_analysis.json")).expect("the analysis");
    for backend in BACKENDS {
        golden(
            &replayed,
            &format!("legacy.tco_rows.{backend}"),
            &analysis["tco_by_backend"][backend],
            &[("total_cost_usd", "year"), ("cost_per_1m_tokens_usd", "usd_per_1m")],
        );
        golden(
            &replayed,
            "legacy.energy_share_pooled",
            &analysis["cost_breakdown"][backend],
            &[("energy_pct", backend)],
        );
        golden(
            &replayed,
            &format!("legacy.pooled.{backend}"),
            &analysis["roi_by_tier"][backend],
            &[("spot_savings_pct", "spot_saving")],
        );
        let pooled = |name: &str| format!("legacy.pooled.{backend}.{name}");
        let carbon = analysis["carbon_comparison"]["by_backend"][backend].as_f64().expect("carbon");
        close(&replayed, &pooled("g_per_1m"), carbon, 1e-9);
        let tokens = analysis["energy_efficiency_ranking"][backend].as_f64().expect("tokens");
        close(&replayed, &pooled("tokens_per_kwh"), tokens, 1e-9);
        golden(
            &replayed,
            &format!("legacy.request.{backend}"),
            &analysis["request_costs"][backend],
            &[
                ("time_prefill_s", "prefill_s"),
                ("energy_kwh_per_request", "kwh"),
                ("total_cost_usd_per_request", "usd"),
            ],
        );
    }
}

#[test]
fn findings_on_the_published_data() {
    let Some(data) = published() else { return };
    let replayed = replay("tr119", &data);
    for (name, expected, relative) in [
        ("infra_per_1m.prefill.onnxruntime-gpu", 0.159_135, 1e-5),
        ("infra_per_1m.generate.onnxruntime-gpu", 1.312_17, 1e-5),
        ("infra_per_1m.generate.transformers-gpu-compile", 3.437_68, 1e-5),
        ("tok_s.prefill.onnxruntime-gpu.single_short", 958.3, 1e-4),
        ("mean_of_ratios.prefill.onnxruntime-gpu.single_short", 1.911, 1e-3),
        ("mean_of_ratios.prefill.transformers-gpu.batch_short", 1.236, 1e-3),
        ("wins.changed.prefill", 1.0, 0.0),
        ("wins.changed.generate", 1.0, 0.0),
        ("energy.no_data.prefill", 76.571_4, 1e-5),
        ("energy.timed_median_s.prefill", 0.049, 0.01),
        ("full.kwh_per_1m.prefill.onnxruntime-gpu", 0.008_28, 1e-3),
        ("full.times_published.generate.transformers-gpu-compile", 2.67, 1e-3),
        ("full.share.prefill.onnxruntime-gpu", 1.28, 5e-3),
        ("time_weighted.single.transformers-cpu.year", 110_650.0, 1e-5),
        ("time_weighted.transformers-gpu.saving", 10_747.27, 1e-6),
        ("legacy.tco_rows.transformers-gpu.saving", 15_325.0, 1e-5),
        ("legacy.tco_request.transformers-cpu.saving", 57_794.1, 1e-6),
        ("legacy.kruskal.generate.statistic", 17.331_7, 1e-5),
        ("legacy.kruskal.prefill.p", 0.012_427_1, 1e-5),
        ("published_costs.friedman.generate.statistic", 19.04, 1e-9),
        ("published_costs.friedman.prefill.p", 0.015_1, 5e-3),
        ("published_costs.pair.generate.onnxruntime-gpu.transformers-gpu.paired.p", 2.84e-6, 1e-3),
        ("published_costs.pair.generate.onnxruntime-gpu.transformers-gpu-compile.paired.p", 0.010_02, 1e-3),
        ("published_costs.pair.prefill.onnxruntime-gpu.transformers-gpu.paired.p", 0.366, 2e-3),
        ("published_costs.pair.prefill.onnxruntime-cpu.onnxruntime-gpu.welch.p", 0.060_4, 2e-3),
    ] {
        close(&replayed, name, expected, relative);
    }
    for backend in ["onnxruntime-gpu", "transformers-gpu-compile", "transformers-gpu"] {
        let net = replayed.values.point(&format!("energy.net_kwh_per_1m.prefill.{backend}"));
        assert!(net.is_some_and(|net| net < 0.0), "{backend}: {net:?}");
    }
    let verdicts: Vec<Verdict> = replayed.headline.iter().map(|headline| headline.verdict).collect();
    assert_eq!(verdicts, [Verdict::Inconclusive, Verdict::Inconclusive, Verdict::Contradicted]);
}

#[test]
fn ledger_and_findings() {
    let Some(data) = published() else { return };
    let mut replayed = BTreeMap::new();
    for id in ["tr119", "tr119-v1", "tr122"] {
        data.forget();
        let one = replay(id, &data);
        chimera_replay::findings(by_id(id).expect("the study"), &one, &data.files(), &[]).expect("findings");
        replayed.insert(id, one);
    }
    let mut ledger = Ledger::default();
    ledger.add("tr119", include_str!("../../../../fixtures/claims/tr119.toml")).expect("the ledger");
    ledger.add("tr122", include_str!("../../../../fixtures/claims/tr122.toml")).expect("the ledger");
    let judged = ledger.judge(&replayed);
    assert_eq!(judged.len(), ledger.claims.len());
    for one in judged {
        assert_eq!(one.trouble, None, "{}", one.claim.id);
    }
}

#[test]
fn planted_numbers_come_out() {
    let data = synthetic();
    let replayed = replay("tr119", &data);
    // transformers-cpu: 100 tok/s in prefill and 10 tok/s in generation, everywhere; 90 W and 72 W.
    close(&replayed, "legacy.prefill.transformers-cpu.infra_per_1m", 1e4 / 3_600.0 * 1.006, 1e-9);
    close(&replayed, "legacy.prefill.transformers-cpu.kwh_per_1m", 0.25, 1e-9);
    close(&replayed, "legacy.generate.transformers-cpu.kwh_per_1m", 2.0, 1e-9);
    close(&replayed, "infra_per_1m.prefill.transformers-cpu", 1e4 / 3_600.0 * 1.006, 1e-6);
    let request = 15.36 / 3_600.0 * 1.006 + 3.2e-4 * 0.2;
    close(&replayed, "legacy.request.transformers-cpu.usd", request, 1e-9);
    // Equal rates everywhere: the arithmetic mean of throughputs is no mistake.
    close(&replayed, "time_weighted.transformers-cpu.usd", request, 1e-9);
    // Two calls of 11 tokens in 11 ms and 110 ms: 1,000 and 100 tok/s, and 22 tokens in 121 ms.
    close(&replayed, "legacy.cell.prefill.onnxruntime-gpu.single_short.tok_s", 550.0, 1e-9);
    close(&replayed, "tok_s.prefill.onnxruntime-gpu.single_short", 22.0 / 0.121, 1e-9);
    close(&replayed, "mean_of_ratios.prefill.onnxruntime-gpu.single_short", 3.025, 1e-9);
    close(&replayed, "mean_of_ratios.prefill.transformers-gpu.single_short", 1.0, 1e-6);
    // As published it wins that scenario by 550 tok/s against 500; by ratio of sums it loses it.
    close(&replayed, "legacy.wins.prefill.onnxruntime-gpu", 5.0, 0.0);
    close(&replayed, "wins.prefill.onnxruntime-gpu", 4.0, 0.0);
    close(&replayed, "wins.changed.prefill", 1.0, 0.0);
    // Prefill samples 15 W, which is less than idle; generation 40 W.
    close(&replayed, "energy.net_w.prefill.onnxruntime-gpu", 15.0 - 20.71, 1e-9);
    close(&replayed, "energy.net_w.generate.onnxruntime-gpu", 40.0 - 20.71, 1e-9);
    close(&replayed, "energy.cells_below_idle.prefill", 15.0, 0.0);
    close(&replayed, "energy.cells_below_idle.generate", 0.0, 0.0);
    close(&replayed, "energy.no_data.prefill", 100.0, 0.0);
    close(&replayed, "energy.no_data.generate", 0.0, 0.0);
    close(&replayed, "full.times_published.prefill.transformers-gpu", 4.0, 1e-9);
    // One power of the CPU is absent: the mean is that of the others, not of a zero.
    close(&replayed, "full.times_published.generate.transformers-gpu-compile", 85.0 / 40.0, 1e-9);
    // Generation costs twice as much, up to a planted wobble of 6 % that five scenarios average out.
    let ratio = "cost.generate.transformers-gpu-compile_over_onnxruntime-gpu";
    close(&replayed, ratio, 2.0, 0.05);
    assert!(replayed.values.point(&format!("{ratio}.p_holm")).is_some_and(|p| p < 1e-3));
    assert!(replayed.headline.iter().any(|one| one.verdict == Verdict::Supported));
}

#[test]
fn failed_runs_are_counted_and_every_version_renders() {
    let data = synthetic();
    for id in ["tr119", "tr119-v1", "tr122"] {
        data.forget();
        let replayed = replay(id, &data);
        if id != "tr122" {
            close(&replayed, "runs.failed.prefill", 1.0, 0.0);
            close(&replayed, "legacy.runs_degraded", 1.0, 0.0);
            close(&replayed, "legacy.cell.prefill.transformers-gpu.single_long.n", 2.0, 0.0);
        }
        chimera_replay::findings(by_id(id).expect("the study"), &replayed, &data.files(), &[])
            .expect("findings");
    }
    let nothing = replay("tr122", &data);
    assert!(nothing.values.iter().count() >= 12);
    assert!(nothing.values.iter().all(|(_, value)| value.point().is_none()));
}

/// The error after the prefill file was changed.
fn damaged(change: impl Fn(&str) -> String) -> String {
    let good = synthetic();
    let folder = tempfile::tempdir().expect("a folder");
    let raw = folder.path().join(FOLDER).join("raw");
    fs::create_dir_all(&raw).expect("folders");
    for (place, file) in RUNS.iter().enumerate() {
        let bytes = good.bytes(&format!("{FOLDER}/raw/{file}")).expect("the synthetic runs");
        let text = String::from_utf8(bytes).expect("text");
        fs::write(raw.join(file), if place == 0 { change(&text) } else { text }).expect("a file");
    }
    let data = Artifacts::open(folder.path()).expect("the folder");
    by_id("tr119").expect("the study").replay(&data).expect_err("damage").to_string()
}

#[test]
fn damage_is_refused_with_file_and_line() {
    let second = |from: &'static str, to: &'static str| {
        move |text: &str| {
            let lines: Vec<String> = (0..)
                .zip(text.lines())
                .map(|(place, line)| if place == 1 { line.replace(from, to) } else { line.to_owned() })
                .collect();
            lines.join("\n")
        }
    };
    for (error, reason) in [
        (damaged(second("latencies_ms", "latency_ms")), "latencies_ms"),
        (damaged(second("\"latencies_ms\":[", "\"latencies_ms\":[NaN,")), ""),
        (damaged(second("\"repetition\":1", "\"repetition\":0")), "comes twice"),
        (damaged(second("\"mode\":\"prefill\"", "\"mode\":\"generate\"")), "mode `generate`"),
        (damaged(second("single_short", "single_tiny")), "no cell"),
        (damaged(second("\"seq_len\":11", "\"seq_len\":12")), "the shape has 12"),
        (damaged(second("\"latencies_ms\":[", "\"latencies_ms\":[1.0,")), "one throughput for each"),
    ] {
        assert!(error.contains(RUNS[0]) && error.contains("line 2") && error.contains(reason), "{error}");
    }
    let missing = damaged(|text| {
        text.lines().filter(|line| !line.contains("batch_medium")).collect::<Vec<_>>().join("\n")
    });
    assert!(missing.contains("no completed run of onnxruntime-gpu in batch_medium"), "{missing}");
}
