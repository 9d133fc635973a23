//! `CheckpointService`: cosigning what this node computed itself.

use std::sync::Arc;
use std::time::Duration;

use comity_app::AppError;
use comity_consensus::cosign::Heads;
use comity_core::Timestamp;
use comity_core::checkpoint::SignedCheckpoint;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::services::peers::ensure_federation;
use crate::services::service;
use crate::status;

service!(Checkpoints);

/// How long a node that is behind waits to catch up before it answers that it is.
const CATCH_UP: Duration = Duration::from_secs(3);

#[tonic::async_trait]
impl v1::checkpoint_service_server::CheckpointService for Checkpoints {
    async fn cosign(&self, request: Request<v1::CosignRequest>) -> Result<Response<v1::CosignResponse>, Status> {
        let (caller, _) = context(&request)?;
        let request = request.into_inner();
        ensure_federation(&self.node, &request.federation)?;
        let consensus = self.node.consensus();
        let member = caller.peer.member;
        // INVARIANT: how far the members are, and what they hold, is told to those alone who hold it, too.
        let votes = consensus.roster(|roster| roster.voters_history().any(|voters| voters.contains_key(&member)));
        if !votes {
            return Err(status::of(AppError::Forbidden {
                reason: "NOT_A_VOTER",
                problem: format!("{member} has no vote: it does not cosign what the members decided"),
            }));
        }
        let behind = || v1::CosignResponse { command_note: Vec::new(), public_note: Vec::new() };
        let mut position = consensus.subscribe();
        let caught_up = position.wait_for(|p| p.commands >= request.commands);
        if !matches!(tokio::time::timeout(CATCH_UP, caught_up).await, Ok(Ok(_))) {
            return Ok(Response::new(behind()));
        }
        let size = request.commands;
        let heads = consensus.read(|list| Some((Heads::at(list, size)?, Arc::clone(list.roster().voters_at(size)))));
        let Some((heads, voters)) = heads else { return Ok(Response::new(behind())) };
        // INVARIANT: only those cosign who voted at that position, with a key that counts.
        if voters.get(&self.node.member()).is_none_or(|own| own.node_key.is_none()) {
            return Ok(Response::new(behind()));
        }
        let cosigner = self.node.cosigner();
        // What the caller signed is looked at first: a fork shows here, whoever asks.
        let theirs = SignedCheckpoint::from_bytes(&request.command_note)
            .and_then(|commands| Ok(Heads { commands, public: SignedCheckpoint::from_bytes(&request.public_note)? }))
            .map_err(|e| status::field("command_note", e.to_string()))?;
        if let Some(voter) = voters.get(&member) {
            let mut ours = heads.clone();
            if let Err(error) = cosigner.merge(&mut ours, theirs, member, voter).await {
                tracing::error!(%member, %error, "a checkpoint was not accepted");
                return Err(status::field("command_note", "is not what this node computed at that size"));
            }
        }
        let now = Timestamp::from_jiff(jiff::Timestamp::now());
        match cosigner.sign(heads, now).await {
            Ok(heads) => Ok(Response::new(v1::CosignResponse {
                command_note: heads.commands.to_bytes(),
                public_note: heads.public.to_bytes(),
            })),
            Err(error) => {
                tracing::error!(%error, "nothing was cosigned");
                Err(Status::internal("nothing was cosigned"))
            }
        }
    }
}
