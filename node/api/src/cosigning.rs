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
    let Some(heads) = node.consensus().read(|list| Heads::at(list, size)) else { return Ok(false) };
    let mut heads = node.cosigner().sign(heads, Timestamp::from_jiff(jiff::Timestamp::now())).await?;
    let request = v1::CosignRequest {
        federation: node.genesis().federation().0.to_vec(),
        commands: size,
        command_note: heads.commands.to_bytes(),
        public_note: heads.public.to_bytes(),
    };
    let mut answers = tokio::task::JoinSet::new();
    for member in node.genesis().voters().filter(|m| m.member != node.member()) {
        let (member, request, channel) = (member.clone(), request.clone(), node.consensus().channel(member.member));
        answers.spawn(async move { (ask(channel, request).await, member) });
    }
    while let Some(answer) = answers.join_next().await {
        match answer {
            Ok((Ok(Some(theirs)), member)) => {
                if let Err(error) = node.cosigner().merge(&mut heads, theirs, &member).await {
                    tracing::error!(member = %member.member, %error, "a cosignature was not accepted");
                }
            }
            Ok((Ok(None), member)) => tracing::debug!(member = %member.member, "has not got so far yet"),
            Ok((Err(status), member)) => {
                tracing::debug!(member = %member.member, code = ?status.code(), "did not cosign");
            }
            Err(error) => tracing::error!(%error, "a cosigning task ended badly"),
        }
    }
    node.cosigner().settle(heads).await
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
