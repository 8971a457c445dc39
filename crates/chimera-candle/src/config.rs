//! The shapes and constants of a model, read from `config.json` or from GGUF metadata into one form. Values that the
//! models here cannot honour are refused: computing something else in silence is worse than not computing.

use std::path::Path;

use chimera_engine::files::gguf::GgufFile;
use serde_json::Value as Json;

use crate::error::LoadError;

/// Which model a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    Gpt2,
    Llama,
    Gemma3,
}

/// Shapes and constants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) architecture: Architecture,
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) feed_forward: usize,
    /// `None` where only the embedding's shape tells.
    pub(crate) vocabulary: Option<usize>,
    pub(crate) context: usize,
    /// Epsilon of the norms.
    pub(crate) epsilon: f64,
    /// Base of the rotary frequencies, and of those in layers with a window.
    pub(crate) rope_base: f64,
    pub(crate) rope_local_base: f64,
    /// Divides positions of the layers without a window (linear scaling); 1 changes nothing.
    pub(crate) rope_factor: f64,
    /// Positions that a layer with a window sees; every `window_pattern`-th layer sees all.
    pub(crate) window: Option<usize>,
    pub(crate) window_pattern: usize,
    /// Multiplies attention scores.
    pub(crate) attention_scale: f64,
    pub(crate) end_of_sequence: Vec<u32>,
}

const GEMMA_LOCAL_BASE: f64 = 10_000.0;
const GEMMA_PATTERN: usize = 6;

/// Largest value that is believed of any shape: it keeps products of three within 64 bits.
const LARGEST: u64 = 1 << 20;

impl Config {
    /// Reads `config.json`.
    pub(crate) fn from_json(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read(path).map_err(|e| LoadError::io(path, e))?;
        let json: Json =
            serde_json::from_slice(&text).map_err(|e| LoadError::invalid(path, e.to_string()))?;
        let keys = Keys { path, json: &json };
        let kind = keys.json["model_type"].as_str().unwrap_or_default();
        let architecture = match kind {
            "gpt2" => Architecture::Gpt2,
            "llama" => Architecture::Llama,
            "gemma3_text" => Architecture::Gemma3,
            other => {
                return Err(LoadError::unsupported(format!("model_type {other:?} in {}", path.display())));
            }
        };
        let config = match architecture {
            Architecture::Gpt2 => keys.gpt2(),
            _ => keys.rotary(architecture),
        }?;
        config.checked(path)
    }

    /// Reads GGUF metadata.
    pub(crate) fn from_gguf(file: &GgufFile) -> Result<Self, LoadError> {
        let missing = |key: &str| LoadError::invalid(file.path(), format!("the metadata lack {key}"));
        let name = file.text("general.architecture").ok_or_else(|| missing("general.architecture"))?;
        let architecture = match name {
            "gpt2" => Architecture::Gpt2,
            "llama" => Architecture::Llama,
            "gemma3" => Architecture::Gemma3,
            other => return Err(LoadError::unsupported(format!("architecture {other:?} in GGUF"))),
        };
        let key = |key: &str| format!("{name}.{key}");
        let optional = |k: &str| -> Result<Option<usize>, LoadError> {
            file.unsigned(&key(k)).map(|n| small(n, &key(k), file.path())).transpose()
        };
        let number = |k: &str| optional(k)?.ok_or_else(|| missing(&key(k)));
        let float = |k: &str| file.float(&key(k));

        if file.text(&key("rope.scaling.type")).is_some_and(|kind| kind != "none" && kind != "linear") {
            return Err(LoadError::unsupported("rotary scaling other than linear in GGUF"));
        }
        if file.tensor("rope_freqs.weight").is_some() {
            return Err(LoadError::unsupported("rotary frequencies of their own (rope_freqs) in GGUF"));
        }
        if optional("expert_count")?.unwrap_or(0) != 0 {
            return Err(LoadError::unsupported("mixtures of experts"));
        }
        let (width, heads) = (number("embedding_length")?, number("attention.head_count")?);
        if heads == 0 {
            return Err(LoadError::invalid(file.path(), "it has no attention heads"));
        }
        let head_dim = optional("attention.key_length")?.unwrap_or(width / heads);
        if let Some(turned) = optional("rope.dimension_count")?
            && turned != head_dim
            && architecture != Architecture::Gpt2
        {
            return Err(LoadError::unsupported(format!("rotary positions on {turned} of {head_dim} values")));
        }
        let epsilon =
            float("attention.layer_norm_rms_epsilon").or_else(|| float("attention.layer_norm_epsilon"));
        let gemma = architecture == Architecture::Gemma3;
        let layers = number("block_count")?;
        Self {
            architecture,
            layers,
            width,
            heads,
            kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            feed_forward: number("feed_forward_length")?,
            vocabulary: None,
            context: number("context_length")?,
            epsilon: epsilon.ok_or_else(|| missing(&key("attention.layer_norm_epsilon")))?,
            rope_base: float("rope.freq_base").unwrap_or(if gemma { 1e6 } else { 1e4 }),
            rope_local_base: float("rope.freq_base_swa").unwrap_or(GEMMA_LOCAL_BASE),
            rope_factor: float("rope.scaling.factor").unwrap_or(1.0),
            window: if gemma { Some(number("attention.sliding_window")?) } else { None },
            window_pattern: optional("attention.sliding_window_pattern")?.unwrap_or(GEMMA_PATTERN),
            // Gemma 3 scales by its head width too, but for the 27B model, which scales by width per head.
            attention_scale: if gemma && layers == 62 {
                (width as f64 / heads as f64).powf(-0.5)
            } else {
                (head_dim as f64).powf(-0.5)
            },
            end_of_sequence: file.end_of_sequence(),
        }
        .checked(file.path())
    }

    /// Whether layer `index` sees all positions.
    pub(crate) fn sees_all(&self, index: usize) -> bool {
        self.window.is_none() || (index + 1).is_multiple_of(self.window_pattern)
    }

    fn checked(self, path: &Path) -> Result<Self, LoadError> {
        let Self { layers, width, heads, kv_heads, head_dim, feed_forward, context, window_pattern, .. } =
            self;
        let zero =
            [layers, width, heads, kv_heads, head_dim, feed_forward, context, window_pattern].contains(&0);
        let wrong = if zero || self.window == Some(0) {
            Some("a shape of zero".to_owned())
        } else if !heads.is_multiple_of(kv_heads) {
            Some(format!("{heads} heads that {kv_heads} key/value heads do not divide"))
        } else if self.architecture == Architecture::Gpt2 && heads * head_dim != width {
            Some(format!("{heads} heads of {head_dim} that do not fill the width {width}"))
        } else if self.architecture != Architecture::Gpt2 && !head_dim.is_multiple_of(2) {
            Some(format!("a head width of {head_dim} that rotary pairs do not fill"))
        } else if !(self.epsilon.is_finite() && self.rope_base > 0.0 && self.rope_factor > 0.0) {
            Some("a constant that is not a positive number".to_owned())
        } else {
            None
        };
        match wrong {
            Some(what) => Err(LoadError::invalid(path, format!("it describes {what}"))),
            None => Ok(self),
        }
    }
}

fn small(n: u64, key: &str, path: &Path) -> Result<usize, LoadError> {
    // A context may be larger than any matrix.
    if n > LARGEST << 8 {
        return Err(LoadError::invalid(path, format!("{key} is {n}")));
    }
    Ok(n as usize)
}

struct Keys<'a> {
    path: &'a Path,
    json: &'a Json,
}

impl Keys<'_> {
    fn optional(&self, key: &str) -> Result<Option<usize>, LoadError> {
        match &self.json[key] {
            Json::Null => Ok(None),
            value => match value.as_u64() {
                Some(n) => small(n, key, self.path).map(Some),
                None => Err(LoadError::invalid(self.path, format!("{key} is {value}"))),
            },
        }
    }

    fn number(&self, key: &str) -> Result<usize, LoadError> {
        self.optional(key)?.ok_or_else(|| LoadError::invalid(self.path, format!("{key} is missing")))
    }

    fn float(&self, key: &str, default: f64) -> f64 {
        self.json[key].as_f64().unwrap_or(default)
    }

    /// Refuses a value that would change the computation; a missing key has the value that is right.
    fn only(&self, key: &str, right: &Json) -> Result<(), LoadError> {
        match &self.json[key] {
            Json::Null => Ok(()),
            value if value == right => Ok(()),
            value => Err(LoadError::unsupported(format!("{key} = {value} in {}", self.path.display()))),
        }
    }

    fn ends(&self) -> Vec<u32> {
        let id = |v: &Json| v.as_u64().and_then(|n| u32::try_from(n).ok());
        match &self.json["eos_token_id"] {
            Json::Array(all) => all.iter().filter_map(id).collect(),
            one => id(one).into_iter().collect(),
        }
    }

    fn gpt2(&self) -> Result<Config, LoadError> {
        self.only("activation_function", &"gelu_new".into())?;
        self.only("scale_attn_weights", &true.into())?;
        self.only("scale_attn_by_inverse_layer_idx", &false.into())?;
        let (width, heads) = (self.number("n_embd")?, self.number("n_head")?);
        let head_dim = width.checked_div(heads).unwrap_or(0);
        Ok(Config {
            architecture: Architecture::Gpt2,
            layers: self.number("n_layer")?,
            width,
            heads,
            kv_heads: heads,
            head_dim,
            feed_forward: self.optional("n_inner")?.unwrap_or(4 * width),
            vocabulary: self.optional("vocab_size")?,
            context: self.number("n_positions")?,
            epsilon: self.float("layer_norm_epsilon", 1e-5),
            rope_base: 1.0,
            rope_local_base: 1.0,
            rope_factor: 1.0,
            window: None,
            window_pattern: 1,
            attention_scale: (head_dim as f64).powf(-0.5),
            end_of_sequence: self.ends(),
        })
    }

    fn rotary(&self, architecture: Architecture) -> Result<Config, LoadError> {
        let gemma = architecture == Architecture::Gemma3;
        self.only("attention_bias", &false.into())?;
        self.only("mlp_bias", &false.into())?;
        self.only("attn_logit_softcapping", &Json::Null)?;
        self.only("final_logit_softcapping", &Json::Null)?;
        if gemma {
            self.only("hidden_activation", &"gelu_pytorch_tanh".into())?;
        } else {
            self.only("hidden_act", &"silu".into())?;
        }
        let (width, heads) = (self.number("hidden_size")?, self.number("num_attention_heads")?);
        let head_dim = self.optional("head_dim")?.unwrap_or(width.checked_div(heads).unwrap_or(0));
        Ok(Config {
            architecture,
            layers: self.number("num_hidden_layers")?,
            width,
            heads,
            kv_heads: self.optional("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            feed_forward: self.number("intermediate_size")?,
            vocabulary: self.optional("vocab_size")?,
            context: self.number("max_position_embeddings")?,
            epsilon: self.float("rms_norm_eps", 1e-6),
            rope_base: self.float("rope_theta", if gemma { 1e6 } else { 1e4 }),
            rope_local_base: self.float("rope_local_base_freq", GEMMA_LOCAL_BASE),
            rope_factor: self.rope_factor()?,
            window: if gemma { Some(self.number("sliding_window")?) } else { None },
            window_pattern: self
                .optional("sliding_window_pattern")?
                .or(self.optional("_sliding_window_pattern")?)
                .unwrap_or(GEMMA_PATTERN),
            attention_scale: self.float("query_pre_attn_scalar", head_dim as f64).powf(-0.5),
            end_of_sequence: self.ends(),
        })
    }

    fn rope_factor(&self) -> Result<f64, LoadError> {
        let scaling = &self.json["rope_scaling"];
        if scaling.is_null() {
            return Ok(1.0);
        }
        let kind = scaling["rope_type"].as_str().or_else(|| scaling["type"].as_str());
        match (kind, scaling["factor"].as_f64()) {
            (Some("linear"), Some(factor)) => Ok(factor),
            (Some("default"), _) => Ok(1.0),
            _ => Err(LoadError::unsupported(format!("rope_scaling = {scaling} in {}", self.path.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use chimera_engine::files::FileError;
    use serde_json::json;

    use super::*;

    fn read(json: &Json) -> Result<Config, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json.to_string()).unwrap();
        Config::from_json(&path)
    }

    fn gpt2() -> Json {
        json!({"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 3, "n_positions": 16, "vocab_size": 32,
               "activation_function": "gelu_new", "eos_token_id": 31})
    }

    #[test]
    fn gpt2_is_read() {
        let config = read(&gpt2()).unwrap();
        assert_eq!((config.head_dim, config.feed_forward, config.context), (4, 32, 16));
        assert!((config.attention_scale - 0.5).abs() < 1e-12);
        assert_eq!(config.end_of_sequence, [31]);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let with = |key: &str, value: Json| {
            let mut json = gpt2();
            json[key] = value;
            read(&json).unwrap_err()
        };
        assert!(matches!(
            with("activation_function", "relu".into()),
            LoadError::File(FileError::Unsupported(_))
        ));
        assert!(matches!(with("model_type", "mamba".into()), LoadError::File(FileError::Unsupported(_))));
        for (key, value) in [
            ("n_head", json!(0)),
            ("n_head", json!(3)),
            ("n_layer", json!(-1)),
            ("n_embd", json!("x")),
            ("n_embd", json!(1u64 << 60)),
        ] {
            assert!(
                matches!(with(key, value.clone()), LoadError::File(FileError::Invalid { .. })),
                "{key} = {value}"
            );
        }
    }
}
