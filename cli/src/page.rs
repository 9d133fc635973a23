//! How things look to a person: aligned fields, wrapped prose, tables without borders.
//!
//! Much of what is shown was written by other states. [`clean`] keeps it from driving the reader's terminal.

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};

/// How text may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Whether colour and weight may be used.
    pub(crate) colour: bool,
    /// Whether lines should fit a terminal.
    pub(crate) is_terminal: bool,
}

impl Style {
    fn bold(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Rows under headings, without borders.
pub(crate) fn table(style: &Style, headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if style.is_terminal {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.force_no_tty();
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    if style.colour {
        table.enforce_styling();
    }
    let heading = |text: &&str| {
        let cell = Cell::new(text);
        if style.colour { cell.add_attribute(Attribute::Bold) } else { cell }
    };
    table.set_header(headings.iter().map(heading).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row.iter().map(|text| clean(text)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A readable document, built line by line.
#[derive(Debug)]
pub(crate) struct Page {
    style: Style,
    text: String,
}

/// The column in which values begin.
const VALUE_COLUMN: usize = 18;
/// Prose is wrapped here.
const WIDTH_CHARS: usize = 100;

impl Page {
    pub(crate) fn new(style: &Style) -> Self {
        Self { style: *style, text: String::new() }
    }

    /// A heading, with an empty line before it unless it is the first.
    pub(crate) fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.style.bold(&clean(text));
        self.push(&text);
    }

    /// A label and its value; nothing where the value is empty.
    pub(crate) fn field(&mut self, label: &str, value: impl AsRef<str>) {
        let value = clean(value.as_ref());
        if value.is_empty() {
            return;
        }
        let mut lines = wrap(&value, WIDTH_CHARS - VALUE_COLUMN).into_iter();
        let first = lines.next().unwrap_or_default();
        self.push(&format!("  {label:<width$}{first}", width = VALUE_COLUMN - 2));
        for line in lines {
            self.push(&format!("{:VALUE_COLUMN$}{line}", ""));
        }
    }

    /// Several values under one label, one to a line.
    pub(crate) fn fields<T: AsRef<str>>(&mut self, label: &str, values: impl IntoIterator<Item = T>) {
        for (i, value) in values.into_iter().enumerate() {
            self.field(if i == 0 { label } else { "" }, value);
        }
    }

    /// Paragraphs, wrapped and indented.
    pub(crate) fn prose(&mut self, text: &str) {
        for paragraph in clean(text).lines() {
            for line in wrap(paragraph, WIDTH_CHARS - 2) {
                self.push(format!("  {line}").trim_end());
            }
        }
    }

    /// Any JSON document, indented: for what this version has no page for.
    pub(crate) fn json(&mut self, value: &serde_json::Value) {
        self.json_at(value, 1);
    }

    fn json_at(&mut self, value: &serde_json::Value, depth: usize) {
        use serde_json::Value;
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let name = clean(name);
                    if is_plain(value) {
                        self.push(&format!("{indent}{name}: {}", plain(value)));
                    } else {
                        self.push(&format!("{indent}{name}:"));
                        self.json_at(value, depth + 1);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    if is_plain(item) {
                        self.push(&format!("{indent}- {}", plain(item)));
                    } else {
                        self.push(&format!("{indent}-"));
                        self.json_at(item, depth + 1);
                    }
                }
            }
            Value::String(text) if text.contains('\n') => {
                for line in clean(text).lines() {
                    self.push(&format!("{indent}{line}"));
                }
            }
            other => self.push(&format!("{indent}{}", plain(other))),
        }
    }

    /// A line as it is, except that it cannot drive the terminal.
    pub(crate) fn line(&mut self, text: &str) {
        self.push(&clean(text));
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

fn is_plain(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(_) | serde_json::Value::Array(_) => false,
        serde_json::Value::String(text) => !text.contains('\n'),
        _ => true,
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => clean(text),
        other => other.to_string(),
    }
}

/// What moves a cursor, or reorders text unseen.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Makes control characters and the invisible marks that reorder text visible, so that a name can neither move the
/// cursor nor read as another. Line ends stay.
pub(crate) fn clean(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_hidden(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// As [`clean`], and a line end is made visible, too: for cells of a table that stand for one thing each.
pub(crate) fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\\u{a}")
}

/// A JSON document in which what could drive a terminal stands as JSON's own escapes: the same document to a program.
pub(crate) fn clean_json(json: &str) -> String {
    if !json.contains(is_hidden) {
        return json.to_owned();
    }
    // Beyond ASCII such characters stand within strings alone, and all of them have four digits.
    let shown = |c: char| if is_hidden(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(shown).collect()
}

/// Breaks lines at spaces; a word longer than a line stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let (mut line, mut length) = (String::new(), 0);
        for word in paragraph.split(' ') {
            let word_length = word.chars().count();
            if length > 0 && length + 1 + word_length > width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                length = 0;
            } else if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += word_length;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, is_terminal: false };

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(clean("\x1b[2Jcleared\u{202e}txt"), "\\u{1b}[2Jcleared\\u{202e}txt");
        assert_eq!(clean("بسام الحسن\nline"), "بسام الحسن\nline");
    }

    #[test]
    fn a_cell_is_one_line_and_json_stays_json() {
        assert_eq!(one_line("a\nFR  forged\x07"), "a\\u{a}FR  forged\\u{7}");
        let document = serde_json::json!({ "from": "\u{9b}2J\u{202e}\n\u{7f}" });
        let shown = clean_json(&document.to_string());
        assert!(shown.is_ascii() && !shown.contains('\u{7f}'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
    }

    #[test]
    fn tables_are_aligned_and_bare() {
        let text =
            table(&PLAIN, &["ID", "STATE"], vec![vec!["FR-P-1".into(), "draft".into()], vec!["x".into(), "y".into()]]);
        assert_eq!(text, "ID      STATE\nFR-P-1  draft\nx       y");
    }

    #[test]
    fn fields_are_aligned_and_wrapped() {
        let mut page = Page::new(&PLAIN);
        page.heading("Subject");
        page.field("kind", "person");
        page.field("empty", "");
        page.field("long", "word ".repeat(30).trim());
        let text = page.finish();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["Subject", "  kind            person"]);
        assert!(lines[3].starts_with(&" ".repeat(VALUE_COLUMN)) && lines.iter().all(|l| l.len() <= WIDTH_CHARS));
    }
}
