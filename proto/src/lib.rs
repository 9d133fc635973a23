//! The wire format of comity: the package `comity.v1` and what is generated from it.
//!
//! Wire types stop at the edge: consensus, api, cli and tests see this crate and turn its messages into domain types; the
//! domain never sees prost.

/// `comity.v1`, as generated.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("comity.v1");
}
