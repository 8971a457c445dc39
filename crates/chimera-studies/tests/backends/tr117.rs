//! TR117's analysis on runs whose truth is known.

use chimera_records::Factors;
use chimera_report::{Cell, Findings, Verdict};
use chimera_studies::{Study, StudyError, Tr117};

use crate::common::{Does, Truth, cell, estimate, measured, plain, planted, row, table, text, wobble, words};

/// ONNX Runtime takes half the time per token and twice the prefill, llama.cpp is as fast as Candle.
fn law(factors: &Factors, tokens: u32, block: u32) -> Does {
    let (prefill, step) = if &*factors.backend == "onnxruntime" { (2.0, 0.5) } else { (1.0, 1.0) };
    let noise = wobble(factors, block);
    Does::Takes(1e-4 * f64::from(tokens + 4) * prefill * noise, 2e-3 * step * noise)
}

fn analyse(truth: Truth<'_>) -> Findings {
    Tr117.analyse(&planted(&Tr117, "default", Some(10), truth)).expect("findings")
}

fn paired<'a>(findings: &'a Findings, contestant: &str, phase: &str) -> &'a [Cell] {
    let paired = table(findings, "paired");
    row(paired, &[("contestant", contestant), ("role", "reference"), ("phase", phase)])
}

#[test]
fn planted_ratios_are_found_and_called() {
    let findings = analyse(plain(&law));
    let paired_table = table(&findings, "paired");
    for (contestant, phase, truth, call) in [
        ("gpt2-100m on onnxruntime", "decode, per token", 0.5, "faster"),
        ("gpt2-100m on onnxruntime", "prefill", 2.0, "slower"),
        ("gpt2-100m on llamacpp", "decode, per token", 1.0, "equivalent"),
        ("gpt2-100m on llamacpp", "prefill", 1.0, "equivalent"),
    ] {
        let row = paired(&findings, contestant, phase);
        let ratio = estimate(cell(paired_table, row, "ratio"));
        assert!((ratio.point / truth - 1.0).abs() < 0.01, "{contestant}, {phase}: {ratio:?}");
        assert_eq!(text(cell(paired_table, row, "call")), call, "{contestant}, {phase}");
        assert_eq!(cell(paired_table, row, "scenarios"), &Cell::from(5_usize));
    }
    // The fastest is not the reference in decode: the rest is held against it too.
    let against = row(
        paired_table,
        &[("contestant", "gpt2-25m on llamacpp"), ("role", "fastest"), ("phase", "decode, per token")],
    );
    assert_eq!(text(cell(paired_table, against, "against")), "gpt2-25m on onnxruntime");
    let hypotheses = table(&findings, "hypotheses");
    let h1 = row(hypotheses, &[("id", "H1")]);
    assert_eq!(cell(hypotheses, h1, "verdict"), &Cell::Verdict(Verdict::Supported));
    let headline = findings.draft().headline.iter().find(|h| h.id == "fastest-3-decode").expect("a headline");
    assert_eq!(headline.verdict, Verdict::Supported);
}

#[test]
fn a_backend_that_disagrees_is_listed_and_not_ranked() {
    let findings = analyse(Truth {
        top1: &|backend, _| Some(if backend == "llamacpp" { 0.7 } else { 1.0 }),
        ..plain(&law)
    });
    let paired = table(&findings, "paired");
    let names: Vec<&str> = paired.rows.iter().map(|row| text(cell(paired, row, "contestant"))).collect();
    assert!(names.contains(&"gpt2-100m on onnxruntime"));
    // Its 8-bit arm claims no sameness; its F32 arms do.
    assert!(!names.iter().any(|name| name.ends_with("llamacpp") && !name.contains("q8_0")), "{names:?}");
    let listed = words(&findings, "paired");
    assert!(listed.contains("gpt2-100m on llamacpp") && listed.contains("70"), "{listed}");
    let agreement = table(&findings, "agreement");
    let row = row(agreement, &[("contestant", "gpt2-100m on llamacpp")]);
    assert_eq!(text(cell(agreement, row, "standing")), "not ranked");
    // It was timed all the same, and its latency is there to be read.
    let latency = findings.tables().find(|t| t.title.contains("llamacpp")).expect("its latencies");
    assert!(!latency.rows.is_empty());
    let headline = findings.draft().headline.iter().find(|h| h.id == "agreement").expect("a headline");
    assert_eq!(headline.verdict, Verdict::Contradicted);
}

#[test]
fn without_a_measured_agreement_nobody_is_ranked() {
    let findings = analyse(Truth { top1: &|_, _| None, ..plain(&law) });
    assert!(table(&findings, "paired").rows.is_empty());
    let headline = findings.draft().headline.iter().find(|h| h.id == "agreement").expect("a headline");
    assert_eq!(headline.verdict, Verdict::NotMeasured);
}

#[test]
fn a_missing_backend_and_a_failing_prompt_are_rows_and_carry_no_latency() {
    let fails = |factors: &Factors, tokens: u32, block: u32| {
        let hit = (&*factors.backend, &*factors.model, &*factors.scenario);
        if hit == ("onnxruntime", "gpt2-100m", "stress") {
            Does::Fails("out-of-memory")
        } else {
            law(factors, tokens, block)
        }
    };
    let run = planted(&Tr117, "default", None, plain(&fails));
    assert!(!measured(&run, "pytorch", "gpt2-100m"));
    let findings = Tr117.analyse(&run).expect("findings");
    let obstacles = table(&findings, "obstacles");
    let absent = row(obstacles, &[("backend", "pytorch")]);
    assert_eq!(text(cell(obstacles, absent, "reason")), "no worker");
    assert_eq!(text(cell(obstacles, absent, "remedy")), "none yet");
    let failed = row(obstacles, &[("backend", "onnxruntime")]);
    assert_eq!(text(cell(obstacles, failed, "code")), "out-of-memory");
    assert_eq!(text(cell(obstacles, failed, "scenarios")), "stress");
    let matrix = table(&findings, "matrix");
    let model = row(matrix, &[("model", "gpt2-100m")]);
    let column = matrix.columns.iter().find(|c| c.label == "onnxruntime").expect("a column");
    // Five prompts and two of them twice at once, in five blocks; one prompt failed.
    assert_eq!(text(cell(matrix, model, &column.id)), "30 of 35");
    // Four prompts are left to compare, on both sides.
    let paired_table = table(&findings, "paired");
    let own = paired(&findings, "gpt2-100m on onnxruntime", "decode, per token");
    assert_eq!(cell(paired_table, own, "scenarios"), &Cell::from(4_usize));
    let latency = findings.tables().find(|t| t.id.starts_with("latency-") && t.title.contains("onnxruntime"));
    let latency = latency.expect("its latencies");
    let failing = latency.rows.iter().filter(|row| {
        cell(latency, row, "model") == &Cell::from("gpt2-100m")
            && cell(latency, row, "scenario") == &Cell::from("stress")
    });
    assert_eq!(failing.count(), 0);
}

#[test]
fn two_requests_at_once_queue_or_run_beside_each_other() {
    for (parallel, truth) in [(false, 1.0), (true, 2.0)] {
        let findings = analyse(Truth { parallel, ..plain(&law) });
        let concurrency = table(&findings, "concurrency");
        let row = row(concurrency, &[("contestant", "gpt2-100m on candle"), ("scenario", "short")]);
        let speedup = estimate(cell(concurrency, row, "speedup"));
        assert!((speedup.point - truth).abs() < 1e-6, "{parallel}: {speedup:?}");
        let published = table(&findings, "published");
        let claim = crate::common::row(published, &[("id", "dual-doubles")]);
        let verdict = if parallel { Verdict::Equivalent } else { Verdict::Contradicted };
        assert_eq!(cell(published, claim, "verdict"), &Cell::Verdict(verdict));
    }
}

#[test]
fn first_samples_stand_apart() {
    let findings = analyse(plain(&law));
    let firsts = table(&findings, "first-uses");
    for row in &firsts.rows {
        assert!((estimate(cell(firsts, row, "median")).point - 3.0).abs() < 0.1);
    }
    let ranking = table(&findings, "cold-ranking");
    let row = row(ranking, &[("contestant", "gpt2-25m on onnxruntime")]);
    assert!((estimate(cell(ranking, row, "steady")).point - 2.0).abs() < 0.05);
}

#[test]
fn published_claims_stand_beside_the_run() {
    let findings = analyse(plain(&law));
    let published = table(&findings, "published");
    let verdict = |id: &str| cell(published, row(published, &[("id", id)]), "verdict").clone();
    assert_eq!(verdict("toy-size"), Cell::Verdict(Verdict::Contradicted));
    assert_eq!(verdict("onnxruntime-fails"), Cell::Verdict(Verdict::Contradicted));
    assert_eq!(verdict("compile-mean"), Cell::Verdict(Verdict::NotMeasured));
    assert_eq!(verdict("ollama-slower"), Cell::Verdict(Verdict::NotMeasured));
}

#[test]
fn quality_and_latency_make_a_front() {
    let findings = analyse(Truth {
        worse: &|_, model| Some(if model.contains("q8_0") { 0.01 } else { 0.0001 }),
        ..plain(&law)
    });
    let gates = table(&findings, "gates");
    let gate = |who: &str| text(cell(gates, row(gates, &[("contestant", who)]), "gate")).to_owned();
    assert_eq!(gate("smollm2-135m-q8_0 on candle"), "passes");
    assert_eq!(gate("gpt2-100m on onnxruntime"), "vacuous");
    let pareto = table(&findings, "pareto");
    assert!(pareto.rows.iter().all(|row| cell(pareto, row, "weights") == &Cell::from("smollm2-135m")));
    // As slow as the reference and worse: somebody dominates it.
    let q8 = row(pareto, &[("contestant", "smollm2-135m-q8_0 on candle")]);
    assert_eq!(text(cell(pareto, q8, "front")), "no");
}

#[test]
fn same_records_same_bytes_and_it_renders() {
    let run = planted(&Tr117, "default", None, plain(&law));
    let findings = Tr117.analyse(&run).expect("findings");
    let once = findings.to_json().expect("JSON");
    assert_eq!(once, Tr117.analyse(&run).expect("findings").to_json().expect("JSON"));
    assert_eq!(Findings::from_json(&once).expect("readable").to_json().expect("JSON"), once);
    let page = chimera_report::markdown(&findings);
    let order: Vec<usize> = ["Agreement, before any timing", "Latency and throughput", "Paired comparisons"]
        .iter()
        .map(|title| page.find(&format!("# {title}")).unwrap_or_else(|| panic!("no {title}")))
        .collect();
    assert!(order.is_sorted(), "agreement comes before any timing");
    assert!(!page.contains("NaN") && !page.contains("inf "), "no number that is none");
    assert!(chimera_report::html(&findings).contains("Failure matrix"));
}

#[test]
fn few_blocks_decide_nothing_and_other_runs_are_refused() {
    let smoke = Tr117.analyse(&planted(&Tr117, "smoke", None, plain(&law))).expect("findings");
    let paired = table(&smoke, "paired");
    assert!(paired.rows.iter().all(|row| text(cell(paired, row, "call")) == "inconclusive"));
    let mut run = planted(&Tr117, "smoke", None, plain(&law));
    run.trials.clear();
    assert!(matches!(Tr117.analyse(&run), Err(StudyError::NothingMeasured { .. })));
    run.manifest.study = "tr118".into();
    assert!(matches!(Tr117.analyse(&run), Err(StudyError::OtherStudy { .. })));
}
