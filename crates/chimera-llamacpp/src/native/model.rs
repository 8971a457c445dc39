//! A resident model: one llama.cpp context that is kept from generation to generation, lanes of a batch as its sequences.

use std::{any::Any, num::NonZeroU32, path::Path, sync::Arc};

use chimera_core::{LoadOptions, ModelInfo};
use chimera_engine::{
    ChatTemplate, EngineError, KvCache, LanguageModel, Logits, Tokenizer, Wanted, files::FileError,
};
use llama_cpp_2::{
    DecodeError,
    context::{
        LlamaContext,
        params::{KvCacheType, LlamaContextParams},
    },
    llama_batch::LlamaBatch,
    model::{LlamaModel, params::LlamaModelParams},
    token::LlamaToken,
};
use llama_cpp_sys_2 as sys;

use super::{LoadError, library, log, memory};
use crate::{
    backend::{MAX_BATCH, PREFILL_CHUNK},
    header::Header,
    threads,
};

/// Positions that a lane has room for at least, where the model's context allows it: so that one context serves most
/// generations, and none has to be made while somebody measures.
const ROOM: usize = 2048;

/// llama.cpp's own granularity of a cache.
const STEP: usize = 256;

/// Tokens that one call of llama.cpp computes.
const BATCH: usize = PREFILL_CHUNK;

/// A model that was read from its file.
pub(crate) struct Model {
    /// Before the model, which it refers to: fields are dropped in this order.
    context: Option<Context>,
    model: Box<LlamaModel>,
    header: Header,
    vocabulary: usize,
    on_gpu: bool,
    /// Number of the last cache; only that one is in the context.
    generation: u64,
}

struct Context {
    inner: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    lanes: usize,
    /// Positions that each lane has room for.
    room: usize,
}

/// What a generation knows of its part of the context.
struct Cache {
    generation: u64,
    padding: Vec<usize>,
    capacity: usize,
    len: usize,
}

impl KvCache for Cache {
    fn len(&self) -> usize {
        self.len
    }
}

impl Model {
    /// Reads a model's file.
    pub(crate) fn load(
        name: &str,
        path: &Path,
        options: &LoadOptions,
        gpu_layers: u32,
    ) -> Result<Self, LoadError> {
        let header = Header::read(name, path, options)?;
        let library = library()?;
        log::take_errors();
        let params = LlamaModelParams::default().with_n_gpu_layers(gpu_layers).with_use_mmap(true);
        let model = LlamaModel::load_from_file(library, path, &params).map_err(|error| {
            // The header is sound and llama.cpp refuses the rest: a tensor is missing or has another shape, say.
            let said = log::take_errors();
            let why = if said.is_empty() { error.to_string() } else { said };
            FileError::invalid(path, format!("llama.cpp does not load it: {why}"))
        })?;
        let vocabulary = usize::try_from(model.n_vocab()).unwrap_or(0);
        if header.info.vocabulary.map(|n| n as usize) != Some(vocabulary) {
            let what = format!(
                "its tokenizer has {vocabulary} tokens and its embedding {:?} rows",
                header.info.vocabulary
            );
            return Err(FileError::invalid(path, what).into());
        }
        let mut this = Self {
            context: None,
            model: Box::new(model),
            header,
            vocabulary,
            on_gpu: gpu_layers > 0,
            generation: 0,
        };
        // A model that can be loaded and not computed with is found out now.
        this.context = Some(this.make(1, this.room_for(1))?);
        Ok(this)
    }

    /// llama.cpp's own tokenizer, which ours is held against.
    #[cfg(test)]
    pub(super) fn vocab(&self) -> llama_cpp_2::vocab::LlamaVocab<'_> {
        self.model.vocab()
    }

    /// Positions that a lane gets where `capacity` are needed.
    fn room_for(&self, capacity: usize) -> usize {
        let wanted = capacity.max(ROOM.min(self.header.context));
        // Growing by doubling: a longer answer than the last does not always need a new context.
        let wanted = if wanted > ROOM { wanted.next_power_of_two().min(self.header.context) } else { wanted };
        wanted.next_multiple_of(STEP)
    }

    fn make(&self, lanes: usize, room: usize) -> Result<Context, EngineError> {
        let positions = lanes.saturating_mul(room);
        let bytes = self.header.info.kv_bytes_per_position.map(|each| each.saturating_mul(positions as u64));
        let too_much = || format!("a cache for {lanes} lanes of {room} positions");
        if let (Some(bytes), Some(free)) = (bytes, memory::available())
            && bytes > free
        {
            return Err(EngineError::OutOfMemory(format!("{} takes {bytes} bytes of {free}", too_much())));
        }
        let count = u32::try_from(positions).map_err(|_| EngineError::OutOfMemory(too_much()))?;
        let (lanes_32, threads) = (lanes as u32, i32::try_from(threads()).unwrap_or(i32::MAX));
        // Flash Attention rounds to F16 on its way; where all is F32, attention is too.
        let (kind, attention) = match (self.header.full_precision, self.header.narrow) {
            (true, false) => (KvCacheType::F32, sys::LLAMA_FLASH_ATTN_TYPE_DISABLED),
            (true, true) => (KvCacheType::F32, sys::LLAMA_FLASH_ATTN_TYPE_ENABLED),
            (false, true) => (KvCacheType::F16, sys::LLAMA_FLASH_ATTN_TYPE_ENABLED),
            (false, false) => (KvCacheType::F16, sys::LLAMA_FLASH_ATTN_TYPE_AUTO),
        };
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(count))
            .with_n_batch(BATCH as u32)
            .with_n_ubatch(BATCH as u32)
            .with_n_seq_max(lanes_32)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_type_k(kind)
            .with_type_v(kind)
            .with_flash_attention_policy(attention)
            .with_offload_kqv(self.on_gpu)
            .with_op_offload(self.on_gpu)
            .with_no_perf(true)
            // A part of the cache for each sequence: lanes share no prefix.
            .with_kv_unified(false);
        #[expect(unsafe_code, reason = "a context that lives beside the model it refers to")]
        // SAFETY: the model is in a box that neither moves nor changes while `Self` lives, and contexts are dropped before
        // it: they are in a field above it, or in a local variable of a method of `Self`.
        let model: &'static LlamaModel = unsafe { &*std::ptr::from_ref(&*self.model) };
        log::take_errors();
        let inner = model.new_context(library()?, params).map_err(|error| {
            let said = log::take_errors();
            if said.contains("alloc") {
                EngineError::OutOfMemory(format!("{}: {said}", too_much()))
            } else {
                EngineError::failed(format!("llama.cpp makes no context: {error}: {said}"))
            }
        })?;
        Ok(Context { inner, batch: LlamaBatch::new(BATCH, 1), lanes, room })
    }
}

impl Context {
    /// Forgets everything, and makes sure of it.
    fn clear(&mut self) -> Result<(), EngineError> {
        // The positions alone: what they point at is never read again, and writing zeros to it would take time that
        // somebody may be measuring.
        self.inner.clear_kv_cache_seq(None, None, None).map_err(EngineError::failed)?;
        for lane in 0..self.lanes {
            self.check(lane, 0)?;
        }
        Ok(())
    }

    /// Fails unless a lane holds `held` positions.
    fn check(&self, lane: usize, held: usize) -> Result<(), EngineError> {
        let last = self.inner.kv_cache_seq_pos_max(lane as i32);
        if i64::from(last) + 1 == held as i64 {
            return Ok(());
        }
        Err(EngineError::failed(format!("lane {lane} holds positions up to {last}, not {held} of them")))
    }

    /// Computes what is in the batch and appends the rows that were asked for.
    fn flush(
        &mut self,
        wanted: &mut Vec<Option<i32>>,
        rows: &mut Vec<f32>,
        width: usize,
    ) -> Result<(), EngineError> {
        if self.batch.n_tokens() > 0 {
            log::take_errors();
            self.inner.decode(&mut self.batch).map_err(|error| refused(&error))?;
        }
        for row in wanted.drain(..) {
            match row {
                Some(index) => rows.extend_from_slice(self.inner.get_logits_ith(index)),
                // Nobody computed them.
                None => rows.resize(rows.len() + width, f32::NAN),
            }
        }
        self.batch.clear();
        Ok(())
    }
}

/// llama.cpp's answers by what a caller can do about them.
fn refused(error: &DecodeError) -> EngineError {
    let said = log::take_errors();
    match error {
        DecodeError::NoKvCacheSlot => {
            EngineError::OutOfMemory(format!("the cache has no room for these positions. {said}"))
        }
        // `GGML_STATUS_ALLOC_FAILED`.
        DecodeError::Unknown(-2) => EngineError::OutOfMemory(format!("memory to compute in. {said}")),
        other => EngineError::failed(format!("llama_decode: {other}. {said}")),
    }
}

impl LanguageModel for Model {
    fn info(&self) -> &ModelInfo {
        &self.header.info
    }

    fn tokenizer(&self) -> Result<Arc<Tokenizer>, String> {
        self.header.texts.tokenizer.clone()
    }

    fn chat_template(&self) -> Result<Arc<ChatTemplate>, String> {
        self.header.texts.chat.clone()
    }

    fn end_of_sequence(&self) -> &[u32] {
        &self.header.end_of_sequence
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn context(&self) -> usize {
        self.header.context
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }

    fn prefill_chunk(&self) -> usize {
        PREFILL_CHUNK
    }

    fn start(&mut self, padding: &[usize], capacity: usize) -> Result<Box<dyn KvCache>, EngineError> {
        let lanes = padding.len();
        if lanes == 0 || lanes > MAX_BATCH || capacity == 0 {
            return Err(EngineError::failed(format!("a cache of {lanes} lanes and {capacity} positions")));
        }
        let fits = |context: &Context| context.lanes == lanes && context.room >= capacity;
        if !self.context.as_ref().is_some_and(fits) {
            // Two at once would take twice the memory.
            self.context = None;
            self.context = Some(self.make(lanes, self.room_for(capacity))?);
        }
        if let Some(context) = &mut self.context {
            context.clear()?;
        }
        self.generation += 1;
        Ok(Box::new(Cache { generation: self.generation, padding: padding.to_vec(), capacity, len: 0 }))
    }

    fn forward(
        &mut self,
        cache: &mut dyn KvCache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, EngineError> {
        let cache: &mut dyn Any = cache;
        let current = cache.downcast_mut::<Cache>().filter(|cache| cache.generation == self.generation);
        let (Some(cache), Some(context)) = (current, &mut self.context) else {
            return Err(EngineError::failed("the cache is another engine's or an earlier generation's"));
        };
        let lanes = cache.padding.len();
        if tokens.is_empty() || !tokens.len().is_multiple_of(lanes) {
            return Err(EngineError::failed(format!("{} tokens for {lanes} lanes", tokens.len())));
        }
        let count = tokens.len() / lanes;
        if cache.len + count > cache.capacity {
            return Err(EngineError::OutOfMemory("the cache has no room for these positions".into()));
        }
        let kept = match wanted {
            Wanted::None => 0,
            Wanted::Last => 1,
            Wanted::All => count,
        };
        let mut rows = Vec::with_capacity(lanes * kept * self.vocabulary);
        // Rows in the order of the result; `None` for padding, which llama.cpp never sees.
        let mut asked: Vec<Option<i32>> = Vec::with_capacity(lanes * kept);
        context.batch.clear();
        for (index, &token) in tokens.iter().enumerate() {
            let (lane, column) = (index / count, index % count);
            let is_wanted = column + kept >= count;
            if let Some(position) = (cache.len + column).checked_sub(cache.padding[lane]) {
                let token = i32::try_from(token).ok().filter(|&t| (t as usize) < self.vocabulary);
                let token = token.ok_or_else(|| EngineError::failed("a token beyond the vocabulary"))?;
                if is_wanted {
                    asked.push(Some(context.batch.n_tokens()));
                }
                let at = position as i32;
                context
                    .batch
                    .add(LlamaToken(token), at, &[lane as i32], is_wanted)
                    .map_err(EngineError::failed)?;
            } else if is_wanted {
                asked.push(None);
            }
            if context.batch.n_tokens() as usize == BATCH {
                context.flush(&mut asked, &mut rows, self.vocabulary)?;
            }
        }
        context.flush(&mut asked, &mut rows, self.vocabulary)?;
        cache.len += count;
        for (lane, &padding) in cache.padding.iter().enumerate() {
            context.check(lane, cache.len.saturating_sub(padding))?;
        }
        match wanted {
            Wanted::None => Ok(Logits::none()),
            _ => Logits::new(rows, self.vocabulary),
        }
    }
}
