//! Our adapters beside the loops that people would write without them: the same file, the same threads, turns taken block
//! by block, every arm of every block in a process of its own. Started by `cargo xtask bench-engines ENGINE [MODEL]`.
//! An engine brings its arms in a file of its own; what is asked of the figures is in `compare`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may fail loudly and say what it saw"
)]

mod arm;
mod candle;
mod compare;
#[cfg(feature = "llamacpp")]
mod llamacpp;
mod onnxruntime;

use std::collections::BTreeMap;

use arm::{Figures, Setting};

/// One way to run a model.
pub(crate) struct Arm {
    /// As tables have it.
    pub(crate) name: &'static str,
    /// The name by which the process of one block is told.
    pub(crate) key: &'static str,
    /// Why it cannot run here.
    pub(crate) missing: Option<String>,
}

/// An engine and its arms, ours first.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    /// What the arms run, made or found.
    pub(crate) prepare: fn(model: &str) -> Result<Setting, String>,
    pub(crate) arms: fn() -> Vec<Arm>,
    /// Runs one arm once, in this process.
    pub(crate) run: fn(key: &str, setting: &Setting) -> Figures,
}

const ENGINES: &[Engine] = &[
    candle::ENGINE,
    onnxruntime::ENGINE,
    #[cfg(feature = "llamacpp")]
    llamacpp::ENGINE,
];

/// Blocks of one run, unless told otherwise.
const BLOCKS: usize = 12;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let engine = |name: &str| ENGINES.iter().find(|engine| engine.name == name);
    match args[..] {
        // The process of one block.
        ["--arm", name, key, ref setting @ ..] => {
            let setting = Setting::from_args(setting);
            let figures = (engine(name).expect("a known engine").run)(key, &setting);
            println!("{}", figures.to_json());
        }
        [name, ref rest @ ..] if engine(name).is_some() && rest.len() <= 2 => {
            let engine = engine(name).expect("it was found");
            let blocks = rest.get(1).map_or(BLOCKS, |blocks| blocks.parse().expect("a number of blocks"));
            let setting = match (engine.prepare)(rest.first().copied().unwrap_or("llama-10m")) {
                Ok(setting) => setting,
                Err(reason) => return println!("SKIP: {name}: {reason}"),
            };
            measure(engine, &setting, blocks);
        }
        _ => {
            let names: Vec<&str> = ENGINES.iter().map(|engine| engine.name).collect();
            eprintln!(
                "against-engines ENGINE [MODEL [BLOCKS]], with one of the engines {}",
                names.join(", ")
            );
            std::process::exit(2);
        }
    }
}

fn measure(engine: &Engine, setting: &Setting, blocks: usize) {
    let (arms, missing): (Vec<Arm>, Vec<Arm>) =
        (engine.arms)().into_iter().partition(|arm| arm.missing.is_none());
    for arm in missing {
        println!("SKIP: {}: {}", arm.name, arm.missing.unwrap_or_default());
    }
    println!(
        "{}: {}, {} threads, {} prompt tokens, {} decoded; {blocks} blocks of one process per arm, \
         turns taken, the median of {} generations in each\n",
        engine.name,
        setting.model,
        setting.threads,
        setting.prompt,
        setting.decode,
        arm::GENERATIONS
    );
    let mut seen: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
    for block in 0..blocks {
        // Each arm comes first, second and last equally often.
        for turn in 0..arms.len() {
            let arm = &arms[(block + turn) % arms.len()];
            let figures = arm::in_a_process(engine.name, arm.key, setting);
            seen.entry(arm.key).or_default().push(figures);
        }
        eprint!("\r{}/{blocks} blocks", block + 1);
    }
    eprintln!();
    compare::print(&arms, &seen, setting);
}
