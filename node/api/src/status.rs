//! The only place where an error becomes a gRPC status.
//!
//! Each status carries one `google.rpc.ErrorInfo` with a stable reason in the domain `comity`, and field violations where there
//! are any. What is internal is logged under the request's id and never returned.

use std::collections::HashMap;

use comity_app::{AppError, Standing};
use comity_core::{Role, Violations};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::layer::role_names;
use crate::table::Listener;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "comity";

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

fn invalid(violations: &Violations) -> Status {
    let mut details = ErrorDetails::with_error_info("FIELD_INVALID", DOMAIN, HashMap::new());
    for violation in violations.as_slice() {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    Status::with_error_details(Code::InvalidArgument, violations.to_string(), details)
}

/// Turns a use case's error into what the caller is told.
pub fn of(error: AppError) -> Status {
    match error {
        AppError::Invalid(violations) => invalid(&violations),
        AppError::NotFound(what) => {
            status(Code::NotFound, "NOT_FOUND", format!("there is no such {what}, or you may not see it"))
        }
        AppError::Conflict { reason, problem } => status(Code::Aborted, reason, problem),
        AppError::Precondition { reason, problem } => status(Code::FailedPrecondition, reason, problem),
        AppError::Forbidden { reason, problem } => status(Code::PermissionDenied, reason, problem),
        AppError::Refused(refusal) => status(Code::FailedPrecondition, refusal.reason(), refusal.to_string()),
        AppError::NoQuorum(problem) => status(Code::Unavailable, "NO_QUORUM", problem),
        AppError::Exhausted { reason, problem } => status(Code::ResourceExhausted, reason, problem),
        AppError::OtherFederation(problem) => status(Code::FailedPrecondition, "OTHER_FEDERATION", problem),
        AppError::Internal(source) => {
            tracing::error!(error = %source, "internal error");
            status(Code::Internal, "INTERNAL", "the node could not do it; its log says why")
        }
    }
}

/// One field of a request is not as it must be.
pub(crate) fn field(field: &str, problem: impl Into<String>) -> Status {
    invalid(&Violations::one(field, problem))
}

/// `why`: for the member's own people alone.
pub(crate) fn access_log_unavailable(why: Option<&str>) -> Status {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!(
        "the access log cannot be written{why}. Nothing is answered until it can: an administrator looks at the node's disk and log; the \
         node tries by itself, so try again shortly"
    );
    status(Code::Unavailable, "ACCESS_LOG_UNAVAILABLE", message)
}

/// The node serves nothing yet, or any more. A partner learns that much and no more.
pub(crate) fn held(standing: &Standing, listener: Listener) -> Status {
    if listener == Listener::Peer {
        return status(Code::Unavailable, "NODE_NOT_READY", "the node does not serve yet: try again later");
    }
    match standing {
        Standing::Behind { .. } => status(
            Code::Unavailable,
            "ACCESS_LOG_BEHIND",
            "the access log was rolled back or rewritten: other members cosigned leaves that are not here, so nothing is served; \
             an administrator puts the newer store back, or declares the loss with `comity node restore --declare-loss`",
        ),
        Standing::Waiting { heard, needed } => status(
            Code::Unavailable,
            "ACCESS_LOG_UNCONFIRMED",
            format!(
                "{heard} of {needed} other members have said how far they saw this node's access log: nothing is served before; \
                 see `comity node status`"
            ),
        ),
        Standing::Serving => too_busy(),
    }
}

pub(crate) fn unlisted(listener: Listener, path: &str) -> Status {
    status(Code::Unimplemented, "METHOD_UNKNOWN", format!("{path} is not served on the {} port", listener.as_str()))
}

pub(crate) fn certificate_lapsed(problem: &str) -> Status {
    status(
        Code::Unauthenticated,
        "CERTIFICATE_LAPSED",
        format!("{problem}: ask your administrator for a new certificate"),
    )
}

pub(crate) fn role_not_allowed(rpc: &str, role: Role, roles: &[Role]) -> Status {
    let message = format!("{rpc} is not for the role {role}: it needs {}", role_names(roles));
    status(Code::PermissionDenied, "ROLE_NOT_ALLOWED", message)
}

pub(crate) fn handler_failed() -> Status {
    status(Code::Internal, "INTERNAL", "the node could not do it; its log says why")
}

pub(crate) fn too_busy() -> Status {
    status(Code::ResourceExhausted, "TOO_BUSY", "the node is busy: try again shortly")
}

pub(crate) fn too_slow(rpc: &str, deadline_ms: u64) -> Status {
    status(Code::DeadlineExceeded, "TOO_SLOW", format!("{rpc} took longer than {deadline_ms} ms"))
}
