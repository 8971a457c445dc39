//! What a server lists, and what is known of one of its models.

use chimera_core::{ModelInfo, Parameters};
use serde_json::Value;

/// One listed model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    /// Other names that the server gives it.
    pub(crate) aliases: Vec<String>,
    pub(crate) owner: String,
    pub(crate) context: Option<u32>,
    pub(crate) parameters: Option<u64>,
    pub(crate) vocabulary: Option<u32>,
    pub(crate) width: Option<u32>,
    pub(crate) quantisation: Option<String>,
    /// Whether it is in memory, where that is told.
    pub(crate) resident: Option<bool>,
}

fn number(value: Option<&Value>) -> Option<u32> {
    value?.as_u64().filter(|n| *n > 0)?.try_into().ok()
}

fn text(value: Option<&Value>) -> Option<String> {
    value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Listed {
    /// The models of an answer to `/v1/models` or LM Studio's `/api/v0/models`; `None` when it is no list.
    pub(crate) fn read(answer: &Value) -> Option<Vec<Self>> {
        // Some servers send the bare list.
        let list = answer.get("data").unwrap_or(answer).as_array()?;
        Some(list.iter().filter_map(Self::of).collect())
    }

    fn of(entry: &Value) -> Option<Self> {
        let meta = entry.get("meta");
        let of_meta = |key: &str| meta.and_then(|meta| meta.get(key));
        let aliases = entry.get("aliases").and_then(Value::as_array).into_iter().flatten();
        // LM Studio says it in a word, llama.cpp's router in an object.
        let state = entry.get("state").or_else(|| entry.get("status").and_then(|status| status.get("value")));
        Some(Self {
            id: text(entry.get("id"))?,
            aliases: aliases.filter_map(|alias| text(Some(alias))).collect(),
            owner: text(entry.get("owned_by")).unwrap_or_default(),
            context: number(entry.get("max_model_len"))
                .or_else(|| number(of_meta("n_ctx")))
                .or_else(|| number(entry.get("loaded_context_length")))
                .or_else(|| number(entry.get("max_context_length"))),
            parameters: of_meta("n_params").and_then(Value::as_u64).filter(|n| *n > 0),
            vocabulary: number(of_meta("n_vocab")),
            width: number(of_meta("n_embd")),
            quantisation: text(entry.get("quantization")).or_else(|| text(of_meta("ftype"))),
            resident: state.and_then(Value::as_str).map(|state| state == "loaded"),
        })
    }

    /// Whether it is called so: by its id, by another name that the server gives it, or by the file name of either.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let bare = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
        std::iter::once(&self.id).chain(&self.aliases).any(|own| {
            let file = own.rsplit(['/', '\\']).next().unwrap_or(own);
            let stem = file.strip_suffix(".gguf");
            bare(own) == bare(name) || (stem.is_some() && (file == name || stem == Some(name)))
        })
    }

    /// What is known. The parameters of a llama.cpp server are left out where the name says a mixture of experts: how many
    /// are active is not told.
    pub(crate) fn describe(&self, name: &str) -> ModelInfo {
        let mut info = ModelInfo::named(name);
        let mixture =
            [self.id.as_str()].into_iter().chain(self.aliases.iter().map(String::as_str)).any(is_mixture);
        info.parameters =
            self.parameters.filter(|_| !mixture).map(|total| Parameters { total, active: total });
        info.vocabulary = self.vocabulary;
        info.width = self.width;
        info.context = self.context;
        info.quantisation.clone_from(&self.quantisation);
        info
    }
}

/// Whether a name is that of a mixture of experts: `moe`, `8x7b`, `a3b`.
fn is_mixture(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let billions = |text: &str| text.strip_suffix('b').is_some_and(digits);
        word.contains("moe")
            || word == "mixtral"
            || word.starts_with("gptoss")
            || word.strip_prefix('a').is_some_and(billions)
            || word.split_once('x').is_some_and(|(many, size)| digits(many) && billions(size))
    }) || lower.contains("gpt-oss")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_all_kinds_are_read() {
        let llama = json!({"object": "list", "data": [{
            "id": "models/gemma-Q8_0.gguf", "aliases": ["gemma"], "object": "model", "owned_by": "llamacpp",
            "meta": {"n_vocab": 262_144, "n_ctx": 4096, "n_ctx_train": 131_072, "n_embd": 2560,
                     "n_params": 7_518_069_290_u64, "size": 8_015_415_464_u64, "ftype": "Q8_0"},
        }]});
        let [model] = &Listed::read(&llama).unwrap()[..] else { panic!() };
        let info = model.describe("gemma");
        assert_eq!((info.context, info.vocabulary, info.width), (Some(4096), Some(262_144), Some(2560)));
        assert_eq!(info.parameters.unwrap().total, 7_518_069_290);
        assert_eq!(info.quantisation.as_deref(), Some("Q8_0"));
        for name in ["gemma", "models/gemma-Q8_0.gguf", "gemma-Q8_0.gguf", "gemma-Q8_0"] {
            assert!(model.is_called(name), "{name}");
        }
        assert!(!model.is_called("gem") && !model.is_called("no-such-model"));

        let vllm = json!({"data": [{"id": "Qwen/Qwen3-4B", "owned_by": "vllm", "max_model_len": 2048}]});
        assert_eq!(Listed::read(&vllm).unwrap()[0].context, Some(2048));
        let studio = json!({"data": [{"id": "q", "state": "not-loaded", "quantization": "4bit",
            "max_context_length": 32_768}]});
        let model = &Listed::read(&studio).unwrap()[0];
        assert_eq!((model.resident, model.context), (Some(false), Some(32_768)));
        let router = json!({"data": [{"id": "q", "status": {"value": "loaded"}}]});
        assert_eq!(Listed::read(&router).unwrap()[0].resident, Some(true));
        assert_eq!(Listed::read(&json!({"error": "x"})), None);
        assert!(Listed::read(&json!({"data": [1, {"id": ""}, {}]})).unwrap().is_empty());
        let ollama = json!([{"id": "smollm2:latest"}]);
        assert!(Listed::read(&ollama).unwrap()[0].is_called("smollm2"));
    }

    #[test]
    fn mixtures_of_experts_are_known_by_their_names() {
        for name in ["Qwen3-30B-A3B", "Mixtral-8x7B-v0.1", "OLMoE-1B", "gpt-oss-20b"] {
            assert!(is_mixture(name), "{name}");
        }
        for name in ["llama-3.2-1b", "gemma-3-270m", "phi-4", "smollm2:135m", "box-7b"] {
            assert!(!is_mixture(name), "{name}");
        }
    }
}
