//! What is asked of the figures: is our arm within 3 per cent of another, and which share of the memory's bandwidth does
//! each use. The unit is the block; a question that the blocks do not answer is inconclusive.

use std::{collections::BTreeMap, num::NonZeroUsize};

use chimera_stats::{Sample, hypothesis, ratio};

use crate::{
    Arm,
    arm::{Figures, Setting, middle},
};

/// The margin within which two arms are called equal.
const MARGIN: f64 = 0.03;

/// Passes over memory, of which the best counts.
const PASSES: usize = 10;

pub(crate) fn print(arms: &[Arm], seen: &BTreeMap<&str, Vec<Figures>>, setting: &Setting) {
    let Some(ours) = arms.first() else { return };
    let threads = NonZeroUsize::new(setting.threads).unwrap_or(NonZeroUsize::MIN);
    let bandwidth = chimera_telemetry::memory_read_rate(threads, PASSES).expect("a pass takes time");
    println!("memory is read at {:.1} GB/s on {} threads\n", bandwidth / 1e9, setting.threads);
    println!("| arm | prefill, tok/s | decode, tok/s | share of bandwidth | same tokens |");
    println!("|:----|---------------:|--------------:|-------------------:|:------------|");
    for arm in arms {
        let figures = &seen[arm.key];
        let rate = |tokens: usize, seconds: fn(&Figures) -> f64| {
            middle(figures.iter().map(|f| tokens as f64 / seconds(f)))
        };
        let decode = rate(setting.decode, |f| f.decode_s);
        let bytes = figures[0].bytes_per_token.unwrap_or(setting.bytes_per_token);
        let share = decode * bytes as f64 / bandwidth;
        let same = match &figures[0].tokens {
            // It does not tell what it said.
            tokens if tokens.is_empty() => "–".to_owned(),
            _ if figures.iter().all(|f| f.tokens == seen[ours.key][0].tokens) => "yes".to_owned(),
            tokens => {
                let both = tokens.iter().zip(&seen[ours.key][0].tokens);
                format!("the first {}", both.take_while(|(a, b)| a == b).count())
            }
        };
        println!(
            "| {} | {:.1} | {decode:.1} | {:.0} % | {} |",
            arm.name,
            rate(setting.prompt, |f| f.prefill_s),
            share * 100.0,
            same
        );
    }
    println!("\nmedians of blocks; time of ours over time of the other, 95 % interval over blocks:\n");
    println!("| other | phase | ratio | 95 % | within {:.0} % |", MARGIN * 100.0);
    println!("|:------|:------|------:|:-----|:-----------|");
    let mut rates = Vec::new();
    for arm in &arms[1..] {
        for (phase, seconds) in
            [("prefill", (|f| f.prefill_s) as fn(&Figures) -> f64), ("decode", |f| f.decode_s)]
        {
            let times = |key: &str| seen[key].iter().map(seconds).collect::<Vec<f64>>();
            let (a, b) = (times(ours.key), times(arm.key));
            let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
            let estimate = ratio::paired(a, b, 0.95).unwrap();
            let interval = estimate
                .interval
                .map_or_else(|| "-".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high));
            let margin = hypothesis::Margin::ratio(MARGIN);
            let equal = hypothesis::equivalent_paired_ratio(a, b, margin, 0.05).unwrap();
            let verdict = match (equal.is_shown(), estimate.interval) {
                (true, _) => "yes",
                (_, Some(i)) if i.high < 1.0 => "no: ours is faster",
                (_, Some(i)) if i.low > 1.0 + MARGIN => "no: ours is slower",
                _ => "inconclusive",
            };
            println!("| {} | {phase} | {:.3} | {interval} | {verdict} |", arm.name, estimate.point);
            if let (Some(i), "decode") = (estimate.interval, phase) {
                let (low, high) = (1.0 / i.high, 1.0 / i.low);
                rates.push(format!("{}: {:.3}, 95 % {low:.3} to {high:.3}", arm.name, 1.0 / estimate.point));
            }
        }
    }
    println!("\ndecode rate of ours over that of the other:");
    for rate in rates {
        println!("- {rate}");
    }
}
