//! One reader per original layout, by subject.

mod copies;
mod multi_agent;
mod python;
mod report_quality;
mod rust_pair;
mod rust_single;
mod tr108;
mod tr117;
mod tr118_builds;
mod tr118_raw;
mod tr119;
mod tr120;
mod tr121;

use serde_json::Value;

use crate::{
    ImportError, SourceRecord,
    cells::Table,
    source::{Entry, Source},
};

/// A file to write.
#[derive(Debug)]
pub(crate) struct Output {
    pub path: String,
    pub bytes: Vec<u8>,
    pub rows: Option<u64>,
    pub sources: Vec<SourceRecord>,
}

type Outputs = Result<Vec<Output>, ImportError>;
type Reader = fn(&mut Source) -> Outputs;

/// Name of the data, reader.
pub(crate) const ALL: &[(&str, Reader)] = &[
    ("TR108: one inference", tr108::read),
    ("TR109, TR110, TR116: agents in Python", python::read),
    ("TR111, TR116: an agent in Rust", rust_single::read),
    ("TR113-TR117: two agents in Rust", rust_pair::read),
    ("TR117: event loop and buffers", multi_agent::read),
    ("TR117: published summary", tr117::read),
    ("TR118: records of runs", tr118_raw::read),
    ("TR118: exports, engines, perplexity", tr118_builds::read),
    ("TR119: cost and energy", tr119::read),
    ("TR120: compiled graphs", tr120::read),
    ("TR121: scaling", tr121::read),
    ("configurations and published analyses", copies::read),
];

/// The file of a table, made of everything that was read since the last one; none when nothing was.
fn table(source: &mut Source, path: &str, table: &Table) -> Option<Output> {
    let sources = source.take_read();
    made(path, table, &sources)
}

/// The file of a table made of these sources.
fn made(path: &str, table: &Table, sources: &[SourceRecord]) -> Option<Output> {
    (!sources.is_empty()).then(|| Output {
        path: path.to_owned(),
        bytes: table.write().into_bytes(),
        rows: Some(table.rows()),
        sources: sources.to_vec(),
    })
}

/// Adds the rows that `rows` finds in each JSON file. A file whose layout is another one is noted, and adds none.
fn from_json(
    source: &mut Source,
    into: &mut Table,
    files: &[Entry],
    rows: impl Fn(&Value, &Entry) -> Result<Vec<Vec<String>>, String>,
) -> Result<(), ImportError> {
    for entry in files {
        let Some(value) = source.json(entry)? else { continue };
        let added = rows(&value, entry).and_then(|rows| rows.into_iter().try_for_each(|row| into.push(row)));
        if let Err(reason) = added {
            source.trouble(entry, None, &reason);
        }
    }
    Ok(())
}

/// Adds the row that `row` makes of each row of the CSV files. A row that does not fit is noted, and left out.
fn from_csv(
    source: &mut Source,
    into: &mut Table,
    files: &[Entry],
    mut row: impl FnMut(&crate::source::Record, &Entry) -> Result<Option<Vec<String>>, String>,
) -> Result<(), ImportError> {
    for entry in files {
        for record in source.csv(entry)? {
            let added = row(&record, entry).and_then(|row| row.map_or(Ok(()), |row| into.push(row)));
            if let Err(reason) = added {
                source.trouble(entry, Some(record.line), &reason);
            }
        }
    }
    Ok(())
}

/// A part of a path, counted from 0.
fn part(path: &str, index: usize) -> Result<String, String> {
    path.split('/').nth(index).map(str::to_owned).ok_or_else(|| format!("the path has no part {index}"))
}
