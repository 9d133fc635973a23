//! Permits without which every decision would be the same.

use std::collections::BTreeSet;

use super::space::{Space, Values};
use super::{Aspect, Grid, Table};
use crate::finding::{Note, Warning};
use crate::partner_policy::Entry;
use crate::probe::Truth;

/// The most samples in which the answers are set against each other.
const SAMPLES_MAX: usize = 20_000;

/// A note for each such permit; `None` if there are too many samples. `tables` are those of `entries`, in their order.
pub(super) fn shadows(entries: &[Entry], tables: &[Table], space: &Space) -> Option<Vec<Warning>> {
    let rows = rows(tables, space)?;
    let mut warnings = Vec::new();
    // Of two that say the same, the later is the one too many.
    let mut left: BTreeSet<usize> = (0..entries.len()).collect();
    for (n, entry) in entries.iter().enumerate().rev().filter(|(_, entry)| entry.permits()) {
        left.remove(&n);
        match shadow(n, entries, &rows, &left) {
            Some(by) => {
                let by = by.into_iter().filter_map(|n| entries.get(n)).map(|entry| entry.id.clone()).collect();
                warnings.push(entry.finding(Note::Shadowed { by }));
            }
            None => _ = left.insert(n),
        }
    }
    Some(warnings)
}

/// Those of the policies `left` that decide wherever the permit `n` applies; `None` if it changes a decision, or never applies,
/// which another note says.
fn shadow(n: usize, entries: &[Entry], rows: &[Vec<Truth>], left: &BTreeSet<usize>) -> Option<BTreeSet<usize>> {
    let (mut by, mut applies) = (BTreeSet::new(), false);
    for row in rows {
        let truth = *row.get(n)?;
        if truth == Truth::False {
            continue;
        }
        applies |= truth == Truth::True;
        let decides = |m: &usize, permits: bool| {
            let (Some(truth), Some(entry)) = (row.get(*m), entries.get(*m)) else { return false };
            let outlasts =
                entry.until.is_none_or(|end| entries.get(n).is_some_and(|n| n.until.is_some_and(|n| n <= end)));
            let applies = match truth {
                Truth::False => false,
                Truth::True => entry.permits() == permits,
                Truth::Error => !permits,
            };
            applies && outlasts
        };
        let first = |permits| by.iter().chain(left).find(|m| decides(m, permits)).copied();
        // Where it errs it denies; that changes nothing where nothing else permits.
        let permitted =
            || left.iter().any(|m| row.get(*m) == Some(&Truth::True) && entries.get(*m).is_some_and(Entry::permits));
        match (truth, first(false)) {
            (_, Some(denier)) => _ = by.insert(denier),
            (Truth::Error, None) if permitted() => return None,
            (Truth::Error, None) => {}
            (_, None) => _ = by.insert(first(true)?),
        }
    }
    applies.then_some(by)
}

/// What each policy says of each possible sample of everything that any of them looks at.
fn rows(tables: &[Table], space: &Space) -> Option<Vec<Vec<Truth>>> {
    let aspects: BTreeSet<Aspect> =
        tables.iter().flat_map(|table| &table.grid.axes).map(|(aspect, _)| *aspect).collect();
    let axes: Option<Vec<_>> =
        aspects.into_iter().map(|aspect| Some((aspect, distinct(aspect, tables, space)?))).collect();
    let grid = Grid { axes: axes? };
    let size = grid.size().filter(|size| *size <= SAMPLES_MAX)?;
    let mut rows = Vec::new();
    for n in 0..size {
        let choice = grid.choice(n)?;
        if space.is_possible(&choice) {
            rows.push(tables.iter().map(|table| table.at(&choice)).collect::<Option<Vec<_>>>()?);
        }
    }
    Some(rows)
}

/// One value of each sort that no policy tells apart, so that few samples stand for all.
fn distinct(aspect: Aspect, tables: &[Table], space: &Space) -> Option<Values> {
    let size = Some(space.size(aspect)).filter(|size| *size <= SAMPLES_MAX)?;
    let mut kept: Vec<usize> = (0..size).collect();
    if !space.is_linked(aspect) {
        let those: Vec<&Table> = tables.iter().filter(|table| table.looks_at(aspect)).collect();
        let mut seen = BTreeSet::new();
        kept.retain(|value| seen.insert(those.iter().map(|table| table.like(aspect, *value)).collect::<Vec<_>>()));
    }
    Some(Values::One { kept, other: None })
}
