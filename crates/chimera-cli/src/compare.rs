//! `chimera compare`, `chimera power` and `chimera aa`: what two runs say against each other, how large the next must
//! be, and how often this machine cries wolf. The statistics are in `chimera-studies`; here are arguments, files and
//! exit codes.

use std::path::{Path, PathBuf};

use chimera_records::Metric;
use chimera_studies::{
    RunData, aa,
    compare::{self, Aspect, Factor, Only, Outcome},
    planner,
};
use serde::Serialize;

use crate::out::{say, say_text};
use crate::{
    exit::{FILES, USAGE, WithExit},
    stages,
};

/// The data support a regression; or the machine failed its own A/A test.
pub const REGRESSION: u8 = 1;
/// The data cannot tell (`--strict`).
pub const UNDECIDED: u8 = 2;
/// The runs differ in more than what is under test.
pub const NOT_COMPARABLE: u8 = 3;

/// Arguments of `compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompareArgs {
    /// The run that stands for before.
    pub run_a: PathBuf,
    /// The run that stands for after.
    pub run_b: PathBuf,
    /// Metrics [default: prefill or time to first token, time per output token, end to end].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = metric)]
    pub metric: Vec<Metric>,
    /// Change that counts as none.
    #[arg(long, default_value = "3%", value_parser = share)]
    pub margin: f64,
    /// Factors that tell cells apart; the others are taken together.
    #[arg(
        long,
        value_name = "FACTOR",
        value_delimiter = ',',
        default_value = "backend,model,scenario,gen,batch,concurrency,threads"
    )]
    pub by: Vec<Factor>,
    /// What is under test and may therefore differ: model-digest, prompts, sampling, warmup, backend-version, build, host,
    /// system, governor.
    #[arg(long, value_name = "ASPECT", value_delimiter = ',')]
    pub vary: Vec<Aspect>,
    /// Only these cells of RUN_A: backend=candle for instance.
    #[arg(long, value_name = "FACTOR=LEVEL", value_delimiter = ',')]
    pub a: Vec<Only>,
    /// Only these cells of RUN_B.
    #[arg(long, value_name = "FACTOR=LEVEL", value_delimiter = ',')]
    pub b: Vec<Only>,
    /// End with 2 when any row is undecided.
    #[arg(long)]
    pub strict: bool,
    /// As JSON instead of Markdown.
    #[arg(long)]
    pub json: bool,
    /// Write the full report into this folder.
    #[arg(long, value_name = "DIR")]
    pub html: Option<PathBuf>,
}

/// Arguments of `power`.
#[derive(Debug, Clone, clap::Args)]
pub struct PowerArgs {
    /// Run whose noise is planned with.
    #[arg(long, value_name = "RUN")]
    pub from: PathBuf,
    /// Change that is to be found.
    #[arg(long, value_parser = share)]
    pub effect: f64,
    /// Probability with which it is to be found.
    #[arg(long, default_value = "0.9", value_parser = share)]
    pub power: f64,
    /// Metrics [default: those of compare].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = metric)]
    pub metric: Vec<Metric>,
    /// As JSON instead of Markdown.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `aa`.
#[derive(Debug, Clone, clap::Args)]
pub struct AaArgs {
    /// A run with six blocks or more; further runs of the same design are held against it and each other.
    #[arg(required = true)]
    pub run: Vec<PathBuf>,
    /// Metrics [default: those of compare].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = metric)]
    pub metric: Vec<Metric>,
    /// As JSON instead of Markdown.
    #[arg(long)]
    pub json: bool,
}

fn metric(text: &str) -> Result<Metric, String> {
    Metric::by_name(text).ok_or_else(|| {
        let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        format!("`{text}` is no metric; there are: {}", names.join(", "))
    })
}

/// `3%`, `3 %` or `0.03`.
fn share(text: &str) -> Result<f64, String> {
    let trimmed = text.trim();
    let (number, scale) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), 0.01),
        None => (trimmed, 1.0),
    };
    let value: f64 = number.parse().map_err(|_| format!("`{text}` is no share: write 3% or 0.03"))?;
    if value.is_finite() && value > 0.0 {
        Ok(value * scale)
    } else {
        Err(format!("`{text}` is not above zero"))
    }
}

/// Compares two runs.
///
/// # Errors
/// Runs that cannot be read, or a question that makes no sense.
pub fn compare(args: &CompareArgs) -> anyhow::Result<u8> {
    let (a, b) = (stages::read(&args.run_a)?, stages::read(&args.run_b)?);
    let options = compare::Options {
        metrics: args.metric.clone(),
        margin: args.margin,
        by: args.by.clone(),
        allowed: args.vary.clone(),
        only_a: args.a.clone(),
        only_b: args.b.clone(),
    };
    let comparison = compare::compare(&a, &b, &options).exit(USAGE)?;
    print(args.json, &comparison, || compare::markdown(&comparison))?;
    if let Some(folder) = &args.html {
        let findings = compare::findings(&comparison).exit(FILES)?;
        chimera_report::write_all(&findings, folder).exit(FILES)?;
        eprintln!("report: {}", folder.join("report.html").display());
    }
    for obstacle in comparison.obstacles() {
        eprintln!("not comparable: {obstacle} (if this is what you test: --vary {})", obstacle.aspect);
    }
    Ok(match comparison.outcome {
        Outcome::NotComparable => NOT_COMPARABLE,
        Outcome::Regression => REGRESSION,
        Outcome::NoRegression if args.strict && comparison.undecided > 0 => UNDECIDED,
        Outcome::NoRegression => 0,
    })
}

/// Plans the next comparison.
///
/// # Errors
/// A run that cannot be read, or that holds too little.
pub fn power(args: &PowerArgs) -> anyhow::Result<u8> {
    let run = stages::read(&args.from)?;
    let question = planner::Question { effect: args.effect, power: args.power, metrics: args.metric.clone() };
    let plan = planner::plan(&run, &question).exit(USAGE)?;
    print(args.json, &plan, || planner::markdown(&plan))?;
    Ok(0)
}

/// Measures the false-positive rate.
///
/// # Errors
/// Runs that cannot be read, or that hold too little.
pub fn aa(args: &AaArgs) -> anyhow::Result<u8> {
    let read = |path: &PathBuf| stages::read(Path::new(path));
    let runs: Vec<RunData> = args.run.iter().map(read).collect::<anyhow::Result<_>>()?;
    let rates = aa::aa(&runs, &args.metric).exit(USAGE)?;
    print(args.json, &rates, || aa::markdown(&rates))?;
    Ok(if rates.failed() { REGRESSION } else { 0 })
}

fn print<T: Serialize>(json: bool, value: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    if json {
        say!("{}", serde_json::to_string_pretty(value).exit(FILES)?);
    } else {
        say_text!("{}", text());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_with_and_without_a_sign() {
        for text in ["3%", "3 %", "0.03"] {
            assert!((share(text).expect("a share") - 0.03).abs() < 1e-15, "{text}");
        }
        for text in ["", "%", "-3%", "0", "nan", "inf", "three"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
