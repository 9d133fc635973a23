//! The newest entries of the log, in memory: replicating and applying them need not read the database.

use std::collections::VecDeque;

use comity_core::canonical::Hex32;
use openraft::EntryPayload;

use crate::types::{Command, Entry};

/// How many bytes of durable entries are kept.
const KEEP_MAX_BYTES: usize = 4 * 1024 * 1024;
/// What an entry takes besides its command.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// A run of entries without a gap, up to the end of the log. What is not durable yet is always in it.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries below are on the disk.
    durable_end: u64,
}

/// Roughly how much memory an entry takes.
pub(super) fn entry_bytes(entry: &Entry) -> usize {
    let command = match &entry.payload {
        EntryPayload::Normal(command) => command.size_bytes(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    ENTRY_OVERHEAD_BYTES + command
}

impl Recent {
    /// Nothing, above a log of durable entries that ends before `end`.
    pub(super) fn above(end: u64) -> Self {
        Self { durable_end: end, ..Self::default() }
    }

    /// The index of the first entry here.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    /// Drops entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.log_id.index >= from) {
            self.bytes -= entry_bytes(&entry);
        }
        self.durable_end = self.durable_end.min(from);
    }

    /// Entries below `end` are on the disk; the oldest may go.
    pub(super) fn durable(&mut self, end: u64) {
        self.durable_end = self.durable_end.max(end);
        while self.bytes > KEEP_MAX_BYTES
            && let Some(entry) = self.entries.pop_front_if(|entry| entry.log_id.index < self.durable_end)
        {
            self.bytes -= entry_bytes(&entry);
        }
    }

    /// Entries below `end` are purged on the disk.
    pub(super) fn purge(&mut self, end: u64) {
        self.durable_end = self.durable_end.max(end);
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.log_id.index < end) {
            self.bytes -= entry_bytes(&entry);
        }
    }

    /// Forgets a text beside entries below `end`.
    pub(super) fn erase(&mut self, digest: Hex32, end: u64) {
        for entry in self.entries.iter_mut().take_while(|entry| entry.log_id.index < end) {
            if let EntryPayload::Normal(command) = &mut entry.payload
                && command.has_text()
                && command.text_digest() == Some(digest)
            {
                self.bytes -= command.size_bytes();
                *command = command.without_text();
                self.bytes += command.size_bytes();
            }
        }
    }

    /// Those of `start..end` that are here.
    pub(super) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let first = self.first().unwrap_or(u64::MAX);
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).take_while(move |entry| entry.log_id.index < end)
    }

    /// The command here that has this text beside it.
    pub(super) fn with_text(&self, digest: Hex32) -> Option<Command> {
        self.entries.iter().rev().find_map(|entry| match &entry.payload {
            EntryPayload::Normal(command) if command.has_text() && command.text_digest() == Some(digest) => {
                Some(command.clone())
            }
            _ => None,
        })
    }
}
