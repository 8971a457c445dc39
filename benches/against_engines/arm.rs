//! What an arm is told and what it answers, and the process of one block.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use chimera_core::{Batch, EventKind, InferenceBackend, LoadOptions, ModelInfo, ModelRef, Request, Session};
use chimera_zoo::{Variant, Zoo};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// What every arm of an engine runs.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) model: String,
    /// The model's file.
    pub(crate) file: PathBuf,
    pub(crate) threads: usize,
    /// Tokens of the prompt, and tokens that are decoded after the first.
    pub(crate) prompt: usize,
    pub(crate) decode: usize,
    /// Bytes of weights that one token reads.
    pub(crate) bytes_per_token: u64,
}

impl Setting {
    fn to_args(&self) -> [String; 6] {
        [
            self.model.clone(),
            self.file.display().to_string(),
            self.threads.to_string(),
            self.prompt.to_string(),
            self.decode.to_string(),
            self.bytes_per_token.to_string(),
        ]
    }

    pub(crate) fn from_args(args: &[&str]) -> Self {
        let [model, file, threads, prompt, decode, bytes] = args else { panic!("six words of a setting") };
        let number = |text: &str| text.parse().expect("a number");
        Self {
            model: (*model).to_owned(),
            file: file.into(),
            threads: number(threads),
            prompt: number(prompt),
            decode: number(decode),
            bytes_per_token: bytes.parse().expect("a number"),
        }
    }

    /// The prompt, the same for every arm.
    pub(crate) fn tokens(&self, vocabulary: usize) -> Vec<u32> {
        (0..self.prompt).map(|i| ((i * 7919 + 13) % vocabulary) as u32).collect()
    }
}

/// What one run of an arm took, and what it said: arms that say other things do not do the same.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    /// From the prompt in hand to its first token.
    pub(crate) prefill_s: f64,
    /// From the first token to the last.
    pub(crate) decode_s: f64,
    pub(crate) tokens: Vec<u32>,
    /// Bytes of weights that one token reads, where the arm has a file of its own.
    pub(crate) bytes_per_token: Option<u64>,
}

impl Figures {
    pub(crate) fn to_json(&self) -> String {
        let Self { prefill_s, decode_s, tokens, bytes_per_token } = self;
        json!({
            "prefill_s": prefill_s,
            "decode_s": decode_s,
            "tokens": tokens,
            "bytes_per_token": bytes_per_token,
        })
        .to_string()
    }

    pub(crate) fn from_json(text: &str) -> Self {
        let value: Value = serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("an arm said {text}"));
        let number = |name: &str| value[name].as_f64().expect("a number");
        let tokens = value["tokens"].as_array().expect("tokens");
        Self {
            prefill_s: number("prefill_s"),
            decode_s: number("decode_s"),
            tokens: tokens.iter().map(|id| id.as_u64().expect("an id") as u32).collect(),
            bytes_per_token: value["bytes_per_token"].as_u64(),
        }
    }
}

/// Generations of one process, after one to warm up. Their median counts.
pub(crate) const GENERATIONS: usize = 5;

/// Runs a function of (tokens so far) greedily and takes the times.
pub(crate) fn timed(mut generate: impl FnMut(&mut dyn FnMut(u32))) -> Figures {
    generate(&mut |_| {});
    median((0..GENERATIONS).map(|_| {
        let (start, mut stamps, mut tokens) = (Instant::now(), Vec::new(), Vec::new());
        generate(&mut |token| {
            stamps.push(start.elapsed().as_secs_f64());
            tokens.push(token);
        });
        let (first, last) = (stamps[0], stamps[stamps.len() - 1]);
        Figures { prefill_s: first, decode_s: last - first, tokens, bytes_per_token: None }
    }))
}

/// The medians of several generations; all say the same.
pub(crate) fn median(generations: impl Iterator<Item = Figures>) -> Figures {
    let mut all: Vec<Figures> = generations.collect();
    let prefill_s = middle(all.iter().map(|f| f.prefill_s));
    let decode_s = middle(all.iter().map(|f| f.decode_s));
    Figures { prefill_s, decode_s, ..all.remove(0) }
}

/// The largest logit's index; the first of equals, as samplers take it.
pub(crate) fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in logits.iter().enumerate() {
        if *value > logits[best] {
            best = index;
        }
    }
    best as u32
}

/// Runs an arm once in a process of its own.
pub(crate) fn in_a_process(engine: &str, key: &str, setting: &Setting) -> Figures {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--arm", engine, key])
        .args(setting.to_args())
        .env("RAYON_NUM_THREADS", setting.threads.to_string())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
    Figures::from_json(&String::from_utf8_lossy(&output.stdout))
}

/// The folder of models that the laboratory uses, found without its command line.
pub(crate) fn zoo() -> Result<Zoo, String> {
    let folder = std::env::var_os("CHIMERA_ZOO")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/zoo"), PathBuf::from);
    Zoo::open(folder).map_err(|error| error.to_string())
}

/// The GGUF file of a model: of the zoo in Q8_0, a fetched one as it was published, or a path.
pub(crate) fn gguf(model: &str) -> Result<PathBuf, String> {
    if model.ends_with(".gguf") {
        return Ok(model.into());
    }
    let zoo = zoo()?;
    let fetched = match chimera_zoo::real_model(model) {
        Some(_) => zoo.fetched(model).map_err(|error| error.to_string())?,
        None => Some(zoo.ensure(model, Variant::Q8Gguf).map_err(|error| error.to_string())?),
    };
    let remedy = format!("{model} is not here: `cargo xtask models fetch {model}`");
    Ok(fetched.ok_or(remedy)?.weights)
}

/// A file's model, resident in one of our adapters.
pub(crate) fn resident(backend: &dyn InferenceBackend, file: &Path) -> Result<Arc<dyn Session>, String> {
    let (model, options) = (ModelRef::at("bench", file), LoadOptions::default());
    futures_executor::block_on(backend.load(&model, &options)).map_err(|error| error.to_string())
}

/// The middle one.
pub(crate) fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What is asked of every arm of an engine.
pub(crate) fn setting_of(model: &str, file: PathBuf, info: &ModelInfo, threads: usize) -> Setting {
    Setting {
        model: format!("{model} {}", info.quantisation.as_deref().unwrap_or_default()),
        file,
        threads,
        prompt: 64,
        decode: 64,
        bytes_per_token: info.weight_bytes_per_token.unwrap_or_default(),
    }
}

/// Our arm of every engine: a session, warmed up by one generation and timed in the next ones by the stamps of the engine's
/// thread, which are what the laboratory reports.
pub(crate) fn generate(session: &dyn Session, setting: &Setting) -> Figures {
    let tokens = setting.tokens(session.model().vocabulary.expect("a vocabulary") as usize);
    let generate = |tokens: Vec<u32>| {
        let request = Request::tokens(tokens, setting.decode as u32 + 1).exact();
        let (mut stamps, mut said) = (Vec::new(), Vec::new());
        futures_executor::block_on(async {
            let mut events = session.generate(Batch::from(request));
            while let Some(event) = events.next().await {
                let event = event.expect("an event");
                match event.kind {
                    EventKind::Sent => stamps.push(event.at),
                    EventKind::Chunk { id, .. } => {
                        stamps.push(event.at);
                        said.extend(id);
                    }
                    _ => {}
                }
            }
        });
        let seconds = |from: usize, to: usize| (stamps[to].0 - stamps[from].0) as f64 / 1e9;
        Figures {
            prefill_s: seconds(0, 1),
            decode_s: seconds(1, stamps.len() - 1),
            tokens: said,
            bytes_per_token: None,
        }
    };
    generate(tokens.clone());
    median((0..GENERATIONS).map(|_| generate(tokens.clone())))
}
