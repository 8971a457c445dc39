//! Punctuality: how late does the load generator issue a thousand requests a second, and is each of them issued?

use std::{sync::Arc, time::Duration};

use chimera_core::{Clock, InferenceBackend};
use chimera_load::{
    Arrivals, Cancel, Length, Lengths, LoadConfig, LoadPlan, LoadRun, MemorySink, Prompts, RunOptions,
    Target, run_blocking,
};
use chimera_serve::script::{ScriptModel, Tokens};

use super::{
    bench_client::{Adapter, load, server, truth},
    figures::Errors,
};

/// What a schedule of a thousand requests a second showed.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) rate: f64,
    pub(super) planned: u64,
    pub(super) issued: u64,
    /// Sent minus intended.
    pub(super) late: Errors,
    /// Processors that were free when it began, by the load average.
    pub(super) free_cores: Option<f64>,
}

/// Issues `rate` requests per second for `seconds` against a server that answers with one token after a millisecond.
pub(super) fn run(clock: &Arc<dyn Clock>, rate: f64, seconds: f64) -> anyhow::Result<Issued> {
    let one = Tokens::paced(1, Duration::from_millis(1), Duration::from_millis(1));
    let server = server(vec![ScriptModel::new("one", one)], clock)?;
    let (backend, _) = Adapter::Ollama.client(&server.url(), Arc::clone(clock))?;
    let (session, probe) = async_io::block_on(async {
        let session = load(&*backend, "one").await?;
        anyhow::Ok((session, backend.probe().await?))
    })?;
    let planned = (rate * seconds).round() as u32;
    let config =
        LoadConfig::new("ollama", "one", Arrivals::Constant { rate: vec![rate] }, Length::Requests(planned))
            .warmup(Length::Requests(50))
            .prompts(Prompts::Synthetic { tokens: Lengths::Fixed { tokens: 16 } })
            .output(Lengths::Fixed { tokens: 1 })
            .blocks(1, 1)
            .timeout(30.0);
    let plan = LoadPlan::new(config, std::path::Path::new(""))?;
    let target = Target { session, capabilities: probe.capabilities, threads: 0 };
    let mut sink = MemorySink::default();
    let free_cores = free_cores();
    let load = LoadRun {
        plan: &plan,
        target: &target,
        clock,
        cancel: &Cancel::new(),
        options: RunOptions::real(&**clock, 0),
    };
    run_blocking(load, &mut sink, &mut |_| {})?;
    drop(truth(server)?);
    let mut found =
        Issued { rate, planned: u64::from(planned), issued: 0, late: Errors::default(), free_cores };
    for trial in sink.trials.iter().filter(|trial| trial.role == chimera_records::TrialRole::Measured) {
        let Some(lane) = trial.lanes.first() else { continue };
        found.issued += u64::from(lane.sent.is_some());
        if let Some(late) = lane.sent.zip(lane.intended).and_then(|(sent, meant)| sent.checked_sub(meant)) {
            found.late.push(late);
        }
    }
    Ok(found)
}

/// Cores beyond the one-minute load average; `None` where the system does not tell.
fn free_cores() -> Option<f64> {
    let load: f64 = std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()?;
    // A load beyond the cores leaves none free, not less than none.
    Some((crate::registry::cores().get() as f64 - load).max(0.0))
}
