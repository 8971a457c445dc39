//! A resident engine as a language model: which profile a pass runs with, what its tensors hold, and keys and values that
//! stay on the device. What a pass writes as `present` the next one reads as `past`: the two change places and nothing is
//! copied. Nothing here knows TensorRT; an [`Executor`] does the work.

use std::{any::Any, sync::Arc};

use chimera_core::ModelInfo;
use chimera_engine::{ChatTemplate, EngineError, KvCache, LanguageModel, Logits, Texts, Tokenizer, Wanted};

use crate::{
    executor::{Binding, DeviceError, Executor, Place},
    interface::{IDS, Interface, KEEP, LOGITS, MASK, POSITIONS, past, present},
    profile::{Profiles, Shape},
    tensor::{BindingError, Buffer, Element, Role, Scalar, TensorSpec, bytes_of},
};

/// Most lanes in one batch, whatever profiles admit.
pub(crate) const MAX_BATCH: usize = 64;

/// What a model needs beside its engine.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) info: ModelInfo,
    pub(crate) texts: Texts,
    pub(crate) end_of_sequence: Vec<u32>,
    /// Longest prompt and answer together.
    pub(crate) context: usize,
    pub(crate) profiles: Profiles,
    pub(crate) interface: Interface,
}

/// A model on a device.
pub(crate) struct TensorRtModel<E: Executor> {
    executor: E,
    parts: Parts,
    /// Names of keys and values as inputs and outputs, layer by layer.
    names: Vec<(String, String)>,
    logits: Option<Buffer<f32, E::Memory>>,
    /// Time of passes since it was last asked for.
    device_nanos: u64,
}

/// Keys, values and the inputs of one batch.
struct Cache<M> {
    padding: Vec<usize>,
    capacity: usize,
    length: usize,
    past: Vec<M>,
    present: Vec<M>,
    ids: Buffer<i64, M>,
    mask: Buffer<i64, M>,
    positions: Buffer<i64, M>,
    keep: Buffer<i64, M>,
}

impl<M: Send + 'static> KvCache for Cache<M> {
    fn len(&self) -> usize {
        self.length
    }
}

impl<E: Executor> TensorRtModel<E> {
    /// A model of an engine, which must have the graph's tensors.
    pub(crate) fn new(executor: E, parts: Parts) -> Result<Self, crate::error::TensorRtError> {
        let found = Interface::of(executor.tensors())?;
        if found != parts.interface {
            return Err(crate::error::TensorRtError::NotAsClaimed(format!(
                "its tensors are {found:?}, the graph's {:?}",
                parts.interface
            )));
        }
        let names = (0..parts.interface.layers)
            .flat_map(|layer| [0, 1].map(|which| (past(layer, which), present(layer, which))))
            .collect();
        Ok(Self { executor, parts, names, logits: None, device_nanos: 0 })
    }

    fn pass(
        &mut self,
        cache: &mut Cache<E::Memory>,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, EngineError> {
        let (lanes, before) = (cache.padding.len(), cache.length);
        let count = tokens.len() / lanes;
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let shape = Shape { batch: small(lanes), sequence: small(count), past: small(before) };
        let profile =
            self.parts.profiles.select(shape).map_err(|outside| EngineError::Refused(outside.to_string()))?;
        let vocabulary = self.parts.interface.vocabulary;
        let kept = match wanted {
            _ if !self.parts.interface.keep => count,
            Wanted::All => count,
            _ => 1,
        };
        let rows = lanes * kept;
        let mut logits = match self.logits.take() {
            Some(buffer) if buffer.length() >= rows * vocabulary => buffer,
            // The smaller one goes first: both together may be more than there is.
            smaller => {
                drop(smaller);
                Buffer::new(&mut self.executor, rows * vocabulary).map_err(device)?
            }
        };

        let begin = self.executor.mark().map_err(device)?;
        let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
        cache.ids.write(&mut self.executor, &ids).map_err(device)?;
        let (mask, positions) = surroundings(&cache.padding, before, count, self.parts.context);
        cache.mask.write(&mut self.executor, &mask).map_err(device)?;
        if self.parts.interface.positions {
            cache.positions.write(&mut self.executor, &positions).map_err(device)?;
        }
        let keep_on_host = self.executor.tensors().iter().any(|t| t.name == KEEP && t.on_host);
        let wanted_rows = i64::try_from(kept).unwrap_or(i64::MAX);
        if self.parts.interface.keep && !keep_on_host {
            cache.keep.write(&mut self.executor, &[wanted_rows]).map_err(device)?;
        }
        let mut bindings = vec![
            read(IDS, vec![lanes, count], &cache.ids),
            read(MASK, vec![lanes, before + count], &cache.mask),
        ];
        if self.parts.interface.positions {
            bindings.push(read(POSITIONS, vec![lanes, count], &cache.positions));
        }
        if self.parts.interface.keep {
            let mut keep = read(KEEP, Vec::new(), &cache.keep);
            if keep_on_host {
                keep.place = Place::Host(wanted_rows);
            }
            bindings.push(keep);
        }
        let element = self.parts.interface.cache;
        for (((past, present), from), to) in self.names.iter().zip(&cache.past).zip(&mut cache.present) {
            let shape = |positions| self.parts.interface.cache_shape(lanes, positions);
            bindings.push(Binding { name: past, element, shape: shape(before), place: Place::Read(from) });
            let shape = shape(before + count);
            bindings.push(Binding { name: present, element, shape, place: Place::Write(to) });
        }
        bindings.push(Binding {
            name: LOGITS,
            element: f32::ELEMENT,
            shape: vec![lanes, kept, vocabulary],
            place: Place::Write(logits.memory_mut()),
        });
        check::<E>(self.executor.tensors(), &bindings).map_err(EngineError::failed)?;
        self.executor.run(profile, &mut bindings).map_err(device)?;
        drop(bindings);
        let end = self.executor.mark().map_err(device)?;
        std::mem::swap(&mut cache.past, &mut cache.present);
        cache.length += count;
        self.device_nanos =
            self.device_nanos.saturating_add(self.executor.between(&begin, &end).map_err(device)?);

        let out = self.fetch(&logits, lanes, kept, wanted);
        self.logits = Some(logits);
        out
    }

    /// The rows that are wanted of those that the pass has written.
    fn fetch(
        &mut self,
        logits: &Buffer<f32, E::Memory>,
        lanes: usize,
        kept: usize,
        wanted: Wanted,
    ) -> Result<Logits, EngineError> {
        let vocabulary = self.parts.interface.vocabulary;
        let mut values = match wanted {
            Wanted::None => return Ok(Logits::none()),
            Wanted::Last => vec![0.0; lanes * vocabulary],
            Wanted::All => vec![0.0; lanes * kept * vocabulary],
        };
        if wanted == Wanted::All || kept == 1 {
            logits.read(&mut self.executor, 0, &mut values).map_err(device)?;
        } else {
            for (lane, row) in values.chunks_exact_mut(vocabulary).enumerate() {
                let start = ((lane + 1) * kept - 1) * vocabulary;
                logits.read(&mut self.executor, start, row).map_err(device)?;
            }
        }
        Logits::new(values, vocabulary)
    }
}

fn read<'a, T: Scalar, M>(name: &'a str, shape: Vec<usize>, buffer: &'a Buffer<T, M>) -> Binding<'a, M> {
    Binding { name, element: T::ELEMENT, shape, place: Place::Read(buffer.memory()) }
}

/// The mask over all positions of every lane, and the positions of the new ones within their lane: 0 for padding, and
/// for ended lanes that run on beyond the context its last.
fn surroundings(padding: &[usize], before: usize, count: usize, context: usize) -> (Vec<i64>, Vec<i64>) {
    let mask = padding.iter().flat_map(|&pad| (0..before + count).map(move |at| i64::from(at >= pad)));
    let positions = padding.iter().flat_map(|&pad| {
        (before..before + count).map(move |at| {
            i64::try_from(at.saturating_sub(pad).min(context.saturating_sub(1))).unwrap_or(i64::MAX)
        })
    });
    (mask.collect(), positions.collect())
}

/// Every tensor of the engine has one buffer, of its type and shape, with room for it. Nothing runs otherwise.
fn check<E: Executor>(
    tensors: &[TensorSpec],
    bindings: &[Binding<'_, E::Memory>],
) -> Result<(), BindingError> {
    for binding in bindings {
        let spec = tensors
            .iter()
            .find(|spec| spec.name == binding.name)
            .ok_or_else(|| BindingError::Unknown(binding.name.to_owned()))?;
        let wrong = |is, not| Err(BindingError::Role(spec.name.clone(), is, not));
        let there = match (&binding.place, spec.role, spec.on_host) {
            (Place::Read(memory), Role::Input, false) => E::size(memory),
            (Place::Write(memory), Role::Output, false) => E::size(memory),
            (Place::Host(_), Role::Input, true) => i64::ELEMENT.bytes().unwrap_or(0),
            (Place::Host(_), _, false) => return wrong("tensor on the device", "one on the host"),
            (_, _, true) => return wrong("tensor on the host", "one on the device"),
            (_, Role::Input, _) => return wrong("input", "output"),
            (_, Role::Output, _) => return wrong("output", "input"),
        };
        spec.check(binding.element, &binding.shape, there)?;
    }
    match tensors.iter().find(|spec| !bindings.iter().any(|binding| binding.name == spec.name)) {
        Some(spec) => Err(BindingError::Unbound(spec.name.clone())),
        None => Ok(()),
    }
}

fn device<X: DeviceError>(error: X) -> EngineError {
    if error.is_out_of_memory() {
        EngineError::OutOfMemory(error.to_string())
    } else {
        EngineError::failed(error)
    }
}

impl<E: Executor> LanguageModel for TensorRtModel<E> {
    fn info(&self) -> &ModelInfo {
        &self.parts.info
    }

    fn tokenizer(&self) -> Result<Arc<Tokenizer>, String> {
        self.parts.texts.tokenizer.clone()
    }

    fn chat_template(&self) -> Result<Arc<ChatTemplate>, String> {
        self.parts.texts.chat.clone()
    }

    fn end_of_sequence(&self) -> &[u32] {
        &self.parts.end_of_sequence
    }

    fn vocabulary(&self) -> usize {
        self.parts.interface.vocabulary
    }

    fn context(&self) -> usize {
        self.parts.context
    }

    fn max_batch(&self) -> usize {
        (self.parts.profiles.max_batch() as usize).min(MAX_BATCH)
    }

    fn prefill_chunk(&self) -> usize {
        self.parts.profiles.max_chunk() as usize
    }

    fn start(&mut self, padding: &[usize], capacity: usize) -> Result<Box<dyn KvCache>, EngineError> {
        let lanes = padding.len();
        let most = self.parts.profiles.max_total() as usize;
        if lanes == 0 || lanes > self.max_batch() || capacity > most {
            return Err(EngineError::Refused(format!(
                "{lanes} lanes of {capacity} positions: the engine was built for {}",
                self.parts.profiles
            )));
        }
        let too_much = || EngineError::OutOfMemory(format!("{lanes} lanes of {capacity} positions"));
        let element: Element = self.parts.interface.cache;
        let bytes =
            bytes_of(&self.parts.interface.cache_shape(lanes, capacity), element).ok_or_else(too_much)?;
        let on = &mut self.executor;
        let mut side = || -> Result<Vec<E::Memory>, EngineError> {
            self.names.iter().map(|_| on.allocate(bytes).map_err(device)).collect()
        };
        let (past, present) = (side()?, side()?);
        let chunk = self.parts.profiles.max_chunk() as usize;
        let mut ids = |length: usize| Buffer::new(on, length).map_err(device);
        Ok(Box::new(Cache {
            padding: padding.to_vec(),
            capacity,
            length: 0,
            past,
            present,
            ids: ids(lanes * chunk)?,
            mask: ids(lanes * capacity)?,
            positions: ids(lanes * chunk)?,
            keep: ids(1)?,
        }))
    }

    fn forward(
        &mut self,
        cache: &mut dyn KvCache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, EngineError> {
        let cache: &mut dyn Any = cache;
        let cache = cache
            .downcast_mut::<Cache<E::Memory>>()
            .ok_or_else(|| EngineError::failed("the cache is another engine's"))?;
        let lanes = cache.padding.len();
        if tokens.is_empty() || !tokens.len().is_multiple_of(lanes) {
            return Err(EngineError::failed(format!("{} tokens for {lanes} lanes", tokens.len())));
        }
        if cache.length + tokens.len() / lanes > cache.capacity {
            return Err(EngineError::OutOfMemory("the cache has no room for these positions".into()));
        }
        self.pass(cache, tokens, wanted)
    }

    fn device_nanos(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.device_nanos))
    }
}
