//! Runs one handshake within its time, and carries the verifier's reason out of it.
//!
//! rustls chooses the alert from the error that the verifier returns, and only the standard errors give the alerts that
//! tell the far side what is wrong; those have no room for our reason. So the verifier leaves its reason here, in a cell
//! of the task, and the failed handshake picks it up: the far side gets the right alert, this side the whole reason.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use crate::refusal::RefusedCertificate;

tokio::task_local! {
    static REFUSAL: RefCell<Option<RefusedCertificate>>;
}

/// The far side did not finish its handshake in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no TLS handshake within {timeout_ms} ms: check that a comity node listens there and that the line is not cut")]
pub(crate) struct HandshakeTimedOut {
    timeout_ms: u128,
}

/// Awaits a handshake. Its error holds the [`RefusedCertificate`] where the verifier refused.
pub(crate) async fn run<S>(handshake: impl Future<Output = io::Result<S>>, timeout: Duration) -> io::Result<S> {
    let bounded = async {
        let result = match tokio::time::timeout(timeout, handshake).await {
            Ok(result) => result,
            Err(_) => {
                let timed_out = HandshakeTimedOut { timeout_ms: timeout.as_millis() };
                Err(io::Error::new(io::ErrorKind::TimedOut, timed_out))
            }
        };
        result.map_err(|error| match REFUSAL.with(RefCell::take) {
            Some(refusal) => io::Error::new(io::ErrorKind::InvalidData, refusal),
            None => error,
        })
    };
    REFUSAL.scope(RefCell::default(), bounded).await
}

/// Leaves the verifier's reason with the handshake that this task is running, if it is.
pub(crate) fn note(refusal: &RefusedCertificate) {
    // Outside of `run` there is nobody to tell: whoever drives rustls there sees the standard error alone.
    let _ = REFUSAL.try_with(|cell| cell.replace(Some(refusal.clone())));
}
