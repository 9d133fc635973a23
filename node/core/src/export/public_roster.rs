//! The roster as the public log tells it: who voted when, with which keys, by which rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{LogParty, LogRoster};
use crate::dsse::PublicKey;
use crate::genesis::Genesis;
use crate::list::{PublishedEvent, PublishedMember};
use crate::member::MemberId;
use crate::roster::{MemberStatus, Voter, Voters};
use crate::rule::{BallotKind, Rule};

/// What the publications so far say of the members.
pub(super) struct PublicRoster {
    members: BTreeMap<MemberId, Row>,
    /// Every rule that a kind of ballot has had: a ballot is decided by that of its tabling.
    rules: BTreeMap<BallotKind, Vec<Rule>>,
    /// The voters after each change, the newest last.
    history: Vec<BTreeSet<MemberId>>,
    /// How long reverse silence lasts.
    pub(super) reverse_silence_days: u32,
}

struct Row {
    published: PublishedMember,
    status: MemberStatus,
    node_revoked: bool,
    /// Every decision key that it has had: votes that were cast before a rotation still verify.
    decision_keys: Vec<PublicKey>,
    /// The node keys that count for what was signed with them: checkpoints from before a rotation still verify, those from before a
    /// revocation or a replacement do not.
    node_keys: Vec<PublicKey>,
}

impl PublicRoster {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let rules = genesis.document().rules;
        let mut roster = Self {
            members: BTreeMap::new(),
            rules: BallotKind::ALL.into_iter().map(|kind| (kind, vec![rules.of(kind)])).collect(),
            history: Vec::new(),
            reverse_silence_days: rules.reverse_silence_days,
        };
        genesis.members().values().for_each(|row| roster.put(PublishedMember::from(row)));
        roster.history.push(roster.voting());
        roster
    }

    fn put(&mut self, published: PublishedMember) {
        let before = self.members.remove(&published.member);
        let (mut decision_keys, mut node_keys) =
            before.map(|row| (row.decision_keys, row.node_keys)).unwrap_or_default();
        decision_keys.push(published.decision_key);
        if !node_keys.contains(&published.node_key) {
            node_keys.push(published.node_key);
        }
        let row = Row { status: MemberStatus::Active, node_revoked: false, decision_keys, node_keys, published };
        self.members.insert(row.published.member, row);
    }

    fn voting(&self) -> BTreeSet<MemberId> {
        let voting = self.members.values().filter(|row| row.published.voting && row.status == MemberStatus::Active);
        voting.map(|row| row.published.member).collect()
    }

    /// Takes note of what was published.
    pub(super) fn follow(&mut self, event: &PublishedEvent) {
        let status = |roster: &mut Self, member: &MemberId, status| {
            if let Some(row) = roster.members.get_mut(member) {
                row.status = status;
            }
        };
        match event {
            PublishedEvent::Admitted { member } => self.put(member.clone()),
            PublishedEvent::KeysReplaced { member } | PublishedEvent::KeysRotated { member } => {
                let before =
                    self.members.get(&member.member).map(|row| (row.status, row.node_revoked, row.published.node_key));
                self.put(member.clone());
                if let (Some((status, revoked, key)), Some(row)) = (before, self.members.get_mut(&member.member)) {
                    row.status = status;
                    row.node_revoked = revoked && key == member.node_key;
                    if row.node_revoked {
                        row.node_keys.clear();
                    } else if matches!(event, PublishedEvent::KeysReplaced { .. }) {
                        row.node_keys = vec![member.node_key];
                    }
                }
            }
            PublishedEvent::Suspended { member } => status(self, member, MemberStatus::Suspended),
            PublishedEvent::Readmitted { member } => status(self, member, MemberStatus::Active),
            PublishedEvent::Expelled { member } => status(self, member, MemberStatus::Expelled),
            PublishedEvent::KeysRevoked { member, node, .. } => {
                if let Some(row) = self.members.get_mut(member) {
                    row.node_revoked |= node;
                    if *node {
                        row.node_keys.clear();
                    }
                }
            }
            PublishedEvent::RuleChanged { kind, rule } => self.rules.entry(*kind).or_default().push(*rule),
            _ => return,
        }
        let voting = self.voting();
        if self.history.last() != Some(&voting) {
            self.history.push(voting);
        }
    }

    /// The voters of now, as cosigning needs them.
    pub(super) fn voters(&self) -> Voters {
        let voters = self.members.values().filter(|row| row.published.voting && row.status == MemberStatus::Active);
        voters
            .map(|row| {
                let voter = Voter {
                    trust_domain: row.published.trust_domain.clone(),
                    node_key: (!row.node_revoked).then_some(row.published.node_key),
                    // Which node of the member counts is not published.
                    node_id: 0,
                };
                (row.published.member, voter)
            })
            .collect()
    }

    /// Whose access logs there are, and who signs and cosigns them.
    pub(super) fn logs(&self) -> LogRoster {
        let party = |row: &Row| LogParty {
            trust_domain: row.published.trust_domain.clone(),
            node_keys: row.node_keys.iter().rev().copied().collect(),
            witnesses: row.published.voting && row.status == MemberStatus::Active,
        };
        LogRoster::new(self.members.iter().map(|(member, row)| (*member, party(row))))
    }

    /// Every decision key that a member has had.
    pub(super) fn decision_keys(&self, member: MemberId) -> &[PublicKey] {
        self.members.get(&member).map_or(&[], |row| row.decision_keys.as_slice())
    }

    /// A member's row.
    pub(super) fn published(&self, member: MemberId) -> Option<&PublishedMember> {
        self.members.get(&member).map(|row| &row.published)
    }

    /// Whether a kind of ballot was ever decided by this rule.
    pub(super) fn had_rule(&self, kind: BallotKind, rule: &Rule) -> bool {
        self.rules.get(&kind).is_some_and(|rules| rules.contains(rule))
    }

    /// Whether these can have been the electorate of a ballot: the voters at some time, without those that dropped out since
    /// and without the one that it was about.
    pub(super) fn had_electorate(&self, electorate: &[MemberId], excluded: Option<MemberId>) -> bool {
        let found: BTreeSet<MemberId> = electorate.iter().copied().collect();
        let mut stayed: Option<BTreeSet<MemberId>> = None;
        found.len() == electorate.len()
            && self.history.iter().rev().any(|voters| {
                let mut left = match stayed.take() {
                    None => voters.clone(),
                    Some(stayed) => &stayed & voters,
                };
                stayed = Some(left.clone());
                if let Some(excluded) = excluded {
                    left.remove(&excluded);
                }
                left == found
            })
    }
}
