//! One call of a graph. Everything is bound in place: the cache of the last call goes in, the cache of the next comes out,
//! and of the logits the wanted rows alone are copied.

use chimera_engine::Wanted;
use half::f16;
use ort::{
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, Session},
    value::{DynTensor, DynValue, Tensor, TensorElementType},
};

use crate::{
    cache::Cache,
    interface::{IDS, Integer, Interface, KEEP, LOGITS, MASK, POSITIONS},
    options::Provider,
};

/// A session and its bindings.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) session: Session,
    binding: IoBinding,
    /// Where keys and values lie.
    device: MemoryInfo<'static>,
    host: MemoryInfo<'static>,
}

/// Sizes of a cache's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    pub(crate) width: usize,
}

impl Bound {
    pub(crate) fn new(session: Session, provider: Provider) -> ort::Result<Self> {
        let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
        let device = match provider {
            Provider::Cpu => host.clone(),
            Provider::Cuda(number) | Provider::TensorRt(number) => {
                MemoryInfo::new(AllocationDevice::CUDA, number, AllocatorType::Device, MemoryType::Default)?
            }
        };
        Ok(Self { binding: session.create_binding()?, session, device, host })
    }

    /// Lets go of what was bound last: a cache that nobody holds any more is freed.
    pub(crate) fn clear(&mut self) {
        self.binding.clear();
    }

    /// Reads the next positions and gives the wanted rows of logits.
    pub(crate) fn run(
        &mut self,
        interface: &Interface,
        heads: Heads,
        cache: &mut Cache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> ort::Result<Vec<f32>> {
        let (lanes, count) = (cache.lanes(), tokens.len() / cache.lanes());
        let total = cache.length + count;
        // Outputs that are bound keep the buffers of the last call, whose shape was another.
        self.binding.clear();
        let ids = tokens.iter().map(|&id| i64::from(id));
        self.binding.bind_input(IDS, &integers(interface.ids, [lanes, count], ids)?)?;
        self.binding.bind_input(MASK, &integers(interface.mask, [lanes, total], cache.mask(total))?)?;
        if let Some(kind) = interface.positions {
            self.binding.bind_input(POSITIONS, &integers(kind, [lanes, count], cache.places(count))?)?;
        }
        if let Some(kind) = interface.keep {
            // 0 means all of them.
            let keep = i64::from(wanted != Wanted::All);
            self.binding.bind_input(KEEP, &integers(kind, [], std::iter::once(keep))?)?;
        }
        if cache.values.is_empty() {
            let allocator = Allocator::default();
            for _ in 0..2 * interface.layers.len() {
                let shape = [lanes, heads.count, 0, heads.width];
                cache.values.push(DynTensor::new(&allocator, interface.cache, shape)?.into_dyn());
            }
        }
        for (layer, values) in interface.layers.iter().zip(cache.values.chunks(2)) {
            for (name, value) in layer.past.iter().zip(values) {
                self.binding.bind_input(name.as_str(), value)?;
            }
        }
        if wanted != Wanted::None {
            self.binding.bind_output_to_device(LOGITS, &self.host)?;
        }
        for name in interface.layers.iter().flat_map(|layer| &layer.present) {
            self.binding.bind_output_to_device(name.as_str(), &self.device)?;
        }
        let outputs = self.session.run_binding(&self.binding)?;
        // They come in the order in which they were bound.
        let mut outputs = outputs.into_iter().map(|(_, value)| value);
        let logits = if wanted == Wanted::None { None } else { outputs.next() };
        cache.values.clear();
        cache.values.extend(outputs);
        cache.length = total;
        match logits {
            Some(logits) => rows(&logits, lanes, count, wanted),
            None => Ok(Vec::new()),
        }
    }
}

/// A tensor of whole numbers.
fn integers<const N: usize>(
    kind: Integer,
    shape: [usize; N],
    values: impl Iterator<Item = i64>,
) -> ort::Result<DynValue> {
    Ok(match kind {
        Integer::I64 => Tensor::from_array((shape, values.collect::<Vec<i64>>()))?.into_dyn(),
        Integer::I32 => {
            let values = values.map(|value| i32::try_from(value).unwrap_or(i32::MAX)).collect::<Vec<i32>>();
            Tensor::from_array((shape, values))?.into_dyn()
        }
    })
}

/// The wanted rows: those of every position, or the last of each lane. A graph that cannot be told how many rows to make
/// has made all of them.
fn rows(logits: &DynValue, lanes: usize, count: usize, wanted: Wanted) -> ort::Result<Vec<f32>> {
    let shape: Vec<i64> = logits.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default();
    let sizes: Vec<usize> = shape.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
    let (kept, vocabulary) = match sizes[..] {
        [of, kept, vocabulary] if of == lanes && (kept == count || (kept == 1 && wanted == Wanted::Last)) => {
            (kept, vocabulary)
        }
        _ => {
            return Err(ort::Error::new(format!(
                "the graph gave logits of shape {shape:?} for {lanes} lanes of {count} positions"
            )));
        }
    };
    let from = if wanted == Wanted::Last { kept - 1 } else { 0 };
    let lane = |lane: usize| (lane * kept + from) * vocabulary..(lane + 1) * kept * vocabulary;
    Ok(if logits.dtype().tensor_type() == Some(TensorElementType::Float16) {
        let (_, values) = logits.try_extract_tensor::<f16>()?;
        (0..lanes).flat_map(|l| values[lane(l)].iter().map(|value| value.to_f32())).collect()
    } else {
        let (_, values) = logits.try_extract_tensor::<f32>()?;
        if lanes == 1 {
            values[lane(0)].to_vec()
        } else {
            (0..lanes).flat_map(|l| &values[lane(l)]).copied().collect()
        }
    })
}
