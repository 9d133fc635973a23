//! Release decisions: how many a second, how soon an applied policy takes effect, and what one changed record costs.

mod changes;
mod decisions;

use clap::{Args, ValueEnum};

use super::Options;
use super::report::Row;
use crate::Problem;

/// What the benchmark takes.
#[derive(Debug, Clone, Args)]
pub(super) struct PolicyOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// Over how many records a policy is applied
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    records: u32,
    /// Change one record among a million, too: filling the store takes minutes
    #[arg(long)]
    million: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    Decide,
    Apply,
    One,
}

pub(super) async fn run(options: &PolicyOptions) -> Result<(Vec<Row>, Vec<String>), Problem> {
    let case = options.options.case.as_deref().map(|case| Case::from_str(case, true)).transpose()?;
    let wanted = |this: Case| case.is_none_or(|case| case == this);
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    if wanted(Case::Decide) {
        let (measured, line) = decisions::run(options.options.seconds)?;
        rows.extend(measured);
        lines.push(line);
    }
    if wanted(Case::Apply) {
        rows.extend(changes::apply(options.records as usize).await?);
    }
    if wanted(Case::One) {
        let million = options.million.then_some(1_000_000);
        for records in [10_000, 100_000].into_iter().chain(million) {
            let (row, line) = changes::one(records).await?;
            rows.push(row);
            lines.push(line);
        }
    }
    Ok((rows, lines))
}
