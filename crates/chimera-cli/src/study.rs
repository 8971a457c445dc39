//! One study on the command line: plan it, run or resume it, analyse it, render it. Phase binaries hand their arguments
//! here.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use chimera_harness::{
    Cancel, CostHint, HarnessError, Launcher, ProcessLauncher, Progress, Supervisor, checks, estimate,
    hints_from, host_record, serve_block,
};
use chimera_records::{Design, ModelEntry, NewRun, Overrides, Plan, RunDir, RunStatus, Settings, Shard};
use chimera_report::Findings;
use chimera_studies::Study;
use chimera_telemetry::HostProbe;

use crate::out::{say, say_text};
use crate::{
    exit::{CANCELLED, FILES, RUN_FAILED, USAGE, WithExit},
    places, prepare, program,
    progress::Reporter,
    registry::{BACKENDS, Lab, cores, is_known, is_remote, kind},
    stages::{self, Stage},
};

/// Hidden subcommand that runs one block.
pub const BLOCK: &str = "__block";

/// Arguments of a study.
#[derive(Debug, Clone, clap::Args)]
pub struct StudyArgs {
    /// Size of the run: smoke (a minute), default (ten minutes), gate (five short blocks, for pull requests), paper (what the
    /// design says).
    #[arg(long, default_value = "default")]
    pub profile: String,
    /// Folder under which the run's own folder is made [default: runs/STUDY].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Complete an interrupted run; its design and profile are its own.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "run", "shard", "backend", "model", "design", "dry_run"])]
    pub resume: Option<PathBuf>,
    /// An existing run, for --stage.
    #[arg(long, value_name = "DIR", requires = "stage")]
    pub run: Option<PathBuf>,
    /// Repeat a stage on an existing run instead of measuring.
    #[arg(long, requires = "run")]
    pub stage: Option<Stage>,
    /// Measure these backends instead of the design's; repeatable. A server (ollama, openai, or with its address
    /// ollama@HOST:PORT) is measured beside the design's own.
    #[arg(long, value_name = "NAME")]
    pub backend: Vec<String>,
    /// Address of the Ollama server for `--backend ollama` [default: OLLAMA_HOST, or this machine's].
    #[arg(long, value_name = "URL", requires = "backend")]
    pub ollama: Option<String>,
    /// Measure a server without the design's own backends beside it.
    #[arg(long, requires = "backend")]
    pub alone: bool,
    /// Measure only these models, by id or source; repeatable.
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Another design of the same study.
    #[arg(long, value_name = "FILE")]
    pub design: Option<PathBuf>,
    /// Run a share of the blocks, 2/8 for instance; `chimera runs merge` joins the shares.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Download nothing; models that need it are left out and named in the report.
    #[arg(long)]
    pub offline: bool,
    /// Print the headline as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Print the trials, their number and an estimate of the time; run nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs a study as its arguments say.
///
/// # Errors
/// Each with its exit code; see [`crate::exit`].
pub fn main(study: &dyn Study, args: &StudyArgs) -> anyhow::Result<u8> {
    if let (Some(run), Some(stage)) = (&args.run, args.stage) {
        let findings = match stage {
            Stage::Quality => {
                let open = RunDir::open(run).exit(FILES)?;
                prepare::models(&Lab::open().exit(FILES)?, &open.settings().exit(FILES)?, args.offline)?;
                let status = drive(open, |supervisor, launcher, cancel, report| {
                    supervisor.run_checks(launcher, cancel, report)
                })?;
                if status == RunStatus::Cancelled {
                    return Ok(CANCELLED);
                }
                stages::analyse(study, run)?
            }
            Stage::Analyse => stages::analyse(study, run)?,
            Stage::Render => stages::render(study, run)?,
        };
        show(&findings, run, args.json)?;
        return Ok(0);
    }
    let lab = Lab::open().exit(FILES)?;
    let run = match &args.resume {
        Some(path) => RunDir::open(path).exit(FILES)?,
        None => match start(study, args, &lab)? {
            Some(run) => run,
            None => return Ok(0),
        },
    };
    if run.manifest().study != study.id() {
        return Err(anyhow::anyhow!("{} is a run of {}", run.path().display(), run.manifest().study))
            .exit(USAGE);
    }
    if args.resume.is_some() {
        prepare::models(&lab, &run.settings().exit(FILES)?, args.offline)?;
    }
    let path = run.path().to_owned();
    let status = measure(run)?;
    let code = match status {
        RunStatus::Complete => 0,
        RunStatus::Cancelled => CANCELLED,
        RunStatus::Running | RunStatus::Failed => RUN_FAILED,
    };
    if code != 0 {
        eprintln!(
            "the run is not complete; what was measured is kept. Go on with: --resume {}",
            path.display()
        );
    }
    if code == CANCELLED {
        return Ok(code);
    }
    let findings = stages::analyse(study, &path)?;
    show(&findings, &path, args.json)?;
    Ok(code)
}

/// Reads the design, applies the command line, prepares the models and makes the run's directory; `None` after a dry
/// run.
fn start(study: &dyn Study, args: &StudyArgs, lab: &Lab) -> anyhow::Result<Option<RunDir>> {
    let text = match &args.design {
        None => study.design().to_owned(),
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| file.display().to_string()).exit(USAGE)?
        }
    };
    let design = Design::parse(&text).exit(USAGE)?;
    if design.study != study.id() {
        return Err(anyhow::anyhow!("the design belongs to the study {}", design.study)).exit(USAGE);
    }
    let overrides = Overrides {
        profile: Some(args.profile.clone()),
        backends: backends(&design, args),
        models: args.model.clone(),
    };
    let settings = design.resolve(&overrides).exit(USAGE)?;
    if let Some(unknown) = unknown_backend(&settings, &design, args) {
        return Err(anyhow::anyhow!(
            "there is no backend `{}` here; there are: {}",
            chimera_wire::redacted(unknown),
            BACKENDS.join(", ")
        ))
        .exit(USAGE);
    }
    // An address that cannot be used, or that holds a password, must not get into a record.
    for name in settings.design.grid.iter().flat_map(|grid| &grid.backend) {
        lab.check(name).exit(USAGE)?;
    }
    let plan = Plan::new(&settings).exit(USAGE)?;
    let parent = args.out.clone().unwrap_or_else(|| places::runs(study.id()));
    if args.dry_run {
        dry_run(&settings, &plan, args.shard, &parent)?;
        return Ok(None);
    }
    plan.shard(args.shard).exit(USAGE)?;
    prepare::models(lab, &settings, args.offline)?;
    let mut host = host_record(&HostProbe::system());
    host.memory_read_rate = chimera_telemetry::memory_read_rate(cores(), 4);
    let new =
        NewRun { design: &text, overrides: &overrides, shard: args.shard, program: program::record(), host };
    let mut run = RunDir::create(&parent, &new).exit(FILES)?;
    // Before anything is measured, and after everything is made: our own error, for the manifest.
    match crate::prove::short() {
        Ok(proof) => run.update(|manifest| manifest.self_proof = Some(proof)).exit(FILES)?,
        Err(error) => eprintln!("our own error could not be measured: {error:#}"),
    }
    Ok(Some(run))
}

/// A backend that the user names and this program does not know. Our own designs may name some that a build lacks: those
/// are rows of the report.
fn unknown_backend<'a>(settings: &'a Settings, design: &Design, args: &StudyArgs) -> Option<&'a str> {
    let ours =
        |name: &String| args.design.is_none() && design.grid.iter().any(|grid| grid.backend.contains(name));
    let mut named = settings.design.grid.iter().flat_map(|grid| &grid.backend);
    named.find(|name| !is_known(name) && !ours(name)).map(String::as_str)
}

/// The backends that the command line asks for; none leaves the design's. A server is measured beside the design's own
/// backends: a number over a wire says little without one from the same machine and minute.
fn backends(design: &Design, args: &StudyArgs) -> Vec<String> {
    let mut asked: Vec<String> = args
        .backend
        .iter()
        .map(|name| match &args.ollama {
            Some(address) if name == "ollama" => format!("ollama@{address}"),
            _ => name.clone(),
        })
        .collect();
    if !args.alone && asked.iter().any(|name| is_remote(name)) {
        for own in design.grid.iter().flat_map(|grid| &grid.backend) {
            if !asked.contains(own) && kind(own) != "sim" {
                asked.push(own.clone());
            }
        }
    }
    asked
}

fn measure(run: RunDir) -> anyhow::Result<RunStatus> {
    drive(run, |supervisor, launcher, cancel, report| supervisor.run(launcher, cancel, report))
}

/// Has a supervisor work on a run, with processes of this program, and shows its progress.
fn drive(
    run: RunDir,
    work: impl FnOnce(
        &mut Supervisor,
        &mut dyn Launcher,
        &Cancel,
        &mut dyn FnMut(&Progress),
    ) -> Result<RunStatus, HarnessError>,
) -> anyhow::Result<RunStatus> {
    let cancel = Cancel::new();
    let handle = cancel.clone();
    // A second Ctrl-C is for a program that does not end by itself.
    ctrlc::set_handler(move || {
        if handle.is_set() {
            std::process::exit(i32::from(CANCELLED));
        }
        handle.cancel();
    })
    .context("Ctrl-C cannot be caught")?;
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let mut launcher = ProcessLauncher::new(|job: &chimera_harness::BlockJob| {
        let mut command = Command::new(&program);
        // Candle's pool is rayon's, made once per process: threads are a setting of the block.
        command.arg(BLOCK).env("RAYON_NUM_THREADS", job.threads.to_string());
        // llama.cpp's assertions say what failed before they abort; a debugger's listing after that would hide it.
        command.env("GGML_NO_BACKTRACE", "1");
        Ok(command)
    });
    let mut reporter = Reporter::new();
    let mut supervisor = Supervisor::take(run).exit(FILES)?.host(HostProbe::system());
    work(&mut supervisor, &mut launcher, &cancel, &mut |progress| reporter.see(progress)).exit(RUN_FAILED)
}

/// The process of one block: told what to do on standard input, telling what happens on standard output.
///
/// # Errors
/// No job on standard input.
pub fn block() -> anyhow::Result<u8> {
    let lab = Lab::open().exit(FILES)?;
    serve_block(io::BufReader::new(io::stdin()), io::stdout(), |job| lab.for_block(job.block, job.threads))
        .exit(FILES)?;
    Ok(0)
}

fn show(findings: &Findings, path: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        say!("{}", chimera_report::headline_json(findings).exit(FILES)?);
    } else {
        say!("{}", chimera_report::headline_text(findings));
    }
    let report = path.join("report.html");
    eprintln!("report: {}", std::path::absolute(&report).unwrap_or(report).display());
    Ok(())
}

fn dry_run(settings: &Settings, plan: &Plan, shard: Option<Shard>, runs: &Path) -> anyhow::Result<()> {
    let blocks = plan.shard(shard).exit(USAGE)?;
    let mut text = Vec::new();
    print_plan(&mut text, settings, plan, &blocks, runs).exit(FILES)?;
    say_text!("{}", String::from_utf8_lossy(&text));
    Ok(())
}

fn print_plan(
    out: &mut impl io::Write,
    settings: &Settings,
    plan: &Plan,
    blocks: &[&chimera_records::Block],
    runs: &Path,
) -> io::Result<()> {
    let arms = checks(settings, plan);
    if let Some(quality) = &settings.design.quality {
        for arm in &arms {
            let beside = match &arm.reference {
                _ if arm.is_reference => "the reference".to_owned(),
                Some(model) => format!("against {model} on {}", quality.reference),
                None => format!("no model of its source in {}", quality.reference_variant),
            };
            writeln!(out, " check                      {:12} {:20} {beside}", arm.backend, arm.model)?;
        }
    }
    writeln!(
        out,
        "{:>6} {:>5} {:>5}  {:9} {:12} {:32} {:8} {:>4} {:>5} {:>4}",
        "trial", "block", "thr", "role", "backend", "model", "prompt", "gen", "batch", "once"
    )?;
    for block in blocks {
        for trial in &block.trials {
            let (Some(cell), Some(budget)) = (plan.cell(trial), plan.budget(trial)) else { continue };
            let role = match trial.role {
                chimera_records::TrialRole::FirstUse => "first use",
                chimera_records::TrialRole::Measured => "measured",
            };
            let threads = if block.threads == 0 { "all".to_owned() } else { block.threads.to_string() };
            writeln!(
                out,
                "{:>6} {:>5} {:>5}  {role:9} {:12} {:32} {:8} {budget:>4} {:>5} {:>4}",
                trial.id,
                block.index + 1,
                threads,
                cell.backend,
                cell.model,
                cell.scenario,
                cell.batch,
                cell.concurrency
            )?;
        }
    }
    let (hints, from) = earlier_hints(runs);
    let sum = estimate(settings, plan, blocks.iter().copied(), 0.1, |backend, entry| {
        hints.get(&(backend.to_owned(), entry.id.clone())).copied().or_else(|| rough_hint(backend, entry))
    });
    writeln!(out, "{} trials in {} blocks; plan {}", sum.trials, sum.blocks, plan.digest)?;
    let basis =
        from.map_or_else(|| "rough figures for a small CPU".to_owned(), |run| format!("the trials of {run}"));
    writeln!(out, "about {:.1} minutes, from {basis}", sum.seconds / 60.0)?;
    if !arms.is_empty() {
        writeln!(out, "{} arms are checked before that, which is not in this estimate", arms.len())?;
    }
    if sum.unknown > 0 {
        writeln!(out, "{} trials are not in this estimate: nothing is known of their models", sum.unknown)?;
    }
    Ok(())
}

/// Costs from the newest readable run under a folder.
fn earlier_hints(runs: &Path) -> (std::collections::BTreeMap<(String, String), CostHint>, Option<String>) {
    let mut found: Vec<PathBuf> = std::fs::read_dir(runs)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    // Run ids begin with their time.
    found.sort();
    for path in found.into_iter().rev() {
        let Ok(run) = RunDir::open(&path) else { continue };
        if let Ok(trials) = run.read_trials()
            && !trials.trials.is_empty()
        {
            return (hints_from(&trials.trials), Some(run.manifest().run_id.clone()));
        }
    }
    (std::collections::BTreeMap::new(), None)
}

/// Before the first run: weights at 10 GB/s, a fixed cost per token, prompts at twenty tokens for the price of one.
fn rough_hint(backend: &str, entry: &ModelEntry) -> Option<CostHint> {
    if backend == "sim" {
        return Some(CostHint::default());
    }
    let parameters = match chimera_zoo::Zoo::spec(&entry.source) {
        Ok(spec) => spec.params(),
        Err(_) => chimera_zoo::real_model(&entry.source)?.download_bytes * 8 / 5,
    } as f64;
    let token = 2e-4 + parameters * 4.0 / 1e10;
    Some(CostHint { load_s: parameters * 4.0 / 1e9, prompt_token_s: token / 20.0, generated_token_s: token })
}
