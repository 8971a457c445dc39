//! From a graph to an engine, by NVIDIA's parser and builder. For a named compute capability this needs no device.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use chimera_core::Availability;
use trtx::{
    Builder, BuilderFlag, ComputeCapability, DataType, NetworkDefinition, OnnxParser, OptProfileSelector,
    ProfilingVerbosity, Tensor,
    builder::{BuilderConfig, MemoryPoolType},
    optimization_profile::OptimizationProfile,
    trtx_sys::Dims64,
};

use super::log::{self, Here};
use crate::{
    audit::EngineAudit,
    error::TensorRtError,
    graph::Graph,
    interface::{IDS, Interface, KEEP, MASK, POSITIONS},
    options::{BuildOptions, Capability},
    profile::{Extent, Profile, Profiles},
    tensor::{Element, Role, TensorSpec},
};

/// An engine, and what is known of it without a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Built {
    pub(crate) engine: Vec<u8>,
    pub(crate) seconds: f64,
    pub(crate) audit: EngineAudit,
}

/// One build at a time: what is said meanwhile is said of it.
static BUILDING: Mutex<()> = Mutex::new(());

/// Builds an engine.
pub(crate) fn build(
    graph: &Graph,
    profiles: &Profiles,
    options: &BuildOptions,
) -> Result<Built, TensorRtError> {
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    let here = log::here();
    let refused = |step: &'static str| move |error: trtx::Error| said(here, step, &error);
    let logger = log::logger().map_err(|said| TensorRtError::Refused { step: "logger", said })?;
    let mut builder = Builder::new(logger).map_err(refused("builder"))?;
    let mut config = builder.create_config().map_err(refused("builder"))?;
    configure(&mut config, options).map_err(refused("builder"))?;
    let network = builder.create_network(0).map_err(refused("builder"))?;
    let mut parser = OnnxParser::new(network, logger).map_err(refused("parser"))?;
    let parsed = match &graph.beside {
        // Weights in files of their own are found from the graph's path.
        Some(path) => match path.to_str() {
            Some(path) => parser.parse_from_file(path, 0),
            None => Err(trtx::Error::InvalidArgument(format!("{} is no UTF-8", path.display()))),
        },
        None => parser.parse(&graph.bytes),
    };
    parsed.map_err(refused("parser"))?;
    let network = parser.network_mut();
    let tensors = tensors(network).map_err(refused("parser"))?;
    let interface = Interface::of(&tensors)?;
    if interface != graph.interface {
        return Err(TensorRtError::NotAsClaimed(format!(
            "the parsed network's tensors are {interface:?}, the graph's {:?}",
            graph.interface
        )));
    }
    for profile in profiles.as_slice() {
        let mut made = builder.creata_optimization_profile().map_err(refused("profile"))?;
        set(&mut made, profile, &tensors).map_err(refused("profile"))?;
        config.add_optimization_profile(&mut made).map_err(refused("profile"))?;
    }
    let engine = builder.build_serialized_network(network, &mut config).map_err(refused("builder"))?;
    let seconds = begin.elapsed().as_secs_f64();
    let audit = here.layers().map_or_else(
        // A library that lists no layers leaves the claim unproven, and an unread line says so.
        || EngineAudit { unread: 1, ..EngineAudit::default() },
        |text| EngineAudit::read(&text),
    );
    Ok(Built { engine: engine.to_vec(), seconds, audit })
}

fn configure(config: &mut BuilderConfig<'_>, options: &BuildOptions) -> trtx::Result<()> {
    if options.allows_tf32() {
        config.set_flag(BuilderFlag::kTF32);
    } else {
        config.clear_flag(BuilderFlag::kTF32);
    }
    config.set_builder_optimization_level(i32::from(options.optimisation_level()));
    if let Some(bytes) = options.workspace_limit() {
        config
            .set_memory_pool_limit(MemoryPoolType::kWORKSPACE, usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    // The audit reads the layers' types, which are kept with this verbosity alone.
    config.set_profiling_verbosity(ProfilingVerbosity::kDETAILED);
    config.set_nb_compute_capabilities(1)?;
    config.set_compute_capability(capability(options.capability()), 0)
}

fn capability(capability: Capability) -> ComputeCapability {
    match capability {
        Capability::Current => ComputeCapability::kCURRENT,
        Capability::Sm75 => ComputeCapability::kSM75,
        Capability::Sm80 => ComputeCapability::kSM80,
        Capability::Sm86 => ComputeCapability::kSM86,
        Capability::Sm89 => ComputeCapability::kSM89,
        Capability::Sm120 => ComputeCapability::kSM120,
        Capability::Sm121 => ComputeCapability::kSM121,
    }
}

/// Sets a profile's extents for every input whose shape is open.
fn set(made: &mut OptimizationProfile<'_>, profile: &Profile, tensors: &[TensorSpec]) -> trtx::Result<()> {
    type Pick = fn(Extent) -> u32;
    let picks: [(OptProfileSelector, Pick); 3] = [
        (OptProfileSelector::kMIN, Extent::min),
        (OptProfileSelector::kOPT, Extent::opt),
        (OptProfileSelector::kMAX, Extent::max),
    ];
    for tensor in tensors.iter().filter(|tensor| tensor.role == Role::Input) {
        for (selector, pick) in picks {
            let batch = i64::from(pick(profile.batch()));
            let dims = match tensor.name.as_str() {
                IDS | POSITIONS => vec![batch, i64::from(pick(profile.sequence()))],
                MASK => vec![batch, i64::from(pick(profile.total()))],
                KEEP => {
                    if tensor.on_host {
                        // From the last position alone to all of them.
                        let most = profile.sequence().max();
                        let rows = [Extent::fixed(1).min(), 1, most];
                        let index = [OptProfileSelector::kMIN, OptProfileSelector::kOPT]
                            .iter()
                            .position(|known| *known == selector)
                            .unwrap_or(2);
                        made.set_shape_values_v2(&tensor.name, selector, &[i64::from(rows[index])])?;
                    }
                    continue;
                }
                _ => {
                    let fixed = |index: usize| {
                        let extent = tensor.dims.get(index).copied().flatten();
                        extent.and_then(|extent| i64::try_from(extent).ok()).unwrap_or(-1)
                    };
                    vec![batch, fixed(1), i64::from(pick(profile.past())), fixed(3)]
                }
            };
            made.set_dimensions(&tensor.name, selector, &Dims64::from_slice(&dims))?;
        }
    }
    Ok(())
}

/// The inputs and outputs of a parsed network.
fn tensors(network: &NetworkDefinition<'_>) -> trtx::Result<Vec<TensorSpec>> {
    let spec = |tensor: Tensor<'_>, role| {
        Ok(TensorSpec {
            name: tensor.name(network)?,
            role,
            element: element(tensor.data_type(network)),
            dims: tensor
                .dimensions(network)?
                .into_iter()
                .map(|extent| usize::try_from(extent).ok())
                .collect(),
            on_host: role == Role::Input && tensor.is_shape_tensor(network),
        })
    };
    let inputs = network.inputs().map(|tensor| spec(tensor, Role::Input));
    inputs.chain(network.outputs().map(|tensor| spec(tensor, Role::Output))).collect()
}

/// TensorRT's name of a type in ours.
pub(crate) fn element(kind: DataType) -> Element {
    match kind {
        DataType::kFLOAT => Element::F32,
        DataType::kHALF => Element::F16,
        DataType::kINT64 => Element::I64,
        DataType::kINT32 => Element::I32,
        DataType::kINT8 => Element::I8,
        DataType::kBOOL => Element::Bool,
        DataType::kBF16 => Element::Other("BF16"),
        DataType::kFP8 => Element::Other("FP8"),
        _ => Element::Other("a type of its own"),
    }
}

/// An error with what TensorRT said meanwhile, sorted.
fn said(here: Here, step: &'static str, error: &trtx::Error) -> TensorRtError {
    let said = here.errors(&error.to_string());
    // A node that the parser has no layers for fails a check of its own, one that it does not know at all has no importer.
    if said.contains("No importer registered") || said.contains("onnxOpCheckers") {
        return TensorRtError::Unsupported(format!("this graph: {said}"));
    }
    if said.to_ascii_lowercase().contains("out of memory") {
        return TensorRtError::OutOfMemory(said);
    }
    TensorRtError::Refused { step, said }
}

/// The answer where there is no device, with the library's own words.
pub(crate) fn no_device(reason: String) -> Availability {
    let remedy = "run it where an NVIDIA GPU of compute capability 7.5 to 12.1 and its driver are; engines for a named \
                  capability are built without one"
        .to_owned();
    Availability::NoDevice { reason, remedy }
}

/// What TensorRT itself says of the devices here, where it says something: it is asked to build the smallest network for
/// the device that is there.
pub(crate) fn ask_for_device() -> Option<String> {
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let here = log::here();
    let tried = || -> trtx::Result<()> {
        let logger = log::logger().map_err(trtx::Error::Unknown)?;
        let mut builder = Builder::new(logger)?;
        let mut config = builder.create_config()?;
        config.set_nb_compute_capabilities(1)?;
        config.set_compute_capability(ComputeCapability::kCURRENT, 0)?;
        let mut network = builder.create_network(0)?;
        let input = network.add_input("x", DataType::kFLOAT, &[1])?;
        let output = network.add_identity(&input)?.output(&network, 0)?;
        network.mark_output(&output);
        builder.build_serialized_network(&mut network, &mut config).map(|_| ())
    };
    tried().err().map(|error| here.errors(&error.to_string()))
}
