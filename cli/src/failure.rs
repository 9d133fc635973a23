//! Why a command did not do what was asked: one line, the fields concerned, and the command to try next.

use std::fmt;

use comity_core::{FieldViolation, Violations};

use crate::exit::Exit;

/// What a person is told when a command fails. Every error of the crate ends as one of these, at the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: String,
    violations: Vec<FieldViolation>,
    next: Option<String>,
    reason: Option<String>,
}

impl Failure {
    /// A failure that ends the command with `exit`.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), violations: Vec::new(), next: None, reason: None }
    }

    /// One that no other exit code names.
    pub(crate) fn error(message: impl fmt::Display) -> Self {
        Self::new(Exit::Error, message)
    }

    /// The command line does not make sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The command to try next.
    #[must_use]
    pub(crate) fn next(mut self, command: impl Into<String>) -> Self {
        self.next = Some(command.into());
        self
    }

    /// The node's own name for why it refused.
    #[must_use]
    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into()).filter(|reason: &String| !reason.is_empty());
        self
    }

    /// The node's own name for why it refused, such as `NO_QUORUM`, where it gave one.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The fields that are not as they must be.
    #[must_use]
    pub(crate) fn fields(mut self, violations: &Violations) -> Self {
        self.violations.extend(violations.as_slice().iter().cloned());
        self
    }

    /// One more field that is not as it must be.
    #[must_use]
    pub(crate) fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push(FieldViolation { field: field.into(), description: description.into() });
        self
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The fields that are not as they must be.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.violations
    }

    /// The command to try next, if one helps.
    pub fn next_command(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for violation in &self.violations {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
