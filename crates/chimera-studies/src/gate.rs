//! The perplexity gate: is a candidate's perplexity on the same text within a threshold of the reference's, on either
//! side? The difference is taken chunk by chunk, so it has an interval. A gate that could not have failed says nothing and is
//! called vacuous, whatever its numbers.

use chimera_records::{Audit, ChunkScore, Perplexity, QualityRecord};
use chimera_stats::{Estimate, Sample, StatsError, intervals, ratio};

use crate::{Contestant, LEVEL, Precision, RunData, contest::precision};

/// Share of a uniform guess's perplexity from which on a model is said to know nothing.
const UNIFORM: f64 = 0.9;

/// Beginning of the provenance of weights that a generator made.
const RANDOM: &str = "random weights";

/// What a gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateCall {
    /// The difference is within the threshold.
    Passes,
    /// It is not, to either side.
    Fails,
    /// It could not have failed, for this reason.
    Vacuous(String),
    /// There is nothing to judge, for this reason.
    NotMeasured(String),
}

impl GateCall {
    /// The word as printed.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Fails => "fails",
            Self::Vacuous(_) => "vacuous",
            Self::NotMeasured(_) => "not measured",
        }
    }

    /// Why, where it is neither passed nor failed.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Passes | Self::Fails => "",
            Self::Vacuous(reason) | Self::NotMeasured(reason) => reason,
        }
    }
}

/// How sure a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The whole interval lies on the side of the call.
    Yes,
    /// The interval crosses a threshold.
    No,
    /// Too few chunks for an interval.
    NoInterval,
}

/// A candidate held against the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Perplexity of the reference.
    pub reference: Option<f64>,
    /// Perplexity of the candidate.
    pub candidate: Option<f64>,
    /// Candidate over reference minus 1, paired over chunks.
    pub difference: Option<Estimate>,
    /// Largest difference allowed, to either side.
    pub threshold: Option<f64>,
    /// What the gate says, by the point.
    pub call: GateCall,
    /// Whether the interval says so too.
    pub shown: Shown,
}

/// Relative difference of two perplexities of the same chunks: candidate over reference minus 1. The interval is that of the
/// mean difference per token, linearised, over chunks; none below the smallest number that carries one.
///
/// # Errors
/// A statistic that refused its input.
pub fn difference(
    reference: &[ChunkScore],
    candidate: &[ChunkScore],
) -> Result<Option<Estimate>, StatsError> {
    let same = reference.len() == candidate.len()
        && reference.iter().zip(candidate).all(|(a, b)| a.tokens == b.tokens && a.tokens > 0);
    if !same || reference.is_empty() {
        return Ok(None);
    }
    let tokens: Vec<f64> = reference.iter().map(|chunk| f64::from(chunk.tokens)).collect();
    let nats: Vec<f64> = reference.iter().zip(candidate).map(|(a, b)| b.nll - a.nll).collect();
    let (nats, tokens) = (Sample::new(&nats, "chunk")?, Sample::new(&tokens, "chunk")?);
    let (point, interval) = if nats.len() < 2 {
        (chimera_stats::ratio_of_sums(nats.values(), tokens.values())?, None)
    } else {
        let mean = ratio::of_sums(nats, tokens, LEVEL)?;
        (mean.point, mean.interval.filter(|_| nats.len() >= intervals::MIN_BLOCKS))
    };
    Ok(Some(Estimate {
        point: point.exp_m1(),
        standard_error: None,
        interval: interval.map(|interval| interval.map(f64::exp_m1)),
        method: "ratio of perplexities minus 1, paired over chunks, t".into(),
        unit: "chunk".into(),
        n: nats.len(),
    }))
}

/// Judges one candidate. `random` says that the weights were made by a generator, `vocabulary` how many tokens there are.
///
/// # Errors
/// A statistic that refused its input.
pub fn judge(
    reference: &Perplexity,
    candidate: &Perplexity,
    claimed: Precision,
    threshold: Option<f64>,
    random: bool,
    vocabulary: Option<f64>,
    audit: Option<&Audit>,
) -> Result<Gate, StatsError> {
    let mut gate = Gate {
        reference: reference.value(),
        candidate: candidate.value(),
        difference: None,
        threshold,
        call: GateCall::Passes,
        shown: Shown::NoInterval,
    };
    if reference.text_sha256 != candidate.text_sha256
        || reference.tokens_digest != candidate.tokens_digest
        || (reference.chunk, reference.stride) != (candidate.chunk, candidate.stride)
    {
        gate.call = GateCall::NotMeasured("the two did not read the same tokens in the same chunks".into());
        return Ok(gate);
    }
    gate.difference = difference(&reference.chunks, &candidate.chunks)?;
    let Some(delta) = &gate.difference else {
        gate.call = GateCall::NotMeasured("the two do not have the same chunks".into());
        return Ok(gate);
    };
    let Some(threshold) = threshold else {
        gate.call = GateCall::NotMeasured("the design names no threshold for this precision".into());
        return Ok(gate);
    };
    let passes = delta.point.abs() <= threshold;
    gate.call = if passes { GateCall::Passes } else { GateCall::Fails };
    gate.shown = match delta.interval {
        None => Shown::NoInterval,
        Some(interval) if passes && interval.low >= -threshold && interval.high <= threshold => Shown::Yes,
        Some(interval) if !passes && (interval.low > threshold || interval.high < -threshold) => Shown::Yes,
        Some(_) => Shown::No,
    };
    let identical =
        reference.chunks.iter().zip(&candidate.chunks).all(|(a, b)| a.nll.to_bits() == b.nll.to_bits());
    let uniform = vocabulary.zip(gate.reference).filter(|(all, own)| *own >= UNIFORM * all);
    let vacuous = if random {
        Some("random weights: there is no quality to lose".to_owned())
    } else if let Some((all, own)) = uniform {
        Some(format!("a perplexity of {own:.0} is no better than a guess among {all:.0} tokens"))
    } else if identical && claimed != Precision::F32 {
        Some(format!(
            "the bits are those of the full-precision reference: nothing shows that it computes in {}",
            claimed.label()
        ))
    } else {
        audit.filter(|audit| audit.observed_ok == Some(false)).map(|audit| {
            format!(
                "the audit of {} does not find the precision that is claimed ({})",
                audit.file, audit.claimed
            )
        })
    };
    if let Some(reason) = vacuous {
        gate.call = GateCall::Vacuous(reason);
    }
    Ok(gate)
}

/// The perplexity record of a contestant.
#[must_use]
pub fn perplexity<'a>(run: &'a RunData, one: Contestant<'_>) -> Option<&'a Perplexity> {
    run.quality.iter().find_map(|record| match record {
        QualityRecord::Perplexity(found) if found.backend == one.arm.backend && found.model == one.model => {
            Some(found)
        }
        _ => None,
    })
}

/// The audits of a contestant.
pub fn audits<'a>(run: &'a RunData, one: Contestant<'a>) -> impl Iterator<Item = &'a Audit> {
    run.quality.iter().filter_map(move |record| match record {
        QualityRecord::Audit(found) if found.backend == one.arm.backend && found.model == one.model => {
            Some(found)
        }
        _ => None,
    })
}

/// Whether a model's weights were made by a generator: they have a latency and no quality.
#[must_use]
pub fn has_random_weights(run: &RunData, model: &str) -> bool {
    let record = run.manifest.models.get(model);
    record.and_then(|record| record.provenance.as_deref()).is_some_and(|text| text.starts_with(RANDOM))
}

/// The gate of a contestant against the reference of its contest.
///
/// # Errors
/// A statistic that refused its input.
pub fn of(run: &RunData, reference: Contestant<'_>, one: Contestant<'_>) -> Result<Gate, StatsError> {
    let threshold = run.settings.design.quality.as_ref().and_then(|quality| {
        run.settings.design.model(one.model).and_then(|entry| quality.threshold(&entry.variant))
    });
    let absent = |who: Contestant<'_>| Gate {
        reference: perplexity(run, reference).and_then(Perplexity::value),
        candidate: perplexity(run, one).and_then(Perplexity::value),
        difference: None,
        threshold,
        call: GateCall::NotMeasured(why_absent(run, who)),
        shown: Shown::NoInterval,
    };
    let (base, own) = match (perplexity(run, reference), perplexity(run, one)) {
        (None, _) => return Ok(absent(reference)),
        (_, None) => return Ok(absent(one)),
        (Some(base), Some(own)) => (base, own),
    };
    let info =
        run.manifest.models.get(reference.model).and_then(|record| record.info.get(reference.arm.backend));
    let vocabulary = info.and_then(|info| info.vocabulary).map(f64::from);
    let claimed = precision(&run.settings, one.model);
    let audit = audits(run, one).find(|audit| audit.observed_ok == Some(false));
    judge(base, own, claimed, threshold, has_random_weights(run, one.model), vocabulary, audit)
}

/// Why a contestant has no perplexity, as the run says.
fn why_absent(run: &RunData, one: Contestant<'_>) -> String {
    let told = run.quality.iter().find_map(|record| match record {
        QualityRecord::NotMeasured(not)
            if not.what == chimera_records::QualityCheck::Perplexity
                && not.backend == one.arm.backend
                && not.model == one.model =>
        {
            Some(format!("{one}: {}", not.reason))
        }
        _ => None,
    });
    told.unwrap_or_else(|| format!("{one} has no perplexity in this run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(nll: &[f64]) -> Perplexity {
        Perplexity {
            backend: "b".into(),
            model: "m".into(),
            text: "t".into(),
            text_sha256: "s".into(),
            chunk: 101,
            stride: 101,
            tokens_digest: "d".into(),
            chunks: nll.iter().map(|nll| ChunkScore { tokens: 100, nll: *nll }).collect(),
            seconds: 1.0,
        }
    }

    fn base() -> Vec<f64> {
        (0..8).map(|chunk| 300.0 + 10.0 * f64::from(chunk)).collect()
    }

    /// Every chunk costs `share` more in the logarithm per token, with a little noise of no sum.
    fn candidate(share: f64) -> Perplexity {
        let noise = [0.01, -0.01, 0.02, -0.02, 0.01, -0.01, 0.02, -0.02];
        scores(
            &base()
                .iter()
                .zip(noise)
                .map(|(nll, noise)| nll + 100.0 * share.ln_1p() + noise)
                .collect::<Vec<_>>(),
        )
    }

    fn call(candidate: &Perplexity, claimed: Precision, threshold: f64) -> Gate {
        judge(&scores(&base()), candidate, claimed, Some(threshold), false, Some(50_257.0), None).unwrap()
    }

    #[test]
    fn a_planted_difference_is_found_and_the_gate_has_two_sides() {
        let gate = call(&candidate(0.01), Precision::Int8, 0.02);
        let delta = gate.difference.clone().unwrap();
        assert!((delta.point - 0.01).abs() < 1e-6, "{delta:?}");
        assert!(delta.interval.is_some_and(|interval| interval.contains(0.01)));
        assert_eq!((&gate.call, gate.shown), (&GateCall::Passes, Shown::Yes));
        for share in [0.03, -0.03] {
            let gate = call(&candidate(share), Precision::Int8, 0.02);
            assert_eq!((&gate.call, gate.shown), (&GateCall::Fails, Shown::Yes), "{share}");
        }
        let edge = call(&candidate(0.0199), Precision::Int8, 0.02);
        assert_eq!((&edge.call, edge.shown), (&GateCall::Passes, Shown::No));
    }

    #[test]
    fn a_gate_that_cannot_fail_is_vacuous() {
        let same = scores(&base());
        assert!(
            matches!(call(&same, Precision::Int8, 0.02).call, GateCall::Vacuous(reason) if reason.contains("bits"))
        );
        assert_eq!(call(&same, Precision::F32, 0.001).call, GateCall::Passes, "F32 may be the same bits");
        let gate = |random, audit: Option<&Audit>| {
            let (base, own) = (scores(&base()), candidate(0.001));
            judge(&base, &own, Precision::Int8, Some(0.02), random, Some(50_257.0), audit).unwrap().call
        };
        assert!(matches!(gate(true, None), GateCall::Vacuous(reason) if reason.contains("random")));
        let audit = Audit {
            backend: "b".into(),
            model: "m".into(),
            file: "model.onnx".into(),
            precisions: Vec::new(),
            weight_bytes_per_token: None,
            claimed: "INT8".into(),
            observed_ok: Some(false),
            note: None,
        };
        assert!(matches!(gate(false, Some(&audit)), GateCall::Vacuous(reason) if reason.contains("audit")));
        assert_eq!(gate(false, None), GateCall::Passes);
        // exp(10.8) is the vocabulary: a uniform guess.
        let guess = scores(&[1082.0; 8]);
        let near = scores(&[1082.1; 8]);
        let call =
            judge(&guess, &near, Precision::Int8, Some(0.02), false, Some(50_257.0), None).unwrap().call;
        assert!(matches!(call, GateCall::Vacuous(reason) if reason.contains("guess")));
    }

    #[test]
    fn other_tokens_and_few_chunks_are_said() {
        let other = Perplexity { tokens_digest: "e".into(), ..candidate(0.0) };
        assert!(matches!(call(&other, Precision::F32, 0.001).call, GateCall::NotMeasured(_)));
        let few = judge(
            &scores(&base()[..3]),
            &scores(&base()[..3].iter().map(|nll| nll + 0.01).collect::<Vec<_>>()),
            Precision::F32,
            Some(0.001),
            false,
            None,
            None,
        )
        .unwrap();
        assert_eq!((few.call, few.shown), (GateCall::Passes, Shown::NoInterval));
    }
}
