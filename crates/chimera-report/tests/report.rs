//! The crate from outside: what a study writes is what a reader gets, the same each time, and no text escapes into markup.

#![expect(clippy::unwrap_used, reason = "a test helper that unwraps fails its test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use chimera_report::{
    Axis, Cell, ClaimStatus, Column, Draft, Findings, Headline, Invalid, NoteKind, Plot, Point, ReportError,
    Section, Series, Style, Table, Verdict, cells, csv, headline_json, headline_text, html, markdown, svg,
    write_all,
};
use chimera_stats::{Estimate, Interval};
use common::assert_well_formed;

const HOSTILE: &str = "<script>alert(1)</script> \"'&| `x` *y* \u{1b}[31m ]]> --> =1+1 \\ é 漢";

fn estimate(point: f64, low: f64, high: f64) -> Estimate {
    Estimate {
        point,
        standard_error: Some(0.1 + 0.2),
        interval: Some(Interval { low, high, level: 0.95 }),
        method: "mean, t".into(),
        unit: "block".into(),
        n: 5,
    }
}

fn small() -> Draft {
    let table = Table::new("latency", "Latency by model")
        .caption("Mean over blocks; the *block* is the unit of replication.")
        .column(Column::text("model", "Model"))
        .column(Column::number("parameters", "Parameters", ""))
        .column(Column::number("decode", "Decode", "ns"))
        .column(Column::number("power", "Power", "W"))
        .column(Column::text("status", "Status"))
        .column(Column::text("verdict", "Verdict"))
        .row(cells![
            "tiny",
            102_714_u64,
            estimate(254_330.74, 239_000.0, 271_000.0),
            12.5,
            ClaimStatus::Reproduced,
            Verdict::Supported
        ])
        .row(cells!["100m", 96_088_320_u64, Cell::missing("the block failed"), 0.0, "", Verdict::NotMeasured])
        .row(cells![
            "=SUM(A1)",
            -3_i64,
            estimate(1.5e6, 1.5e6, 1.5e6),
            Cell::missing("no counter"),
            "a|b",
            Verdict::Equivalent
        ]);
    let plot = Plot::new("growth", "Latency grows", Axis::log("parameters", ""), Axis::log("latency", "ns"))
        .caption("Bars are 95 % intervals.")
        .series(
            Series::new("decode", Style::PointsLine)
                .estimate(102_714.0, &estimate(254_330.74, 239_000.0, 271_000.0))
                .label("tiny")
                .interval(96_088_320.0, 4.8e7, -1.0, 6e7)
                .label("100m"),
        )
        .horizontal(3.3e7, "30 tokens/s");
    Draft::new("tr000", "A small report")
        .summary("One table and one plot.")
        .provenance("Seed", "42")
        .headline(
            Headline::new("h1", "Decode", Verdict::Inconclusive, "Two points are *not* a law.")
                .value(estimate(12.345, 11.9, 12.8), "ms"),
        )
        .headline(
            Headline::new("h2", "Batch", Verdict::NotMeasured, "").value(Cell::missing("left out"), "ms"),
        )
        .gap("gpt2-100m", "the block failed; run `--resume`")
        .section(
            Section::new("latency", "Latency")
                .paragraph("Text with `code`.")
                .list(["first", "- second"])
                .note(NoteKind::Limit, "One host.")
                .table(table)
                .plot(plot),
        )
}

fn hostile() -> Draft {
    let table = Table::new("t", HOSTILE)
        .caption(HOSTILE)
        .column(Column::text("a", HOSTILE))
        .column(Column::number("b", HOSTILE, HOSTILE))
        .row(cells![HOSTILE, Cell::missing(HOSTILE)])
        .row(cells![HOSTILE, Cell::number_in(1.0, HOSTILE)])
        .row(cells![
            HOSTILE,
            Estimate { method: HOSTILE.into(), unit: HOSTILE.into(), ..estimate(2.0, 1.0, 3.0) }
        ]);
    let mut bars = Series::new(HOSTILE, Style::Bars);
    bars.push(Point { label: Some(HOSTILE.into()), ..Point::estimate(0.0, &estimate(2.0, 1.0, 3.0)) });
    let plot =
        Plot::new("p", HOSTILE, Axis::categories(HOSTILE, [HOSTILE, "b"]), Axis::linear(HOSTILE, HOSTILE))
            .caption(HOSTILE)
            .series(bars)
            .horizontal(1.0, HOSTILE);
    Draft::new("s", HOSTILE)
        .summary(HOSTILE)
        .provenance(HOSTILE, HOSTILE)
        .gap(HOSTILE, HOSTILE)
        .headline(Headline::new("h", HOSTILE, Verdict::Supported, HOSTILE).value(HOSTILE, HOSTILE))
        .section(
            Section::new("s", HOSTILE)
                .paragraph(HOSTILE)
                .list([HOSTILE])
                .note(NoteKind::Warning, HOSTILE)
                .table(table)
                .plot(plot),
        )
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/report")
}

/// Compares with the file of that name; `CHIMERA_BLESS=1` writes it instead.
fn golden(name: &str, content: &str) {
    let path = fixtures().join(name);
    if std::env::var_os("CHIMERA_BLESS").is_some() {
        fs::write(&path, content).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(expected == content, "{name} differs from the fixture; if it should, run with CHIMERA_BLESS=1");
}

fn assert_loads_nothing(markup: &str) {
    for loader in
        ["src=", "<link", "@import", "<img", "<iframe", "<object", "xlink", "fetch(", "http:", "https:", "//"]
    {
        let found =
            markup.lines().find(|line| line.contains(loader) && !line.trim_start().starts_with("// "));
        assert_eq!(found, None, "{loader}");
    }
    assert_eq!(markup.matches("url(").count(), markup.matches("url(#").count());
    assert!(!markup.replace("href=\"#", "").contains("href="), "a link that leaves the page");
}

#[test]
fn small_findings_match_their_fixtures() {
    let findings = small().finish().unwrap();
    golden("small.json", &findings.to_json().unwrap());
    golden("small.md", &markdown(&findings));
    golden("small.headline.txt", &headline_text(&findings));
    golden("small.headline.json", &headline_json(&findings).unwrap());
    golden("small.latency.csv", &csv(findings.tables().next().unwrap()));
    golden("small.growth.svg", &svg(findings.plots().next().unwrap()));
}

#[test]
fn a_report_can_be_rendered_from_its_json_alone() {
    let findings = small().finish().unwrap();
    let json = findings.to_json().unwrap();
    let again = Findings::from_json(&json).unwrap();
    assert_eq!(again, findings);
    assert_eq!(again.to_json().unwrap(), json);
    assert_eq!(html(&again), html(&findings));
    assert_eq!(markdown(&again), markdown(&findings));
    let hostile = hostile().finish().unwrap();
    assert_eq!(Findings::from_json(&hostile.to_json().unwrap()).unwrap(), hostile);
}

#[test]
fn every_f64_survives_the_json() {
    let values =
        [0.1 + 0.2, 1e-310, f64::MAX, f64::MIN_POSITIVE, -0.0, 2.0_f64.sqrt(), 123_456_789.123_456_79];
    let mut table = Table::new("t", "T").column(Column::number("v", "V", ""));
    for value in values {
        table.push_row(cells![value]);
    }
    let findings = Draft::new("s", "S").section(Section::new("s", "S").table(table)).finish().unwrap();
    let again = Findings::from_json(&findings.to_json().unwrap()).unwrap();
    let read: Vec<u64> = again
        .tables()
        .flat_map(|table| &table.rows)
        .map(|row| match &row[0] {
            Cell::Number { value, .. } => value.to_bits(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(read, values.map(f64::to_bits));
}

#[test]
fn markup_is_well_formed_and_loads_nothing() {
    for draft in [small(), hostile(), Draft::new("s", "Empty")] {
        let findings = draft.finish().unwrap();
        let page = html(&findings);
        assert_well_formed(&page);
        assert_loads_nothing(&page);
        assert_eq!(page.matches("<script>").count(), 1, "only our own script");
        for plot in findings.plots() {
            let drawing = svg(plot);
            assert_well_formed(&drawing);
            assert_loads_nothing(&drawing.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""));
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let findings = hostile().finish().unwrap();
    let page = html(&findings);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let text = markdown(&findings);
    assert!(!text.contains("<script"));
    // Each row of a table has as many bars that are not escaped as its heading.
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut lines = text.lines().filter(|line| line.starts_with('|')).peekable();
    while let Some(line) = lines.next() {
        assert!(bars(line) >= 3, "{line}");
        if let Some(next) = lines.peek().filter(|next| next.contains(":--")) {
            assert_eq!(bars(line), bars(next), "{line}");
        }
    }
    for out in [page, text, headline_text(&findings)] {
        assert!(!out.contains('\u{1b}'));
    }
    let drawing = svg(findings.plots().next().unwrap());
    assert!(!drawing.contains("<script") && !drawing.contains('\u{1b}'));
}

#[test]
fn missing_is_a_dash_with_its_reason_and_never_zero() {
    let findings = small().finish().unwrap();
    let page = html(&findings);
    assert!(page.contains("data-missing title=\"the block failed\"><span class=\"missing\">– "));
    assert!(page.contains("<sup>1</sup> the block failed"));
    let text = markdown(&findings);
    assert!(text.contains("| – <sup>1</sup> |") && text.contains("<sup>1</sup> the block failed"));
    assert!(text.contains("| 0 |"), "a measured zero is a zero");
    assert!(headline_text(&findings).contains("– (left out)"));
}

#[test]
fn what_contradicts_itself_is_refused_with_its_place() {
    let columns = || Table::new("t", "T").column(Column::text("a", "A")).column(Column::number("b", "B", ""));
    let with = |table: Table| {
        Draft::new("s", "S").section(Section::new("s", "S").table(table)).finish().unwrap_err()
    };
    let short = with(columns().row(cells!["x", 1.0]).row(cells!["y"]));
    assert_eq!(short.to_string(), "table `t`, row 2: 1 cells for 2 columns");
    let nan = with(columns().row(cells!["x", f64::NAN]));
    assert_eq!(nan.to_string(), "table `t`, row 1, column `b`: the value is not a finite number");
    let infinite = with(columns().row(cells!["x", estimate(1.0, 0.0, f64::INFINITY)]));
    assert_eq!(infinite.to_string(), "table `t`, row 1, column `b`: the interval is not a finite number");
    let reversed = with(columns().row(cells!["x", estimate(1.0, 2.0, 0.0)]));
    assert!(matches!(reversed, Invalid::BadInterval { .. }));
    let repeated = with(columns().column(Column::text("a", "A")));
    assert_eq!(repeated.to_string(), "column of table `t`: id `a` occurs twice");

    assert_eq!(with(Table::new("t", "T")).to_string(), "table `t` has no columns");

    for id in ["", "Upper", "../x", "a b", "a.b", "é", &"x".repeat(101)] {
        let error = Draft::new("s", "S").section(Section::new(id, "S")).finish().unwrap_err();
        assert_eq!(error, Invalid::BadId { kind: "section".into(), id: id.into() });
    }
    let twice = Section::new("s", "S").table(columns()).table(columns());
    let error = Draft::new("s", "S").section(twice).finish().unwrap_err();
    assert_eq!(error, Invalid::DuplicateId { kind: "table".into(), id: "t".into() });
    let headline = Headline::new("h", "H", Verdict::Supported, "").value(f64::INFINITY, "");
    assert!(matches!(Draft::new("s", "S").headline(headline).finish(), Err(Invalid::NotFinite { .. })));
}

#[test]
fn json_of_another_kind_is_refused() {
    let json = small().finish().unwrap().to_json().unwrap();
    let newer = json.replacen("\"schema\": 1", "\"schema\": 2", 1);
    assert!(matches!(Findings::from_json(&newer), Err(ReportError::NewerSchema { found: 2, known: 1 })));
    let unknown = json.replacen("\"study\"", "\"colour\": 1, \"study\"", 1);
    assert!(matches!(Findings::from_json(&unknown), Err(ReportError::Unreadable(_))));
    assert!(matches!(Findings::from_json(&json[..json.len() / 2]), Err(ReportError::Unreadable(_))));
    let older = json.replacen("\"schema\": 1", "\"schema\": 0", 1);
    assert!(matches!(Findings::from_json(&older), Err(ReportError::Invalid(Invalid::UnknownSchema(0)))));
    let unchecked: Result<Findings, _> = serde_json::from_str(&json.replacen("\"tr000\"", "\"../x\"", 1));
    assert!(unchecked.is_err());
}

#[test]
fn everything_is_written_and_the_same_twice() {
    let findings = small().finish().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a/b"), dir.path().join("c"));
    let paths = write_all(&findings, &first).unwrap();
    write_all(&findings, &second).unwrap();
    write_all(&findings, &second).unwrap();
    let names: Vec<_> =
        paths.iter().map(|path| path.strip_prefix(&first).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        ["findings.json", "tables/latency.csv", "plots/growth.svg", "report.md", "report.html"]
    );
    for name in names {
        assert_eq!(fs::read(first.join(name)).unwrap(), fs::read(second.join(name)).unwrap(), "{name}");
    }
    let left: usize =
        ["", "tables", "plots"].iter().map(|sub| fs::read_dir(second.join(sub)).unwrap().count()).sum();
    assert_eq!(left, 5 + 2, "five files, two folders, and nothing temporary");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("report.md/occupied")).unwrap();
    let error = write_all(&small().finish().unwrap(), dir.path()).unwrap_err();
    assert!(matches!(&error, ReportError::Write { path, .. } if path.ends_with("report.md")), "{error}");
    let left = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_large_report_is_rendered_fast() {
    let mut draft = Draft::new("s", "Large");
    for index in 0..200 {
        let mut table = Table::new(format!("t-{index}"), "T");
        for column in 0..8 {
            table = table.column(Column::number(format!("c-{column}"), "C", "ns"));
        }
        for row in 0..50 {
            table.push_row((0..8).map(|column| {
                let point = f64::from(row * 8 + column + 1) * 1.234_567e5;
                Cell::from(estimate(point, point * 0.9, point * 1.1))
            }));
        }
        draft = draft.section(Section::new(format!("t-{index}"), "S").table(table));
    }
    for index in 0..100 {
        let mut plot = Plot::new(format!("p-{index}"), "P", Axis::log("x", ""), Axis::log("y", "ms"));
        for series in 1..=4 {
            let mut line = Series::new(format!("s{series}"), Style::PointsLine);
            for step in 1..=20 {
                let (x, y) = (f64::from(step).exp2(), f64::from(series * step));
                line.push(Point {
                    x,
                    y,
                    low: Some(y * 0.9),
                    high: Some(y * 1.1),
                    label: Some("point".into()),
                });
            }
            plot = plot.series(line);
        }
        draft = draft.section(Section::new(format!("p-{index}"), "S").plot(plot));
    }
    let findings = draft.finish().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (what, render) in [
        ("html", html as fn(&Findings) -> String),
        ("markdown", markdown),
        ("json", |findings| findings.to_json().unwrap()),
        ("csv", |findings| findings.tables().map(csv).collect()),
        ("svg", |findings| findings.plots().map(svg).collect()),
    ] {
        let start = std::time::Instant::now();
        let length = render(&findings).len();
        println!("{what}: {length} bytes in {:?}", start.elapsed());
    }
    let start = std::time::Instant::now();
    write_all(&findings, dir.path()).unwrap();
    let taken = start.elapsed();
    println!("200 tables and 100 plots in {taken:?}");
    // Far above what it takes, so that a busy machine does not fail it; a quadratic slip would.
    assert!(taken.as_secs() < 20, "{taken:?}");
}
