//! The node as its use cases see it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use comity_consensus::Consensus;
use comity_consensus::cosign::Cosigner;
use comity_core::access::{AccessRecord, Outcome, Touched, log_origin};
use comity_core::genesis::{Genesis, RosterMember};
use comity_core::release::{Party, PartyStatus};
use comity_core::{MemberId, Timestamp};
use comity_policy::Policies;
use comity_store::NationalStore;
use comity_store::access_log::AccessLog;
use ed25519_dalek::SigningKey;
use tokio::sync::{Semaphore, watch};

use crate::cursor::Cursors;
use crate::error::{AppError, InternalError};
use crate::fresh;

/// The incarnation of an access log that was never restored.
pub(crate) const FIRST_INCARNATION: u64 = 1;

/// How many pulls of one partner may wait at one time: the one that it works with, and those of lines that were cut.
const PULLS_MAX: usize = 4;

/// The member's keys that live on this node.
pub struct Keys {
    /// Signs deciding commands.
    pub decision: SigningKey,
    /// Signs pages, receipts, times and checkpoints.
    pub node: SigningKey,
}

/// How the exchange with one peer goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerHealth {
    /// When a pull from it last succeeded.
    pub last_pull: Option<Timestamp>,
    /// What kept the last one from succeeding.
    pub problem: Option<String>,
}

/// One member's node: its stores, its keys, the list, and who may do what with them.
pub struct Node {
    pub(crate) own: RosterMember,
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) store: NationalStore,
    pub(crate) access_log: AccessLog,
    pub(crate) consensus: Consensus,
    pub(crate) cosigner: Cosigner,
    pub(crate) policies: ArcSwap<Policies>,
    pub(crate) policy_dir: PathBuf,
    pub(crate) keys: Keys,
    pub(crate) cursors: Cursors,
    /// One pull of a partner at a time: numbers are given in order.
    pub(crate) outbox_turns: BTreeMap<MemberId, tokio::sync::Mutex<()>>,
    /// The pulls of a partner that may wait for news at one time.
    pub(crate) outbox_waits: BTreeMap<MemberId, Semaphore>,
    pub(crate) policy_turn: tokio::sync::Mutex<()>,
    peers: Mutex<BTreeMap<MemberId, PeerHealth>>,
    started: Timestamp,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("member", &self.own.member).finish_non_exhaustive()
    }
}

impl Node {
    /// Puts a node together. The policies are those that [`Node::load_policies`] found valid.
    #[allow(clippy::too_many_arguments, reason = "called once, by the wiring")]
    pub fn new(
        own: RosterMember,
        genesis: Arc<Genesis>,
        store: NationalStore,
        consensus: Consensus,
        cosigner: Cosigner,
        policies: Policies,
        policy_dir: PathBuf,
        keys: Keys,
    ) -> Self {
        let partners = || genesis.members().keys().copied().filter(|m| *m != own.member);
        Self {
            cursors: Cursors::new(keys.node.as_bytes()),
            outbox_turns: partners().map(|m| (m, tokio::sync::Mutex::new(()))).collect(),
            outbox_waits: partners().map(|m| (m, Semaphore::new(PULLS_MAX))).collect(),
            policy_turn: tokio::sync::Mutex::new(()),
            peers: Mutex::default(),
            started: fresh::now(),
            stopping: watch::Sender::new(false),
            policies: ArcSwap::from_pointee(policies),
            own,
            genesis,
            access_log: store.access_log().clone(),
            store,
            consensus,
            cosigner,
            policy_dir,
            keys,
        }
    }

    /// Whose node this is.
    pub fn member(&self) -> MemberId {
        self.own.member
    }

    /// The federation's genesis.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.genesis
    }

    /// The list.
    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Signs and keeps checkpoints of the list.
    pub fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// The key that signs what this node says.
    pub fn node_key(&self) -> &SigningKey {
        &self.keys.node
    }

    /// Ends what waits for news, so that a shutdown need not wait for it.
    pub fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// When this node began to serve.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Writes an access record; returns when it is durable.
    ///
    /// # Errors
    /// The log cannot be written: nothing may be answered then.
    pub async fn record_access(&self, record: AccessRecord) -> Result<(), InternalError> {
        self.access_log.append(record).await?;
        Ok(())
    }

    /// Writes that this node began to serve: a node that cannot write its log does not.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn record_start(&self) -> Result<(), InternalError> {
        self.record_own("node started", "this node".to_owned(), Some(self.member()), Vec::new()).await
    }

    /// Whether the access log could be written when it was last tried.
    pub fn can_record(&self) -> bool {
        self.access_log.is_healthy()
    }

    /// Writes an access record of what the node does by itself.
    pub(crate) async fn record_own(
        &self,
        action: &str,
        from: String,
        member: Option<MemberId>,
        touched: Vec<Touched>,
    ) -> Result<(), InternalError> {
        let record = AccessRecord {
            at: fresh::now(),
            who: None,
            member,
            from,
            action: action.to_owned(),
            outcome: Outcome::Allowed,
            reason: None,
            touched,
            request_id: None,
            count: 1,
        };
        self.record_access(record).await
    }

    /// Writes that records were not released to a partner.
    pub(crate) async fn record_denied_release(
        &self,
        partner: MemberId,
        touched: Vec<Touched>,
    ) -> Result<(), InternalError> {
        let record = AccessRecord {
            at: fresh::now(),
            who: None,
            member: Some(partner),
            from: "this node".to_owned(),
            action: "release".to_owned(),
            outcome: Outcome::Denied,
            reason: Some("NOT_RELEASED".to_owned()),
            touched,
            request_id: None,
            count: 1,
        };
        self.record_access(record).await
    }

    /// The origin of this node's access log.
    pub fn access_log_origin(&self) -> String {
        log_origin(&self.own.trust_domain, FIRST_INCARNATION)
    }

    /// A partner as the release decision sees it.
    pub(crate) fn party(&self, member: MemberId) -> Option<Party> {
        let roster = self.genesis.member(member)?;
        Some(Party { member, status: PartyStatus::Active, ceiling: roster.ceiling, voting: roster.voting })
    }

    /// The other members and recipients, with where their nodes listen.
    pub fn partners(&self) -> impl Iterator<Item = &RosterMember> {
        self.genesis.members().values().filter(|m| m.member != self.own.member)
    }

    /// Notes how a pull went.
    pub fn note_pull(&self, from: MemberId, result: Result<(), String>) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let health = peers.entry(from).or_default();
        match result {
            Ok(()) => *health = PeerHealth { last_pull: Some(fresh::now()), problem: None },
            Err(problem) => health.problem = Some(problem),
        }
    }

    /// How the exchange with a peer goes.
    pub fn peer_health(&self, member: MemberId) -> PeerHealth {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(&member).cloned().unwrap_or_default()
    }

    /// How many changes a partner has not acknowledged yet: those that wait for a decision, and those released.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn outbox_lag(&self, party: MemberId) -> Result<u64, AppError> {
        let lag = self.store.outbox().lag(party).await.map_err(InternalError::Store)?;
        Ok(lag.queued + lag.last_number.saturating_sub(lag.receipted))
    }

    /// How many leaves the access log has.
    pub fn access_log_size(&self) -> u64 {
        self.access_log.head().size
    }
}
