//! A Markdown table whose columns are padded, so that the same text reads well in a terminal and renders in a pull
//! request. It knows nothing of units; cells come formatted.

use std::fmt::Write as _;

/// The table: the first line is the head, the first `text` columns are left-aligned, the others right-aligned. Lines that
/// are shorter than the head are filled up with en dashes; a `|` in a cell is escaped. Empty without a head.
#[must_use]
pub fn aligned(lines: &[Vec<String>], text: usize) -> String {
    let Some(head) = lines.first() else { return String::new() };
    let cells: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let cell =
                |i| line.get(i).map_or_else(|| "–".to_owned(), |cell: &String| cell.replace('|', "\\|"));
            (0..head.len()).map(cell).collect()
        })
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|i| cells.iter().map(|line| line[i].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut out = String::new();
    for (number, line) in cells.iter().enumerate() {
        out.push('|');
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let width = *width;
            let _ = if column < text {
                write!(out, " {cell:<width$} |")
            } else {
                write!(out, " {cell:>width$} |")
            };
        }
        out.push('\n');
        if number == 0 {
            out.push('|');
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                let _ = if column < text { write!(out, ":{dashes}|") } else { write!(out, "{dashes}:|") };
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_and_short_lines_filled() {
        let lines = [
            vec!["name".to_owned(), "µs".to_owned()],
            vec!["a|b".to_owned(), "1.5".to_owned()],
            vec!["c".to_owned()],
        ];
        let expected = "| name |  µs |\n|:-----|----:|\n| a\\|b | 1.5 |\n| c    |   – |\n";
        assert_eq!(aligned(&lines, 1), expected);
        assert_eq!(aligned(&[], 1), "");
    }
}
