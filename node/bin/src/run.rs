//! Running: open everything, serve, and on request end everything in order, within a deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use comity_api::{
    Front, ListenerLimits, LiveConnections, StrangersQuota, confirm_log, cosign_forever, follow_recalls, follow_roster,
    keep_in_step, witness_forever,
};
use comity_app::{Node, Standing};
use comity_identity::AcceptorLimits;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::config::{Config, Listen};
use crate::health;
use crate::materials::StartError;
use crate::open::{Opened, open};

/// The longest that what has ended goes unnoticed.
const VALIDITY_EVERY: Duration = Duration::from_millis(500);

/// Runs a node until `stop` resolves.
///
/// # Errors
/// Why it did not start. Nothing is served then.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let Opened { materials, store, consensus, node } = open(&config).await?;
    // Ports are opened before anything is said to anybody, so that a port in use ends the start.
    let peer_port = bind("peer.listen", &config.peer.listen).await?;
    let operator_port = bind("operator.listen", &config.operator.listen).await?;
    let health_port = match &config.health {
        Some(health) => Some(bind("health.listen", &health.listen).await?),
        None => None,
    };
    let shutdown = CancellationToken::new();
    let front = Front {
        node: Arc::clone(&node),
        credentials: Arc::new(materials.credentials.clone()),
        trust: materials.trust.clone(),
        shutdown: shutdown.clone(),
        live: LiveConnections::default(),
        strangers: StrangersQuota::new(config.access_log.strangers_max_bytes_per_day),
    };
    let ordering = consensus.service().map_or_else(Routes::default, |service| Routes::new(service.into_server()));
    let peers = front.serve_peers(peer_port, limits(&config.peer), ordering)?;
    let people = front.serve_people(operator_port, limits(&config.operator))?;
    let (reporter, health_service) = tonic_health::server::health_reporter();
    // Until it is looked at, health would say that all is well.
    reporter.set_service_status(health::NODE, ServingStatus::NotServing).await;
    if let Some(port) = health_port {
        let server = tonic::transport::Server::builder().add_service(health_service);
        let ended = shutdown.clone().cancelled_owned();
        tokio::spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(port), ended));
    }
    let mut stop = std::pin::pin!(stop);
    let mut tasks = JoinSet::new();
    // Also while it waits: whoever restores a log needs one that can be written.
    tasks.spawn(health::report(Arc::clone(&node), reporter, shutdown.clone()));
    tasks.spawn(health::try_log_again(Arc::clone(&node), shutdown.clone()));
    // INVARIANT: nothing is signed, and nothing but this is served, before others have said how far they saw the access log.
    tokio::select! {
        confirmed = confirm_log(&node) => confirmed.map_err(StartError::Unconfirmed)?,
        () = &mut stop => {
            tracing::info!("stopping before the access log was confirmed");
            shutdown.cancel();
            store.close().await;
            return Ok(());
        }
        () = node.store_lost() => {
            tracing::error!("another node has taken the national store: stopping");
            shutdown.cancel();
            return Ok(());
        }
    }
    node.record_start().await?;
    node.apply_equivalences().await.map_err(StartError::Anew)?;
    consensus.start().await?;
    background(&config, &node, &shutdown, &mut tasks);
    tasks.spawn(follow_roster(Arc::clone(&node), front.trust.clone(), front.live.clone(), shutdown.clone()));
    tracing::info!(member = %node.member(), peer = %config.peer.listen, operator = %config.operator.listen, "serving");

    let mut behind = false;
    tokio::select! {
        () = &mut stop => tracing::info!("stopping"),
        () = fell_behind(&node) => {
            behind = true;
            tracing::error!("a member cosigned leaves of the access log that are not here: nothing is served any more");
        }
        // INVARIANT: one node to a store: what another took over is not served from here any more.
        () = node.store_lost() => tracing::error!("another node has taken the national store: stopping"),
    }
    let deadline = Duration::from_millis(config.shutdown_deadline_ms);
    let orderly = async {
        // Leadership goes first, while the others can still be reached.
        consensus.shutdown().await;
        node.begin_stop();
        shutdown.cancel();
        let _ = peers.await;
        let _ = people.await;
        while tasks.join_next().await.is_some() {}
        // INVARIANT: a log that others saw more of is signed no more.
        if !behind && let Err(error) = node.access_checkpoint().await {
            tracing::warn!(%error, "no closing checkpoint of the access log");
        }
        store.close().await;
    };
    if tokio::time::timeout(deadline, orderly).await.is_err() {
        tracing::warn!(
            deadline_ms = config.shutdown_deadline_ms,
            "not everything ended in time: what was open is cut off"
        );
    }
    tracing::info!("stopped");
    if behind { Err(StartError::Behind) } else { Ok(()) }
}

/// What the node does by itself.
fn background(config: &Config, node: &Arc<Node>, shutdown: &CancellationToken, tasks: &mut JoinSet<()>) {
    let backoff_max = Duration::from_millis(config.exchange.backoff_max_ms);
    let recalls = tokio::sync::watch::Sender::new(0);
    tasks.spawn(follow_recalls(Arc::clone(node), recalls.subscribe(), shutdown.clone()));
    tasks.spawn(keep_in_step(Arc::clone(node), backoff_max, recalls, shutdown.clone()));
    tasks.spawn(end_validities(Arc::clone(node), shutdown.clone()));
    // A recipient says nothing about the list.
    if !node.consensus().observes() {
        let cosign_pause = Duration::from_millis(config.list.cosign_interval_ms);
        tasks.spawn(cosign_forever(Arc::clone(node), cosign_pause, shutdown.clone()));
        let attest_every = Duration::from_secs(config.list.attest_interval_s);
        tasks.spawn(attest_forever(Arc::clone(node), attest_every, shutdown.clone()));
    }
    tasks.spawn(witness_forever(Arc::clone(node), node.checkpoint_interval(), shutdown.clone()));
}

/// Decides again what has ended, when its instant has come.
async fn end_validities(node: Arc<Node>, shutdown: CancellationToken) {
    let mut looked = node.validity_begin();
    loop {
        let now = node.now();
        let pause = match node.end_validities(looked).await {
            Ok(pause) => {
                looked = now;
                pause
            }
            Err(error) => {
                tracing::error!(%error, "what has ended was not decided again");
                Duration::from_secs(1)
            }
        };
        // What is released meanwhile may end sooner.
        tokio::select! {
            () = tokio::time::sleep(pause.min(VALIDITY_EVERY)) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn attest_forever(node: Arc<Node>, every: Duration, shutdown: CancellationToken) {
    let mut pause = Duration::from_secs(1);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        let attested = tokio::select! {
            attested = node.attest_time() => attested,
            () = shutdown.cancelled() => return,
        };
        pause = match attested {
            Ok(()) => every,
            Err(error) => {
                tracing::debug!(%error, "time was not attested");
                Duration::from_secs(10)
            }
        };
    }
}

/// Returns once a member is known to have seen more of the access log than there is.
async fn fell_behind(node: &Node) {
    let mut standing = node.watch_standing();
    // The node outlives this: its end is not waited for.
    let _ = standing.wait_for(|standing| matches!(standing, Standing::Behind { .. })).await;
}

async fn bind(setting: &'static str, address: &str) -> Result<TcpListener, StartError> {
    let fail = |source| StartError::Listen { setting, address: address.to_owned(), source };
    let parsed: SocketAddr =
        address.parse().map_err(|_| fail(std::io::Error::from(std::io::ErrorKind::InvalidInput)))?;
    TcpListener::bind(parsed).await.map_err(fail)
}

fn limits(listen: &Listen) -> ListenerLimits {
    ListenerLimits {
        acceptor: AcceptorLimits {
            handshake_timeout_ms: listen.handshake_timeout_ms,
            max_connections: listen.max_connections,
            ..AcceptorLimits::default()
        },
        max_calls: listen.max_calls,
        connection_age_max: Duration::from_secs(listen.connection_age_max_s),
    }
}
