//! Files that are copied as they are: configurations and what the reports' authors computed themselves. JSON and CSV are
//! parsed all the same, so that a damaged one is found here and not by a study.

use super::{Output, Outputs};
use crate::{
    ImportError,
    source::{At, Source},
};

struct Copies {
    at: At,
    from: &'static str,
    to: &'static str,
    /// Name there, name here.
    files: &'static [(&'static str, &'static str)],
}

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    for group in COPIES {
        for (there, here) in group.files {
            if let Some(output) = copy(source, group, there, here)? {
                outputs.push(output);
            }
        }
    }
    Ok(outputs)
}

fn copy(source: &mut Source, group: &Copies, there: &str, here: &str) -> Result<Option<Output>, ImportError> {
    let Some(entry) = source.file(group.at, &format!("{}/{there}", group.from)) else { return Ok(None) };
    let Some(bytes) = source.bytes(&entry)? else { return Ok(None) };
    let sources = source.take_read();
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let mut rows = None;
    if there.ends_with(".json") {
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            source.trouble(&entry, Some(error.line() as u64), &error.to_string());
            return Ok(None);
        }
    } else if there.ends_with(".csv") {
        let mut count = 0;
        for record in csv::ReaderBuilder::new().from_reader(text).records() {
            if let Err(error) = record {
                source.trouble(&entry, error.position().map(csv::Position::line), &error.to_string());
                return Ok(None);
            }
            count += 1;
        }
        rows = Some(count);
    }
    Ok(Some(Output { path: format!("{}/{here}", group.to), bytes: text.to_vec(), rows, sources }))
}

const COPIES: &[Copies] = &[
    Copies {
        at: At::Head,
        from: "outputs/reports/gemma3",
        to: "agents/tr108",
        files: &[
            ("gemma3_1b-it-qat_param_tuning.csv", "gemma3_1b_qat_param_tuning.csv"),
            ("gemma3_param_tuning.csv", "gemma3_latest_param_tuning.csv"),
        ],
    },
    Copies {
        at: At::Head,
        from: "experiments/TR117/configs",
        to: "backends/tr117",
        files: &[
            ("matrix.yaml", "matrix.yaml"),
            ("matrix_tier3.yaml", "matrix_tier3.yaml"),
            ("matrix_tier3_full.yaml", "matrix_tier3_full.yaml"),
            ("smoke_trt_ort.yaml", "smoke_trt_ort.yaml"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_compile_paradox/processed",
        to: "backends/tr117",
        files: &[
            ("cold_start_by_file.csv", "tr120_derived_cold_start_by_file.csv"),
            (
                "cold_start_effect_by_scenario_backend.csv",
                "tr120_derived_cold_start_effect_by_scenario_backend.csv",
            ),
            ("cold_start_effect_overall.csv", "tr120_derived_cold_start_effect_overall.csv"),
            ("summary.json", "tr120_derived_summary.json"),
            ("summary_by_quantization.csv", "tr120_derived_summary_by_quantization.csv"),
            ("summary_by_scenario_quantization.csv", "tr120_derived_summary_by_scenario_quantization.csv"),
            ("summary_overall.csv", "tr120_derived_summary_overall.csv"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR118/results/tr118v2/20251213_135135_deep/gpt2/processed",
        to: "backends/tr118",
        files: &[
            ("latency_summary_generate.csv", "latency_summary_gpt2_generate.csv"),
            ("latency_summary_prefill.csv", "latency_summary_gpt2_prefill.csv"),
            ("statistical_analysis_generate.json", "statistical_analysis_gpt2_generate.json"),
            ("statistical_analysis_prefill.json", "statistical_analysis_gpt2_prefill.json"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR118/results/tr118v2/20251213_135135_deep/tiny-gpt2/processed",
        to: "backends/tr118",
        files: &[
            ("latency_summary_generate.csv", "latency_summary_tiny-gpt2_generate.csv"),
            ("latency_summary_prefill.csv", "latency_summary_tiny-gpt2_prefill.csv"),
            ("statistical_analysis_generate.json", "statistical_analysis_tiny-gpt2_generate.json"),
            ("statistical_analysis_prefill.json", "statistical_analysis_tiny-gpt2_prefill.json"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR118/results/tr118v2_audit",
        to: "backends/tr118/audit",
        files: &[
            ("amortization_check.json", "amortization_check.json"),
            ("crossover_fit.json", "crossover_fit.json"),
            ("run_counts.json", "run_counts.json"),
            ("tiny_model_check.json", "tiny_model_check.json"),
            ("trt_failures.json", "trt_failures.json"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR118/configs",
        to: "backends/tr118/configs",
        files: &[
            ("baseline.yaml", "baseline.yaml"),
            ("dynamic_shapes.yaml", "dynamic_shapes.yaml"),
            ("matrix_postdoc.yaml", "matrix_postdoc.yaml"),
            ("smoke.yaml", "smoke.yaml"),
            ("sweep_base.yaml", "sweep_base.yaml"),
            ("tensorrt_fp16.yaml", "tensorrt_fp16.yaml"),
            ("tensorrt_fp32.yaml", "tensorrt_fp32.yaml"),
            ("tensorrt_int8.yaml", "tensorrt_int8.yaml"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR118/results/tr118v2/20251213_135135_deep/gpt2/processed",
        to: "backends/tr118/configs",
        files: &[("config_used_1765652089.yaml", "config_used_gpt2_deep.yaml")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR118/configs/variants",
        to: "backends/tr118/configs",
        files: &[
            ("builder_opt_1.yaml", "variant_builder_opt_1.yaml"),
            ("builder_opt_3.yaml", "variant_builder_opt_3.yaml"),
            ("builder_opt_5.yaml", "variant_builder_opt_5.yaml"),
            ("static_shapes.yaml", "variant_static_shapes.yaml"),
            ("workspace_2gb.yaml", "variant_workspace_2gb.yaml"),
            ("workspace_4gb.yaml", "variant_workspace_4gb.yaml"),
            ("workspace_6gb.yaml", "variant_workspace_6gb.yaml"),
            ("workspace_8gb.yaml", "variant_workspace_8gb.yaml"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_191009",
        to: "backends/tr120",
        files: &[
            ("compiler_evidence.json", "compiler_evidence.json"),
            ("manifest.json", "manifest_20251221_191009.json"),
        ],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_173112/e2e_kv",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_173112_e2e_kv.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_173112/kv_decode",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_173112_kv_decode.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_173112/prefill",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_173112_prefill.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_181045/prefill",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_181045_prefill.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_182658/e2e_kv",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_182658_e2e_kv.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_182658/kv_decode",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_182658_kv_decode.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_182658/prefill",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_182658_prefill.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_184201/e2e_kv",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_184201_e2e_kv.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_184201/kv_decode",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_184201_kv_decode.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_184201/prefill",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_184201_prefill.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_191009/prefill",
        to: "backends/tr120",
        files: &[("dynamo_counters.json", "dynamo_20251221_191009_prefill.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_173112",
        to: "backends/tr120",
        files: &[("manifest.json", "manifest_20251221_173112.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_181045",
        to: "backends/tr120",
        files: &[("manifest.json", "manifest_20251221_181045.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_182658",
        to: "backends/tr120",
        files: &[("manifest.json", "manifest_20251221_182658.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/results/tr120_root_cause_triton/20251221_184201",
        to: "backends/tr120",
        files: &[("manifest.json", "manifest_20251221_184201.json")],
    },
    Copies {
        at: At::December,
        from: "experiments/TR120/configs",
        to: "backends/tr120",
        files: &[
            ("root_cause.yaml", "root_cause.yaml"),
            ("root_cause_dynamic.yaml", "root_cause_dynamic.yaml"),
            ("root_cause_dynamic_kv.yaml", "root_cause_dynamic_kv.yaml"),
            ("root_cause_padded.yaml", "root_cause_padded.yaml"),
            ("root_cause_padded_kv.yaml", "root_cause_padded_kv.yaml"),
            ("root_cause_prefill_only.yaml", "root_cause_prefill_only.yaml"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/TR119/configs",
        to: "cost_scaling/tr119/configs",
        files: &[
            ("baseline.yaml", "baseline.yaml"),
            ("matrix.yaml", "matrix.yaml"),
            ("smoke.yaml", "smoke.yaml"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/TR119/configs/variants",
        to: "cost_scaling/tr119/configs",
        files: &[
            ("energy_high_carbon.yaml", "energy_high_carbon.yaml"),
            ("energy_renewable.yaml", "energy_renewable.yaml"),
            ("pricing_tier1.yaml", "pricing_tier1.yaml"),
            ("pricing_tier2.yaml", "pricing_tier2.yaml"),
            ("pricing_tier3.yaml", "pricing_tier3.yaml"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/TR119/results/tr119_matrix/processed",
        to: "cost_scaling/tr119/configs",
        files: &[("config_used_1766283446.yaml", "matrix_used.yaml")],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/TR117/configs",
        to: "cost_scaling/tr119/configs",
        files: &[("matrix_tier3.yaml", "prompts_tr117_matrix_tier3.yaml")],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/TR119/results/tr119_matrix/processed",
        to: "cost_scaling/tr119/published",
        files: &[
            ("cost_energy_analysis.json", "cost_energy_analysis.json"),
            ("cost_energy_summary.json", "cost_energy_summary.json"),
            ("cost_energy_validation.json", "cost_energy_validation.json"),
            ("experiment_manifest_1766283446.json", "experiment_manifest_1766283446.json"),
            ("experiment_manifest_1766283570.json", "experiment_manifest_1766283570.json"),
            ("export_metadata_1766283570.json", "export_metadata_1766283570.json"),
            ("latency_summary_cost.csv", "latency_summary_cost.csv"),
            ("statistical_analysis.json", "statistical_analysis.json"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/configs",
        to: "cost_scaling/tr121/configs",
        files: &[
            ("boundary_shift_batch8.yaml", "boundary_shift_batch8.yaml"),
            ("boundary_shift_gen512.yaml", "boundary_shift_gen512.yaml"),
            ("decode_sweep.yaml", "decode_sweep.yaml"),
            ("gemma_family.yaml", "gemma_family.yaml"),
            ("scaling.yaml", "scaling.yaml"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/results/20251224_002149",
        to: "cost_scaling/tr121/primary_20251224_002149",
        files: &[
            ("hf_load_ms.csv", "hf_load_ms.csv"),
            ("manifest.json", "manifest.json"),
            ("resolved_model_params.csv", "resolved_model_params.csv"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/results/20251224_002149/analysis",
        to: "cost_scaling/tr121/published_analysis",
        files: &[
            ("cuda_event_gap_summary.csv", "cuda_event_gap_summary.csv"),
            ("hf_architecture_correlations.csv", "hf_architecture_correlations.csv"),
            ("hf_model_architecture.csv", "hf_model_architecture.csv"),
            ("hf_multivariate_fits.csv", "hf_multivariate_fits.csv"),
            ("ollama_decode_linearity.csv", "ollama_decode_linearity.csv"),
            ("ollama_decode_projection_error.csv", "ollama_decode_projection_error.csv"),
            ("ollama_early_stop_summary.csv", "ollama_early_stop_summary.csv"),
            ("ollama_warmup_breakdown.csv", "ollama_warmup_breakdown.csv"),
            ("overhead_compute_fits.csv", "overhead_compute_fits.csv"),
            ("scaling_fits.csv", "scaling_fits.csv"),
            ("scaling_fits_length_limited.csv", "scaling_fits_length_limited.csv"),
            ("summary_by_model_backend_mode.csv", "summary_by_model_backend_mode.csv"),
            ("summary_by_model_backend_mode_agg.csv", "summary_by_model_backend_mode_agg.csv"),
            ("warmup_effect.csv", "warmup_effect.csv"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/results/tr121_decode_sweep/20251224_002955",
        to: "cost_scaling/tr121/published_analysis",
        files: &[
            ("decode_fraction_by_model.csv", "decode_fraction_by_model.csv"),
            ("decode_fraction_summary.csv", "decode_fraction_summary.csv"),
            ("decode_sweep_summary.csv", "decode_sweep_summary.csv"),
        ],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/results/20251224_002740/analysis",
        to: "cost_scaling/tr121/published_analysis",
        files: &[("scaling_fits.csv", "scaling_fits__20251224_002740.csv")],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/results/20251224_002857/analysis",
        to: "cost_scaling/tr121/published_analysis",
        files: &[("scaling_fits.csv", "scaling_fits__20251224_002857.csv")],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/tr121/results/20251224_004400/analysis",
        to: "cost_scaling/tr121/published_analysis",
        files: &[("scaling_fits.csv", "scaling_fits__20251224_004400.csv")],
    },
    Copies {
        at: At::Bulky,
        from: "experiments/research/tr122/configs",
        to: "cost_scaling/tr122",
        files: &[("physics.yaml", "physics.yaml")],
    },
];
