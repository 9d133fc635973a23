//! Following the roster: whom this node trusts, and which connections may stay open.
//!
//! INVARIANT: from the moment at which this node has applied a suspension or an expulsion, what is open with the member's node ends
//! at once, and nothing but recalls is spoken of with it any more (`layer.rs` sees to that for each call): there is no wait in
//! between. Where consensus cannot do without its node, Raft's own messages are heard from it, too, over a connection that stays or
//! a new one, until Raft's membership leaves it out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use comity_app::Node;
use comity_core::genesis::RosterMember;
use comity_core::{MemberId, Timestamp};
use comity_identity::{MemberAnchors, SharedTrust, TrustStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;

use crate::connection::LiveConnections;

/// How often open connections are looked at for certificates that have run out meanwhile.
const SWEEP: Duration = Duration::from_secs(30);

/// Keeps trust and open connections as the roster has them, until shutdown.
pub async fn follow_roster(node: Arc<Node>, trust: SharedTrust, live: LiveConnections, shutdown: CancellationToken) {
    let mut news = node.consensus().subscribe();
    let mut sweep = tokio::time::interval(SWEEP);
    let mut seen = None;
    let mut known: Option<BTreeSet<MemberId>> = None;
    loop {
        news.borrow_and_update();
        let version = counting(&node);
        if seen.replace(version.clone()) != Some(version.clone()) {
            trust.replace(trust_of(&node));
            let partners: BTreeSet<MemberId> = node.partners().into_iter().map(|row| row.member).collect();
            let gone: BTreeSet<MemberId> =
                known.iter().flat_map(|known| known.difference(&partners)).copied().collect();
            let gone = gone.difference(&node.consensus().still_needed()).copied().collect();
            let ended = live.end_of(&gone);
            if ended > 0 {
                tracing::info!(ended, "connections of members that take part no more");
            }
            for newcomer in known.iter().flat_map(|known| partners.difference(known)) {
                if let Err(error) = node.welcome(*newcomer).await {
                    tracing::error!(member = %newcomer, %error, "what it may have is not decided anew");
                }
            }
            known = Some(partners);
        }
        let ended = live.end_lapsed(&trust.load(), Timestamp::from_jiff(jiff::Timestamp::now()));
        if ended > 0 {
            tracing::info!(ended, "connections whose certificate has run out, or is trusted no more");
        }
        // Only a change of the roster, or the sweep, is worth looking at the connections again.
        loop {
            tokio::select! {
                changed = news.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    news.borrow_and_update();
                    if counting(&node) != version {
                        break;
                    }
                }
                _ = sweep.tick() => break,
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// What trust follows from: the roster's version, and whom consensus still needs.
fn counting(node: &Node) -> (u64, BTreeSet<MemberId>) {
    (node.roster(|roster| roster.version()), node.consensus().still_needed())
}

/// The anchors of everybody in the roster, and this member's own, whatever becomes of it: its people still ask its node. Those who
/// take part no more come in by one door.
fn trust_of(node: &Node) -> TrustStore {
    let mut anchors: Vec<MemberAnchors> = node.partners().iter().map(anchors_of).collect();
    let own = node.member();
    anchors.extend(node.roster(|roster| {
        let left = roster.iter().filter(|standing| {
            standing.row.member != own && standing.status != comity_core::roster::MemberStatus::Active
        });
        left.map(|standing| anchors_of(&standing.row)).collect::<Vec<_>>()
    }));
    let mut own = node.own_rows().into_iter();
    if let Some(mut row) = own.next() {
        let more = own.filter(|other| other.trust_domain == row.trust_domain).flat_map(|other| other.roots_pem);
        for root in more.collect::<Vec<_>>() {
            if !row.roots_pem.contains(&root) {
                row.roots_pem.push(root);
            }
        }
        anchors.push(anchors_of(&row));
    }
    let (store, left_out) = TrustStore::lenient(&anchors);
    for problem in left_out {
        tracing::error!(%problem, "a row of the roster is not trusted");
    }
    store
}

fn anchors_of(row: &RosterMember) -> MemberAnchors {
    let der = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).map(|der| der.to_vec()).unwrap_or_default();
    MemberAnchors {
        member: row.member,
        trust_domain: row.trust_domain.clone(),
        roots_der: row.roots_pem.iter().map(der).collect(),
    }
}
