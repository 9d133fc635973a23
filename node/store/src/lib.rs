//! The national store: records, outboxes, approvals, policies and the access log.
