//! Attention over a preallocated cache, with masks for padding, causality and sliding windows, and rotary positions.
//! Which layers use which is the architectures' business.

use candle_core::{Device, Result, Tensor};
use chimera_engine::KvCache;

use crate::config::Config;

/// Added to scores of positions that must not be seen. It is finite, because a padded row may see nothing at all, and
/// the softmax of infinities is not a number.
const UNSEEN: f32 = -1e30;

/// Keys and values of one layer, shape (lanes, heads, capacity, head width).
#[derive(Debug)]
struct Layer {
    keys: Tensor,
    values: Tensor,
}

/// Keys and values of all layers. Room for every position is taken at the start: growing by concatenation would copy
/// the whole cache at each step.
#[derive(Debug)]
pub(crate) struct Cache {
    layers: Vec<Layer>,
    padding: Vec<usize>,
    capacity: usize,
    length: usize,
}

impl KvCache for Cache {
    fn len(&self) -> usize {
        self.length
    }
}

impl Cache {
    pub(crate) fn new(config: &Config, device: &Device, padding: &[usize], capacity: usize) -> Result<Self> {
        let shape = (padding.len(), config.kv_heads, capacity, config.head_dim);
        let zeros = || Tensor::zeros(shape, candle_core::DType::F32, device);
        let layers = (0..config.layers)
            .map(|_| Ok(Layer { keys: zeros()?, values: zeros()? }))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { layers, padding: padding.to_vec(), capacity, length: 0 })
    }

    pub(crate) fn lanes(&self) -> usize {
        self.padding.len()
    }

    pub(crate) fn has_room_for(&self, positions: usize) -> bool {
        self.length + positions <= self.capacity
    }

    /// To be called once a forward pass has written all layers.
    pub(crate) fn advance(&mut self, positions: usize) {
        self.length += positions;
    }

    /// Position of each token of the next `count` columns within its own lane, lane by lane, at most `last`. Padding has
    /// position 0, and so have ended lanes that run on beyond the context their last.
    pub(crate) fn positions(&self, count: usize, last: usize) -> Vec<u32> {
        let columns = self.length..self.length + count;
        let lane =
            |&padding: &usize| columns.clone().map(move |c| c.saturating_sub(padding).min(last) as u32);
        self.padding.iter().flat_map(lane).collect()
    }

    /// What the next `count` columns may see.
    pub(crate) fn view(&self, count: usize, window: Option<usize>, device: &Device) -> Result<View> {
        let end = self.length + count;
        // Columns before the first one that the first new column sees are seen by none.
        let begin = window.map_or(0, |w| (self.length + 1).saturating_sub(w));
        let padded = self.padding.iter().any(|&p| p > begin);
        if count == 1 && !padded {
            return Ok(View { begin, end, mask: None });
        }
        let lanes: &[usize] = if padded { &self.padding } else { &[0] };
        let mut mask = Vec::with_capacity(lanes.len() * count * (end - begin));
        for &padding in lanes {
            for row in self.length..end {
                mask.extend((begin..end).map(|column| {
                    let seen = column <= row && column >= padding && window.is_none_or(|w| row - column < w);
                    if seen { 0.0 } else { UNSEEN }
                }));
            }
        }
        let mask = Tensor::from_vec(mask, (lanes.len(), 1, 1, count, end - begin), device)?;
        Ok(View { begin, end, mask: Some(mask) })
    }

    /// Writes the next keys and values of a layer and attends to all that the view shows. Shapes are (lanes, columns,
    /// heads, head width), with as many heads as the model has of each kind; the result is (lanes, columns, all heads).
    pub(crate) fn attend(
        &mut self,
        layer: usize,
        (queries, keys, values): (&Tensor, &Tensor, &Tensor),
        view: &View,
        scale: f64,
    ) -> Result<Tensor> {
        let Some(store) = self.layers.get(layer) else { candle_core::bail!("no cache for layer {layer}") };
        let (lanes, count, heads, width) = queries.dims4()?;
        let kv_heads = keys.dim(2)?;
        let group = heads / kv_heads;
        store.keys.slice_set(&keys.transpose(1, 2)?.contiguous()?, 2, self.length)?;
        store.values.slice_set(&values.transpose(1, 2)?.contiguous()?, 2, self.length)?;
        let seen = view.end - view.begin;
        let keys = store.keys.narrow(2, view.begin, seen)?;
        let values = store.values.narrow(2, view.begin, seen)?;

        // Heads that share keys become rows of one product, so that keys need not be repeated.
        let rows = (lanes, kv_heads, group * count, width);
        let queries = (queries.transpose(1, 2)?.contiguous()? * scale)?.reshape(rows)?;
        let mut scores = queries.matmul(&keys.t()?)?;
        if let Some(mask) = &view.mask {
            scores = scores
                .reshape((lanes, kv_heads, group, count, seen))?
                .broadcast_add(mask)?
                .reshape((lanes, kv_heads, group * count, seen))?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores)?;
        let out = weights.matmul(&values)?.reshape((lanes, heads, count, width))?;
        out.transpose(1, 2)?.reshape((lanes, count, heads * width))
    }
}

/// Columns that a forward pass sees, and which of them each row must not.
#[derive(Debug)]
pub(crate) struct View {
    begin: usize,
    end: usize,
    mask: Option<Tensor>,
}

/// Cosines and sines of the rotary angles of some positions, shape (lanes, columns, half the head width).
#[derive(Debug)]
pub(crate) struct Rotation {
    cosines: Tensor,
    sines: Tensor,
}

impl Rotation {
    /// Angles `position / factor * base^(-2 i / width)` for the pairs i of a head (RoFormer, arXiv:2104.09864).
    pub(crate) fn new(
        positions: &[u32],
        lanes: usize,
        head_dim: usize,
        (base, factor): (f64, f64),
        device: &Device,
    ) -> Result<Self> {
        let half = head_dim / 2;
        let frequencies: Vec<f64> =
            (0..half).map(|i| base.powf(-2.0 * i as f64 / head_dim as f64) / factor).collect();
        let mut cosines = Vec::with_capacity(positions.len() * half);
        let mut sines = Vec::with_capacity(positions.len() * half);
        for &position in positions {
            for frequency in &frequencies {
                let (sine, cosine) = (f64::from(position) * frequency).sin_cos();
                sines.push(sine as f32);
                cosines.push(cosine as f32);
            }
        }
        let shape = (lanes, positions.len() / lanes, half);
        Ok(Self {
            cosines: Tensor::from_vec(cosines, shape, device)?,
            sines: Tensor::from_vec(sines, shape, device)?,
        })
    }

    /// Turns heads of shape (lanes, columns, heads, head width); pairs are halves of a head.
    pub(crate) fn turn(&self, heads: &Tensor) -> Result<Tensor> {
        candle_nn::rotary_emb::rope_thd(heads, &self.cosines, &self.sines)
    }
}

/// The last column of every lane, shape (lanes, 1, width).
pub(crate) fn last_column(x: &Tensor) -> Result<Tensor> {
    let count = x.dim(1)?;
    x.narrow(1, count - 1, 1)?.contiguous()
}
