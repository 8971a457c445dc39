//! The first version of TR114: one server against two, one call per agent. Its balance index rises because two servers do
//! not queue; whether two servers also deliver more is a question of tokens over wall time, and of what differs besides.

use chimera_report::{Column, Headline, Section, Table, Verdict};

use super::{
    super::{
        family::{Corrected, Family, cell, put, shown},
        shared::plain_mean,
    },
    SCENARIOS, above, index,
    pairs::{self, Layout, Pair, those},
};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

pub(super) struct Tr114V1;

const RUNS: Layout = Layout {
    path: "agents/tr114/rust_multiagent_tr110_v1_runs.csv",
    arm: "dataset",
    config: &["phase", "config"],
    calls: &[1],
};
/// TR113's runs on one server, with which this version compared itself.
const BEFORE: &str = "agents/tr113/rust_multiagent_single_ollama_runs.csv";
const ONE: &str = "Demo_rust_multiagent_results_tr110";
const TWO: &str = "Demo_rust_multiagent_results_tr110_dual";

impl Replay for Tr114V1 {
    fn id(&self) -> &'static str {
        "tr114-v1"
    }

    fn title(&self) -> &'static str {
        "Does a second server make two Rust agents parallel? (first version)"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS.path, BEFORE]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let runs = pairs::read(data, &RUNS)?;
        if let Some(odd) = runs.iter().find(|run| run.arm != ONE && run.arm != TWO) {
            return Err(ReplayError::Content {
                path: RUNS.path.into(),
                reason: format!("`{}` is neither the set of one server nor of two", odd.arm),
            });
        }
        legacy(data, &mut values, &runs)?;
        ours(&mut values, &mut tests, &runs);
        values.lacks(
            "speedup",
            "no agent ran alone with these one-call prompts, so there is no solo rate to compare with",
        );
        let corrected = tests.close(&mut values)?;
        let headline = vec![second(&values, &corrected), index(&values)];
        let sections = vec![published(&values), delivered(&values, &corrected)];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

fn legacy(data: &Artifacts, values: &mut Values, runs: &[Pair]) -> Result<(), ReplayError> {
    for (name, arm) in [("single", ONE), ("dual", TWO)] {
        let own = those(runs, |run| run.arm == arm);
        pairs::moments(values, &format!("legacy.{name}"), "%", &pairs::indices(&own));
        let speedups: Vec<f64> = own.iter().filter_map(|run| run.speedup).collect();
        pairs::moments(values, &format!("legacy.{name}.speedup"), "", &speedups);
        let share =
            |own: &[&Pair]| 100.0 * own.iter().filter(|run| run.contention).count() as f64 / own.len() as f64;
        values.put(format!("legacy.{name}.contention"), "%", share(&own));
        for phase in ["phase1", "phase2", "phase3"] {
            let part = those(runs, |run| run.arm == arm && run.config.starts_with(phase));
            values.put(format!("legacy.{name}.{phase}"), "%", plain_mean(&pairs::indices(&part)));
        }
        for (scenario, _) in SCENARIOS {
            let part = those(runs, |run| run.arm == arm && run.scenario == scenario);
            values.put(format!("legacy.{name}.{scenario}"), "%", plain_mean(&pairs::indices(&part)));
            values.put(format!("legacy.{name}.{scenario}.contention"), "%", share(&part));
            values.put(format!("legacy.{name}.{scenario}.rate"), "tok/s", plain_mean(&pairs::rates(&part)));
        }
    }
    let before = data.table(BEFORE, &["efficiency_percent"])?;
    let earlier: Vec<f64> = before
        .rows()
        .map(|row| row.maybe("efficiency_percent"))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    let dual = values.point("legacy.dual.mean").unwrap_or(f64::NAN);
    values.put("legacy.before.mean", "%", plain_mean(&earlier));
    values.put("legacy.gain", "pp", dual - plain_mean(&earlier));
    values.put(
        "legacy.gain.same_matrix",
        "pp",
        dual - values.point("legacy.single.mean").unwrap_or(f64::NAN),
    );
    Ok(())
}

fn ours(values: &mut Values, tests: &mut Family, runs: &[Pair]) {
    pairs::counts(values, ".single", &those(runs, |run| run.arm == ONE));
    pairs::counts(values, ".dual", &those(runs, |run| run.arm == TWO));
    pairs::balance(values, "", &those(runs, |run| run.arm == TWO));
    for (scenario, _) in SCENARIOS {
        let part = |arm: &str| pairs::sound(&those(runs, |run| run.arm == arm && run.scenario == scenario));
        let (one, two) = (part(ONE), part(TWO));
        let (single, dual) = (pairs::aggregate(&one), pairs::aggregate(&two));
        match (&dual, &single) {
            (Ok(dual), Ok(single)) => {
                values.put_estimate(format!("dual_over_single.{scenario}"), "", pairs::over(dual, single));
            }
            (Err(why), _) | (_, Err(why)) => {
                values.lacks(format!("dual_over_single.{scenario}"), why.to_string());
            }
        }
        put(values, format!("rate.single.{scenario}"), "tok/s", single);
        put(values, format!("rate.dual.{scenario}"), "tok/s", dual);
        let test = pairs::rates_differ(&pairs::rates(&two), &pairs::rates(&one));
        tests.add(values, &format!("dual_over_single.{scenario}"), test);
    }
}

fn second(values: &Values, corrected: &Corrected) -> Headline {
    let name = "dual_over_single.chimera_homo";
    let verdict = above(values, name, 1.0, corrected.differs(name));
    let other = "dual_over_single.baseline_vs_chimera";
    let why = match (verdict, above(values, other, 1.0, corrected.differs(other))) {
        (Verdict::Contradicted, Verdict::Supported) => {
            ": a second server helps where one server would reload its runner at every change of options, and not otherwise"
        }
        _ => "",
    };
    Headline::new(
        "second-server",
        "A second server raises what two agents deliver when their options are the same",
        verdict,
        format!(
            "Two servers over one: {} with the same options ({}), {} when one agent runs at the defaults ({}){why}. The \
             published index rises by {}.",
            shown(values, name),
            corrected.words(name),
            shown(values, other),
            corrected.words(other),
            shown(values, "legacy.gain"),
        ),
    )
    .value(cell(values, name), "")
}

fn published(values: &Values) -> Section {
    let mut table = Table::new("legacy-servers", "Published efficiency by servers")
        .caption("Means over runs of the balance index; contention is a published speed-up below 1.5.")
        .column(Column::text("what", "Runs"))
        .column(Column::number("single", "One server", "%"))
        .column(Column::number("dual", "Two servers", "%"));
    let rows = [("all", "mean"), ("SD", "sd"), ("largest", "max"), ("contention", "contention")]
        .into_iter()
        .chain(SCENARIOS.map(|(name, words)| (words, name)))
        .chain([("phase 1", "phase1"), ("phase 2", "phase2"), ("phase 3", "phase3")]);
    for (words, name) in rows {
        table.push_row([
            words.into(),
            cell(values, &format!("legacy.single.{name}")),
            cell(values, &format!("legacy.dual.{name}")),
        ]);
    }
    Section::new("legacy", "Published tables by the published formula").table(table)
}

fn delivered(values: &Values, corrected: &Corrected) -> Section {
    let mut table = Table::new("servers", "What one server and two deliver")
        .caption("Sum of tokens of both agents over sum of wall times, over runs without a failed call; p of the runs' rates, after Holm.")
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("single", "One server", "tok/s"))
        .column(Column::number("dual", "Two servers", "tok/s"))
        .column(Column::number("ratio", "Two over one", ""))
        .column(Column::text("p", "Test"));
    for (name, words) in SCENARIOS {
        table.push_row([
            words.into(),
            cell(values, &format!("rate.single.{name}")),
            cell(values, &format!("rate.dual.{name}")),
            cell(values, &format!("dual_over_single.{name}")),
            corrected.words(&format!("dual_over_single.{name}")).into(),
        ]);
    }
    Section::new("delivered", "The same question by our definitions").table(table)
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "Whether one server or two delivers more tokens per second to two agents, by scenario, in the same matrix.",
            "That one server queues two equal requests: the first agent takes one share of time and the second two, which \
             makes the published index 75 % whatever the throughput.",
        ]),
        cannot: list(&[
            "A speed-up over one agent: no agent ran alone with these prompts.",
            "The published gain of one server to two: it compares 150 runs with 19 runs of another matrix a day before.",
            "A comparison with Python, whose agents made two calls each.",
        ]),
    }
}
