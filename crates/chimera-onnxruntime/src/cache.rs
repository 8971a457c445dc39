//! Keys and values of a batch. They are values of ONNX Runtime, on the device that computes: what one call gives is what
//! the next one takes, and nothing passes through this program.

use chimera_engine::KvCache;
use ort::value::DynValue;

/// The cache of one batch.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Key and value of each layer, as the graph orders them; none before the first call.
    pub(crate) values: Vec<DynValue>,
    /// Positions at the start of each lane that are padding.
    pub(crate) padding: Vec<usize>,
    pub(crate) length: usize,
    capacity: usize,
}

impl Cache {
    pub(crate) fn new(padding: &[usize], capacity: usize) -> Self {
        Self { values: Vec::new(), padding: padding.to_vec(), length: 0, capacity }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.padding.len()
    }

    pub(crate) fn has_room_for(&self, count: usize) -> bool {
        self.length + count <= self.capacity
    }

    /// For each lane and position up to `total`: whether it is read.
    pub(crate) fn mask(&self, total: usize) -> impl Iterator<Item = i64> + '_ {
        self.padding
            .iter()
            .flat_map(move |&padding| (0..total).map(move |position| i64::from(position >= padding)))
    }

    /// For each lane, the places of the next `count` positions in its text; padding has place 0.
    pub(crate) fn places(&self, count: usize) -> impl Iterator<Item = i64> + '_ {
        let length = self.length;
        self.padding.iter().flat_map(move |&padding| {
            (length..length + count)
                .map(move |p| i64::try_from(p.saturating_sub(padding)).unwrap_or(i64::MAX))
        })
    }
}

impl KvCache for Cache {
    fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_masked_and_places_begin_behind_it() {
        let mut cache = Cache::new(&[0, 2], 6);
        assert_eq!(cache.mask(4).collect::<Vec<_>>(), [1, 1, 1, 1, 0, 0, 1, 1]);
        assert_eq!(cache.places(4).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 0, 0, 1]);
        cache.length = 4;
        assert_eq!(cache.places(1).collect::<Vec<_>>(), [4, 2]);
        assert!(cache.has_room_for(2) && !cache.has_room_for(3));
    }
}
