//! Percentiles of errors, printed only where enough of them certify one, and the processor time of a thread.

use std::time::Duration;

/// Errors of one kind, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Errors {
    values: Vec<u64>,
}

impl Errors {
    pub(super) fn push(&mut self, nanos: u64) {
        self.values.push(nanos);
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// Nearest rank, so that it is a value that was seen; `None` below `least` values.
    fn quantile(&self, share: f64, least: usize) -> Option<u64> {
        if self.values.len() < least {
            return None;
        }
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    pub(super) fn p50(&self) -> Option<u64> {
        self.quantile(0.5, 11)
    }

    /// Certified from 662 values on.
    pub(super) fn p99(&self) -> Option<u64> {
        self.quantile(0.99, 662)
    }

    pub(super) fn max(&self) -> Option<u64> {
        self.values.iter().max().copied()
    }
}

/// Processor time that this thread has used; `None` where the system does not say.
#[cfg(unix)]
pub(super) fn thread_time() -> Option<Duration> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(Duration::from(time))
}

/// Processor time that this thread has used; `None` where the system does not say.
#[cfg(not(unix))]
pub(super) fn thread_time() -> Option<Duration> {
    None
}

/// Nanoseconds for people.
pub(super) fn shown(nanos: Option<u64>) -> String {
    nanos.map_or_else(
        || "–".to_owned(),
        |nanos| chimera_report::show_number(nanos as f64 * 1e-9, "s").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_and_need_enough_of_them() {
        let mut errors = Errors::default();
        for value in 1..=661 {
            errors.push(value);
        }
        assert_eq!((errors.p50(), errors.p99(), errors.max()), (Some(331), None, Some(661)));
        errors.push(10_000);
        assert_eq!((errors.p99(), errors.max()), (Some(656), Some(10_000)));
        assert_eq!((Errors::default().p50(), Errors::default().max()), (None, None));
    }
}
