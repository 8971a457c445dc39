//! The instrument measures itself: how fine its clock is, what a reading costs, and what the harness costs per event.
//! These figures bound what a run can resolve; they correct nothing.

use std::{hint::black_box, sync::Arc, time::Instant};

use chimera_core::{Clock, Event, EventKind, EventStream, FinishReason, Finished, SystemClock};
use chimera_records::{Clocks, Factors};
use futures_util::{StreamExt, stream};

use crate::{
    Cancel,
    block::{End, Scratch, Until, drive},
};

const READINGS: u32 = 100_000;
const EVENTS: u32 = 10_000;
const ROUNDS: usize = 3;

/// Measures the instrument. Takes some ten milliseconds of one core.
#[must_use]
pub fn calibrate() -> Clocks {
    let clock = SystemClock::new();
    let reading = best(|| {
        let start = Instant::now();
        for _ in 0..READINGS {
            black_box(clock.now());
        }
        Some(start.elapsed().as_nanos() as f64 / f64::from(READINGS))
    });
    Clocks {
        resolution_ns: clock
            .resolution(READINGS as usize)
            .and_then(|step| u64::try_from(step.as_nanos()).ok()),
        reading_ns: reading,
        per_event_ns: best(per_event),
    }
}

/// The least of a few rounds: what disturbs a round only makes it longer.
fn best(mut round: impl FnMut() -> Option<f64>) -> Option<f64> {
    (0..ROUNDS).filter_map(|_| round()).min_by(f64::total_cmp)
}

/// Follows a stream that costs nothing: its events exist already.
fn per_event() -> Option<f64> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let at = clock.now();
    let event = |kind| Ok(Event { at, lane: 0, kind });
    let mut events = Vec::with_capacity(EVENTS as usize + 2);
    events.push(event(EventKind::Sent));
    events
        .extend((0..EVENTS).map(|id| {
            event(EventKind::Chunk { text: String::from(" word"), tokens: Some(1), id: Some(id) })
        }));
    events.push(event(EventKind::Finished(Finished::new(FinishReason::Length, Some(EVENTS)))));
    let mut events: [EventStream; 1] = [stream::iter(events).boxed()];
    let mut scratch = Scratch::default();
    scratch.begin(&Factors {
        backend: "none".into(),
        model: "none".into(),
        scenario: "none".into(),
        budget: EVENTS,
        batch: 1,
        concurrency: 1,
        threads: 1,
    });
    let deadline = at.after(std::time::Duration::from_secs(60));
    let cancel = Cancel::new();
    let start = Instant::now();
    let until = Until { clock: &clock, deadline, cancel: &cancel };
    let end = futures_executor::block_on(drive(&mut events, &mut scratch, until));
    let elapsed = start.elapsed();
    (end == End::Completed).then(|| elapsed.as_nanos() as f64 / f64::from(EVENTS + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instrument_answers_in_full() {
        let clocks = calibrate();
        assert!(clocks.resolution_ns.is_some_and(|ns| ns > 0));
        assert!(clocks.reading_ns.is_some_and(|ns| ns > 0.0 && ns < 100_000.0));
        assert!(clocks.per_event_ns.is_some_and(|ns| ns > 0.0 && ns < 100_000.0));
    }
}
