//! What is asked of a session: prompts, budgets and sampling. How a trial is planned is not here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The input of one request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Prompt {
    /// Raw text; the backend tokenizes it.
    Text(Arc<str>),
    /// Token ids, sent as they are. Needs [`crate::Capabilities::token_prompts`].
    Tokens(Arc<[u32]>),
    /// Messages, rendered by the model's own template. Needs [`crate::Capabilities::chat`].
    Chat(Arc<[Message]>),
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Arc<str>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Instructions to the model.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// How the next token is chosen from logits. The default is greedy: the largest logit, the lowest id among equals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 means greedy.
    pub temperature: f32,
    /// Keep only the k most probable tokens; `None` keeps all.
    pub top_k: Option<u32>,
    /// Keep the smallest set of tokens whose probability reaches this; `None` keeps all.
    pub top_p: Option<f32>,
    /// Divides positive and multiplies negative logits of tokens already seen in the lane; 1 changes nothing.
    pub repeat_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: None, repeat_penalty: 1.0 }
    }
}

/// One sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The input.
    pub prompt: Prompt,
    /// Budget of generated tokens. Zero asks for the prefill alone and needs
    /// [`crate::Capabilities::prefill_only`].
    pub max_tokens: u32,
    /// Seed of the sampler; without effect when greedy.
    pub seed: u64,
    /// Go on past the end-of-sequence token, so that exactly `max_tokens` tokens come. Needs
    /// [`crate::Capabilities::exact_budget`].
    pub ignore_eos: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

impl Request {
    /// A greedy request of `max_tokens` tokens that ends at end-of-sequence.
    #[must_use]
    pub fn new(prompt: Prompt, max_tokens: u32) -> Self {
        Self { prompt, max_tokens, seed: 0, ignore_eos: false, sampling: Sampling::default() }
    }

    /// A greedy request for text.
    pub fn text(prompt: impl Into<Arc<str>>, max_tokens: u32) -> Self {
        Self::new(Prompt::Text(prompt.into()), max_tokens)
    }

    /// A greedy request for token ids.
    pub fn tokens(prompt: impl Into<Arc<[u32]>>, max_tokens: u32) -> Self {
        Self::new(Prompt::Tokens(prompt.into()), max_tokens)
    }

    /// The same request with an exact budget.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.ignore_eos = true;
        self
    }

    /// The same request with another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same request with other sampling.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }
}

/// Sequences that the backend runs together, one lane each. A batch of one is the ordinary case.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch(pub Vec<Request>);

impl From<Request> for Batch {
    fn from(request: Request) -> Self {
        Batch(vec![request])
    }
}
