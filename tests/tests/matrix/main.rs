//! Each RPC, as each role, by what the caller has to do with the record that it is about: the expected outcomes are the table in
//! `outcomes.md`, and an RPC that is missing in it fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "the modules of one test")]

mod calls;
mod recorded;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_api::table::{Listener, RPCS};
use comity_core::Role::{self, Admin, Approver, Auditor, Node, Operator, Policy};
use comity_core::access::Outcome;
use futures::StreamExt as _;
use tokio::sync::Mutex;
use tonic::Code;
use tonic::transport::Channel;

use calls::Caller;
use recorded::{Journal, NODE};
use stage::{OWN, Stage};
use support::Field;
use table::{Found, Line, RELATIONS, as_found, lines};
use wire::{Answer, call, line};

const PEOPLE: [(Role, &str); 5] =
    [(Operator, "desk-1"), (Approver, "desk-2"), (Policy, "legal-1"), (Auditor, "audit-1"), (Admin, "ops-1")];
/// Who stands in each relation.
const PARTIES: [&str; 6] = [OWN, "DE", "CA", "AU", "OPCW", "IIIM"];
/// The relations in which nothing may show that the record is there.
const NOTHING_SHOWS: [usize; 2] = [2, 5];
/// The relations in the order in which they call: the record's own people change it, so they come last.
const ORDER: [usize; 6] = [2, 5, 1, 4, 3, 0];
/// What shows what the other calls have led to, and what changes the record for every call that comes after: called at the end, in
/// this order.
const LAST: [&str; 5] = [
    "ApprovalService/ListApprovals",
    "ReleaseService/ListReleases",
    "ApprovalService/DecideApproval",
    "RecordService/UpdateRecord",
    "RecordService/WithdrawRecord",
];
/// Calls at one time.
const AT_ONE_TIME: usize = 24;
/// One federation at a time: ports that are free for one are then not taken by the other's calls.
static TURN: Mutex<()> = Mutex::const_new(());

fn is_for_people(method: &str) -> bool {
    RPCS.iter().any(|rpc| rpc.name == method && rpc.listener == Listener::Operator)
}

#[test]
fn the_table_names_every_rpc_once() {
    let mut declared = BTreeSet::new();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/comity/v1")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut service = "";
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.split([' ', '{']).next().unwrap();
            } else if let Some(rest) = line.strip_prefix("rpc ") {
                declared.insert(format!("{service}/{}", rest.split('(').next().unwrap().trim()));
            }
        }
    }
    let lines = lines();
    let listed: BTreeSet<String> = lines.iter().map(|line| line.method.clone()).collect();
    assert_eq!(lines.len(), listed.len(), "a line is there twice");
    assert_eq!(listed, declared, "outcomes.md has a line for each RPC of proto/");
    let served: BTreeSet<String> = RPCS.iter().map(|rpc| rpc.name.to_owned()).collect();
    assert_eq!(listed, served, "outcomes.md has a line for each RPC that a node serves");
    for line in lines {
        let callers = if is_for_people(&line.method) { !line.roles.contains(&Node) } else { line.roles == [Node] };
        assert!(callers, "{}: people call on the operator port, nodes on the peer port", line.method);
    }
}

/// One relation's lines to the node that it calls, by role.
async fn channels(stage: &Stage, relation: usize) -> BTreeMap<&'static str, Channel> {
    let (federation, party) = (&stage.field.federation, PARTIES[relation]);
    let mut channels = BTreeMap::new();
    for (role, name) in PEOPLE {
        channels.insert(role.as_str(), line(federation, party, true, party, role, name).await.unwrap());
    }
    channels.insert(Node.as_str(), line(federation, OWN, false, party, Node, NODE).await.unwrap());
    channels
}

/// What is wrong with an answer to somebody who may know nothing: it differs from the answer about what does not exist.
fn tells(stage: &Stage, method: &str, about: &Answer, absent: &Answer) -> Option<String> {
    let nothing = stage.subject.absent();
    let mut about = about.clone();
    for (id, other) in stage.subject.ids().into_iter().zip(nothing.ids()) {
        about = about.with(id, other);
    }
    // Where something new came of it, its id and its time are another's each time.
    let made = about.code == Code::Ok && !["Get", "List", "Fetch", "Explain"].iter().any(|verb| method.contains(verb));
    if made {
        about.body.clone_from(&absent.body);
    }
    (about != *absent).then(|| format!("{method}: {about:?}\n  and about nothing: {absent:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rpc_as_each_role_in_each_relation() {
    let _turn = TURN.lock().await;
    let mut stage = Stage::set().await;
    recorded::issue_node_certificates(&stage.field.federation);
    let journal = Journal::begin();
    let lines = lines();
    let (mut found, mut wrong) = (Found::new(), Vec::new());
    for relation in ORDER {
        let channels = channels(&stage, relation).await;
        let member = PARTIES[relation].parse().unwrap();
        let noted = async |role: Role, method: &str, message: Vec<u8>| {
            let answer = call(&channels[role.as_str()], method, message).await;
            let (at, name) = match PEOPLE.iter().find(|(of, _)| *of == role) {
                Some((_, name)) => (PARTIES[relation], *name),
                None => (OWN, NODE),
            };
            journal.note(at, PARTIES[relation], role, name, method, &answer);
            answer
        };
        let ask = async |line: &Line, role: Role| {
            let caller = Caller { stage: &stage, member, role };
            let message = caller.asks(&line.method, &stage.subject);
            let answer = noted(role, &line.method, message.clone()).await;
            let absent = caller.asks(&line.method, &stage.subject.absent());
            // Asked about nothing where that makes another question.
            let told = if NOTHING_SHOWS.contains(&relation) && line.roles.contains(&role) && absent != message {
                let nothing = noted(role, &line.method, absent).await;
                tells(&stage, &line.method, &answer, &nothing)
            } else {
                None
            };
            (line.clone(), role, answer.outcome(&stage.subject.ids()), told)
        };
        let roles = |line: &Line| -> Vec<Role> {
            if is_for_people(&line.method) { PEOPLE.map(|(role, _)| role).to_vec() } else { vec![Node] }
        };
        let asked = |line: &'_ Line| roles(line).into_iter().map(|role| (line.clone(), role)).collect::<Vec<_>>();
        let (last, first): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| LAST.contains(&&*line.method));
        let first = futures::stream::iter(first.into_iter().flat_map(asked));
        let ask = &ask;
        let mut answers: Vec<_> = first
            .map(|(line, role)| async move { ask(&line, role).await })
            .buffer_unordered(AT_ONE_TIME)
            .collect()
            .await;
        for method in LAST {
            let line = last.iter().find(|line| line.method == method).unwrap();
            for (line, role) in asked(line) {
                answers.push(ask(&line, role).await);
            }
        }
        answers.sort_by_key(|(line, role, ..)| (line.method.clone(), line.roles.iter().position(|r| r == role)));
        for (line, role, outcome, told) in answers {
            wrong.extend(told);
            if !line.roles.contains(&role) {
                if outcome != "ROLE_NOT_ALLOWED" {
                    wrong.push(format!("{} as {role}, {}: {outcome}", line.method, RELATIONS[relation]));
                }
                continue;
            }
            if !line.expects(relation, role, &outcome) {
                wrong.push(format!("{} as {role}, {}: {outcome}", line.method, RELATIONS[relation]));
            }
            found.entry((line.method.clone(), relation)).or_default().push((role, outcome));
        }
    }
    let as_found: Vec<String> = lines.iter().map(|line| as_found(line, &found)).collect();
    assert!(wrong.is_empty(), "{}\n\nall that was found:\n{}", wrong.join("\n"), as_found.join("\n"));

    // Each of them is in the log of the node that it was made to, refusals too, and each page that came.
    let callers = [&PEOPLE[..], &[(Node, NODE)]].concat();
    let missing = journal.compare(&mut stage.field.federation, &callers).await;
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_admits_its_own_callers_and_serves_its_own_methods() {
    let _turn = TURN.lock().await;
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let connect =
        async |operator_port, of, role, name| line(&field.federation, OWN, operator_port, of, role, name).await;
    // A node at the operator port, a person at the peer port, another member's person: refused in the handshake, so that the first
    // call fails.
    let people = PEOPLE.map(|(role, name)| (false, OWN, role, name));
    let foreign = PEOPLE.map(|(role, name)| (true, "DE", role, name));
    let mut turned_away = BTreeMap::<&str, u64>::new();
    for (operator_port, of, role, name) in people.into_iter().chain(foreign).chain([(true, OWN, Node, "node-1")]) {
        *turned_away.entry(if operator_port { "handshake operator" } else { "handshake peer" }).or_default() += 1;
        let method = if operator_port { "NodeService/GetNodeStatus" } else { "ConsensusService/ReadIndex" };
        let answered = match connect(operator_port, of, role, name).await {
            Ok(channel) => call(&channel, method, Vec::new()).await.code,
            Err(_) => Code::Unavailable,
        };
        assert!(matches!(answered, Code::Unavailable | Code::Unknown | Code::Cancelled), "{of} {role}: {answered:?}");
    }
    // What belongs to the other port, or to nobody, is not there.
    let nobodys = ["ListService/Rewrite", "NoService/Nothing"];
    let of = |people: bool| RPCS.iter().map(|rpc| rpc.name).filter(move |name| is_for_people(name) == people);
    for (role, name) in PEOPLE {
        let channel = connect(true, OWN, role, name).await.unwrap();
        for method in of(false).chain(nobodys) {
            assert_eq!(call(&channel, method, Vec::new()).await.outcome(&[]), "METHOD_UNKNOWN", "{method} as {role}");
        }
    }
    let node = connect(false, "DE", Node, "node-1").await.unwrap();
    for method in of(true).chain(nobodys) {
        assert_eq!(call(&node, method, Vec::new()).await.outcome(&[]), "METHOD_UNKNOWN", "{method} on the peer port");
    }
    // A stranger to the federation's genesis is told so by every peer service that takes one.
    for method in ["PeerService/FetchRecalls", "PeerService/AnswerRecall", "CheckpointService/Cosign"] {
        assert_eq!(call(&node, method, Vec::new()).await.outcome(&[]), "OTHER_FEDERATION", "{method}");
    }
    // What nobody serves was asked for, and who was turned away at the door: recorded, too.
    drop(node);
    field.federation.shut_down(Duration::from_secs(20)).await;
    let records = recorded::records(&field.federation, OWN.parse().unwrap()).await;
    let unlisted = |listener_of_people: bool, method: &str| {
        let action = format!("unlisted /comity.v1.{method}");
        let asked = records.iter().filter(|r| r.action == action && r.outcome == Outcome::Denied);
        asked.filter(|r| r.who.as_ref().is_some_and(|who| (who.role() != Node) == listener_of_people)).count()
    };
    for method in of(false).chain(nobodys) {
        assert_eq!(unlisted(true, method), PEOPLE.len(), "{method}");
    }
    for method in of(true).chain(nobodys) {
        assert_eq!(unlisted(false, method), 1, "{method}");
    }
    for (action, at_least) in turned_away {
        let refused = records.iter().filter(|r| r.action == action && r.outcome == Outcome::Denied);
        let count: u64 = refused.map(|r| r.count).sum();
        assert!(count >= at_least, "{action}: {count} recorded, {at_least} turned away");
    }
}
