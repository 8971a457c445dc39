//! Every way in which two runs can differ beside the effect is found, named, and allowed when it is what is tested.

use chimera_records::RunStatus;
use chimera_studies::{
    RunData,
    compare::{self, Aspect, Options, Outcome},
};

use crate::common::Planted;

/// A change to one of two equal runs.
type Change = fn(&mut RunData);

#[test]
fn each_difference_is_named_and_can_be_declared() {
    let changes: &[(Aspect, &str, Change)] = &[
        (Aspect::ModelDigest, "small", |run| {
            if let Some(model) = run.manifest.models.get_mut("small") {
                model.files[0].sha256 = Some("another".into());
            }
        }),
        (Aspect::Prompts, "short", |run| run.settings.design.scenario[0].text.push('!')),
        (Aspect::Sampling, "tokens", |run| run.settings.design.sampling.temperature = 0.7),
        (Aspect::Warmup, "first use", |run| run.settings.design.warmup.budget += 1),
        (Aspect::BackendVersion, "candle", |run| {
            if let Some(probe) = run.manifest.backends.get_mut("candle") {
                probe.version = Some("1.0".into());
            }
        }),
        (Aspect::Build, "toolchain", |run| run.manifest.program.toolchain = Some("rustc 2".into())),
        (Aspect::Build, "profile", |run| run.manifest.program.profile = None),
        (Aspect::Host, "CPU", |run| run.manifest.host.cpu = Some("another".into())),
        (Aspect::Host, "memory", |run| run.manifest.host.memory_bytes = Some(16 << 30)),
        (Aspect::System, "kernel", |run| run.manifest.host.system = Some("Linux 7".into())),
        (Aspect::Governor, "frequency", |run| run.manifest.host.governor = Some("powersave".into())),
    ];
    let a = Planted::new(1, 6).run();
    for (aspect, subject, change) in changes {
        let mut b = Planted::new(2, 6).run();
        change(&mut b);
        let comparison = compare::compare(&a, &b, &Options::default()).expect("a comparison");
        let found: Vec<_> = comparison.obstacles().map(|d| (d.aspect, d.subject.as_str())).collect();
        assert_eq!(found, [(*aspect, *subject)]);
        assert_eq!(comparison.outcome, Outcome::NotComparable, "{aspect}");
        assert!(compare::markdown(&comparison).contains(aspect.name()), "{aspect}");
        assert!(!comparison.rows.is_empty(), "what was measured is still shown");
        let declared = Options { allowed: vec![*aspect], ..Options::default() };
        let comparison = compare::compare(&a, &b, &declared).expect("a comparison");
        assert_ne!(comparison.outcome, Outcome::NotComparable, "{aspect}");
        assert_eq!(comparison.differences.len(), 1, "{aspect} is told although it is declared");
    }
}

#[test]
fn what_neither_run_recorded_is_a_caveat() {
    let mut runs = [Planted::new(1, 6).run(), Planted::new(2, 6).run()];
    for run in &mut runs {
        run.manifest.host.governor = None;
    }
    runs[1].manifest.status = RunStatus::Cancelled;
    let comparison = compare::compare(&runs[0], &runs[1], &Options::default()).expect("a comparison");
    assert_eq!(comparison.obstacles().count(), 0);
    assert!(comparison.caveats.iter().any(|caveat| caveat.contains("governor")));
    assert!(comparison.caveats.iter().any(|caveat| caveat.contains("run B is not complete")));
}

#[test]
fn runs_without_a_common_cell_are_not_comparable() {
    let a = Planted::new(1, 6).run();
    let mut b = Planted::new(2, 6).run();
    for trial in &mut b.trials {
        trial.factors.budget = 64;
    }
    let comparison = compare::compare(&a, &b, &Options::default()).expect("a comparison");
    assert_eq!((comparison.outcome, comparison.rows.len()), (Outcome::NotComparable, 0));
    assert_eq!(comparison.unmatched.len(), 8);
    assert!(compare::markdown(&comparison).contains("no cell in common"));
}

#[test]
fn a_margin_that_makes_no_sense_is_refused() {
    let (a, b) = (Planted::new(1, 6).run(), Planted::new(2, 6).run());
    for margin in [0.0, 1.0, 3.0, f64::NAN, -0.1] {
        let options = Options { margin, ..Options::default() };
        assert!(compare::compare(&a, &b, &options).is_err(), "{margin}");
    }
}
