//! A member's peer port, at which commands are handed in in the name of another member's node.

use std::time::Duration;

use comity_cli::demo::federation::Federation;
use comity_core::genesis::Genesis;
use comity_core::roster::node_id;
use comity_core::{MemberId, Role};
use comity_proto::v1;
use comity_proto::v1::consensus_service_client::ConsensusServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::Problem;
use crate::commands::Signed;
use crate::federation::{certificate, dial_lazily};

/// How a node answers a command that it does not turn away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is in the log for good.
    Committed,
    /// Another member's node leads, as far as is known.
    NotLeader(Option<MemberId>),
}

/// The way to one member's node. Connects when it is used, and again when the connection broke.
#[derive(Debug, Clone)]
pub struct Door {
    /// Whose node.
    pub member: MemberId,
    client: ConsensusServiceClient<Channel>,
    sender: v1::ConsensusSender,
    nodes: Vec<(u64, MemberId)>,
}

impl Door {
    /// The way to `member`'s node.
    ///
    /// # Errors
    /// A certificate cannot be read, or there is no such member.
    pub fn to(federation: &Federation, member: MemberId) -> Result<Self, Problem> {
        let nodes = nodes(&federation.genesis);
        let (node_id, speaker) = *nodes.iter().find(|(_, m)| *m != member).ok_or("a federation of one")?;
        let seat = federation.seat(member.as_str()).ok_or("no seat")?;
        let path = certificate(federation, speaker.as_str(), Role::Node, "node-1");
        let channel = dial_lazily(federation, &seat.peer, member, &path)?;
        let sender = v1::ConsensusSender { federation: federation.genesis.federation().0.to_vec(), node_id };
        Ok(Self { member, client: ConsensusServiceClient::new(channel), sender, nodes })
    }

    /// The ways to all members' nodes.
    ///
    /// # Errors
    /// As [`Self::to`].
    pub fn to_all(federation: &Federation) -> Result<Vec<Self>, Problem> {
        federation.voters().map(|seat| Self::to(federation, seat.member)).collect()
    }

    /// Hands a command in once.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn hand_in(&self, command: &Signed, patience: Duration) -> Result<Answer, Status> {
        use v1::submit_response::Result as Wire;
        let message = v1::SubmitRequest { sender: Some(self.sender.clone()), command: Some(command.to_wire()) };
        let mut request = Request::new(message);
        request.set_timeout(patience);
        // The deadline that was sent binds the far side; a far side that is gone keeps nobody waiting either.
        let answer = tokio::time::timeout(patience, self.client.clone().submit(request)).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner();
        match answer.result {
            Some(Wire::Committed(_)) => Ok(Answer::Committed),
            Some(Wire::NotLeader(other)) => {
                let leader = self.nodes.iter().find(|(node, _)| *node == other.leader_node_id);
                Ok(Answer::NotLeader(leader.map(|(_, member)| *member)))
            }
            None => Err(Status::internal("an answer without a result")),
        }
    }
}

/// The voting members of the genesis and their nodes.
fn nodes(genesis: &Genesis) -> Vec<(u64, MemberId)> {
    genesis.voters().map(|row| (node_id(row.member, 1), row.member)).collect()
}

/// Asks one member's node who leads, until it knows.
///
/// # Errors
/// The node does not answer, or knows no leader in time.
pub async fn leader(federation: &Federation) -> Result<MemberId, Problem> {
    let seat = federation.seats.first().ok_or("no seats")?;
    let path = certificate(federation, seat.member.as_str(), Role::Admin, "ops-1");
    let channel = dial_lazily(federation, &seat.operator, seat.member, &path)?;
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
