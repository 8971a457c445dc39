//! Graphs in static INT8: the ranges of their activations are those that a calibrator of `chimera-onnx` chose while ONNX
//! Runtime read a text that no evaluation uses. Reading and choosing are done there; which text, how much of it and where
//! the graph lies is decided here, and all of it stands in the folder's name, so that another choice is another graph.

use std::sync::Arc;

use chimera_core::{ModelRef, SystemClock};
use chimera_engine::Tokenizer;
use chimera_harness::Missing;
use chimera_onnx::{
    OnnxError,
    quantise::{Calibrator, StaticOptions, static_int8},
};
use chimera_onnxruntime::OnnxRuntimeBackend;
use chimera_zoo::{ModelFiles, Variant, Zoo};
use sha2::{Digest, Sha256};

/// Tokens of one sequence, and how many sequences are read. Ranges are of maxima and of tails, which more text hardly moves.
const SEQUENCE: usize = 128;
const SEQUENCES: usize = 16;

/// What the `percentile` calibrator keeps, in per cent of all values.
const KEPT: f64 = 99.99;

/// Names of calibrators.
pub(crate) const CALIBRATORS: [&str; 3] = ["min-max", "percentile", "entropy"];

/// A text that ranges are taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calibration<'a> {
    /// The text.
    pub text: &'a str,
    /// A text that the graph will be judged by; it must be another.
    pub evaluation: &'a str,
}

/// The calibrator of one of the [`CALIBRATORS`].
#[must_use]
pub(crate) fn calibrator(name: &str) -> Option<Calibrator> {
    match name {
        "min-max" => Some(Calibrator::MinMax),
        "percentile" => Some(Calibrator::Percentile(KEPT)),
        "entropy" => Some(Calibrator::Entropy),
        _ => None,
    }
}

/// The calibrator that a precision of a design names: `INT8 static (entropy)` for instance, whatever follows.
#[must_use]
pub(crate) fn of_variant(variant: &str) -> Option<Calibrator> {
    calibrator(variant.strip_prefix("INT8 static (")?.split(')').next()?)
}

/// The static INT8 graph of a model, made where the folder has it not.
///
/// # Errors
/// Why it cannot be made, and the remedy: no ONNX Runtime, no F32 graph, a text that is the one of the evaluation or has too
/// few tokens.
pub(crate) fn files(
    zoo: &Zoo,
    source: &str,
    calibrator: Calibrator,
    calibration: Calibration<'_>,
) -> Result<ModelFiles, Missing> {
    let missing = |reason: String| Missing { reason };
    let Calibration { text, evaluation } = calibration;
    let from = zoo.ensure(source, Variant::F32Onnx).map_err(|error| missing(error.to_string()))?;
    // Both texts stand in the name: a graph that is there was held against this evaluation when it was made.
    let digest = Sha256::digest(format!("{SEQUENCE} {SEQUENCES} {KEPT} {text}\0{evaluation}"));
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let form = format!("onnx-int8-static-{}-{short}", calibrator.name());
    // "F32 from Q4_1" becomes "INT8 static (entropy) from Q4_1".
    let origin = from.manifest.arm.strip_prefix("F32").unwrap_or_default();
    let arm = format!("INT8 static ({}){origin}", calibrator.name());
    let mut why = None;
    let made = zoo.derive(&from, &form, &arm, |model| {
        let ranges = ranges(&from, calibration, calibrator).map_err(|reason| {
            why = Some(reason.clone());
            OnnxError::NotPossible { what: "calibration".to_owned(), reason }
        })?;
        static_int8(model, &ranges, &StaticOptions::default())
    });
    made.map_err(|error| missing(why.unwrap_or_else(|| error.to_string())))
}

/// What the calibrator chose for every activation.
fn ranges(
    from: &ModelFiles,
    Calibration { text, evaluation }: Calibration<'_>,
    calibrator: Calibrator,
) -> Result<chimera_onnx::quantise::Ranges, String> {
    if shares(text, evaluation) {
        return Err(
            "the text for calibration has a paragraph of the text that the graph is judged by: take another text"
                .to_owned(),
        );
    }
    let tokenizer = match &from.tokenizer {
        Some(path) => {
            let json = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Tokenizer::from_json(&json).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => Tokenizer::gpt2(),
    };
    let ids = tokenizer.encode(text).map_err(|error| error.to_string())?;
    let sequences: Vec<Vec<u32>> = ids.chunks_exact(SEQUENCE).take(SEQUENCES).map(<[u32]>::to_vec).collect();
    if sequences.len() < SEQUENCES {
        return Err(format!(
            "the text for calibration has {} tokens, {} are read: take a longer text",
            ids.len(),
            SEQUENCE * SEQUENCES
        ));
    }
    let backend =
        OnnxRuntimeBackend::builder(Arc::new(SystemClock::new()), crate::places::onnxruntime()).build();
    let model = ModelRef::at(from.manifest.name.as_str(), &from.dir);
    backend.ranges(&model, &sequences, calibrator).map_err(|error| error.to_string())
}

/// Whether a paragraph of one text is in the other. Headings are short, and books may share those.
fn shares(text: &str, other: &str) -> bool {
    const PARAGRAPH: usize = 80;
    text.split("\n\n")
        .map(str::trim)
        .filter(|paragraph| paragraph.len() >= PARAGRAPH)
        .any(|paragraph| other.contains(paragraph))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_name_their_calibrators() {
        assert_eq!(of_variant("INT8 static (min-max)"), Some(Calibrator::MinMax));
        assert_eq!(of_variant("INT8 static (entropy) (ONNX)"), Some(Calibrator::Entropy));
        assert_eq!(of_variant("INT8 static (guess)"), None);
        assert_eq!(of_variant("INT8 dynamic"), None);
        assert!(CALIBRATORS.iter().all(|name| calibrator(name).is_some_and(|of| of.name() == *name)));
    }

    #[test]
    fn nothing_is_calibrated_on_what_it_is_judged_by() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = Zoo::open(folder.path()).unwrap();
        let evaluation = include_str!("../../../fixtures/text/evaluation.txt");
        let calibration = include_str!("../../../fixtures/text/calibration.txt");
        assert!(!shares(calibration, evaluation), "the shipped texts are of two books");
        let part = &evaluation[50_000..80_000];
        let refused = files(&zoo, "llama-0.1m", Calibrator::MinMax, Calibration { text: part, evaluation });
        assert!(refused.unwrap_err().reason.contains("judged by"));
        let short = Calibration { text: &calibration[..300], evaluation };
        let refused = files(&zoo, "llama-0.1m", Calibrator::MinMax, short).unwrap_err().reason;
        assert!(refused.contains("take a longer text"), "{refused}");
    }
}
