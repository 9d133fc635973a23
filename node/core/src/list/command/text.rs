//! The texts that lie beside tabling commands: replicated with them, never in their leaves, so that they can be erased.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::canonical::{self, Hex32};
use crate::proposal::{Proposal, PublicPart};
use crate::subject::check_prose;
use crate::violation::Violations;

/// The salted digest by which a command names a public part:
/// `SHA-256("comity-public-part/1" 0x00 salt bytes)`. The salt is 32 random bytes, so that the digest of a text that was
/// erased cannot be guessed.
pub fn public_part_digest(salt: Hex32, bytes: &[u8]) -> Hex32 {
    let mut hasher = Sha256::new();
    hasher.update(b"comity-public-part/1\0");
    hasher.update(salt.0);
    hasher.update(bytes);
    Hex32(hasher.finalize().into())
}

/// The text that lies beside a tabling command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicText {
    /// 32 random bytes.
    pub salt: Hex32,
    /// The text, as JSON: its exact bytes. A [`PublicPart`] where the motion describes a subject, else a [`Statement`].
    pub bytes: Vec<u8>,
}

impl PublicText {
    /// Its salted digest.
    pub fn digest(&self) -> Hex32 {
        public_part_digest(self.salt, &self.bytes)
    }
}

/// Why a motion that describes no subject is laid before the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The reasons, written for publication.
    pub statement: String,
}

impl Statement {
    /// Reads and checks a JSON document.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > PublicPart::MAX_BYTES {
            let problem = format!("{} bytes: at most {}", bytes.len(), PublicPart::MAX_BYTES);
            return Err(Violations::one("statement", problem));
        }
        let statement: Self = canonical::from_slice(bytes)?;
        let mut violations = Violations::default();
        check_prose(&mut violations, "statement", &statement.statement, Proposal::PROSE_MAX_CHARS);
        violations.into_result()?;
        Ok(statement)
    }
}
