//! What a GGUF file says of its model, read and checked before llama.cpp sees the file: llama.cpp takes many of its own
//! assumptions for granted and ends the process where they do not hold.

use std::path::Path;

use chimera_core::{LoadOptions, ModelInfo, Parameters};
use chimera_engine::{
    Texts, Tokenizer, file_digest,
    files::{
        FileError,
        gguf::{Description, GgufFile, Value},
    },
};

/// Largest value that is believed of any shape: it keeps products of three within 64 bits.
const LARGEST: u64 = 1 << 20;

/// Largest context that is believed.
const LONGEST: u64 = 1 << 28;

/// Constants of the arithmetic.
const CONSTANTS: &[&str] = &[
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.group_norm_epsilon",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scaling.factor",
];

/// A checked header.
pub(crate) struct Header {
    pub(crate) info: ModelInfo,
    pub(crate) texts: Texts,
    pub(crate) end_of_sequence: Vec<u32>,
    /// Longest prompt and answer together.
    pub(crate) context: usize,
    /// Whether the weights are F32: then keys and values are kept so too.
    pub(crate) full_precision: bool,
    /// Whether heads are one wide: llama.cpp's plain attention takes their values for transposed ones and aborts.
    pub(crate) narrow: bool,
}

impl Header {
    pub(crate) fn read(name: &str, path: &Path, options: &LoadOptions) -> Result<Self, FileError> {
        let mut file = GgufFile::open(path)?;
        let shape = Shape::read(&file)?;
        let trained = shape.context as u64;
        let context = match options.context {
            None => trained,
            Some(asked) if asked > 0 && u64::from(asked) <= trained => asked.into(),
            Some(asked) => {
                return Err(FileError::Unsupported(format!(
                    "a context of {asked}: {} has one of {trained}",
                    path.display()
                )));
            }
        };
        let weights = Weights::of(&file, &shape);
        let narrow = shape.head_dims.is_some_and(|(key, value)| key == 1 || value == 1);
        let full_precision = weights.precision == Some("F32");
        let value_bytes = if full_precision { 4 } else { 2 };
        let small = |n: u64| u32::try_from(n).ok();
        let mut info = ModelInfo::named(name);
        info.digest = Some(file_digest(path).map_err(|e| FileError::io(path, e))?);
        info.parameters = Some(Parameters { total: weights.total, active: weights.active });
        info.layers = small(shape.layers);
        info.width = small(shape.width);
        info.heads = shape.heads.and_then(small);
        info.kv_heads = shape.kv_heads.and_then(small);
        info.vocabulary = small(shape.vocabulary as u64);
        info.context = small(context);
        info.quantisation = weights.precision.map(str::to_owned);
        info.weight_bytes_per_token = Some(weights.bytes_per_token);
        info.kv_bytes_per_position = shape.kv_values().map(|values| values * value_bytes);
        let end_of_sequence = file.end_of_sequence();
        let chat = file.chat_template();
        let tokenizer = match file.vocabulary() {
            Some(vocabulary) => Tokenizer::from_gguf(vocabulary),
            None => Tokenizer::without_file(&shape.architecture, shape.vocabulary),
        };
        let texts = Texts::new(path, tokenizer, chat);
        let context = usize::try_from(context).unwrap_or(usize::MAX);
        Ok(Self { info, texts, end_of_sequence, context, full_precision, narrow })
    }
}

/// Numbers that describe the model. What differs from layer to layer is `None`.
struct Shape {
    architecture: String,
    layers: u64,
    width: u64,
    heads: Option<u64>,
    kv_heads: Option<u64>,
    head_dims: Option<(u64, u64)>,
    context: usize,
    vocabulary: usize,
    experts: Option<(u64, u64)>,
}

impl Shape {
    fn read(file: &GgufFile) -> Result<Self, FileError> {
        let keys = Keys::of(file)?;
        let embedding = file
            .tensor("token_embd.weight")
            .ok_or_else(|| keys.invalid("tensor token_embd.weight is missing"))?;
        let (width, layers) = (keys.needed("embedding_length")?, keys.needed("block_count")?);
        let context = keys.small("context_length", LONGEST)?.ok_or_else(|| keys.missing("context_length"))?;
        let vocabulary = match embedding.shape.as_slice() {
            [rows, columns] if *columns as u64 == width => *rows,
            other => {
                return Err(
                    keys.invalid(format!("token_embd.weight has the shape {other:?}, not [_, {width}]"))
                );
            }
        };
        if [layers, width, context, vocabulary as u64].contains(&0) {
            return Err(keys.invalid("it describes a shape of zero"));
        }
        let heads = keys.small("attention.head_count", LARGEST)?;
        let kv_heads = keys.small("attention.head_count_kv", LARGEST)?;
        let kv_heads = if keys.has("attention.head_count_kv") { kv_heads } else { heads };
        let head_dims = match (keys.small("attention.key_length", LARGEST)?, heads) {
            (Some(key), _) => Some((key, keys.small("attention.value_length", LARGEST)?.unwrap_or(key))),
            (None, Some(heads)) => width.checked_div(heads).map(|dim| (dim, dim)),
            (None, None) => None,
        };
        let experts = match keys.small("expert_count", LARGEST)?.unwrap_or(0) {
            0 => None,
            all => Some((keys.small("expert_used_count", LARGEST)?.unwrap_or(all).min(all), all)),
        };
        let shape = Self {
            layers,
            width,
            heads,
            kv_heads,
            head_dims,
            context: usize::try_from(context).unwrap_or(usize::MAX),
            vocabulary,
            experts,
            architecture: keys.architecture.to_owned(),
        };
        shape.check(&keys)?;
        Ok(shape)
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), FileError> {
        if let (Some(heads), Some(kv_heads)) = (self.heads, self.kv_heads)
            && (heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads))
        {
            return Err(keys.invalid(format!("it describes {heads} heads and {kv_heads} key/value heads")));
        }
        // llama.cpp ends the process at a negative epsilon, and computes with no number at all.
        for key in CONSTANTS {
            if keys.file.float(&keys.name(key)).is_some_and(|value| !value.is_finite() || value < 0.0) {
                return Err(keys.invalid(format!("{} is no positive number", keys.name(key))));
            }
        }
        if let (Some(turned), Some((key, _))) = (keys.small("rope.dimension_count", LARGEST)?, self.head_dims)
            && (turned > key || turned % 2 != 0)
        {
            return Err(keys.invalid(format!("rotary positions on {turned} of {key} values")));
        }
        // A file of as many layers as it says has a tensor in the last one, and none beyond.
        let has = |layer: u64| {
            let prefix = format!("blk.{layer}.");
            keys.file.tensors().any(|(name, _)| name.starts_with(&prefix))
        };
        if !has(self.layers - 1) {
            return Err(keys.invalid(format!("it describes {} layers and lacks the last", self.layers)));
        }
        Ok(())
    }

    /// Values that one position of one sequence adds to the cache.
    fn kv_values(&self) -> Option<u64> {
        let (key, value) = self.head_dims?;
        Some(self.layers * self.kv_heads? * (key + value))
    }
}

/// What the weights amount to.
struct Weights {
    total: u64,
    active: u64,
    bytes_per_token: u64,
    /// The type that most values in matrices are stored in.
    precision: Option<&'static str>,
}

impl Weights {
    fn of(file: &GgufFile, shape: &Shape) -> Self {
        let tied = file.tensor("output.weight").is_none();
        let mut sums = Self { total: 0, active: 0, bytes_per_token: 0, precision: None };
        let mut stored: Vec<(&'static str, u64)> = Vec::new();
        for (name, tensor) in file.tensors() {
            let elements: u64 = tensor.shape.iter().map(|&d| d as u64).product();
            let used = |n: u64| match shape.experts {
                Some((used, all)) if name.contains("_exps.") => n / all * used,
                _ => n,
            };
            sums.total += elements;
            sums.active += used(elements);
            sums.bytes_per_token += match name {
                "token_embd.weight" if !tied => row(tensor),
                "position_embd.weight" => row(tensor),
                _ => used(tensor.bytes),
            };
            if tensor.shape.len() > 1 {
                match stored.iter_mut().find(|(kind, _)| *kind == tensor.kind.name) {
                    Some((_, sum)) => *sum += elements,
                    None => stored.push((tensor.kind.name, elements)),
                }
            }
        }
        sums.precision = stored.into_iter().max_by_key(|(_, sum)| *sum).map(|(name, _)| name);
        sums
    }
}

/// Bytes of one row.
fn row(tensor: &Description) -> u64 {
    let rows = tensor.shape.first().map_or(1, |&rows| rows as u64);
    tensor.bytes / rows.max(1)
}

/// The keys of an architecture.
struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    fn of(file: &'a GgufFile) -> Result<Self, FileError> {
        let architecture = file
            .text("general.architecture")
            .ok_or_else(|| FileError::invalid(file.path(), "the metadata lack general.architecture"))?;
        Ok(Self { file, architecture })
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn has(&self, key: &str) -> bool {
        self.file.value(&self.name(key)).is_some()
    }

    /// A number not above `most`; `None` where the file has none, or one for each layer.
    fn small(&self, key: &str, most: u64) -> Result<Option<u64>, FileError> {
        let name = self.name(key);
        match self.file.value(&name) {
            None | Some(Value::Integers(_)) => Ok(None),
            Some(value) => match self.file.unsigned(&name) {
                Some(n) if n <= most => Ok(Some(n)),
                _ => Err(self.invalid(format!("{name} is {value:?}"))),
            },
        }
    }

    fn needed(&self, key: &str) -> Result<u64, FileError> {
        self.small(key, LARGEST)?.ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> FileError {
        self.invalid(format!("the metadata lack {}", self.name(key)))
    }

    fn invalid(&self, what: impl Into<String>) -> FileError {
        FileError::invalid(self.file.path(), what)
    }
}
