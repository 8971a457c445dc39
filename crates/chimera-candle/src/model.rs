//! A resident model as the engine sees it: loading from files, and forward passes from token ids to logits.

use std::{any::Any, path::Path, sync::Arc};

use candle_core::{Device, Tensor};
use chimera_core::{LoadOptions, ModelInfo, Parameters};
use chimera_engine::{
    ChatTemplate, EngineError, KvCache, LanguageModel, Logits, Texts, Tokenizer, Wanted, file_digest,
    files::{Located, gguf::GgufFile},
};

use crate::{
    arch::Network,
    attention::{Cache, last_column},
    config::{Architecture, Config},
    error::LoadError,
    file::safetensors::SafetensorsFile,
    weights::{Tally, Weights},
};

/// Positions that one prefill step reads.
pub(crate) const PREFILL_CHUNK: usize = 64;

/// Most lanes in one batch.
pub(crate) const MAX_BATCH: usize = 64;

/// A model that was read from its files.
pub(crate) struct CandleModel {
    network: Network,
    config: Config,
    device: Device,
    info: ModelInfo,
    texts: Texts,
    /// Threads that help the one that owns the model.
    _helpers: Option<rayon::ThreadPool>,
}

impl CandleModel {
    /// Reads a model's files.
    pub(crate) fn load(
        name: &str,
        located: &Located,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, LoadError> {
        match located {
            Located::Safetensors { folder, weights } => {
                let config = Config::from_json(&folder.join("config.json"))?;
                let file = SafetensorsFile::open(weights)?;
                let (network, tally) = read(Weights::safetensors(file, &config, device), &config)?;
                let texts = Texts::beside(folder, family(&config), network.vocabulary());
                Self::assemble(name, weights, config, network, &tally, texts, options, device)
            }
            Located::Gguf(path) => {
                let mut file = GgufFile::open(path)?;
                let config = Config::from_gguf(&file)?;
                let chat = file.chat_template();
                let vocabulary = file.vocabulary();
                let (network, tally) = read(Weights::gguf(file, &config, device), &config)?;
                let tokenizer = match vocabulary {
                    Some(vocabulary) => Tokenizer::from_gguf(vocabulary),
                    None => Tokenizer::without_file(family(&config), network.vocabulary()),
                };
                let texts = Texts::new(path, tokenizer, chat);
                Self::assemble(name, path, config, network, &tally, texts, options, device)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the two containers' only common step")]
    fn assemble(
        name: &str,
        weights: &Path,
        mut config: Config,
        network: Network,
        tally: &Tally,
        texts: Texts,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, LoadError> {
        let trained = config.context;
        if let Some(context) = options.context {
            if context == 0 || context as usize > trained {
                return Err(LoadError::unsupported(format!(
                    "a context of {context}: {} has one of {trained}",
                    weights.display()
                )));
            }
            config.context = context as usize;
        }
        let small = |n: usize| u32::try_from(n).ok();
        let mut info = ModelInfo::named(name);
        info.digest = Some(file_digest(weights).map_err(|e| LoadError::io(weights, e))?);
        info.parameters = Some(Parameters { total: tally.parameters, active: tally.parameters });
        info.layers = small(config.layers);
        info.width = small(config.width);
        info.heads = small(config.heads);
        info.kv_heads = small(config.kv_heads);
        info.vocabulary = small(network.vocabulary());
        info.context = small(config.context);
        info.quantisation = tally.precision().map(str::to_owned);
        info.weight_bytes_per_token = Some(tally.bytes_per_token);
        let values = 2 * config.layers * config.kv_heads * config.head_dim;
        info.kv_bytes_per_position = Some(values as u64 * size_of::<f32>() as u64);
        Ok(Self { network, config, device: device.clone(), info, texts, _helpers: helpers() })
    }

    fn pass(&self, cache: &mut Cache, tokens: &[u32], wanted: Wanted) -> candle_core::Result<Vec<f32>> {
        let lanes = cache.lanes();
        let count = tokens.len() / lanes;
        let ids = Tensor::from_slice(tokens, (lanes, count), &self.device)?;
        let x = self.network.forward(&ids, cache, &self.config)?;
        cache.advance(count);
        let x = match wanted {
            Wanted::None => return Ok(Vec::new()),
            Wanted::Last => last_column(&x)?,
            Wanted::All => x,
        };
        self.network.head().forward(&x)?.flatten_all()?.to_vec1()
    }
}

/// Makes the thread that loads the model, and will own it, one of as many as the process computes on. Parallel work then
/// starts without handing over to another thread, and goes on alone while the others are not given their cores. `None`
/// for a thread that is one of such already.
fn helpers() -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(crate::threads())
        .thread_name(|index| format!("candle-{index}"))
        .use_current_thread()
        .build()
        .ok()
}

fn read(mut weights: Weights<'_>, config: &Config) -> Result<(Network, Tally), LoadError> {
    let network = Network::load(&mut weights, config)?;
    Ok((network, weights.tally))
}

/// `model_type` of a configuration's family.
fn family(config: &Config) -> &'static str {
    match config.architecture {
        Architecture::Gpt2 => "gpt2",
        _ => "another",
    }
}

impl LanguageModel for CandleModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> Result<Arc<Tokenizer>, String> {
        self.texts.tokenizer.clone()
    }

    fn chat_template(&self) -> Result<Arc<ChatTemplate>, String> {
        self.texts.chat.clone()
    }

    fn end_of_sequence(&self) -> &[u32] {
        &self.config.end_of_sequence
    }

    fn vocabulary(&self) -> usize {
        self.network.vocabulary()
    }

    fn context(&self) -> usize {
        self.config.context
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }

    fn prefill_chunk(&self) -> usize {
        PREFILL_CHUNK
    }

    fn start(&mut self, padding: &[usize], capacity: usize) -> Result<Box<dyn KvCache>, EngineError> {
        let cache = Cache::new(&self.config, &self.device, padding, capacity).map_err(EngineError::failed)?;
        Ok(Box::new(cache))
    }

    fn forward(
        &mut self,
        cache: &mut dyn KvCache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, EngineError> {
        let cache: &mut dyn Any = cache;
        let cache = cache
            .downcast_mut::<Cache>()
            .ok_or_else(|| EngineError::failed("the cache is another engine's"))?;
        if tokens.is_empty() || !tokens.len().is_multiple_of(cache.lanes()) {
            let what = format!("{} tokens for {} lanes", tokens.len(), cache.lanes());
            return Err(EngineError::failed(what));
        }
        if !cache.has_room_for(tokens.len() / cache.lanes()) {
            return Err(EngineError::OutOfMemory("the cache has no room for these positions".into()));
        }
        let values = self.pass(cache, tokens, wanted).map_err(EngineError::failed)?;
        match wanted {
            Wanted::None => Ok(Logits::none()),
            _ => Logits::new(values, self.network.vocabulary()),
        }
    }
}
