//! llama.cpp: our adapter through a session of the laboratory, a plain loop on `llama-cpp-2`, and llama.cpp's own
//! `llama-bench`. All take one GGUF file, one lane, the same threads and llama.cpp's own batch sizes.
//!
//! `llama-bench` decodes random tokens behind a prompt of the same length: what it says is not compared. It is named by
//! `CHIMERA_LLAMA_BENCH` and must be of the revision that the crate brings; `docs/decisions/0011-llama-cpp-in-process.md`
//! says how it is built from the crate's own libraries.

use std::{ffi::OsString, num::NonZeroU32, process::Command, sync::Arc};

use chimera_core::{Session, SystemClock};
use chimera_llamacpp::LlamaCppBackend;
use llama_cpp_2::{
    context::params::LlamaContextParams,
    llama_backend::LlamaBackend,
    llama_batch::LlamaBatch,
    model::{LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
};

use crate::{
    Arm, Engine,
    arm::{Figures, GENERATIONS, Setting, generate, gguf, greedy, middle, resident, setting_of, timed},
    candle, onnxruntime,
};

pub(crate) const ENGINE: Engine = Engine { name: "llamacpp", prepare, arms, run };

const OURS: &str = "ours";
const BARE: &str = "bare";
const BENCH: &str = "llama-bench";
/// Our adapters of other engines, on the same weights.
const CANDLE: &str = "candle";
const ONNX: &str = "onnxruntime";

/// Names the program.
const PROGRAM: &str = "CHIMERA_LLAMA_BENCH";

fn program() -> Option<OsString> {
    std::env::var_os(PROGRAM).filter(|path| !path.is_empty())
}

fn load(file: &std::path::Path) -> Result<Arc<dyn Session>, String> {
    resident(&LlamaCppBackend::builder(SystemClock::new()).build(), file)
}

fn prepare(model: &str) -> Result<Setting, String> {
    let file = gguf(model)?;
    let info = load(&file)?.model().clone();
    Ok(setting_of(model, file, &info, chimera_llamacpp::threads()))
}

fn arms() -> Vec<Arm> {
    let missing = match program() {
        Some(_) => None,
        None => Some(format!("{PROGRAM} names no llama-bench")),
    };
    vec![
        Arm { name: "chimera-llamacpp", key: OURS, missing: None },
        Arm { name: "a plain `llama-cpp-2` loop", key: BARE, missing: None },
        Arm { name: "llama-bench", key: BENCH, missing },
        Arm { name: "chimera-candle, the same file", key: CANDLE, missing: None },
        Arm { name: "chimera-onnxruntime, INT8 dynamic", key: ONNX, missing: onnxruntime::missing() },
    ]
}

fn run(key: &str, setting: &Setting) -> Figures {
    match key {
        OURS => generate(&*load(&setting.file).expect("the model loads"), setting),
        BARE => bare(setting),
        BENCH => llama_bench(setting),
        CANDLE => generate(&*candle::load(&setting.file).expect("the model loads"), setting),
        ONNX => onnxruntime::int8(setting),
        other => panic!("no arm {other}"),
    }
}

/// As the crate's own example does it: a batch, a call, the largest logit.
fn bare(setting: &Setting) -> Figures {
    let mut backend = LlamaBackend::init().unwrap();
    backend.void_logs();
    let model = LlamaModel::load_from_file(
        &backend,
        &setting.file,
        &LlamaModelParams::default().with_n_gpu_layers(0),
    )
    .unwrap();
    let threads = i32::try_from(setting.threads).unwrap();
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(2048))
        .with_n_batch(512)
        .with_n_ubatch(512)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    let mut context = model.new_context(&backend, params).unwrap();
    let mut batch = LlamaBatch::new(512, 1);
    let prompt = setting.tokens(model.n_vocab() as usize);
    timed(|say| {
        context.clear_kv_cache_seq(None, None, None).unwrap();
        batch.clear();
        for (at, &token) in prompt.iter().enumerate() {
            batch.add(LlamaToken(token as i32), at as i32, &[0], at + 1 == prompt.len()).unwrap();
        }
        context.decode(&mut batch).unwrap();
        let mut token = greedy(context.get_logits_ith(batch.n_tokens() - 1));
        say(token);
        for at in 0..setting.decode {
            batch.clear();
            batch.add(LlamaToken(token as i32), (prompt.len() + at) as i32, &[0], true).unwrap();
            context.decode(&mut batch).unwrap();
            token = greedy(context.get_logits_ith(0));
            say(token);
        }
    })
}

/// Two tests of `llama-bench`: the prompt, and the answer behind a prompt of that length. It warms up by itself.
fn llama_bench(setting: &Setting) -> Figures {
    let seconds = |prompt: usize, answer: usize, depth: usize| {
        let output = Command::new(program().expect("a program"))
            .arg("-m")
            .arg(&setting.file)
            .args(["-t", &setting.threads.to_string(), "-ngl", "0", "-o", "json"])
            .args(["-r", &GENERATIONS.to_string()])
            .args(["-p", &prompt.to_string(), "-n", &answer.to_string(), "-d", &depth.to_string()])
            .output()
            .expect("llama-bench starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tests: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let samples = tests[0]["samples_ns"].as_array().expect("times");
        middle(samples.iter().map(|ns| ns.as_f64().expect("a time") / 1e9))
    };
    Figures {
        prefill_s: seconds(setting.prompt, 0, 0),
        decode_s: seconds(0, setting.decode, setting.prompt),
        tokens: Vec::new(),
        bytes_per_token: None,
    }
}
