//! The runs of two agents, of both languages, in one form.

use std::collections::BTreeSet;

use chimera_stats::rank;

use super::{
    super::{
        family::{Family, put},
        shared::{difference, plain_mean, run_number},
        tr114::pairs::{self, Agent, Layout, Pair, those},
    },
    ADVANTAGE, CEILING, LANGUAGES, MODELS, SCENARIOS, model, warm,
};
use crate::{Artifacts, Call, LEVEL, ReplayError, Row, Values, call};

pub(super) const RUST: Layout = Layout {
    path: "agents/tr116/rust_multi_runs.csv",
    arm: "model",
    config: &["config", "scenario"],
    calls: &[1, 2],
};
pub(super) const PYTHON: &str = "agents/tr116/python_multi_runs.csv";

/// Runs of the Rust agents; the arm is the model's short name.
pub(super) fn rust(data: &Artifacts) -> Result<Vec<Pair>, ReplayError> {
    let mut runs = pairs::read(data, &RUST)?;
    for run in &mut runs {
        let short = model(&run.arm).ok_or_else(|| ReplayError::Content {
            path: RUST.path.into(),
            reason: format!("`{}` is no model of this report", run.arm),
        })?;
        short.clone_into(&mut run.arm);
    }
    Ok(runs)
}

/// Runs of the Python agents, one call each.
pub(super) fn python(data: &Artifacts, values: &mut Values) -> Result<Vec<Pair>, ReplayError> {
    let columns = [
        "model_dir",
        "config",
        "scenario",
        "run",
        "b_num_ctx",
        "concurrent_wall_time_ms",
        "concurrency_speedup",
        "efficiency_percent",
        "throughput_delta",
        "ttft_delta_ms",
    ];
    let table = data.table(PYTHON, &columns)?;
    let mut seen = BTreeSet::new();
    let mut runs = Vec::with_capacity(table.len());
    let mut mislabelled = 0;
    for (id, row) in (0_u32..).zip(table.rows()) {
        let name = row.text("model_dir")?;
        let short =
            model(name).ok_or_else(|| row.malformed(format!("`{name}` is no model of this report")))?;
        let (config, scenario, run) = (row.text("config")?, row.text("scenario")?, run_number(&row)?);
        if !seen.insert((short, config, scenario, run)) {
            return Err(row.malformed(format!("run {run} of `{short}` `{config}` comes twice")));
        }
        let context = row.maybe("b_num_ctx")?;
        mislabelled +=
            usize::from(context.is_some_and(|context| !config.contains(&format!("ctx{context}_"))));
        let speedup = row.maybe("concurrency_speedup")?;
        runs.push(Pair {
            arm: short.to_owned(),
            config: config.to_owned(),
            scenario: scenario.to_owned(),
            run,
            agents: [agent(&row, 2 * id, run, "a")?, agent(&row, 2 * id + 1, run, "b")?],
            wall_s: row.maybe("concurrent_wall_time_ms")?.map(|ms| ms / 1e3),
            index: row.maybe("efficiency_percent")?,
            speedup,
            rate_delta: row.maybe("throughput_delta")?,
            ttft_delta: row.maybe("ttft_delta_ms")?,
            contention: speedup.is_some_and(|speedup| speedup < 1.5),
            files: None,
            stamp: String::new(),
        });
    }
    if runs.is_empty() {
        return Err(table.wrong("no run"));
    }
    values.put("runs.python.context_mislabelled", "", mislabelled as f64);
    Ok(runs)
}

fn agent(row: &Row<'_>, id: u32, run: u32, who: &str) -> Result<Agent, ReplayError> {
    let field = |what: &str| row.maybe(&format!("{who}_{what}"));
    let generated = field("tokens_generated")?;
    let (prefill, both, wall) = (field("ttft_ms")?, field("total_duration_ms")?, field("wall_clock_ms")?);
    let failure = match generated {
        Some(tokens) if tokens > 0.0 => None,
        Some(_) => Some("no token was generated"),
        None => Some("the row has no reply"),
    };
    let trial = call(
        id,
        &Call {
            backend: "ollama",
            scenario: row.text("scenario")?,
            block: run,
            generated,
            // What the table calls TTFT is the server's prompt evaluation, and its total that plus decoding.
            prompt_eval_ms: prefill,
            eval_ms: both.zip(prefill).map(|(both, prefill)| both - prefill),
            total_ms: wall,
            failure,
            ..Call::default()
        },
    );
    Ok(Agent { calls: vec![trial], time_s: wall.map(|ms| ms / 1e3) })
}

/// The published index and its neighbours.
pub(super) fn legacy(values: &mut Values, rust: &[Pair], python: &[Pair]) {
    for (language, runs) in LANGUAGES.into_iter().zip([rust, python]) {
        for (short, ..) in MODELS {
            for (scenario, _) in SCENARIOS {
                let own = those(runs, |run| run.arm == short && run.scenario == scenario);
                let name = format!("legacy.{language}.{short}.{scenario}");
                pairs::moments(values, &name, "%", &pairs::indices(&own));
                let deltas: Vec<f64> = own.iter().filter_map(|run| run.rate_delta).collect();
                values.put(format!("{name}.rate_delta"), "tok/s", plain_mean(&deltas));
            }
            let mean = |scenario: &str| values.point(&format!("legacy.{language}.{short}.{scenario}.mean"));
            let gain = mean("chimera_homo").zip(mean("baseline_vs_chimera")).map(|(a, b)| a - b);
            match gain {
                Some(gain) => values.put(format!("legacy.{language}.{short}.same_options_gain"), "pp", gain),
                None => values
                    .lacks(format!("legacy.{language}.{short}.same_options_gain"), "a scenario has no run"),
            }
        }
        for (scenario, _) in SCENARIOS {
            let own = pairs::indices(&those(runs, |run| run.scenario == scenario));
            values.put(format!("legacy.{language}.{scenario}"), "%", plain_mean(&own));
            let means: Vec<f64> = MODELS
                .iter()
                .filter_map(|(short, ..)| values.point(&format!("legacy.{language}.{short}.{scenario}.mean")))
                .collect();
            let low = means.iter().copied().fold(f64::INFINITY, f64::min);
            let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            values.put(format!("legacy.{language}.{scenario}.model_spread"), "pp", high - low);
        }
        let all = pairs::indices(&those(runs, |_| true));
        pairs::moments(values, &format!("legacy.{language}"), "%", &all);
        let contended = runs.iter().filter(|run| run.contention).count() as f64;
        values.put(format!("legacy.{language}.contention"), "%", 100.0 * contended / runs.len() as f64);
        let first = plain_mean(&pairs::indices(&those(runs, |run| !warm(run))));
        let later = plain_mean(&pairs::indices(&those(runs, warm)));
        values.put(format!("legacy.{language}.first_runs"), "%", first);
        values.put(format!("legacy.{language}.later_runs"), "%", later);
    }
    let over = python.iter().filter(|run| run.index.is_some_and(|index| index > CEILING)).count();
    values.put("legacy.python.above_ceiling", "", over as f64);
    let mean = |language: &str| values.point(&format!("legacy.{language}.mean")).unwrap_or(f64::NAN);
    let gap = mean("rust") - mean("python");
    values.put("legacy.gap", "pp", gap);
    for (short, ..) in MODELS {
        for (scenario, _) in SCENARIOS {
            let of = |language: &str| {
                values.point(&format!("legacy.{language}.{short}.{scenario}.mean")).unwrap_or(f64::NAN)
            };
            let gap = of("rust") - of("python");
            values.put(format!("legacy.gap.{short}.{scenario}"), "pp", gap);
        }
    }
}

/// The index by one formula, over sound runs.
fn again(runs: &[&Pair]) -> Vec<f64> {
    runs.iter().filter_map(|run| run.index_again()).collect()
}

/// Both languages by one formula, and the balance of the outputs.
pub(super) fn ours(values: &mut Values, tests: &mut Family, rust: &[Pair], python: &[Pair]) {
    for (language, runs) in LANGUAGES.into_iter().zip([rust, python]) {
        let all = those(runs, |_| true);
        pairs::counts(values, &format!(".{language}"), &all);
        values.put(format!("index.{language}"), "%", plain_mean(&again(&all)));
        for (short, ..) in MODELS {
            for (scenario, _) in SCENARIOS {
                let own = those(runs, |run| run.arm == short && run.scenario == scenario);
                values.put(format!("index.{language}.{short}.{scenario}"), "%", plain_mean(&again(&own)));
                let tokens: Vec<[f64; 2]> = own.iter().map(|run| run.tokens()).collect();
                for (at, who) in ["a", "b"].into_iter().enumerate() {
                    let own: Vec<f64> = tokens.iter().filter_map(|pair| pair.get(at).copied()).collect();
                    let name = format!("tokens.{language}.{short}.{scenario}.{who}");
                    put(values, name, "tokens", super::super::shared::mean(&own, "run"));
                }
            }
        }
        for (short, ..) in MODELS {
            let own = those(runs, |run| run.arm == short && warm(run));
            let walls: Vec<f64> = own.iter().filter_map(|run| run.wall_s).collect();
            put(values, format!("wall.{language}.{short}"), "s", super::super::shared::mean(&walls, "run"));
        }
        let (index, lengths): (Vec<f64>, Vec<f64>) = all
            .iter()
            .filter_map(|run| Some((run.index_again()?, run.length_ratio())))
            .filter(|(_, ratio)| ratio.is_finite())
            .unzip();
        let rho = rank::spearman(&index, &lengths).and_then(|rho| rho.estimate(LEVEL));
        put(values, format!("balance.spearman_length_ratio.{language}"), "", rho);
    }
    let files: Vec<f64> = rust.iter().filter_map(|run| run.files).collect();
    if files.is_empty() {
        values.lacks("files.rust.multi", "the rows do not say");
    } else {
        values.put("files.rust.multi", "", plain_mean(&files));
    }
    let sound = |runs: &[Pair]| again(&pairs::sound(&those(runs, |_| true)));
    let (a, b) = (sound(rust), sound(python));
    put(values, "gap.one_formula", "pp", difference(&a, &b, "run"));
    let later = |runs: &[Pair]| again(&pairs::sound(&those(runs, warm)));
    let (c, d) = (later(rust), later(python));
    put(values, "gap.one_formula.warm", "pp", difference(&c, &d, "run"));
    // Whether the advantage is the smallest that was claimed.
    let shifted: Vec<f64> = a.iter().map(|index| index - ADVANTAGE).collect();
    tests.add(values, "gap.advantage", pairs::welch(&shifted, &b));
    tests.add(values, "gap.one_formula.warm", pairs::welch(&c, &d));
}
