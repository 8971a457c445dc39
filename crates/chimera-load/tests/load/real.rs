//! The engine on the machine's clock. What it shows is printed, not asserted: a busy machine issues late.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chimera_core::{Clock, SystemClock};
use chimera_load::{Arrivals, Cancel, LoadRun, MemorySink, Pacing, RunOptions, run_blocking};

use crate::common::{config, plan, server, target};

#[test]
fn issue_error_on_the_machine_s_clock() {
    for (name, pacing) in
        [("sleep, then spin", Pacing::real(0)), ("timer alone", Pacing::Spin(Duration::ZERO))]
    {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let micros = Duration::from_micros(300);
        let backend = server(&clock, 64, micros, micros).build();
        let asked = plan(config(Arrivals::Poisson { rate: vec![1_000.0] }, 2_000, 4));
        let target = futures_executor::block_on(target(&backend));
        let cancel = Cancel::new();
        let options = RunOptions { pacing, ..RunOptions::real(&*clock, 0) };
        let load = LoadRun { plan: &asked, target: &target, clock: &clock, cancel: &cancel, options };
        let mut sink = MemorySink::default();
        let started = Instant::now();
        let end = run_blocking(load, &mut sink, &mut |_| {}).expect("a run");
        assert_eq!((end.counts.completed, end.counts.planned), (2_000, 2_000), "nothing is dropped");
        assert!(started.elapsed() < Duration::from_secs(60), "two seconds of arrivals");
        let mut errors: Vec<i64> = sink
            .trials
            .iter()
            .map(|trial| {
                let lane = &trial.lanes[0];
                lane.sent.expect("sent") as i64 - lane.intended.expect("intended") as i64
            })
            .collect();
        errors.sort_unstable();
        assert!(errors[0] >= 0, "never early");
        let at = |p: f64| errors[((errors.len() - 1) as f64 * p) as usize] as f64 / 1e3;
        println!(
            "1,000 req/s, {name}: issue error p50 {:.1} us, p99 {:.1} us, max {:.1} us",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}
