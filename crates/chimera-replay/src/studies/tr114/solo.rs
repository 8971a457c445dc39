//! One agent alone on the day of the dual runs, from TR111's table of calls: the denominator of a speed-up.

use std::collections::BTreeMap;

use chimera_stats::{Estimate, StatsError};

use super::super::shared::{of_sums, run_number};
use crate::{Artifacts, ReplayError};

pub(super) const SOLO: &str = "agents/tr111/rust_agent_calls.csv";

/// Runs of one agent at the server's defaults, the first of each directory left out: it loads the model.
#[derive(Default)]
pub(super) struct Solo {
    /// Tokens of each run without a failed call.
    tokens: Vec<f64>,
    /// Their wall times.
    seconds: Vec<f64>,
    /// Their decoding as the server reports it.
    decoding: Vec<f64>,
    /// Tokens over wall time of every run, failed ones too.
    pub(super) all_rates: Vec<f64>,
    /// Runs with a failed call.
    pub(super) failed: usize,
}

#[derive(Default)]
struct Run {
    stages: Vec<String>,
    tokens: f64,
    decoding: f64,
    seconds: Option<f64>,
    failed: bool,
}

impl Solo {
    /// Sum of tokens over sum of wall times.
    pub(super) fn rate(&self) -> Result<Estimate, StatsError> {
        of_sums(&self.tokens, &self.seconds, "run")
    }

    /// Sum of tokens over sum of decoding.
    pub(super) fn decode_rate(&self) -> Result<Estimate, StatsError> {
        of_sums(&self.tokens, &self.decoding, "run")
    }

    /// Rates of the sound runs.
    pub(super) fn rates(&self) -> Vec<f64> {
        self.tokens.iter().zip(&self.seconds).map(|(tokens, seconds)| tokens / seconds).collect()
    }
}

pub(super) fn read(data: &Artifacts) -> Result<Solo, ReplayError> {
    let columns =
        ["config", "arm", "run", "stage", "tokens_generated", "eval_duration_ms", "wf_total_seconds"];
    let table = data.table(SOLO, &columns)?;
    let mut runs: BTreeMap<(String, u32), Run> = BTreeMap::new();
    for row in table.rows() {
        let number = run_number(&row)?;
        if row.text("arm")? != "baseline" || number < 2 {
            continue;
        }
        let (config, stage) = (row.text("config")?, row.text("stage")?);
        let run = runs.entry((config.to_owned(), number)).or_default();
        if run.stages.iter().any(|known| known == stage) {
            return Err(
                row.malformed(format!("the stage `{stage}` of run {number} of `{config}` comes twice"))
            );
        }
        run.stages.push(stage.to_owned());
        let tokens = row.maybe("tokens_generated")?.unwrap_or(0.0);
        run.failed |= tokens <= 0.0;
        run.tokens += tokens;
        run.decoding += row.maybe("eval_duration_ms")?.unwrap_or(0.0) / 1e3;
        run.seconds = row.maybe("wf_total_seconds")?;
    }
    let mut solo = Solo::default();
    for run in runs.into_values() {
        let Some(seconds) = run.seconds else {
            solo.failed += 1;
            continue;
        };
        solo.all_rates.push(run.tokens / seconds);
        if run.failed {
            solo.failed += 1;
        } else {
            solo.tokens.push(run.tokens);
            solo.seconds.push(seconds);
            solo.decoding.push(run.decoding);
        }
    }
    if solo.tokens.is_empty() {
        return Err(table.wrong("no run of one agent at the server's defaults after its first"));
    }
    Ok(solo)
}
