//! Accesses as the core knows them, read off the wire; and how often and when there were some.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use comity_core::Timestamp;
use comity_core::access::{AccessRecord, Outcome, Touched};
use comity_proto::v1;
use serde::Serialize;

use super::filter::Filter;
use super::walk::{Reach, walk};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::when;

/// So many rows are kept of one review; what belongs to further ones is counted.
const ROWS_MAX: usize = 10_000;

/// One leaf, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) leaf: u64,
    pub(super) record: AccessRecord,
}

/// Takes every access that matches, in order, up to the present.
pub(super) async fn each(
    session: &mut Session<'_>,
    filter: &Filter,
    mut take: impl FnMut(&Access),
) -> Result<(), Failure> {
    walk(session, filter, Reach::Present, |_, record| {
        take(&Access::read(record)?);
        Ok(ControlFlow::Continue(()))
    })
    .await
}

impl Access {
    pub(super) fn read(wire: v1::AccessRecord) -> Result<Self, Failure> {
        let leaf = wire.leaf;
        record(wire).map(|record| Self { leaf, record }).map_err(|field| {
            let message = format!("access log: what the node sent as leaf {leaf} is no access record: {field}");
            Failure::new(Exit::VerificationFailed, message).next("comity audit verify")
        })
    }
}

/// The record, or the field that is none.
fn record(wire: v1::AccessRecord) -> Result<AccessRecord, &'static str> {
    let at = when::core_instant(wire.time.as_ref()).ok_or("time")?;
    let outcome = match wire.outcome.as_str() {
        "allowed" => Outcome::Allowed,
        "denied" => Outcome::Denied,
        "failed" => Outcome::Failed,
        _ => return Err("outcome"),
    };
    let mut touched = Vec::with_capacity(wire.touched.len());
    for t in wire.touched {
        let version = said(t.version).map(|version| version.parse().map_err(|_| "version")).transpose()?;
        touched.push(Touched { resource: t.resource, version, view: said(t.view), because: t.because });
    }
    Ok(AccessRecord {
        who: said(wire.who).map(|who| who.parse().map_err(|_| "who")).transpose()?,
        member: said(wire.member).map(|member| member.parse().map_err(|_| "member")).transpose()?,
        outcome,
        reason: said(wire.reason),
        touched,
        request_id: said(wire.request_id),
        count: wire.count,
        ..AccessRecord::new(at, wire.from, wire.action)
    })
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// How often, and when first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    pub(super) times: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) first_leaf: u64,
    pub(super) last_leaf: u64,
}

impl Seen {
    fn begin(access: &Access) -> Self {
        let at = access.record.at;
        Self { times: 0, first: at, last: at, first_leaf: access.leaf, last_leaf: access.leaf }
    }

    fn add(&mut self, access: &Access) {
        self.times = self.times.saturating_add(access.record.count);
        self.first = self.first.min(access.record.at);
        self.last = self.last.max(access.record.at);
        self.last_leaf = access.leaf;
    }

    /// As the last three columns of a table.
    pub(super) fn cells(&self) -> [String; 3] {
        [self.times.to_string(), when::stated(self.first.to_jiff()), when::stated(self.last.to_jiff())]
    }
}

/// Accesses that are alike, together; at most [`ROWS_MAX`] kinds of them.
#[derive(Debug)]
pub(super) struct Tally<K> {
    rows: BTreeMap<K, Seen>,
    left_out: u64,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), left_out: 0 }
    }
}

impl<K: Ord> Tally<K> {
    pub(super) fn add(&mut self, key: K, access: &Access) {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        self.rows.entry(key).or_insert_with(|| Seen::begin(access)).add(access);
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&K, &Seen)> {
        self.rows.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many accesses found no row.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An access of a leaf's own second.
    pub(in crate::audit) fn access(leaf: u64, who: &str, action: &str, touched: Vec<Touched>) -> Access {
        let at = Timestamp::from_micros(1_800_000_000_000_000 + leaf as i64 * 1_000_000).unwrap();
        let who = (!who.is_empty()).then(|| format!("spiffe://fr.comity.example/{who}").parse().unwrap());
        let member = Some("FR".parse().unwrap());
        Access { leaf, record: AccessRecord { who, member, touched, ..AccessRecord::new(at, "10.0.0.1:5", action) } }
    }

    #[test]
    fn what_is_no_record_is_named() {
        let good = v1::AccessRecord {
            time: Some(prost_types::Timestamp::default()),
            outcome: "allowed".into(),
            ..Default::default()
        };
        assert!(Access::read(good.clone()).is_ok());
        let failed = Access::read(v1::AccessRecord { who: "king".into(), leaf: 9, ..good }).unwrap_err();
        assert!(failed.message().contains("leaf 9") && failed.message().contains("who"), "{}", failed.message());
    }

    #[test]
    fn rows_are_bounded_and_what_is_left_out_is_counted() {
        let mut tally = Tally::default();
        for n in 0..ROWS_MAX as u64 + 5 {
            tally.add(n, &access(n, "operator/desk-1", "x", Vec::new()));
            tally.add(0, &access(n, "operator/desk-1", "x", Vec::new()));
        }
        assert_eq!((tally.rows().count(), tally.left_out()), (ROWS_MAX, 5));
        let (_, seen) = tally.rows().next().unwrap();
        assert_eq!((seen.times, seen.first_leaf, seen.last_leaf), (ROWS_MAX as u64 + 6, 0, ROWS_MAX as u64 + 4));
    }
}
