//! Rank correlation and rival models against the recorded values of other programs.

use chimera_stats::models::{Form, Regressor, compare};
use chimera_stats::rank::{RankMethod, spearman};

use crate::{cases, close, close_p, has, num, nums};

#[test]
fn rank_correlations_agree() {
    for case in cases("spearman.json") {
        let name = &case["name"];
        let (x, y) = (nums(&case["x"]), nums(&case["y"]));
        let got = spearman(&x, &y).unwrap();
        close(name, "rho", got.rho, num(&case["rho"]), 1.0);
        if has(&case, "exact_p") {
            assert_eq!(got.method, RankMethod::ExactPermutation, "{name}");
            close_p(name, "exact p", got.p, num(&case["exact_p"]));
            close_p(name, "smallest p", got.smallest_p, num(&case["smallest_p"]));
        } else {
            assert_eq!(got.method, RankMethod::TApproximation, "{name}");
            close_p(name, "p", got.p, num(&case["t_p"]).max(got.smallest_p));
            assert!(got.smallest_p > 0.0, "{name}");
        }
    }
}

#[test]
fn rival_fits_are_the_least_squares_of_log_errors() {
    for case in cases("rivals.json") {
        let name = &case["name"];
        let (x, y) = (nums(&case["x"]), nums(&case["y"]));
        let regressors = [Regressor { name: "x", values: &x }];
        let forms = [Form::Linear, Form::Power, Form::OffsetPower];
        let comparison = compare(&y, &regressors, &forms).unwrap();
        assert!(comparison.unfitted.is_empty(), "{name}");
        assert_eq!(comparison.rivals.len(), 4);
        for rival in &comparison.rivals {
            let form = serde_json::to_value(rival.form).unwrap();
            let form = form.as_str().unwrap();
            let expected = num(&case["sse"][form]);
            // The oracle searches from many starts; where it still ends in a worse valley, ours may be better.
            assert!(
                rival.log_sse <= expected * (1.0 + 1e-8),
                "{name}, {form}: {:e} instead of {expected:e}",
                rival.log_sse
            );
            assert!(
                rival.log_sse >= expected * (1.0 - 1e-3),
                "{name}, {form}: {:e}, the oracle found only {expected:e}",
                rival.log_sse
            );
            let aicc = num(&case["aicc"][form]);
            assert!((rival.aicc.unwrap() - aicc).abs() < 1e-2, "{name}, {form}");
            if has(&case["loo"], form) {
                close(name, form, rival.loo_rmse.unwrap(), num(&case["loo"][form]), 0.0);
            }
        }
    }
}
