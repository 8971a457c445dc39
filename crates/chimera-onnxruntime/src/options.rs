//! How sessions are made: provider, optimisation, threads, memory, shapes, profile.

use std::{fmt, num::NonZeroUsize, path::PathBuf};

/// Where a graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Provider {
    /// The CPU.
    #[default]
    Cpu,
    /// A CUDA device by its number. Not run on hardware.
    Cuda(i32),
    /// A CUDA device by its number, through TensorRT. Not run on hardware.
    TensorRt(i32),
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::TensorRt(number) => write!(f, "tensorrt:{number}"),
        }
    }
}

/// How far a graph is optimised when a session is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Optimisation {
    /// The graph as it is in the file.
    None,
    /// Constants are folded and what does nothing is removed.
    Basic,
    /// And nodes are fused into ONNX Runtime's own operators.
    Extended,
    /// And layouts are changed for this CPU: ONNX Runtime's default.
    #[default]
    All,
}

impl fmt::Display for Optimisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::All => "all",
        })
    }
}

/// What threads do that wait for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Spinning {
    /// They sleep at once: best where threads are more than cores.
    Off,
    /// They spin between the operators of a call and sleep when it ends, so that an engine which runs next has the cores.
    WithinCalls,
    /// They spin after a call too, for some milliseconds: ONNX Runtime's default.
    #[default]
    Always,
}

impl fmt::Display for Spinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::WithinCalls => "within calls",
            Self::Always => "always",
        })
    }
}

/// Which sessions a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Shapes {
    /// One session for every batch and length.
    #[default]
    Dynamic,
    /// A session for each pair of lanes and positions per call, made when the pair first occurs, for this many pairs;
    /// others go to the dynamic session. Each holds the weights once more, and making one takes tens of milliseconds
    /// and more: a compiler's cache with its limit, to be measured as such. The length of the cache stays dynamic.
    Fixed(usize),
}

/// Everything that shapes a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    pub(crate) provider: Provider,
    pub(crate) optimisation: Optimisation,
    /// Threads that compute one operator, the caller's among them.
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) spinning: Spinning,
    pub(crate) memory_pattern: bool,
    pub(crate) arena: bool,
    pub(crate) shapes: Shapes,
    /// Start of the names of profiles.
    pub(crate) profile: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            provider: Provider::Cpu,
            optimisation: Optimisation::All,
            threads: None,
            spinning: Spinning::Always,
            memory_pattern: true,
            arena: true,
            shapes: Shapes::Dynamic,
            profile: None,
        }
    }
}

impl Options {
    pub(crate) fn threads(&self) -> usize {
        self.threads.map_or_else(threads, NonZeroUsize::get)
    }
}

/// Name of the environment variable that sets the number of threads of every in-process engine of this program.
pub const THREADS_VARIABLE: &str = "RAYON_NUM_THREADS";

/// Threads that a session computes on unless told otherwise: [`THREADS_VARIABLE`], or else as many as the process may
/// use at once.
#[must_use]
pub fn threads() -> usize {
    let set = std::env::var(THREADS_VARIABLE).ok().and_then(|text| text.trim().parse().ok());
    set.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}
