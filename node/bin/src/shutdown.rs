//! When the node is asked to stop.

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves on SIGTERM or SIGINT, and when standard input closes where that was asked for.
pub(crate) async fn asked(until_stdin_closes: bool) {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    let stdin = async {
        if !until_stdin_closes {
            return std::future::pending().await;
        }
        let mut input = tokio::io::stdin();
        let mut byte = [0; 64];
        while input.read(&mut byte).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
        () = stdin => {}
    }
}
