//! ONNX Runtime: our adapter through a session of the laboratory, a bare loop on `ort`, and onnxruntime in Python with its
//! bindings. All take the zoo's graph with its KV cache, one lane, greedily.

use std::{
    borrow::Cow,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use chimera_core::{Session, SystemClock};
use chimera_onnxruntime::OnnxRuntimeBackend;
use chimera_zoo::Variant;
use ort::{
    memory::Allocator,
    session::{SessionInputValue, builder::GraphOptimizationLevel},
    value::{DynTensor, DynValue, Tensor, TensorElementType},
};

use crate::{
    Arm, Engine,
    arm::{Figures, GENERATIONS, Setting, generate, greedy, resident, setting_of, timed, zoo},
};

pub(crate) const ENGINE: Engine = Engine { name: "onnxruntime", prepare, arms, run };

const OURS: &str = "ours";
const BARE: &str = "bare";
const PYTHON: &str = "python";

/// Where `cargo xtask bench-engines` puts what it has fetched.
const LIBRARY: &str = "ORT_DYLIB_PATH";
const INTERPRETER: &str = "CHIMERA_ENGINES_PYTHON";

fn library() -> Option<PathBuf> {
    std::env::var_os(LIBRARY).map(PathBuf::from)
}

fn prepare(model: &str) -> Result<Setting, String> {
    library().ok_or(format!("{LIBRARY} names no library; `cargo xtask bench-engines` fetches it"))?;
    let zoo = zoo()?;
    let files = zoo.ensure(model, Variant::F32Onnx).map_err(|error| error.to_string())?;
    let threads = chimera_onnxruntime::threads();
    let info = load(&files.weights, threads)?.model().clone();
    Ok(setting_of(model, files.weights, &info, threads))
}

fn arms() -> Vec<Arm> {
    let python = match std::env::var_os(INTERPRETER) {
        Some(_) => None,
        None => Some(format!("no Python with onnxruntime ({INTERPRETER})")),
    };
    vec![
        Arm { name: "chimera-onnxruntime", key: OURS, missing: None },
        Arm { name: "a bare `ort` loop", key: BARE, missing: None },
        Arm { name: "onnxruntime in Python, bound", key: PYTHON, missing: python },
    ]
}

fn run(key: &str, setting: &Setting) -> Figures {
    match key {
        OURS => generate(&*load(&setting.file, setting.threads).expect("the model loads"), setting),
        BARE => bare(setting),
        PYTHON => python(setting),
        other => panic!("no arm {other}"),
    }
}

/// Why [`int8`] cannot run here.
#[cfg(feature = "llamacpp")]
pub(crate) fn missing() -> Option<String> {
    library().is_none().then(|| format!("{LIBRARY} names no library"))
}

/// Our adapter on the dynamic INT8 graph of a model of the zoo, for the benches of other engines.
#[cfg(feature = "llamacpp")]
pub(crate) fn int8(setting: &Setting) -> Figures {
    let name = setting.model.split(' ').next().unwrap_or_default();
    let graph =
        zoo().and_then(|zoo| zoo.ensure(name, Variant::Int8DynamicOnnx).map_err(|error| error.to_string()));
    let session = load(&graph.expect("a graph").weights, setting.threads).expect("the model loads");
    let bytes_per_token = session.model().weight_bytes_per_token;
    Figures { bytes_per_token, ..generate(&*session, setting) }
}

fn load(graph: &Path, threads: usize) -> Result<Arc<dyn Session>, String> {
    let builder = OnnxRuntimeBackend::builder(SystemClock::new(), library().unwrap_or_default());
    resident(&builder.threads(NonZeroUsize::new(threads)).build(), graph)
}

/// The library's own defaults, but for the threads.
fn open(setting: &Setting) -> ort::Result<ort::session::Session> {
    let environment = ort::init_from(library().expect("a library")).expect("it opens").build()?;
    ort::session::Session::builder(&environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(setting.threads)?
        .commit_from_file(&setting.file)
}

/// As one writes it with `ort` alone: what a call gives is what the next one takes.
fn bare(setting: &Setting) -> Figures {
    let mut session = open(setting).expect("the graph loads");
    let past: Vec<String> = session
        .inputs()
        .iter()
        .map(|input| input.name().to_owned())
        .filter(|name| name.starts_with("past_key_values."))
        .collect();
    let first = session.inputs().iter().find(|input| input.name() == past[0]).expect("a cache");
    let shape = first.dtype().tensor_shape().expect("a shape").to_vec();
    let logits = session.outputs().iter().find(|output| output.name() == "logits").expect("logits");
    let vocabulary = logits.dtype().tensor_shape().expect("a shape")[2] as usize;
    let prompt = setting.tokens(vocabulary);
    timed(|say| {
        let mut cache: Vec<DynValue> = past
            .iter()
            .map(|_| {
                let shape = [1, shape[1], 0, shape[3]];
                DynTensor::new(&Allocator::default(), TensorElementType::Float32, shape).unwrap().into_dyn()
            })
            .collect();
        let (mut length, mut next) = (0, prompt.clone());
        for _ in 0..=setting.decode {
            let count = next.len();
            let whole = |values: Vec<i64>| Tensor::from_array(([1, values.len()], values)).unwrap();
            let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
                ("input_ids".into(), whole(next.iter().map(|&id| i64::from(id)).collect()).into()),
                ("attention_mask".into(), whole(vec![1; length + count]).into()),
                (
                    "position_ids".into(),
                    whole((length..length + count).map(|position| position as i64).collect()).into(),
                ),
                ("num_logits_to_keep".into(), Tensor::from_array(((), vec![1_i64])).unwrap().into()),
            ];
            for (name, value) in past.iter().zip(std::mem::take(&mut cache)) {
                inputs.push((name.as_str().into(), value.into()));
            }
            let mut outputs = session.run(inputs).expect("it runs");
            for name in &past {
                let present = name.replace("past_key_values", "present");
                cache.push(outputs.remove(&present).expect("a present"));
            }
            let (_, logits) = outputs["logits"].try_extract_tensor::<f32>().expect("floats");
            let token = greedy(&logits[logits.len() - vocabulary..]);
            say(token);
            length += count;
            next = vec![token];
        }
    })
}

fn python(setting: &Setting) -> Figures {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("against_engines/onnxruntime_loop.py");
    let output = Command::new(std::env::var_os(INTERPRETER).expect("a Python"))
        .arg(script)
        .arg(&setting.file)
        .args([setting.threads, setting.prompt, setting.decode, GENERATIONS].map(|number| number.to_string()))
        .output()
        .expect("the Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Figures::from_json(&String::from_utf8_lossy(&output.stdout))
}
