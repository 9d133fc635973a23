//! A policy or the clearances were changed, and then somebody got much that it never had.

use std::collections::{BTreeMap, BTreeSet};

use super::{Access, Finding, IDENTITIES_MAX, Identity, LEAVES_MAX, PolicyChangeThenReads, Rule, span};
use crate::access::Outcome;
use crate::member::MemberId;
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// So many pairs of somebody and a record are remembered. Beyond that what was had before may be called new: too much is shown then,
/// never too little.
const KNOWN_MAX: usize = 500_000;
/// The action by which a change comes into force.
const DECIDED: &str = "ApprovalService/DecideApproval";
/// How it says that it did.
const DONE: &str = "done";

/// A change whose window is open.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Timestamp,
    leaf: u64,
}

/// What somebody got after a change that it never had.
#[derive(Debug)]
struct Gained {
    change: Change,
    records: BTreeSet<RecordId>,
    to: Timestamp,
    leaves: Vec<u64>,
    last_leaf: u64,
}

#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The last change of each party's policy.
    of_party: BTreeMap<MemberId, Change>,
    /// The last change of people's clearances.
    of_people: Option<Change>,
    known: BTreeSet<(Identity, RecordId)>,
    gained: BTreeMap<Identity, Gained>,
    forgotten: u64,
}

impl Changes {
    pub(super) fn take(&mut self, rule: PolicyChangeThenReads, access: &Access<'_>) -> Vec<Finding> {
        let mut findings = self.note_changes(rule, access);
        let Some(who) = access.reader() else { return findings };
        let change = match &who {
            Identity::Party(party) => self.of_party.get(party).copied(),
            _ => self.of_people,
        };
        let at = access.record.at;
        let open = change.filter(|change| at.as_micros().saturating_sub(change.at.as_micros()) <= rule.window_micros);
        if open.is_none() {
            findings.extend(self.close(rule, &who));
        }
        for record in &access.records {
            let is_new = !self.known.contains(&(who.clone(), *record));
            if is_new && self.known.len() < KNOWN_MAX {
                self.known.insert((who.clone(), *record));
            } else if is_new {
                self.forgotten += 1;
            }
            if let Some(change) = open.filter(|_| is_new) {
                self.gain(&who, change, access, *record);
            }
        }
        findings
    }

    pub(super) fn finish(&mut self, rule: PolicyChangeThenReads) -> Vec<Finding> {
        let all: Vec<Identity> = self.gained.keys().cloned().collect();
        all.iter().filter_map(|who| self.close(rule, who)).collect()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A change ends what the one before it led to.
    fn note_changes(&mut self, rule: PolicyChangeThenReads, access: &Access<'_>) -> Vec<Finding> {
        let record = access.record;
        if record.action != DECIDED || record.outcome != Outcome::Allowed {
            return Vec::new();
        }
        let change = Change { at: record.at, leaf: access.leaf };
        let mut findings = Vec::new();
        for touched in record.touched.iter().filter(|touched| touched.view.as_deref() == Some(DONE)) {
            let party = touched.resource.strip_prefix("policy/").and_then(|party| party.parse::<MemberId>().ok());
            if let Some(party) = party {
                findings.extend(self.close(rule, &Identity::Party(party)));
                self.of_party.insert(party, change);
            } else if touched.resource == "people" {
                let people: Vec<Identity> =
                    self.gained.keys().filter(|who| !matches!(who, Identity::Party(_))).cloned().collect();
                findings.extend(people.iter().filter_map(|who| self.close(rule, who)));
                self.of_people = Some(change);
            }
        }
        findings
    }

    fn gain(&mut self, who: &Identity, change: Change, access: &Access<'_>, record: RecordId) {
        if self.gained.len() >= IDENTITIES_MAX && !self.gained.contains_key(who) {
            self.gained.pop_first();
            self.forgotten += 1;
        }
        let gained = self.gained.entry(who.clone()).or_insert_with(|| Gained {
            change,
            records: BTreeSet::new(),
            to: access.record.at,
            leaves: vec![change.leaf],
            last_leaf: access.leaf,
        });
        gained.records.insert(record);
        gained.to = gained.to.max(access.record.at);
        gained.last_leaf = access.leaf;
        if gained.leaves.len() < LEAVES_MAX && gained.leaves.last() != Some(&access.leaf) {
            gained.leaves.push(access.leaf);
        }
    }

    fn close(&mut self, rule: PolicyChangeThenReads, who: &Identity) -> Option<Finding> {
        let gained = self.gained.remove(who)?;
        let count = gained.records.len() as u64;
        if count <= rule.records {
            return None;
        }
        let (what, got) = match who {
            Identity::Party(party) => (format!("the policy for {party} was changed"), "was sent"),
            _ => ("clearances were changed".to_owned(), "read"),
        };
        let sentence = format!(
            "{what}, and within {} {who} {got} {count} records that it never had before: more than {}",
            span(rule.window_micros),
            rule.records
        );
        Some(Finding {
            rule: Rule::PolicyChangeThenReads,
            who: who.clone(),
            from: gained.change.at,
            to: gained.to,
            count,
            threshold: rule.records,
            leaves: gained.leaves,
            last_leaf: gained.last_leaf,
            sentence,
        })
    }
}
