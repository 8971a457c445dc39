//! TR116: do model and language decide how well two agents run at once? The published efficiencies of the two languages have
//! different numerators (client times in Rust, server times in Python), different prompts and different contexts. So each
//! index is computed by one formula, the speed-up is taken over the same day's single agents, and the languages are
//! compared on those.

mod multi;
mod single;
mod tables;

use chimera_report::{Headline, Verdict};

use super::{
    family::{Corrected, Family, cell, shown},
    tr114::{above, pairs::Pair, side},
};
use crate::{ALPHA, Artifacts, Limits, Replay, ReplayError, Replayed, Values};

/// Short name, as the Rust tables have it, as the Python tables have it.
const MODELS: [(&str, &str, &str); 3] = [
    ("gemma", "gemma3:latest", "gemma3_latest"),
    ("llama", "llama3.1:8b-instruct-q4_0", "llama3p1_8b_q4_0"),
    ("qwen", "qwen2.5:7b", "qwen2p5_7b"),
];
const LANGUAGES: [&str; 2] = ["rust", "python"];
const SCENARIOS: [(&str, &str); 2] =
    [("baseline_vs_chimera", "defaults against options"), ("chimera_homo", "the same options")];
/// What Python was said never to exceed, in per cent.
const CEILING: f64 = 86.0;
/// The smallest advantage that was claimed, in percentage points.
const ADVANTAGE: f64 = 12.0;

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr116];

struct Tr116;

impl Replay for Tr116 {
    fn id(&self) -> &'static str {
        "tr116"
    }

    fn title(&self) -> &'static str {
        "Do model and language decide how well two agents run at once?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[multi::RUST.path, multi::PYTHON, single::RUST, single::PYTHON]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let rust = multi::rust(data)?;
        let python = multi::python(data, &mut values)?;
        let alone = single::read(data)?;
        multi::legacy(&mut values, &rust, &python);
        single::legacy(&mut values, &alone, &rust, &python);
        multi::ours(&mut values, &mut tests, &rust, &python);
        single::ours(&mut values, &mut tests, &alone, &rust, &python);
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            advantage(&values, &corrected),
            ceiling(&values),
            speedup(&values),
            language(&values, &corrected),
        ];
        let sections = vec![
            tables::legacy(&values),
            tables::ours(&values),
            tables::index(&rust, &python),
            tables::single(&values, &corrected),
        ];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// Short name of a model, by either spelling.
fn model(name: &str) -> Option<&'static str> {
    MODELS.iter().find(|(_, rust, python)| *rust == name || *python == name).map(|(short, ..)| *short)
}

/// Runs that may load a model come first and are apart in our estimates.
fn warm(run: &Pair) -> bool {
    run.run > 1
}

fn advantage(values: &Values, corrected: &Corrected) -> Headline {
    let name = "gap.one_formula";
    let verdict = match side(values, name, ADVANTAGE) {
        Some(std::cmp::Ordering::Less) if corrected.differs("gap.advantage") => Verdict::Contradicted,
        Some(std::cmp::Ordering::Greater) if corrected.differs("gap.advantage") => Verdict::Supported,
        _ => Verdict::Inconclusive,
    };
    Headline::new(
        "advantage",
        "Rust is 12 to 17 percentage points more efficient than Python",
        verdict,
        format!(
            "As published the means differ by {}. By one formula, sum of client times over twice the wall time, they differ \
             by {}, without each condition's first run by {} (against 12: {}). Python's numerator left load and transport \
             out.",
            shown(values, "legacy.gap"),
            shown(values, name),
            shown(values, "gap.one_formula.warm"),
            corrected.words("gap.advantage"),
        ),
    )
    .value(cell(values, name), "pp")
}

fn ceiling(values: &Values) -> Headline {
    let over = values.point("legacy.python.above_ceiling").is_some_and(|count| count > 0.0);
    Headline::new(
        "ceiling",
        "Python never exceeds an efficiency of 86 %",
        if over { Verdict::Contradicted } else { Verdict::Inconclusive },
        format!(
            "{} of {} runs exceed it as published, the largest with {}; first runs reach {} and later ones {} on average.",
            shown(values, "legacy.python.above_ceiling"),
            shown(values, "runs.python"),
            shown(values, "legacy.python.max"),
            shown(values, "legacy.python.first_runs"),
            shown(values, "legacy.python.later_runs"),
        ),
    )
    .value(cell(values, "legacy.python.max"), "%")
}

fn speedup(values: &Values) -> Headline {
    let verdicts: Vec<Verdict> =
        MODELS.iter().map(|(short, ..)| above(values, &format!("speedup.rust.{short}"), 1.0, true)).collect();
    let verdict = match verdicts.first() {
        Some(first) if verdicts.iter().all(|verdict| verdict == first) => *first,
        _ => Verdict::Inconclusive,
    };
    let list = |language: &str| {
        MODELS
            .map(|(short, ..)| format!("{short} {}", shown(values, &format!("speedup.{language}.{short}"))))
            .join(", ")
    };
    Headline::new(
        "speedup",
        "Two agents are faster than one after another",
        verdict,
        format!(
            "Speed-up over the same day's single agents, warm. Rust: {}. Python: {}. The published efficiency averages {} and \
             {}.",
            list("rust"),
            list("python"),
            shown(values, "legacy.rust.mean"),
            shown(values, "legacy.python.mean"),
        ),
    )
    .value(cell(values, "speedup.rust.gemma"), "")
}

fn language(values: &Values, corrected: &Corrected) -> Headline {
    let names: Vec<String> =
        MODELS.iter().map(|(short, ..)| format!("single.ratio.chimera.{short}")).collect();
    let faster =
        names.iter().all(|name| above(values, name, 1.0, corrected.differs(name)) == Verdict::Supported);
    let slower =
        names.iter().any(|name| above(values, name, 1.0, corrected.differs(name)) == Verdict::Contradicted);
    let same = MODELS.iter().all(|(short, ..)| {
        values.point(&format!("single.equivalence_p.chimera.{short}")).is_some_and(|p| p <= ALPHA)
    });
    let verdict = match (faster, same, slower) {
        (true, _, _) => Verdict::Supported,
        (_, true, _) => Verdict::Equivalent,
        (_, _, true) => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    };
    let list = MODELS
        .map(|(short, ..)| {
            let name = format!("single.ratio.chimera.{short}");
            format!("{short} {} ({})", shown(values, &name), corrected.words(&name))
        })
        .join(", ");
    Headline::new(
        "language",
        "A Rust client makes a single agent's server faster",
        verdict,
        format!(
            "Server's decode rate under Rust over that under Python, same day, same options: {list}; within {:.0} % for all \
             models: {}. Rust's agents took in {} files, Python's {}.",
            100.0 * single::MARGIN,
            if same { "shown" } else { "not shown" },
            shown(values, "files.rust.single"),
            shown(values, "files.python.single"),
        ),
    )
    .value(cell(values, "single.ratio.chimera.gemma"), "")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "Each language's balance index by one formula, and how it follows the lengths of replies.",
            "What two agents deliver per second against single agents of the same day, by model.",
            "Whether the server decodes faster for one client or the other at the same options.",
        ]),
        cannot: list(&[
            "Rust against Python with two agents: Python sent two different prompts of one call each at a context of 2,048, Rust \
             the same two calls to both agents at 512; folders of both say 512.",
            "Workflow parity: the Python agents took in no file (a wrong relative path), the single Rust agents 101; reports \
             about an empty data set are other work.",
            "Models by their attention or cache: the spread of the Qwen runs is that of its reply lengths, with a reply of 5,120 \
             tokens and replies of none.",
            "The baseline arms of the single agents: Rust ran at the server's defaults, Python at explicit options.",
            "A cell of one run: one Qwen configuration of each language has one run instead of five.",
            "Python's speed-up with the same prompts: its single agents made two calls, its pairs one each.",
            "Costs and returns: their inputs were not measured.",
        ]),
    }
}
