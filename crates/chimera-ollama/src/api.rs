//! What a server's management calls answer. Every field that some server leaves out is optional.

use chimera_core::Parameters;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a server says of a model's kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Details {
    /// File format, `gguf` for instance.
    pub format: Option<String>,
    /// Family, `llama` for instance.
    pub family: Option<String>,
    /// Size as people say it, `134.52M` for instance.
    pub parameter_size: Option<String>,
    /// Precision of the weights, `Q4_1` for instance.
    pub quantization_level: Option<String>,
}

/// A model in a server's store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// Name with its tag.
    pub name: String,
    /// Digest of the manifest: weights, template and parameters together.
    #[serde(default)]
    pub digest: Option<String>,
    /// Bytes on disk.
    #[serde(default)]
    pub size: Option<u64>,
    /// What kind it is.
    #[serde(default)]
    pub details: Option<Details>,
}

/// A model that is resident.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Resident {
    /// Name with its tag.
    pub name: String,
    /// Digest of the manifest.
    #[serde(default)]
    pub digest: Option<String>,
    /// Bytes of memory that it takes, by the server's own estimate.
    #[serde(default)]
    pub size: Option<u64>,
    /// How many of them are on devices.
    #[serde(default)]
    pub size_vram: Option<u64>,
    /// When it will be unloaded, as the server writes it.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Tokens of context of one sequence; newer servers say it.
    #[serde(default)]
    pub context_length: Option<u32>,
}

/// What a server says of one model.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ModelFacts {
    /// What kind it is.
    pub details: Option<Details>,
    /// Metadata of the file, by the names that GGUF gives them; absent on old servers.
    pub model_info: Option<Map<String, Value>>,
    /// Recipe of the model.
    pub modelfile: Option<String>,
    /// Template of chats.
    pub template: Option<String>,
    /// What it can do (`completion`, `vision`, …); newer servers say it.
    pub capabilities: Option<Vec<String>>,
}

impl ModelFacts {
    /// A number of the file's metadata below its architecture, `block_count` for instance. `None` where it is absent, zero
    /// or differs from layer to layer.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u32> {
        let info = self.model_info.as_ref()?;
        let family = info.get("general.architecture")?.as_str()?;
        let value = info.get(&format!("{family}.{key}"))?.as_u64()?;
        u32::try_from(value).ok().filter(|value| *value > 0)
    }

    /// Exact parameter counts. `None` for a mixture of experts too: how many weights are active is not told.
    #[must_use]
    pub fn parameters(&self) -> Option<Parameters> {
        let info = self.model_info.as_ref()?;
        let total = info.get("general.parameter_count")?.as_u64().filter(|total| *total > 0)?;
        let experts = self.number("expert_count").is_some_and(|experts| experts > 1);
        (!experts).then_some(Parameters { total, active: total })
    }

    /// SHA-256 of the weights in hexadecimal digits, where the recipe names the file that holds them.
    #[must_use]
    pub fn weights_sha256(&self) -> Option<&str> {
        let from = self.modelfile.as_ref()?.lines().find_map(|line| line.strip_prefix("FROM "))?;
        let digest = from.rsplit_once("sha256-").or_else(|| from.rsplit_once("sha256:"))?.1.trim();
        let digits = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then_some(digest)
    }
}

/// One step of a long call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Progress {
    /// What is done.
    pub status: String,
    /// On which layer.
    pub digest: Option<String>,
    /// Bytes of it.
    pub total: Option<u64>,
    /// Bytes done.
    pub completed: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
}

/// Lists may be `null` when they are empty.
#[derive(Debug, Deserialize)]
pub(crate) struct Models<T> {
    pub(crate) models: Option<Vec<T>>,
}

/// Whether two names mean the same model: a name without a tag has the tag `latest`.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    fn bare(name: &str) -> &str {
        name.strip_suffix(":latest").unwrap_or(name)
    }
    bare(a) == bare(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_where_they_are_known() {
        let facts: ModelFacts = serde_json::from_value(serde_json::json!({
            "modelfile": format!("# FROM x\nFROM /blobs/sha256-{}\nTEMPLATE x", "ab".repeat(32)),
            "model_info": {
                "general.architecture": "llama", "general.parameter_count": 7,
                "llama.block_count": 30, "llama.attention.head_count": [1, 2], "llama.vocab_size": 0,
            },
        }))
        .unwrap();
        assert_eq!(facts.number("block_count"), Some(30));
        assert_eq!((facts.number("attention.head_count"), facts.number("vocab_size")), (None, None));
        assert_eq!(facts.parameters(), Some(Parameters { total: 7, active: 7 }));
        assert_eq!(facts.weights_sha256(), Some("ab".repeat(32).as_str()));
        let nothing = ModelFacts::default();
        assert_eq!((nothing.number("block_count"), nothing.parameters()), (None, None));
        assert_eq!(nothing.weights_sha256(), None);
    }

    #[test]
    fn active_weights_of_a_mixture_are_not_made_up() {
        let facts: ModelFacts = serde_json::from_value(serde_json::json!({ "model_info": {
            "general.architecture": "m", "general.parameter_count": 7, "m.expert_count": 8 } }))
        .unwrap();
        assert_eq!(facts.parameters(), None);
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        assert!(same_name("a", "a:latest") && same_name("a:latest", "a") && !same_name("a", "a:b"));
    }
}
