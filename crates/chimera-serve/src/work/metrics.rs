//! Counters and histograms of the server itself, as Prometheus reads them. They count what the server saw; nothing is
//! judged by them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds in seconds.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn see(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, name, "histogram", help);
        let mut sum = 0;
        for (count, bound) in
            self.counts.iter().zip(BOUNDS.iter().map(ToString::to_string).chain(["+Inf".into()]))
        {
            sum += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let _ = writeln!(out, "{name}_sum {}", self.nanos.load(Ordering::Relaxed) as f64 / 1e9);
        let _ = writeln!(out, "{name}_count {sum}");
    }
}

/// All that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    pub(crate) in_flight: AtomicI64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) stream_errors: AtomicU64,
    pub(crate) load: Histogram,
    pub(crate) first: Histogram,
    pub(crate) duration: Histogram,
}

impl Metrics {
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_default() += 1;
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn text(&self, queued: usize, resident: usize) -> String {
        let mut out = String::new();
        head(&mut out, "chimera_serve_requests_total", "counter", "Answers begun, by route and status.");
        for ((route, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(
                out,
                "chimera_serve_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}"
            );
        }
        let whole = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
        let rows = [
            (
                "in_flight",
                "gauge",
                "Generations that run.",
                self.in_flight.load(Ordering::Relaxed).to_string(),
            ),
            ("queue_depth", "gauge", "Requests that wait for a slot.", queued.to_string()),
            ("resident_models", "gauge", "Models that are resident.", resident.to_string()),
            (
                "prompt_tokens_total",
                "counter",
                "Prompt tokens, where the backend says how many.",
                whole(&self.prompt_tokens),
            ),
            (
                "generated_tokens_total",
                "counter",
                "Generated tokens, where the backend says how many.",
                whole(&self.generated_tokens),
            ),
            ("evictions_total", "counter", "Models unloaded to make room.", whole(&self.evictions)),
            (
                "cancelled_total",
                "counter",
                "Generations that ended with their client.",
                whole(&self.cancelled),
            ),
            (
                "stream_errors_total",
                "counter",
                "Generations that failed after their answer had begun.",
                whole(&self.stream_errors),
            ),
        ];
        for (name, kind, help, value) in rows {
            let name = format!("chimera_serve_{name}");
            head(&mut out, &name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        self.load.write(&mut out, "chimera_serve_load_seconds", "Making a model resident.");
        self.first.write(
            &mut out,
            "chimera_serve_time_to_first_text_seconds",
            "From a request's arrival to its first text, queue and load included.",
        );
        self.duration.write(
            &mut out,
            "chimera_serve_generation_seconds",
            "From a request's arrival to the end of its answer.",
        );
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
