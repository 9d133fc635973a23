//! A node as a child of this executable: it ends when its parent does.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::failure::Failure;

/// Between two looks at the child.
const POLL: Duration = Duration::from_millis(100);

/// Runs a node until this process is asked to end, or the node ends by itself.
pub(crate) async fn run(config: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::error(format!("the node cannot be started: {e}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args([crate::NODE_PROCESS, "run", "--until-stdin-closes", "--config"])
        .arg(config)
        // The node ends when this pipe does: however its parent dies, no process stays behind.
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stop = std::pin::pin!(stopped());
    let mut is_stopping = false;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return if status.success() {
                Ok(())
            } else {
                Err(Failure::error(format!("the node ended: {status}; what it said is above"))
                    .next(format!("comity-node run --config {}", config.display())))
            };
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = &mut stop, if !is_stopping => {
                is_stopping = true;
                drop(child.stdin.take());
            }
        }
    }
}

/// Resolves when the person or the system asks this process to end.
pub(crate) async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
