//! Tensors at the boundary of an engine: their types and shapes, and the checks that stand between a buffer and a
//! binding. A buffer knows the type of its elements at compile time, so that 64-bit ids cannot be copied into memory
//! meant for 32-bit ones; what an engine declares is only known at run time, and is compared there before every pass.

use std::{fmt, marker::PhantomData};

use crate::executor::Executor;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub(crate) enum Element {
    F32,
    F16,
    I64,
    I32,
    I8,
    Bool,
    /// One that no buffer here has.
    Other(&'static str),
}

impl Element {
    /// Bytes of one element; `None` where no buffer here has it.
    pub(crate) fn bytes(self) -> Option<usize> {
        match self {
            Self::I64 => Some(8),
            Self::F32 | Self::I32 => Some(4),
            Self::F16 => Some(2),
            Self::I8 | Self::Bool => Some(1),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I8 => "I8",
            Self::Bool => "BOOL",
            Self::Other(name) => name,
        })
    }
}

/// A Rust type that is an element of tensors.
pub(crate) trait Scalar: bytemuck::Pod + Send + Sync {
    const ELEMENT: Element;
}

impl Scalar for i64 {
    const ELEMENT: Element = Element::I64;
}

impl Scalar for f32 {
    const ELEMENT: Element = Element::F32;
}

#[cfg(test)]
impl Scalar for i32 {
    const ELEMENT: Element = Element::I32;
}

/// Who writes a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Input,
    Output,
}

/// An input or output of an engine, as the engine declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) element: Element,
    /// Extents; `None` where each pass says.
    pub(crate) dims: Vec<Option<usize>>,
    /// Whether its values are read on the host, because shapes depend on them.
    pub(crate) on_host: bool,
}

/// A buffer that must not be bound to this tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BindingError {
    #[error("the engine has no tensor {0:?}")]
    Unknown(String),
    #[error("{name} holds {wanted} and the buffer {given}: nothing was copied")]
    Type { name: String, wanted: Element, given: Element },
    #[error("{name} has the shape {wanted}, not {given:?}")]
    Shape { name: String, wanted: String, given: Vec<usize> },
    #[error(
        "{name} of the shape {shape:?} takes {needed} bytes, and the buffer has {there}: nothing was copied"
    )]
    Room { name: String, shape: Vec<usize>, needed: usize, there: usize },
    #[error("{0} is an {1}, not an {2}")]
    Role(String, &'static str, &'static str),
    #[error("{0} has no buffer")]
    Unbound(String),
}

impl TensorSpec {
    /// Checks a buffer of `there` bytes with elements of a type, to be used with a shape.
    pub(crate) fn check(&self, given: Element, shape: &[usize], there: usize) -> Result<(), BindingError> {
        let name = || self.name.clone();
        if given != self.element {
            return Err(BindingError::Type { name: name(), wanted: self.element, given });
        }
        let fits = self.dims.len() == shape.len()
            && self.dims.iter().zip(shape).all(|(dim, given)| dim.is_none_or(|dim| dim == *given));
        if !fits {
            return Err(BindingError::Shape { name: name(), wanted: self.shape(), given: shape.to_vec() });
        }
        let needed = bytes_of(shape, given);
        match needed {
            Some(needed) if needed <= there => Ok(()),
            needed => {
                let needed = needed.unwrap_or(usize::MAX);
                Err(BindingError::Room { name: name(), shape: shape.to_vec(), needed, there })
            }
        }
    }

    /// Its shape as errors show it.
    pub(crate) fn shape(&self) -> String {
        let dims: Vec<String> =
            self.dims.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
        format!("[{}]", dims.join(", "))
    }
}

/// Bytes of a tensor; `None` where they cannot be counted.
pub(crate) fn bytes_of(shape: &[usize], element: Element) -> Option<usize> {
    shape.iter().try_fold(element.bytes()?, |product, &extent| product.checked_mul(extent))
}

/// Device memory for elements of one Rust type.
pub(crate) struct Buffer<T, M> {
    memory: M,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Scalar, M> Buffer<T, M> {
    /// Room for `length` elements.
    pub(crate) fn new<E: Executor<Memory = M>>(on: &mut E, length: usize) -> Result<Self, E::Error> {
        let memory = on.allocate(length.saturating_mul(size_of::<T>()))?;
        Ok(Self { memory, length, element: PhantomData })
    }

    /// Copies elements to its beginning.
    pub(crate) fn write<E: Executor<Memory = M>>(&mut self, on: &mut E, from: &[T]) -> Result<(), E::Error> {
        on.upload(bytemuck::cast_slice(from), &mut self.memory)
    }

    /// Copies elements out, from the one at `start` on, and waits for whatever writes them.
    pub(crate) fn read<E: Executor<Memory = M>>(
        &self,
        on: &mut E,
        start: usize,
        into: &mut [T],
    ) -> Result<(), E::Error> {
        on.download(&self.memory, start.saturating_mul(size_of::<T>()), bytemuck::cast_slice_mut(into))
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(crate) fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(element: Element) -> TensorSpec {
        let dims = vec![None, None];
        TensorSpec { name: "input_ids".into(), role: Role::Input, element, dims, on_host: false }
    }

    #[test]
    fn ids_of_another_width_are_refused_before_anything_is_copied() {
        // The published fault: 64-bit ids for a tensor of 32-bit ones overran its memory by a factor of two.
        let error = ids(Element::I32).check(i64::ELEMENT, &[1, 8], 64).unwrap_err();
        assert_eq!(error.to_string(), "input_ids holds I32 and the buffer I64: nothing was copied");
        assert!(ids(Element::I64).check(i32::ELEMENT, &[1, 8], 64).is_err());
        assert_eq!(ids(Element::I64).check(i64::ELEMENT, &[1, 8], 64), Ok(()));
    }

    #[test]
    fn shapes_and_room_are_checked() {
        let mut spec = ids(Element::I64);
        assert!(matches!(spec.check(Element::I64, &[1, 9], 64), Err(BindingError::Room { needed: 72, .. })));
        assert!(matches!(spec.check(Element::I64, &[8], 64), Err(BindingError::Shape { .. })));
        assert!(matches!(
            spec.check(Element::I64, &[usize::MAX, 2], 64),
            Err(BindingError::Room { needed: usize::MAX, .. })
        ));
        spec.dims = vec![None, Some(4)];
        let said = spec.check(Element::I64, &[1, 5], 64).unwrap_err().to_string();
        assert_eq!(said, "input_ids has the shape [?, 4], not [1, 5]");
    }
}
