//! TR121: how prefill and decode latency grow with model size.
//!
//! The original fitted power laws to seven GPT-2 shapes in one process, with prompts of 1 to 17 tokens, and printed an
//! exponent that hangs on its smallest model. Here every block is a process, every exponent is printed with and without
//! each model, and a prompt of 512 tokens asks whether decode really dominates.

use chimera_records::Flag;
use chimera_report::{Draft, Findings, Headline, Verdict};

use crate::{
    Arm, Estimands, Index, PhaseMetric, RunData, Scaling, Selection, Study, StudyError,
    sections::{
        architecture, beside, capacity, claims, cold, context, fraction, growth, latency, regime, threats,
    },
};

/// The study.
#[derive(Debug, Clone, Copy)]
pub struct Tr121;

/// Family that is fitted.
const FAMILY: &str = "gpt2";

const GENERAL_THREATS: &[&str] = &[
    "The models of the fits have random weights: their latency is that of trained weights of the same shape, their text \
     means nothing.",
    "Parameters, depth, width and bytes grow together in this family; no fit over seven shapes separates their effects.",
    "One machine. An exponent depends on where the memory hierarchy ends: a model that fits into the cache is a different \
     regime from one that does not.",
    "All models stay resident in a block's process; a model's weights can be pushed out of the cache by another's between \
     two trials, as they would be in a server that holds several models.",
    "Two tokenizers: the natural prompts have different lengths for the GPT-2 family and for SmolLM2.",
    "Energy was not measured.",
];

const IN_PROCESS: &[&str] = &["In process: no HTTP, no queue, no tokenizer is in these times."];

const BEHIND_A_WIRE: &[&str] = &[
    "Behind a wire: decode and end-to-end times hold the way over HTTP and the client's own lag (in the manifest); prefill \
     is the server's own word.",
    "The server is not started anew for each block. Its models are loaded anew, so the first use of a model is one, and the \
     first use of a process is the client's only.",
    "A server that ends an answer early (end of sequence, a repetition that it does not like) makes the trial short or \
     failed; with random weights that happens, and such trials are counted.",
];

impl Study for Tr121 {
    fn id(&self) -> &'static str {
        "tr121"
    }

    fn design(&self) -> &'static str {
        include_str!("../../../designs/tr121.toml")
    }

    fn analyse(&self, run: &RunData) -> Result<Findings, StudyError> {
        if run.manifest.study != self.id() {
            return Err(StudyError::OtherStudy { found: run.manifest.study.clone(), expected: self.id() });
        }
        let index = Index::new(run);
        let arms = index.arms();
        let Some(arm) = index.main_arm() else {
            return Err(StudyError::NothingMeasured { counts: format!("{:?}", run.manifest.counts) });
        };
        let budget = reference_budget(run);
        let mut estimands = Estimands::default();

        let natural = natural_prompts(run);
        let main = scalings(&index, arm, &natural, budget)?;
        for scaling in &main {
            growth::estimands(scaling, "", &mut estimands);
        }
        let others = other_scalings(&index, arm, &natural, budget, &mut estimands)?;
        let quiet_index = Index::filtered(run, |trial| !trial.flags.contains(&Flag::HostNoise));
        let quiet = scalings(&quiet_index, arm, &natural, budget)?;

        let regimes: Vec<(String, &Scaling<'_>, Option<f64>)> = main
            .iter()
            .map(|scaling| (natural.join(", "), scaling, mean_prompt(&index, scaling)))
            .chain(
                others.iter().map(|(label, scaling)| (label.clone(), scaling, mean_prompt(&index, scaling))),
            )
            .collect();

        let selection = Selection { arm, scenarios: natural.clone(), batch: 1, budget };
        let mut draft = Draft::new(self.id(), format!("TR121: {}", run.settings.design.title));
        draft = context::provenance(draft, run);
        draft = draft
            .section(context::section(&index))
            .section(latency::section(&index, budget)?)
            .section(growth::section(&main, &others)?)
            .section(architecture::section(&main, &mut estimands)?)
            .section(regime::section(&index, &selection, &regimes, run.manifest.host.memory_read_rate)?)
            .section(fraction::section(&index, arm, FAMILY, budget, &mut estimands)?)
            .section(cold::section(&index, arm, FAMILY, &mut estimands)?);
        if let Some(section) = beside::section(&index, arm, budget)? {
            draft = draft.section(section);
        }
        if let Some(price) = &run.settings.design.capacity {
            draft = draft.section(capacity::section(&index, arm, budget, price, &mut estimands)?);
        }
        let judgements = claims::judge(run, &estimands)?;
        draft = draft.section(claims::section(run, &estimands, &judgements));
        let wires = if index.is_behind_a_wire(arm) { BEHIND_A_WIRE } else { IN_PROCESS };
        let general: Vec<&str> = GENERAL_THREATS.iter().chain(wires).copied().collect();
        draft = draft.section(threats::section(&index, &general, &main, &quiet)?);
        draft = headline(draft, run, arm, &main, &estimands, &judgements)?;
        draft = threats::gaps(draft, &index);
        for phase in threats::missing_scalings(&main) {
            draft = draft.gap(
                format!("scaling of {}", phase.label()),
                "fewer than four models of the family have a steady value in every prompt",
            );
        }
        let others_arms: Vec<String> =
            arms.iter().filter(|other| **other != arm).map(ToString::to_string).collect();
        if !others_arms.is_empty() {
            draft = draft.gap(
                "fits of the other arms",
                format!(
                    "the fits and claims above belong to {arm}; {} are in the latency tables and set beside it, cell by cell",
                    others_arms.join("; ")
                ),
            );
        }
        if let Some(left) = &run.settings.leaves_out {
            draft = draft.gap("left to another profile", left.clone());
        }
        Ok(draft.finish()?)
    }
}

/// Budget of the first grid: the one that the headline belongs to.
fn reference_budget(run: &RunData) -> u32 {
    run.settings.design.grid.first().and_then(|grid| grid.budget.first()).copied().unwrap_or(64)
}

/// Scenarios with natural prompts, in the design's order, that the settings ask for.
fn natural_prompts(run: &RunData) -> Vec<&str> {
    let design = &run.settings.design;
    design
        .scenario
        .iter()
        .filter(|scenario| scenario.tokens.is_none())
        .map(|scenario| scenario.id.as_str())
        .filter(|id| design.grid.first().is_some_and(|grid| grid.scenario.iter().any(|s| s == id)))
        .collect()
}

fn scalings<'a>(
    index: &Index<'a>,
    arm: Arm<'a>,
    scenarios: &[&'a str],
    budget: u32,
) -> Result<Vec<Scaling<'a>>, StudyError> {
    let mut found = Vec::new();
    for phase in PhaseMetric::ALL {
        let selection = Selection { arm, scenarios: scenarios.to_vec(), batch: 1, budget };
        found.extend(Scaling::new(index, FAMILY, phase, selection)?);
    }
    Ok(found)
}

/// Scalings of single scenarios, of batch 8 and of the long budget, with their estimands.
fn other_scalings<'a>(
    index: &Index<'a>,
    arm: Arm<'a>,
    natural: &[&'a str],
    budget: u32,
    estimands: &mut Estimands,
) -> Result<Vec<(String, Scaling<'a>)>, StudyError> {
    let mut found = Vec::new();
    let design = &index.run().settings.design;
    for scenario in &design.scenario {
        // A single natural prompt is already the main selection.
        if natural == [scenario.id.as_str()] {
            continue;
        }
        for scaling in scalings(index, arm, &[&scenario.id], budget)? {
            growth::estimands(&scaling, &format!(".{}", scenario.id), estimands);
            found.push((scenario.id.clone(), scaling));
        }
    }
    for (suffix, label, batch, budget) in
        [("batch8", "medium, batch 8", 8, budget), ("gen512", "medium, 512 generated", 1, 512)]
    {
        for phase in PhaseMetric::ALL {
            let Some(medium) = design.scenario("medium") else { continue };
            let selection = Selection { arm, scenarios: vec![&medium.id], batch, budget };
            let Some(scaling) = Scaling::new(index, FAMILY, phase, selection)? else { continue };
            growth::estimands(&scaling, &format!(".{suffix}"), estimands);
            if batch == 8
                && let Some(gain) = explained_gain(&found, &scaling)
            {
                estimands.put(format!("r2_gain.{}.batch8", phase.id()), gain);
            }
            found.push((label.to_owned(), scaling));
        }
    }
    Ok(found)
}

/// Gain in explained variance from batch 1 to batch 8 on the same prompt. It has no interval: it is one number from the
/// models' means.
fn explained_gain(
    single: &[(String, Scaling<'_>)],
    batched: &Scaling<'_>,
) -> Option<chimera_stats::Estimate> {
    let (_, one) = single.iter().find(|(label, s)| label == "medium" && s.phase == batched.phase)?;
    Some(chimera_stats::Estimate {
        point: batched.fit.log_fit.r_squared? - one.fit.log_fit.r_squared?,
        standard_error: None,
        interval: None,
        method: "difference of R²".into(),
        unit: "model".into(),
        n: batched.points.len(),
    })
}

fn mean_prompt(index: &Index<'_>, scaling: &Scaling<'_>) -> Option<f64> {
    let tokens: Vec<f64> = index
        .cells()
        .filter(|(key, _)| {
            let selection = &scaling.selection;
            key.arm == selection.arm
                && selection.scenarios.contains(&key.scenario)
                && (key.batch, key.concurrency, key.budget) == (selection.batch, 1, selection.budget)
        })
        .flat_map(|(_, trials)| trials.iter().flat_map(|trial| &trial.lanes))
        .filter_map(|lane| lane.prompt_tokens.map(f64::from))
        .collect();
    (!tokens.is_empty()).then(|| tokens.iter().sum::<f64>() / tokens.len() as f64)
}

fn headline(
    mut draft: Draft,
    run: &RunData,
    arm: Arm<'_>,
    main: &[Scaling<'_>],
    estimands: &Estimands,
    judgements: &[crate::Judgement],
) -> Result<Draft, StudyError> {
    for scaling in main {
        let deciding = scaling.deciding()?;
        let verdict = if deciding.is_empty() { Verdict::Supported } else { Verdict::Inconclusive };
        draft = draft.headline(
            Headline::new(
                format!("slope-{}", scaling.phase.id()),
                format!("{}: a power law in parameters?", growth::capital(scaling.phase.label())),
                verdict,
                format!("Exponent, interval over blocks. {}", growth::standing(scaling)?),
            )
            .value(&scaling.exponent, ""),
        );
    }
    let budget = reference_budget(run);
    for (scenario, label) in
        [("published", "short prompts (median of models)"), ("long", "512 prompt tokens")]
    {
        if let Some(fraction) = estimands.get(&format!("decode_fraction.{scenario}.gen{budget}")) {
            // The published claim: decode takes at least 97 % of the time.
            let verdict = match fraction.interval {
                Some(interval) if interval.low > 0.97 => Verdict::Supported,
                Some(interval) if interval.high < 0.97 => Verdict::Contradicted,
                _ => Verdict::Inconclusive,
            };
            draft = draft.headline(
                Headline::new(
                    format!("fraction-{scenario}"),
                    format!("Decode takes 97 % or more: {label}?"),
                    verdict,
                    format!(
                        "Decode fraction at {budget} generated tokens, held against the published claim."
                    ),
                )
                .value(fraction, ""),
            );
        }
    }
    let count = |verdict: Verdict| judgements.iter().filter(|judgement| judgement.verdict == verdict).count();
    let measured = run.settings.design.model.iter().filter(|model| {
        run.trials.iter().any(|trial| trial.is_steady() && *trial.factors.model == *model.id)
    });
    draft = draft
        .summary(format!(
            "{} models on {arm}, {} blocks; every interval is over blocks unless the table says otherwise.",
            measured.count(),
            run.settings.design.blocks,
        ))
        .summary(format!(
            "Of {} hypotheses written down before the run {} are supported, {} contradicted, {} undecided and {} not \
             measured.",
            judgements.len(),
            count(Verdict::Supported),
            count(Verdict::Contradicted),
            count(Verdict::Inconclusive),
            count(Verdict::NotMeasured)
        ));
    Ok(draft)
}
