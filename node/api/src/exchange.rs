//! Pulling what partners release to this node: one loop for each, with back-off and jitter on failure. Loops begin and end as
//! partners come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use comity_app::Node;
use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::view::SealedItem;
use comity_proto::v1;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use crate::serve::MESSAGE_MAX_BYTES;

/// The first pause after a failure.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// What a call may take beyond the wait that was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Pulls from each voting partner that takes part, until shutdown.
pub async fn pull_from_partners(node: Arc<Node>, wait_ms: u32, backoff_max: Duration, shutdown: CancellationToken) {
    let mut news = node.consensus().subscribe();
    let mut lines: BTreeMap<MemberId, CancellationToken> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut seen = None;
    loop {
        news.borrow_and_update();
        let version = node.roster(|roster| roster.version());
        if seen.replace(version) != Some(version) {
            let partners: BTreeSet<MemberId> =
                node.partners().into_iter().filter(|row| row.voting).map(|row| row.member).collect();
            lines.retain(|partner, line| {
                let stays = partners.contains(partner);
                if !stays {
                    line.cancel();
                }
                stays
            });
            for partner in partners {
                lines.entry(partner).or_insert_with(|| {
                    let line = shutdown.child_token();
                    tasks.spawn(pull_forever(Arc::clone(&node), partner, wait_ms, backoff_max, line.clone()));
                    line
                });
            }
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { break },
            Some(_) = tasks.join_next() => {}
            () = shutdown.cancelled() => break,
        }
    }
    lines.into_values().for_each(|line| line.cancel());
    while tasks.join_next().await.is_some() {}
}

/// Pulls from one partner until it is cancelled.
async fn pull_forever(
    node: Arc<Node>,
    partner: MemberId,
    wait_ms: u32,
    backoff_max: Duration,
    shutdown: CancellationToken,
) {
    let mut news = node.consensus().subscribe();
    let mut backoff = BACKOFF_MIN;
    let mut wait = wait_ms;
    loop {
        let version = node.roster(|roster| roster.version());
        let began = std::time::Instant::now();
        let pulled = tokio::select! {
            pulled = pull(&node, partner, wait) => pulled,
            () = shutdown.cancelled() => return,
        };
        let pause = match pulled {
            Ok(pulled) => {
                node.note_pull(partner, Ok(()));
                backoff = BACKOFF_MIN;
                if wait != wait_ms {
                    wait = wait_ms;
                    continue;
                }
                if pulled || began.elapsed() >= BACKOFF_MIN {
                    continue;
                }
                // A partner that answers at once that it has nothing is not asked again at once.
                BACKOFF_MIN
            }
            Err(problem) => {
                tracing::warn!(%partner, %problem, "a pull failed");
                node.note_pull(partner, Err(problem));
                let pause = jittered(backoff);
                backoff = (backoff * 2).min(backoff_max);
                // The next is answered at once, so that it shows at once that all is well again.
                wait = 0;
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Who was refused may be a member by now, or be reached elsewhere.
            Ok(_) = news.wait_for(|_| node.roster(|roster| roster.version()) != version) => backoff = BACKOFF_MIN,
            () = shutdown.cancelled() => return,
        }
    }
}

/// One pull; whether it brought anything.
async fn pull(node: &Node, partner: MemberId, wait_ms: u32) -> Result<bool, String> {
    let channel = node.consensus().channel(partner).ok_or("not in the roster")?;
    let mut client: PeerServiceClient<Channel> =
        PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let federation = node.genesis().federation().0.to_vec();
    let cursor = node.cursor_from(partner).await.map_err(|e| e.to_string())?;
    let mut request = tonic::Request::new(v1::PullRequest { federation: federation.clone(), cursor, wait_ms });
    request.set_timeout(Duration::from_millis(wait_ms.into()) + GRACE);
    let answer = client.pull(request).await.map_err(|status| explain(&status))?.into_inner();
    if answer.page.is_empty() {
        return Ok(false);
    }
    let items = answer
        .items
        .into_iter()
        .map(|i| {
            let salt = <[u8; 32]>::try_from(i.salt).map_err(|_| "an item's salt has not 32 bytes".to_owned())?;
            Ok(SealedItem { salt: Hex32(salt), bytes: i.item })
        })
        .collect::<Result<_, String>>()?;
    let receipt = node.receive(partner, &answer.page, items, answer.next_cursor).await.map_err(|e| e.to_string())?;
    let mut request = tonic::Request::new(v1::AcknowledgeRequest { federation, receipt });
    request.set_timeout(GRACE);
    client.acknowledge(request).await.map_err(|status| explain(&status))?;
    Ok(true)
}

fn explain(status: &tonic::Status) -> String {
    let tls = std::error::Error::source(status).and_then(comity_identity::explain_tls_error);
    tls.unwrap_or_else(|| match (status.code(), std::error::Error::source(status)) {
        (Code::DeadlineExceeded, _) => "no answer in time".into(),
        (_, Some(source)) => format!("the line broke: {}", root_cause(source)),
        (Code::Cancelled, None) => "the line broke".into(),
        (_, None) => status.message().to_owned(),
    })
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Half to all of a pause, so that many nodes do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause * u32::from(byte.first().copied().unwrap_or(0)) / 510
}
