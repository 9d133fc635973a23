//! Tables under headings, as the reviews of the access log show them.

use crate::page::{Style, one_line, table};

/// A review that is put together.
pub(super) struct Sections {
    style: Style,
    text: String,
}

impl Sections {
    pub(super) fn new(style: &Style, title: &str) -> Self {
        let mut sections = Self { style: *style, text: String::new() };
        sections.line(title);
        sections
    }

    /// A heading and its rows; nothing where there are none.
    pub(super) fn table<const N: usize>(&mut self, title: &str, headings: [&str; N], rows: Vec<[String; N]>) {
        if rows.is_empty() {
            return;
        }
        let rows = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
        self.line("");
        self.line(title);
        for line in table(&self.style, &headings, rows).lines() {
            self.text.push_str("  ");
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(&one_line(text));
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}
