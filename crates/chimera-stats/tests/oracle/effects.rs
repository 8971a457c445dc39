//! Effect sizes and their intervals against the recorded values of other programs.

use chimera_stats::random::Resampling;
use chimera_stats::{Estimate, Sample, effect};
use serde_json::Value;

use crate::{cases, close, close_interval, has, num, nums};

/// Point and interval of an estimate; `scale` is the magnitude that cancels in them.
#[track_caller]
fn agrees(name: &Value, what: &str, got: &Estimate, point: &Value, interval: &[f64], scale: f64) {
    close(name, what, got.point, num(point), scale);
    close_interval(name, what, got.interval, interval, scale);
}

#[test]
fn effects_of_two_arms_agree() {
    for case in cases("effects.json") {
        let name = &case["name"];
        let (a, b) = (nums(&case["a"]), nums(&case["b"]));
        let size = a.iter().chain(&b).fold(0.0_f64, |m, v| m.max(v.abs()));
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        let d = effect::cohen_d(a, b, 0.95).unwrap();
        agrees(name, "d", &d, &case["d"], &nums(&case["d_interval"]), 1.0);
        let g = effect::hedges_g(a, b, 0.95).unwrap();
        agrees(name, "g", &g, &case["g"], &nums(&case["g_interval"]), 1.0);
        for (key, got) in [
            ("welch", effect::mean_difference_welch(a, b, 0.95).unwrap()),
            ("student", effect::mean_difference_student(a, b, 0.95).unwrap()),
        ] {
            let expected = nums(&case[key]);
            agrees(name, key, &got, &case[key][0], &expected[1..], size);
        }
        let delta = effect::cliff_delta(a, b, 0.95).unwrap();
        close(name, "Cliff", delta.point, num(&case["cliff"]["delta"]), 1.0);
        if has(&case["cliff"], "interval") {
            close_interval(name, "Cliff", delta.interval, &nums(&case["cliff"]["interval"]), 1.0);
        } else {
            assert_eq!(delta.interval, None, "{name}");
        }
        for (key, got) in [
            ("hl", effect::hodges_lehmann(a, b, 0.95).unwrap()),
            ("hl_one", effect::hodges_lehmann_one(a, 0.95).unwrap()),
        ] {
            close(name, key, got.point, num(&case[key]), size);
            let interval = format!("{key}_interval");
            if has(&case, &interval) {
                close_interval(name, key, got.interval, &nums(&case[&interval]), size);
            } else {
                assert_eq!(got.interval, None, "{name}, {key}");
            }
        }
        if has(&case, "shift") {
            let expected = &case["shift"];
            let probabilities = nums(&expected["p"]);
            let shifts =
                effect::shift_function(a, b, &probabilities, Resampling::numpy(300, 9), 0.95).unwrap();
            for (i, shift) in shifts.iter().enumerate() {
                let difference = &shift.difference;
                agrees(
                    name,
                    "shift",
                    difference,
                    &expected["point"][i],
                    &nums(&expected["interval"][i]),
                    size,
                );
                let joint = nums(&expected["simultaneous"][i]);
                close_interval(name, "all shifts", Some(shift.simultaneous), &joint, size);
                close(name, "se", difference.standard_error.unwrap(), num(&expected["se"][i]), size);
            }
        }
    }
}

#[test]
fn effects_of_pairs_agree() {
    for case in cases("paired_effects.json") {
        let name = &case["name"];
        let (a, b) = (nums(&case["a"]), nums(&case["b"]));
        let size = a.iter().chain(&b).fold(0.0_f64, |m, v| m.max(v.abs()));
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        let d = effect::cohen_d_paired(a, b, 0.95).unwrap();
        agrees(name, "d", &d, &case["d"], &nums(&case["d_interval"]), 1.0);
        let g = effect::hedges_g_paired(a, b, 0.95).unwrap();
        agrees(name, "g", &g, &case["g"], &nums(&case["g_interval"]), 1.0);
        let difference = effect::mean_difference_paired(a, b, 0.95).unwrap();
        let expected = nums(&case["difference"]);
        agrees(name, "difference", &difference, &case["difference"][0], &expected[1..], size);
    }
}
