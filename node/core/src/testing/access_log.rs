//! A member's access log with fixed salts, and bundles of it.

use super::{Federation, member, roster_member};
use crate::access::bundle::{self, Header, OlderHead, Shape};
use crate::access::{AccessLeaf, AccessRecord, ExchangedPage, PAGE_RECEIVED, PAGE_SENT, Touched, log_origin};
use crate::canonical::Hex32;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::genesis::Genesis;
use crate::member::MemberId;
use crate::merkle::MerkleLog;
use crate::record::{RecordId, RecordKind, VersionId};
use crate::timestamp::Timestamp;

/// The log of one member of a [`Federation`]. Leaf `n` always has the same salts.
#[derive(Debug, Clone)]
pub struct AccessLogOf {
    /// Whose.
    pub member: MemberId,
    /// Its leaves.
    pub leaves: Vec<AccessLeaf>,
    log: MerkleLog,
}

impl AccessLogOf {
    /// An empty log.
    pub fn new(member: MemberId) -> Self {
        Self { member, leaves: Vec::new(), log: MerkleLog::default() }
    }

    /// A log of accesses of several kinds, pages to and from `partner` among them.
    pub fn sample(member: MemberId, partner: MemberId, leaves: u64) -> Self {
        let mut log = Self::new(member);
        for n in 0..leaves {
            match n % 7 {
                3 => log.page(PAGE_SENT, partner, 2 * (n / 7 + 1), &[n, n + 1]),
                5 => log.page(PAGE_RECEIVED, partner, n / 7 + 1, &[n]),
                _ => log.push(AccessRecord {
                    touched: vec![Touched::resource(format!("CW-2026-{n:04}")).by("read")],
                    ..AccessRecord::new(instant(n), "10.0.0.7:50412", "ListService/GetEntry")
                }),
            }
        }
        log
    }

    /// Appends an access.
    pub fn push(&mut self, record: AccessRecord) {
        let n = self.leaves.len();
        let salt = |which: &str| Hex32(crate::sha256(format!("{}/{which}/{n}", self.member).as_bytes()));
        let leaf = AccessLeaf::new(&record, [salt("salt"), salt("annex")]);
        self.log.append(leaf.hash());
        self.leaves.push(leaf);
    }

    /// With one more leaf whose record is any bytes.
    #[must_use]
    pub fn with_raw(mut self, record: Vec<u8>) -> Self {
        let leaf = AccessLeaf { salt: Hex32([7; 32]), record, annex: Vec::new() };
        self.log.append(leaf.hash());
        self.leaves.push(leaf);
        self
    }

    /// Appends a page with these records, whose last item has this number. The root follows from what the page says, so that both
    /// sides have the same; its policies are this side's own.
    pub fn page(&mut self, action: &str, partner: MemberId, last_number: u64, records: &[u64]) {
        self.page_sealed(action, partner, last_number, records, 0);
    }

    /// As [`Self::page`], of a page that was made so many times before: with other salts, under another root.
    pub fn page_sealed(&mut self, action: &str, partner: MemberId, last_number: u64, records: &[u64], again: u64) {
        let at = instant(self.leaves.len() as u64);
        let root = Hex32(crate::sha256(format!("{last_number} {records:?} {again}").as_bytes()));
        let touched = records.iter().map(|record| Touched {
            version: Some(version_id(*record)),
            view: Some("read".into()),
            because: if action == PAGE_SENT { vec![format!("for-{partner}")] } else { Vec::new() },
            ..Touched::resource(record_id(*record).to_string())
        });
        self.push(AccessRecord {
            member: Some(partner),
            touched: touched.collect(),
            page: Some(ExchangedPage { root, last_number }),
            ..AccessRecord::new(at, format!("node of {partner}"), action)
        });
    }

    /// The signed head at a size, cosigned by these.
    pub fn head(&self, federation: &Federation, size: u64, cosigners: &[MemberId]) -> SignedCheckpoint {
        let domain = |member| roster_member(0, member).trust_domain;
        let root = self.log.root_at(size).expect("a size of the log");
        let origin = log_origin(&domain(self.member), 1);
        let mut note = SignedCheckpoint::unsigned(Checkpoint { origin, size, root });
        note.sign(&federation.keys(self.member).node);
        for cosigner in cosigners {
            let name = Genesis::cosigner_name(&domain(*cosigner));
            note.cosign(&name, &federation.keys(*cosigner).node, instant(size));
        }
        note
    }

    /// The header of a range of the whole log's head, with proofs for these older sizes.
    pub fn header(&self, federation: &Federation, first: u64, end: u64, older: &[u64]) -> Header {
        let size = self.leaves.len() as u64;
        let others: Vec<MemberId> = federation.voters().into_iter().filter(|m| *m != self.member).collect();
        let older = older.iter().map(|older| OlderHead {
            size: *older,
            root: self.log.root_at(*older).expect("a size of the log"),
            proof: if *older == size { Vec::new() } else { self.log.prove_consistency(size, *older).expect("a proof") },
        });
        Header {
            federation: federation.genesis.federation(),
            shape: Shape::Range,
            first,
            end,
            count: end - first,
            with_annex: true,
            asked: (None, None),
            older: older.collect(),
            note: self.head(federation, size, &others),
        }
    }

    /// A bundle of every leaf from `first` to `end - 1`.
    pub fn range(&self, federation: &Federation, first: u64, end: u64, older: &[u64]) -> Vec<u8> {
        self.bundle(&self.header(federation, first, end, older), first..end)
    }

    /// A bundle of single leaves, without annexes.
    pub fn selected(&self, federation: &Federation, numbers: &[u64]) -> Vec<u8> {
        let size = self.leaves.len() as u64;
        let header = Header {
            shape: Shape::Selected,
            count: numbers.len() as u64,
            with_annex: false,
            ..self.header(federation, 0, size, &[])
        };
        self.bundle(&header, numbers.iter().copied())
    }

    /// A bundle under any header.
    pub fn bundle(&self, header: &Header, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let leaf = |n: u64| usize::try_from(n).ok().and_then(|n| self.leaves.get(n)).expect("a leaf").clone();
        bundle::whole(header, &self.log, numbers, leaf, |piece| bytes.extend_from_slice(piece)).expect("a log");
        bytes
    }
}

/// The instant at which leaf `n` of a sample was written.
pub fn instant(n: u64) -> Timestamp {
    let seconds = i64::try_from(n).unwrap_or(i64::MAX / 2_000_000);
    Timestamp::from_micros(1_795_000_000_000_000 + seconds * 1_000_000).expect("an instant")
}

fn record_id(serial: u64) -> RecordId {
    let mut random = [0xB0; 10];
    if let Some(tail) = random.last_chunk_mut() {
        *tail = serial.to_be_bytes();
    }
    RecordId::new(member("FR"), RecordKind::Proposal, random)
}

fn version_id(serial: u64) -> VersionId {
    let mut random = [0xD0; 16];
    if let Some(tail) = random.last_chunk_mut() {
        *tail = serial.to_be_bytes();
    }
    VersionId::new(random)
}
