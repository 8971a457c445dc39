//! TR118's analysis on runs whose truth is known.

use chimera_records::{Audit, Build, Factors, QualityRecord};
use chimera_report::{Cell, Findings, Verdict};
use chimera_studies::{Study, Tr118};

use crate::common::{
    Does, Truth, cell, estimate, parameters, plain, planted, row, table, text, wobble, words,
};

/// Source of a model of the design.
fn source(model: &str) -> &str {
    if model.starts_with("smollm2") {
        return "smollm2-135m";
    }
    model.trim_end_matches("-f16").trim_end_matches("-int8-dynamic")
}

/// The latency of ONNX Runtime grows as size, that of the others as its square root; they meet at `at` parameters.
fn meeting(at: f64) -> impl Fn(&Factors, u32, u32) -> Does {
    move |factors, tokens, block| {
        let size = parameters(source(&factors.model)) as f64;
        let unit = if &*factors.backend == "onnxruntime" { size / at.sqrt() } else { size.sqrt() };
        let time = 1e-7 * unit * wobble(factors, block);
        Does::Takes(time * f64::from(tokens), time * 2.0)
    }
}

fn analyse(truth: Truth<'_>) -> Findings {
    Tr118.analyse(&planted(&Tr118, "default", None, truth)).expect("findings")
}

#[test]
fn a_planted_crossing_is_found_under_every_way_of_making_a_speed() {
    let findings = analyse(plain(&meeting(2e7)));
    let crossings = table(&findings, "crossings");
    let prefill: Vec<&Vec<Cell>> = crossings
        .rows
        .iter()
        .filter(|row| {
            cell(crossings, row, "work") == &Cell::from("prefill")
                && cell(crossings, row, "second") == &Cell::from("candle")
        })
        .collect();
    assert_eq!(prefill.len(), 6);
    for row in prefill {
        let at = estimate(cell(crossings, row, "at"));
        assert!((at.point / 20.0 - 1.0).abs() < 0.05, "{at:?}");
        let interval = at.interval.expect("every resample crosses");
        assert!(interval.low < 20.5 && 19.5 < interval.high, "{interval:?}");
        assert!((estimate(cell(crossings, row, "exponent")).point + 0.5).abs() < 0.01);
    }
    let hypotheses = table(&findings, "hypotheses");
    for (id, verdict) in
        [("H1", Verdict::Supported), ("H2", Verdict::Supported), ("H3", Verdict::Contradicted)]
    {
        let row = row(hypotheses, &[("id", id)]);
        assert_eq!(cell(hypotheses, row, "verdict"), &Cell::Verdict(verdict), "{id}");
    }
    let published = table(&findings, "published");
    let claim = row(published, &[("id", "crossover")]);
    assert_eq!(cell(published, claim, "verdict"), &Cell::Verdict(Verdict::Contradicted));
    let headline =
        findings.draft().headline.iter().find(|h| h.id == "crossover-prefill-onnxruntime-over-candle");
    assert_eq!(headline.expect("a headline").verdict, Verdict::Supported);
    assert!(findings.plots().any(|plot| plot.id == "advantage-1"));
}

#[test]
fn a_crossing_outside_the_sizes_is_said_to_be_none() {
    let findings = analyse(plain(&meeting(5e9)));
    let crossings = table(&findings, "crossings");
    assert!(crossings.rows.iter().all(|row| {
        cell(crossings, row, "second") != &Cell::from("candle")
            || matches!(cell(crossings, row, "at"), Cell::Missing { .. })
    }));
    let said = words(&findings, "crossover");
    assert!(said.contains("faster than candle at every size; no crossing lies in the range"), "{said}");
    let published = table(&findings, "published");
    let claim = row(published, &[("id", "crossover")]);
    assert_eq!(cell(published, claim, "verdict"), &Cell::Verdict(Verdict::NotMeasured));
    assert!(text(cell(published, claim, "why")).contains("no crossing"));
}

#[test]
fn a_model_on_which_an_engine_disagrees_is_not_in_the_law() {
    let findings = analyse(Truth {
        top1: &|backend, model| {
            Some(if (backend, model) == ("onnxruntime", "tiny-gpt2") { 0.5 } else { 1.0 })
        },
        ..plain(&meeting(2e7))
    });
    let advantage = table(&findings, "advantage");
    let own = advantage.rows.iter().filter(|row| cell(advantage, row, "model") == &Cell::from("tiny-gpt2"));
    assert_eq!(own.count(), 0);
    assert!(!advantage.rows.is_empty());
}

#[test]
fn gates_that_cannot_fail_are_vacuous_and_others_have_two_sides() {
    let findings = analyse(Truth {
        worse: &|_, model| match model {
            "smollm2-135m-int8-dynamic" => None,
            "smollm2-135m-int8-static-min-max" => Some(0.05),
            "smollm2-135m-int8-static-entropy" => Some(-0.03),
            _ => Some(0.0002),
        },
        ..plain(&meeting(2e7))
    });
    let gates = table(&findings, "gates");
    let gate = |model: &str, backend: &str| {
        let who = format!("{model} on {backend}");
        text(cell(gates, row(gates, &[("contestant", who.as_str())]), "gate")).to_owned()
    };
    assert_eq!(gate("smollm2-135m-int8-dynamic", "onnxruntime"), "vacuous", "the bits of the reference");
    assert_eq!(gate("gpt2-25m-int8-dynamic", "onnxruntime"), "vacuous", "random weights");
    assert_eq!(gate("smollm2-135m-int8-static-min-max", "onnxruntime"), "fails");
    assert_eq!(
        gate("smollm2-135m-int8-static-entropy", "onnxruntime"),
        "fails",
        "better is a difference too"
    );
    assert_eq!(gate("smollm2-135m-f32", "onnxruntime"), "passes");
    let headline = findings.draft().headline.iter().find(|h| h.id == "gate").expect("a headline");
    assert_eq!(headline.verdict, Verdict::Contradicted);
}

#[test]
fn a_precision_that_the_audit_does_not_find_is_not_ranked() {
    let audit = QualityRecord::Audit(Audit {
        backend: "onnxruntime".into(),
        model: "smollm2-135m-int8-dynamic".into(),
        file: "model.onnx".into(),
        precisions: Vec::new(),
        weight_bytes_per_token: None,
        claimed: "INT8 dynamic".into(),
        observed_ok: Some(false),
        note: None,
    });
    let findings = analyse(Truth { more: vec![audit], ..plain(&meeting(2e7)) });
    let listed = words(&findings, "paired");
    assert!(listed.contains("smollm2-135m-int8-dynamic on onnxruntime: the audit of model.onnx"), "{listed}");
    let gates = table(&findings, "gates");
    let gate = row(gates, &[("contestant", "smollm2-135m-int8-dynamic on onnxruntime")]);
    assert_eq!(text(cell(gates, gate, "gate")), "vacuous");
    let audits = table(&findings, "audits");
    assert_eq!(text(cell(audits, &audits.rows[0], "found")), "no");
}

#[test]
fn generation_without_a_cache_is_the_sum_of_its_steps() {
    let findings = analyse(plain(&meeting(2e7)));
    let uncached = table(&findings, "uncached");
    let row = row(uncached, &[("contestant", "gpt2 on onnxruntime")]);
    // 17 + 18 + ... + 24 = 164 tokens read, against 17 and seven steps of two.
    let ratio = estimate(cell(uncached, row, "ratio"));
    assert!((ratio.point - 164.0 / 31.0).abs() < 1e-3, "{ratio:?}");
    let crossings = table(&findings, "crossings");
    assert!(
        crossings
            .rows
            .iter()
            .any(|row| cell(crossings, row, "work") == &Cell::from("generation without a cache"))
    );
}

#[test]
fn a_build_pays_after_the_tokens_that_were_planted_or_never() {
    let build = |model: &str, seconds| {
        QualityRecord::Build(Build {
            backend: "onnxruntime".into(),
            model: model.into(),
            what: "quantisation".into(),
            seconds,
            bytes: None,
            cached: false,
        })
    };
    let law = |factors: &Factors, tokens: u32, block: u32| {
        let noise = wobble(factors, block);
        let step = if factors.model.contains("int8-dynamic") { 1e-3 } else { 2e-3 };
        Does::Takes(1e-3 * f64::from(tokens) * noise, step * noise)
    };
    let more =
        vec![build("smollm2-135m-int8-dynamic", 10.0), build("smollm2-135m-int8-static-entropy", 20.0)];
    let findings = analyse(Truth { more, ..plain(&law) });
    let even = table(&findings, "break-even");
    let who = "smollm2-135m-int8-dynamic on onnxruntime";
    let decode = row(even, &[("contestant", who), ("phase", "decode")]);
    let tokens = estimate(cell(even, decode, "tokens"));
    // Ten seconds at a millisecond saved per token.
    assert!((tokens.point / 10_000.0 - 1.0).abs() < 0.02, "{tokens:?}");
    assert!(tokens.interval.is_some_and(|interval| interval.contains(tokens.point)));
    let builds = table(&findings, "builds");
    assert_eq!(builds.rows.len(), 2);
}

#[test]
fn an_advantage_that_hangs_on_the_smallest_model_is_no_law() {
    // Half as fast on the toy, half as fast again on everything else: no size matters but that one.
    let law = |factors: &Factors, tokens: u32, block: u32| {
        let size = parameters(source(&factors.model)) as f64;
        let slower = match (&*factors.backend, source(&factors.model)) {
            ("onnxruntime", "tiny-gpt2") => 2.0,
            ("onnxruntime", _) => 0.67,
            _ => 1.0,
        };
        let time = 1e-7 * size.sqrt() * slower * wobble(factors, block);
        Does::Takes(time * f64::from(tokens), time * 2.0)
    };
    let findings = analyse(plain(&law));
    let id = "crossover-prefill-onnxruntime-over-candle";
    let headline = findings.draft().headline.iter().find(|h| h.id == id).expect("a headline");
    assert_eq!(headline.verdict, Verdict::Inconclusive);
    assert!(headline.sentence.contains("tiny-gpt2 decides the fit alone"), "{}", headline.sentence);
}

#[test]
fn without_onnxruntime_the_others_are_held_against_the_reference() {
    let findings = analyse(Truth { absent: &["pytorch", "tensorrt", "onnxruntime"], ..plain(&meeting(2e7)) });
    let advantage = table(&findings, "advantage");
    assert!(advantage.rows.iter().all(|row| {
        (text(cell(advantage, row, "first")), text(cell(advantage, row, "second"))) == ("llamacpp", "candle")
    }));
    let hypotheses = table(&findings, "hypotheses");
    let h1 = row(hypotheses, &[("id", "H1")]);
    assert_eq!(cell(hypotheses, h1, "verdict"), &Cell::Verdict(Verdict::NotMeasured));
    let headline = findings.draft().headline.iter().find(|h| h.id == "matrix").expect("a headline");
    assert!(headline.sentence.contains("onnxruntime"));
}

#[test]
fn same_records_same_bytes_and_it_renders() {
    let run = planted(&Tr118, "default", None, plain(&meeting(2e7)));
    let findings = Tr118.analyse(&run).expect("findings");
    let once = findings.to_json().expect("JSON");
    assert_eq!(once, Tr118.analyse(&run).expect("findings").to_json().expect("JSON"));
    let page = chimera_report::markdown(&findings);
    assert!(page.contains("# Perplexity gate") || page.contains("Perplexity gate"));
    assert!(!page.contains("NaN"), "no number that is none");
    let smoke = Tr118.analyse(&planted(&Tr118, "smoke", None, plain(&meeting(2e7)))).expect("findings");
    assert!(chimera_report::html(&smoke).contains("Failure matrix"));
}
