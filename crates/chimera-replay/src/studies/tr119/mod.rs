//! TR119: what a million tokens cost in money, energy and carbon, in two documents on the same two files of raw runs; and
//! TR122, whose idle power it needs and whose data nobody has. One process per mode: what a second process would have
//! measured is not in these data.

mod cost;
mod costs;
mod energy;
mod legacy;
mod read;
mod tables;
mod tr122;

use chimera_report::{Column, Headline, Section, Table};

use super::family::{Corrected, Family, cell};
use crate::{Artifacts, Limits, Replay, ReplayError, Replayed, Values};

/// Versions of this report, and TR122.
pub(super) const ALL: &[&dyn Replay] = &[&Tr119, &Tr119V1, &tr122::Tr122];

/// Version 1.1, generated.
struct Tr119;

/// Version 1, written by hand after it.
struct Tr119V1;

impl Replay for Tr119 {
    fn id(&self) -> &'static str {
        "tr119"
    }

    fn title(&self) -> &'static str {
        "Which backend costs least money and energy per token?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &read::FILES
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        replay(data, |values, corrected| {
            let headline = vec![
                tables::headline(values, corrected, 1),
                tables::headline(values, corrected, 0),
                energy::headline(values, corrected),
            ];
            (headline, legacy::section(values))
        })
    }
}

impl Replay for Tr119V1 {
    fn id(&self) -> &'static str {
        "tr119-v1"
    }

    fn title(&self) -> &'static str {
        "What does the choice of a backend cost a year, and when does the choice flip?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &read::FILES
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        replay(data, |values, corrected| {
            let headline = vec![
                tables::saving(values, corrected, 2),
                tables::headline(values, corrected, 1),
                energy::headline(values, corrected),
            ];
            (headline, request_table(values))
        })
    }
}

/// Both versions compute the same; they differ in what they claim.
fn replay(
    data: &Artifacts,
    document: impl FnOnce(&Values, &Corrected) -> (Vec<Headline>, Section),
) -> Result<Replayed, ReplayError> {
    let mut values = Values::default();
    let mut tests = Family::default();
    let runs = read::runs(data)?;
    let published = legacy::values(&mut values, &runs)?;
    costs::values(&mut values, &runs, &published, &mut tests)?;
    energy::values(&mut values, &runs, &published, &mut tests)?;
    let corrected = tests.close(&mut values)?;
    let (headline, tables) = document(&values, &corrected);
    let sections = vec![
        tables,
        tables::section(&values, &corrected),
        tables::request_section(&values),
        energy::section(&values),
    ];
    Ok(Replayed { values, headline, sections, limits: limits() })
}

/// The tables of version 1 that version 1.1 does not have.
fn request_table(values: &Values) -> Section {
    let mut requests = Table::new("legacy-requests", "A request of 256 and 128 tokens, as published")
        .caption(
            "Tokens over the arithmetic mean of five throughputs, power as the arithmetic mean of five; a year at a billion \
             tokens a month. Effective numbers: a million over the mean of the cells' seconds, as this version prints them.",
        )
        .column(Column::text("backend", "Backend"))
        .column(Column::number("prefill", "Prefill", "s"))
        .column(Column::number("generate", "Generation", "s"))
        .column(Column::number("kwh", "Energy", "kWh"))
        .column(Column::number("usd", "Request", "USD"))
        .column(Column::number("year", "Year", "USD"))
        .column(Column::number("prefill-rate", "Effective prefill", "tok/s"))
        .column(Column::number("generate-rate", "Effective generation", "tok/s"));
    for backend in read::BACKENDS {
        let of = |what: &str| cell(values, &format!("legacy.request.{backend}.{what}"));
        requests.push_row([
            backend.into(),
            of("prefill_s"),
            of("generate_s"),
            of("kwh"),
            of("usd"),
            cell(values, &format!("legacy.tco_request.{backend}.year")),
            cell(values, &format!("legacy.prefill.{backend}.effective_tok_s")),
            cell(values, &format!("legacy.generate.{backend}.effective_tok_s")),
        ]);
    }
    Section::new("legacy", "Published tables by the published formula").table(requests)
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "What these processes took per token, and how far that depends on the formula: mean of ratios, ratio of sums, means \
             of throughputs, means of seconds.",
            "That generation without a cache on these five short shapes ranks the backends, as far as the paired tests say so.",
            "How many runs have no power sample but the one that was taken before the work.",
        ]),
        cannot: list(&[
            "Energy or carbon of a token: the window holds loading and warm-up, and where it holds one sample that was taken \
             before the work.",
            "Energy above idle with a known error: the idle mean is a number that another report states for another day.",
            "The whole machine: the report counts one device per backend.",
            "A backend's cost in general: one process per mode, a fixed order, no cool-down. Other processes of the same code on \
             the same day are not in these data.",
            "A request of 256 and 128 tokens: 11 to 35 tokens were run, with eight new ones, without a cache; and two of the five \
             scenarios are batches of four equal prompts.",
            "A price of a CPU: CPU backends pay the hourly rate of a GPU instance here.",
            "A cost of ownership: no purchase, no utilisation, no idle hour is in it.",
            "Generation of a batch: all its rows get the token of the first.",
        ]),
    }
}
