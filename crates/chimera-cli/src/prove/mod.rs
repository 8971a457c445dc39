//! `chimera prove`: our own error, measured against a scripted server that stamps what it writes on the same clock. The
//! client is the one that runs use. Errors of time are findings and are printed as they are; a wrong count of tokens is a
//! failure.

mod bench_client;
mod decoder;
mod exact;
mod figures;
mod issue;
mod paced;
mod unpaced;

use std::sync::Arc;

use chimera_core::{Clock, SystemClock};
use chimera_records::SelfProof;
use chimera_report::aligned;
use serde_json::{Value, json};

use self::{
    bench_client::Adapter,
    decoder::Decoded,
    figures::{Errors, shown},
    issue::Issued,
    paced::Paced,
    unpaced::Unpaced,
};
use crate::exit::{RUN_FAILED, WithExit};
use crate::out::say;

/// Most streams at once: each is two sockets of this process.
const MOST_STREAMS: u32 = 1_024;

/// What is proven.
#[derive(Debug, clap::Args)]
pub struct ProveArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// A fifth of the time; percentiles that so few tokens do not certify stay out.
    #[arg(long)]
    pub quick: bool,
    /// Streams at once.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    pub streams: Vec<u32>,
    /// Tokens per second of each stream.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Seconds of each paced run.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// Everything that was found.
struct Proof {
    paced: Vec<Paced>,
    unpaced: Vec<Unpaced>,
    decoded: Vec<Decoded>,
    issued: Issued,
    answers: u32,
    wrong: Vec<String>,
}

/// Proves and prints.
///
/// # Errors
/// A server that cannot be started, or an answer that did not come.
pub fn main(args: &ProveArgs) -> anyhow::Result<u8> {
    let streams = args.streams.iter().all(|streams| (1..=MOST_STREAMS).contains(streams));
    let rate = args.rate > 0.0 && args.rate <= 10_000.0;
    let seconds = args.seconds > 0.0 && args.seconds <= 3_600.0;
    if !(streams && rate && seconds) {
        return Err(anyhow::anyhow!(
            "streams are 1 to {MOST_STREAMS}, the rate more than 0 and at most 10,000, seconds more than 0 and at most 3,600"
        ))
            .exit(crate::exit::USAGE);
    }
    let proof = prove(args).exit(RUN_FAILED)?;
    if args.json {
        say!("{}", proof.json());
    } else {
        say!("{}", proof.text());
    }
    Ok(if proof.wrong.is_empty() { 0 } else { RUN_FAILED })
}

fn prove(args: &ProveArgs) -> anyhow::Result<Proof> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let part = if args.quick { 0.2 } else { 1.0 };
    let mut proof = Proof {
        paced: Vec::new(),
        unpaced: Vec::new(),
        decoded: Vec::new(),
        issued: issue::run(&clock, 1_000.0, 3.0 * part)?,
        answers: 0,
        wrong: Vec::new(),
    };
    for adapter in Adapter::ALL {
        let exact = exact::run(adapter, &clock)?;
        proof.answers += exact.answers;
        proof.wrong.extend(exact.wrong);
        for streams in &args.streams {
            let paced = paced::run(adapter, &clock, *streams, args.rate, args.seconds * part, part)?;
            proof.wrong.extend(paced.wrong.iter().cloned());
            proof.paced.push(paced);
        }
        let unpaced = unpaced::run(adapter, &clock, if args.quick { 50_000 } else { 200_000 }, 5)?;
        if !unpaced.exact {
            proof.wrong.push(format!("{}: tokens were lost or invented at full speed", adapter.name()));
        }
        proof.unpaced.push(unpaced);
        let decoded = decoder::run(adapter, if args.quick { 3 } else { 15 })?;
        if !decoded.exact {
            proof.wrong.push(format!("{}: the decoder alone lost or invented tokens", adapter.name()));
        }
        proof.decoded.push(decoded);
    }
    Ok(proof)
}

/// The short form for a run's manifest: about one second.
///
/// # Errors
/// The same as of the long form.
pub fn short() -> anyhow::Result<SelfProof> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (streams, rate) = (8, 50.0);
    let paced = paced::run(Adapter::Ollama, &clock, streams, rate, 1.0, 0.0)?;
    anyhow::ensure!(paced.wrong.is_empty(), "{}", paced.wrong.join("; "));
    Ok(SelfProof {
        streams,
        rate,
        tokens: paced.tokens,
        receive_p50_ns: paced.receive.p50(),
        receive_p99_ns: paced.receive.p99(),
        receive_max_ns: paced.receive.max(),
        cpu_ns_per_token: paced.cpu_ns_per_token,
        lag: crate::registry::lag_record_of(&paced.lag),
    })
}

/// A goal of a quiet machine beside what was found.
fn goal(found: Option<u64>, most: u64) -> &'static str {
    match found {
        None => "not certified",
        Some(found) if found <= most => "met",
        Some(_) => "missed",
    }
}

const MS: u64 = 1_000_000;
const US: u64 = 1_000;

impl Proof {
    fn text(&self) -> String {
        let mut out = String::new();
        let head = ["client", "streams", "figure", "p50", "p99", "max", "goal (p99)", ""];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        let mut push = |who: &Paced, name: &str, errors: &Errors, limit: Option<u64>| {
            let goal = limit.map(|limit| (format!("≤ {}", shown(Some(limit))), goal(errors.p99(), limit)));
            let (limit, word) = goal.unwrap_or_else(|| ("–".to_owned(), ""));
            lines.push(vec![
                who.adapter.name().to_owned(),
                format!("{} × {}", who.streams, who.rate),
                name.to_owned(),
                shown(errors.p50()),
                shown(errors.p99()),
                shown(errors.max()),
                limit,
                word.to_owned(),
            ]);
        };
        for paced in &self.paced {
            let at_64 = |most: u64| (paced.streams == 64).then_some(most);
            push(paced, "receiving a token", &paced.receive, at_64(MS));
            push(paced, "inter-token latency", &paced.itl, at_64(MS));
            push(paced, "time to first token", &paced.ttft, at_64(MS));
            push(paced, "end to end", &paced.e2e, at_64(MS));
        }
        out += "Errors against the truth (client's figure minus the server's, same clock):\n\n";
        out += &aligned(&lines, 3);
        out += "\nThe client alone:\n\n";
        out += &aligned(&self.alone(), 2);
        out.push('\n');
        out += &format!(
            "{} answers in every chunking (1 to 16 tokens a chunk, several lines a write, split characters): {}\n",
            self.answers,
            if self.wrong.is_empty() { "every token and every character is there" } else { "WRONG:" }
        );
        for wrong in &self.wrong {
            out += &format!("  {wrong}\n");
        }
        out += "A p99 stands from 662 values on; times to first token and end to end are also those of short answers, asked \
                for until there are so many. The error of receiving counts from the beginning of the server's write, so it \
                holds the write too. Goals are those of a quiet machine with a free core.";
        out
    }

    fn alone(&self) -> Vec<Vec<String>> {
        let mut lines = vec![["figure", "of", "value", "goal", ""].map(str::to_owned).to_vec()];
        let mut push = |figure: &str, of: String, value: String, goal: &str, word: &str| {
            lines.push(vec![figure.to_owned(), of, value, goal.to_owned(), word.to_owned()]);
        };
        for decoded in &self.decoded {
            let rate = 1e9 / decoded.nanos;
            push(
                "the decoder alone, tokens per second",
                format!("{} ({:.0} ns per token)", decoded.adapter.name(), decoded.nanos),
                chimera_report::show_number(rate, "tok/s").to_string(),
                "≥ 1 Mtok/s",
                if rate >= 1e6 { "met" } else { "missed" },
            );
        }
        for unpaced in &self.unpaced {
            let name = format!("{}, one stream, unpaced", unpaced.adapter.name());
            let rate = |value: f64| chimera_report::show_number(value, "tok/s").to_string();
            let void = unpaced.is_void();
            let word = |met: Option<bool>| match met {
                _ if void => "void: the server was not twice as fast",
                Some(true) => "met",
                Some(false) => "missed",
                None => "",
            };
            let per_core = unpaced.per_core;
            push(
                "tokens per second of a core",
                name.clone(),
                per_core.map_or_else(|| "–".to_owned(), rate),
                "≥ 500 ktok/s",
                word(per_core.map(|rate| rate >= 500_000.0)),
            );
            push(
                "processor time per token",
                name.clone(),
                shown(per_core.map(|rate| (1e9 / rate) as u64)),
                "≤ 2 µs",
                word(per_core.map(|rate| rate >= 500_000.0)),
            );
            push("the server, to a bare reader", name, rate(unpaced.server), "–", "");
        }
        for paced in &self.paced {
            let name = format!("{}, {} × {} tok/s", paced.adapter.name(), paced.streams, paced.rate);
            push(
                "processor time per token",
                name.clone(),
                shown(paced.cpu_ns_per_token.map(|nanos| nanos as u64)),
                "–",
                "",
            );
            let lag = &paced.lag;
            if lag.stamped > 0 {
                let certified = lag.p99_ns;
                push(
                    "client lag by the kernel's stamps, p50 / p99 / max",
                    format!("{name} ({} reads, {} without)", lag.stamped, lag.unstamped),
                    format!("{} / {} / {}", shown(lag.p50_ns), shown(certified), shown(lag.max_ns)),
                    if paced.streams == 64 { "≤ 150 µs" } else { "–" },
                    if paced.streams == 64 { goal(certified, 150 * US) } else { "" },
                );
            }
        }
        let issued = &self.issued;
        let free = issued.free_cores.map_or_else(String::new, |free| format!(", {free:.1} cores free"));
        push(
            "arrivals issued late, p50 / p99 / max",
            format!("{} of {} at {} req/s{free}", issued.issued, issued.planned, issued.rate),
            format!(
                "{} / {} / {}",
                shown(issued.late.p50()),
                shown(issued.late.p99()),
                shown(issued.late.max())
            ),
            "≤ 100 µs",
            goal(issued.late.p99(), 100 * US),
        );
        lines
    }

    fn json(&self) -> Value {
        let errors = |errors: &Errors| json!({ "n": errors.count(), "p50_ns": errors.p50(), "p99_ns": errors.p99(), "max_ns": errors.max() });
        let paced = self.paced.iter().map(|paced| {
            json!({
                "client": paced.adapter.name(),
                "streams": paced.streams,
                "rate": paced.rate,
                "tokens": paced.tokens,
                "receive": errors(&paced.receive),
                "itl": errors(&paced.itl),
                "ttft": errors(&paced.ttft),
                "e2e": errors(&paced.e2e),
                "cpu_ns_per_token": paced.cpu_ns_per_token,
                "lag": paced.lag,
            })
        });
        let unpaced = self.unpaced.iter().map(|unpaced| {
            json!({
                "client": unpaced.adapter.name(),
                "tokens": unpaced.tokens,
                "tokens_per_core_s": unpaced.per_core.filter(|_| !unpaced.is_void()),
                "tokens_per_s": unpaced.by_wall,
                "server_tokens_per_s": unpaced.server,
                "void": unpaced.is_void(),
            })
        });
        json!({
            "schema": "chimera-prove/1",
            "paced": paced.collect::<Vec<_>>(),
            "unpaced": unpaced.collect::<Vec<_>>(),
            "decoders": self.decoded.iter().map(|decoded| json!({
                "client": decoded.adapter.name(),
                "ns_per_token": decoded.nanos,
            })).collect::<Vec<_>>(),
            "issue": {
                "rate": self.issued.rate,
                "planned": self.issued.planned,
                "issued": self.issued.issued,
                "late": errors(&self.issued.late),
                "free_cores": self.issued.free_cores,
            },
            "answers": self.answers,
            "wrong": self.wrong,
        })
    }
}
