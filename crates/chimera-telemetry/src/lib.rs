//! Samplers of the host: who else used the CPU while something was measured, and what the machine is.
//!
//! [`HostProbe`] keeps the kernel's counters open and reads them before and after a trial; [`noise_between`] turns two
//! readings into shares of the time between them. [`HostDescription`] and [`ProcessMemory`] are read once per run or
//! process. Linux is read through `/proc` and `/sys`; what a host does not tell is `None`, never zero, and on other
//! systems that is nearly everything. Energy is not measured here.

mod bandwidth;
mod describe;
mod probe;
mod snapshot;

pub use bandwidth::memory_read_rate;
pub use describe::{HostDescription, ProcessMemory};
pub use probe::HostProbe;
pub use snapshot::{HostSnapshot, Noise, noise_between};
