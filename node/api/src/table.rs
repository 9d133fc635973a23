//! The table of RPCs: who may call each, on which listener, within what time, and how it is recorded. A call that has no row
//! here is refused before any handler sees it.

use std::time::Duration;

use comity_core::Role;

/// Where an RPC is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listener {
    /// Nodes of other members.
    Peer,
    /// People of this member.
    Operator,
}

impl Listener {
    /// As it stands in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Operator => "operator",
        }
    }
}

/// How an RPC goes into the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recording {
    /// A leaf for each call, durable before anything is answered.
    EachCall,
    /// Counted, with a leaf when the connection ends: consensus and cosigning, which carry nothing secret.
    ByConnection,
}

/// One RPC.
#[derive(Debug, Clone, Copy)]
pub struct Rpc {
    /// `Service/Method`, without the package.
    pub name: &'static str,
    /// Where it is served.
    pub listener: Listener,
    /// Who may call it.
    pub roles: &'static [Role],
    /// How it is recorded.
    pub recording: Recording,
    /// Whether it reads the replicated list: then it waits until it is certain what is current, unless the caller will have
    /// what this node knows.
    pub reads_list: bool,
    /// Whether it reads or changes the list, so that a recipient's node, which holds none, refuses it.
    pub needs_list: bool,
    /// Whether a member that takes part no more may call it while consensus cannot do without its node.
    pub by_the_needed: bool,
    /// Whether members that are suspended or expelled may call it: the one door that they keep, to give back what is recalled.
    pub by_the_left_out: bool,
    /// Whether it is served, too, while it is not known whether this node's access log is whole.
    pub while_held: bool,
    /// The longest that a call may take until it is answered, or until a stream begins, in milliseconds.
    pub deadline_ms: u64,
}

impl Rpc {
    /// The longest that a call may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

const READERS: &[Role] = &[Role::Operator, Role::Approver];
const OPERATORS: &[Role] = &[Role::Operator];
const APPROVERS: &[Role] = &[Role::Approver];
const ASKERS: &[Role] = &[Role::Operator, Role::Approver, Role::Policy, Role::Admin];
const SIGNERS: &[Role] = &[Role::Operator, Role::Admin];
const OFFICERS: &[Role] = &[Role::Policy];
const EXPLAINERS: &[Role] = &[Role::Operator, Role::Approver, Role::Policy];
const POLICY_READERS: &[Role] = &[Role::Policy, Role::Approver, Role::Auditor];
const AUDITORS: &[Role] = &[Role::Auditor];
const EVERYBODY: &[Role] = &[Role::Operator, Role::Approver, Role::Policy, Role::Auditor, Role::Admin];
const ADMINS: &[Role] = &[Role::Admin];
const NODES: &[Role] = &[Role::Node];

const fn person(name: &'static str, roles: &'static [Role]) -> Rpc {
    let recording = Recording::EachCall;
    Rpc {
        name,
        listener: Listener::Operator,
        roles,
        recording,
        reads_list: false,
        needs_list: false,
        by_the_needed: false,
        by_the_left_out: false,
        while_held: false,
        deadline_ms: 30_000,
    }
}

const fn decider(name: &'static str, roles: &'static [Role]) -> Rpc {
    Rpc { needs_list: true, ..person(name, roles) }
}

const fn reader(name: &'static str, roles: &'static [Role]) -> Rpc {
    Rpc { reads_list: true, ..decider(name, roles) }
}

/// Reads the roster, which a recipient's node has, too, as it was given it.
const fn roster(name: &'static str, roles: &'static [Role]) -> Rpc {
    Rpc { reads_list: true, ..person(name, roles) }
}

const fn node(name: &'static str, recording: Recording, deadline_ms: u64) -> Rpc {
    Rpc {
        name,
        listener: Listener::Peer,
        roles: NODES,
        recording,
        reads_list: false,
        needs_list: false,
        by_the_needed: false,
        by_the_left_out: false,
        while_held: false,
        deadline_ms,
    }
}

const fn list(name: &'static str, deadline_ms: u64) -> Rpc {
    Rpc { needs_list: true, ..node(name, Recording::ByConnection, deadline_ms) }
}

const fn raft(name: &'static str, deadline_ms: u64) -> Rpc {
    Rpc { by_the_needed: true, ..list(name, deadline_ms) }
}

const fn door(name: &'static str) -> Rpc {
    Rpc { by_the_left_out: true, ..node(name, Recording::EachCall, 10_000) }
}

/// Served before the node knows whether its access log is whole: what finds that out, and mends it.
const fn held(rpc: Rpc) -> Rpc {
    Rpc { while_held: true, ..rpc }
}

/// Every RPC that a node serves.
pub const RPCS: &[Rpc] = &[
    person("RecordService/CreateRecord", OPERATORS),
    person("RecordService/UpdateRecord", OPERATORS),
    person("RecordService/GetRecord", READERS),
    person("RecordService/ListRecords", READERS),
    person("RecordService/ShareRecords", OPERATORS),
    person("RecordService/GiveOpinion", OPERATORS),
    decider("RecordService/TableProposal", OPERATORS),
    person("RecordService/WithdrawRecord", OPERATORS),
    person("ReleaseService/RequestRelease", OPERATORS),
    person("ReleaseService/AnswerRelease", OPERATORS),
    person("ReleaseService/ListReleases", READERS),
    person("RecallService/StartRecall", OPERATORS),
    person("RecallService/GetRecall", READERS),
    person("RecallService/ListRecalls", READERS),
    person("RecallService/HoldCopy", OPERATORS),
    person("RecallService/AnswerCannotComply", OPERATORS),
    held(person("ApprovalService/ListApprovals", ASKERS)),
    held(person("ApprovalService/GetApproval", ASKERS)),
    held(person("ApprovalService/DecideApproval", APPROVERS)),
    person("ApprovalService/SignApproval", SIGNERS),
    reader("BallotService/ListBallots", READERS),
    reader("BallotService/GetBallot", READERS),
    decider("BallotService/CastVote", OPERATORS),
    decider("BallotService/TableMotion", OPERATORS),
    decider("BallotService/AcknowledgeBallot", OPERATORS),
    decider("BallotService/PlaceHold", OPERATORS),
    decider("BallotService/ExtendHold", OPERATORS),
    decider("BallotService/LiftHold", OPERATORS),
    decider("BallotService/Object", OPERATORS),
    decider("BallotService/WithdrawBallot", OPERATORS),
    reader("ListService/GetEntry", EVERYBODY),
    reader("ListService/ListEntries", EVERYBODY),
    reader("ListService/GetListStatus", EVERYBODY),
    reader("ListService/ExportList", EVERYBODY),
    reader("ListService/ListPublications", EVERYBODY),
    decider("ListService/WatchList", EVERYBODY),
    decider("ListService/AttachMeasure", OPERATORS),
    decider("ListService/EndMeasure", OPERATORS),
    decider("ListService/ReviewEntry", OPERATORS),
    roster("MemberService/ListMembers", EVERYBODY),
    decider("MemberService/Invite", ADMINS),
    decider("MemberService/ChangeKeys", ADMINS),
    decider("MemberService/SubmitSigned", ADMINS),
    person("PolicyService/CheckPolicy", OFFICERS),
    person("PolicyService/TestPolicy", OFFICERS),
    person("PolicyService/ExplainRelease", EXPLAINERS),
    person("PolicyService/SimulatePolicy", OFFICERS),
    person("PolicyService/ApplyPolicy", OFFICERS),
    person("PolicyService/GetPolicy", POLICY_READERS),
    person("PolicyService/ListPolicies", POLICY_READERS),
    person("PolicyService/ListPolicyVersions", POLICY_READERS),
    person("PolicyService/ApplyPeople", OFFICERS),
    person("PolicyService/GetPeople", POLICY_READERS),
    person("AuditService/ListAccessRecords", AUDITORS),
    person("AuditService/WatchAccessRecords", AUDITORS),
    person("AuditService/ReadAccessLeaves", AUDITORS),
    person("AuditService/GetAccessCheckpoint", AUDITORS),
    person("AuditService/ListArchivedSegments", AUDITORS),
    person("AuditService/ListWitnessConflicts", AUDITORS),
    person("AuditService/ExportAccessLog", AUDITORS),
    held(person("NodeService/GetNodeStatus", EVERYBODY)),
    held(person("NodeService/DeclareLoss", ADMINS)),
    person("NodeService/ArchiveLog", ADMINS),
    held(person("NodeService/StartUnconfirmed", ADMINS)),
    person("NodeService/RotateStoreKey", ADMINS),
    node("PeerService/Exchange", Recording::EachCall, 10_000),
    door("PeerService/FetchRecalls"),
    door("PeerService/AnswerRecall"),
    list("CheckpointService/Cosign", 10_000),
    list("WitnessService/AddCheckpoint", 10_000),
    held(Rpc { by_the_left_out: true, ..list("WitnessService/GetWitnessed", 10_000) }),
    raft("ConsensusService/AppendEntries", 10_000),
    raft("ConsensusService/Vote", 10_000),
    raft("ConsensusService/PreVote", 10_000),
    raft("ConsensusService/TransferLeader", 10_000),
    list("ConsensusService/Submit", 30_000),
    raft("ConsensusService/InstallSnapshot", 60_000),
    raft("ConsensusService/ReadCommands", 30_000),
    list("ConsensusService/ReadIndex", 10_000),
    list("ConsensusService/Announce", 10_000),
];

/// The row of a request path such as `/comity.v1.ListService/GetEntry` on a listener.
pub fn find(listener: Listener, path: &str) -> Option<&'static Rpc> {
    let name = path.strip_prefix("/comity.v1.")?;
    RPCS.iter().find(|rpc| rpc.listener == listener && rpc.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// INVARIANT: each RPC of the protos has exactly one row, and no row is without its RPC.
    #[test]
    fn every_rpc_has_one_row() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/comity/v1");
        let mut declared = BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
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
        let rows: Vec<String> = RPCS.iter().map(|r| r.name.to_owned()).collect();
        let unique: BTreeSet<String> = rows.iter().cloned().collect();
        assert_eq!(rows.len(), unique.len(), "a row is there twice");
        assert_eq!(declared, unique);
    }

    /// The table in ARCHITECTURE.md is this one, row by row.
    #[test]
    fn the_document_has_the_same_table() {
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap();
        let rows = document.lines().skip_while(|line| !line.starts_with("| RPC | listener |")).skip(2);
        let written: Vec<Vec<String>> = rows
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect();
        let expected = RPCS.iter().map(|rpc| {
            let roles: Vec<&str> = rpc.roles.iter().map(|role| role.as_str()).collect();
            vec![
                {
                    let marks = [(rpc.by_the_needed, "‡"), (rpc.by_the_left_out, "§"), (rpc.while_held, "¶")];
                    let marks = marks.into_iter().filter_map(|(is_so, mark)| is_so.then_some(format!(" {mark}")));
                    format!("{}{}", rpc.name, marks.collect::<String>())
                },
                rpc.listener.as_str().to_owned(),
                if rpc.roles == EVERYBODY { "all five".to_owned() } else { roles.join(", ") },
                match rpc.recording {
                    Recording::EachCall => "each call".to_owned(),
                    Recording::ByConnection => "by connection".to_owned(),
                },
                if rpc.reads_list { "current".to_owned() } else { String::new() },
                format!("{} s", rpc.deadline_ms / 1_000),
            ]
        });
        assert_eq!(written, expected.collect::<Vec<_>>());
    }

    #[test]
    fn no_role_proposes_and_audits() {
        for rpc in RPCS {
            assert!(!rpc.roles.is_empty(), "{}", rpc.name);
            assert_eq!(rpc.listener == Listener::Peer, rpc.roles == [Role::Node], "{}", rpc.name);
            if rpc.name.starts_with("AuditService") {
                assert_eq!(rpc.roles, [Role::Auditor], "{}", rpc.name);
            }
            if rpc.name.starts_with("RecordService") {
                assert!(!rpc.roles.contains(&Role::Auditor) && !rpc.roles.contains(&Role::Admin), "{}", rpc.name);
            }
        }
    }

    #[test]
    fn a_path_is_served_on_its_own_listener_alone() {
        assert!(find(Listener::Operator, "/comity.v1.ListService/GetEntry").is_some());
        assert!(find(Listener::Peer, "/comity.v1.ListService/GetEntry").is_none());
        assert!(find(Listener::Operator, "/comity.v1.PeerService/Exchange").is_none());
        assert!(find(Listener::Operator, "/comity.v1.ListService/getentry").is_none());
        assert!(find(Listener::Operator, "/grpc.health.v1.Health/Check").is_none());
    }
}
