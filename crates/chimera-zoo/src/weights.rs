//! Where a writer takes its weights from: the generator, or a file that is being converted. Always F32 and always in
//! Hugging Face's layout, so that every writer starts from the same numbers.

use crate::error::ZooError;
use crate::rng::TensorStream;
use crate::spec::{Init, ModelSpec, TensorDef};

/// Gives the values of a model's tensors.
pub trait TensorSource {
    /// The tensor's values in row-major order of `def.shape`: exactly as many as its shape says.
    ///
    /// # Errors
    /// Where the values come from a file, that file's errors; the generator has none.
    fn values(&self, def: &TensorDef) -> Result<Vec<f32>, ZooError>;
}

/// The seeded generator of one model.
#[derive(Debug, Clone, Copy)]
pub struct Generated<'a> {
    spec: &'a ModelSpec,
}

impl<'a> Generated<'a> {
    /// The generator of this model's weights.
    #[must_use]
    pub fn new(spec: &'a ModelSpec) -> Self {
        Self { spec }
    }
}

impl TensorSource for Generated<'_> {
    fn values(&self, def: &TensorDef) -> Result<Vec<f32>, ZooError> {
        let mut out = Vec::new();
        let mut stream = TensorStream::new(self.spec.seed, &self.spec.name, &def.name);
        match def.init {
            Init::Around { mean, std } => stream.fill(def.elements(), mean, std, &mut out),
            Init::AroundLessOne { mean, std } => {
                stream.fill(def.elements(), mean, std, &mut out);
                out.iter_mut().for_each(|v| *v -= 1.0);
            }
        }
        Ok(out)
    }
}
