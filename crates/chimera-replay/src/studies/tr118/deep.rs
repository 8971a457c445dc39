//! What the two deep runs of the second and third version say beyond their tables: failures, engines, who survived, when a
//! build has paid for itself, and the crossings through two and three models.

use super::{
    DEEP_GPT2, DEEP_TINY, ELEVEN, Read, TRT, audit,
    crossover::{self, MILLIONS},
    data::{self, BASELINE, CPU, Run},
    legacy,
    tables::Part,
};
use crate::{Artifacts, ReplayError, Values};

/// Build time that the break-even was published with, in seconds.
const PUBLISHED_BUILD: f64 = 240.0;

/// Failures, builds, survivors and the break-even of the two deep runs.
pub(super) fn audits(
    values: &mut Values,
    read: &Read,
    parts: &[Part<'_>],
    artifacts: &Artifacts,
) -> Result<(), ReplayError> {
    let deep: Vec<&Run> =
        parts.iter().filter(|(label, _)| [DEEP_TINY.0, DEEP_GPT2.0].contains(label)).map(|p| p.1).collect();
    if deep.is_empty() {
        values.lacks("failures.deep.total", "the runs are not in these data");
    } else {
        audit::failures(values, "deep", &deep);
    }
    audit::builds(values, "gpt2", "135135_deep/gpt2/", &read.engines, artifacts)?;
    audit::builds(values, "tiny", "135135_deep/tiny-gpt2/", &read.engines, artifacts)?;
    let prefill = parts.iter().find(|(label, run)| *label == DEEP_GPT2.0 && run.mode == "prefill");
    let Some((label, run)) = prefill else {
        values.lacks("break_even.measured_build", "the run is not in these data");
        return Ok(());
    };
    audit::survivors(values, label, run, &TRT);
    let rate = |values: &Values, backend: &str, prefix: &str, end: &str| {
        values.point(&format!("{prefix}.gpt2.prefill.{backend}{end}"))
    };
    let build = values.point("build.gpt2.int8.time");
    let rates = [BASELINE, "tensorrt-int8"].map(|b| rate(values, b, "legacy", ".throughput"));
    if let [Some(slow), Some(fast)] = rates {
        values.put("legacy.break_even.tokens", "tokens", audit::break_even(PUBLISHED_BUILD, slow, fast));
        let recover = PUBLISHED_BUILD * slow / (fast - slow);
        values.put("legacy.break_even.recover_time", "s", recover);
        values.put("legacy.break_even.recover_tokens", "tokens", recover * slow);
        match build {
            Some(build) => {
                values.put(
                    "legacy.break_even.measured_build",
                    "tokens",
                    audit::break_even(build, slow, fast),
                );
            }
            None => values.lacks("legacy.break_even.measured_build", "no build time was recorded"),
        }
    }
    let ours = [BASELINE, "tensorrt-int8"].map(|b| rate(values, b, "throughput", ""));
    match (build, ours) {
        (Some(build), [Some(slow), Some(fast)]) if fast > slow => {
            values.put("break_even.measured_build", "tokens", audit::break_even(build, slow, fast));
        }
        _ => values.lacks("break_even.measured_build", "no build time, or the engine is not faster"),
    }
    for backend in [CPU, "onnxruntime-gpu", "tensorrt-fp32", "tensorrt-fp16", "tensorrt-int8", BASELINE] {
        let [small, large] = ["tiny", "gpt2"]
            .map(|label| values.point(&format!("legacy.{label}.prefill.{backend}.throughput")));
        if let (Some(small), Some(large)) = (small, large) {
            values.put(format!("legacy.scaling.{backend}"), "", large / small);
        }
    }
    if let [Some(small), Some(large)] =
        ["tiny", "gpt2"].map(|l| values.point(&format!("legacy.{l}.prefill.tensorrt-int8.speedup")))
    {
        values.put("legacy.int8.speedup_growth", "", large / small);
    }
    if let [Some(int8), Some(gpu)] =
        ["tensorrt-int8", "onnxruntime-gpu"].map(|b| rate(values, b, "legacy", ".throughput"))
    {
        values.put("legacy.gpt2.int8_over_onnx_gpu", "", int8 / gpu);
    }
    // The two reduced precisions against each other, pooled as published.
    let pool =
        |backend: &str, value: fn(&data::Record) -> f64| run.ok(backend).map(value).collect::<Vec<f64>>();
    for (quantity, _, value) in legacy::MEASURES {
        let [half, int8] = [pool(TRT[1], value), pool(TRT[2], value)];
        if !half.is_empty() && !int8.is_empty() {
            legacy::compared(values, &format!("legacy.gpt2.fp16_against_int8.{quantity}"), &half, &int8)?;
        }
    }
    if let [Some(int8), Some(half)] =
        ["tensorrt-int8", "tensorrt-fp16"].map(|b| rate(values, b, "legacy", ".throughput"))
    {
        values.put("legacy.gpt2.int8_over_fp16", "", int8 / half);
    }
    Ok(())
}

/// Crossings through two and three models, as the second version drew them.
pub(super) fn few_points(values: &mut Values, parts: &[Part<'_>]) {
    let advantage = |label: &str| {
        let (_, run) = parts.iter().find(|(own, run)| *own == label && run.mode == "prefill")?;
        Some((run.parameters, crossover::Aggregate::MeanRate.advantage(run)?))
    };
    let [tiny, eleven, gpt2] = [DEEP_TINY.0, ELEVEN.0, DEEP_GPT2.0].map(advantage);
    match (tiny, gpt2) {
        (Some(small), Some(large)) => {
            let two = crossover::fit(&[small, large]);
            values.put("legacy.two_points.k", "", two.map_or(f64::NAN, |fit| fit.exponent));
            values.put("legacy.two_points.at", MILLIONS, two.map_or(f64::NAN, |fit| fit.at / 1e6));
            // The printed formula, with the numbers printed in it.
            values.put("legacy.two_points.as_printed", MILLIONS, 0.103 * 21.9_f64.powf(1.0 / 0.44));
        }
        _ => values.lacks("legacy.two_points.at", "a model is not in these data"),
    }
    match (tiny, eleven, gpt2) {
        (Some(a), Some(b), Some(c)) => {
            let three = crossover::fit(&[a, b, c]);
            values.put("legacy.three_points.k", "", three.map_or(f64::NAN, |fit| fit.exponent));
            values.put("legacy.three_points.at", MILLIONS, three.map_or(f64::NAN, |fit| fit.at / 1e6));
        }
        _ => values.lacks("legacy.three_points.at", "a model is not in these data"),
    }
}
