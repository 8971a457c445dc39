//! A resident engine on a CUDA stream. Not run on hardware: what decides something is tested with another executor, and
//! that this one links, loads and says `NoDevice` is tested with the real library.

use std::{fmt, fs, path::PathBuf, rc::Rc, sync::Arc};

use cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DriverError, sys};
use trtx::{
    CudaEngine, DynamicShapesKernelSpecializationStrategy as Strategy, ExecutionContext,
    LayerInformationFormat, Runtime, RuntimeCache, TensorIOMode, TensorLocation, trtx_sys::Dims64,
};

use super::{build::element, cuda::Device, log};
use crate::{
    audit::EngineAudit,
    cache::{CachedEngine, EngineCache},
    error::TensorRtError,
    executor::{Binding, DeviceError, Executor, Place},
    options::Specialisation,
    tensor::{Role, TensorSpec},
};

/// What can go wrong on the device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RtxError {
    #[error("CUDA: {0}")]
    Cuda(#[from] DriverError),
    #[error("TensorRT: {0}")]
    TensorRt(String),
    #[error("{given} bytes for {there}")]
    Room { given: usize, there: usize },
    #[error("{name} would have the shape {found:?}, and {wanted:?} was expected: nothing ran")]
    Shape { name: String, wanted: Vec<usize>, found: Vec<i64> },
}

impl DeviceError for RtxError {
    fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Cuda(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)))
    }
}

/// An engine, its context and its stream. The fields are freed in this order: TensorRT wants a context to go before its
/// engine, and an engine before its runtime.
pub(crate) struct RtxExecutor {
    context: ExecutionContext<'static>,
    engine: CudaEngine<'static>,
    kernels: Option<Kernels>,
    _runtime: Runtime<'static>,
    stream: Arc<CudaStream>,
    tensors: Vec<TensorSpec>,
    profile: Option<usize>,
    /// Values that TensorRT reads on the host; they stay where they are until the next pass.
    host: Vec<i64>,
}

/// The kernels that the runtime compiled for the device, kept beside the engine.
struct Kernels {
    cache: Arc<RuntimeCache>,
    keep: EngineCache,
    path: PathBuf,
}

#[expect(unsafe_code, reason = "the engine is owned by one thread, and moves there as a whole")]
// SAFETY: a context and its runtime configuration hold plain pointers and an `Rc`, which is why they are not `Send`. All
// holders of that `Rc` and every object that the pointers lead to are fields of this struct or of the context in it, so
// they move together; TensorRT ties none of them to a thread as long as one uses them at a time, and `&mut self` sees to
// that.
unsafe impl Send for RtxExecutor {}

impl fmt::Debug for RtxExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtxExecutor").field("tensors", &self.tensors).finish_non_exhaustive()
    }
}

impl RtxExecutor {
    /// Makes an engine resident on a device.
    pub(crate) fn new(
        cached: &CachedEngine,
        device: &Device,
        cache: Option<&EngineCache>,
        specialisation: Specialisation,
    ) -> Result<Self, TensorRtError> {
        let here = log::here();
        let refused = |error: trtx::Error| {
            let said = here.errors(&error.to_string());
            if said.to_ascii_lowercase().contains("out of memory") {
                return TensorRtError::OutOfMemory(said);
            }
            TensorRtError::Refused { step: "runtime", said }
        };
        let cuda = |error: DriverError| TensorRtError::Refused { step: "stream", said: error.to_string() };
        device.context.bind_to_thread().map_err(cuda)?;
        let stream = device.context.new_stream().map_err(cuda)?;
        let logger = log::logger().map_err(|said| TensorRtError::Refused { step: "logger", said })?;
        let mut runtime = Runtime::new(logger).map_err(refused)?;
        let mut engine = runtime.deserialize_cuda_engine(&cached.engine).map_err(refused)?;
        let mut config = engine.create_runtime_config().map_err(refused)?;
        config.set_dynamic_shapes_kernel_specialization_strategy(match specialisation {
            Specialisation::None => Strategy::kNONE,
            Specialisation::Lazy => Strategy::kLAZY,
            Specialisation::Eager => Strategy::kEAGER,
        });
        let kernels = match cache {
            Some(keep) => {
                let path = keep.kernels(&cached.record);
                let made = Arc::new(config.create_runtime_cache().map_err(refused)?);
                if let Ok(bytes) = fs::read(&path)
                    && let Err(error) = made.deserialize(&bytes)
                {
                    // Compiling again costs time and nothing else.
                    tracing::warn!(
                        "{}: kernels of another device or version are not used ({error})",
                        path.display()
                    );
                }
                config.set_runtime_cache(Arc::clone(&made)).map_err(refused)?;
                Some(Kernels { cache: made, keep: keep.clone(), path })
            }
            None => None,
        };
        let context = engine.create_execution_context_with_config(Rc::new(config)).map_err(refused)?;
        let tensors = tensors(&engine).map_err(refused)?;
        let (profile, host) = (None, Vec::new());
        Ok(Self { context, engine, kernels, _runtime: runtime, stream, tensors, profile, host })
    }

    /// What the resident engine is made of, by TensorRT's inspector.
    pub(crate) fn audit(&self) -> Result<EngineAudit, TensorRtError> {
        let refused =
            |error: trtx::Error| TensorRtError::Refused { step: "inspector", said: error.to_string() };
        let inspector = self.engine.create_engine_inspector().map_err(refused)?;
        let text = inspector.engine_information(LayerInformationFormat::kONELINE).map_err(refused)?;
        Ok(EngineAudit::read(&text))
    }
}

impl Drop for RtxExecutor {
    fn drop(&mut self) {
        // Nothing that is in flight may lose its memory.
        if let Err(error) = self.stream.synchronize() {
            tracing::warn!("the stream did not end well: {error}");
        }
        let Some(kernels) = &self.kernels else { return };
        let kept = match kernels.cache.serialize() {
            Ok(bytes) => kernels.keep.write(&kernels.path, &bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = kept {
            tracing::warn!("{}: compiled kernels are not kept ({error})", kernels.path.display());
        }
    }
}

fn tensors(engine: &CudaEngine<'_>) -> trtx::Result<Vec<TensorSpec>> {
    (0..engine.nb_io_tensors()?)
        .map(|index| {
            let name = engine.io_tensor_name(index)?;
            let role = match engine.tensor_io_mode(&name)? {
                TensorIOMode::kINPUT => Role::Input,
                _ => Role::Output,
            };
            Ok(TensorSpec {
                role,
                element: element(engine.tensor_data_type(&name)?),
                dims: engine.tensor_shape(&name)?.into_iter().map(|n| usize::try_from(n).ok()).collect(),
                on_host: engine.tensor_location(&name)? == TensorLocation::kHOST,
                name,
            })
        })
        .collect()
}

fn dims(shape: &[usize]) -> Dims64 {
    let shape: Vec<i64> = shape.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
    Dims64::from_slice(&shape)
}

impl Executor for RtxExecutor {
    type Memory = CudaSlice<u8>;
    type Mark = CudaEvent;
    type Error = RtxError;

    fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    fn allocate(&mut self, bytes: usize) -> Result<CudaSlice<u8>, RtxError> {
        // TensorRT wants an address for tensors of no elements too.
        Ok(self.stream.alloc_zeros::<u8>(bytes.max(1))?)
    }

    fn size(memory: &CudaSlice<u8>) -> usize {
        memory.num_bytes()
    }

    fn upload(&mut self, from: &[u8], to: &mut CudaSlice<u8>) -> Result<(), RtxError> {
        if from.len() > to.num_bytes() {
            return Err(RtxError::Room { given: from.len(), there: to.num_bytes() });
        }
        Ok(self.stream.memcpy_htod(from, to)?)
    }

    fn download(&mut self, from: &CudaSlice<u8>, start: usize, into: &mut [u8]) -> Result<(), RtxError> {
        let end = start.saturating_add(into.len());
        let part =
            from.try_slice(start..end).ok_or(RtxError::Room { given: end, there: from.num_bytes() })?;
        self.stream.memcpy_dtoh(&part, into)?;
        Ok(self.stream.synchronize()?)
    }

    fn run(&mut self, profile: usize, bindings: &mut [Binding<'_, CudaSlice<u8>>]) -> Result<(), RtxError> {
        let here = log::here();
        let refused = |error: trtx::Error| RtxError::TensorRt(here.errors(&error.to_string()));
        let stream = Arc::clone(&self.stream);
        if self.profile != Some(profile) {
            let index = i32::try_from(profile).unwrap_or(i32::MAX);
            #[expect(unsafe_code, reason = "TensorRT takes the stream as a pointer")]
            // SAFETY: the stream is alive, it is the one that every pass runs on, and the switch is ordered before them.
            let switched =
                unsafe { self.context.set_optimization_profile_async(index, stream.cu_stream().cast()) };
            if !switched {
                return Err(RtxError::TensorRt(here.errors("the profile was not switched to")));
            }
            self.profile = Some(profile);
        }
        for binding in bindings.iter().filter(|binding| !matches!(binding.place, Place::Write(_))) {
            self.context.set_input_shape(binding.name, &dims(&binding.shape)).map_err(refused)?;
        }
        let on_host = |binding: &Binding<'_, CudaSlice<u8>>| match binding.place {
            Place::Host(value) => Some(value),
            _ => None,
        };
        self.host = bindings.iter().filter_map(on_host).collect();
        let names = bindings.iter().filter(|binding| on_host(binding).is_some()).map(|binding| binding.name);
        for (name, value) in names.zip(self.host.iter_mut()) {
            let address: *mut i64 = value;
            #[expect(unsafe_code, reason = "TensorRT takes addresses")]
            // SAFETY: `self.host` keeps its values in place until the next pass sets others, the tensor is one on the host of
            // one I64 (both were checked), and TensorRT reads it before the pass is in the stream.
            unsafe { self.context.set_tensor_address(name, address.cast()) }.map_err(refused)?;
        }
        // With all inputs known the library says which shapes come out: they are what memory was taken for, or nothing runs.
        // An extent that it leaves open contradicts nothing.
        for binding in bindings.iter().filter(|binding| matches!(binding.place, Place::Write(_))) {
            let shape = self.context.tensor_shape(binding.name).map_err(refused)?;
            let count = usize::try_from(shape.nbDims).unwrap_or(0).min(shape.d.len());
            let found = &shape.d[..count];
            let same = found.len() == binding.shape.len()
                && found
                    .iter()
                    .zip(&binding.shape)
                    .all(|(&found, &wanted)| found < 0 || usize::try_from(found) == Ok(wanted));
            if !same {
                let (wanted, found) = (binding.shape.clone(), found.to_vec());
                return Err(RtxError::Shape { name: binding.name.to_owned(), wanted, found });
            }
        }
        // Guards order this stream after other uses of the memory; they go once the pass is in the stream.
        let mut guards = Vec::with_capacity(bindings.len());
        for binding in bindings.iter_mut() {
            let (address, guard) = match &mut binding.place {
                Place::Read(memory) => memory.device_ptr(&stream),
                Place::Write(memory) => memory.device_ptr_mut(&stream),
                Place::Host(_) => continue,
            };
            guards.push(guard);
            #[expect(unsafe_code, reason = "TensorRT takes addresses")]
            // SAFETY: the memory is alive and borrowed until the pass is in the stream, its type, shape and room were
            // checked against the engine, and freeing it later is ordered behind the pass in the same stream.
            unsafe { self.context.set_tensor_address(binding.name, address as *mut std::ffi::c_void) }
                .map_err(refused)?;
        }
        #[expect(unsafe_code, reason = "TensorRT takes the stream as a pointer")]
        // SAFETY: every tensor has its address, all inputs their shapes, and the stream is alive.
        let done = unsafe { self.context.enqueue_v3(stream.cu_stream().cast()) }.map_err(refused);
        drop(guards);
        done
    }

    fn mark(&mut self) -> Result<CudaEvent, RtxError> {
        Ok(self.stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?)
    }

    fn between(&mut self, from: &CudaEvent, to: &CudaEvent) -> Result<u64, RtxError> {
        let milliseconds = from.elapsed_ms(to)?;
        Ok((f64::from(milliseconds.max(0.0)) * 1e6) as u64)
    }
}

/// Whether an engine is one of this library at all, by its header; its device is not looked at. `None` where the library
/// cannot tell.
pub(crate) fn is_malformed(engine: &[u8]) -> Option<bool> {
    let runtime = Runtime::new(log::logger().ok()?).ok()?;
    match runtime.engine_validity(engine) {
        Ok((_, diagnostics)) => {
            Some(diagnostics.contains(trtx::EngineInvalidityDiagnostics::MALFORMED_ENGINE))
        }
        // Shorter than a header.
        Err(_) => Some(true),
    }
}
