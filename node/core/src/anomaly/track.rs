//! How much of something one identity did within a window that moves along, and the stretches in which that was too much.

use std::collections::{BTreeMap, VecDeque};

use super::{Finding, IDENTITIES_MAX, Identity, LEAVES_MAX, Rule, WINDOW_MAX};
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// How many accesses.
    Sum,
    /// How many different records.
    Distinct,
}

/// What one access adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// So many accesses.
    Many(u64),
    /// This record.
    Record(RecordId),
}

/// A stretch of accesses after each of which the window held too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    from: Timestamp,
    to: Timestamp,
    /// The most that a window held.
    pub(super) count: u64,
    leaves: Vec<u64>,
    last_leaf: u64,
}

impl Episode {
    pub(super) fn finding(self, rule: Rule, who: Identity, threshold: u64, sentence: String) -> Finding {
        let Self { from, to, count, leaves, last_leaf } = self;
        Finding { rule, who, from, to, count, threshold, leaves, last_leaf, sentence }
    }

    fn add(&mut self, leaf: u64) {
        self.last_leaf = leaf;
        if self.leaves.len() < LEAVES_MAX && self.leaves.last() != Some(&leaf) {
            self.leaves.push(leaf);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Event {
    at: Timestamp,
    leaf: u64,
    weight: Weight,
}

/// One identity's.
#[derive(Debug, Default)]
struct Track {
    window: VecDeque<Event>,
    sum: u64,
    distinct: BTreeMap<RecordId, usize>,
    /// The latest time so far: records of one moment may be written a little out of order.
    now: Option<Timestamp>,
    last_leaf: u64,
    episode: Option<Episode>,
}

/// Every identity's, for one rule.
#[derive(Debug)]
pub(super) struct Tracks {
    measure: Measure,
    threshold: u64,
    window_micros: i64,
    tracks: BTreeMap<Identity, Track>,
    forgotten: u64,
}

impl Tracks {
    /// More than `threshold` within the window is too much.
    pub(super) fn new(measure: Measure, threshold: u64, window_micros: i64) -> Self {
        Self { measure, threshold, window_micros, tracks: BTreeMap::new(), forgotten: 0 }
    }

    /// Adds an access; gives the episodes that ended before it: that of its identity, and those of identities that are forgotten.
    pub(super) fn push(
        &mut self,
        who: &Identity,
        leaf: u64,
        at: Timestamp,
        weights: impl IntoIterator<Item = Weight>,
    ) -> Vec<(Identity, Episode)> {
        let mut ended = Vec::new();
        if self.tracks.len() >= IDENTITIES_MAX && !self.tracks.contains_key(who) {
            ended = self.forget_some();
        }
        let track = self.tracks.entry(who.clone()).or_default();
        let now = track.now.map_or(at, |now| now.max(at));
        track.now = Some(now);
        track.last_leaf = leaf;
        track.leave_before(now.as_micros().saturating_sub(self.window_micros));
        for weight in weights {
            track.enter(Event { at: now, leaf, weight });
            if track.window.len() > WINDOW_MAX {
                track.leave();
                self.forgotten += 1;
            }
        }
        let count = match self.measure {
            Measure::Sum => track.sum,
            Measure::Distinct => track.distinct.len() as u64,
        };
        if count <= self.threshold {
            ended.extend(track.episode.take().map(|episode| (who.clone(), episode)));
            return ended;
        }
        match &mut track.episode {
            Some(episode) => {
                episode.count = episode.count.max(count);
                episode.to = now;
                episode.add(leaf);
            }
            None => {
                let from = track.window.front().map_or(now, |event| event.at);
                let mut episode = Episode { from, to: now, count, leaves: Vec::new(), last_leaf: leaf };
                track.window.iter().for_each(|event| episode.add(event.leaf));
                track.episode = Some(episode);
            }
        }
        ended
    }

    /// What one identity did so far counts no more.
    pub(super) fn cut(&mut self, who: &Identity) -> Option<Episode> {
        self.tracks.remove(who).and_then(|track| track.episode)
    }

    /// The episodes that did not end.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = (Identity, Episode)> + use<> {
        std::mem::take(&mut self.tracks).into_iter().filter_map(|(who, track)| Some((who, track.episode?)))
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Makes room: the tenth that was quiet longest goes.
    fn forget_some(&mut self) -> Vec<(Identity, Episode)> {
        let mut leaves: Vec<u64> = self.tracks.values().map(|track| track.last_leaf).collect();
        let (_, quiet, _) = leaves.select_nth_unstable(IDENTITIES_MAX / 10);
        let quiet = *quiet;
        let gone = self.tracks.extract_if(.., |_, track| track.last_leaf < quiet).collect::<Vec<_>>();
        self.forgotten += gone.len() as u64;
        gone.into_iter().filter_map(|(who, track)| Some((who, track.episode?))).collect()
    }
}

impl Track {
    fn enter(&mut self, event: Event) {
        match event.weight {
            Weight::Many(count) => self.sum = self.sum.saturating_add(count),
            Weight::Record(record) => *self.distinct.entry(record).or_default() += 1,
        }
        self.window.push_back(event);
    }

    /// Lets out what is as old as this, or older.
    fn leave_before(&mut self, micros: i64) {
        while self.window.front().is_some_and(|event| event.at.as_micros() <= micros) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        let Some(event) = self.window.pop_front() else { return };
        match event.weight {
            Weight::Many(count) => self.sum = self.sum.saturating_sub(count),
            Weight::Record(record) => {
                if let Some(times) = self.distinct.get_mut(&record) {
                    *times -= 1;
                    if *times == 0 {
                        self.distinct.remove(&record);
                    }
                }
            }
        }
    }
}
