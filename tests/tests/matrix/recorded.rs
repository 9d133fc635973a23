//! Every call that was made has its record in the access log of the node that it was made to: by whom, from where, what, and with
//! what outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use comity_api::table::{RPCS, Recording};
use comity_app::WATCH_ENDED;
use comity_cli::demo::federation::Federation;
use comity_core::access::{AccessRecord, Outcome, PAGE_SENT};
use comity_core::dsse::Envelope;
use comity_core::view::PageStatement;
use comity_core::{MemberId, Role, Timestamp};
use comity_identity::Authority;
use comity_proto::v1;
use comity_proto::v1::exchange_response::Message;
use comity_tests::stores;
use prost::Message as _;

use crate::wire::Answer;

/// The nodes that call: certificates of their own, so that what real nodes say to each other is told apart.
pub const NODE: &str = "matrix-1";

/// Gives every party a certificate for the node of this name.
pub fn issue_node_certificates(federation: &Federation) {
    let now = Timestamp::from_jiff(jiff::Timestamp::now());
    for seat in &federation.seats {
        let authority = Authority::load(&seat.folder).unwrap();
        let day = Duration::from_secs(24 * 3600);
        authority.issue(Role::Node, NODE, now, day).unwrap().save(&seat.folder, false).unwrap();
    }
}

/// One call, as the log must have it: at whose node, in whose name, what, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    at: String,
    who: String,
    action: String,
    outcome: &'static str,
    reason: Option<String>,
}

/// What was called, and which pages came.
#[derive(Debug)]
pub struct Journal {
    begun: Timestamp,
    calls: Mutex<BTreeMap<Call, u64>>,
    /// By whose node it was asked for: the root and the last number of a page.
    pages: Mutex<BTreeSet<(MemberId, String, u64)>>,
}

impl Journal {
    pub fn begin() -> Self {
        Self { begun: Timestamp::from_jiff(jiff::Timestamp::now()), calls: Mutex::default(), pages: Mutex::default() }
    }

    /// Notes a call in somebody's name to the node of `at`, and what was answered.
    pub fn note(&self, at: &str, of: &str, role: Role, name: &str, method: &str, answer: &Answer) {
        let (outcome, reason) = answer.recorded();
        let who = id_of(of, role, name);
        let call = Call { at: at.to_owned(), who, action: method.to_owned(), outcome: outcome.as_str(), reason };
        *self.calls.lock().unwrap().entry(as_it_is_recorded(call)).or_default() += 1;
        if method == "PeerService/Exchange" && !answer.body.is_empty() {
            let message = v1::ExchangeResponse::decode(answer.body.as_slice()).unwrap().message;
            if let Some(Message::Page(page)) = message {
                let envelope = Envelope::from_bytes(&page.envelope).unwrap();
                let page: PageStatement = comity_core::canonical::from_slice(&envelope.payload).unwrap();
                self.pages.lock().unwrap().insert((
                    of.parse().unwrap(),
                    page.root.to_string(),
                    page.first_number + page.count - 1,
                ));
            }
        }
    }

    /// Stops the nodes and holds their logs against what was called. Returns what is missing, too much or otherwise there.
    pub async fn compare(&self, federation: &mut Federation, callers: &[(Role, &str)]) -> Vec<String> {
        federation.shut_down(Duration::from_secs(20)).await;
        let (mut recorded, mut pages, mut wrong) = (BTreeMap::<Call, u64>::new(), BTreeSet::new(), Vec::new());
        for seat in &federation.seats {
            for record in records(federation, seat.member).await {
                let Some(who) = &record.who else { continue };
                let ours = callers.contains(&(who.role(), who.name()));
                if record.at < self.begun || !ours {
                    continue;
                }
                let who = who.to_string();
                wrong.extend(untold(&record));
                // What a look into the log came to is a second record of the same call.
                if record.action == WATCH_ENDED {
                    continue;
                }
                if let (PAGE_SENT, Some(page), Some(member)) = (record.action.as_str(), &record.page, record.member) {
                    pages.insert((member, page.root.to_string(), page.last_number));
                    continue;
                }
                let call = Call {
                    at: seat.member.to_string(),
                    who,
                    action: record.action,
                    outcome: record.outcome.as_str(),
                    reason: record.reason,
                };
                *recorded.entry(call).or_default() += record.count;
            }
        }
        let called = self.calls.lock().unwrap().clone();
        for call in called.keys().chain(recorded.keys()).collect::<BTreeSet<_>>() {
            let (calls, leaves) = (called.get(call).unwrap_or(&0), recorded.get(call).unwrap_or(&0));
            if calls != leaves {
                wrong.push(format!("{call:?}: called {calls} times, recorded {leaves} times"));
            }
        }
        for rpc in RPCS {
            if !recorded.keys().any(|call| call.action == rpc.name) {
                wrong.push(format!("{}: no call of it left a record", rpc.name));
            }
        }
        let came = self.pages.lock().unwrap().clone();
        if came.is_empty() {
            wrong.push("no page came, so that nothing is known of their records".to_owned());
        }
        wrong.extend(came.difference(&pages).map(|page| format!("a page without a record: {page:?}")));
        wrong
    }
}

/// What every record of a caller must say beside what was compared.
fn untold(record: &AccessRecord) -> Option<String> {
    let by_connection = recording_of(&record.action) == Recording::ByConnection;
    let member = record.who.as_ref().map(|who| who.trust_domain().to_string());
    let expected = record.member.map(|member| format!("{}.comity.example", member.to_lowercase()));
    let from = record.from.parse::<std::net::SocketAddr>().is_ok();
    let request = record.request_id.is_some() || by_connection;
    let whole = member == expected && from && request && (by_connection || record.count == 1);
    (!whole).then(|| format!("a record that does not tell all: {record:?}"))
}

fn recording_of(action: &str) -> Recording {
    RPCS.iter().find(|rpc| rpc.name == action).map_or(Recording::EachCall, |rpc| rpc.recording)
}

/// By connection it is only counted what was let in and what was not.
fn as_it_is_recorded(call: Call) -> Call {
    let denied = call.outcome == Outcome::Denied.as_str();
    match recording_of(&call.action) {
        Recording::ByConnection if denied => Call { reason: None, ..call },
        Recording::ByConnection => Call { reason: None, outcome: Outcome::Allowed.as_str(), ..call },
        Recording::EachCall => call,
    }
}

/// All that a stopped node's log holds.
pub async fn records(federation: &Federation, member: MemberId) -> Vec<AccessRecord> {
    let store = stores::open(federation, member).await.unwrap();
    let log = store.access_log();
    let verified = log.verify_stored().await.unwrap();
    assert!(verified.is_sound(), "{member}: {:?}", verified.faults);
    let mut records = Vec::new();
    loop {
        let page = log.leaves(records.len() as u64, 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        records.extend(page.iter().map(|leaf| leaf.record().unwrap()));
    }
    store.close().await;
    records
}

pub fn id_of(member: &str, role: Role, name: &str) -> String {
    format!("spiffe://{}.comity.example/{role}/{name}", member.to_lowercase())
}
