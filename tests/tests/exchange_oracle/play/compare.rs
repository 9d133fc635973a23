//! What the nodes hold, show, recorded and gave back, against the oracle.

use std::collections::{BTreeMap, BTreeSet};

use comity_app::RecordView;
use comity_core::MemberId;
use comity_core::recall::Answer;
use comity_core::view::Change;

use super::{Play, code, id};
use crate::documents::shown;
use crate::oracle::{Documents, Oracle};
use crate::plan::{CEILINGS, MEMBERS};

impl Play {
    pub(super) async fn held(&self) -> Vec<BTreeMap<String, Documents>> {
        let mut all = Vec::new();
        for member in 0..3 {
            let copies = self.room(member).store().copies().list(None, None, 200).await.unwrap();
            let documents = copies.into_iter().map(|copy| match copy.item.change {
                Change::Upsert(documents) => (copy.record.to_string(), shown(&documents)),
                Change::Retract => panic!("a retraction is held"),
            });
            all.push(documents.collect());
        }
        all
    }

    /// What people at each node are shown of others' records.
    pub(super) async fn seen(&self) -> Vec<BTreeSet<String>> {
        let mut all = Vec::new();
        for member in 0..3 {
            let room = self.room(member);
            let page = room.node().records(&room.operator, None, None, "", 1_000).await.unwrap();
            let received = page.records.iter().filter(|record| matches!(record, RecordView::Received(_)));
            all.push(received.map(|record| record.id().to_string()).collect());
        }
        all
    }

    pub(super) async fn compare(&mut self, held: &[BTreeMap<String, Documents>], seen: &[BTreeSet<String>], at: i64) {
        for to in 0..3 {
            let before = self.oracle.copies.remove(&to).unwrap_or_default();
            let mut copies = BTreeMap::new();
            for from in (0..3).filter(|from| *from != to) {
                if self.is_open((from, to)) {
                    copies.extend(self.oracle.exchanged(from, to, at));
                } else {
                    let stay = before.iter().filter(|(record, _)| Oracle::owner(record) == from);
                    let stay = stay.filter(|(record, _)| !self.oracle.record(record).recalled);
                    copies.extend(stay.map(|(record, copy)| (record.clone(), copy.clone())));
                }
            }
            let expected: BTreeMap<String, Documents> =
                copies.iter().map(|(record, copy)| (record.clone(), copy.documents.clone())).collect();
            assert_eq!(held[to], expected, "what {} holds", MEMBERS[to]);
            let visible = copies.iter().filter(|(record, copy)| {
                let tier = self.oracle.tier(Oracle::owner(record), &copy.marking);
                tier <= CEILINGS[to] && copy.until.is_none_or(|until| at < until)
            });
            let visible: BTreeSet<String> = visible.map(|(record, _)| record.clone()).collect();
            assert_eq!(seen[to], visible, "what people of {} are shown", MEMBERS[to]);
            self.oracle.copies.insert(to, copies);
        }
        self.compare_refusals(at).await;
        self.compare_recalls().await;
    }

    /// Each refusal to release what somebody decided to share is in the access log.
    async fn compare_refusals(&mut self, at: i64) {
        let mut refused = BTreeSet::new();
        for record in &self.oracle.records {
            for party in record.shares.keys().filter(|party| self.is_open((record.by, **party))) {
                if self.oracle.views(record, *party, at) == 0 {
                    refused.insert((*party, record.id.clone()));
                }
            }
        }
        for (party, record) in refused.difference(&self.refused) {
            let room = self.room(Oracle::owner(record));
            let known = room.refused_since(record, code(*party), self.settled).await;
            assert!(known, "the refusal of {record} to {} is in no access record", MEMBERS[*party]);
        }
        self.refused = refused;
    }

    /// Everybody to whom a recalled record ever went has destroyed it, and said so.
    async fn compare_recalls(&self) {
        for record in &self.recalls {
            let room = self.room(Oracle::owner(record));
            let view = room.node().recall_status(&room.operator, id(record)).await.unwrap();
            let asked: BTreeSet<MemberId> = view.recall.parties.iter().map(|party| party.party).collect();
            let went: BTreeSet<MemberId> =
                self.oracle.record(record).went_to.iter().map(|party| code(*party)).collect();
            assert_eq!(asked, went, "from whom {record} is recalled");
            for party in &view.recall.parties {
                assert_eq!(party.answer, Some(Answer::Destroyed), "{record} at {}", party.party);
            }
        }
    }
}
