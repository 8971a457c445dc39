//! A resident model as the engine sees it: its sessions, and forward passes from token ids to logits.

use std::{any::Any, path::PathBuf, sync::Arc};

use chimera_core::{LoadOptions, ModelInfo};
use chimera_engine::{
    ChatTemplate, EngineError, KvCache, LanguageModel, Logits, Texts, Tokenizer, Wanted,
    files::{GraphConfig, GraphFiles},
};

use crate::{
    build::{self, Variation},
    cache::Cache,
    error::{LoadError, of_run},
    interface::Interface,
    library::Loaded,
    options::{Options, Shapes},
    run::{Bound, Heads},
};

/// Positions that one prefill step reads.
pub(crate) const PREFILL_CHUNK: usize = 64;

/// Most lanes in one batch.
pub(crate) const MAX_BATCH: usize = 64;

/// A model that was read from its files.
pub(crate) struct OrtModel {
    library: Loaded,
    graph: PathBuf,
    options: Options,
    dynamic: Bound,
    /// Sessions for one number of lanes and positions, in the order in which they first occurred.
    fixed: Vec<((usize, usize), Bound)>,
    interface: Arc<Interface>,
    heads: Heads,
    vocabulary: usize,
    context: usize,
    config: GraphConfig,
    info: ModelInfo,
    texts: Texts,
}

impl OrtModel {
    /// Reads a model's files.
    pub(crate) fn load(
        name: &str,
        located: &GraphFiles,
        load: &LoadOptions,
        library: &Loaded,
        options: &Options,
    ) -> Result<Self, LoadError> {
        let config = GraphConfig::read(&located.folder)?;
        let context = match load.context {
            None => config.context,
            Some(context) if context > 0 && context as usize <= config.context => context as usize,
            Some(context) => {
                return Err(LoadError::unsupported(format!(
                    "a context of {context}: {} has one of {}",
                    located.graph.display(),
                    config.context
                )));
            }
        };
        let mut info = crate::info::of_files(name, located, &config)?;
        let session = build::session(library, &located.graph, options, Variation::default())?;
        let unfit = |what: String| LoadError::unsupported(format!("{}: {what}", located.graph.display()));
        let interface = Interface::of(&session).map_err(unfit)?;
        let differs = |what: &str, graph: usize, told: usize| {
            LoadError::invalid(
                &located.graph,
                format!("the graph has {graph} {what} and its config.json tells of {told}"),
            )
        };
        if interface.layers.len() != config.layers {
            return Err(differs("layers", interface.layers.len(), config.layers));
        }
        let heads = Heads {
            count: interface.kv_heads.unwrap_or(config.kv_heads),
            width: interface.head_dim.unwrap_or(config.head_dim),
        };
        if heads.count != config.kv_heads {
            return Err(differs("heads of keys and values", heads.count, config.kv_heads));
        }
        let vocabulary = interface.vocabulary.or(config.vocabulary).ok_or_else(|| {
            unfit("neither the graph nor its config.json tells the size of the vocabulary".into())
        })?;
        let small = |n: usize| u32::try_from(n).ok();
        info.vocabulary = small(vocabulary);
        info.context = small(context);
        let values = 2 * config.layers * heads.count * heads.width;
        let bytes = interface.cache.byte_size(1).unwrap_or(size_of::<f32>());
        info.kv_bytes_per_position = Some(values as u64 * bytes as u64);
        let texts = Texts::beside(&located.folder, &config.family, vocabulary);
        let dynamic = Bound::new(session, options.provider)
            .map_err(|error| LoadError::session(&located.graph, &error))?;
        Ok(Self {
            library: library.clone(),
            graph: located.graph.clone(),
            options: options.clone(),
            dynamic,
            fixed: Vec::new(),
            interface: Arc::new(interface),
            heads,
            vocabulary,
            context,
            config,
            info,
            texts,
        })
    }

    /// Ends the profile of the dynamic session and says where it is.
    #[cfg(test)]
    pub(crate) fn end_profile(&mut self) -> ort::Result<PathBuf> {
        self.dynamic.session.end_profiling().map(PathBuf::from)
    }

    /// How many sessions for one shape there are.
    #[cfg(test)]
    pub(crate) fn fixed_sessions(&self) -> usize {
        self.fixed.len()
    }

    /// The session for a shape. One that cannot be made for it is an error: the study is about those that are.
    fn bound(&mut self, lanes: usize, count: usize) -> Result<&mut Bound, EngineError> {
        let Shapes::Fixed(most) = self.options.shapes else { return Ok(&mut self.dynamic) };
        let shape = (lanes, count);
        let known = self.fixed.iter().position(|(known, _)| *known == shape);
        let index = match known {
            Some(index) => index,
            None if self.fixed.len() < most => {
                let variation = Variation { shape: Some(shape), optimised: None };
                let session = build::session(&self.library, &self.graph, &self.options, variation)
                    .map_err(|error| EngineError::failed(error.to_string()))?;
                let bound = Bound::new(session, self.options.provider).map_err(|error| of_run(&error))?;
                self.fixed.push((shape, bound));
                self.fixed.len() - 1
            }
            None => return Ok(&mut self.dynamic),
        };
        match self.fixed.get_mut(index) {
            Some((_, bound)) => Ok(bound),
            None => Ok(&mut self.dynamic),
        }
    }
}

impl LanguageModel for OrtModel {
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
        self.vocabulary
    }

    fn context(&self) -> usize {
        self.context
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }

    fn prefill_chunk(&self) -> usize {
        PREFILL_CHUNK
    }

    fn start(&mut self, padding: &[usize], capacity: usize) -> Result<Box<dyn KvCache>, EngineError> {
        // What the last batch left bound is of no use any more.
        self.dynamic.clear();
        for (_, bound) in &mut self.fixed {
            bound.clear();
        }
        Ok(Box::new(Cache::new(padding, capacity)))
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
        let lanes = cache.lanes();
        if tokens.is_empty() || lanes == 0 || !tokens.len().is_multiple_of(lanes) {
            return Err(EngineError::failed(format!("{} tokens for {lanes} lanes", tokens.len())));
        }
        let count = tokens.len() / lanes;
        if !cache.has_room_for(count) {
            return Err(EngineError::OutOfMemory("the cache has no room for these positions".into()));
        }
        let (interface, heads) = (Arc::clone(&self.interface), self.heads);
        let values = self
            .bound(lanes, count)?
            .run(&interface, heads, cache, tokens, wanted)
            .map_err(|error| of_run(&error))?;
        match wanted {
            Wanted::None => Ok(Logits::none()),
            _ => Logits::new(values, self.vocabulary),
        }
    }
}
