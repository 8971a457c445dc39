//! TR121's analysis on runs whose truth is known.

use crate::common::{Law, parameters, run_blocks, wobble};
use chimera_report::{Block, Cell, Findings, Table, Verdict};
use chimera_studies::{Study, StudyError, Tr121};

fn run(profile: &str, law: Law<'_>) -> chimera_studies::RunData {
    run_blocks(profile, None, law)
}

fn table<'a>(findings: &'a Findings, id: &str) -> &'a Table {
    findings.tables().find(|table| table.id == id).unwrap_or_else(|| panic!("no table {id}"))
}

fn cell<'a>(table: &'a Table, row: usize, column: &str) -> &'a Cell {
    let place =
        table.columns.iter().position(|c| c.id == column).unwrap_or_else(|| panic!("no column {column}"));
    &table.rows[row][place]
}

fn estimate(cell: &Cell) -> &chimera_stats::Estimate {
    match cell {
        Cell::Estimate(estimate) => estimate,
        other => panic!("{other:?} is no estimate"),
    }
}

/// Everything grows as parameters to the power 0.5.
fn square_root(model: &str, tokens: u32, block: u32) -> (f64, f64) {
    let size = parameters(model).sqrt() * wobble(model, block);
    (1e-7 * size * (1.0 + f64::from(tokens) * 0.05), 4e-7 * size)
}

#[test]
fn a_planted_power_law_is_found_and_called_a_law() {
    let findings = Tr121.analyse(&run("default", &square_root)).expect("findings");
    let exponents = table(&findings, "exponents");
    for row in 0..3 {
        let exponent = estimate(cell(exponents, row, "exponent"));
        let interval = exponent.interval.expect("five blocks give an interval");
        assert!(interval.low < 0.5 && 0.5 < interval.high, "{exponent:?}");
        assert!((exponent.point - 0.5).abs() < 0.01);
        assert_eq!(cell(exponents, row, "law"), &Cell::Verdict(Verdict::Supported));
    }
    let hypotheses = table(&findings, "hypotheses");
    let verdicts: Vec<&Cell> = (0..5).map(|row| cell(hypotheses, row, "verdict")).collect();
    // Growth, less than proportional, also without the smallest, and steeper than 0.291. The long prompt costs
    // 26.6 units of prefill against 4 per token: decode takes 252 of 278.6, which is below 97 %.
    assert_eq!(verdicts, [&Cell::Verdict(Verdict::Supported); 5]);
}

#[test]
fn an_exponent_that_hangs_on_the_smallest_model_is_not_printed_as_a_law() {
    // Six models take the same time whatever their size; only the tiny one is fast.
    let findings = Tr121
        .analyse(&run("default", &|model, tokens, block| {
            let size = if model == "tiny-gpt2" { 0.05 } else { 1.0 } * wobble(model, block);
            (1e-3 * size * (1.0 + f64::from(tokens) * 0.01), 5e-3 * size)
        }))
        .expect("findings");
    let exponents = table(&findings, "exponents");
    for row in 0..3 {
        assert!(
            estimate(cell(exponents, row, "exponent")).point > 0.2,
            "the pooled exponent looks like growth"
        );
        assert_eq!(cell(exponents, row, "law"), &Cell::Verdict(Verdict::Inconclusive));
        let Cell::Text(deciding) = cell(exponents, row, "deciding") else { panic!("text") };
        assert!(deciding.contains("tiny-gpt2"), "{deciding}");
    }
    let hypotheses = table(&findings, "hypotheses");
    assert_eq!(
        cell(hypotheses, 0, "verdict"),
        &Cell::Verdict(Verdict::Supported),
        "H1: growth over all models"
    );
    assert_ne!(
        cell(hypotheses, 2, "verdict"),
        &Cell::Verdict(Verdict::Supported),
        "H3: none without the tiny one"
    );
}

#[test]
fn cold_starts_are_kept_apart_by_kind() {
    let findings = Tr121.analyse(&run("default", &square_root)).expect("findings");
    let first = table(&findings, "first-use");
    for (row, (kind, ratio)) in [("process", 10.0), ("model", 5.0), ("shape", 3.0)].into_iter().enumerate() {
        assert_eq!(cell(first, row, "kind"), &Cell::from(kind));
        let median = estimate(cell(first, row, "median"));
        assert!((median.point / ratio - 1.0).abs() < 0.02, "{kind}: {median:?}");
    }
}

#[test]
fn what_is_missing_is_said_and_few_blocks_decide_nothing() {
    let findings = Tr121.analyse(&run("default", &square_root)).expect("findings");
    let gaps: Vec<&str> = findings.draft().gaps.iter().map(|gap| gap.what.as_str()).collect();
    assert!(gaps.contains(&"smollm2-135m-q4_1") && gaps.contains(&"left to another profile"), "{gaps:?}");
    let smoke = Tr121.analyse(&run("smoke", &square_root)).expect("findings");
    let hypotheses = table(&smoke, "hypotheses");
    for row in 0..hypotheses.rows.len() {
        let verdict = cell(hypotheses, row, "verdict");
        assert!(
            matches!(verdict, Cell::Verdict(Verdict::Inconclusive | Verdict::NotMeasured)),
            "three blocks decided {verdict:?}"
        );
    }
    assert!(smoke.draft().sections.iter().flat_map(|s| &s.blocks).any(|block| matches!(
        block,
        Block::Note { text, .. } if text.contains("Only 3 block(s)")
    )));
}

#[test]
fn the_paper_profile_answers_the_boundary_claims() {
    let findings = Tr121.analyse(&run("paper", &square_root)).expect("findings");
    let published = table(&findings, "published");
    let row_of = |id: &str| {
        published
            .rows
            .iter()
            .position(|row| row[0] == Cell::from(id))
            .unwrap_or_else(|| panic!("no claim {id}"))
    };
    // 512 tokens follow the same law of 0.5, far from the published 0.077; batch 8 explains no more than batch 1.
    let long = row_of("gen512-boundary");
    assert!((estimate(cell(published, long, "here")).point - 0.5).abs() < 0.01);
    assert_eq!(cell(published, long, "verdict"), &Cell::Verdict(Verdict::Contradicted));
    let batch = row_of("batch-boundary");
    assert!(estimate(cell(published, batch, "here")).point.abs() < 0.01);
    assert_eq!(
        cell(published, batch, "verdict"),
        &Cell::Verdict(Verdict::Inconclusive),
        "it has no interval"
    );
}

#[test]
fn same_records_same_bytes() {
    let run = run("default", &square_root);
    let once = Tr121.analyse(&run).expect("findings").to_json().expect("JSON");
    let again = Tr121.analyse(&run).expect("findings").to_json().expect("JSON");
    assert_eq!(once, again);
    // Through the file and back nothing changes either.
    let read = Findings::from_json(&once).expect("readable");
    assert_eq!(read.to_json().expect("JSON"), once);
}

#[test]
fn another_study_and_an_empty_run_are_refused() {
    let mut other = run("smoke", &square_root);
    other.manifest.study = "tr999".into();
    assert!(matches!(Tr121.analyse(&other), Err(StudyError::OtherStudy { .. })));
    let mut empty = run("smoke", &square_root);
    empty.trials.clear();
    assert!(matches!(Tr121.analyse(&empty), Err(StudyError::NothingMeasured { .. })));
}

#[test]
fn a_machine_that_slows_down_over_its_blocks_is_told() {
    let law = |drift: f64| {
        move |model: &str, tokens: u32, block: u32| {
            // Noise without an order: `wobble` repeats itself and would look like one.
            let mix = (f64::from(block) * 12.9898 + parameters(model).ln()).sin() * 43_758.545_3;
            let noise = 1.0 + 0.01 * (mix - mix.floor() - 0.5);
            let step = 1e-9 * parameters(model) * noise * (1.0 + drift * f64::from(block));
            (step * f64::from(tokens), step)
        }
    };
    let told = |drift: f64| {
        let run = run_blocks("smoke", Some(10), &law(drift));
        chimera_report::markdown(&Tr121.analyse(&run).expect("findings")).contains("drifts over the blocks")
    };
    assert!(told(0.02), "two per cent per block");
    assert!(!told(0.0));
}
