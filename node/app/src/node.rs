//! The node as its use cases see it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use comity_consensus::Consensus;
use comity_consensus::cosign::Cosigner;
use comity_core::access::{AccessRecord, Outcome, Touched, log_origin};
use comity_core::clearance::{Clearance, People};
use comity_core::genesis::{Genesis, RosterMember};
use comity_core::marking::equivalence::Equivalences;
use comity_core::release::{Party, PartyStatus};
use comity_core::roster::{MemberStatus, Roster};
use comity_core::{MemberId, SpiffeId, Timestamp, TrustDomain};
use comity_policy::Policies;
use comity_store::NationalStore;
use comity_store::access_log::AccessLog;
use comity_store::outbox::Lag;
use ed25519_dalek::SigningKey;
use tokio::sync::{Semaphore, watch};

use crate::confirmation::{Standing, Witnesses};
use crate::cursor::{Cursors, Tokens};
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::release::{Refusals, Ticks, Turn};
use crate::watchers::Watchers;

/// How many streams of one partner may be open at one time: the one that it works with, and those of lines that were cut.
const STREAMS_MAX: usize = 4;

/// How many exports may be written at one time.
const EXPORTS_MAX: usize = 16;

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
    /// When something was last heard of it over the stream, be it that there is nothing new.
    pub last_heard: Option<Timestamp>,
    /// Whether everything that it has for this node had come by then.
    pub up_to_date: bool,
    /// What broke the last stream, until the next one stands.
    pub problem: Option<String>,
}

/// What a partner's streams share.
#[derive(Debug)]
pub(crate) struct ExchangeLine {
    /// One page at a time: numbers are given in order.
    pub(crate) turn: tokio::sync::Mutex<Turn>,
    /// The streams that may be open at one time.
    pub(crate) streams: Arc<Semaphore>,
    /// What is still to be recorded as refused.
    pub(crate) refusals: Refusals,
}

/// What a node is put together from. The policies and clearances are those that [`Node::load_policies`] found valid.
pub struct NodeParts {
    /// Whose node it is, as its files have it: what holds until the roster names this member.
    pub own: RosterMember,
    /// The federation's genesis.
    pub genesis: Arc<Genesis>,
    /// The genesis file, exactly: for those who are invited.
    pub genesis_file: Vec<u8>,
    /// The national store.
    pub store: NationalStore,
    /// The list.
    pub consensus: Consensus,
    /// The list's checkpoints.
    pub cosigner: Cosigner,
    /// The policies in force.
    pub policies: Policies,
    /// How far this member's people are cleared; nothing where nobody decided on it yet.
    pub people: Option<People>,
    /// What national wordings mean.
    pub equivalences: Equivalences,
    /// For how many days backups of this node keep what was destroyed.
    pub backup_days: u32,
    /// How long a page waits for its receipt before the stream ends.
    pub receipt_timeout: Duration,
    /// Pages that are not full leave at multiples of this.
    pub answer_tick: Duration,
    /// Between signed heads of the access log, while it grows.
    pub checkpoint_interval: Duration,
    /// Where archived leaves of the access log are put.
    pub archive_dir: PathBuf,
    /// Where the officers' copies of them are.
    pub policy_dir: PathBuf,
    /// The member's keys.
    pub keys: Keys,
}

/// One member's node: its stores, its keys, the list, and who may do what with them.
pub struct Node {
    own: RosterMember,
    pub(crate) genesis: Arc<Genesis>,
    genesis_file: Vec<u8>,
    pub(crate) store: NationalStore,
    pub(crate) access_log: AccessLog,
    pub(crate) consensus: Consensus,
    pub(crate) cosigner: Cosigner,
    pub(crate) policies: ArcSwap<Policies>,
    pub(crate) policy_dir: PathBuf,
    pub(crate) keys: Keys,
    pub(crate) people: ArcSwap<Option<People>>,
    pub(crate) equivalences: Equivalences,
    pub(crate) backup_days: u32,
    receipt_timeout: Duration,
    checkpoint_interval: Duration,
    pub(crate) archive_dir: PathBuf,
    /// Held while leaves are archived.
    pub(crate) archiving: tokio::sync::Mutex<()>,
    pub(crate) ticks: Ticks,
    pub(crate) cursors: Cursors,
    pub(crate) tokens: Tokens,
    /// Grows as partners come: the roster bounds it.
    lines: Mutex<BTreeMap<MemberId, Arc<ExchangeLine>>>,
    /// Changes when a recall was made.
    pub(crate) recalled: watch::Sender<u64>,
    /// Changes when something of the node's own is to be told to an originator.
    pub(crate) answered: watch::Sender<u64>,
    pub(crate) policy_turn: tokio::sync::Mutex<()>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) exports: Arc<Semaphore>,
    peers: Mutex<BTreeMap<MemberId, PeerHealth>>,
    started: Timestamp,
    stopping: watch::Sender<bool>,
    pub(crate) standing: watch::Sender<Standing>,
    /// What other members said of this node's access log: the roster bounds it.
    pub(crate) witnesses: Mutex<Witnesses>,
    /// Held while it is decided how this node stands.
    pub(crate) deciding: tokio::sync::Mutex<()>,
    /// Held while another member's log is cosigned.
    pub(crate) cosigning: tokio::sync::Mutex<()>,
    /// Held while this node's own head is offered to the others.
    pub(crate) offering: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("member", &self.own.member).finish_non_exhaustive()
    }
}

impl Node {
    /// Puts a node together.
    pub fn new(parts: NodeParts) -> Self {
        Self {
            cursors: Cursors::new(parts.keys.node.as_bytes()),
            tokens: Tokens::new(parts.keys.node.as_bytes()),
            lines: Mutex::default(),
            recalled: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            policy_turn: tokio::sync::Mutex::new(()),
            watchers: Arc::default(),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            peers: Mutex::default(),
            started: fresh::now(),
            stopping: watch::Sender::new(false),
            standing: watch::Sender::new(Standing::Waiting { heard: 0, needed: 0 }),
            witnesses: Mutex::default(),
            deciding: tokio::sync::Mutex::default(),
            cosigning: tokio::sync::Mutex::default(),
            offering: tokio::sync::Mutex::default(),
            policies: ArcSwap::from_pointee(parts.policies),
            people: ArcSwap::from_pointee(parts.people),
            equivalences: parts.equivalences,
            backup_days: parts.backup_days,
            receipt_timeout: parts.receipt_timeout,
            checkpoint_interval: parts.checkpoint_interval,
            archive_dir: parts.archive_dir,
            archiving: tokio::sync::Mutex::default(),
            ticks: Ticks::new(parts.answer_tick),
            own: parts.own,
            genesis: parts.genesis,
            genesis_file: parts.genesis_file,
            access_log: parts.store.access_log().clone(),
            store: parts.store,
            consensus: parts.consensus,
            cosigner: parts.cosigner,
            policy_dir: parts.policy_dir,
            keys: parts.keys,
        }
    }

    /// Whose node this is.
    pub fn member(&self) -> MemberId {
        self.own.member
    }

    /// The name under which its people and its node are known.
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.own.trust_domain
    }

    /// This member's row: the roster's, or where it is not admitted yet that of its own files.
    pub fn roster_row(&self) -> RosterMember {
        let member = self.member();
        self.roster(|roster| roster.get(member).map(|own| own.row.clone())).unwrap_or_else(|| self.own.clone())
    }

    /// Every row by which this node knows its own people and itself: the roster's, and that of its own files where it awaits
    /// admission, or the replacement of its keys.
    pub fn own_rows(&self) -> Vec<RosterMember> {
        let awaited = self.roster(|roster| !roster.keyring().knows(self.own.node_key));
        let mut rows = vec![self.roster_row()];
        if awaited && rows.first().is_none_or(|row| *row != self.own) {
            rows.push(self.own.clone());
        }
        rows
    }

    /// The federation's genesis.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.genesis
    }

    /// The genesis file, exactly.
    pub fn genesis_file(&self) -> &[u8] {
        &self.genesis_file
    }

    /// The list.
    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Looks at the roster as it stands on this node, or as it stood in the list that a node began with which has not caught up
    /// yet. `look` must be short and must not wait.
    pub fn roster<R>(&self, look: impl FnOnce(&Roster) -> R) -> R {
        self.consensus.roster(look)
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

    /// Becomes true once the node stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// How long a page waits for its receipt before the stream ends.
    pub fn receipt_timeout(&self) -> Duration {
        self.receipt_timeout
    }

    /// Between signed heads of the access log, while it grows.
    pub fn checkpoint_interval(&self) -> Duration {
        self.checkpoint_interval
    }

    /// Which incarnation the access log is.
    pub fn access_log_incarnation(&self) -> u64 {
        self.access_log.incarnation().number
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
        self.record_access(AccessRecord { member, touched, ..AccessRecord::new(fresh::now(), from, action) }).await
    }

    /// Writes that records were not released to a partner.
    pub(crate) async fn record_denied_release(
        &self,
        partner: MemberId,
        touched: Vec<Touched>,
    ) -> Result<(), InternalError> {
        let record = AccessRecord {
            member: Some(partner),
            outcome: Outcome::Denied,
            reason: Some("NOT_RELEASED".to_owned()),
            touched,
            ..AccessRecord::new(fresh::now(), "this node", "release")
        };
        self.record_access(record).await
    }

    /// The origin of this node's access log.
    pub fn access_log_origin(&self) -> String {
        log_origin(&self.own.trust_domain, self.access_log.incarnation().number)
    }

    /// A member or recipient as the release decision sees it.
    pub(crate) fn party(&self, member: MemberId) -> Option<Party> {
        self.roster(|roster| {
            let standing = roster.get(member)?;
            let status = match standing.status {
                MemberStatus::Active => PartyStatus::Active,
                MemberStatus::Suspended => PartyStatus::Suspended,
                MemberStatus::Expelled => PartyStatus::Expelled,
            };
            Some(Party { member, status, ceiling: standing.row.ceiling, voting: standing.row.voting })
        })
    }

    /// The other members and recipients that take part, with where their nodes listen.
    pub fn partners(&self) -> Vec<RosterMember> {
        self.roster(|roster| {
            let others = roster.active().filter(|standing| standing.row.member != self.member());
            others.map(|standing| standing.row.clone()).collect()
        })
    }

    /// Whether a member or recipient takes part at present.
    pub fn takes_part(&self, member: MemberId) -> bool {
        self.roster(|roster| roster.active().any(|standing| standing.row.member == member))
    }

    /// How far a person of this member is cleared.
    pub(crate) fn clearance(&self, person: &SpiffeId) -> Clearance {
        match self.people.load().as_ref() {
            Some(people) => people.of(person).clone(),
            None => People::before_any(self.roster_row().ceiling).default,
        }
    }

    /// What the streams of a partner share; nothing for whoever takes no part.
    pub(crate) fn line(&self, partner: MemberId) -> Option<Arc<ExchangeLine>> {
        let takes_part = self.party(partner).is_some_and(|party| party.status == PartyStatus::Active);
        if !takes_part || partner == self.member() {
            return None;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(partner).or_insert_with(|| {
            let streams = Arc::new(Semaphore::new(STREAMS_MAX));
            Arc::new(ExchangeLine { turn: tokio::sync::Mutex::default(), streams, refusals: Refusals::default() })
        });
        Some(Arc::clone(line))
    }

    /// Notes that something came from a peer, and whether that was all it has.
    pub fn note_heard(&self, from: MemberId, up_to_date: bool) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.insert(from, PeerHealth { last_heard: Some(fresh::now()), up_to_date, problem: None });
    }

    /// Notes what broke the stream with a peer. Returns whether that is news.
    pub fn note_problem(&self, from: MemberId, problem: String) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let health = peers.entry(from).or_default();
        let news = health.problem.as_ref() != Some(&problem);
        health.problem = Some(problem);
        news
    }

    /// How the exchange with a peer goes.
    pub fn peer_health(&self, member: MemberId) -> PeerHealth {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(&member).cloned().unwrap_or_default()
    }

    /// How far a partner is behind: what waits for a decision, what was released and is not acknowledged.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn outbox_lag(&self, party: MemberId) -> Result<Lag, AppError> {
        Ok(self.store.outbox().lag(party).await.map_err(InternalError::Store)?)
    }

    /// How many copies of each originator's records there are here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn copies_held(&self) -> Result<BTreeMap<MemberId, u64>, AppError> {
        Ok(self.store.copies().counts().await.map_err(InternalError::Store)?)
    }

    /// Exchanges the key that wraps the keys of records. Returns how many were wrapped anew.
    ///
    /// # Errors
    /// The key's file or the store failed: it goes on when it is asked for again, or when the node starts.
    pub async fn rotate_store_key(&self) -> Result<u64, AppError> {
        self.record_own("rotate store key", "this node".to_owned(), Some(self.member()), Vec::new()).await?;
        Ok(self.store.rotate_key().await.map_err(InternalError::Rotation)?)
    }

    /// Returns once another process has taken the national store: this node must stop.
    pub async fn store_lost(&self) {
        self.store.lost().await;
    }

    /// A partner takes part from now on, or again: what it may have is decided anew when it next pulls.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn welcome(&self, partner: MemberId) -> Result<(), AppError> {
        self.store.outbox().requeue_everything(partner).await.map_err(InternalError::Store)?;
        Ok(())
    }

    /// How many leaves the access log has.
    pub fn access_log_size(&self) -> u64 {
        self.access_log.head().size
    }
}
