//! What a node's refusal means to a person: the one place that turns a gRPC status into words and an exit code.

use std::error::Error as StdError;
use std::io;

use comity_core::Violations;
use comity_identity::{ConnectError, explain_tls_error};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::exit::Exit;
use crate::failure::Failure;

/// Causes deeper than this are not looked at.
const MAX_DEPTH: usize = 32;
/// A node's message is cut here, so that a hostile one cannot fill the screen.
const MESSAGE_MAX_CHARS: usize = 2_000;

/// What was asked of the node, for the words of its refusal.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// What it was about, as `proposal FR-P-8K3M9QXT2V4N6R7W`.
    what: String,
    /// Shows how that stands: tried next after a refusal that is about the thing itself.
    look: String,
}

impl Asked {
    pub(crate) fn about(what: impl Into<String>, look: impl Into<String>) -> Self {
        Self { what: what.into(), look: look.into() }
    }

    /// The failure that a status is to the person who asked.
    pub(crate) fn refused(&self, status: Status) -> Failure {
        if let Some(failure) = connection_failure(&status) {
            return failure;
        }
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let fields = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
        let exit = exit_of(status.code(), &reason);
        let said: String = match (fields.is_empty(), status.message()) {
            // The message would say the fields once more, in one long line.
            (false, _) => "the node does not take it as it is".to_owned(),
            (true, "") => status.code().description().to_owned(),
            (true, message) => message.chars().take(MESSAGE_MAX_CHARS).collect(),
        };
        let tag = if reason.is_empty() { String::new() } else { format!(" [{reason}]") };
        let mut failure = Failure::new(exit, format!("{}: {said}{tag}", self.what))
            .next(self.next_command(exit, &reason))
            .because(&reason);
        for violation in fields.into_iter().take(Violations::MAX) {
            failure = failure.field(violation.field, violation.description);
        }
        failure
    }

    fn next_command(&self, exit: Exit, reason: &str) -> String {
        match exit {
            Exit::NotAuthenticated => "comity context check".into(),
            Exit::RoleMayNot => "comity context list, then repeat this with --context NAME of a person who may".into(),
            Exit::NoQuorum => {
                "comity node status, and repeat this once enough nodes reach one another: nothing is done twice".into()
            }
            Exit::VerificationFailed => "comity node status".into(),
            _ if matches!(reason, "OTHER_FEDERATION" | "METHOD_UNKNOWN") => "comity context show".into(),
            Exit::Error if reason.is_empty() => "comity context check".into(),
            _ => self.look.clone(),
        }
    }
}

/// The exit code for a status. The reason decides where the code alone says too little.
fn exit_of(code: Code, reason: &str) -> Exit {
    match reason {
        "NO_QUORUM" | "NO_LEADER" => return Exit::NoQuorum,
        "VERIFICATION_FAILED" => return Exit::VerificationFailed,
        _ => {}
    }
    match code {
        Code::Ok => Exit::Ok,
        Code::NotFound => Exit::NotFound,
        Code::Unauthenticated => Exit::NotAuthenticated,
        Code::PermissionDenied => Exit::RoleMayNot,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Exit::Conflict,
        Code::DataLoss => Exit::VerificationFailed,
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable => Exit::Error,
    }
}

/// What kept a call from reaching the node at all, if that is what lies behind an error: TLS, an address, a network.
pub(crate) fn connection_failure(error: &(dyn StdError + 'static)) -> Option<Failure> {
    if let Some(said) = explain_tls_error(error) {
        if causes(error).any(is_cut_short) {
            // Nobody was refused: a node that is shutting down does that, and is there again later.
            return Some(Failure::error(said).next("comity context show"));
        }
        let next = "comity context show; where the member moved to another authority, its context names the present \
                    member.json (comity context add NAME --member FILE ...)";
        return Some(Failure::new(Exit::NotAuthenticated, said).next(next));
    }
    let connect = causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>())?;
    Some(Failure::error(connect).next("comity context show"))
}

/// Whether a handshake ended without a word.
fn is_cut_short(cause: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(cause.downcast_ref(), Some(ConnectError::Tls { source, .. })
        if matches!(source.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe))
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| next_cause(*error)).take(MAX_DEPTH)
}

fn next_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // The source of an io::Error is the source of what it wraps: the wrapped error itself would be passed over.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused(code: Code, reason: &str) -> Failure {
        let mut details = ErrorDetails::new();
        if !reason.is_empty() {
            details.set_error_info(reason, "comity", std::collections::HashMap::new());
        }
        let status = Status::with_error_details(code, "said", details);
        Asked::about("proposal X", "comity proposal show X").refused(status)
    }

    #[test]
    fn each_refusal_has_its_exit_code_and_a_next_command() {
        for (code, reason, exit) in [
            (Code::NotFound, "NOT_FOUND", 3),
            (Code::Unauthenticated, "", 4),
            (Code::PermissionDenied, "ROLE_MAY_NOT", 5),
            (Code::Aborted, "ETAG_MISMATCH", 6),
            (Code::FailedPrecondition, "ALREADY_TABLED", 6),
            (Code::AlreadyExists, "", 6),
            (Code::Unavailable, "NO_QUORUM", 7),
            (Code::DeadlineExceeded, "NO_QUORUM", 7),
            (Code::DataLoss, "", 8),
            (Code::Unavailable, "", 1),
            (Code::Internal, "INTERNAL", 1),
            (Code::InvalidArgument, "INVALID_DOCUMENT", 1),
        ] {
            let failure = refused(code, reason);
            assert_eq!(failure.exit().code(), exit, "{code:?} {reason}");
            assert!(failure.next_command().is_some_and(|next| next.starts_with("comity ")), "{code:?} {reason}");
            assert!(failure.message().starts_with("proposal X: said"), "{failure}");
        }
        assert_eq!(refused(Code::NotFound, "NOT_FOUND").next_command(), Some("comity proposal show X"));
    }

    #[test]
    fn fields_are_told_one_to_a_line() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("title", "expected 1 to 200 characters");
        details.add_bad_request_violation("subject.names", "0 names are primary");
        let status = Status::with_error_details(Code::InvalidArgument, "the document is not valid", details);
        let failure = Asked::about("draft", "comity proposal draft --example").refused(status);
        assert_eq!(
            failure.to_string(),
            "draft: the node does not take it as it is\n  title: expected 1 to 200 characters\n  subject.names: 0 names are primary"
        );
    }

    #[test]
    fn a_refused_connection_names_the_address() {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = io::Error::other(ConnectError::Tcp { address: "127.0.0.1:1".into(), source });
        let failure = connection_failure(&error).unwrap();
        assert!(failure.message().contains("127.0.0.1:1"), "{failure}");
    }
}
