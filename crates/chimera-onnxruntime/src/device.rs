//! Whether a provider can be used here, and the real reason where it cannot.

use chimera_core::Availability;
use ort::ep::{self, ExecutionProvider};

use crate::{
    build::{self, Variation},
    library::Loaded,
    options::{Options, Provider},
};

/// What stands in the way of a provider; nothing for the CPU.
pub(crate) fn obstacle(library: &Loaded, options: &Options) -> Option<Availability> {
    let (name, compiled) = match options.provider {
        Provider::Cpu => return None,
        Provider::Cuda(_) => ("CUDA", ep::CUDA::is_available()),
        Provider::TensorRt(_) => ("TensorRT", ep::TensorRT::is_available()),
    };
    // Registering loads the provider's library and asks for the device. Nothing but this tells whether it works.
    let said = match build::builder(library, options, Variation::default()) {
        Ok(_) => return device_missing().map(|reason| no_device(reason, "")),
        Err(error) => error.message().trim().to_owned(),
    };
    if let Some(reason) = device_missing() {
        return Some(no_device(reason, &format!("; ONNX Runtime says: {said}")));
    }
    let library_missing = !compiled.unwrap_or(false) || said.contains("cannot open shared object");
    Some(if library_missing {
        Availability::LibraryMissing {
            reason: format!("ONNX Runtime cannot use {name}: {said}"),
            remedy:
                "set ORT_DYLIB_PATH to the library of the wheel `onnxruntime-gpu`, with CUDA, cuDNN and, for \
                     TensorRT, its libraries where the system finds them"
                    .into(),
        }
    } else {
        no_device(said, "")
    })
}

fn no_device(reason: String, more: &str) -> Availability {
    Availability::NoDevice {
        reason: format!("{reason}{more}"),
        remedy: "use a machine with an NVIDIA GPU and its driver, or the CPU".into(),
    }
}

/// Why there can be no CUDA device, as far as the system shows.
fn device_missing() -> Option<String> {
    let files = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-gpu"];
    let shown = !cfg!(target_os = "linux") || files.iter().any(|file| std::path::Path::new(file).exists());
    (!shown).then(|| "the system shows no NVIDIA device (no /dev/nvidiactl)".to_owned())
}
