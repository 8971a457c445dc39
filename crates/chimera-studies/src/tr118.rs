//! TR118: ONNX Runtime against other engines over model size, and what lower precisions buy and cost.
//!
//! The original's crossing hung on how a speed was made of several prompts, its INT8 held no INT8 tensor, and its gate could
//! not fail. Here the crossing is given under every way of making a speed, a precision counts with an audit, and a gate that
//! says nothing is called vacuous.

use chimera_records::Metric;
use chimera_report::{Draft, Findings, Headline, Verdict};

use crate::{
    Arm, Estimands, RunData, Study, StudyError,
    backends::{Backends, GENERAL_THREATS, MARGIN},
    contest::{Precision, precision},
    sections::{
        building, claims, context,
        crossing::{self, Pair, Part, Work},
        duel, gates, latency, matrix, pareto, standing, threats, uncached,
    },
};

/// The study.
#[derive(Debug, Clone, Copy)]
pub struct Tr118;

/// Engine whose advantage is asked for.
const FOCUS: &str = "onnxruntime";

/// Family along which sizes are compared.
const FAMILY: &str = "gpt2";

const MORE_THREATS: &[&str] = &[
    "Prompts of 1 to 27 tokens, as published: an advantage on them says little of prompts of a thousand.",
    "The sizes of the family differ in depth and width: a law over them is a description of these shapes.",
    "Generation without a cache is made of prefills of other texts of the right lengths; the work does not depend on the text, \
     but on its length alone.",
];

impl Study for Tr118 {
    fn id(&self) -> &'static str {
        "tr118"
    }

    fn design(&self) -> &'static str {
        include_str!("../../../designs/tr118.toml")
    }

    fn analyse(&self, run: &RunData) -> Result<Findings, StudyError> {
        let all = Backends::new(run, self.id())?;
        let mut estimands = Estimands::default();
        all.counts(&mut estimands);
        let (index, contests, standings, field) = (&all.index, &all.contests, &all.standings, &all.field);
        let duels = duel::duels(index, contests, standings, field, MARGIN)?;
        duel::put(&duels, &mut estimands);
        let pairs = pairs(&all)?;
        for pair in &pairs {
            crossing::put(pair, &mut estimands)?;
        }

        let mut draft = Draft::new(self.id(), format!("TR118: {}", run.settings.design.title));
        draft = context::provenance(draft, run)
            .section(context::section(index))
            .section(standing::section(run, contests, standings, &mut estimands))
            .section(gates::section(run, contests, &mut estimands)?)
            .section(latency::section(index, field.budget)?)
            .section(duel::section(&duels, contests, standings, MARGIN));
        if let Some(section) = uncached::section(index, contests, &mut estimands)? {
            draft = draft.section(section);
        }
        if pairs.is_empty() {
            draft = draft.gap(
                "crossover",
                "fewer than two engines finished models of the family, or they do not agree",
            );
        } else {
            draft = draft.section(crossing::section(&pairs)?);
        }
        draft = draft.section(building::section(index, contests, standings, field, &mut estimands)?);
        if let Some(section) = pareto::section(index, contests, standings, field)? {
            draft = draft.section(section);
        }
        let judgements = claims::judge(run, &estimands)?;
        let general: Vec<&str> = GENERAL_THREATS.iter().chain(MORE_THREATS).copied().collect();
        draft = draft
            .section(matrix::section(run))
            .section(claims::section(run, &estimands, &judgements))
            .section(threats::plain(index, &general)?)
            .headline(all.agreement_headline());
        for headline in pairs.iter().filter_map(|pair| crossing_headline(pair, &estimands)) {
            draft = draft.headline(headline);
        }
        draft = draft.headline(Backends::gate_headline(&estimands)).headline(all.matrix_headline());
        draft = threats::gaps(all.summary(draft, &judgements), index);
        if let Some(left) = &run.settings.leaves_out {
            draft = draft.gap("left to another profile", left.clone());
        }
        Ok(draft.finish()?)
    }
}

/// Kinds of work, on the prompts of the first grid.
fn works<'a>(all: &Backends<'a>) -> Vec<Work<'a>> {
    let cells = |metric: Metric| -> Vec<Part<'a>> {
        let scenarios = all.field.scenarios.iter();
        scenarios.map(|scenario| Part::Cell { scenario, budget: all.field.budget, metric }).collect()
    };
    let mut works = vec![
        Work { id: "prefill", label: "prefill", parts: cells(Metric::PrefillEngine) },
        Work { id: "decode", label: "decode, with a KV cache", parts: cells(Metric::TpotEngine) },
    ];
    let steps = uncached::steps(&all.run.settings.design);
    if !steps.is_empty() {
        works.push(Work {
            id: "uncached",
            label: "generation without a cache",
            parts: vec![Part::Steps(steps)],
        });
    }
    works
}

/// ONNX Runtime against every other engine; without it, every other engine against the reference. A model on which one
/// of the two is not ranked is left out.
fn pairs<'a>(all: &Backends<'a>) -> Result<Vec<Pair<'a>>, StudyError> {
    let arms = all.index.arms();
    let reference = all.contests.iter().find_map(|contest| contest.reference).map(|one| one.arm);
    let focus = arms.iter().copied().find(|arm| arm.backend == FOCUS);
    let duels: Vec<(Arm<'a>, Arm<'a>)> = match (focus, reference) {
        (Some(focus), _) => arms.iter().filter(|arm| **arm != focus).map(|other| (focus, *other)).collect(),
        (None, Some(reference)) => {
            arms.iter().filter(|arm| **arm != reference).map(|other| (*other, reference)).collect()
        }
        (None, None) => Vec::new(),
    };
    let mut pairs = Vec::new();
    for (a, b) in duels {
        let models = family(all, a, b);
        for work in works(all) {
            let pair = Pair::new(&all.index, (a, b), &models, work)?;
            if !pair.rungs.is_empty() && !pair.blocks.is_empty() {
                pairs.push(pair);
            }
        }
    }
    Ok(pairs)
}

/// F32 models of the family on which both engines are ranked, with their parameters.
fn family<'a>(all: &Backends<'a>, a: Arm<'a>, b: Arm<'a>) -> Vec<(&'a str, f64)> {
    let settings = &all.run.settings;
    let ranked =
        |arm: Arm<'a>, model: &'a str| all.standings.of(crate::Contestant { arm, model }).is_ranked();
    all.index
        .models(a)
        .into_iter()
        .filter(|model| model.family == FAMILY && precision(settings, model.id) == Precision::F32)
        .filter(|model| ranked(a, model.id) && ranked(b, model.id))
        .filter_map(|model| Some((model.id, model.parameters?)))
        .collect()
}

fn crossing_headline(pair: &Pair<'_>, estimands: &Estimands) -> Option<Headline> {
    let name = format!("crossover.{}.{}", pair.work.id, pair.name());
    let exponent = estimands.get(&format!("{name}.exponent"))?;
    let verdict = match exponent.interval {
        // An exponent that hangs on one model says nothing of size.
        _ if pair.decided_by().is_some() => Verdict::Inconclusive,
        Some(interval) if interval.high < 0.0 => Verdict::Supported,
        Some(interval) if interval.low > 0.0 => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    };
    let sentence = format!(
        "Exponent of the advantage in the number of parameters, interval over blocks; {}.",
        chimera_report::literal(&pair.statement())
    );
    // Names of backends may hold an address; an anchor may not.
    let anchor: String = format!("crossover-{}-{}", pair.work.id, pair.name())
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let label = format!(
        "{}: does the advantage of {} over {} fall with size?",
        crate::sections::growth::capital(pair.work.label),
        pair.a.backend,
        pair.b.backend
    );
    Some(Headline::new(anchor, label, verdict, sentence).value(exponent, ""))
}
