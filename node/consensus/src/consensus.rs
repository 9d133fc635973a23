//! This node's part in the replicated list.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::genesis::Genesis;
use comity_core::list::{ListState, PublicText};
use comity_core::roster::{Roster, member_of_node, node_id};
use openraft::Instant as _;
use openraft::SnapshotPolicy;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use tokio::sync::{Mutex, RwLock, Semaphore, watch};
use tonic::transport::Channel;

use crate::ahead;
use crate::config::{ConsensusConfig, Timing, Tuning};
use crate::guard::Guard;
use crate::log_store::{Leaves, LogOwner, LogStore, OpenLogError};
use crate::membership;
use crate::network::PeerNetworks;
use crate::pages;
use crate::peers::{Dial, Peers};
use crate::pool::{self, Pool};
use crate::pull::Puller;
use crate::read::{Heard, QuorumAge};
use crate::replay::{self, ReplayError};
use crate::server::{self, PeerConsensus, Proposer};
use crate::state_machine::{Applied, Position, StateMachine};
use crate::texts;
use crate::types::{NodeId, Raft};

/// How many elections' time a node hears of no leader before it asks others what it missed.
const QUIET_ELECTIONS: u32 = 2;

/// Why consensus did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Only voting members run consensus.
    #[error(
        "{0} is not a voting member of this genesis: only voting members take part in consensus; a new one begins with what it was invited with (`comity member join`)"
    )]
    NotAVoter(MemberId),
    /// The members have another node of this member in its place.
    #[error(
        "this is node {incarnation} of {member}; the members count node {now}: set up a new one as that, with an empty data folder"
    )]
    Retired {
        /// Whose.
        member: MemberId,
        /// Which this is.
        incarnation: u32,
        /// Which counts.
        now: u32,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] OpenLogError),
    /// The times do not fit together.
    #[error("timing: {0}")]
    Timing(#[from] openraft::ConfigError),
    /// The commands in it do not replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log was read but cannot be taken up.
    #[error("consensus.db cannot be taken up: {0}")]
    Recover(String),
}

/// How this node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListStatus {
    /// Whose node leads, as far as this one knows.
    pub leader: Option<MemberId>,
    /// Raft's term.
    pub term: u64,
    /// Entries in this node's log.
    pub log_entries: u64,
    /// Of them, those that are committed, as far as this node knows.
    pub committed_entries: u64,
    /// Of them, those that this node has applied.
    pub applied_entries: u64,
    /// Of them, those that are purged: the commands among them are kept apart.
    pub purged_entries: u64,
    /// Leaves of the command log.
    pub commands: u64,
    /// Leaves of the public log.
    pub publications: u64,
    /// Where this node leads: how long ago a quorum last answered it, in milliseconds. A leader that is cut off goes on thinking
    /// that it leads; this tells.
    pub quorum_age_ms: Option<u64>,
    /// Whose nodes decide in consensus, as far as this node knows, and which of theirs. They follow the roster: whoever is new
    /// decides once it has caught up.
    pub deciding: BTreeMap<MemberId, u32>,
    /// Whose nodes are sent the log and do not decide: they are catching up, or have not come yet.
    pub awaited: BTreeSet<MemberId>,
    /// Whether who decides is just changing: both those before and those after must agree meanwhile.
    pub changing: bool,
    /// Those voting members whose nodes this one cannot reach, and why.
    pub unreachable: BTreeMap<MemberId, String>,
    /// Why this node takes no part any more, where it does not: restart it.
    pub stopped: Option<String>,
}

/// Which node this is, of which federation.
pub(crate) struct Seat {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) member: MemberId,
    pub(crate) incarnation: u32,
    pub(crate) bootstrap: Option<Arc<ListState>>,
}

/// This node's part in the replicated list. Cheap to clone.
///
/// A recipient's node has none: it holds no log and hears nothing of it, since votes and holds stand there. It observes, which is
/// to say that it knows a roster and reaches those who are in it; the list that it reads is the one that came with that roster.
#[derive(Clone)]
pub struct Consensus {
    member: MemberId,
    pub(crate) applied: Applied,
    pub(crate) peers: Peers,
    pub(crate) part: Option<Arc<Inner>>,
}

pub(crate) struct Inner {
    pub(crate) member: MemberId,
    /// Whether this is a node of the genesis, which begins the log.
    founds: bool,
    pub(crate) raft: Raft,
    pub(crate) log: LogStore,
    pub(crate) applied: Applied,
    pub(crate) peers: Peers,
    pub(crate) proposer: Proposer,
    /// One permit for each command that is being handed in.
    pub(crate) submissions: Semaphore,
    pub(crate) pool: Pool,
    pub(crate) heard: Heard,
    pub(crate) quorum_age: QuorumAge,
    puller: Puller,
    service: PeerConsensus,
    election_max: Duration,
}

impl Consensus {
    /// Opens the log and rebuilds the list from what it holds. Nothing is sent or decided before [`Self::start`], so that the peer port can
    /// be opened in between.
    ///
    /// # Errors
    /// The member does not vote and nothing says that it will, or the log is in use, damaged, or somebody else's.
    pub async fn open(config: ConsensusConfig) -> Result<Self, OpenError> {
        let ConsensusConfig {
            folder,
            genesis,
            member,
            observes,
            incarnation,
            bootstrap,
            credentials,
            trust,
            timing,
            tuning,
        } = config;
        let (seat, dial) = (Seat { genesis, member, incarnation, bootstrap }, Dial::Tls { credentials, trust });
        if observes {
            return Self::observe(seat, dial);
        }
        let owner = LogOwner { federation: seat.genesis.federation(), member, node: node_id(member, incarnation) };
        let log = LogStore::open(folder, owner).await?;
        Self::assemble(seat, timing, tuning, dial, log).await
    }

    /// A recipient's node: the roster that it was given, and the way to those who are in it.
    fn observe(seat: Seat, dial: Dial) -> Result<Self, OpenError> {
        let Seat { genesis, member, incarnation, bootstrap } = seat;
        let peers = Peers::new(genesis.federation(), node_id(member, incarnation), dial);
        let list = bootstrap.map_or_else(|| ListState::new(genesis), Arc::unwrap_or_clone);
        ensure_not_retired(member, incarnation, [&list])?;
        let applied = Applied::new(list, 0, Leaves::default(), Pool::new(Tuning::default().resubmit_ms), None);
        applied.roster(|roster| peers.follow(roster, &BTreeSet::new()));
        Ok(Self { member, applied, peers, part: None })
    }

    /// Puts the parts together: around a log, with a way to dial.
    pub(crate) async fn assemble(
        seat: Seat,
        timing: Timing,
        tuning: Tuning,
        dial: Dial,
        log: LogStore,
    ) -> Result<Self, OpenError> {
        let Seat { genesis, member, incarnation, bootstrap } = seat;
        let node = node_id(member, incarnation);
        let raft_config = openraft::Config {
            cluster_name: genesis.federation().to_string(),
            heartbeat_interval: timing.heartbeat_ms,
            election_timeout_min: timing.election_min_ms,
            election_timeout_max: timing.election_max_ms,
            enable_pre_vote: Some(true),
            // A snapshot costs nothing, and each lets the log before it go.
            snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_every_entries),
            max_in_snapshot_log_to_keep: tuning.keep_entries,
            max_payload_entries: 512,
            // A restarted leader asks for a new election: others may have gone on without it.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        let raft_config = Arc::new(raft_config.validate()?);
        let peers = Peers::new(genesis.federation(), node, dial);
        let list = replay::commands(&genesis, &log).await?;
        ensure_not_retired(member, incarnation, std::iter::once(&list).chain(bootstrap.as_deref()))?;
        let founds = incarnation == 1 && genesis.member(member).is_some_and(|row| row.voting);
        if !founds && log.is_empty() && bootstrap.is_none() {
            return Err(OpenError::NotAVoter(member));
        }
        let pool = Pool::new(tuning.resubmit_ms);
        let from = log.purged_before().map_or(0, |purged| purged.last.index + 1);
        let applied = Applied::new(list, from, log.leaves().clone(), pool.clone(), bootstrap);
        applied.roster(|roster| peers.follow(roster, &BTreeSet::new()));
        let quorum_age = QuorumAge::default();
        let raft = Raft::build(
            node,
            raft_config,
            PeerNetworks { peers: peers.clone(), log: log.clone(), quorum_age: quorum_age.clone() },
            log.clone(),
            StateMachine::new(applied.clone(), log.clone()),
        )
        .await
        .map_err(|fatal| OpenError::Recover(fatal.to_string()))?;
        quorum_age.follow(&raft);
        let proposer = Proposer::new(raft.clone());
        let guard = Guard { own: peers.own(), own_member: member, log: log.clone(), applied: applied.clone() };
        let puller = Puller::new(applied.clone(), log.clone(), peers.clone());
        let heard = Heard::default();
        let service = PeerConsensus::new(server::Inner {
            raft: raft.clone(),
            guard,
            proposer: proposer.clone(),
            applied: applied.clone(),
            pool: pool.clone(),
            puller: puller.clone(),
            heard: heard.clone(),
            pages: Arc::new(Semaphore::new(pages::MAX_STREAMS)),
            placing: RwLock::default(),
            taking: Mutex::default(),
        });
        let election_max = Duration::from_millis(timing.election_max_ms);
        let submissions = Semaphore::new(Inner::MAX_SUBMISSIONS);
        let inner = Inner {
            member,
            founds,
            raft,
            log,
            applied: applied.clone(),
            peers: peers.clone(),
            proposer,
            submissions,
            pool,
            heard,
            quorum_age,
            puller,
            service,
            election_max,
        };
        Ok(Self { member, applied, peers, part: Some(Arc::new(inner)) })
    }

    /// Whether this is a recipient's node, which takes no part and holds no list of its own.
    pub fn observes(&self) -> bool {
        self.part.is_none()
    }

    /// Takes part from now on. The first time, each node puts the genesis's voters at the beginning of its log; they all put the
    /// same there, so nobody has to be first.
    ///
    /// # Errors
    /// This node has stopped already.
    pub async fn start(&self) -> Result<(), OpenError> {
        let Some(part) = &self.part else { return Ok(()) };
        let Inner { raft, founds, election_max, .. } = &**part;
        raft.run();
        tokio::spawn(pool::run(Arc::downgrade(part)));
        tokio::spawn(membership::follow(Arc::downgrade(part)));
        tokio::spawn(texts::look(Arc::downgrade(part), *election_max));
        tokio::spawn(ahead::look(Arc::downgrade(part), *election_max * QUIET_ELECTIONS));
        // Whoever joins later is sent the beginning.
        if !founds {
            return Ok(());
        }
        match raft.initialize(membership::founders(self.genesis())).await {
            // Not allowed: the log has its beginning.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(OpenError::Recover(error.to_string())),
        }
    }

    /// What other nodes call, for the peer port; nothing where this node takes no part.
    pub fn service(&self) -> Option<PeerConsensus> {
        self.part.as_ref().map(|part| part.service.clone())
    }

    /// The federation.
    pub fn genesis(&self) -> &Arc<Genesis> {
        self.applied.genesis()
    }

    /// Whose node this is.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// Looks at the list as this node has applied it. Nothing is applied meanwhile: `look` must be short and must not wait.
    pub fn read<R>(&self, look: impl FnOnce(&ListState) -> R) -> R {
        self.applied.read(look)
    }

    /// Looks at the roster: that of the applied list, or, while this node has not caught up with it, of the list that it began
    /// with. Nothing is applied meanwhile.
    pub fn roster<R>(&self, look: impl FnOnce(&Roster) -> R) -> R {
        self.applied.roster(look)
    }

    /// The members that vote no more and whose nodes consensus still has to hear, until Raft's membership leaves them out: none,
    /// but where the voting members become half as many, or fewer.
    pub fn still_needed(&self) -> BTreeSet<MemberId> {
        self.applied.needed().into_iter().filter_map(|node| Some(member_of_node(node)?.0)).collect()
    }

    /// How far this node has applied the log, and a way to wait for more.
    pub fn subscribe(&self) -> watch::Receiver<Position> {
        self.applied.position()
    }

    /// The text with this digest, unless it was erased or never tabled.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn public_text(&self, digest: Hex32) -> io::Result<Option<PublicText>> {
        match &self.part {
            Some(part) => part.log.public_text(digest).await,
            None => Ok(None),
        }
    }

    /// The envelope that is a leaf of the command log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn envelope(&self, leaf: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.envelopes(leaf, 1).await?.pop())
    }

    /// The envelopes that are leaves of the command log, from `first` on; at most `limit`, and at most some megabytes.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn envelopes(&self, first: u64, limit: usize) -> io::Result<Vec<Vec<u8>>> {
        let Some(part) = &self.part else { return Ok(Vec::new()) };
        let found = part.log.commands(first, limit, crate::wire::MESSAGE_MAX_BYTES).await?;
        Ok(found.into_iter().map(|submission| submission.envelope).collect())
    }

    /// Deletes a text, and nothing else: from memory, from the file and from its write-ahead log. Where it comes once
    /// more beside a command, it is erased again when that is applied.
    ///
    /// To be called only once it is applied that nobody needs it any more: a node that is behind is then sent the command
    /// without it.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn erase_text(&self, digest: Hex32) -> io::Result<()> {
        match &self.part {
            Some(part) => part.log.erase_text(digest).await,
            None => Ok(()),
        }
    }

    /// A channel to the node of another member or recipient, shared with consensus, for other services of its peer port.
    pub fn channel(&self, member: MemberId) -> Option<Channel> {
        self.peers.channel(member)
    }

    /// How this node stands.
    pub fn status(&self) -> ListStatus {
        let position = *self.applied.position().borrow();
        let Some(part) = &self.part else {
            let (commands, publications) = (position.commands, position.publications);
            return ListStatus { commands, publications, ..ListStatus::default() };
        };
        let metrics = part.raft.metrics().borrow_watched().clone();
        let count = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let membership = metrics.membership_config.membership();
        let deciding: BTreeMap<MemberId, u32> =
            membership.get_joint_config().iter().flatten().filter_map(|node| member_of_node(*node)).collect();
        let named = membership.nodes().filter_map(|(node, _)| member_of_node(*node));
        let awaited = named.filter(|(member, which)| deciding.get(member) != Some(which)).map(|(member, _)| member);
        ListStatus {
            leader: metrics.current_leader.and_then(|node| self.applied.member_of(node)),
            term: metrics.current_term,
            log_entries: count(metrics.last_log_index),
            committed_entries: count(metrics.local_committed.map(|id| id.index)),
            applied_entries: position.applied,
            purged_entries: count(metrics.purged.map(|id| id.index)),
            commands: position.commands,
            publications: position.publications,
            quorum_age_ms: metrics
                .last_quorum_acked
                .map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
            awaited: awaited.collect(),
            changing: membership.get_joint_config().len() > 1,
            deciding,
            unreachable: self.peers.problems(),
            stopped: metrics.running_state.err().map(|fatal| fatal.to_string()),
        }
    }

    /// Hands leadership on, where this node has it, and stops. Takes at most some seconds. Answers who took it over.
    pub async fn shutdown(&self) -> Option<MemberId> {
        let part = self.part.as_ref()?;
        part.puller.stop();
        let heir = part.hand_over().await;
        // It has stopped either way.
        if let Err(error) = part.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        part.log.close().await;
        heir
    }
}

/// The members count this node of the member, or an earlier one.
fn ensure_not_retired<'a>(
    member: MemberId,
    incarnation: u32,
    lists: impl IntoIterator<Item = &'a ListState>,
) -> Result<(), OpenError> {
    let counted = lists.into_iter().filter_map(|list| Some(list.roster().get(member)?.incarnation)).max();
    match counted.filter(|now| *now > incarnation) {
        Some(now) => Err(OpenError::Retired { member, incarnation, now }),
        None => Ok(()),
    }
}

impl Inner {
    async fn hand_over(&self) -> Option<MemberId> {
        let heir = self.heir()?;
        self.raft.trigger().transfer_leader(heir).await.ok()?;
        // Whether it worked or not, this node goes: the others hold an election where it did not.
        let changed = self.raft.wait(Some(self.election_max));
        changed.metrics(|m| m.current_leader == Some(heir), "handed over").await.ok()?;
        self.applied.member_of(heir)
    }

    /// Where this node leads, the voting member's node that is nearest to it.
    pub(crate) fn heir(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        if now.current_leader != Some(now.id) {
            return None;
        }
        let deciding = now.membership_config.membership().get_joint_config().last()?;
        let others = now.replication.iter().flatten().filter(|(node, _)| {
            **node != now.id && deciding.contains(node) && self.applied.member_of(**node).is_some()
        });
        others.max_by_key(|(_, matched)| matched.as_ref().map(|id| id.index)).map(|(node, _)| *node)
    }

    /// Why this node takes no part any more, where it does not.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.raft.metrics().borrow_watched().running_state.clone().err().map(|fatal| fatal.to_string())
    }
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus").field("member", &self.member).finish_non_exhaustive()
    }
}
