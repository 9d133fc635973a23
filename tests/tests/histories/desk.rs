//! One member's people at their own node: an operator who asks for votes and looks, an approver who lets them be cast.

use std::time::Duration;

use comity_cli::demo::federation::{Federation, Seat};
use comity_core::Role;
use comity_proto::v1;
use comity_proto::v1::approval_service_client::ApprovalServiceClient;
use comity_proto::v1::ballot_service_client::BallotServiceClient;
use comity_tests::federation::{certificate, dial_lazily};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::model::{Answer, History, Operation};

/// Longer than a node allows itself for a command.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(50);
/// Attempts to ask for a vote, or to have it approved.
const ATTEMPTS: usize = 100;

#[derive(Clone)]
pub struct Desk {
    member: String,
    ballots: BallotServiceClient<Channel>,
    approvals: ApprovalServiceClient<Channel>,
}

impl Desk {
    pub fn of(federation: &Federation, seat: &Seat) -> Self {
        let channel = |role: Role, name: &str| {
            let path = certificate(federation, seat.member.as_str(), role, name);
            dial_lazily(federation, &seat.operator, seat.member, &path).unwrap()
        };
        Self {
            member: seat.member.to_string(),
            ballots: BallotServiceClient::new(channel(Role::Operator, "desk-1")),
            approvals: ApprovalServiceClient::new(channel(Role::Approver, "desk-2")),
        }
    }

    /// Votes, unless the node knows already that it is too late.
    pub async fn vote(&mut self, ballot: &str, yes: bool, history: &History) {
        let Some(approval) = self.ask(ballot, yes).await else { return };
        let begun = history.begin();
        let answer = self.approve(&approval).await;
        history.record(Operation::Vote { member: self.member.clone(), yes }, begun, answer);
    }

    /// Asking changes nothing in the list: it is no operation of the history.
    async fn ask(&mut self, ballot: &str, yes: bool) -> Option<String> {
        let choice = if yes { v1::Choice::Yes } else { v1::Choice::No };
        for _ in 0..ATTEMPTS {
            let request = v1::CastVoteRequest {
                ballot: ballot.to_owned(),
                choice: choice.into(),
                reason: String::new(),
                correct: false,
            };
            match self.ballots.cast_vote(limited(request)).await {
                Ok(approval) => return Some(approval.into_inner().id),
                Err(status) if status.code() == Code::FailedPrecondition => return None,
                // The node has not caught up with the ballot, or does not answer now.
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        None
    }

    async fn approve(&mut self, approval: &str) -> Option<Answer> {
        for _ in 0..ATTEMPTS {
            let request = v1::DecideApprovalRequest {
                id: approval.to_owned(),
                approve: true,
                reason: String::new(),
                signature: None,
            };
            match self.approvals.decide_approval(limited(request)).await {
                Ok(_) => return Some(Answer::Accepted),
                Err(status) if reason(&status) == "BALLOT_CLOSED" => return Some(Answer::Closed),
                // It goes on waiting, and the next approval tries the very same command.
                Err(status) if reason(&status) == "NO_QUORUM" => tokio::time::sleep(RETRY).await,
                Err(status) if is_no_answer(&status) => return None,
                Err(status) => panic!("{}: {status}", self.member),
            }
        }
        None
    }

    /// Looks at how a ballot stands.
    pub async fn look(&mut self, ballot: &str, history: &History) {
        let begun = history.begin();
        let answer = match self.ballots.get_ballot(limited(v1::GetBallotRequest { id: ballot.to_owned() })).await {
            Ok(shown) => {
                let shown = shown.into_inner();
                let votes = shown.votes.iter().map(|vote| (vote.member.clone(), vote.choice() == v1::Choice::Yes));
                Some(Answer::Seen { votes: votes.collect(), open: shown.state() == v1::BallotState::Open })
            }
            Err(status) if status.code() == Code::NotFound => Some(Answer::Missing),
            Err(status) if is_no_answer(&status) || reason(&status) == "NO_QUORUM" => None,
            Err(status) => panic!("{}: {status}", self.member),
        };
        history.record(Operation::Look, begun, answer);
    }
}

fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Whether nobody knows what became of the call.
fn is_no_answer(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Aborted
    )
}
