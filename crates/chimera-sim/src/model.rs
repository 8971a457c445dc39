//! A simulated model and the faults that a simulation can show. Nothing is read from disk.

use chimera_core::{ModelInfo, Parameters};

use crate::{
    Laws,
    noise::name_hash,
    text::{EOS, VOCABULARY},
};

/// A model that a [`crate::SimBackend`] can load: what is known of it, how long it takes, when it ends its answers.
///
/// Tokens are bytes, id 256 ends a sequence; a larger [`ModelInfo::vocabulary`] only lets prompts of other ids in. What
/// the model says follows from its name, the prompt and, when it samples, the seed. Its distribution over the next
/// token is Zipf's law over ids whatever came before, so a score has a closed form.
#[derive(Debug, Clone)]
pub struct SimModel {
    pub(crate) info: ModelInfo,
    pub(crate) laws: Laws,
    pub(crate) eos_after: Option<u32>,
    pub(crate) zipf: f64,
    pub(crate) memory_tokens: Option<u64>,
    pub(crate) load_fault: Option<LoadFault>,
}

impl SimModel {
    /// A model of a million parameters with the default laws, a context of 4,096 tokens and no end of its own.
    pub fn new(name: impl Into<String>) -> Self {
        let mut info = ModelInfo::named(name);
        info.digest = Some(format!("sim:{:016x}", name_hash(&info.name)));
        info.layers = Some(4);
        info.width = Some(128);
        info.heads = Some(4);
        info.kv_heads = Some(4);
        info.vocabulary = Some(VOCABULARY);
        info.context = Some(4096);
        info.quantisation = Some("F32".into());
        // Keys and values of four layers, 128 wide, four bytes each.
        info.kv_bytes_per_position = Some(2 * 4 * 128 * 4);
        Self {
            info,
            laws: Laws::default(),
            eos_after: None,
            zipf: 1.0,
            memory_tokens: None,
            load_fault: None,
        }
        .parameters(1_000_000)
    }

    /// A model of a family whose times are a power of its size: see [`Laws::power`].
    pub fn power(name: impl Into<String>, parameters: u64, exponent: f64, scale_ns: f64) -> Self {
        Self::new(name).parameters(parameters).laws(Laws::power(parameters, exponent, scale_ns))
    }

    /// Sets the parameter count, and with it the bytes that one decode step reads (four per parameter).
    #[must_use]
    pub fn parameters(mut self, count: u64) -> Self {
        self.info.parameters = Some(Parameters { total: count, active: count });
        self.info.weight_bytes_per_token = Some(4 * count);
        self
    }

    /// Changes what is known of the model. The context is a limit that requests meet.
    #[must_use]
    pub fn info(mut self, change: impl FnOnce(&mut ModelInfo)) -> Self {
        change(&mut self.info);
        self
    }

    /// Sets how long things take.
    #[must_use]
    pub fn laws(mut self, laws: Laws) -> Self {
        self.laws = laws;
        self
    }

    /// Ends every answer after this many tokens, unless the request ignores the end of sequence. Making the end token
    /// takes a decode step and is not counted as generated.
    #[must_use]
    pub fn eos_after(mut self, tokens: u32) -> Self {
        self.eos_after = Some(tokens);
        self
    }

    /// Sets the exponent `s` of the distribution `p(id) = (id + 1)^-s / sum of all` that [`chimera_core::Session::score`]
    /// uses. The default is 1; 0 is uniform.
    #[must_use]
    pub fn zipf(mut self, exponent: f64) -> Self {
        self.zipf = exponent;
        self
    }

    /// Refuses batches whose prompts and budgets together are longer than this, for want of memory.
    #[must_use]
    pub fn memory_tokens(mut self, tokens: u64) -> Self {
        self.memory_tokens = Some(tokens);
        self
    }

    /// Makes every load fail.
    #[must_use]
    pub fn load_fault(mut self, fault: LoadFault) -> Self {
        self.load_fault = Some(fault);
        self
    }

    pub(crate) fn vocabulary(&self) -> u32 {
        self.info.vocabulary.unwrap_or(VOCABULARY).max(EOS + 1)
    }
}

/// How a load goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadFault {
    /// The weights do not fit: [`chimera_core::BackendError::OutOfMemory`].
    OutOfMemory,
    /// The weights are damaged: [`chimera_core::BackendError::ModelInvalid`].
    Invalid,
    /// The load never ends.
    Stall,
}

/// How a generation goes wrong. The number is the count of tokens that each lane still gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is sent: [`chimera_core::BackendError::OutOfMemory`].
    OutOfMemory,
    /// An error ends all lanes.
    ErrorAfter(u32),
    /// Nothing comes any more, and no end.
    StallAfter(u32),
    /// The stream ends without a terminal event: a breach of the contract, for tests of those who must notice.
    TruncateAfter(u32),
}
