//! The handlers: each takes its caller and scope, turns the request into domain types, calls one use case, notes what was
//! touched, and turns the answer back.

mod approvals;
mod audits;
mod ballots;
mod checkpoints;
mod chunks;
mod lists;
mod members;
mod nodes;
mod peers;
mod policies;
mod recalls;
mod records;
mod releases;
mod witnesses;

pub(crate) use approvals::Approvals;
pub(crate) use audits::Audits;
pub(crate) use ballots::Ballots;
pub(crate) use checkpoints::Checkpoints;
pub(crate) use lists::Lists;
pub(crate) use members::Members;
pub(crate) use nodes::Nodes;
pub(crate) use peers::Peers;
pub(crate) use policies::Policies;
pub(crate) use recalls::Recalls;
pub(crate) use records::Records;
pub(crate) use releases::Releases;
pub(crate) use witnesses::Witnesses;

/// Declares a service that holds the node.
macro_rules! service {
    ($name:ident) => {
        #[derive(Debug)]
        pub(crate) struct $name {
            node: std::sync::Arc<comity_app::Node>,
        }

        impl $name {
            pub(crate) fn new(node: std::sync::Arc<comity_app::Node>) -> Self {
                Self { node }
            }
        }
    };
}
pub(crate) use service;
