//! What the adapter asks of a device: memory, copies, passes of one engine, and the device's own clock. The real one is on
//! TensorRT and CUDA; tests have one that computes on the CPU.

use crate::tensor::{Element, TensorSpec};

/// An error of a device, sorted by what can be done about it.
pub(crate) trait DeviceError: std::error::Error + Send + Sync + 'static {
    /// Whether there was no room.
    fn is_out_of_memory(&self) -> bool;
}

/// Where a tensor of one pass lies.
pub(crate) enum Place<'a, M> {
    /// Device memory that the pass reads.
    Read(&'a M),
    /// Device memory that the pass writes.
    Write(&'a mut M),
    /// A value on the host that shapes depend on.
    Host(i64),
}

/// One tensor of one pass.
pub(crate) struct Binding<'a, M> {
    pub(crate) name: &'a str,
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place<'a, M>,
}

/// A resident engine, its device and its stream. Work is done in the order in which it is asked for.
pub(crate) trait Executor: Send {
    /// Memory on the device.
    type Memory: Send + 'static;
    /// A point on the stream's time line.
    type Mark;
    /// What can go wrong.
    type Error: DeviceError;

    /// The engine's inputs and outputs.
    fn tensors(&self) -> &[TensorSpec];

    /// Takes memory; it is never empty, so that it has an address.
    fn allocate(&mut self, bytes: usize) -> Result<Self::Memory, Self::Error>;

    /// Bytes of a piece of memory.
    fn size(memory: &Self::Memory) -> usize;

    /// Copies from the host. `from` may be used again at once.
    fn upload(&mut self, from: &[u8], to: &mut Self::Memory) -> Result<(), Self::Error>;

    /// Copies to the host from a byte on, once all work before it is done.
    fn download(&mut self, from: &Self::Memory, start: usize, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Starts a pass with the kernels of a profile. Every tensor of the engine has a binding, and all were checked.
    fn run(&mut self, profile: usize, bindings: &mut [Binding<'_, Self::Memory>]) -> Result<(), Self::Error>;

    /// The point that the stream has reached once all work asked for so far is done.
    fn mark(&mut self) -> Result<Self::Mark, Self::Error>;

    /// Nanoseconds between two points by the device's clock; waits for the second.
    fn between(&mut self, from: &Self::Mark, to: &Self::Mark) -> Result<u64, Self::Error>;
}
