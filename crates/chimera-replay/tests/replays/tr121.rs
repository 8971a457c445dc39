//! Tests of tr121: golden values on the published data, planted values on the synthetic ones.

use std::collections::BTreeMap;

use chimera_replay::{Artifacts, Ledger, Replayed, Totals};
use chimera_report::Verdict;

use crate::{
    common::{close, published, replay, synthetic},
    tr117::{altered, refuses, renders, verdict},
};

const ID: &str = "tr121";
const CALLS: &str = "cost_scaling/tr121/tr121_calls.csv";
const SHAPES: &str = "cost_scaling/tr121/hf_architectures.csv";
const GOLDEN: &str = "cost_scaling/golden_recomputed.json";
const ANALYSIS: &str = "cost_scaling/tr121/published_analysis";

/// Our name of a run of the golden file.
fn run(id: &str) -> String {
    match id {
        "20251224_002149" => "primary".to_owned(),
        "20251224_002740" => "batch8".to_owned(),
        "20251224_004400" => "gen512".to_owned(),
        "20251224_002857" => "gemma".to_owned(),
        _ => format!("sweep{}", id.rsplit('_').next().expect("a number of tokens")),
    }
}

/// Our name of a published backend.
fn arm(backend: &str) -> &str {
    match backend {
        "hf_cpu_fp32" => "cpu",
        "hf_gpu_fp16" | "hf_gpu_fp16_bs1" => "gpu",
        "hf_gpu_fp16_bs8" => "gpu_bs8",
        other => other,
    }
}

/// Equal to nine digits, or as far from zero as 1e-9.
#[track_caller]
fn equal(replayed: &Replayed, name: &str, expected: f64) {
    let found = replayed.values.point(name);
    let within = |found: f64| (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
    assert!(found.is_some_and(within), "{name}: {found:?}, expected {expected}");
}

#[test]
fn tr121_golden_fits_and_aggregates_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay(ID, &data);
    let golden = data.json(GOLDEN).expect("the golden file");
    let runs = golden.get("tr121").and_then(serde_json::Value::as_object).expect("runs");
    let mut compared = 0;
    for (id, golden) in runs {
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().expect("a text").to_owned();
        let name = |row: &serde_json::Value| {
            format!("legacy.{}.{}.{}", run(id), arm(&text(row, "backend")), text(row, "mode"))
        };
        for fit in golden["fits"].as_array().expect("fits") {
            for (theirs, ours) in [
                ("slope", "slope"),
                ("r2", "r2"),
                ("p", "p"),
                ("ci_lo", "boot_low"),
                ("ci_hi", "boot_high"),
                ("t_lo", "t_low"),
                ("t_hi", "t_high"),
                ("loo_min", "loo_min"),
                ("loo_max", "loo_max"),
                ("rho", "rho"),
                ("rho_p", "rho_p"),
            ] {
                if let Some(expected) = fit[theirs].as_f64() {
                    equal(&replayed, &format!("{}.{ours}", name(fit)), expected);
                    compared += 1;
                }
            }
        }
        for row in golden["agg"].as_array().expect("aggregates") {
            let name = format!("{}.{}", name(row), text(row, "model").trim_start_matches("models/"));
            close(&replayed, &format!("{name}.ms"), row["lat"].as_f64().expect("a latency"), 1e-9);
            close(&replayed, &format!("{name}.rate"), row["tps"].as_f64().expect("a rate"), 1e-9);
            compared += 2;
        }
    }
    assert_eq!(compared, 1_215);
}

/// Compares columns of a published table with our values.
fn table(
    data: &Artifacts,
    replayed: &Replayed,
    file: &str,
    columns: &[(&str, &str)],
    name: impl Fn(&chimera_replay::Row<'_>) -> Option<String>,
) -> usize {
    let table = data.table(&format!("{ANALYSIS}/{file}"), &[]).expect("a published table");
    let mut compared = 0;
    for row in table.rows() {
        let Some(name) = name(&row) else { continue };
        for (theirs, ours) in columns {
            if let Some(expected) = row.maybe(theirs).expect("a number") {
                close(replayed, &format!("{name}.{ours}"), expected, 1e-9);
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn tr121_published_tables_come_out() {
    let Some(data) = published() else { return };
    let replayed = replay(ID, &data);
    let field = |row: &chimera_replay::Row<'_>, column: &str| row.text(column).expect("a column").to_owned();
    let group = |row: &chimera_replay::Row<'_>| {
        format!("legacy.primary.{}.{}", arm(&field(row, "backend")), field(row, "mode"))
    };
    let slopes =
        [("slope", "slope"), ("r2", "r2"), ("theilsen_slope", "theil_sen"), ("slope_ci_low", "boot_low")];
    let compared = table(&data, &replayed, "scaling_fits.csv", &slopes, |row| {
        let scenario = field(row, "scenario");
        Some(if scenario == "__all__" { group(row) } else { format!("{}.{scenario}", group(row)) })
    });
    assert_eq!(compared, 36 * 4);
    let sweep = table(&data, &replayed, "decode_sweep_summary.csv", &slopes, |row| {
        let tokens = field(row, "gen_tokens_target");
        (field(row, "scenario") == "__all__")
            .then(|| format!("legacy.sweep{tokens}.{}.{}", arm(&field(row, "backend")), field(row, "mode")))
    });
    assert_eq!(sweep, 36 * 4);
    let fractions = [
        ("decode_fraction_median", "fraction"),
        ("decode_fraction_p25", "fraction_p25"),
        ("decode_fraction_p75", "fraction_p75"),
    ];
    let compared = table(&data, &replayed, "decode_fraction_summary.csv", &fractions, |row| {
        Some(format!("legacy.sweep{}.{}", field(row, "gen_tokens_target"), arm(&field(row, "backend"))))
    });
    assert_eq!(compared, 36);
    let compared = table(
        &data,
        &replayed,
        "hf_multivariate_fits.csv",
        &[("beta_log_params", "beta"), ("gamma_log_layers", "gamma"), ("r2", "joint_r2")],
        |row| Some(group(row)),
    );
    assert_eq!(compared, 18);
    let ranks = [
        ("spearman_rho_n_layer_vs_log_latency", "rho_layers"),
        ("spearman_p_n_layer_vs_log_latency", "rho_layers_p"),
        ("spearman_rho_n_embd_vs_log_latency", "rho_width"),
    ];
    assert_eq!(
        table(&data, &replayed, "hf_architecture_correlations.csv", &ranks, |row| Some(group(row))),
        18
    );
    let offsets = [("a_ms", "offset"), ("overhead_fraction_at_max_model", "offset_share_max")];
    let compared = table(&data, &replayed, "overhead_compute_fits.csv", &offsets, |row| {
        (field(row, "fit") == "lat = a + b*P").then(|| group(row))
    });
    assert_eq!(compared, 18);
    let compared =
        table(&data, &replayed, "warmup_effect.csv", &[("warmup_to_measured_ratio", "warm_ratio")], |row| {
            let model = field(row, "model");
            Some(format!("{}.{}.{}", group(row), model.trim_start_matches("models/"), field(row, "scenario")))
        });
    assert_eq!(compared, 171);
    let gaps = [("rel_gap_median", "event_gap_median"), ("rel_gap_p95", "event_gap_p95")];
    let compared = table(&data, &replayed, "cuda_event_gap_summary.csv", &gaps, |row| {
        (!row.flag("is_warmup").expect("a flag")).then(|| group(row))
    });
    assert_eq!(compared, 6);
    let errors = [
        ("prop_minus_affine_ms_median", "projection_error_median"),
        ("prop_minus_affine_ms_min", "projection_error_min"),
        ("prop_minus_affine_ms_max", "projection_error_max"),
    ];
    let model =
        |row: &chimera_replay::Row<'_>| Some(format!("legacy.primary.ollama.{}", field(row, "model")));
    let compared = table(&data, &replayed, "ollama_decode_projection_error.csv", &errors, model);
    assert_eq!(compared, 15);
    assert_eq!(table(&data, &replayed, "ollama_decode_linearity.csv", &[("r2", "linear_r2")], model), 5);
    let complete =
        [("slope", "complete.slope"), ("r2", "complete.r2"), ("slope_ci_low", "complete.boot_low")];
    let compared = table(&data, &replayed, "scaling_fits_length_limited.csv", &complete, |row| {
        (field(row, "mode") != "prefill").then(|| group(row))
    });
    assert_eq!(compared, 6);
}

#[test]
fn tr121_what_the_fits_rest_on() {
    let Some(data) = published() else { return };
    let replayed = replay(ID, &data);
    // The digits of the digest.
    for (name, value, digits) in [
        ("loo.cpu.prefill.without.tiny-gpt2.slope", 0.108_8, 5e-5),
        ("loo.cpu.prefill.without.tiny-gpt2.p", 0.31, 5e-3),
        ("loo.cpu.kv_decode.without.tiny-gpt2.slope", 0.123_4, 5e-5),
        ("loo.cpu.kv_decode.without.tiny-gpt2.r2", 0.201, 5e-4),
        ("loo.ollama.kv_decode.without.gpt-oss-20b:latest.slope", 0.514_5, 5e-5),
        ("loo.ollama.prefill.without.gpt-oss-20b:latest.r2", 0.999_3, 5e-5),
        ("rank.cpu.e2e_kv.params.p", 0.023_8, 5e-5),
        ("rank.ollama.e2e_kv.params.p", 0.083, 5e-4),
        ("rank.gpu.e2e_kv.layers.p", 0.035, 5e-4),
        ("legacy.primary.gpu.kv_decode.layers_intercept", 104.3, 0.05),
        ("legacy.primary.gpu.kv_decode.layers_slope", 39.95, 5e-3),
        ("legacy.primary.gpu.kv_decode.layers_r2", 0.863, 5e-4),
        ("cache.ollama.steps.min", 1.01, 5e-3),
        ("cache.ollama.steps.max", 1.28, 5e-3),
        ("cost.large_small.total", 2.693_32, 5e-6),
        ("cost.large_small.target", 4.116, 5e-4),
        ("cost.target.ollama.gpt-oss-20b:latest", 12.949, 5e-4),
        ("cost.target.ollama.qwen2.5:7b", 3.146, 5e-4),
        ("legacy.primary.ollama.gpt-oss-20b:latest.workers", 7.355_99, 5e-6),
        ("cache.ollama.flagged", 15.0, 0.0),
        ("legacy.primary.rows", 684.0, 0.0),
    ] {
        let found = replayed.values.point(name).expect("a value");
        assert!((found - value).abs() <= digits, "{name}: {found}, expected {value}");
    }
    // One denominator makes the 8B model dearer than the 7B model, the other cheaper.
    let point = |name: &str| replayed.values.point(name).expect("a value");
    assert!(point("cost.dense.total") > 1.0 && point("cost.dense.target") < 1.0);
    assert_eq!(verdict(&replayed, "exponent-cpu"), Verdict::Inconclusive);
    assert_eq!(verdict(&replayed, "exponent-ollama"), Verdict::Inconclusive);
    assert_eq!(verdict(&replayed, "cached-prefill"), Verdict::Inconclusive);
    assert_eq!(verdict(&replayed, "first-use"), Verdict::Supported);
    renders(ID, &data, &replayed);
}

/// Judges a ledger file by the results and the draft.
fn judge(data: &Artifacts, name: &str, text: &str) -> Totals {
    let mut ledger = Ledger::default();
    ledger.add(name, text).expect("a ledger");
    let claims = ledger.claims.len();
    let replayed = BTreeMap::from([(ID, replay(ID, data)), ("tr121-draft", replay("tr121-draft", data))]);
    let judged = ledger.judge(&replayed);
    for one in &judged {
        assert!(one.trouble.is_none(), "{}: {:?}", one.claim.id, one.trouble);
    }
    assert_eq!(judged.len(), claims, "claims of another study in {name}");
    Totals::of(&judged)
}

#[test]
fn tr121_the_ledger_holds() {
    let Some(data) = published() else { return };
    let totals = judge(&data, "tr121.toml", include_str!("../../../../fixtures/claims/tr121.toml"));
    assert!(totals.claims >= 12 && totals.contradicted > 0 && totals.mislabelled > 0, "{totals:?}");
    let totals = judge(&data, "series.toml", include_str!("../../../../fixtures/claims/series.toml"));
    assert!(totals.claims >= 12 && totals.not_recomputable > 0, "{totals:?}");
}

#[test]
fn tr121_planted_values_come_back() {
    let data = synthetic();
    let replayed = replay(ID, &data);
    // A tenth power of the parameters for all but the smallest model, which is ten times faster than that.
    close(&replayed, "loo.cpu.kv_decode.without.tiny-gpt2.slope", 0.1, 1e-9);
    close(&replayed, "lab.cpu.through.decode.without.tiny-gpt2", 0.1, 1e-6);
    close(&replayed, "lab.cpu.slope.prefill.without.tiny-gpt2", 0.1, 1e-6);
    assert_eq!(verdict(&replayed, "exponent-cpu"), Verdict::Inconclusive);
    // 100 ms and 40 per layer.
    close(&replayed, "legacy.primary.gpu.kv_decode.layers_intercept", 100.0, 1e-9);
    close(&replayed, "legacy.primary.gpu.kv_decode.layers_slope", 40.0, 1e-9);
    // The square root of the parameters, with and without each model; prefill is 1.2 steps whatever the prompt.
    for mode in ["prefill", "kv_decode", "e2e_kv"] {
        close(&replayed, &format!("legacy.primary.ollama.{mode}.slope"), 0.5, 1e-9);
        close(&replayed, &format!("legacy.primary.ollama.{mode}.loo_min"), 0.5, 1e-9);
        close(&replayed, &format!("legacy.gemma.ollama.{mode}.slope"), 0.5, 1e-9);
    }
    assert_eq!(verdict(&replayed, "exponent-ollama"), Verdict::Supported);
    close(&replayed, "cache.ollama.steps", 1.2, 1e-9);
    close(&replayed, "cache.ollama.flagged", 8.0, 0.0);
    assert!(replayed.values.point("cache.ollama.growth").is_some_and(|growth| growth.abs() < 1e-9));
    // Local models on the GPU take 1.42 to 1.55 steps.
    close(&replayed, "cache.gpu.steps.min", 4.0 / 2.812_5, 1e-9);
    assert_eq!(verdict(&replayed, "cached-prefill"), Verdict::Supported);
    close(&replayed, "legacy.primary.ollama.prefill.warm_ratio_max", 10.0, 1e-9);
    close(&replayed, "legacy.primary.ollama.stopped_early", 4.0, 0.0);
    close(&replayed, "legacy.primary.gpu.prefill.warm_ratio_max", 100.0, 1e-9);
    close(&replayed, "legacy.primary.gpu.prefill.event_gap_median", 0.01, 1e-9);
    // The first use of the GPU in a run is 50 times the others' in one run and 25 times in the other.
    close(&replayed, "first_use.gpu", 1_250_f64.sqrt(), 1e-9);
    close(&replayed, "first_use.gpu.peaks_at_first", 2.0, 0.0);
    close(&replayed, "lab.gpu.warmup.prefill.max", 100.0, 1e-6);
    // The second run takes twice as long on the CPU.
    close(&replayed, "noise.cpu.kv_decode.spread", 2.0, 1e-9);
    close(&replayed, "noise.cpu.kv_decode.cells", 4.0, 0.0);
    close(&replayed, "lab.cpu.slope.decode.repeated.medium", 0.1, 1e-6);
    // The larger model's template adds 70 tokens to every prompt: they pay for themselves in the published price.
    let ratio = (20_900.0_f64 / 7_600.0).sqrt();
    close(&replayed, "cost.large_small.target", ratio, 1e-9);
    close(&replayed, "cost.large_small.total", ratio * ((74.0 * 84.0) / (144.0 * 154.0_f64)).sqrt(), 1e-9);
    // Records keep whole nanoseconds.
    close(&replayed, "cost.large_small.output", ratio, 1e-6);
    close(&replayed, "calls.failed", 2.0, 0.0);
    close(&replayed, "calls.refused", 2.0, 0.0);
    renders(ID, &data, &replayed);
}

#[test]
fn tr121_draft_has_no_results() {
    let data = synthetic();
    let replayed = replay("tr121-draft", &data);
    assert_eq!(replayed.values.point("results"), None);
    renders("tr121-draft", &data, &replayed);
}

#[test]
fn tr121_bad_input_is_named() {
    refuses(ID, CALLS, "prefill_ms", "prefill", "`prefill_ms`");
    refuses(ID, CALLS, "primary,1,", "primary,0,", "line 3: call 0 of run 20250101_000001 comes twice");
    refuses(ID, CALLS, "gemma_family", "primary", "both call themselves primary");
    refuses(ID, CALLS, "gemma_family", "gemma_relatives", "`gemma_relatives` is no role");
    refuses(ID, CALLS, "hf_cpu_fp32", "hf_gpu_fp16_bs8", "line 2: a batch of 1 under the label");
    refuses(
        ID,
        CALLS,
        ",0.102714,0.102714,",
        ",124.0,124.0,",
        "line 2: `tiny-gpt2` is labelled with 124 million",
    );
    refuses(ID, CALLS, "OLDSCHEMA_replicate", "replicate", "has 102714");
    refuses(ID, CALLS, ",1.5,10.0,", ",-1.5,10.0,", "not durations");
    refuses(ID, SHAPES, "102714", "124000000", "line 2: these dimensions make 102714 parameters");
    let late = altered(ID, CALLS, ",error", ",ok").expect("a replay");
    close(&late, "calls.failed", 2.0, 0.0);
}
