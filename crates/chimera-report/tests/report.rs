//! The crate from outside: what a study writes is what a reader gets, the same each time, and no text escapes into markup.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use chimera_report::{
    Axis, Cell, ClaimStatus, Column, Draft, Findings, Headline, Invalid, NoteKind, Plot, Point, ReportError,
    Section, Series, Style, Table, Verdict, cells, csv, headline_json, headline_text, html, markdown, svg,
    write_all,
};
use chimera_stats::{Estimate, Interval};

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

/// Every tag is closed in order, every attribute is quoted, every id is there once. `script` and `style` hold raw text.
fn assert_well_formed(markup: &str) {
    const VOID: [&str; 3] = ["meta", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids = HashSet::new();
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        assert!(
            !rest[..start].contains('>'),
            "a bare > before {:?}",
            &rest[start..rest.len().min(start + 40)]
        );
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {:?}", &rest.chars().take(60).collect::<String>());
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '!'), "tag {tag:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag:?}");
        if let Some((_, after)) = tag.split_once(" id=\"") {
            let id = after.split('"').next().unwrap();
            assert!(ids.insert(id.to_owned()), "id {id:?} twice");
        }
        if tag.ends_with('/') || VOID.contains(&name) {
            continue;
        }
        if name == "script" || name == "style" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).unwrap() + close.len()..];
            continue;
        }
        open.push(name);
    }
    assert!(open.is_empty(), "never closed: {open:?}");
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
fn plots_that_would_lie_are_refused() {
    let draw = |x: Axis, y: Axis, series: Series| {
        let plot = Plot::new("p", "P", x, y).series(series);
        Draft::new("s", "S").section(Section::new("s", "S").plot(plot)).finish()
    };
    let linear = || Axis::linear("v", "");
    let bars = || Series::new("b", Style::Bars).point(0.0, 1.0);
    let points = || Series::new("p", Style::Points);
    let refused = |result: Result<Findings, Invalid>, word: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with("plot `p`: ") && message.contains(word), "{message}");
    };
    refused(draw(Axis::categories("c", ["a"]), Axis::log("v", ""), bars()), "has a zero");
    refused(draw(linear(), linear(), bars()), "need categories");
    refused(draw(linear(), Axis::categories("c", ["a"]), points()), "only the x axis");
    refused(draw(Axis::categories("c", ["a"]), linear(), points().point(1.0, 1.0)), "index of a category");
    refused(draw(linear(), Axis::log("v", ""), points().point(1.0, 0.0)), "logarithmic");
    refused(draw(linear(), linear(), points().point(1.0, f64::NAN)), "finite");
    refused(draw(linear(), linear(), points().interval(1.0, 5.0, 6.0, 7.0)), "outside its interval");
    assert!(draw(linear(), Axis::log("v", ""), points().interval(1.0, 1.0, -1.0, 2.0)).is_ok());
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

/// The text elements of a drawing that lie inside the plot or on an axis, as (x, y, anchor, text).
fn texts(drawing: &str, class: &str) -> Vec<(f64, f64, String)> {
    drawing
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("<text class=\"{class}\" x=\"")))
        .map(|line| {
            let (x, rest) = line.split_once('"').unwrap();
            let y = rest.split('"').nth(1).unwrap();
            let content = rest.split_once('>').unwrap().1.trim_end_matches("</text>");
            (x.parse().unwrap(), y.parse().unwrap(), content.to_owned())
        })
        .collect()
}

#[test]
fn labels_do_not_overlap() {
    let mut series = Series::new("crowd", Style::Points);
    for index in 0..40 {
        let (x, y) = (f64::from(index % 8), f64::from(index / 8) * 0.1 + f64::from(index % 3) * 0.01);
        series.push(Point { x, y, low: None, high: None, label: Some(format!("label {index}")) });
    }
    let plot = Plot::new("p", "P", Axis::linear("x", ""), Axis::linear("y", "")).series(series);
    let drawing = svg(&plot);
    let placed = texts(&drawing, "label");
    assert!(placed.len() >= 10, "{}", placed.len());
    // Six units a letter is more than common sans-serif faces take at this size.
    for (index, (x, y, text)) in placed.iter().enumerate() {
        for (other_x, other_y, other) in &placed[index + 1..] {
            let apart = (x - other_x).abs() >= 6.0 * text.len() as f64 || (y - other_y).abs() >= 12.0;
            assert!(apart, "{text:?} and {other:?}");
        }
    }
    assert!(drawing.contains("<title>crowd: label 39: 7; "), "the tooltip has a label that found no room");
}

#[test]
fn an_interval_that_reaches_zero_is_open_on_a_log_axis() {
    let drawing = |low: f64| {
        let series = Series::new("s", Style::Points).interval(1.0, 5.0, low, 9.0).point(2.0, 0.5);
        svg(&Plot::new("p", "P", Axis::linear("x", ""), Axis::log("y", "")).series(series))
    };
    assert!(drawing(-1.0).contains("l4 6l4 -6"));
    assert!(!drawing(1.0).contains("l4 6l4 -6"));
}

#[test]
fn series_differ_without_colour() {
    let mut plot = Plot::new("p", "P", Axis::linear("x", ""), Axis::linear("y", ""));
    for index in 0..8 {
        plot = plot.series(
            Series::new(format!("s{index}"), Style::Line).point(0.0, f64::from(index)).point(1.0, 1.0),
        );
    }
    let drawing = svg(&plot);
    let dashes: HashSet<&str> = drawing
        .lines()
        .filter(|line| line.starts_with("<path class=\"line\""))
        .map(|line| line.split("stroke-dasharray").nth(1).unwrap_or(""))
        .collect();
    assert_eq!(dashes.len(), 8);
}

#[test]
fn strange_plots_are_drawn() {
    let empty = Plot::new("p", "", Axis::log("", ""), Axis::linear("", ""));
    let no_points =
        empty.clone().series(Series::new("s", Style::Band)).series(Series::new("t", Style::PointsLine));
    let one = Plot::new("p", "P", Axis::log("x", "B"), Axis::log("y", "ns"))
        .series(Series::new("s", Style::Line).point(1e140, 1e-140));
    let wide = Plot::new("p", "P", Axis::linear("x", ""), Axis::linear("y", ""))
        .series(Series::new("s", Style::Points).point(-1e150, -1e150).point(1e150, 1e150).point(0.0, 0.0));
    let many = Plot::new(
        "p",
        "P",
        Axis::categories("c", (0..300).map(|i| format!("category {i}"))),
        Axis::linear("y", ""),
    )
    .series(Series::new("s", Style::Bars).point(299.0, -4.0).point(3.0, 4.0));
    for plot in [empty, no_points, one, wide, many] {
        let findings = Draft::new("s", "S").section(Section::new("s", "S").plot(plot)).finish().unwrap();
        let page = html(&findings);
        assert_well_formed(&page);
        assert!(!page.contains("NaN") && !page.contains("\"inf"), "{page}");
    }
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
    let start = std::time::Instant::now();
    write_all(&findings, dir.path()).unwrap();
    let taken = start.elapsed();
    println!("200 tables and 100 plots in {taken:?}");
    // Far above what it takes, so that a busy machine does not fail it; a quadratic slip would.
    assert!(taken.as_secs() < 20, "{taken:?}");
}
