//! The command of operators, approvers, auditors and administrators.
