//! Single agents of the same day: the denominators of the speed-ups, and the two languages at the same options.

use std::collections::BTreeMap;

use chimera_records::{Metric, Trial};
use chimera_stats::{Estimate, Sample, StatsError, hypothesis, hypothesis::Margin};

use super::{
    super::{
        family::{Family, put},
        shared::{of_sums, plain_mean, ratio_of, run_number},
        tr114::{
            pairs::{self, Pair, those},
            put_speedup,
        },
    },
    LANGUAGES, MODELS, model, warm,
};
use crate::{ALPHA, Artifacts, Call, ReplayError, Values, call};

pub(super) const RUST: &str = "agents/tr116/rust_single_calls.csv";
pub(super) const PYTHON: &str = "agents/tr116/python_single_runs.csv";
/// Relative difference of decode rates that counts as none.
pub(super) const MARGIN: f64 = 0.02;
pub(super) const ARMS: [&str; 2] = ["baseline", "chimera"];

/// One run of one agent.
pub(super) struct Run {
    language: &'static str,
    model: &'static str,
    arm: String,
    run: u32,
    /// Stages that were read.
    stages: Vec<String>,
    /// Files taken in.
    files: f64,
    /// Published mean rate of its calls, or of each call.
    rates: Vec<f64>,
    tokens: f64,
    /// Wall time: of the calls in Rust, of the workflow in Python.
    seconds: Option<f64>,
    /// Records of its calls; none in Python, whose rows hold sums.
    calls: Vec<Trial>,
    /// Time to the first token of a Python run, which is prompt evaluation only, in milliseconds.
    prefill_ms: Option<f64>,
    failed: bool,
}

pub(super) fn read(data: &Artifacts) -> Result<Vec<Run>, ReplayError> {
    let mut runs = rust(data)?;
    runs.extend(python(data)?);
    Ok(runs)
}

fn rust(data: &Artifacts) -> Result<Vec<Run>, ReplayError> {
    let columns = [
        "model",
        "config",
        "arm",
        "run",
        "stage",
        "files",
        "eval_duration_ms",
        "load_duration_ms",
        "prompt_eval_duration_ms",
        "throughput_tokens_per_sec",
        "tokens_generated",
        "total_duration_ms",
        "ttft_ms",
    ];
    let table = data.table(RUST, &columns)?;
    let mut runs: BTreeMap<(&str, String, String, u32), Run> = BTreeMap::new();
    for (id, row) in (0_u32..).zip(table.rows()) {
        let name = row.text("model")?;
        let short =
            model(name).ok_or_else(|| row.malformed(format!("`{name}` is no model of this report")))?;
        let (config, arm, number) = (row.text("config")?, row.text("arm")?, run_number(&row)?);
        let stage = row.text("stage")?;
        let tokens = row.maybe("tokens_generated")?.unwrap_or(0.0);
        let failed = tokens <= 0.0;
        let record = call(
            id,
            &Call {
                backend: "ollama",
                model: short,
                scenario: stage,
                block: number,
                generated: Some(tokens),
                load_ms: row.maybe("load_duration_ms")?,
                prompt_eval_ms: row.maybe("prompt_eval_duration_ms")?,
                eval_ms: row.maybe("eval_duration_ms")?,
                ttft_ms: row.maybe("ttft_ms")?,
                total_ms: row.maybe("total_duration_ms")?,
                failure: failed.then_some("no token was generated"),
                ..Call::default()
            },
        );
        let files = row.number("files")?;
        let run = runs.entry((short, config.to_owned(), arm.to_owned(), number)).or_insert_with(|| Run {
            language: "rust",
            model: short,
            arm: arm.to_owned(),
            run: number,
            stages: Vec::new(),
            files,
            rates: Vec::new(),
            tokens: 0.0,
            seconds: Some(0.0),
            calls: Vec::new(),
            prefill_ms: None,
            failed: false,
        });
        if run.stages.iter().any(|known| known == stage) {
            return Err(
                row.malformed(format!("the stage `{stage}` of run {number} of `{config}` comes twice"))
            );
        }
        run.stages.push(stage.to_owned());
        run.failed |= failed;
        if !failed {
            run.rates.extend(row.maybe("throughput_tokens_per_sec")?);
            run.tokens += tokens;
            run.seconds = run.seconds.zip(row.maybe("total_duration_ms")?).map(|(sum, ms)| sum + ms / 1e3);
        }
        run.calls.push(record);
    }
    Ok(runs.into_values().collect())
}

fn python(data: &Artifacts) -> Result<Vec<Run>, ReplayError> {
    let columns = [
        "model",
        "config",
        "arm",
        "run",
        "files",
        "tokens",
        "avg_tok_s",
        "avg_ttft_ms_prompt_eval_only",
        "execution_s",
    ];
    let table = data.table(PYTHON, &columns)?;
    let mut seen = std::collections::BTreeSet::new();
    let mut runs = Vec::with_capacity(table.len());
    for row in table.rows() {
        let name = row.text("model")?;
        let short =
            model(name).ok_or_else(|| row.malformed(format!("`{name}` is no model of this report")))?;
        let (config, arm, run) = (row.text("config")?, row.text("arm")?, run_number(&row)?);
        if !seen.insert((short, config, arm, run)) {
            return Err(row.malformed(format!("run {run} of `{arm}` `{config}` comes twice")));
        }
        let tokens = row.maybe("tokens")?.unwrap_or(0.0);
        let rate = row.maybe("avg_tok_s")?;
        runs.push(Run {
            language: "python",
            model: short,
            arm: arm.to_owned(),
            run,
            stages: Vec::new(),
            files: row.number("files")?,
            failed: tokens <= 0.0 || rate.is_none(),
            rates: rate.into_iter().collect(),
            tokens,
            seconds: row.maybe("execution_s")?,
            calls: Vec::new(),
            prefill_ms: row.maybe("avg_ttft_ms_prompt_eval_only")?,
        });
    }
    Ok(runs)
}

fn of<'r>(runs: &'r [Run], language: &str, short: &str, arm: &str) -> Vec<&'r Run> {
    runs.iter().filter(|run| run.language == language && run.model == short && run.arm == arm).collect()
}

/// Published rates of single agents, and the speed-up by the digest's estimator: mean of runs' rates over Rust's solo rate
/// of both arms, loads included, the call without tokens left out.
pub(super) fn legacy(values: &mut Values, runs: &[Run], rust: &[Pair], python: &[Pair]) {
    for (short, ..) in MODELS {
        for arm in ARMS {
            for language in LANGUAGES {
                let rates: Vec<f64> =
                    of(runs, language, short, arm).iter().flat_map(|run| &run.rates).copied().collect();
                values.put(format!("legacy.single.{language}.{short}.{arm}"), "tok/s", plain_mean(&rates));
            }
            let rate = |language: &str| {
                values.point(&format!("legacy.single.{language}.{short}.{arm}")).unwrap_or(f64::NAN)
            };
            let change = 100.0 * (rate("rust") / rate("python") - 1.0);
            values.put(format!("legacy.single.change.{short}.{arm}"), "%", change);
        }
        let alone: Vec<&Run> =
            runs.iter().filter(|run| run.language == "rust" && run.model == short).collect();
        let tokens: f64 = alone.iter().map(|run| run.tokens).sum();
        let seconds: f64 = alone.iter().filter_map(|run| run.seconds).sum();
        let solo = tokens / seconds;
        values.put(format!("legacy.solo_rate.{short}"), "tok/s", solo);
        for (language, pairs) in [
            ("rust", those(rust, |run| run.arm == short)),
            ("python", those(python, |run| run.arm == short && warm(run))),
        ] {
            let rate = plain_mean(&pairs::rates(&pairs));
            values.put(format!("legacy.rate.{language}.{short}"), "tok/s", rate);
            values.put(format!("legacy.true_speedup.{language}.{short}"), "", rate / solo);
        }
    }
    for language in LANGUAGES {
        let files: Vec<f64> =
            runs.iter().filter(|run| run.language == language).map(|run| run.files).collect();
        values.put(format!("files.{language}.single"), "", plain_mean(&files));
        let failed = runs.iter().filter(|run| run.language == language && run.failed).count();
        values.put(format!("runs.single.failed.{language}"), "", failed as f64);
    }
}

/// Sum of tokens over sum of seconds of warm sound runs of both arms.
fn alone(runs: &[Run], language: &str, short: &str) -> Result<Estimate, StatsError> {
    let (tokens, seconds): (Vec<f64>, Vec<f64>) = runs
        .iter()
        .filter(|run| run.language == language && run.model == short && !run.failed && run.run > 1)
        .filter_map(|run| Some((run.tokens, run.seconds?)))
        .unzip();
    of_sums(&tokens, &seconds, "run")
}

/// Speed-ups over the same language's single agents, the languages at the same options, and times to the first token.
pub(super) fn ours(values: &mut Values, tests: &mut Family, runs: &[Run], rust: &[Pair], python: &[Pair]) {
    for (short, ..) in MODELS {
        for (language, pairs) in LANGUAGES.into_iter().zip([rust, python]) {
            let own = pairs::sound(&those(pairs, |run| run.arm == short && warm(run)));
            let (together, solo) = (pairs::aggregate(&own), alone(runs, language, short));
            put_speedup(values, &format!(".{language}.{short}"), &together, &solo);
            put(values, format!("rate.concurrent.{language}.{short}"), "tok/s", together);
            put(values, format!("rate.solo.{language}.{short}"), "tok/s", solo);
        }
        for arm in ARMS {
            let rates = |language: &str| -> Vec<f64> {
                of(runs, language, short, arm)
                    .iter()
                    .filter(|run| !run.failed && !run.rates.is_empty())
                    .map(|run| plain_mean(&run.rates))
                    .collect()
            };
            let (a, b) = (rates("rust"), rates("python"));
            let name = format!("single.ratio.{arm}.{short}");
            put(values, &name, "", ratio_of(&a, &b, "run"));
            tests.add(values, &name, pairs::rates_differ(&a, &b));
            let equivalence = format!("single.equivalence_p.{arm}.{short}");
            let p = Sample::new(&a, "run")
                .and_then(|a| {
                    hypothesis::equivalent_ratio(a, Sample::new(&b, "run")?, Margin::ratio(MARGIN), ALPHA)
                })
                .map_err(|why| why.to_string())
                .and_then(|same| same.p().map_err(|why| why.to_string()));
            match p {
                Ok(p) => values.put(equivalence, "", p),
                Err(why) => values.lacks(equivalence, why),
            }
        }
        ttft(values, runs, short);
    }
}

/// Three meanings of the time to the first token of the same warm Rust calls, and Python's.
fn ttft(values: &mut Values, runs: &[Run], short: &str) {
    let calls: Vec<&Trial> = runs
        .iter()
        .filter(|run| run.language == "rust" && run.model == short && run.run > 1 && !run.failed)
        .flat_map(|run| &run.calls)
        .collect();
    for (name, metric) in [
        ("ttft.client", Metric::TtftClient),
        ("ttft.server", Metric::TtftServer),
        ("prefill.server", Metric::PrefillServer),
    ] {
        let seconds: Vec<f64> = calls.iter().filter_map(|call| metric.of(call)).collect();
        let median = Sample::new(&seconds, "call").map(|sample| sample.median());
        match median {
            Ok(median) => values.put(format!("{name}.rust.{short}"), "s", median),
            Err(why) => values.lacks(format!("{name}.rust.{short}"), why.to_string()),
        }
    }
    let theirs: Vec<f64> = runs
        .iter()
        .filter(|run| run.language == "python" && run.model == short && run.run > 1 && !run.failed)
        .filter_map(|run| run.prefill_ms.map(|ms| ms / 1e3))
        .collect();
    match Sample::new(&theirs, "run").map(|sample| sample.median()) {
        Ok(median) => values.put(format!("prefill.server.python.{short}"), "s", median),
        Err(why) => values.lacks(format!("prefill.server.python.{short}"), why.to_string()),
    }
}
