//! Gathering cosignatures: each node asks the others to sign the position that it has reached.

use std::sync::Arc;
use std::time::Duration;

use comity_app::Node;
use comity_consensus::cosign::{CosignError, Heads};
use comity_core::Timestamp;
use comity_core::checkpoint::SignedCheckpoint;
use comity_proto::v1;
use comity_proto::v1::checkpoint_service_client::CheckpointServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Gathers cosignatures whenever the list has grown, until shutdown.
pub async fn cosign_forever(node: Arc<Node>, pause: Duration, shutdown: CancellationToken) {
    let mut news = node.consensus().subscribe();
    loop {
        if shutdown.is_cancelled() {
            return;
        }
        let done = tokio::select! {
            done = round(&node) => done,
            () = shutdown.cancelled() => return,
        };
        match done {
            Ok(true) => {}
            Ok(false) => {
                // Too few answered: tried again after a pause, whether there is news or not.
                tokio::select! {
                    () = tokio::time::sleep(pause.max(Duration::from_secs(1))) => continue,
                    () = shutdown.cancelled() => return,
                }
            }
            Err(error) => tracing::error!(%error, "this node's checkpoint could not be signed"),
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        // A pause gathers what comes together into one round.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// One round; whether the position is agreed now.
async fn round(node: &Arc<Node>) -> Result<bool, CosignError> {
    let size = node.consensus().read(|list| list.commands().size());
    let agreed = node.cosigner().agreed().borrow().as_ref().map_or(0, |a| a.heads.commands.checkpoint.size);
    if size == 0 || size == agreed {
        return Ok(true);
    }
    let heads = node.consensus().read(|list| Some((Heads::at(list, size)?, Arc::clone(list.roster().voters_at(size)))));
    let Some((heads, voters)) = heads else { return Ok(false) };
    // Who does not vote, or has its key revoked, has nothing to say.
    if voters.get(&node.member()).is_none_or(|own| own.node_key.is_none()) {
        return Ok(true);
    }
    let mut heads = node.cosigner().sign(heads, Timestamp::from_jiff(jiff::Timestamp::now())).await?;
    let request = v1::CosignRequest {
        federation: node.genesis().federation().0.to_vec(),
        commands: size,
        command_note: heads.commands.to_bytes(),
        public_note: heads.public.to_bytes(),
    };
    let mut answers = tokio::task::JoinSet::new();
    let others = voters.iter().filter(|(member, voter)| **member != node.member() && voter.node_key.is_some());
    for (member, voter) in others {
        let (member, voter) = (*member, voter.clone());
        let (request, channel) = (request.clone(), node.consensus().channel(member));
        answers.spawn(async move { (ask(channel, request).await, member, voter) });
    }
    while let Some(answer) = answers.join_next().await {
        match answer {
            Ok((Ok(Some(theirs)), member, voter)) => {
                if let Err(error) = node.cosigner().merge(&mut heads, theirs, member, &voter).await {
                    tracing::error!(%member, %error, "a cosignature was not accepted");
                }
            }
            Ok((Ok(None), member, _)) => tracing::debug!(%member, "has not got so far yet"),
            Ok((Err(status), member, _)) => tracing::debug!(%member, code = ?status.code(), "did not cosign"),
            Err(error) => tracing::error!(%error, "a cosigning task ended badly"),
        }
    }
    node.cosigner().settle(heads, &voters).await
}

async fn ask(channel: Option<Channel>, request: v1::CosignRequest) -> Result<Option<Heads>, tonic::Status> {
    let Some(channel) = channel else { return Ok(None) };
    let mut request = tonic::Request::new(request);
    request.set_timeout(ANSWER);
    let answer = CheckpointServiceClient::new(channel).cosign(request).await?.into_inner();
    if answer.command_note.is_empty() {
        return Ok(None);
    }
    let note =
        |bytes: &[u8]| SignedCheckpoint::from_bytes(bytes).map_err(|e| tonic::Status::invalid_argument(e.to_string()));
    Ok(Some(Heads { commands: note(&answer.command_note)?, public: note(&answer.public_note)? }))
}
