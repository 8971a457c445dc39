//! The number of threads, which is one for all engines in a process: they are compared on the same cores.

/// Name of the environment variable that sets the number of threads, the same that the Candle adapter heeds.
pub const THREADS_VARIABLE: &str = "RAYON_NUM_THREADS";

/// Threads that this process computes on: [`THREADS_VARIABLE`], or else as many as there are physical cores.
#[must_use]
pub fn threads() -> usize {
    let set = std::env::var(THREADS_VARIABLE).ok().and_then(|text| text.parse().ok());
    set.filter(|&count| count > 0).unwrap_or_else(num_cpus::get_physical)
}
