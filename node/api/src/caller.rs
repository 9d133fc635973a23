//! Who calls and what the call touches, as handlers are given them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use comity_core::access::Touched;
use comity_identity::peer::Peer;
use tonic::Status;

use crate::connection::Lifetime;

/// The authenticated caller of one RPC. Only the access layer makes one.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The parsed identity.
    pub peer: Peer,
    /// From where.
    pub remote: SocketAddr,
    /// Ties log lines and access record together.
    pub request_id: String,
    /// How long the connection may live: no stream outlives it.
    pub lifetime: Lifetime,
}

/// Where a handler notes what it touched. The layer writes it down, durably, before the answer leaves.
#[derive(Debug, Clone, Default)]
pub struct AccessScope(Arc<Mutex<Vec<Touched>>>);

impl AccessScope {
    /// The most records that one leaf names; a page holds fewer.
    pub const MAX_TOUCHED: usize = 1_000;

    /// Notes one.
    pub fn touch(&self, touched: Touched) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < Self::MAX_TOUCHED {
            all.push(touched);
        }
    }

    /// Notes several.
    pub fn touch_all(&self, touched: impl IntoIterator<Item = Touched>) {
        touched.into_iter().for_each(|t| self.touch(t));
    }

    pub(crate) fn take(&self) -> Vec<Touched> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every handler takes out of its request first.
pub(crate) fn context<T>(request: &tonic::Request<T>) -> Result<(Caller, AccessScope), Status> {
    let extensions = request.extensions();
    match (extensions.get::<Caller>(), extensions.get::<AccessScope>()) {
        (Some(caller), Some(scope)) => Ok((caller.clone(), scope.clone())),
        // Only a server that was put together without the access layer gets here.
        _ => Err(Status::internal("the access layer is missing")),
    }
}
