//! `chimera serve`: a backend behind Ollama's and OpenAI's interfaces, or a script that is played to the letter and told
//! the truth about. It runs until Ctrl-C; how requests are answered is `chimera-serve`'s business.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use anyhow::Context;
use chimera_core::{Clock, ModelRef, SystemClock};
use chimera_harness::Registry;
use chimera_records::ModelEntry;
use chimera_serve::{
    ServeOptions, ServedModel, Server,
    script::Script,
    truth::{TruthOptions, TruthServer},
};

use crate::{
    exit::{FILES, RUN_FAILED, USAGE, WithExit},
    prepare,
    registry::{Lab, is_remote},
};

/// The variable of the token unless another is named.
const TOKEN: &str = "CHIMERA_TOKEN";

/// What is served, and where.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Backend that answers.
    #[arg(long, default_value = "candle", conflicts_with = "script")]
    pub backend: String,
    /// Model to offer; repeatable. `NAME` is a model of the zoo, `NAME=FILE` a GGUF file or a folder of weights.
    #[arg(long, value_name = "NAME", conflicts_with = "script", required_unless_present = "script")]
    pub model: Vec<String>,
    /// Precision of a zoo model: F32, F16, Q8_0, Q4_0, or as published.
    #[arg(long, value_name = "WORD", conflicts_with = "script")]
    pub variant: Option<String>,
    /// Play this script instead of asking a backend.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Write here what was written when; the file must not exist yet.
    #[arg(long, value_name = "FILE", requires = "script")]
    pub truth: Option<PathBuf>,
    /// Address to listen on. Beyond this machine a token is needed.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
    /// Port; 0 takes any free one.
    #[arg(long, default_value_t = 11435)]
    pub port: u16,
    /// Environment variable that holds the token which clients must send [default: CHIMERA_TOKEN, where it is set]. (A
    /// token on a command line is seen by everybody on the machine.)
    #[arg(long, value_name = "VARIABLE", conflicts_with = "script")]
    pub token_from: Option<String>,
    /// Generations at once.
    #[arg(long, default_value = "1")]
    pub slots: NonZeroUsize,
    /// Requests that may wait.
    #[arg(long, default_value_t = 512)]
    pub queue: usize,
    /// Models resident at once.
    #[arg(long, default_value = "1")]
    pub resident: NonZeroUsize,
    /// Seconds that an unused model stays resident.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub keep_alive: u64,
    /// Context window in tokens [default: the model's own].
    #[arg(long, value_name = "TOKENS")]
    pub context: Option<u32>,
    /// Take chats also without a chat template, as `role: content` lines that no model was trained on.
    #[arg(long)]
    pub plain_chat: bool,
    /// Download nothing.
    #[arg(long)]
    pub offline: bool,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// A script, a model or an address that cannot be used.
pub fn main(args: &ServeArgs) -> anyhow::Result<u8> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = stop.send(());
    })
    .context("Ctrl-C cannot be caught")?;
    let bind = SocketAddr::new(args.bind, args.port);
    match &args.script {
        Some(script) => play(args, script, bind, &stopped),
        None => serve(args, bind, &stopped),
    }
}

fn play(
    args: &ServeArgs,
    script: &std::path::Path,
    bind: SocketAddr,
    stopped: &mpsc::Receiver<()>,
) -> anyhow::Result<u8> {
    if !args.bind.is_loopback() {
        return Err(anyhow::anyhow!("a script answers everybody: it is played on this machine alone"))
            .exit(USAGE);
    }
    let shown = script.display().to_string();
    let text = std::fs::read_to_string(script).with_context(|| shown.clone()).exit(USAGE)?;
    let script = Script::parse(&text).with_context(|| shown.clone()).exit(USAGE)?;
    let names: Vec<String> = script.models.iter().map(|model| model.name.clone()).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let options = TruthOptions { bind, clock, log: args.truth.clone() };
    let server = TruthServer::start(script, options).exit(FILES)?;
    eprintln!("playing {shown} at {} (models: {}); Ctrl-C ends it", server.url(), names.join(", "));
    wait(stopped);
    let truth = server.stop().exit(FILES)?;
    let tokens: u64 = truth.records.iter().map(|record| record.tokens()).sum();
    eprintln!("{} requests, {tokens} tokens written", truth.records.len());
    if let Some(log) = &args.truth {
        eprintln!("truth: {}", log.display());
    }
    Ok(0)
}

fn serve(args: &ServeArgs, bind: SocketAddr, stopped: &mpsc::Receiver<()>) -> anyhow::Result<u8> {
    let token = token(args).exit(USAGE)?;
    let lab = Lab::open().exit(FILES)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let backend = lab.backend(&args.backend, clock).exit(USAGE)?;
    let mut models = Vec::new();
    for model in &args.model {
        models.push(served(args, &lab, model)?);
    }
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let options = ServeOptions {
        bind,
        token,
        slots: args.slots,
        queue: args.queue,
        keep_alive: Duration::from_secs(args.keep_alive),
        resident: args.resident,
        context: args.context,
        plain_chat: args.plain_chat,
        ..ServeOptions::default()
    };
    let server = Server::start(backend, models, options).exit(RUN_FAILED)?;
    eprintln!("{} at {} (models: {}); Ctrl-C ends it", args.backend, server.url(), names.join(", "));
    wait(stopped);
    eprintln!("waiting for running answers");
    server.stop();
    Ok(0)
}

/// The token that clients must send. Who names a variable means to have one.
fn token(args: &ServeArgs) -> anyhow::Result<Option<String>> {
    let named = args.token_from.as_deref();
    let value = match std::env::var(named.unwrap_or(TOKEN)) {
        Ok(value) => value,
        Err(std::env::VarError::NotPresent) => String::new(),
        Err(error) => return Err(anyhow::anyhow!("{}: {error}", named.unwrap_or(TOKEN))),
    };
    let value = value.trim();
    match named {
        Some(name) if value.is_empty() => Err(anyhow::anyhow!(
            "--token-from {name}: that variable holds no token; set it, or leave the option out"
        )),
        _ => Ok(Some(value.to_owned()).filter(|value| !value.is_empty())),
    }
}

/// A model of the command line, made or fetched when it is the zoo's.
fn served(args: &ServeArgs, lab: &Lab, model: &str) -> anyhow::Result<ServedModel> {
    if let Some((name, path)) = model.split_once('=') {
        return Ok(ServedModel { name: name.to_owned(), reference: ModelRef::at(name, path) });
    }
    let known = chimera_zoo::Zoo::spec(model).is_ok() || chimera_zoo::real_model(model).is_some();
    if args.backend == "sim" && !known {
        return Err(anyhow::anyhow!(
            "the simulator has no model {model}: `chimera models list` names those it has"
        ))
        .exit(USAGE);
    }
    if args.backend == "sim" || is_remote(&args.backend) {
        return Ok(ServedModel::named(model));
    }
    let real = chimera_zoo::real_model(model);
    let entry = ModelEntry {
        id: model.to_owned(),
        source: model.to_owned(),
        variant: args.variant.clone().unwrap_or_else(|| match real {
            Some(_) => "as published (original)".to_owned(),
            None => "F32".to_owned(),
        }),
        family: String::new(),
        optional: false,
    };
    prepare::model(lab, &entry, &args.backend, args.offline)
        .map_err(|reason| anyhow::anyhow!("model {model}: {reason}"))
        .exit(FILES)?;
    let found = lab.model(&entry, &args.backend).exit(FILES)?;
    Ok(ServedModel { name: model.to_owned(), reference: found.reference })
}

/// Until Ctrl-C. A channel that breaks would end it too, and then nobody could.
fn wait(stopped: &mpsc::Receiver<()>) {
    let _ = stopped.recv();
}
