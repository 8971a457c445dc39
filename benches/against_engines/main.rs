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
mod compare;
#[cfg(feature = "llamacpp")]
mod llamacpp;
mod memory;
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
    onnxruntime::ENGINE,
    #[cfg(feature = "llamacpp")]
    llamacpp::ENGINE,
];

/// Blocks of one run.
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
        [name, ref model @ ..] if engine(name).is_some() => {
            let engine = engine(name).expect("it was found");
            let setting = match (engine.prepare)(model.first().copied().unwrap_or("llama-10m")) {
                Ok(setting) => setting,
                Err(reason) => return println!("SKIP: {name}: {reason}"),
            };
            measure(engine, &setting);
        }
        _ => {
            let names: Vec<&str> = ENGINES.iter().map(|engine| engine.name).collect();
            eprintln!("against-engines ENGINE [MODEL], with one of the engines {}", names.join(", "));
            std::process::exit(2);
        }
    }
}

fn measure(engine: &Engine, setting: &Setting) {
    let (arms, missing): (Vec<Arm>, Vec<Arm>) =
        (engine.arms)().into_iter().partition(|arm| arm.missing.is_none());
    for arm in missing {
        println!("SKIP: {}: {}", arm.name, arm.missing.unwrap_or_default());
    }
    println!(
        "{}: {}, {} threads, {} prompt tokens, {} decoded; {BLOCKS} blocks of one process per arm, turns taken\n",
        engine.name, setting.model, setting.threads, setting.prompt, setting.decode
    );
    let mut seen: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
    for block in 0..BLOCKS {
        // Each arm comes first, second and last equally often.
        for turn in 0..arms.len() {
            let arm = &arms[(block + turn) % arms.len()];
            let figures = arm::in_a_process(engine.name, arm.key, setting);
            seen.entry(arm.key).or_default().push(figures);
        }
        eprint!("\r{}/{BLOCKS} blocks", block + 1);
    }
    eprintln!();
    compare::print(&arms, &seen, setting);
}
