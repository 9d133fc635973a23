//! Fetching what is recalled from this member, carrying it out, and answering: from everybody, and however this member stands in the
//! roster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use comity_app::Node;
use comity_core::MemberId;
use comity_proto::v1;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{BACKOFF_MIN, CALL_TIMEOUT, explain, jittered, said};
use crate::serve::MESSAGE_MAX_BYTES;

/// How often a member that is told nothing else asks, and how often answers that did not arrive are sent again.
const ASK_AGAIN: Duration = Duration::from_secs(20);
/// The most answers that one originator is asked for in a turn, so that one that tells for ever keeps nobody else's recalls waiting.
const ROUNDS_MAX: usize = 100;

/// Fetches, carries out and answers recalls, until shutdown. `told` changes when a partner says that there are some.
pub async fn follow_recalls(node: Arc<Node>, mut told: watch::Receiver<u64>, shutdown: CancellationToken) {
    let mut answered = node.answers_changed();
    let (mut all, mut next) = (true, tokio::time::Instant::now());
    // Whoever could not be asked, or told what could not be carried out: it may say nothing more, so it is asked again unasked.
    let mut owed = BTreeSet::new();
    loop {
        // A partner that says without end that there are some has nobody asked more often than this.
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = shutdown.cancelled() => return,
        }
        next = tokio::time::Instant::now() + BACKOFF_MIN;
        all |= told.has_changed().unwrap_or(false);
        told.borrow_and_update();
        answered.borrow_and_update();
        let mut due = false;
        for origin in node.recall_sources() {
            let answers = node.answers_due(origin).await.map(|due| !due.is_empty()).unwrap_or(false);
            let is_told = node.peer_health(origin).problem.is_none() && !node.is_left_out();
            if !all && !answers && is_told && !owed.contains(&origin) {
                continue;
            }
            let exchanged = tokio::select! {
                exchanged = exchange(&node, origin) => exchanged,
                () = shutdown.cancelled() => return,
            };
            owed.remove(&origin);
            if let Err(problem) = exchanged {
                owed.insert(origin);
                due |= answers || is_told;
                tracing::debug!(%origin, %problem, "its recalls were not exchanged");
            }
        }
        let pause = jittered(if due { ASK_AGAIN / 4 } else { ASK_AGAIN }).max(BACKOFF_MIN);
        all = tokio::select! {
            changed = told.changed() => if changed.is_err() { return } else { true },
            changed = answered.changed() => if changed.is_err() { return } else { false },
            () = tokio::time::sleep(pause) => false,
            () = shutdown.cancelled() => return,
        };
    }
}

async fn exchange(node: &Node, origin: MemberId) -> Result<(), String> {
    let channel = node.consensus().channel(origin).ok_or("not to be reached")?;
    let mut client: PeerServiceClient<Channel> =
        PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let federation = node.genesis().federation().0.to_vec();
    for _ in 0..ROUNDS_MAX {
        let after = node.recall_position(origin).await.map_err(said)?;
        let mut request = tonic::Request::new(v1::FetchRecallsRequest { federation: federation.clone(), after });
        request.set_timeout(CALL_TIMEOUT);
        let told = client.fetch_recalls(request).await.map_err(|status| explain(&status))?.into_inner();
        if told.recalls.is_empty() {
            break;
        }
        for recall in &told.recalls {
            // One that is not as it must be is told again and again: nothing that is asked for is passed over.
            node.carry_out_recall(origin, recall).await.map_err(said)?;
        }
        if told.position <= after {
            // Asked again, it would tell the same.
            break;
        }
        node.set_recall_position(origin, told.position).await.map_err(said)?;
    }
    for answer in node.answers_due(origin).await.map_err(said)? {
        let request = v1::AnswerRecallRequest { federation: federation.clone(), answer: answer.reply.clone() };
        let mut request = tonic::Request::new(request);
        request.set_timeout(CALL_TIMEOUT);
        client.answer_recall(request).await.map_err(|status| explain(&status))?;
        node.answer_delivered(&answer).await.map_err(said)?;
    }
    Ok(())
}
