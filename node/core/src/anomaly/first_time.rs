//! Whoever reads, and was not seen reading for long.

use std::collections::BTreeMap;

use super::{Finding, FirstTimeReader, IDENTITIES_MAX, Identity, Rule, span};
use crate::timestamp::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Readers {
    last_read: BTreeMap<Identity, Timestamp>,
    /// How far the records reach back.
    begins: Option<Timestamp>,
    forgotten: u64,
}

impl Readers {
    /// Notes that records reach back so far.
    pub(super) fn begin(&mut self, at: Timestamp) {
        self.begins.get_or_insert(at);
    }

    pub(super) fn take(&mut self, rule: FirstTimeReader, who: Identity, leaf: u64, at: Timestamp) -> Option<Finding> {
        self.begin(at);
        if self.last_read.len() >= IDENTITIES_MAX && !self.last_read.contains_key(&who) {
            self.forget_some();
        }
        let before = self.last_read.insert(who.clone(), at);
        if let Some(before) = before {
            // Of two that were written out of order the later counts.
            self.last_read.insert(who.clone(), before.max(at));
            if at.as_micros().saturating_sub(before.as_micros()) <= rule.baseline_micros {
                return None;
            }
        }
        let begins = self.begins.unwrap_or(at);
        let reach = at.as_micros().saturating_sub(begins.as_micros());
        let within = span(rule.baseline_micros);
        let sentence = if before.is_none() && reach < rule.baseline_micros {
            format!("{who} reads a record for the first time since {begins}, before which nothing was looked at here")
        } else {
            format!("{who} reads a record for the first time in {within}")
        };
        let threshold = 0;
        Some(Finding {
            rule: Rule::FirstTimeReader,
            who,
            from: at,
            to: at,
            count: 1,
            threshold,
            leaves: vec![leaf],
            last_leaf: leaf,
            sentence,
        })
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Makes room: the tenth that was quiet longest goes.
    fn forget_some(&mut self) {
        let mut times: Vec<Timestamp> = self.last_read.values().copied().collect();
        let (_, quiet, _) = times.select_nth_unstable(IDENTITIES_MAX / 10);
        let quiet = *quiet;
        let before = self.last_read.len();
        self.last_read.retain(|_, at| *at > quiet);
        self.forgotten += (before - self.last_read.len()) as u64;
    }
}
