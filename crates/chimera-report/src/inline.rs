//! The tiny markup of prose: `` `code` ``, `*emphasis*`, and a backslash before a character that is meant literally. Not
//! Markdown: there are no links, no HTML and no nesting, so that no text can escape into the page.

use crate::escape;

#[derive(Debug, PartialEq, Eq)]
enum Span {
    Text(String),
    Code(String),
    Emphasis(String),
}

/// Makes a string literal in places that know inline markup.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '`' | '*') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// As HTML.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for span in parse(text) {
        let (tag, content) = match &span {
            Span::Text(content) => ("", content),
            Span::Code(content) => ("code", content),
            Span::Emphasis(content) => ("em", content),
        };
        if tag.is_empty() {
            escape::push_html(&mut out, content);
        } else {
            out.push_str(&format!("<{tag}>{}</{tag}>", escape::html(content)));
        }
    }
    out
}

/// As Markdown, on one line, safe at the start of it.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for span in parse(text) {
        match span {
            Span::Text(content) => out.push_str(&escape::markdown(&content)),
            Span::Code(content) => out.push_str(&format!("`{}`", escape::terminal(&content))),
            Span::Emphasis(content) => out.push_str(&format!("*{}*", escape::markdown(&content))),
        }
    }
    escape::markdown_start(&out)
}

/// Without markup.
pub(crate) fn plain(text: &str) -> String {
    parse(text)
        .into_iter()
        .map(|span| match span {
            Span::Text(content) | Span::Code(content) | Span::Emphasis(content) => content,
        })
        .collect()
}

fn parse(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                if let Some(next) = after.chars().next().filter(char::is_ascii_punctuation) {
                    plain.push(next);
                    rest = &after[next.len_utf8()..];
                    continue;
                }
            }
            '`' | '*' => {
                if let Some((content, tail)) = enclosed(after, first) {
                    if !plain.is_empty() {
                        spans.push(Span::Text(std::mem::take(&mut plain)));
                    }
                    spans.push(if first == '`' {
                        Span::Code(content.to_owned())
                    } else {
                        Span::Emphasis(content.to_owned())
                    });
                    rest = tail;
                    continue;
                }
            }
            _ => {}
        }
        plain.push(first);
        rest = after;
    }
    if !plain.is_empty() {
        spans.push(Span::Text(plain));
    }
    spans
}

/// The content up to the next `mark`, and what follows it. Content that is empty or touches its marks with a space is no
/// span, so that `3 * 4 * 5` stays as it is.
fn enclosed(text: &str, mark: char) -> Option<(&str, &str)> {
    let (content, tail) = text.split_once(mark)?;
    let tight = !content.is_empty()
        && !content.starts_with(char::is_whitespace)
        && !content.ends_with(char::is_whitespace)
        && !content.ends_with('\\');
    tight.then_some((content, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(html("a `b<c` *d* e"), "a <code>b&lt;c</code> <em>d</em> e");
        assert_eq!(markdown("a `b|c` *d* e_f"), "a `b|c` *d* e_f");
        assert_eq!(plain("a `b` *c*"), "a b c");
    }

    #[test]
    fn what_is_not_a_span_is_text() {
        for text in ["3 * 4 * 5", "a ` b", "**", "*", "`", "\\"] {
            assert_eq!(plain(text), text);
            assert!(!html(text).contains('<'), "{text}");
        }
    }

    #[test]
    fn literal_survives() {
        for text in ["*a*", "`b`", "\\*c\\*", "x \\ y", "<b>*</b>", "\\"] {
            assert_eq!(plain(&literal(text)), text);
            assert_eq!(html(&literal(text)), escape::html(text));
        }
    }
}
