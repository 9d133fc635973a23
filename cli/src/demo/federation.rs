//! A federation in one folder: a CA, keys, people and a node for each member, and the nodes as processes of their own.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use comity_core::dsse::PublicKey;
use comity_core::genesis::{Genesis, GenesisDocument, RosterMember};
use comity_core::rule::Rules;
use comity_core::{MemberId, Role, Tier, Timestamp};
use comity_identity::{Authority, PkiError, SigningKeyError, SigningKeyFile};

/// How a node is started: a program, and what comes before `run --config FILE`.
#[derive(Debug, Clone)]
pub struct NodeProgram {
    /// The executable.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

/// A person of a member: role and name.
pub type Person = (Role, &'static str);

/// The people that each member of a demonstration has.
pub const PEOPLE: &[Person] = &[
    (Role::Operator, "desk-1"),
    (Role::Approver, "desk-2"),
    (Role::Policy, "legal-1"),
    // The same person again, so that it can be shown that it is no second pair of eyes.
    (Role::Approver, "desk-1"),
    (Role::Auditor, "audit-1"),
    (Role::Admin, "ops-1"),
];

/// Why a federation could not be set up or run.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// A file or socket.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A certificate could not be written.
    #[error(transparent)]
    KeyFile(#[from] comity_identity::key_file::KeyFileError),
    /// A signing key.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The genesis.
    #[error("genesis: {0}")]
    Genesis(#[from] comity_core::Violations),
    /// A node ended before it served.
    #[error("the node of {member} ended before it served; its log is {log}:\n{tail}")]
    Ended {
        /// Whose.
        member: MemberId,
        /// Where its log is.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// A node did not serve in time.
    #[error("the node of {member} did not serve within {seconds} s; its log is {log}")]
    Slow {
        /// Whose.
        member: MemberId,
        /// How long was waited.
        seconds: u64,
        /// Where its log is.
        log: PathBuf,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> FederationError {
    let what = what.into();
    move |source| FederationError::Io { what, source }
}

/// One member's folder and ports.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Whose.
    pub member: MemberId,
    /// Whether it votes; recipients do not.
    pub voting: bool,
    /// Its folder.
    pub folder: PathBuf,
    /// Where its node listens for peers.
    pub peer: String,
    /// Where its node listens for people.
    pub operator: String,
    /// Where its node tells its health.
    pub health: String,
}

impl Seat {
    /// The name of a context of the federation's contexts file.
    pub fn context(&self, role: Role, name: &str) -> String {
        format!("{}-{role}-{name}", self.member.to_lowercase())
    }

    /// The configuration of its node.
    pub fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// What its node prints.
    pub fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }
}

/// What a federation is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the coalition calls itself.
    pub name: String,
    /// The members, each with a vote.
    pub members: Vec<MemberId>,
    /// Those that receive and have no vote.
    pub recipients: Vec<MemberId>,
    /// How each kind of ballot is decided.
    pub rules: Rules,
    /// Laid over each node's configuration, as lines of TOML sections.
    pub settings: String,
}

/// A federation laid out in a folder.
#[derive(Debug)]
pub struct Federation {
    /// The folder.
    pub folder: PathBuf,
    /// The genesis, checked.
    pub genesis: Genesis,
    /// Each member's place, in the order of the plan, and after them each recipient's.
    pub seats: Vec<Seat>,
    nodes: Vec<Option<Running>>,
    program: NodeProgram,
}

#[derive(Debug)]
struct Running {
    child: Child,
}

impl Federation {
    /// Makes CAs, keys, people, genesis, configurations and contexts in an empty folder. Ports are free ones of 127.0.0.1.
    ///
    /// # Errors
    /// A file cannot be written, or a port cannot be had.
    pub fn lay_out(folder: &Path, plan: &Plan, program: NodeProgram) -> Result<Self, FederationError> {
        let now = Timestamp::from_jiff(jiff::Timestamp::now());
        let voting = plan.members.iter().map(|member| (*member, true));
        let parties: Vec<(MemberId, bool)> =
            voting.chain(plan.recipients.iter().map(|party| (*party, false))).collect();
        let ports = free_ports(parties.len() * 3)?;
        let mut seats = Vec::new();
        let mut roster = Vec::new();
        for ((member, voting), ports) in parties.into_iter().zip(ports.chunks(3)) {
            let address = |n: usize| format!("127.0.0.1:{}", ports.get(n).copied().unwrap_or_default());
            let seat = Seat {
                member,
                voting,
                folder: folder.join(member.to_lowercase()),
                peer: address(0),
                operator: address(1),
                health: address(2),
            };
            roster.push(lay_out_seat(&seat, now)?);
            seats.push(seat);
        }
        let document = GenesisDocument {
            format: Genesis::FORMAT.into(),
            name: plan.name.clone(),
            created: now,
            entry_prefix: "CW".into(),
            rules: plan.rules,
            members: roster,
        };
        let bytes = comity_core::canonical::to_vec(&document);
        let genesis = Genesis::from_bytes(&bytes)?;
        write(&folder.join("genesis.json"), &bytes)?;
        for seat in &seats {
            write(&seat.folder.join("genesis.json"), &bytes)?;
            write(&seat.config(), config_text(seat, &plan.settings).as_bytes())?;
        }
        write(&folder.join("contexts.toml"), contexts_text(&seats).as_bytes())?;
        let nodes = seats.iter().map(|_| None).collect();
        Ok(Self { folder: folder.to_owned(), genesis, seats, nodes, program })
    }

    /// The file that `comity --config` takes.
    pub fn contexts(&self) -> PathBuf {
        self.folder.join("contexts.toml")
    }

    /// A member's place.
    pub fn seat(&self, member: &str) -> Option<&Seat> {
        self.seats.iter().find(|s| s.member.as_str() == member)
    }

    /// The places of those who vote.
    pub fn voters(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.voting)
    }

    /// Starts every node that does not run, and waits until all serve.
    ///
    /// # Errors
    /// One ended, or did not serve in time.
    pub async fn start(&mut self, patience: Duration) -> Result<(), FederationError> {
        for n in 0..self.seats.len() {
            self.spawn(n)?;
        }
        for n in 0..self.seats.len() {
            self.wait_serving(n, patience).await?;
        }
        Ok(())
    }

    /// Starts one member's node, without waiting for it.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn(&mut self, seat: usize) -> Result<(), FederationError> {
        let (Some(place), Some(node)) = (self.seats.get(seat), self.nodes.get_mut(seat)) else { return Ok(()) };
        if node.is_some() {
            return Ok(());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(place.log());
        let log = log.map_err(io_error(place.log().display().to_string()))?;
        let errors = log.try_clone().map_err(io_error("node.log"))?;
        let child = Command::new(&self.program.program)
            .args(&self.program.arguments)
            .args(["run", "--until-stdin-closes", "--config"])
            .arg(place.config())
            // The node ends when this pipe does: however its parent dies, no process stays behind.
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(io_error(format!("start the node of {}", place.member)))?;
        *node = Some(Running { child });
        Ok(())
    }

    /// Waits until one member's node says that it serves.
    ///
    /// # Errors
    /// It ended, or did not serve in time.
    pub async fn wait_serving(&mut self, seat: usize, patience: Duration) -> Result<(), FederationError> {
        let begin = Instant::now();
        loop {
            let (Some(place), Some(Some(node))) = (self.seats.get(seat), self.nodes.get_mut(seat)) else {
                return Ok(());
            };
            if node.child.try_wait().map_err(io_error("wait for a node"))?.is_some() {
                let text = fs::read_to_string(place.log()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n");
                let ended = FederationError::Ended { member: place.member, log: place.log(), tail };
                if let Some(node) = self.nodes.get_mut(seat) {
                    *node = None;
                }
                return Err(ended);
            }
            if is_serving(&place.health).await {
                return Ok(());
            }
            if begin.elapsed() > patience {
                return Err(FederationError::Slow {
                    member: place.member,
                    seconds: patience.as_secs(),
                    log: place.log(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The process id of a member's node, while it runs.
    pub fn process_id(&self, seat: usize) -> Option<u32> {
        self.nodes.get(seat).and_then(|n| n.as_ref()).map(|n| n.child.id())
    }

    /// Kills one member's node at once, as `kill -9` does.
    pub fn kill(&mut self, seat: usize) {
        if let Some(mut node) = self.nodes.get_mut(seat).and_then(Option::take) {
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
    }

    /// Asks one member's node to end, and waits until it has; kills it after the deadline.
    pub async fn stop(&mut self, seat: usize, deadline: Duration) {
        if let Some(node) = self.nodes.get_mut(seat).and_then(Option::take) {
            end(node, deadline).await;
        }
    }

    /// Asks all nodes to end, and waits until they have.
    pub async fn shut_down(&mut self, deadline: Duration) {
        let mut nodes: Vec<Running> = self.nodes.iter_mut().filter_map(Option::take).collect();
        for node in &mut nodes {
            drop(node.child.stdin.take());
        }
        for node in nodes {
            end(node, deadline).await;
        }
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        for seat in 0..self.nodes.len() {
            self.kill(seat);
        }
    }
}

async fn end(mut node: Running, deadline: Duration) {
    drop(node.child.stdin.take());
    let begin = Instant::now();
    while begin.elapsed() < deadline {
        match node.child.try_wait() {
            Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => return,
        }
    }
    let _ = node.child.kill();
    let _ = node.child.wait();
}

async fn is_serving(address: &str) -> bool {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let Ok(endpoint) = tonic::transport::Endpoint::from_shared(format!("http://{address}")) else { return false };
    let endpoint = endpoint.connect_timeout(Duration::from_secs(1)).timeout(Duration::from_secs(1));
    let Ok(channel) = endpoint.connect().await else { return false };
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) => answer.into_inner().status == ServingStatus::Serving as i32,
        Err(_) => false,
    }
}

/// Ports that nobody listens on now. Held together while they are picked, so that no two are the same.
fn free_ports(count: usize) -> Result<Vec<u16>, FederationError> {
    let sockets: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(io_error("find free ports on 127.0.0.1"))?;
    sockets
        .iter()
        .map(|s| s.local_addr().map(|a| a.port()))
        .collect::<Result<_, _>>()
        .map_err(io_error("find free ports on 127.0.0.1"))
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn lay_out_seat(seat: &Seat, now: Timestamp) -> Result<RosterMember, FederationError> {
    fs::create_dir_all(seat.folder.join("policies")).map_err(io_error(seat.folder.display().to_string()))?;
    let domain = format!("{}.comity.example", seat.member.to_lowercase());
    let trust_domain = domain.parse().map_err(PkiError::from)?;
    let authority = Authority::create(seat.member, &trust_domain, now, 730)?;
    authority.save(&seat.folder, false)?;
    authority.issue(Role::Node, "node-1", now, DAY * 30)?.save(&seat.folder, false)?;
    for (role, name) in PEOPLE {
        authority.issue(*role, name, now, DAY * 7)?.save(&seat.folder, false)?;
    }
    let key = |name: &str| -> Result<PublicKey, FederationError> {
        let key = SigningKeyFile::generate()?;
        key.save(&seat.folder.join(format!("signing-{name}.key")), false)?;
        Ok(PublicKey(key.verifying_key()))
    };
    Ok(RosterMember {
        member: seat.member,
        trust_domain,
        roots_pem: vec![authority.certificate_pem().to_owned()],
        decision_key: key("decision")?,
        node_key: key("node")?,
        recovery_key: key("recovery")?,
        endpoint: seat.peer.clone(),
        ceiling: Tier::Secret,
        voting: seat.voting,
    })
}

fn config_text(seat: &Seat, settings: &str) -> String {
    format!(
        "member = \"{member}\"\ndata_dir = \"data\"\ngenesis = \"genesis.json\"\npolicy_dir = \"policies\"\n\n\
         [tls]\ncertificate = \"node-node-1.pem\"\nkey = \"node-node-1.key\"\n\n\
         [keys]\nnode = \"signing-node.key\"\ndecision = \"signing-decision.key\"\n\n\
         [peer]\nlisten = \"{peer}\"\n\n[operator]\nlisten = \"{operator}\"\n\n[health]\nlisten = \"{health}\"\n\n{settings}",
        member = seat.member,
        peer = seat.peer,
        operator = seat.operator,
        health = seat.health,
    )
}

fn contexts_text(seats: &[Seat]) -> String {
    let mut text = String::new();
    if let (Some(seat), Some((role, name))) = (seats.first(), PEOPLE.first()) {
        text.push_str(&format!("current = \"{}\"\n", seat.context(*role, name)));
    }
    for seat in seats {
        for (role, name) in PEOPLE {
            let folder = seat.member.to_lowercase();
            text.push_str(&format!(
                "\n[context.{context}]\nendpoint = \"{endpoint}\"\ncertificate = \"{folder}/{role}-{name}.pem\"\n\
                 key = \"{folder}/{role}-{name}.key\"\ngenesis = \"genesis.json\"\n",
                context = seat.context(*role, name),
                endpoint = seat.operator,
            ));
        }
    }
    text
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FederationError> {
    fs::write(path, bytes).map_err(io_error(path.display().to_string()))
}
