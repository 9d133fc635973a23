//! The edge: gRPC over TLS. Conversion, the access layer (identity, role, limits, access record), the only error-to-Status map,
//! and the calls that this node makes to its peers' exchange, checkpoint and witness services.
//!
//! Stands on app and identity; sees proto. Holds no rule of the domain: what is allowed is decided in core and policy.

mod caller;
mod connection;
mod convert;
mod cosigning;
mod exchange;
mod layer;
mod quota;
mod reading;
mod roster;
mod serve;
mod services;
pub mod status;
mod strangers;
pub mod table;
mod tally;
mod witnessing;

pub use caller::{AccessScope, Caller};
pub use connection::{ConnectionInfo, Lifetime, LiveConnections, ServedConnection};
pub use cosigning::cosign_forever;
pub use exchange::{follow_recalls, keep_in_step};
pub use layer::{Access, AccessLayer};
pub use quota::Quota;
pub use reading::{AGE_HEADER, READ_HEADER};
pub use roster::follow_roster;
pub use serve::{Front, ListenerLimits};
pub use strangers::StrangersQuota;
pub use tally::Tally;
pub use witnessing::{confirm_log, witness_forever};
