//! Whether the node serves: told to whoever asks for its health, and, where the access log fails, found out by trying.

use std::sync::Arc;
use std::time::Duration;

use comity_app::{Node, Standing};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How often health is looked at.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// How soon a log that failed is tried again, and the longest pause after further failures.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

/// The node as a whole.
pub(crate) const NODE: &str = "";
/// Whether the access log can be written, and is what others saw of it.
const ACCESS_LOG: &str = "access-log";
/// Whether a leader of the list is known, where there is one to be known.
const LIST: &str = "list";

/// Tells the health of the node and of its parts until it stops: the node serves while all of them do.
pub(crate) async fn report(node: Arc<Node>, reporter: HealthReporter, shutdown: CancellationToken) {
    let mut known = None;
    loop {
        let log = node.can_record() && node.standing() == Standing::Serving;
        let list = node.consensus().observes() || node.list_view().leader.is_some();
        if known.replace((log, list)) != Some((log, list)) {
            for (part, serves) in [(ACCESS_LOG, log), (LIST, list), (NODE, log && list)] {
                reporter.set_service_status(part, status(serves)).await;
            }
            tracing::info!(access_log = log, list, "health");
        }
        tokio::select! {
            () = tokio::time::sleep(HEALTH_EVERY) => {}
            () = shutdown.cancelled() => break,
        }
    }
    for part in [ACCESS_LOG, LIST, NODE] {
        reporter.set_service_status(part, ServingStatus::NotServing).await;
    }
}

fn status(serves: bool) -> ServingStatus {
    if serves { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Whenever the access log cannot be written, tries until it can: no call is let in meanwhile that would show it.
pub(crate) async fn try_log_again(node: Arc<Node>, shutdown: CancellationToken) {
    loop {
        let (since, why) = tokio::select! {
            trouble = node.log_in_trouble() => trouble,
            () = shutdown.cancelled() => return,
        };
        tracing::error!(why, "the access log cannot be written: nothing is answered until it can");
        let mut pause = AGAIN_AFTER;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            match node.record_log_written_again(since, why).await {
                Ok(()) => break,
                Err(_) => pause = (2 * pause).min(AGAIN_AFTER_MAX),
            }
        }
        tracing::info!(%since, why, "the access log is written again");
    }
}
