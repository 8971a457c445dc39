//! The designs themselves: every name in a hypothesis or a claim is one that the analysis gives, and what a profile leaves out is
//! told.

use std::{fs, path::Path};

use chimera_records::{Design, Plan};
use chimera_report::Cell;
use chimera_studies::{Study, Tr117, Tr118};
use sha2::{Digest, Sha256};

use crate::common::{Does, cell, plain, planted, settings, table};

const STUDIES: [&dyn Study; 2] = [&Tr117, &Tr118];

#[test]
fn every_profile_resolves_and_says_what_it_leaves_out() {
    for study in STUDIES {
        let design = Design::parse(study.design()).expect("the design");
        let profiles: Vec<&str> = design.profiles().collect();
        assert_eq!(profiles, ["default", "paper", "smoke"]);
        for profile in profiles {
            let settings = settings(study, profile, None);
            assert!(!Plan::new(&settings).expect("a plan").is_empty());
            assert_eq!(settings.leaves_out.is_none(), profile == "paper", "{} {profile}", study.id());
        }
    }
}

#[test]
fn the_thresholds_are_those_of_the_published_code() {
    for study in STUDIES {
        let design = Design::parse(study.design()).expect("the design");
        let quality = design.quality.expect("a quality table");
        for (variant, threshold) in [
            ("F32", Some(0.001)),
            ("F16", Some(0.005)),
            ("INT8 static (entropy)", Some(0.02)),
            ("Q8_0 from Q4_1", Some(0.02)),
            ("NVFP4", None),
        ] {
            assert_eq!(quality.threshold(variant), threshold, "{variant}");
        }
    }
}

#[test]
fn the_text_is_the_one_that_the_design_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the checkout");
    for study in STUDIES {
        let quality = Design::parse(study.design()).expect("the design").quality.expect("a quality table");
        let bytes = fs::read(root.join(&quality.text)).expect("the text");
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, quality.sha256, "{}", study.id());
    }
}

/// With every backend there, each hypothesis and each claim with a number finds its quantity.
#[test]
fn every_estimand_of_a_design_is_one_that_the_analysis_gives() {
    let law = |factors: &chimera_records::Factors, tokens: u32, block: u32| {
        let noise = crate::common::wobble(factors, block);
        // ONNX Runtime falls behind with size, and its lower precisions are faster.
        let size = if factors.model.contains("tiny") { 0.01 } else { 1.0 };
        let slow = if &*factors.backend == "onnxruntime" && !factors.model.contains("int8") {
            2.0 * size
        } else {
            1.0
        };
        Does::Takes(1e-3 * f64::from(tokens) * slow * noise, 1e-3 * slow * noise)
    };
    for (study, elsewhere) in [
        (STUDIES[0], &["ollama-slower"][..]),
        (STUDIES[1], &["crossover", "crossover-two-points", "break-even"][..]),
    ] {
        let findings = study.analyse(&planted(study, "default", None, plain(&law))).expect("findings");
        let hypotheses = table(&findings, "hypotheses");
        for row in &hypotheses.rows {
            assert!(
                !matches!(cell(hypotheses, row, "value"), Cell::Missing { .. }),
                "{}: {:?} has no quantity",
                study.id(),
                row[0]
            );
        }
        let published = table(&findings, "published");
        let design = Design::parse(study.design()).expect("the design");
        for (claim, row) in design.published.iter().zip(&published.rows) {
            let found = !matches!(cell(published, row, "here"), Cell::Missing { .. });
            let expected = claim.estimand.is_some() && !elsewhere.contains(&claim.id.as_str());
            assert!(found || !expected, "{}: claim {} has no quantity", study.id(), claim.id);
        }
    }
}
