//! Where a model computes, and what of it is there: compiled-in backends, devices, threads and instruction sets.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::Device;
use chimera_core::Availability;

/// A device that Candle computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CandleDevice {
    /// The CPU, on as many threads as [`threads`] says.
    #[default]
    Cpu,
    /// A CUDA device by its number. Needs the feature `cuda`.
    Cuda(usize),
    /// A Metal device by its number. Needs the feature `metal`.
    Metal(usize),
}

impl std::fmt::Display for CandleDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

impl CandleDevice {
    /// Opens the device, or says why it cannot be used.
    pub(crate) fn open(self) -> Result<Device, Availability> {
        let (name, compiled) = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Cuda(_) => ("cuda", candle_core::utils::cuda_is_available()),
            Self::Metal(_) => ("metal", candle_core::utils::metal_is_available()),
        };
        if !compiled {
            return Err(Availability::NotCompiled {
                reason: format!("this binary was built without the feature {name} of chimera-candle"),
                remedy: format!("build with --features {name}"),
            });
        }
        // The native bindings panic where their driver library is missing.
        let opened = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Metal(number) => Device::new_metal(number),
            Self::Cuda(number) => Device::new_cuda(number),
            Self::Cpu => Ok(Device::Cpu),
        }));
        let reason = match opened {
            Ok(Ok(device)) => return Ok(device),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the {name} driver library cannot be loaded"),
        };
        Err(Availability::NoDevice {
            reason: format!("{self}: {reason}"),
            remedy: "install the driver, choose a device that exists, or use the CPU".into(),
        })
    }
}

/// Name of the environment variable that sets the number of threads. It is read once, when the process first computes:
/// threads are a setting of a process.
pub const THREADS_VARIABLE: &str = "RAYON_NUM_THREADS";

/// Threads that this process computes on: [`THREADS_VARIABLE`], or else as many as there are physical cores.
#[must_use]
pub fn threads() -> usize {
    candle_core::utils::get_num_threads()
}

/// Instruction sets of this CPU that the kernels make use of, in a stable order.
pub(crate) fn instruction_sets() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! look {
            ($($name:tt),*) => {
                $(if std::arch::is_x86_feature_detected!($name) {
                    found.push($name);
                })*
            };
        }
        look!("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vnni", "avx512bf16");
    }
    #[cfg(target_arch = "aarch64")]
    {
        found.push("neon");
        macro_rules! look {
            ($($name:tt),*) => {
                $(if std::arch::is_aarch64_feature_detected!($name) {
                    found.push($name);
                })*
            };
        }
        look!("dotprod", "i8mm", "fp16", "bf16");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_what_is_not_compiled_says_so() {
        assert!(CandleDevice::Cpu.open().is_ok());
        assert!(threads() >= 1);
        for (device, compiled) in [
            (CandleDevice::Cuda(0), cfg!(feature = "cuda")),
            (CandleDevice::Metal(0), cfg!(feature = "metal")),
        ] {
            match device.open() {
                Ok(_) => assert!(compiled),
                Err(obstacle) => {
                    assert_eq!(matches!(obstacle, Availability::NotCompiled { .. }), !compiled, "{obstacle}");
                    assert!(obstacle.obstacle().is_some());
                }
            }
        }
    }
}
