//! Prints how well the statistics are calibrated, as tables in Markdown: what they promise beside what they hold in
//! simulated studies with a known truth. `cargo xtask calibrate` starts it; `docs/calibration.md` holds the output of
//! `--paper`. The same seeds give the same tables on any number of threads.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "an example prints, and a simulated study that fails is a defect"
)]

mod study;

use std::process::ExitCode;

use chimera_stats::random::Resampling;
use study::coverage::{self, Cell, METHODS};
use study::errors::{self, TESTS};
use study::noise::{NOISES, NORMAL, Noise, ON_LOGS, RAW_HALF, RAW_ONE};
use study::{BLOCKS, Size};

const QUICK: Size = Size { repetitions: 1_000, two_levels: 1_000, resamples: 500, pilots: 200 };
const PAPER: Size = Size { repetitions: 20_000, two_levels: 5_000, resamples: 1_000, pilots: 4_000 };

/// A name and what prints its tables.
type Section = (&'static str, fn(Size));

/// The tables, in order. Every cell has a seed of its own: alone they come out as they do together.
const SECTIONS: [Section; 6] = [
    ("intervals", intervals),
    ("pooled", pooled),
    ("false-positives", false_positives),
    ("power", powers),
    ("equivalence", equivalence),
    ("familywise", familywise),
];

fn main() -> ExitCode {
    let mut size = QUICK;
    let mut only = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--paper" => size = PAPER,
            "--only" => only = arguments.next(),
            _ => return usage(),
        }
    }
    let chosen = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if !SECTIONS.iter().any(|(name, _)| chosen(name)) {
        return usage();
    }
    println!(
        "{} simulated studies per cell; one standard error of a share: {}.\n",
        size.repetitions,
        errors_of(size.repetitions)
    );
    for (name, section) in SECTIONS {
        if chosen(name) {
            section(size);
        }
    }
    ExitCode::SUCCESS
}

/// Standard errors of shares of so many.
fn errors_of(of: u64) -> String {
    let error = |share: f64| 100.0 * (share * (1.0 - share) / of as f64).sqrt();
    format!("{:.2} points at 95 %, {:.2} at 50 %", error(0.95), error(0.5))
}

fn usage() -> ExitCode {
    let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    eprintln!("calibration [--paper] [--only {}]", names.join("|"));
    ExitCode::from(2)
}

/// A header and its rule.
fn header(first: &str, others: &[String]) {
    println!("| {first} | {} |", others.join(" | "));
    println!("|---|{}", "--:|".repeat(others.len()));
}

fn of_blocks() -> Vec<String> {
    BLOCKS.iter().map(|n| format!("{n} blocks")).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// A seed for every cell of every table.
fn cell(table: u64, row: usize, column: usize) -> u64 {
    table * 10_000 + row as u64 * 100 + column as u64
}

fn intervals(size: Size) {
    println!("### Coverage of 95 % intervals, in %, and width\n");
    println!(
        "Bootstraps draw {} resamples. The two-level ones, which draw every request, are made in the first {} studies ({}).",
        size.resamples,
        size.two_levels,
        errors_of(size.two_levels)
    );
    println!(
        "In brackets the median width over that of the narrowest interval for the same noise and blocks that holds 93 % \
         or more.\n"
    );
    for (row, noise) in NOISES.into_iter().enumerate() {
        eprintln!("intervals: {}", noise.name);
        let columns: Vec<[Option<Cell>; METHODS.len()]> = BLOCKS
            .iter()
            .enumerate()
            .map(|(column, blocks)| coverage::coverage(cell(1, row, column), noise, *blocks, size))
            .collect();
        header(&format!("**{}**", noise.name), &of_blocks());
        for (method, name) in METHODS.iter().enumerate() {
            let shown: Vec<String> = columns.iter().map(|column| with_width(column, method)).collect();
            println!("| {name} | {} |", shown.join(" | "));
        }
        println!();
    }
}

/// Coverage and relative width. The width of a ratio of two arms is not comparable.
fn with_width(column: &[Option<Cell>], method: usize) -> String {
    let Some(Cell { coverage, width }) = column[method] else { return "none".into() };
    let holding = |(other, cell): (usize, &Option<Cell>)| {
        cell.filter(|c| other != coverage::PAIRED && c.coverage >= 0.93).map(|c| c.width)
    };
    let best = column.iter().enumerate().filter_map(holding).fold(f64::INFINITY, f64::min);
    if method == coverage::PAIRED || best.is_infinite() {
        return percent(coverage);
    }
    format!("{} ({:.2})", percent(coverage), width / best)
}

fn pooled(size: Size) {
    eprintln!("pooled tokens");
    let (requests, tokens) = coverage::TOKEN_DESIGN;
    println!("### Coverage where every token counts as a replicate, in %\n");
    println!(
        "{requests} requests of {tokens} tokens per block; standard deviations of blocks, requests and tokens 0.4, 1 and 4 ms.\n"
    );
    header("", &of_blocks());
    let shown: Vec<String> = BLOCKS
        .iter()
        .enumerate()
        .map(|(column, blocks)| {
            percent(coverage::pooled_tokens(cell(2, 0, column), *blocks, size.repetitions))
        })
        .collect();
    println!("| *all tokens pooled, t* | {} |\n", shown.join(" | "));
}

fn false_positives(size: Size) {
    println!("### An arm against itself: differences found at alpha 5 %, in %\n");
    for (row, noise) in NOISES.into_iter().enumerate() {
        eprintln!("false positives: {}", noise.name);
        let columns: Vec<[f64; TESTS.len()]> = BLOCKS
            .iter()
            .enumerate()
            .map(|(column, n)| errors::false_positives(cell(3, row, column), noise, *n, size.repetitions))
            .collect();
        header(&format!("**{}**", noise.name), &of_blocks());
        for (test, name) in TESTS.iter().enumerate() {
            let shown: Vec<String> = columns.iter().map(|column| percent(column[test])).collect();
            println!("| {name} | {} |", shown.join(" | "));
        }
        println!();
    }
}

fn powers(size: Size) {
    eprintln!("power");
    println!("### Power at the planner's number of blocks, in %\n");
    println!("The planner was asked for 90 %, Welch's test on block values at alpha 5 %.\n");
    header("noise, effect", &["blocks per arm".into(), "power".into()]);
    let cases: [(Noise, f64); 6] =
        [(NORMAL, 0.02), (NORMAL, 0.03), (ON_LOGS, 0.05), (ON_LOGS, 0.1), (RAW_HALF, 0.5), (RAW_ONE, 1.0)];
    for (row, (noise, effect)) in cases.into_iter().enumerate() {
        let simulations = Resampling::new(100_000, 1);
        let blocks = errors::planned(noise.components(), noise.effect(effect), simulations).unwrap();
        let power = errors::power_of(cell(4, row, 0), noise, effect, blocks, size.repetitions);
        println!("| {}, {:.0} % | {blocks} | {} |", noise.name, 100.0 * effect, percent(power));
    }
    println!(
        "\nPlanned from the components of a pilot instead of the true ones ({} pilots, {}, effect 10 %):\n",
        size.pilots, ON_LOGS.name
    );
    header("blocks of the pilot", &["blocks per arm: 10 %, median, 90 %".into(), "power".into()]);
    for (row, pilot) in BLOCKS.into_iter().enumerate() {
        let found = errors::from_pilots(cell(5, row, 0), 0.1, pilot, size.pilots);
        let [low, middle, high] = found.blocks;
        println!("| {pilot} | {low}, {middle}, {high} | {} |", percent(found.power));
    }
    println!();
}

fn equivalence(size: Size) {
    eprintln!("equivalence");
    println!("### Equivalence shown at alpha 5 %, in %\n");
    println!("{}; where the true ratio is the margin itself every one is an error.\n", ON_LOGS.name);
    header("margin, true ratio, arms", &of_blocks());
    for (row, (margin, at_margin)) in
        [(0.03, true), (0.15, true), (0.03, false), (0.15, false)].into_iter().enumerate()
    {
        let ratio = if at_margin { 1.0 + margin } else { 1.0 };
        let columns: Vec<[f64; 2]> = BLOCKS
            .iter()
            .enumerate()
            .map(|(column, n)| errors::equivalence(cell(6, row, column), margin, ratio, *n, size.repetitions))
            .collect();
        for (design, arms) in ["own blocks", "shared blocks"].into_iter().enumerate() {
            let shown: Vec<String> = columns.iter().map(|column| percent(column[design])).collect();
            println!("| {:.0} %, {ratio}, {arms} | {} |", 100.0 * margin, shown.join(" | "));
        }
    }
    println!();
}

fn familywise(size: Size) {
    println!("### Tables of {} hypotheses with at least one false difference, in %\n", errors::HYPOTHESES);
    println!("{}, Welch on block values, alpha 5 % for the table.\n", ON_LOGS.name);
    header("true effects, correction", &of_blocks());
    for (row, real) in [0, 10].into_iter().enumerate() {
        eprintln!("familywise: {real} true effects");
        let columns: Vec<[f64; 2]> = BLOCKS
            .iter()
            .enumerate()
            .map(|(column, n)| errors::familywise(cell(7, row, column), *n, real, size.repetitions))
            .collect();
        for (which, correction) in ["none", "Holm"].into_iter().enumerate() {
            let shown: Vec<String> = columns.iter().map(|column| percent(column[which])).collect();
            println!("| {real}, {correction} | {} |", shown.join(" | "));
        }
    }
}
