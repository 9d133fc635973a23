//! What is wrong with an input, field by field.

use std::fmt;

/// One field that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field, as `subject.names[0].full`.
    pub field: String,
    /// What is wrong and what was expected.
    pub description: String,
}

/// Every violation found in one input; never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// How many are kept: a document of a million mistakes is answered with the first of them.
    pub const MAX: usize = 50;

    /// Notes one, unless enough are known.
    pub fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.0.len() < Self::MAX {
            self.0.push(FieldViolation { field: field.into(), description: description.into() });
        }
    }

    /// The one violation of `field`.
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.push(field, description);
        violations
    }

    /// All of them, in the order of the document.
    pub fn as_slice(&self) -> &[FieldViolation] {
        &self.0
    }

    /// `Ok` where nothing is wrong.
    ///
    /// # Errors
    /// Itself, where something is.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<crate::canonical::InvalidJson> for Violations {
    fn from(error: crate::canonical::InvalidJson) -> Self {
        Self::one(error.path, error.problem)
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
