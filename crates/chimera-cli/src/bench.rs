//! `chimera bench`: puts a backend or a server under load. What is asked comes from a file or from the options; the load
//! itself, its records and its sums are `chimera-load`'s business.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use chimera_core::{Clock, InferenceBackend, LoadOptions, ModelRef, SystemClock};
use chimera_harness::{Registry, host_record};
use chimera_load::{
    Arrivals, Cancel, Distribution, Evidence, Length, Lengths, LevelSummary, LoadConfig, LoadPlan, LoadRun,
    Progress, Prompts, Quantile, RunOptions, Saturation, Sink, Slo, Target, WriterSink, begin_run,
    create_run, finish_run, run_blocking, summarise,
};
use chimera_records::ModelEntry;
use chimera_report::aligned;
use chimera_telemetry::HostProbe;
use futures_util::future::{Either, select};

use crate::out::{say, say_text};
use crate::{
    exit::{CANCELLED, FILES, RUN_FAILED, USAGE, WithExit},
    places, prepare, program,
    registry::{Lab, cores, is_known, is_remote, kind},
};

/// What is put under load, and how.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// A backend (candle, sim, ollama, openai, ollama@HOST:PORT) or the address of a server, whose kind is found out.
    #[arg(required_unless_present = "config")]
    pub target: Option<String>,
    /// Model.
    #[arg(long, value_name = "NAME", required_unless_present = "config")]
    pub model: Option<String>,
    /// Everything from a file instead (docs/load.md).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["target", "model", "prompts", "rate", "concurrency", "replay"])]
    pub config: Option<PathBuf>,
    /// A file (a prompt per line, or JSONL), or `synthetic`.
    #[arg(long, value_name = "FILE|synthetic", default_value = "synthetic")]
    pub prompts: String,
    /// Tokens of synthetic prompts.
    #[arg(long, value_name = "TOKENS", default_value_t = 256)]
    pub prompt_tokens: u32,
    /// Tokens to generate.
    #[arg(long, value_name = "TOKENS", default_value_t = 64)]
    pub output_tokens: u32,
    /// Open loop: requests per second; several, divided by commas, are levels.
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', conflicts_with_all = ["concurrency", "replay"])]
    pub rate: Vec<f64>,
    /// How an open loop's requests arrive.
    #[arg(long, default_value = "poisson", requires = "rate")]
    pub arrivals: Law,
    /// Closed loop: requests at once; several are levels.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "replay")]
    pub concurrency: Vec<u32>,
    /// Open loop at recorded times: a file of seconds.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// From the one level given, double until the server saturates or this level is reached, then halve the gap.
    #[arg(long, value_name = "LEVEL")]
    pub saturate: Option<f64>,
    /// Requests measured per level and block.
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub requests: Option<u32>,
    /// Seconds measured per level and block, instead of a number of requests. Runs that are to be compared need a number.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Requests of warm-up before them, recorded as such.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub warmup: u32,
    /// Blocks: the unit of replication.
    #[arg(long, default_value_t = 5)]
    pub blocks: u32,
    /// Seed of arrivals, lengths, prompts and orders.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A request that takes longer is censored; loading the model may take as long.
    #[arg(long, value_name = "S", default_value_t = 300.0)]
    pub timeout: f64,
    /// Limit of a good request: seconds to the first token.
    #[arg(long, value_name = "S")]
    pub slo_ttft: Option<f64>,
    /// Limit of a good request: seconds per token after it.
    #[arg(long, value_name = "S")]
    pub slo_tpot: Option<f64>,
    /// Limit of a good request: seconds in all.
    #[arg(long, value_name = "S")]
    pub slo_e2e: Option<f64>,
    /// Send prompts as chats.
    #[arg(long)]
    pub chat: bool,
    /// Folder under which the run's own folder is made [default: runs/bench].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Download nothing.
    #[arg(long)]
    pub offline: bool,
    /// Print the plan and run nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// How requests of an open loop arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Law {
    /// Independent of each other.
    Poisson,
    /// At equal distances.
    Constant,
}

/// Puts something under load and prints what it showed.
///
/// # Errors
/// Each with its exit code; see [`crate::exit`].
pub fn main(args: &BenchArgs) -> anyhow::Result<u8> {
    let lab = Lab::open().exit(FILES)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (config, base) = config(args, &lab, &clock)?;
    if !is_known(&config.backend) {
        let named = chimera_wire::redacted(&config.backend);
        return Err(anyhow::anyhow!("there is no backend `{named}` here")).exit(USAGE);
    }
    // An address that cannot be used, or that holds a password, must not get into a record.
    lab.check(&config.backend).exit(USAGE)?;
    let plan = LoadPlan::new(config, &base).exit(USAGE)?;
    if args.dry_run {
        say_text!("{}", plan.design());
        return Ok(0);
    }
    let config = plan.config();
    let backend = lab.backend(&config.backend, Arc::clone(&clock)).exit(USAGE)?;
    let probe = async_io::block_on(backend.probe()).exit(RUN_FAILED)?;
    if let Some((reason, remedy)) = probe.availability.obstacle() {
        return Err(anyhow::anyhow!("{} is not ready: {reason} ({remedy})", config.backend)).exit(RUN_FAILED);
    }
    let reference = reference(&lab, config, args.offline)?;
    let options = LoadOptions::default();
    let load = backend.load(&reference, &options);
    let session = within(load, config.timeout_s, &*clock, "loading the model").exit(RUN_FAILED)?;
    let local = !is_remote(&config.backend) && config.backend != "sim";
    let threads = if local { u32::try_from(cores().get()).unwrap_or(u32::MAX) } else { 0 };
    let target = Target { session, capabilities: probe.capabilities.clone(), threads };

    let host = HostProbe::system();
    let parent = args.out.clone().unwrap_or_else(|| places::runs("bench"));
    let mut run = create_run(&parent, &plan, program::record(), host_record(&host)).exit(FILES)?;
    let _lock = run.lock().exit(FILES)?;
    begin_run(&mut run, &plan, &target, probe).exit(FILES)?;
    match crate::prove::short() {
        Ok(proof) => run.update(|manifest| manifest.self_proof = Some(proof)).exit(FILES)?,
        Err(error) => eprintln!("our own error could not be measured: {error:#}"),
    }
    let cancel = Cancel::new();
    let handle = cancel.clone();
    ctrlc::set_handler(move || handle.cancel()).context("Ctrl-C cannot be caught")?;
    let mut sink = WriterSink::new(run.writer().exit(FILES)?).exit(FILES)?;
    let options = RunOptions::real(&*clock, threads);
    let load = LoadRun { plan: &plan, target: &target, clock: &clock, cancel: &cancel, options };
    let end = run_blocking(load, &mut sink, &mut tell).exit(RUN_FAILED);
    sink.finish().exit(FILES)?;
    let end = end?;
    finish_run(&mut run, &end).exit(FILES)?;
    let lag = lab.client_lag();
    run.update(|manifest| {
        for process in &mut manifest.processes {
            process.client_lag = lag.iter().cloned().collect();
        }
    })
    .exit(FILES)?;
    if let Err(error) = async_io::block_on(target.session.unload()) {
        eprintln!("the model could not be unloaded: {error}");
    }

    let trials = run.read_trials().exit(FILES)?;
    let levels = summarise(&trials.trials, &plan.config().slo);
    say!("{}", table(&levels));
    for line in remarks(&levels, &end) {
        say!("{line}");
    }
    for (name, lag) in &lag {
        if let (Some(p50), Some(max)) = (lag.p50_ns, lag.max_ns) {
            say!(
                "{name}: this client was {} late in the median, {} at most ({} reads, {} without a stamp of the kernel)",
                seconds(p50 as f64 * 1e-9),
                seconds(max as f64 * 1e-9),
                lag.stamped,
                lag.unstamped
            );
        }
    }
    eprintln!("run: {}", std::path::absolute(run.path()).unwrap_or_else(|_| run.path().to_owned()).display());
    Ok(match (end.cancelled, end.counts.completed) {
        (true, _) => CANCELLED,
        (false, 0) => RUN_FAILED,
        _ => 0,
    })
}

fn config(args: &BenchArgs, lab: &Lab, clock: &Arc<dyn Clock>) -> anyhow::Result<(LoadConfig, PathBuf)> {
    if let Some(file) = &args.config {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string()).exit(USAGE)?;
        let config = LoadConfig::parse(&text).with_context(|| file.display().to_string()).exit(USAGE)?;
        return Ok((config, file.parent().unwrap_or(Path::new("")).to_owned()));
    }
    let (Some(target), Some(model)) = (&args.target, &args.model) else {
        return Err(anyhow::anyhow!("name a backend or a server, and a model")).exit(USAGE);
    };
    // A name that holds an address, as runs record it, says its kind already.
    let bare = target.contains("://") && !is_known(target);
    let backend = if bare { found_out(target, lab, clock)? } else { target.clone() };
    let arrivals = if !args.rate.is_empty() {
        match args.arrivals {
            Law::Poisson => Arrivals::Poisson { rate: args.rate.clone() },
            Law::Constant => Arrivals::Constant { rate: args.rate.clone() },
        }
    } else if let Some(file) = &args.replay {
        Arrivals::Replay { file: file.clone(), speed: vec![1.0] }
    } else if args.concurrency.is_empty() {
        Arrivals::Closed { concurrency: vec![1] }
    } else {
        Arrivals::Closed { concurrency: args.concurrency.clone() }
    };
    let length = match (args.requests, args.seconds) {
        (_, Some(seconds)) => Some(Length::Seconds(seconds)),
        (Some(requests), _) => Some(Length::Requests(requests)),
        (None, None) if args.replay.is_some() => None,
        (None, None) => Some(Length::Requests(20)),
    };
    let prompts = match args.prompts.as_str() {
        "synthetic" => Prompts::Synthetic { tokens: Lengths::Fixed { tokens: args.prompt_tokens } },
        file => Prompts::File { path: file.into() },
    };
    let mut config = LoadConfig::new(backend, model.clone(), arrivals, Length::Requests(1))
        .warmup(Length::Requests(args.warmup))
        .prompts(prompts)
        .output(Lengths::Fixed { tokens: args.output_tokens })
        .blocks(args.blocks, args.seed)
        .timeout(args.timeout)
        .slo(Slo { ttft_s: args.slo_ttft, tpot_s: args.slo_tpot, e2e_s: args.slo_e2e });
    config.length = length;
    config.chat = args.chat;
    if let Some(most) = args.saturate {
        config = config.to_saturation(Saturation { bisect: 3, most });
    }
    Ok((config, PathBuf::new()))
}

/// Waits for something, but no longer than a request may take.
fn within<T>(
    work: impl Future<Output = chimera_core::Result<T>>,
    seconds: f64,
    clock: &dyn Clock,
    what: &str,
) -> anyhow::Result<T> {
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let late = clock.sleep_until(clock.now().after(limit));
    match async_io::block_on(select(pin!(work), late)) {
        Either::Left((done, _)) => Ok(done?),
        Either::Right(_) => Err(anyhow::anyhow!("{what} took more than {seconds} s (--timeout allows more)")),
    }
}

/// Which kind of server answers at an address: Ollama's version is asked for, anything else is taken for OpenAI's interface.
/// One that wants a key before it says what it is may be either.
fn found_out(address: &str, lab: &Lab, clock: &Arc<dyn Clock>) -> anyhow::Result<String> {
    let ollama = format!("ollama@{address}");
    if !address.trim_end_matches('/').ends_with("/v1") {
        let backend = lab.ollama(&ollama, Arc::clone(clock)).exit(USAGE)?;
        let probe = async_io::block_on(backend.probe()).exit(RUN_FAILED)?;
        let Some((reason, _)) = probe.availability.obstacle() else { return Ok(ollama) };
        let openai = lab.openai(&format!("openai@{address}"), Arc::clone(clock)).exit(USAGE)?;
        if reason.contains("wants a key")
            && !async_io::block_on(openai.probe()).exit(RUN_FAILED)?.availability.is_ready()
        {
            return Err(anyhow::anyhow!(
                "{} is not ready: it wants a key before it says what it is; set OLLAMA_API_KEY for an Ollama, or \
                 OPENAI_API_KEY for OpenAI's interface",
                openai.endpoint()
            ))
            .exit(RUN_FAILED);
        }
    }
    Ok(format!("openai@{address}"))
}

fn reference(lab: &Lab, config: &LoadConfig, offline: bool) -> anyhow::Result<ModelRef> {
    let name = config.model.as_str();
    if is_remote(&config.backend) || kind(&config.backend) == "sim" {
        return Ok(ModelRef::named(name));
    }
    let real = chimera_zoo::real_model(name).is_some();
    let entry = ModelEntry {
        id: name.to_owned(),
        source: name.to_owned(),
        variant: if real { "as published (original)" } else { "F32" }.to_owned(),
        family: String::new(),
        optional: false,
    };
    prepare::model(lab, &entry, &config.backend, offline)
        .map_err(|reason| anyhow::anyhow!("model {name}: {reason}"))
        .exit(FILES)?;
    Ok(lab.model(&entry, &config.backend).exit(FILES)?.reference)
}

fn tell(progress: Progress) {
    match progress {
        Progress::LevelEnded { block, level, summary } => {
            let done = summary.map_or(0, |summary| summary.counts.completed);
            eprintln!("block {}, {level}: {done} completed", block + 1);
        }
        Progress::Saturated { sustained, saturated } => {
            let word = |level: Option<_>| {
                level.map_or_else(|| "none".to_owned(), |level: chimera_load::Level| level.to_string())
            };
            eprintln!("sustained: {}; saturated: {}", word(sustained), word(saturated));
        }
        _ => {}
    }
}

fn table(levels: &[LevelSummary]) -> String {
    let head = [
        "level",
        "completed",
        "failed",
        "censored",
        "req/s",
        "of offered",
        "out tok/s",
        "goodput",
        "TTFT mean",
        "p50",
        "p95",
        "from intended p50",
        "p95",
        "TPOT p50",
        "p95",
        "E2E p50",
        "p99",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for level in levels {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let scenario =
            level.factors.scenario.rsplit_once('@').map_or(&*level.factors.scenario, |(_, level)| level);
        lines.push(vec![
            scenario.to_owned(),
            level.counts.completed.to_string(),
            level.counts.failed.to_string(),
            level.counts.censored.to_string(),
            number(level.achieved_rate, 2),
            number(level.achieved_over_offered, 3),
            number(level.output_tokens_per_s, 1),
            number(level.goodput.as_ref().and_then(|goodput| goodput.rate), 2),
            level.ttft.mean.map_or_else(|| "–".to_owned(), seconds),
            quantile(level.ttft.p50),
            quantile(level.ttft.p95),
            quantile(level.ttft_intended.p50),
            quantile(level.ttft_intended.p95),
            quantile(level.tpot.p50),
            quantile(level.tpot.p95),
            quantile(level.e2e.p50),
            quantile(level.e2e.p99),
        ]);
    }
    aligned(&lines, 1)
}

fn quantile(value: Quantile) -> String {
    match value {
        Quantile::Value(value) => seconds(value),
        Quantile::Above(value) => format!("> {}", seconds(value)),
        Quantile::TooFew(_) => "–".to_owned(),
    }
}

fn seconds(value: f64) -> String {
    chimera_report::show_number(value, "s").to_string()
}

/// Percentiles that a level has too few requests for, and how many would do.
fn uncertified(level: &LevelSummary) -> Option<String> {
    let blocks = level.blocks.len().max(1) as u64;
    let needs: Vec<String> = [("p95", 130_u64), ("p99", 662)]
        .into_iter()
        .filter(|(_, least)| level.counts.completed < *least)
        .map(|(name, least)| {
            format!("no {name} (--requests {} would, in {blocks} blocks)", least.div_ceil(blocks))
        })
        .collect();
    (!needs.is_empty()).then(|| {
        let (scenario, completed) = (&level.factors.scenario, level.counts.completed);
        format!("{scenario}: {completed} completed requests certify {}", needs.join(" and "))
    })
}

/// Evidence of warm-up: the first request, the warm-up and the halves of what was measured; medians over the blocks.
fn steadiness(level: &LevelSummary) -> Option<String> {
    let over = |value: fn(&Evidence) -> Option<f64>| {
        let mut all: Vec<f64> = level.blocks.iter().filter_map(|block| value(&block.evidence)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), seconds);
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
    let second = over(|e| e.second_half_ttft)?;
    Some(format!(
        "{}: TTFT of a block's first request {}, of its warm-up {}, of the first half {}, of the second {}; under way {} then {}",
        level.factors.scenario,
        shown(over(|e| e.first_ttft)),
        shown(over(|e| e.warmup_ttft)),
        shown(over(|e| e.first_half_ttft)),
        seconds(second),
        number(over(|e| e.first_half_in_flight)),
        number(over(|e| e.second_half_in_flight)),
    ))
}

fn remarks(levels: &[LevelSummary], end: &chimera_load::RunEnd) -> Vec<String> {
    let mut lines = vec![
        "Percentiles stand where enough requests certify them (p95: 130, p99: 662). Times from `intended` count what the \
         client itself held back."
            .to_owned(),
    ];
    for level in levels {
        let Distribution { p50, p99, .. } = level.issue_error;
        if let Quantile::Value(late) = p50 {
            let tail = quantile(p99);
            lines.push(format!(
                "{}: requests were issued {} late in the median (p99 {tail}); at most {} were under way",
                level.factors.scenario,
                seconds(late),
                level.most_in_flight
            ));
        }
        lines.extend(uncertified(level));
        lines.extend(steadiness(level));
        for (code, count) in &level.failures {
            lines.push(format!("{}: {count} failed with {code}", level.factors.scenario));
        }
    }
    if end.cancelled {
        lines.push("Stopped before its end: what was measured is kept.".to_owned());
    }
    lines
}
