//! TR110: can two agents share a GPU, each with a server of its own? The published efficiency adds two times that were
//! taken while both ran and divides by the span: it says how equally long both took and cannot see that both became slow.
//! Here two agents are set against one alone, and the scenarios against the order in which they were run.

mod legacy;
mod ours;
mod runs;
mod tables;

use chimera_report::{Headline, Verdict};

use super::{
    family::{Corrected, Family, cell, shown},
    tr109,
};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

const RUNS: &str = "agents/tr110/python_multiagent_runs.csv";
const SCENARIOS: &[&str] = &["baseline_vs_chimera", "chimera_hetero", "chimera_homo"];

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr110];

/// The study.
struct Tr110;

impl Replay for Tr110 {
    fn id(&self) -> &'static str {
        "tr110"
    }

    fn title(&self) -> &'static str {
        "Can two agents run at once on one GPU without loss?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS, tr109::SWEEP]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let runs = runs::read(data)?;
        let solo: Vec<tr109::Arm> =
            tr109::read(data)?.into_iter().map(|pair| pair.baseline).filter(tr109::Arm::complete).collect();
        let (mut values, mut tests) = (Values::default(), Family::default());
        legacy::figures(&mut values, &runs);
        ours::speedups(&mut values, &mut tests, &runs, &solo);
        let (_, late) = ours::halves(&runs);
        ours::index(&mut values, &runs, &late);
        ours::order(&mut values, &mut tests, &runs);
        for name in ["gpu.memory", "gpu.bandwidth", "cpu.utilisation"] {
            values.lacks(name, "nothing was logged: the published figures are estimates");
        }
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            parallel(&values, &corrected),
            scenario(&values, &corrected),
            order(&values, &corrected),
            contention(&values),
        ];
        let solo_rate = values.point("rate.solo");
        let sections = vec![
            legacy::section(&values, &runs),
            tables::speedups(&values, &runs, solo_rate),
            tables::order(&values, &corrected, &runs),
        ];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

fn parallel(values: &Values, corrected: &Corrected) -> Headline {
    let faster = values.point("speedup.chimera_homo").is_some_and(|speedup| speedup > 1.0);
    Headline::new(
        "parallel",
        "Two equal agents at once are faster than one after the other",
        corrected.verdict("speedup.chimera_homo", faster),
        format!(
            "Together they deliver {} against {} of one agent alone, a speed-up of {} ({}) and an efficiency of {}, where the \
             published index says {}. Each decodes {} times slower than alone. The solo runs hold a load of the model that \
             these do not; while both decode, they deliver {} times what one does.",
            shown(values, "rate.aggregate.chimera_homo"),
            shown(values, "rate.solo"),
            shown(values, "speedup.chimera_homo"),
            corrected.words("speedup.chimera_homo"),
            shown(values, "efficiency.chimera_homo"),
            shown(values, "legacy.efficiency.chimera_homo.mean"),
            shown(values, "slowdown.chimera_homo"),
            shown(values, "speedup.decode.chimera_homo"),
        ),
    )
    .value(cell(values, "speedup.chimera_homo"), "")
}

fn scenario(values: &Values, corrected: &Corrected) -> Headline {
    let name = "at_once.index.homo_minus_baseline_vs_chimera";
    let higher = values.point(name).is_some_and(|difference| difference > 0.0);
    Headline::new(
        "scenario",
        "Equal options run better together than mixed ones",
        corrected.verdict(name, higher),
        format!(
            "Over all runs the index of equal options is higher by {} than that of defaults against options. Among the tests \
             of the last phase, which ran one after the other with the same options, the difference is {} ({}), and \
             of the tokens per second {} ({}).",
            shown(values, "index.homo_minus_baseline_vs_chimera"),
            shown(values, name),
            corrected.words(name),
            shown(values, "at_once.rate.homo_minus_baseline_vs_chimera"),
            corrected.words("at_once.rate.homo_minus_baseline_vs_chimera"),
        ),
    )
    .value(cell(values, name), "pp")
}

fn order(values: &Values, corrected: &Corrected) -> Headline {
    let longer = values.point("order.wall.early_minus_late").is_some_and(|difference| difference > 0.0);
    Headline::new(
        "order",
        "Early tests were slower than late ones",
        corrected.verdict("order.wall", longer),
        format!(
            "The first {} runs took {}, all later ones {} ({}); {} of the early runs had equal options. Tests {} and {} have \
             the same options and differ by {} of the index ({}).",
            shown(values, "order.early_runs"),
            shown(values, "order.wall.early"),
            shown(values, "order.wall.late"),
            corrected.words("order.wall"),
            shown(values, "order.early_equal_options"),
            shown(values, "repeat.first"),
            shown(values, "repeat.second"),
            shown(values, "repeat.difference"),
            corrected.words("repeat"),
        ),
    )
    .value(cell(values, "order.wall.early_minus_late"), "s")
}

fn contention(values: &Values) -> Headline {
    let differ = values
        .point("contention.slow_ttft_not_flagged")
        .zip(values.point("contention.flagged_without_slow_ttft"));
    let verdict = match differ {
        Some((missed, extra)) if missed + extra > 0.0 => Verdict::Contradicted,
        Some(_) => Verdict::Supported,
        None => Verdict::NotMeasured,
    };
    Headline::new(
        "contention",
        "Contention is flagged by a time to the first token above 10 s",
        verdict,
        format!(
            "{} of {} runs carry the flag; {} have such a time, of which {} carry no flag, and {} carry it without such a \
             time. The flag is a published speed-up below 1.5.",
            shown(values, "legacy.contention.runs"),
            shown(values, "legacy.runs"),
            shown(values, "contention.slow_ttft"),
            shown(values, "contention.slow_ttft_not_flagged"),
            shown(values, "contention.flagged_without_slow_ttft"),
        ),
    )
    .value(cell(values, "contention.slow_ttft_not_flagged"), "")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "How many tokens two agents deliver in the time they take together.",
            "How equally long both agents take: that is what the published index measures.",
            "That the same options gave other results at another time of the session.",
        ]),
        cannot: list(&[
            "Parallel efficiency from these runs alone: no agent ran alone in this session. The solo runs are those of the \
             report before, at another time, cold, with the same workflow and defaults.",
            "An effect of the scenario: all tests with mixed options but two ran before all tests with equal options.",
            "An effect of `num_gpu`: 60 to 140 all hold every layer of this model on the GPU.",
            "Why early runs were slow: load times are long there, but no memory, bandwidth or cache figure was logged.",
            "A theoretical ceiling of two: the index cannot exceed it by its construction.",
            "A best configuration: the largest of 30 means is partly luck, and repeated configurations differ by more than \
             neighbours in the ranking.",
            "What single calls did: rows hold sums and means over an agent's two calls.",
        ]),
    }
}
