//! The documentation and the code define the same metrics, with the same units.

use std::{collections::BTreeMap, fs, path::Path};

use chimera_records::Metric;

#[test]
fn the_documentation_and_the_code_define_the_same_metrics() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = fs::read_to_string(page).expect("docs/metrics.md");
    let section =
        page.split("## One request").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let documented: BTreeMap<String, String> = section
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.trim_end_matches('`').to_owned();
            Some((name, cells.next()?.to_owned()))
        })
        .collect();
    let coded: BTreeMap<String, String> =
        Metric::ALL.iter().map(|metric| (metric.name().to_owned(), metric.unit().to_owned())).collect();
    assert_eq!(documented, coded);
}
