//! Text without a font: widths are estimated from the proportions common to sans-serif faces, a little on the wide side.

use crate::escape;

use super::n;

/// Estimated width of a line at a size.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

fn advance(character: char) -> f64 {
    match character {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | 'I' => 0.32,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.37,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.98,
        'A'..='Z' => 0.70,
        other if u32::from(other) > 0x2e80 => 1.05,
        _ => 0.62,
    }
}

/// Breaks text into lines that fit; a word that does not fit alone is cut.
pub(crate) fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    let mut row = String::new();
    for word in text.split_whitespace() {
        let longer = if row.is_empty() { word.to_owned() } else { format!("{row} {word}") };
        if width(&longer, size) <= room {
            row = longer;
            continue;
        }
        if !row.is_empty() {
            rows.push(std::mem::take(&mut row));
        }
        row = cut(word, size, room);
    }
    if !row.is_empty() {
        rows.push(row);
    }
    rows
}

/// Cuts text that does not fit, with an ellipsis.
pub(crate) fn cut(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = width("…", size);
    for character in text.chars() {
        used += advance(character) * size;
        if used > room {
            break;
        }
        out.push(character);
    }
    format!("{}…", out.trim_end())
}

/// Writes a line of text; `anchor` is `start`, `middle` or `end`.
pub(crate) fn put(out: &mut String, text: &str, x: f64, y: f64, anchor: &str, class: &str) {
    let anchor = if anchor == "start" { String::new() } else { format!(" text-anchor=\"{anchor}\"") };
    out.push_str(&format!("<text class=\"{class}\" x=\"{}\" y=\"{}\"{anchor}>", n(x), n(y)));
    escape::push_html(out, text);
    out.push_str("</text>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit() {
        let rows = wrap("a plot with a rather long title that needs several lines", 14.0, 120.0);
        assert!(rows.len() > 2);
        assert!(rows.iter().all(|row| width(row, 14.0) <= 120.0));
        assert!(wrap("", 14.0, 100.0).is_empty());
    }

    #[test]
    fn what_cannot_fit_is_cut() {
        let text = cut(&"x".repeat(100), 10.0, 50.0);
        assert!(text.ends_with('…') && width(&text, 10.0) <= 50.0);
        assert_eq!(cut("short", 10.0, 500.0), "short");
    }
}
