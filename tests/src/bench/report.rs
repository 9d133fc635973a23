//! Figures: a table for people, one JSON object a row for programs.

use std::io::Write as _;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// One case of one benchmark.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// Which benchmark.
    pub(super) bench: &'static str,
    /// Which case.
    pub(super) case: String,
    /// Operations a second.
    pub(super) per_s: f64,
    /// Median latency, in microseconds.
    pub(super) p50_us: u64,
    /// 99th percentile latency, in microseconds.
    pub(super) p99_us: u64,
    /// CPU of all nodes together for one operation, in microseconds.
    pub(super) cpu_us_op: f64,
    /// The most memory that one node has had resident, in MiB.
    pub(super) rss_mb: f64,
    /// The largest database of the replicated list on one node at the end, in MiB; 0 where there is none.
    pub(super) disk_mb: f64,
    /// Operations measured.
    pub(super) operations: u64,
    /// For how long, in seconds.
    pub(super) seconds: f64,
}

/// Says something on stderr.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The value below which a share of the sorted values lies.
pub(super) fn percentile(sorted: &[u64], share: f64) -> u64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Writes the rows, and lines for people after the table.
///
/// # Errors
/// The file or stream cannot be written.
pub(super) fn write(rows: &[Row], lines: &[String], json: Option<&Path>) -> std::io::Result<()> {
    let mut table = table(rows).to_string();
    for line in lines {
        table.push('\n');
        table.push_str(line);
    }
    match json {
        None => writeln!(std::io::stdout(), "{table}"),
        Some(path) => {
            writeln!(std::io::stderr(), "{table}")?;
            let mut out: Box<dyn std::io::Write> = if path == Path::new("-") {
                Box::new(std::io::stdout())
            } else {
                Box::new(std::fs::File::create(path)?)
            };
            for row in rows {
                writeln!(out, "{}", serde_json::to_string(row)?)?;
            }
            out.flush()
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "bench",
        "case",
        "per second",
        "p50 ms",
        "p99 ms",
        "cpu us/op",
        "node MiB",
        "disk MiB",
        "operations",
    ]);
    for row in rows {
        table.add_row([
            row.bench.to_owned(),
            row.case.clone(),
            format!("{:.0}", row.per_s),
            format!("{:.2}", row.p50_us as f64 / 1000.0),
            format!("{:.2}", row.p99_us as f64 / 1000.0),
            format!("{:.0}", row.cpu_us_op),
            format!("{:.0}", row.rss_mb),
            format!("{:.0}", row.disk_mb),
            row.operations.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99), percentile(&values, 1.0)), (50, 99, 100));
        assert_eq!(percentile(&[], 0.5), 0);
        assert_eq!(percentile(&[7], 0.99), 7);
    }
}
