//! The kinds of servers, and what each is known to take and to tell. How a kind is recognised is in `detect`.

use std::fmt;

use chimera_core::Phase;

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Flavour {
    /// Found out by harmless requests at every probe and load.
    #[default]
    Auto,
    /// Nothing beyond OpenAI's interface is sent or expected.
    Plain,
    /// llama.cpp's `llama-server`.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// Text Generation Inference.
    Tgi,
    /// SGLang.
    SgLang,
    /// LM Studio, by its own `/api/v0` paths.
    LmStudio,
    /// `chimera-serve`.
    Chimera,
}

impl Flavour {
    /// A short stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vllm",
            Self::Tgi => "tgi",
            Self::SgLang => "sglang",
            Self::LmStudio => "lm-studio",
            Self::Chimera => "chimera",
        }
    }

    /// Whether prompts may be token ids.
    pub(crate) fn takes_ids(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm | Self::SgLang | Self::Chimera)
    }

    /// Whether `ignore_eos` is known.
    pub(crate) fn ignores_eos(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm | Self::SgLang | Self::Chimera)
    }

    /// Whether every part of a stream tells the tokens so far when it is asked to.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Vllm | Self::SgLang)
    }

    /// Whether there is a call for token ids.
    pub(crate) fn tokenizes(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm)
    }

    /// Phases that every answer reports.
    pub(crate) fn phases(self) -> &'static [Phase] {
        match self {
            Self::LlamaCpp | Self::LmStudio => &[Phase::Prefill, Phase::Decode],
            _ => &[],
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
