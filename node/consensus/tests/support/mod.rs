//! Several nodes in one process, over real sockets, real TLS and real files.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub(crate) mod fake;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use comity_consensus::{Consensus, ConsensusConfig, OpenError, OpenLogError, Timing, Tuning};
use comity_core::canonical::Hex32;
use comity_core::genesis::{Genesis, RosterMember};
use comity_core::list::{BallotState, Choice, ListState, Motion, ReplacedKeys, Submission};
use comity_core::testing::{Federation, MemberKeys, members, roster_member};
use comity_core::{MemberId, Role, Timestamp};
use comity_identity::pki::{AUTHORITY_VALID_DAYS, Authority, days};
use comity_identity::tls::server_config;
use comity_identity::{
    Acceptor, AcceptorLimits, Connection, ConnectorLimits, Credentials, Expectation, MemberConnector, Peer,
    SharedTrust, TrustStore,
};
use comity_proto::v1::consensus_service_server::{ConsensusService, ConsensusServiceServer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server};

pub(crate) fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// A federation whose members have authorities, folders and ports.
pub(crate) struct World {
    pub(crate) federation: Federation,
    pub(crate) trust: SharedTrust,
    pub(crate) authorities: BTreeMap<MemberId, Authority>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tuning: Tuning,
    /// Everybody's row as the roster has it or will have it.
    pub(crate) rows: BTreeMap<MemberId, RosterMember>,
    serial: AtomicU64,
}

/// A member's running node, on threads of its own so that it can be killed.
pub(crate) struct Node {
    pub(crate) consensus: Consensus,
    _running: Running,
}

/// Threads that stop, wherever their tasks are, when this is dropped.
pub(crate) struct Running(Option<Runtime>);

impl Running {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self(Some(runtime))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A runtime that is dropped within another panics.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// As the peer port hands connections to tonic.
struct Served(Connection);

impl Connected for Served {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.0.peer.clone()
    }
}

impl AsyncRead for Served {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl World {
    /// `count` voting members.
    pub(crate) fn new(count: usize) -> Self {
        Self::edited(count, |_| {})
    }

    /// The same, its genesis edited.
    pub(crate) fn edited(count: usize, edit: impl FnOnce(&mut comity_core::genesis::GenesisDocument)) -> Self {
        let authorities: BTreeMap<MemberId, Authority> = members(count)
            .into_iter()
            .map(|member| {
                let domain = format!("{}.comity.example", member.to_lowercase()).parse().unwrap();
                (member, Authority::create(member, &domain, now(), AUTHORITY_VALID_DAYS).unwrap())
            })
            .collect();
        let federation = Federation::with(count, |document| {
            for row in &mut document.members {
                row.roots_pem = vec![authorities[&row.member].certificate_pem().to_owned()];
                row.endpoint = format!("127.0.0.1:{}", free_port());
            }
            edit(document);
        });
        let anchors: Vec<_> = authorities.values().map(Authority::anchors).collect();
        let trust = SharedTrust::new(TrustStore::new(&anchors).unwrap());
        let rows = federation.genesis.members().clone();
        let (folder, tuning, serial) = (tempfile::tempdir().unwrap(), Tuning::default(), AtomicU64::new(1 << 30));
        Self { federation, trust, authorities, folder, tuning, rows, serial }
    }

    /// A serial that no other call returned.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A state that is no member yet: its authority, its keys, and its row for the ballot.
    pub(crate) fn invite(&mut self, code: &str) -> RosterMember {
        let member: MemberId = code.parse().unwrap();
        let domain = format!("{}.comity.example", member.to_lowercase()).parse().unwrap();
        let authority = Authority::create(member, &domain, now(), AUTHORITY_VALID_DAYS).unwrap();
        // Keys that nobody had: each newcomer is another one.
        let n = 50 + self.rows.len();
        let row = RosterMember {
            roots_pem: vec![authority.certificate_pem().to_owned()],
            endpoint: format!("127.0.0.1:{}", free_port()),
            ..roster_member(n, member)
        };
        self.authorities.insert(member, authority);
        self.federation.keys.insert(member, MemberKeys::of(n));
        self.rows.insert(member, row.clone());
        let anchors: Vec<_> = self.authorities.values().map(Authority::anchors).collect();
        self.trust.replace(TrustStore::new(&anchors).unwrap());
        row
    }

    /// What replaces a member's keys where its machine was lost: from here on it signs with these, and its node is elsewhere.
    pub(crate) fn replace_keys(&mut self, member: MemberId, incarnation: u32) -> ReplacedKeys {
        let n = 100 + usize::try_from(incarnation).unwrap();
        let row = self.rows.get_mut(&member).unwrap();
        let keys = roster_member(n, member);
        row.endpoint = format!("127.0.0.1:{}", free_port());
        self.federation.keys.insert(member, MemberKeys::of(n));
        ReplacedKeys {
            decision_key: keys.decision_key,
            node_key: keys.node_key,
            recovery_key: keys.recovery_key,
            roots_pem: row.roots_pem.clone(),
            endpoint: row.endpoint.clone(),
            incarnation,
        }
    }

    /// A member tables a motion and these vote yes, all through one node, until it is adopted.
    pub(crate) async fn decide(&self, via: &Node, motion: Motion, by: &str, voters: &[&str]) {
        let (tabling, ballot) = self.federation.motion(by.parse().unwrap(), motion, self.serial());
        via.consensus.submit(tabling).await.unwrap();
        for voter in voters {
            let vote = self.federation.vote(voter.parse().unwrap(), ballot, Choice::Yes, self.serial());
            via.consensus.submit(vote).await.unwrap();
        }
        let adopted = via.consensus.read(|list| matches!(list.ballot(&ballot).unwrap().state, BallotState::Adopted(_)));
        assert!(adopted, "{:?}", via.consensus.read(|list| list.ballot(&ballot).cloned()));
    }

    /// A command that nobody handed in before: a member tables a proposal.
    pub(crate) fn tabling(&self, by: &str) -> Submission {
        self.federation.table(by.parse().unwrap(), self.serial()).0
    }

    pub(crate) fn folder(&self, member: MemberId) -> PathBuf {
        self.folder.path().join(member.to_lowercase())
    }

    pub(crate) fn credentials(&self, member: MemberId, role: Role) -> Credentials {
        let issued = self.authorities[&member].issue(role, "one", now(), days(7)).unwrap();
        Credentials::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
    }

    pub(crate) fn config(&self, member: MemberId, genesis: Arc<Genesis>) -> ConsensusConfig {
        ConsensusConfig {
            incarnation: 1,
            bootstrap: None,
            folder: self.folder(member),
            genesis,
            member,
            observes: false,
            credentials: self.credentials(member, Role::Node),
            trust: self.trust.clone(),
            timing: Timing { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 1_000 },
            tuning: self.tuning,
        }
    }

    /// Starts a member's node.
    pub(crate) async fn start(&self, member: MemberId) -> Node {
        self.start_with(member, Arc::clone(&self.federation.genesis)).await.unwrap()
    }

    /// Starts a node of a member that begins with a list which another gave it.
    pub(crate) async fn join(&self, member: MemberId, incarnation: u32, list: Arc<ListState>) -> Node {
        let genesis = Arc::clone(&self.federation.genesis);
        let config = ConsensusConfig { incarnation, bootstrap: Some(list), ..self.config(member, genesis) };
        self.run(config).await.unwrap()
    }

    /// Starts a member's node on some genesis.
    pub(crate) async fn start_with(&self, member: MemberId, genesis: Arc<Genesis>) -> Result<Node, OpenError> {
        self.run(self.config(member, genesis)).await
    }

    /// Starts a node.
    pub(crate) async fn run(&self, config: ConsensusConfig) -> Result<Node, OpenError> {
        let member = config.member;
        let endpoint = self.rows[&member].endpoint.clone();
        let tls =
            server_config(&self.credentials(member, Role::Node), self.trust.clone(), Expectation::peers()).unwrap();
        let trust = self.trust.clone();
        let running = Running::new();
        let started = running.0.as_ref().unwrap().spawn(async move {
            let consensus = open(config).await?;
            serve(&endpoint, tls, trust, consensus.service().unwrap().into_server());
            consensus.start().await?;
            Ok::<_, OpenError>(consensus)
        });
        Ok(Node { consensus: started.await.unwrap()?, _running: running })
    }

    /// Opens a member's peer port for something that is no node of ours, until what is returned is dropped.
    pub(crate) fn serve<S: ConsensusService>(&self, member: MemberId, service: S) -> Running {
        let endpoint = self.rows[&member].endpoint.clone();
        let tls =
            server_config(&self.credentials(member, Role::Node), self.trust.clone(), Expectation::peers()).unwrap();
        let running = Running::new();
        let _entered = running.0.as_ref().unwrap().enter();
        serve(&endpoint, tls, self.trust.clone(), ConsensusServiceServer::new(service));
        drop(_entered);
        running
    }

    /// A channel to a member's node, from any identity.
    pub(crate) fn channel(&self, from: Credentials, to: MemberId) -> Channel {
        let connector =
            MemberConnector::new(&from, self.trust.clone(), Expectation::node_of(to), ConnectorLimits::default())
                .unwrap();
        let endpoint = &self.rows[&to].endpoint;
        Endpoint::from_shared(format!("http://{endpoint}")).unwrap().connect_with_connector_lazy(connector)
    }
}

fn serve<S: ConsensusService>(
    endpoint: &str,
    tls: Arc<rustls::ServerConfig>,
    trust: SharedTrust,
    service: ConsensusServiceServer<S>,
) {
    let (acceptor, _refused) =
        Acceptor::start(listen(endpoint), tls, trust, AcceptorLimits::default(), CancellationToken::new());
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(acceptor.map(|c| Ok::<_, io::Error>(Served(c)))));
}

/// Opens it, waiting a moment for a killed predecessor to let go of its file.
async fn open(config: ConsensusConfig) -> Result<Consensus, OpenError> {
    for _ in 0..100 {
        match Consensus::open(config.clone()).await {
            Err(OpenError::Log(OpenLogError::InUse { .. })) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => return other,
        }
    }
    Consensus::open(config).await
}

fn listen(endpoint: &str) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(endpoint.parse().unwrap()).unwrap();
    socket.listen(64).unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Node {
    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        self.consensus.shutdown().await;
    }

    /// Stops it as a crash does: wherever its tasks are.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

/// Waits until it is so; a panic after 20 seconds.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whose nodes decide, and which of theirs, as a node has it.
pub(crate) fn deciding(node: &Node) -> BTreeMap<String, u32> {
    let deciding = node.consensus.status().deciding;
    deciding.into_iter().map(|(member, incarnation)| (member.to_string(), incarnation)).collect()
}

/// Waits until these decide, each by its first node, as every one of these nodes has it.
pub(crate) async fn decided_by(nodes: &[&Node], members: &[&str]) {
    let wanted: BTreeMap<String, u32> = members.iter().map(|code| ((*code).to_owned(), 1)).collect();
    let settled = |node: &&Node| deciding(node) == wanted && !node.consensus.status().changing;
    until(&format!("{members:?} decide"), || nodes.iter().all(settled)).await;
}

/// What two states that are the same have in common.
pub(crate) fn heads(list: &ListState) -> (u64, Hex32, u64, Hex32, usize) {
    let (commands, public) = (list.commands(), list.public_log());
    (commands.size(), commands.root(), public.size(), public.root(), list.entry_count())
}

pub(crate) async fn start_all(world: &World) -> Vec<Node> {
    let mut nodes = Vec::new();
    for member in world.federation.voters() {
        nodes.push(world.start(member).await);
    }
    nodes
}

pub(crate) async fn same_everywhere(nodes: &[Node]) {
    until("every node holds the same list", || {
        let all: Vec<_> = nodes.iter().map(|node| node.consensus.read(heads)).collect();
        all.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await;
}

pub(crate) async fn leader(nodes: &[Node]) -> usize {
    let place = |nodes: &[Node]| {
        let named = nodes.iter().find_map(|node| node.consensus.status().leader)?;
        let leads = nodes.iter().position(|node| node.consensus.member() == named)?;
        nodes[leads].consensus.status().quorum_age_ms.filter(|age| *age < 2_000).map(|_| leads)
    };
    until("somebody leads", || place(nodes).is_some()).await;
    place(nodes).unwrap()
}
