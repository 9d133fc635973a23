//! Asking one policy alone.

use cedar_policy::{Authorizer, Decision, Entities, PolicySet, Request};

/// What a policy, or a part of its condition, says of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// It does not hold.
    False,
    /// It holds.
    True,
    /// It cannot be evaluated, as where a sum is too large. A policy of which that is so denies everything.
    Error,
}

impl Truth {
    /// As it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::False => "false",
            Self::True => "true",
            Self::Error => "error",
        }
    }
}

/// Whether the one policy of a set applies.
pub(crate) fn truth(alone: &PolicySet, request: &Request, entities: &Entities) -> Truth {
    let response = Authorizer::new().is_authorized(request, alone, entities);
    if response.diagnostics().errors().next().is_some() {
        Truth::Error
    } else if response.decision() == Decision::Allow || response.diagnostics().reason().next().is_some() {
        Truth::True
    } else {
        Truth::False
    }
}
