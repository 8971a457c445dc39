//! What an arm is told and what it answers, and the process of one block.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use chimera_zoo::Zoo;
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
}

impl Figures {
    pub(crate) fn to_json(&self) -> String {
        json!({ "prefill_s": self.prefill_s, "decode_s": self.decode_s, "tokens": self.tokens }).to_string()
    }

    pub(crate) fn from_json(text: &str) -> Self {
        let value: Value = serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("an arm said {text}"));
        let number = |name: &str| value[name].as_f64().expect("a number");
        let tokens = value["tokens"].as_array().expect("tokens");
        Self {
            prefill_s: number("prefill_s"),
            decode_s: number("decode_s"),
            tokens: tokens.iter().map(|id| id.as_u64().expect("an id") as u32).collect(),
        }
    }
}

/// Runs a function of (tokens so far) greedily and takes the times: once to warm up, then once.
pub(crate) fn timed(mut generate: impl FnMut(&mut dyn FnMut(u32))) -> Figures {
    generate(&mut |_| {});
    let (start, mut stamps, mut tokens) = (Instant::now(), Vec::new(), Vec::new());
    generate(&mut |token| {
        stamps.push(start.elapsed().as_secs_f64());
        tokens.push(token);
    });
    let (first, last) = (stamps[0], stamps[stamps.len() - 1]);
    Figures { prefill_s: first, decode_s: last - first, tokens }
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
