//! Cells and tables. Numbers are written in the shortest form that reads back as the same number.

use serde_json::Value;

/// A table that is being made.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, or says that it has another number of cells than the header.
    pub(crate) fn push(&mut self, row: Vec<String>) -> Result<(), String> {
        if row.len() != self.header.len() {
            return Err(format!("{} cells for {} columns", row.len(), self.header.len()));
        }
        self.rows.push(row);
        Ok(())
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(crate) fn write(&self) -> String {
        let mut text = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            for (index, cell) in row.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                if cell.contains(['"', ',', '\n', '\r']) {
                    text.push('"');
                    text.push_str(&cell.replace('"', "\"\""));
                    text.push('"');
                } else {
                    text.push_str(cell);
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A value below another one: names and indices with dots between them.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, key| match value {
        Value::Object(map) => map.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Its cell: empty where it is absent or null.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Bool(true)) => "True".to_owned(),
        Some(Value::Bool(false)) => "False".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(float) if number.is_f64() => shortest(float),
            _ => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}

/// The cells of several values.
pub(crate) fn cells(value: &Value, paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| cell(at(value, path))).collect()
}

/// The cell of a number that must be there, or what is wrong.
pub(crate) fn need(value: &Value, path: &str) -> Result<String, String> {
    match at(value, path) {
        Some(found @ Value::Number(_)) => Ok(cell(Some(found))),
        Some(other) => Err(format!("`{path}` is {other}: not a number")),
        None => Err(format!("there is no `{path}`")),
    }
}

/// A list that must be there.
pub(crate) fn list<'v>(value: &'v Value, path: &str) -> Result<&'v [Value], String> {
    at(value, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| format!("there is no list `{path}`"))
}

/// A text that must be there.
pub(crate) fn text<'v>(value: &'v Value, path: &str) -> Result<&'v str, String> {
    at(value, path).and_then(Value::as_str).ok_or_else(|| format!("there is no text `{path}`"))
}

/// Characters, as the length of a prompt or a reply.
pub(crate) fn chars(value: &Value, path: &str) -> String {
    at(value, path).and_then(Value::as_str).map(|text| text.chars().count().to_string()).unwrap_or_default()
}

/// A float in its shortest form.
pub(crate) fn shortest(float: f64) -> String {
    format!("{float:?}")
}

/// A number's text in its shortest form: whole numbers stay whole, nothing stays nothing. None when it is no number.
pub(crate) fn number(text: &str) -> Option<String> {
    if text.is_empty() || text.parse::<i64>().is_ok() {
        return Some(text.to_owned());
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite()).map(shortest)
}

/// A float to so many decimals, in its shortest form.
pub(crate) fn rounded(float: f64, decimals: usize) -> String {
    format!("{float:.decimals$}").parse().map_or_else(|_| String::new(), shortest)
}

/// The last part of a path, of either system.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_they_were() {
        let value: Value =
            serde_json::from_str(r#"{"a":[{"b":0.1},{"b":3}],"c":null,"d":true,"e":"x"}"#).unwrap();
        assert_eq!(
            cells(&value, &["a.0.b", "a.1.b", "c", "d", "e", "a.2.b"]),
            ["0.1", "3", "", "True", "x", ""]
        );
        assert_eq!(number("29.987070").as_deref(), Some("29.98707"));
        assert_eq!((number("12").as_deref(), number("").as_deref()), (Some("12"), Some("")));
        assert!(number("fast").is_none() && number("nan").is_none());
        assert_eq!(rounded(1.120_900_000_387_337, 4), "1.1209");
        assert!(need(&value, "e").is_err() && need(&value, "z").is_err());
    }

    #[test]
    fn cells_with_commas_and_quotes_are_quoted_and_short_rows_refused() {
        let mut table = Table::new(["a", "b"]);
        table.push(vec!["1,2".into(), "say \"x\"".into()]).unwrap();
        assert!(table.push(vec!["1".into()]).is_err());
        assert_eq!(table.write(), "a,b\n\"1,2\",\"say \"\"x\"\"\"\n");
    }

    #[test]
    fn paths_of_both_systems_have_a_last_part() {
        assert_eq!(
            (base(r"C:\a\gpt2.onnx"), base("models/gpt2"), base("gpt2")),
            ("gpt2.onnx", "gpt2", "gpt2")
        );
    }
}
