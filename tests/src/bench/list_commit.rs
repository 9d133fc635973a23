//! `list-commit`: signed commands committed a second by three node processes over mutual TLS, disks synced.
//!
//! Each client goes round in a circle: it tables a proposal of a member, and two members vote yes, which lists it (quorum 2 of
//! 3). Each of the three is a command with its own signature, handed to the leader's peer port in the name of another member's
//! node, and acknowledged once a majority has it on disk. Nodes check every signature, apply, publish and cosign meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_cli::demo::federation::{Federation, Plan};
use comity_core::canonical::Hex32;
use comity_core::list::{Choice, Command, CommandId, PublicText, TableProposal, Vote};
use comity_core::{MemberId, RecordId, RecordKind, Role};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use comity_proto::v1::consensus_service_client::ConsensusServiceClient;
use ed25519_dalek::SigningKey;
use tonic::transport::Channel;

use super::process::{cpu_seconds, peak_rss_mib};
use super::report::{Row, note, percentile};
use super::{BenchError, Options, reference};
use crate::federation::{certificate, dial, lay_out, plan};

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
const CASES: [usize; 4] = [1, 16, 64, 256];
/// Connections that the clients share, as the sessions of one partner's node would.
const CONNECTIONS: usize = 4;
/// Not measured, at the beginning of each case.
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs the cases, each on a federation of its own.
pub(super) async fn run(options: &Options) -> Result<Vec<Row>, BenchError> {
    let cases: Vec<usize> = match &options.case {
        Some(case) => vec![case.parse().map_err(|_| format!("--case {case}: expected a number of clients"))?],
        None => CASES.to_vec(),
    };
    // One case alone is one row alone.
    let mut rows = if options.case.is_none() { reference::rows()? } else { Vec::new() };
    for clients in cases {
        note(&format!("list-commit: {clients} clients for {} s", options.seconds));
        rows.push(case(clients, Duration::from_secs(options.seconds)).await?);
    }
    Ok(rows)
}

/// What every client needs.
struct Field {
    federation: Hex32,
    members: Vec<(MemberId, SigningKey)>,
    leader: ConsensusServiceClient<Channel>,
    sender: v1::ConsensusSender,
    public_part: Vec<u8>,
    measure_from: Instant,
    until: Instant,
}

async fn case(clients: usize, length: Duration) -> Result<Row, BenchError> {
    let folder = tempfile::tempdir()?;
    // As a ministry would run it: every setting at its default.
    let plan = Plan { settings: String::new(), ..plan(&MEMBERS, "quorum(2/3)")? };
    let mut federation = lay_out(folder.path(), &plan, std::env::current_exe()?)?;
    federation.start(Duration::from_secs(60)).await?;
    let result = measure(&federation, clients, length).await;
    federation.shut_down(Duration::from_secs(15)).await;
    result
}

async fn measure(federation: &Federation, clients: usize, length: Duration) -> Result<Row, BenchError> {
    let mut fields = Vec::new();
    let measure_from = Instant::now() + WARM_UP;
    let until = measure_from + length;
    for _ in 0..CONNECTIONS {
        fields.push(Arc::new(field(federation, measure_from, until).await?));
    }
    let pids: Vec<u32> = (0..federation.seats.len()).filter_map(|seat| federation.process_id(seat)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        if let Some(field) = fields.get(client % CONNECTIONS) {
            tasks.spawn(circle(Arc::clone(field), client));
        }
    }
    tokio::time::sleep_until(measure_from.into()).await;
    let before: f64 = pids.iter().map(|pid| cpu_seconds(*pid)).sum();
    tokio::time::sleep_until(until.into()).await;
    let cpu = pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>() - before;
    let mut latencies: Vec<u64> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    latencies.sort_unstable();
    let operations = latencies.len() as u64;
    Ok(Row {
        bench: "list-commit",
        case: clients.to_string(),
        per_s: operations as f64 / length.as_secs_f64(),
        p50_us: percentile(&latencies, 0.5),
        p99_us: percentile(&latencies, 0.99),
        cpu_us_op: cpu * 1e6 / (operations.max(1) as f64),
        rss_mb: pids.iter().map(|pid| peak_rss_mib(*pid)).fold(0.0, f64::max),
        operations,
        seconds: length.as_secs_f64(),
    })
}

/// Finds the leader and dials it in the name of another member's node.
async fn field(federation: &Federation, measure_from: Instant, until: Instant) -> Result<Field, BenchError> {
    let voters: Vec<MemberId> = federation.genesis.voters().map(|m| m.member).collect();
    let mut members = Vec::new();
    for seat in &federation.seats {
        let key = SigningKeyFile::load(&seat.folder.join("signing-decision.key"))?;
        members.push((seat.member, key.signing_key().clone()));
    }
    let leader = leader(federation).await?;
    let speaker = voters.iter().copied().find(|m| *m != leader).ok_or("a federation of one")?;
    let seat = federation.seat(leader.as_str()).ok_or("the leader has no seat")?;
    let path = certificate(federation, speaker.as_str(), Role::Node, "node-1");
    let channel = dial(federation, &seat.peer, leader, &path).await?;
    let node_id = voters.iter().position(|m| *m == speaker).map_or(0, |n| n as u64 + 1);
    Ok(Field {
        federation: federation.genesis.federation(),
        members,
        leader: ConsensusServiceClient::new(channel),
        sender: v1::ConsensusSender { federation: federation.genesis.federation().0.to_vec(), node_id },
        public_part: public_part(),
        measure_from,
        until,
    })
}

async fn leader(federation: &Federation) -> Result<MemberId, BenchError> {
    let seat = federation.seats.first().ok_or("no seats")?;
    let path = certificate(federation, seat.member.as_str(), Role::Admin, "ops-1");
    let channel = dial(federation, &seat.operator, seat.member, &path).await?;
    let mut node = v1::node_service_client::NodeServiceClient::new(channel);
    for _ in 0..200 {
        let status = node.get_node_status(v1::GetNodeStatusRequest {}).await?.into_inner();
        if let Ok(leader) = status.leader.parse() {
            return Ok(leader);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("no leader within 10 s".into())
}

/// An invented subject of the usual size: about a kilobyte.
fn public_part() -> Vec<u8> {
    let statement = "The subject procured precursors for the programme through companies abroad. ".repeat(10);
    serde_json::json!({
        "subject": {
            "kind": "person",
            "names": [{"full": "EXAMPLE, Invented", "kind": "primary"}, {"full": "EXEMPLE, Inventé"}],
            "birth_dates": ["1961", "1960~"],
            "identifiers": [{"kind": "passport", "value": "X0000000", "country": "SY"}]
        },
        "statement_of_case": statement,
    })
    .to_string()
    .into_bytes()
}

fn random<const N: usize>() -> Result<[u8; N], BenchError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// One client: table, vote, vote, and again, until the time is up. Returns the latencies of what was measured.
async fn circle(field: Arc<Field>, client: usize) -> Result<Vec<u64>, BenchError> {
    let mut latencies = Vec::new();
    let mut turn = client;
    while Instant::now() < field.until {
        let voter = |n: usize| field.members.get((turn + n) % field.members.len()).ok_or("no members");
        let (proposer, key) = voter(0)?;
        let text = PublicText { salt: Hex32(random()?), bytes: field.public_part.clone() };
        let table = Command::Table(TableProposal {
            federation: field.federation,
            command_id: CommandId::new(random()?),
            member: *proposer,
            proposal: RecordId::new(*proposer, RecordKind::Proposal, random()?),
            public_part: text.digest(),
            commitments: vec![Hex32(random()?), Hex32(random()?)],
        });
        let ballot = Hex32(comity_core::sha256(&table.to_payload()));
        latencies.extend(submit(&field, &table, key, Some(text)).await?);
        for n in 0..2 {
            let (member, key) = voter(n)?;
            let vote = Command::Vote(Vote {
                federation: field.federation,
                command_id: CommandId::new(random()?),
                member: *member,
                ballot,
                choice: Choice::Yes,
                replaces: None,
                reason: None,
            });
            latencies.extend(submit(&field, &vote, key, None).await?);
        }
        turn += 1;
    }
    Ok(latencies)
}

/// Signs and hands in one command; its latency in microseconds if it began and ended within the measured time.
async fn submit(
    field: &Field,
    command: &Command,
    key: &SigningKey,
    text: Option<PublicText>,
) -> Result<Option<u64>, BenchError> {
    let envelope = command.sign(key).to_bytes();
    let request = v1::SubmitRequest {
        sender: Some(field.sender.clone()),
        command: Some(v1::RaftCommand {
            envelope,
            public_text: text.map(|t| v1::PublicText { salt: t.salt.0.to_vec(), text: t.bytes }),
        }),
    };
    let begin = Instant::now();
    let answer = field.leader.clone().submit(request).await?.into_inner();
    match answer.result {
        Some(v1::submit_response::Result::Committed(_)) => {}
        other => return Err(format!("the leader changed during the measurement: {other:?}").into()),
    }
    let end = Instant::now();
    let measured = begin >= field.measure_from && end <= field.until;
    Ok(measured.then(|| u64::try_from((end - begin).as_micros()).unwrap_or(u64::MAX)))
}
