//! What is only seen by trying: policies that never apply, that always do, or that change nothing.
//!
//! Each policy is asked alone about every combination of the values that it can tell apart; what it does not look at
//! cannot change its answer. That is few questions, and exact: kinds, tiers, handlings and actions are all there are, and of
//! compartments, parties and records those that the file names and one more.

mod mentions;
mod shadow;
mod space;

use std::collections::BTreeSet;

use cedar_policy::PolicySet;
use comity_core::{MemberId, RecordId};

use crate::finding::{Finding, Note, Warning};
use crate::partner_policy::Entry;
use crate::probe::Truth;
use mentions::{Aspect, Mentions};
use shadow::shadows;
use space::{Choice, Probe, Space, Values};

/// The most questions that Cedar is asked about a file.
const QUESTIONS_MAX: usize = 20_000;

/// Adds a note for each policy that never applies, always does, or changes nothing.
pub(crate) fn check(party: MemberId, entries: &[Entry], warnings: &mut Vec<Warning>) {
    let untried = Finding { place: None, policy: None, what: Note::Untried };
    let Some(mentions) = entries.iter().map(mentions_of).collect::<Option<Vec<_>>>() else {
        warnings.push(untried);
        return;
    };
    let mut all = Mentions::default();
    mentions.iter().for_each(|mentions| all.join(mentions));
    let space = Space::new(party, &all, named_records(entries));
    let mut left = QUESTIONS_MAX;
    let tables: Vec<Option<Table>> = entries
        .iter()
        .zip(&mentions)
        .map(|(entry, mentions)| if all.unclear { None } else { Table::of(entry, mentions, &space, &mut left) })
        .collect();
    for (entry, table) in entries.iter().zip(&tables) {
        match table {
            Some(table) if !table.tells(&space, |truth| truth != Truth::False) => {
                warnings.push(entry.finding(Note::Unreachable));
            }
            Some(table) if entry.permits() && !table.tells(&space, |truth| truth != Truth::True) => {
                warnings.push(entry.finding(Note::PermitsEverything));
            }
            // Nothing to try: it says so itself.
            None if entry.permits() && is_unconditional(entry) => {
                warnings.push(entry.finding(Note::PermitsEverything));
            }
            _ => {}
        }
    }
    let shadows = tables.into_iter().collect::<Option<Vec<_>>>().and_then(|tables| shadows(entries, &tables, &space));
    match shadows {
        Some(shadows) => warnings.extend(shadows),
        None => warnings.push(untried),
    }
}

fn mentions_of(entry: &Entry) -> Option<Mentions> {
    entry.policy.to_json().ok().map(|json| Mentions::of(&json))
}

fn named_records(entries: &[Entry]) -> BTreeSet<RecordId> {
    let literals = entries.iter().flat_map(|entry| entry.policy.entity_literals());
    literals.filter_map(|uid| AsRef::<str>::as_ref(uid.id()).parse().ok()).collect()
}

fn is_unconditional(entry: &Entry) -> bool {
    let (action, resource) = (entry.policy.action_constraint(), entry.policy.resource_constraint());
    !entry.policy.has_non_scope_constraint()
        && action == cedar_policy::ActionConstraint::Any
        && resource == cedar_policy::ResourceConstraint::Any
}

/// What one policy says of every combination of what it tells apart.
struct Table {
    grid: Grid,
    truths: Vec<Truth>,
}

impl Table {
    /// `None` if it would take more than `left` questions.
    fn of(entry: &Entry, mentions: &Mentions, space: &Space, left: &mut usize) -> Option<Self> {
        // Subsets of more items than a number has bits are not even numbered.
        if mentions.aspects.iter().any(|aspect| space.size(*aspect) == usize::MAX) {
            return None;
        }
        let axes = mentions.aspects.iter().map(|aspect| (*aspect, space.values_for(*aspect, mentions)));
        let grid = Grid { axes: axes.collect() };
        let size = grid.size()?;
        *left = left.checked_sub(size)?;
        let alone = PolicySet::from_policies([entry.policy.clone()]).ok()?;
        let mut probe = Probe::new(space, &alone);
        let truths = (0..size).map(|n| probe.ask(&grid.choice(n)?)).collect::<Option<Vec<_>>>()?;
        Some(Self { grid, truths })
    }

    /// Whether it says so of a sample that is possible.
    fn tells(&self, space: &Space, so: impl Fn(Truth) -> bool) -> bool {
        let mut told = self.truths.iter().enumerate().filter(|(_, truth)| so(**truth));
        told.any(|(n, _)| self.grid.choice(n).is_some_and(|choice| space.is_possible(&choice)))
    }

    fn looks_at(&self, aspect: Aspect) -> bool {
        self.grid.axes.iter().any(|(axis, _)| *axis == aspect)
    }

    /// The first place whose value it does not tell from this one.
    fn like(&self, aspect: Aspect, value: usize) -> Option<usize> {
        let at = self.grid.axes.iter().position(|(axis, _)| *axis == aspect)?;
        let (_, values) = self.grid.axes.get(at)?;
        // In the order of numbers: runs of one value, of as many combinations as the later axes have.
        let run: usize = self.grid.axes.iter().skip(at + 1).map(|(_, values)| values.len()).product();
        let said = |place: usize| {
            let runs = self.truths.chunks(run.max(1)).skip(place).step_by(values.len());
            runs.flatten().copied()
        };
        let place = values.place(value)?;
        (0..place).find(|other| said(*other).eq(said(place))).or(Some(place))
    }

    /// What it says of a choice of at least its own aspects.
    fn at(&self, choice: &Choice) -> Option<Truth> {
        self.truths.get(self.grid.number(choice)?).copied()
    }
}

/// Combinations, numbered: the last axis turns fastest.
struct Grid {
    axes: Vec<(Aspect, Values)>,
}

impl Grid {
    fn size(&self) -> Option<usize> {
        self.axes.iter().try_fold(1_usize, |size, (_, values)| size.checked_mul(values.len()))
    }

    fn choice(&self, mut n: usize) -> Option<Choice> {
        let mut choice: Choice = Vec::with_capacity(self.axes.len());
        for (aspect, values) in self.axes.iter().rev() {
            choice.push((*aspect, values.value(n.checked_rem(values.len())?)?));
            n /= values.len();
        }
        choice.reverse();
        Some(choice)
    }

    /// The number of the combination that stands for a choice.
    fn number(&self, choice: &Choice) -> Option<usize> {
        self.axes.iter().try_fold(0, |number, (aspect, values)| {
            let (_, value) = choice.iter().find(|(chosen, _)| chosen == aspect)?;
            Some(number * values.len() + values.place(*value)?)
        })
    }
}

#[cfg(test)]
mod tests;
