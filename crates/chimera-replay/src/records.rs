//! Rows of published tables as the records that live runs write, so that a call's metrics come from the one place that
//! defines them ([`chimera_records::Metric`]). Durations that a server reported stay as reported.

use chimera_core::{ClockSource, Phase, PhaseTiming};
use chimera_records::{Factors, Lane, Outcome, Trial, TrialRole};

/// What a published row says of one call to a model. Absent means that the row does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call<'a> {
    /// Backend, as the report calls it.
    pub backend: &'a str,
    /// Model.
    pub model: &'a str,
    /// Scenario, arm or stage.
    pub scenario: &'a str,
    /// Block: what the report repeated (run, process, repetition).
    pub block: u32,
    /// Prompt tokens.
    pub prompt_tokens: Option<f64>,
    /// Generated tokens.
    pub generated: Option<f64>,
    /// Model load as the server reports it, in milliseconds.
    pub load_ms: Option<f64>,
    /// Prompt evaluation as the server reports it, in milliseconds.
    pub prompt_eval_ms: Option<f64>,
    /// Decode as the server reports it, in milliseconds.
    pub eval_ms: Option<f64>,
    /// First token, stamped by the client, in milliseconds after sending.
    pub ttft_ms: Option<f64>,
    /// Last token, stamped by the client, in milliseconds after sending.
    pub total_ms: Option<f64>,
    /// Why it failed, when it did; a failed call carries no latency.
    pub failure: Option<&'a str>,
}

/// The record of a call.
#[must_use]
pub fn call(id: u32, call: &Call<'_>) -> Trial {
    let nanos = |ms: f64| (ms * 1e6).round() as u64;
    let count = |tokens: f64| tokens.round() as u32;
    let timing = |phase, ms: Option<f64>| {
        ms.map(|ms| PhaseTiming { phase, nanos: nanos(ms), source: ClockSource::Server })
    };
    let timings = [
        timing(Phase::Load, call.load_ms),
        timing(Phase::Prefill, call.prompt_eval_ms),
        timing(Phase::Decode, call.eval_ms),
    ];
    let lane = Lane {
        prompt_tokens: call.prompt_tokens.map(count),
        generated: call.generated.map(count),
        sent: Some(0),
        first_token: call.ttft_ms.map(nanos),
        last_token: call.total_ms.map(nanos),
        done: call.total_ms.map(nanos),
        timings: timings.into_iter().flatten().collect(),
        ..Lane::default()
    };
    let outcome = match call.failure {
        None => Outcome::Completed,
        Some(reason) => Outcome::Failed { code: "published-failure".to_owned(), reason: reason.to_owned() },
    };
    Trial {
        id,
        block: call.block,
        position: id,
        attempt: 1,
        role: TrialRole::Measured,
        factors: Factors {
            backend: call.backend.into(),
            model: call.model.into(),
            scenario: call.scenario.into(),
            budget: call.generated.map_or(0, count),
            batch: 1,
            concurrency: 1,
            threads: 0,
        },
        firsts: Vec::new(),
        started_unix_ms: 0,
        lanes: if outcome == Outcome::Completed { vec![lane] } else { Vec::new() },
        outcome,
        load_ns: None,
        stamps: ClockSource::Client,
        host: None,
        flags: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use chimera_records::Metric;

    use super::*;

    #[test]
    fn a_row_becomes_a_record_with_the_metrics_of_a_live_run() {
        let row = Call {
            generated: Some(101.0),
            load_ms: Some(250.0),
            prompt_eval_ms: Some(50.0),
            eval_ms: Some(1_010.0),
            ttft_ms: Some(310.0),
            total_ms: Some(1_400.0),
            ..Call::default()
        };
        let trial = call(0, &row);
        assert_eq!(Metric::TtftClient.of(&trial), Some(0.31));
        assert_eq!(Metric::TtftServer.of(&trial), Some(0.3));
        assert_eq!(Metric::DecodeRateServer.of(&trial), Some(100.0));
        assert_eq!(Metric::E2eClient.of(&trial), Some(1.4));
        let failed = call(0, &Call { failure: Some("no `done` line"), ..row });
        assert_eq!(Metric::E2eClient.of(&failed), None, "a failed call carries no latency");
    }
}
