//! The first CUDA device, by the driver's interface, which is loaded at run time. Its primary context is used: TensorRT
//! works in the same one. Not run on hardware.

use std::sync::Arc;

use chimera_core::Availability;
use cudarc::driver::{CudaContext, DriverError, sys};

use super::build::{ask_for_device, no_device};

/// A device that is there.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) name: String,
    pub(crate) capability: (u32, u32),
    pub(crate) memory: u64,
}

impl Device {
    /// Its name and capability, as keys and probes have it.
    pub(crate) fn describe(&self) -> String {
        format!("{} ({}.{})", self.name, self.capability.0, self.capability.1)
    }
}

/// The first device, or why there is none, in the driver's and TensorRT's words.
pub(crate) fn device() -> Result<Device, Availability> {
    #[expect(unsafe_code, reason = "the driver's library is looked for before it is used, which would panic")]
    // SAFETY: it opens the vendor's driver library by its name, or finds none.
    let present = unsafe { sys::is_culib_present() };
    let missing = |reason: String| {
        let more = ask_for_device().map(|said| format!("; TensorRT says: {said}")).unwrap_or_default();
        no_device(format!("{reason}{more}"))
    };
    if !present {
        return Err(missing("the NVIDIA driver's library (libcuda) is not on this machine".to_owned()));
    }
    open().map_err(|error| missing(format!("the NVIDIA driver says {error}")))
}

fn open() -> Result<Device, DriverError> {
    let context = CudaContext::new(0)?;
    let (major, minor) = context.compute_capability()?;
    Ok(Device {
        name: context.name()?,
        capability: (u32::try_from(major).unwrap_or(0), u32::try_from(minor).unwrap_or(0)),
        memory: context.total_mem()? as u64,
        context,
    })
}
