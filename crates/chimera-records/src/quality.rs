//! What was found out about an arm (backend and model) before anything was timed: one line of `quality.jsonl` each. It
//! holds figures and reasons, never a judgement: what counts as the same model is in the design, and the study compares.

use serde::{Deserialize, Serialize};

/// One line of `quality.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum QualityRecord {
    /// An arm against the reference, on one prompt.
    Agreement(Agreement),
    /// How well an arm predicts the text.
    Perplexity(Perplexity),
    /// What a file or a graph really holds.
    Audit(Audit),
    /// What it cost to make or to load something.
    Build(Build),
    /// Something of the above that could not be had.
    NotMeasured(NotMeasured),
}

/// What an agreement was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Logits of the same token ids, position by position.
    Logits,
    /// Greedy answers to the same text: how much of the reference's answer comes before the first difference. Behind a
    /// wire there is nothing else.
    GreedyText,
}

/// How an arm agrees with the reference on one prompt. Each compared position belongs to the prompt or to the reference's
/// own greedy continuation of it, which both read (teacher forcing).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// Backend that it is compared with.
    pub reference_backend: String,
    /// Model that it is compared with.
    pub reference_model: String,
    /// Scenario of the design.
    pub scenario: String,
    /// What was compared.
    pub basis: Basis,
    /// Positions compared; of texts, the characters of the reference's answer.
    pub positions: u32,
    /// Share of positions at which both hold the same token for the most likely. Of texts, the share of the reference's
    /// answer before the first difference.
    pub top1_agreement: f64,
    /// Largest difference of two logits; absent for texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_abs_difference: Option<f64>,
    /// Mean over positions of the Kullback-Leibler divergence in nats, the reference first, softmax in double precision;
    /// absent for texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_kl: Option<f64>,
}

/// One chunk of a text: a sequence of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChunkScore {
    /// Tokens that were predicted: one fewer than the chunk has.
    pub tokens: u32,
    /// Sum of their negative natural-log probabilities.
    pub nll: f64,
}

/// How well an arm predicts a text. Chunks are disjoint and each begins without context, so a perplexity from them is
/// higher than one with a sliding window; it is the same text, cut at the same tokens, for every arm with one tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// File of the text.
    pub text: String,
    /// Its SHA-256.
    pub text_sha256: String,
    /// Tokens of one chunk.
    pub chunk: u32,
    /// Tokens from one chunk's beginning to the next one's: equal to `chunk`, since chunks are disjoint.
    pub stride: u32,
    /// First 16 hex digits of the SHA-256 of the token ids that were scored: arms with another value read other tokens, and
    /// their chunks are no pairs.
    pub tokens_digest: String,
    /// Chunk by chunk, in the order of the text.
    pub chunks: Vec<ChunkScore>,
    /// Time for all chunks, for planning; never a latency.
    pub seconds: f64,
}

impl Perplexity {
    /// Exp of the mean negative log probability over all chunks.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let tokens: f64 = self.chunks.iter().map(|chunk| f64::from(chunk.tokens)).sum();
        let nll: f64 = self.chunks.iter().map(|chunk| chunk.nll).sum();
        (tokens > 0.0).then(|| (nll / tokens).exp())
    }
}

/// What is counted in an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Audited {
    /// Tensors of weights.
    Weights,
    /// Operators, by the precision that they compute in.
    Operators,
}

/// Things of one precision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecisionCount {
    /// Of what.
    pub what: Audited,
    /// Type as the file or the engine names it, `F32` or `Q4_1` for instance; operators with their name, `MatMulInteger`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Elements in them, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<u64>,
}

/// What a file, a graph or an engine really holds. A label is not evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// File or graph that was looked at, without folders.
    pub file: String,
    /// What it holds.
    pub precisions: Vec<PrecisionCount>,
    /// Bytes of weights that one decode step reads, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bytes_per_token: Option<u64>,
    /// Precision that the design claims.
    pub claimed: String,
    /// Whether what was found bears the claim; absent where it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_ok: Option<bool>,
    /// How it was found out, and what else a reader must know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What it cost to make or to load something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// `session` (the model became resident), `conversion`, `quantisation`, `engine` for instance.
    pub what: String,
    /// How long making it took, when it was made.
    pub seconds: f64,
    /// Bytes of what was made or loaded, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether it was there when the process that tells of it began.
    pub cached: bool,
}

/// What could not be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QualityCheck {
    /// [`Agreement`].
    Agreement,
    /// [`Perplexity`].
    Perplexity,
    /// [`Audit`].
    Audit,
    /// [`Build`].
    Build,
}

/// Why something was not measured. A number nobody measured is absent, and this says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMeasured {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// What.
    pub what: QualityCheck,
    /// Scenario, of an agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// [`chimera_core::BackendError::code`], or `not-ready`, `model-missing`, `no-reference`, `vocabulary`, `text`,
    /// `timeout`, `died`.
    pub code: String,
    /// The reason in full.
    pub reason: String,
}

/// What a record answers: backend, model, what, and the scenario, text, file or thing built. A run needs one answer to
/// each; the first counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualityKey {
    /// Backend of the registry.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// What.
    pub check: QualityCheck,
    /// Scenario of an agreement, file of an audit, thing built; empty otherwise.
    pub detail: String,
}

impl QualityRecord {
    /// Backend and model that it is about.
    #[must_use]
    pub fn arm(&self) -> (&str, &str) {
        match self {
            Self::Agreement(of) => (&of.backend, &of.model),
            Self::Perplexity(of) => (&of.backend, &of.model),
            Self::Audit(of) => (&of.backend, &of.model),
            Self::Build(of) => (&of.backend, &of.model),
            Self::NotMeasured(of) => (&of.backend, &of.model),
        }
    }

    /// What it answers.
    #[must_use]
    pub fn key(&self) -> QualityKey {
        let (check, detail) = match self {
            Self::Agreement(of) => (QualityCheck::Agreement, of.scenario.as_str()),
            Self::Perplexity(_) => (QualityCheck::Perplexity, ""),
            Self::Audit(of) => (QualityCheck::Audit, of.file.as_str()),
            Self::Build(of) => (QualityCheck::Build, of.what.as_str()),
            Self::NotMeasured(of) => (of.what, of.scenario.as_deref().unwrap_or_default()),
        };
        let (backend, model) = self.arm();
        QualityKey { backend: backend.into(), model: model.into(), check, detail: detail.into() }
    }

    /// Whether two answers to one question agree in all but times.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Perplexity(a), Self::Perplexity(b)) => {
                Perplexity { seconds: 0.0, ..a.clone() } == Perplexity { seconds: 0.0, ..b.clone() }
            }
            (Self::Build(a), Self::Build(b)) => a.bytes == b.bytes,
            (a, b) => a == b,
        }
    }

    /// Whether it holds figures.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        !matches!(self, Self::NotMeasured(_))
    }
}
