//! A peer that is no node of ours: it serves what it is told, and says what it is told.

use std::sync::{Arc, Mutex};

use comity_core::canonical::Hex32;
use comity_core::list::{ListState, Submission};
use comity_core::roster::node_id;
use comity_core::testing::{Federation, History};
use comity_core::{MemberId, Role};
use comity_proto::v1;
use comity_proto::v1::consensus_service_client::ConsensusServiceClient;
use comity_proto::v1::consensus_service_server::ConsensusService;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::World;

pub(crate) fn wire(submission: &Submission) -> v1::RaftCommand {
    let text =
        |text: &comity_core::list::PublicText| v1::PublicText { salt: text.salt.0.to_vec(), text: text.bytes.clone() };
    v1::RaftCommand { envelope: submission.envelope.clone(), public_text: submission.public_text.as_ref().map(text) }
}

/// What a fake peer serves and what it was asked.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) leaves: Vec<Submission>,
    /// The root that it claims over the leaves before those that are asked for, where it lies about that.
    pub(crate) root_before: Option<Hex32>,
    /// How many leaves it gives before the line breaks.
    pub(crate) breaks_after: Option<usize>,
    /// From which leaf on it was asked.
    pub(crate) asked: Vec<u64>,
    pub(crate) announced: Vec<v1::RaftCommand>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) federation: Federation,
    pub(crate) told: Arc<Mutex<Told>>,
}

impl Fake {
    pub(crate) fn new(federation: &Federation) -> Self {
        Self { federation: federation.clone(), told: Arc::default() }
    }

    pub(crate) fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.told.lock().unwrap());
    }

    pub(crate) fn asked(&self) -> Vec<u64> {
        std::mem::take(&mut self.told.lock().unwrap().asked)
    }

    fn root_of_first(&self, leaves: &[Submission]) -> Hex32 {
        let mut list = ListState::new(Arc::clone(&self.federation.genesis));
        for submission in leaves {
            let _ = list.apply(submission);
        }
        list.commands().root()
    }
}

type Pages = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::ReadCommandsResponse, Status>> + Send>>;

fn not_said<T>() -> Result<Response<T>, Status> {
    // Of all refusals the one that says nothing about whoever refuses: it goes on being asked.
    Err(Status::invalid_argument("it says nothing to that"))
}

#[tonic::async_trait]
impl ConsensusService for Fake {
    async fn append_entries(
        &self,
        _: Request<v1::AppendEntriesRequest>,
    ) -> Result<Response<v1::AppendEntriesResponse>, Status> {
        not_said()
    }

    async fn vote(&self, _: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        not_said()
    }

    async fn pre_vote(&self, _: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        not_said()
    }

    async fn transfer_leader(
        &self,
        _: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        not_said()
    }

    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        not_said()
    }

    async fn install_snapshot(
        &self,
        _: Request<v1::InstallSnapshotRequest>,
    ) -> Result<Response<v1::InstallSnapshotResponse>, Status> {
        not_said()
    }

    type ReadCommandsStream = Pages;

    async fn read_commands(&self, request: Request<v1::ReadCommandsRequest>) -> Result<Response<Pages>, Status> {
        let request = request.into_inner();
        let mut told = self.told.lock().unwrap();
        told.asked.push(request.first_leaf);
        let first = request.first_leaf as usize;
        let (before, rest) = told.leaves.split_at(first.min(told.leaves.len()));
        let root = told.root_before.unwrap_or_else(|| self.root_of_first(before));
        let give = told.breaks_after.unwrap_or(usize::MAX).min(request.max as usize);
        // Three leaves to a page.
        let mut pages: Vec<Result<v1::ReadCommandsResponse, Status>> = Vec::new();
        for (n, page) in rest[..give.min(rest.len())].chunks(3).enumerate() {
            pages.push(Ok(v1::ReadCommandsResponse {
                first_leaf: (first + n * 3) as u64,
                commands: page.iter().map(wire).collect(),
                root_before: if n == 0 { root.0.to_vec() } else { Vec::new() },
            }));
        }
        if told.breaks_after.is_some() {
            pages.push(Err(Status::unavailable("the line broke")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(pages).map(|page| page))))
    }

    async fn read_index(&self, _: Request<v1::ReadIndexRequest>) -> Result<Response<v1::ReadIndexResponse>, Status> {
        not_said()
    }

    async fn announce(&self, request: Request<v1::AnnounceRequest>) -> Result<Response<v1::AnnounceResponse>, Status> {
        self.told.lock().unwrap().announced.extend(request.into_inner().commands);
        Ok(Response::new(v1::AnnounceResponse {}))
    }
}

/// Speaks to a node in a member's name.
pub(crate) struct Speaker<'a> {
    world: &'a World,
    node_id: u64,
    pub(crate) client: ConsensusServiceClient<Channel>,
}

impl<'a> Speaker<'a> {
    pub(crate) fn new(world: &'a World, from: MemberId, to: MemberId) -> Self {
        let channel = world.channel(world.credentials(from, Role::Node), to);
        let node_id = node_id(from, 1);
        Self { world, node_id, client: ConsensusServiceClient::new(channel) }
    }

    pub(crate) fn sender(&self) -> Option<v1::ConsensusSender> {
        let federation = self.world.federation.genesis.federation().0.to_vec();
        Some(v1::ConsensusSender { federation, node_id: self.node_id })
    }

    /// A snapshot of a history, as of the entry `index` of a term of the speaker's.
    pub(crate) fn offer(&self, history: &History, term: u64, index: u64) -> v1::InstallSnapshotRequest {
        let mut voters: Vec<MemberId> = self.world.federation.voters();
        voters.sort();
        let ids = || voters.iter().map(|member| node_id(*member, 1));
        let nodes = ids().zip(&voters).map(|(node_id, member)| v1::RaftNode { node_id, member: member.to_string() });
        v1::InstallSnapshotRequest {
            sender: self.sender(),
            vote: Some(v1::RaftVote { term, node_id: self.node_id, committed: true }),
            last_log_id: Some(v1::RaftLogId { term, node_id: self.node_id, index }),
            membership: Some(v1::RaftMembership {
                configs: vec![v1::RaftVoters { node_ids: ids().collect() }],
                nodes: nodes.collect(),
            }),
            membership_log_id: Some(v1::RaftLogId { term: 0, node_id: 0, index: 0 }),
            commands: history.state.commands().size(),
            root: history.state.commands().root().0.to_vec(),
        }
    }
}
