//! A specification as llama.cpp's metadata keys, and back.

use super::read::GgufFile;
use super::value::Value;
use crate::error::ZooError;
use crate::spec::{Architecture, Gemma3Spec, Gpt2Spec, LlamaSpec, ModelSpec};
use crate::variant::Encoding;

/// Gemma 3's values where a file has no key: llama.cpp had them built in before it had keys for them.
const GEMMA3_PATTERN: usize = 6;
const GEMMA3_LOCAL_THETA: f64 = 10_000.0;

/// The keys of a model, without its tokenizer's.
pub(crate) fn metadata(spec: &ModelSpec, encoding: Encoding, licence: &str) -> Vec<(String, Value)> {
    let arch = spec.family().name();
    let shape = spec.shape();
    // llama.cpp's `enum llama_ftype`.
    let file_type = match encoding {
        // INT8 dynamic is no form of GGUF; the writer refuses it.
        Encoding::F32 | Encoding::Int8Dynamic => 0,
        Encoding::F16 => 1,
        Encoding::Q4_0 => 2,
        Encoding::Q8_0 => 7,
    };
    let text = |key: &str, value: &str| (key.to_owned(), Value::String(value.to_owned()));
    let number = |key: &str, value: usize| (format!("{arch}.{key}"), Value::U32(value as u32));
    let real = |key: &str, value: f64| (format!("{arch}.{key}"), Value::F32(value as f32));
    let mut out = vec![
        text("general.architecture", arch),
        text("general.type", "model"),
        text("general.name", &spec.name),
        text("general.license", licence),
        ("general.file_type".to_owned(), Value::U32(file_type)),
        ("general.quantization_version".to_owned(), Value::U32(2)),
        number("block_count", shape.layers),
        number("context_length", shape.ctx),
        number("embedding_length", shape.width),
        number("feed_forward_length", shape.feed_forward),
        number("attention.head_count", shape.heads),
        number("vocab_size", shape.vocab),
    ];
    match &spec.architecture {
        Architecture::Gpt2(s) => out.push(real("attention.layer_norm_epsilon", s.layer_norm_eps)),
        Architecture::Llama(s) => out.extend([
            number("attention.head_count_kv", s.kv_heads),
            number("attention.key_length", s.head_dim),
            number("attention.value_length", s.head_dim),
            real("attention.layer_norm_rms_epsilon", s.rms_eps),
            number("rope.dimension_count", s.head_dim),
            real("rope.freq_base", s.rope_theta),
        ]),
        Architecture::Gemma3(s) => out.extend([
            number("attention.head_count_kv", s.kv_heads),
            number("attention.key_length", s.head_dim),
            number("attention.value_length", s.head_dim),
            real("attention.layer_norm_rms_epsilon", s.rms_eps),
            number("attention.sliding_window", s.sliding_window),
            number("attention.sliding_window_pattern", s.sliding_window_pattern),
            real("rope.freq_base", s.rope_theta),
            real("rope.freq_base_swa", s.rope_local_theta),
        ]),
    }
    out
}

/// The specification that a file's metadata describe, under the given name. The seed is 0: nothing was drawn.
pub(crate) fn spec_of(file: &GgufFile, name: &str) -> Result<ModelSpec, ZooError> {
    let unsupported = |what: String| ZooError::Unsupported { path: file.path().to_path_buf(), what };
    let arch = file
        .get("general.architecture")
        .and_then(Value::as_str)
        .ok_or_else(|| unsupported("no general.architecture".to_owned()))?;
    let keys = Keys { file, arch };
    let tied = file.tensor("output.weight").is_none();
    let scaling = file.get(&format!("{arch}.rope.scaling.type")).and_then(Value::as_str);
    if scaling.is_some_and(|s| s != "none") || file.tensor("rope_freqs.weight").is_some() {
        return Err(unsupported("scaled rotary positions (rope.scaling.type, rope_freqs.weight)".to_owned()));
    }
    let vocab = file
        .tensor("token_embd.weight")
        .and_then(|t| t.shape.first().copied())
        .ok_or_else(|| unsupported("no token_embd.weight".to_owned()))?;
    let token = |key: &str| {
        file.get(&format!("tokenizer.ggml.{key}_token_id"))
            .and_then(Value::as_u64)
            .and_then(|v| v.try_into().ok())
    };
    let width = keys.number("embedding_length")?;
    let heads = keys.number("attention.head_count")?;
    let kv_heads = keys.number_or("attention.head_count_kv", heads)?;
    let head_dim = keys.number_or("attention.key_length", width / heads.max(1))?;
    let architecture = match arch {
        "gpt2" => Architecture::Gpt2(Gpt2Spec {
            vocab,
            ctx: keys.number("context_length")?,
            layers: keys.number("block_count")?,
            width,
            heads,
            layer_norm_eps: keys.real("attention.layer_norm_epsilon")?,
            tied,
        }),
        "llama" => {
            if keys.number_or("expert_count", 0)? != 0 {
                return Err(unsupported("a mixture of experts (llama.expert_count)".to_owned()));
            }
            let turned = keys.number_or("rope.dimension_count", head_dim)?;
            if turned != head_dim {
                return Err(unsupported(format!("rotary positions on {turned} of {head_dim} dimensions")));
            }
            Architecture::Llama(LlamaSpec {
                vocab,
                ctx: keys.number("context_length")?,
                layers: keys.number("block_count")?,
                width,
                heads,
                kv_heads,
                head_dim,
                feed_forward: keys.number("feed_forward_length")?,
                rope_theta: keys.real_or("rope.freq_base", 10_000.0)?,
                rms_eps: keys.real("attention.layer_norm_rms_epsilon")?,
                tied,
                bos: token("bos"),
                eos: token("eos"),
            })
        }
        "gemma3" if !tied => return Err(unsupported("output.weight beside gemma3's tied head".to_owned())),
        "gemma3" => Architecture::Gemma3(Gemma3Spec {
            vocab,
            ctx: keys.number("context_length")?,
            layers: keys.number("block_count")?,
            width,
            heads,
            kv_heads,
            head_dim,
            feed_forward: keys.number("feed_forward_length")?,
            sliding_window: keys.number("attention.sliding_window")?,
            sliding_window_pattern: keys.number_or("attention.sliding_window_pattern", GEMMA3_PATTERN)?,
            rope_theta: keys.real_or("rope.freq_base", 1_000_000.0)?,
            rope_local_theta: keys.real_or("rope.freq_base_swa", GEMMA3_LOCAL_THETA)?,
            rms_eps: keys.real("attention.layer_norm_rms_epsilon")?,
            bos: token("bos"),
            eos: token("eos"),
        }),
        other => return Err(unsupported(format!("architecture {other} (gpt2, llama and gemma3 are read)"))),
    };
    let spec = ModelSpec { name: name.to_owned(), seed: 0, architecture };
    spec.validate()?;
    Ok(spec)
}

/// An architecture's keys in a file.
struct Keys<'a> {
    file: &'a GgufFile,
    arch: &'a str,
}

impl Keys<'_> {
    fn get<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, ZooError> {
        let key = format!("{}.{key}", self.arch);
        match self.file.get(&key) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.unsupported(format!("key {key} of another type"))),
            },
        }
    }

    fn unsupported(&self, what: String) -> ZooError {
        ZooError::Unsupported { path: self.file.path().to_path_buf(), what }
    }

    fn missing(&self, key: &str) -> ZooError {
        self.unsupported(format!("no {}.{key}", self.arch))
    }

    fn number(&self, key: &str) -> Result<usize, ZooError> {
        self.get(key, count)?.ok_or_else(|| self.missing(key))
    }

    fn number_or(&self, key: &str, default: usize) -> Result<usize, ZooError> {
        Ok(self.get(key, count)?.unwrap_or(default))
    }

    fn real(&self, key: &str) -> Result<f64, ZooError> {
        self.get(key, Value::as_f64)?.ok_or_else(|| self.missing(key))
    }

    fn real_or(&self, key: &str, default: f64) -> Result<f64, ZooError> {
        Ok(self.get(key, Value::as_f64)?.unwrap_or(default))
    }
}

/// A number that a specification may hold: none needs more than 32 bits.
fn count(value: &Value) -> Option<usize> {
    u32::try_from(value.as_u64()?).ok().map(|v| v as usize)
}
