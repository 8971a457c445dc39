//! The same questions by the analysis of live runs, from the records that [`super::records`] makes: `lab.<arm>.…`.

use std::collections::{BTreeMap, BTreeSet};

use chimera_report::{Block, Section};
use chimera_studies::{
    Arm, Estimands, Index, PhaseMetric, RunData, Scaling, Selection,
    sections::{architecture, cold, fraction, growth},
};

use super::{
    read::{Call, Data},
    records::{self, LOCAL, SERVED},
};
use crate::{ReplayError, Values};

/// What the analysis of live runs found.
#[derive(Default)]
pub(super) struct Lab {
    /// Its sections.
    pub(super) sections: Vec<Section>,
    /// By arm and phase, what stands of the exponent, and whether one model decides it.
    pub(super) standing: BTreeMap<(&'static str, &'static str), (String, bool)>,
}

/// Arms with their family and title.
const ARMS: [(&str, &str, &str); 3] = [
    ("cpu", LOCAL, "CPU, single precision"),
    ("gpu", LOCAL, "GPU, half precision"),
    ("ollama", SERVED, "served models"),
];

pub(super) fn replay(values: &mut Values, data: &Data) -> Result<Lab, ReplayError> {
    let mut lab = Lab::default();
    let primary = records::run(&some(data, |call| call.run == "primary"), &data.shapes);
    let sweep = records::run(&some(data, |call| call.run.starts_with("sweep")), &data.shapes);
    for (arm, family, title) in ARMS {
        one(values, &mut lab, &primary, arm, family, title)?;
        let index = Index::new(&sweep);
        let mut estimands = Estimands::default();
        let section = fraction::section(&index, of(arm), family, 64, &mut estimands)?;
        take(values, arm, &estimands);
        if index.arms().contains(&of(arm)) {
            lab.sections.push(tagged(section, arm, title));
        }
    }
    repeated(values, data)?;
    for (run, batch, budget) in [("batch8", 1, 64), ("batch8", 8, 64), ("gen512", 1, 512)] {
        let run_data = records::run(&some(data, |call| call.run == run), &data.shapes);
        let index = Index::new(&run_data);
        let mut estimands = Estimands::default();
        for scaling in scalings(&index, "gpu", LOCAL, vec!["medium"], batch, budget)? {
            growth::estimands(&scaling, &format!(".{run}.batch{batch}"), &mut estimands);
        }
        take(values, "gpu", &estimands);
    }
    Ok(lab)
}

fn some(data: &Data, keep: impl Fn(&Call) -> bool) -> Vec<&Call> {
    data.calls.iter().filter(|call| keep(call)).collect()
}

fn of(backend: &str) -> Arm<'_> {
    Arm { backend, threads: 0 }
}

/// Phases that compare models: the end of a served call depends on where the model stopped.
fn phases(family: &str) -> &'static [PhaseMetric] {
    if family == SERVED { &[PhaseMetric::Prefill, PhaseMetric::Decode] } else { &PhaseMetric::ALL }
}

fn scalings<'a>(
    index: &Index<'a>,
    backend: &'a str,
    family: &str,
    scenarios: Vec<&'a str>,
    batch: u32,
    budget: u32,
) -> Result<Vec<Scaling<'a>>, ReplayError> {
    let mut found = Vec::new();
    for phase in phases(family) {
        let selection = Selection { arm: of(backend), scenarios: scenarios.clone(), batch, budget };
        found.extend(Scaling::new(index, family, *phase, selection)?);
    }
    Ok(found)
}

/// Prompts of one arm.
fn scenarios<'r>(run: &'r RunData, arm: &str) -> Vec<&'r str> {
    let own = run.trials.iter().filter(|trial| *trial.factors.backend == *arm);
    let all: BTreeSet<&str> = own.map(|trial| &*trial.factors.scenario).collect();
    all.into_iter().collect()
}

/// Exponents, architecture and first uses of one arm of the primary run.
fn one(
    values: &mut Values,
    lab: &mut Lab,
    run: &RunData,
    arm: &'static str,
    family: &str,
    title: &str,
) -> Result<(), ReplayError> {
    let index = Index::new(run);
    let mut estimands = Estimands::default();
    let main = scalings(&index, arm, family, scenarios(run, arm), 1, 64)?;
    for scaling in &main {
        growth::estimands(scaling, "", &mut estimands);
        let phase = scaling.phase.id();
        let fit = scaling.fit.exponent().estimate("log-log least squares, t", "model", scaling.points.len());
        values.put_estimate(format!("lab.{arm}.through.{phase}"), "", fit);
        let deciding = scaling.deciding()?;
        values.put(format!("lab.{arm}.deciding.{phase}"), "", deciding.len() as f64);
        for (point, without) in scaling.points.iter().zip(&scaling.leave_one_out.without) {
            if let Some(fit) = &without.fit {
                let estimate = fit.slope.estimate("log-log least squares, t", "model", fit.n);
                values.put_estimate(
                    format!("lab.{arm}.through.{phase}.without.{}", point.model.id),
                    "",
                    estimate,
                );
            }
        }
        lab.standing.insert((arm, phase), (growth::standing(scaling)?, !deciding.is_empty()));
    }
    if !main.is_empty() {
        lab.sections.push(tagged(growth::section(&main, &[])?, arm, title));
        lab.sections.push(tagged(architecture::section(&main, &mut estimands)?, arm, title));
    }
    let section = cold::section(&index, of(arm), family, &mut estimands)?;
    if index.arms().contains(&of(arm)) {
        lab.sections.push(tagged(section, arm, title));
    }
    take(values, arm, &estimands);
    Ok(())
}

/// Exponents with an interval over runs: prompts and models that several runs share, the run as block.
fn repeated(values: &mut Values, data: &Data) -> Result<(), ReplayError> {
    for (arm, family, _) in ARMS {
        for prompts in [vec!["short", "medium"], vec!["medium"]] {
            let same = |call: &Call| {
                call.backend == arm
                    && call.batch == 1
                    && call.target == 64.0
                    && prompts.contains(&call.scenario.as_str())
                    // A family of its own models: its run lacks most of the others.
                    && call.run != "gemma"
            };
            let calls = some(data, same);
            // A run counts where it has every prompt, a model where every such run has it.
            let mut cells: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
            for call in &calls {
                cells.entry(&call.run).or_default().insert((&call.model, &call.scenario));
            }
            cells.retain(|_, cells| prompts.iter().all(|prompt| cells.iter().any(|(_, own)| own == prompt)));
            let shared = |call: &&&Call| {
                cells.contains_key(call.run.as_str())
                    && cells
                        .values()
                        .all(|cells| cells.contains(&(call.model.as_str(), call.scenario.as_str())))
            };
            let shared: Vec<&Call> = calls.iter().filter(shared).copied().collect();
            let run = records::run(&shared, &data.shapes);
            let index = Index::new(&run);
            let mut estimands = Estimands::default();
            let suffix = format!(".repeated.{}", prompts.join("_"));
            values.put(format!("lab.{arm}.runs{suffix}"), "", cells.len() as f64);
            for scaling in scalings(&index, arm, family, prompts.clone(), 1, 64)? {
                growth::estimands(&scaling, &suffix, &mut estimands);
            }
            take(values, arm, &estimands);
        }
    }
    Ok(())
}

fn take(values: &mut Values, arm: &str, estimands: &Estimands) {
    for (name, estimate) in estimands.iter() {
        values.put_estimate(format!("lab.{arm}.{name}"), "", estimate.clone());
    }
}

/// A section of one arm among several: its ids and titles say so.
fn tagged(mut section: Section, arm: &str, title: &str) -> Section {
    section.id = format!("{}-{arm}", section.id);
    section.title = format!("By the analysis of live runs: {}, {title}", section.title);
    for block in &mut section.blocks {
        match block {
            Block::Table(table) => {
                table.id = format!("{}-{arm}", table.id);
                table.title = format!("{}: {title}", table.title);
            }
            Block::Plot(plot) => {
                plot.id = format!("{}-{arm}", plot.id);
                plot.title = format!("{}: {title}", plot.title);
            }
            _ => {}
        }
    }
    section
}
