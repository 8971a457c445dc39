//! Making text harmless in HTML, Markdown and a terminal. Nothing else in this crate may put foreign text into output.

/// Text for HTML and SVG, content and attribute values alike.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    push_html(&mut out, text);
    out
}

/// Appends text for HTML and SVG.
pub(crate) fn push_html(out: &mut String, text: &str) {
    if text.bytes().all(is_harmless) {
        out.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(visible(other)),
        }
    }
}

/// Text for Markdown, within a line; newlines become spaces.
pub(crate) fn markdown(text: &str) -> String {
    if text.bytes().all(is_harmless) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Between letters an underscore is only an underscore, and names are full of them.
            '_' if before.is_alphanumeric()
                && characters.peek().is_some_and(|next| next.is_alphanumeric()) =>
            {
                out.push('_');
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '$' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(line(other)),
        }
        before = character;
    }
    out
}

/// Guards the start of a Markdown line, where a few characters would open a list, a heading or a code block.
pub(crate) fn markdown_start(line: &str) -> String {
    let line = line.trim();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if line.starts_with(['-', '+', '=']) {
        return format!("\\{line}");
    }
    if digits > 0 && line[digits..].starts_with(['.', ')']) {
        return format!("{}\\{}", &line[..digits], &line[digits..]);
    }
    line.to_owned()
}

/// Text for a terminal: one line, no control characters.
pub(crate) fn terminal(text: &str) -> String {
    text.chars().map(line).collect()
}

/// Most of a report is words and digits, which need no second look.
fn is_harmless(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'.' | b',' | b';' | b'%' | b'(' | b')' | b'/' | b'=' | b':')
}

fn line(character: char) -> char {
    if matches!(character, '\n' | '\r' | '\t') { ' ' } else { visible(character) }
}

fn visible(character: char) -> char {
    // Control characters are not allowed in XML, and in a terminal they are commands. Direction overrides can make a
    // text read as what it is not.
    let hidden = (character.is_control() && !matches!(character, '\n' | '\t'))
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}');
    if hidden { '\u{fffd}' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_has_no_way_out() {
        assert_eq!(html(r#"<a href="x" b='y'>&"#), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
        assert_eq!(html("a\0b\u{1b}[31m\u{202e}"), "a\u{fffd}b\u{fffd}[31m\u{fffd}");
    }

    #[test]
    fn markdown_is_text() {
        assert_eq!(markdown("a|b *c* _d_ [e](f) `g` <h>"), r"a\|b \*c\* \_d\_ \[e\](f) \`g\` &lt;h&gt;");
        assert_eq!(markdown("kv_decode_ms"), "kv_decode_ms");
        assert_eq!(markdown("a\nb"), "a b");
    }

    #[test]
    fn markdown_lines_start_as_text() {
        assert_eq!(markdown_start("- x"), "\\- x");
        assert_eq!(markdown_start("    12. x"), "12\\. x");
        assert_eq!(markdown_start("12.5 ms"), "12\\.5 ms");
        assert_eq!(markdown_start("plain"), "plain");
    }

    #[test]
    fn terminal_is_one_line_without_commands() {
        assert_eq!(terminal("a\nb\u{1b}[2J"), "a b\u{fffd}[2J");
    }
}
