//! The two GPU labels by run file: the file of one scenario and precision label is the unit of replication, and the file of
//! the other label with the same scenario and precision is its partner. Rows of one file are no replicates.

use std::collections::BTreeMap;

use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table, Verdict};
use chimera_stats::{
    Sample, effect,
    hypothesis::{self, Alternative, Margin},
    ratio,
};

use super::{
    super::family::{self, Corrected, Family, cell},
    FILES,
    moments::{count, short},
};
use crate::{ALPHA, Artifacts, LEVEL, ReplayError, Values};

/// Two labels are called equivalent within this share of the latency.
const MARGIN: f64 = 0.05;
const UNIT: &str = "run file";

/// One run file.
struct File {
    label: String,
    scenario: String,
    precision: String,
    n: usize,
    first: f64,
    median_rest: f64,
    mean_rest: f64,
    median: f64,
    mean: f64,
    /// Milliseconds in its name: when it was written.
    written: Option<u64>,
}

/// One value of a file.
type ValueOf = fn(&File) -> f64;

/// Pairs of files and whether the labels are equivalent.
pub(super) struct Pairs {
    rows: Vec<[f64; 3]>,
    names: Vec<String>,
    equivalent: bool,
}

/// Reads the files, adds `legacy.*` and the paired comparison.
pub(super) fn files(data: &Artifacts, values: &mut Values, tests: &mut Family) -> Result<Pairs, ReplayError> {
    let files = read(data)?;
    cold(values, &files);
    order(values, &files);
    let plain: Vec<&File> = files.iter().filter(|file| file.label == "gpu").collect();
    let partner = |file: &File| {
        let same = |other: &&File| (&other.scenario, &other.precision) == (&file.scenario, &file.precision);
        files.iter().filter(|other| other.label == "gpu_compile").find(same)
    };
    let pairs: Vec<(&File, &File)> = plain.iter().filter_map(|file| Some((*file, partner(file)?))).collect();
    values.put("label.files_without_partner", "", (files.len() - 2 * pairs.len()) as f64);
    let columns: [(&str, ValueOf); 3] =
        [("all", |file| file.mean), ("rest", |file| file.mean_rest), ("median", |file| file.median)];
    let mut equivalent = false;
    for (what, of) in columns {
        let plain: Vec<f64> = pairs.iter().map(|(plain, _)| of(plain)).collect();
        let compiled: Vec<f64> = pairs.iter().map(|(_, compiled)| of(compiled)).collect();
        let name = format!("label.{what}");
        let (Ok(a), Ok(b)) = (Sample::new(&compiled, UNIT), Sample::new(&plain, UNIT)) else {
            values.lacks(format!("{name}.difference"), "no run file has a partner");
            values.lacks(format!("{name}.ratio"), "no run file has a partner");
            continue;
        };
        family::put(values, format!("{name}.difference"), "ms", effect::mean_difference_paired(a, b, LEVEL));
        family::put(values, format!("{name}.ratio"), "", ratio::paired(a, b, LEVEL));
        tests.add(values, &name, hypothesis::paired_t(a, b, Alternative::TwoSided));
        if what == "rest" {
            family::put(values, "label.rest.d", "", effect::cohen_d_paired(a, b, LEVEL));
            equivalence(values, a, b, &mut equivalent);
        }
    }
    let rows = pairs
        .iter()
        .map(|(a, b)| [b.mean - a.mean, b.mean_rest - a.mean_rest, b.median - a.median])
        .collect();
    let names = pairs.iter().map(|(a, _)| format!("{} {}", a.scenario, a.precision)).collect();
    Ok(Pairs { rows, names, equivalent })
}

fn equivalence(values: &mut Values, a: Sample<'_>, b: Sample<'_>, equivalent: &mut bool) {
    match hypothesis::equivalent_paired_ratio(a, b, Margin::ratio(MARGIN), ALPHA) {
        Ok(tost) => {
            *equivalent = tost.is_shown();
            match tost.p() {
                Ok(p) => values.put("label.rest.equivalence.p", "", p),
                Err(why) => values.lacks("label.rest.equivalence.p", why.to_string()),
            }
        }
        Err(error) => values.lacks("label.rest.equivalence.p", error.to_string()),
    }
    let standard_error =
        effect::mean_difference_paired(a, b, LEVEL).ok().and_then(|estimate| estimate.standard_error);
    let detectable = standard_error
        .and_then(|error| hypothesis::minimum_detectable(error, a.len(), ALPHA, 0.8).ok().flatten());
    match detectable {
        Some(smallest) => values.put("label.rest.minimum_detectable", "ms", smallest),
        None => values.lacks("label.rest.minimum_detectable", "fewer than three pairs"),
    }
}

fn read(data: &Artifacts) -> Result<Vec<File>, ReplayError> {
    let columns = [
        "backend",
        "scenario",
        "quantization",
        "n_samples",
        "first_ms",
        "median_rest_ms",
        "mean_ms",
        "median_ms",
        "mean_excl_first_ms",
        "path",
    ];
    let table = data.table(FILES, &columns)?;
    let mut files: Vec<File> = Vec::new();
    for row in table.rows() {
        let file = File {
            label: short(row.text("backend")?),
            scenario: row.text("scenario")?.to_owned(),
            precision: row.text("quantization")?.to_owned(),
            n: count(&row, "n_samples")?,
            first: row.number("first_ms")?,
            median_rest: row.number("median_rest_ms")?,
            mean_rest: row.number("mean_excl_first_ms")?,
            median: row.number("median_ms")?,
            mean: row.number("mean_ms")?,
            written: written(row.text("path")?),
        };
        let same = |other: &File| {
            (&other.label, &other.scenario, &other.precision)
                == (&file.label, &file.scenario, &file.precision)
        };
        if files.iter().any(same) {
            return Err(row.malformed(format!(
                "the file of {} {} {} comes twice",
                file.label, file.scenario, file.precision
            )));
        }
        if file.n < 2 || file.median_rest <= 0.0 {
            return Err(
                row.malformed("a run file needs two samples or more, and a positive median".to_owned())
            );
        }
        files.push(file);
    }
    Ok(files)
}

/// `…/run_1765147485262.json` was written at that millisecond.
fn written(path: &str) -> Option<u64> {
    path.rsplit(['/', '\\']).next()?.strip_prefix("run_")?.strip_suffix(".json")?.parse().ok()
}

/// Means without first samples, and files whose first sample is cold.
fn cold(values: &mut Values, files: &[File]) {
    let mut rest = BTreeMap::new();
    for label in ["gpu", "gpu_compile"] {
        let own: Vec<&File> = files.iter().filter(|file| file.label == label).collect();
        let n: f64 = own.iter().map(|file| file.n as f64 - 1.0).sum();
        let mean = own.iter().map(|file| (file.n as f64 - 1.0) * file.mean_rest).sum::<f64>() / n;
        let over =
            |times: f64| own.iter().filter(|file| file.first > times * file.median_rest).count() as f64;
        values.put(format!("legacy.{label}.files"), "", own.len() as f64);
        values.put(format!("legacy.{label}.mean_without_first"), "ms", mean);
        values.put(format!("legacy.{label}.cold_files_2x"), "", over(2.0));
        values.put(format!("legacy.{label}.cold_files"), "", over(3.0));
        rest.insert(label, mean);
    }
    values.put("legacy.label.mean_delta_without_first", "ms", rest["gpu_compile"] - rest["gpu"]);
}

/// In which order the labels ran, and where cold files stand in it.
fn order(values: &mut Values, files: &[File]) {
    let mut scenarios: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.written.is_some()) {
        scenarios.entry(&file.scenario).or_default().push(file);
    }
    let (mut plain_first, mut cold, mut cold_opening) = (0, 0, 0);
    for files in scenarios.values() {
        let last_plain =
            files.iter().filter(|file| file.label == "gpu").filter_map(|file| file.written).max();
        let first_compiled =
            files.iter().filter(|file| file.label == "gpu_compile").filter_map(|file| file.written).min();
        plain_first += usize::from(last_plain.zip(first_compiled).is_some_and(|(a, b)| a < b));
        let opening = files.iter().filter_map(|file| file.written).min();
        for file in files.iter().filter(|file| file.first > 3.0 * file.median_rest) {
            cold += 1;
            cold_opening += usize::from(file.written == opening);
        }
    }
    values.put("order.scenarios", "", scenarios.len() as f64);
    values.put("order.plain_label_first", "", f64::from(plain_first as u32));
    values.put("order.cold_files", "", f64::from(cold as u32));
    values.put("order.cold_files_opening_their_scenario", "", f64::from(cold_opening as u32));
}

/// The end of the sentence on cold files.
fn opening(values: &Values) -> &'static str {
    match (values.point("order.cold_files"), values.point("order.cold_files_opening_their_scenario")) {
        (Some(cold), Some(opening)) if cold > 0.0 && cold == opening => {
            ": the cost of starting fell on whichever label came first."
        }
        _ => ".",
    }
}

impl Pairs {
    /// What the paired comparison says.
    pub(super) fn headline(&self, values: &Values, corrected: &Corrected) -> Headline {
        let verdict = if corrected.differs("label.rest") {
            Verdict::Supported
        } else if self.equivalent {
            Verdict::Equivalent
        } else {
            Verdict::Inconclusive
        };
        let words = match verdict {
            Verdict::Supported => "the labels differ",
            Verdict::Equivalent => "the labels are equivalent within that margin",
            _ => "neither a difference nor equivalence is shown",
        };
        Headline::new(
            "labels",
            "The compiled label changes the latency",
            verdict,
            format!(
                "Over pairs of run files without first samples, compiled over plain is {} ({}; margin of equivalence {} %, \
                 smallest detectable difference {}): {words}.",
                family::shown(values, "label.rest.ratio"),
                corrected.words("label.rest"),
                100.0 * MARGIN,
                family::shown(values, "label.rest.minimum_detectable"),
            ),
        )
        .value(cell(values, "label.rest.ratio"), "")
    }

    /// Tables and plot.
    pub(super) fn section(&self, values: &Values, corrected: &Corrected) -> Section {
        let mut table = Table::new("labels", "Compiled minus plain over pairs of run files")
            .caption("Pairs share scenario and precision label; t interval over pairs; p after Holm over the report.")
            .column(Column::text("what", "Value of a file"))
            .column(Column::number("difference", "Difference", "ms"))
            .column(Column::number("ratio", "Ratio", ""))
            .column(Column::text("p", "p"));
        for (name, words) in [
            ("label.all", "mean of all samples"),
            ("label.rest", "mean without the first sample"),
            ("label.median", "median of all samples"),
        ] {
            table.push_row([
                words.into(),
                cell(values, &format!("{name}.difference")),
                cell(values, &format!("{name}.ratio")),
                corrected.words(name).into(),
            ]);
        }
        let of = |name: &str| family::shown(values, name);
        let section = Section::new("labels", "The same question by our definitions")
            .paragraph(
                "Samples of one file share its process and its cold start, so the file is what was repeated. A row-wise test \
                 counts them as independent.",
            )
            .table(table)
            .paragraph(format!(
                "In {} of {} scenarios every file of the plain label was written before the first of the compiled one. Of {} \
                 files with a cold first sample, {} are the first that their scenario wrote{}",
                of("order.plain_label_first"),
                of("order.scenarios"),
                of("order.cold_files"),
                of("order.cold_files_opening_their_scenario"),
                opening(values),
            ));
        if self.rows.is_empty() {
            return section;
        }
        let mut all = Series::new("mean of all samples", Style::Points);
        let mut rest = Series::new("mean without the first sample", Style::Points).emphasised();
        for (index, row) in self.rows.iter().enumerate() {
            all = all.point(index as f64, row[0]);
            rest = rest.point(index as f64, row[1]);
        }
        section.plot(
            Plot::new(
                "labels-by-file",
                "Compiled minus plain by run file",
                Axis::categories("scenario and precision label", self.names.clone()),
                Axis::linear("difference", "ms"),
            )
            .caption("One point per pair of run files. Where the two series part, a first sample made the difference.")
            .series(all)
            .series(rest)
            .horizontal(0.0, "no difference"),
        )
    }
}
