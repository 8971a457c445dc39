//! Twenty thousand random byte strings, read as floats of every kind, through every public function: what the fuzz target
//! `stats_arbitrary_floats` does without end, at a size that always runs.

mod arbitrary;
#[expect(dead_code, reason = "only the generator is needed here")]
mod support;

use support::Normals;

#[test]
fn any_bytes_give_finite_results_or_refusals() {
    const STRINGS: u64 = 20_000;
    let seen = std::thread::scope(|scope| {
        let part = |first: u64| {
            (first..STRINGS).step_by(4).for_each(|seed| {
                let mut random = Normals::new(seed);
                let n = 16 + (random.uniform() * 400.0) as usize;
                let bytes: Vec<u8> = (0..n).map(|_| (random.uniform() * 256.0) as u8).collect();
                let done = std::panic::catch_unwind(|| arbitrary::drive(&bytes));
                assert!(done.is_ok(), "seed {seed}: {bytes:?}");
            });
            arbitrary::seen()
        };
        let workers: Vec<_> = (0..4).map(|first| scope.spawn(move || part(first))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>()
    });
    // Most strings get past the refusals.
    assert!(seen > 10 * STRINGS, "{seen} values were looked at");
}

/// What the fuzz target found.
#[test]
fn strings_that_once_failed_do_not_any_more() {
    // Limits of Cohen's d beyond the largest float.
    arbitrary::drive(&[92, 11, 188, 188, 188, 188, 188, 11, 6, 188, 255, 7, 3, 229]);
}
