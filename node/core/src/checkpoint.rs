//! Checkpoints: the signed heads of logs, as C2SP signed notes (c2sp.org/tlog-checkpoint, /signed-note, /tlog-cosignature).

use std::fmt;

use ed25519_dalek::{Signature as Ed25519Signature, Signer as _, SigningKey, VerifyingKey};
use signed_note::{Note, Signature, key_id};

use crate::canonical::Hex32;
use crate::timestamp::Timestamp;

/// Signature type 0x01 of signed-note: plain Ed25519, by the log itself.
const ED25519: u8 = 0x01;
/// Signature type 0x04 of tlog-cosignature: Ed25519 with the time, by a witness.
const COSIGNATURE_V1: u8 = 0x04;

/// What a log is at one size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The RFC 9162 root over them.
    pub root: Hex32,
}

/// Why bytes are not a checkpoint, or not signed as they must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// Not a signed note.
    #[error("not a signed note (c2sp.org/signed-note)")]
    Note,
    /// The note's text is no checkpoint.
    #[error("not a checkpoint (c2sp.org/tlog-checkpoint): expected origin, size and root, one to a line")]
    Text,
    /// A checkpoint of another log.
    #[error("a checkpoint of `{found}`: expected `{expected}`")]
    OtherOrigin {
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The key's signature is missing.
    #[error("not signed by {0}")]
    Unsigned(String),
    /// The key's signature is wrong.
    #[error("bad signature by {0}")]
    BadSignature(String),
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        use base64::Engine as _;
        format!("{}\n{}\n{}\n", self.origin, self.size, base64::engine::general_purpose::STANDARD.encode(self.root.0))
    }

    fn from_text(text: &[u8]) -> Result<Self, InvalidCheckpoint> {
        let parsed = tlog_tiles::checkpoint::Checkpoint::from_bytes(text).map_err(|_| InvalidCheckpoint::Text)?;
        let checkpoint = Self { origin: parsed.origin().to_owned(), size: parsed.size(), root: Hex32(parsed.hash().0) };
        // No extension lines: nothing is signed here that is not read.
        if checkpoint.text().as_bytes() != text {
            return Err(InvalidCheckpoint::Text);
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} with root {}", self.origin, self.size, self.root)
    }
}

/// A checkpoint and the signatures found with it, none verified yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    signatures: Vec<Signature>,
}

impl SignedCheckpoint {
    /// A checkpoint without signatures yet.
    pub fn unsigned(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, signatures: Vec::new() }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// It is no note, or no checkpoint.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCheckpoint> {
        let note = Note::from_bytes(bytes).map_err(|_| InvalidCheckpoint::Note)?;
        let checkpoint = Checkpoint::from_text(note.text())?;
        // The signature block is re-read here: the library keeps it private.
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidCheckpoint::Note)?;
        let (_, block) = text.rsplit_once("\n\n").ok_or(InvalidCheckpoint::Note)?;
        let signatures = block
            .lines()
            .map(|line| Signature::from_bytes(line.as_bytes()).map_err(|_| InvalidCheckpoint::Note))
            .collect::<Result<_, _>>()?;
        Ok(Self { checkpoint, signatures })
    }

    /// Writes the note.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.checkpoint.text().into_bytes();
        out.push(b'\n');
        for signature in &self.signatures {
            out.extend(signature.to_bytes());
        }
        out
    }

    /// How many signatures it carries, verified or not.
    pub fn signature_count(&self) -> usize {
        self.signatures.len()
    }

    /// Signs as the log itself, under the key name that is the log's origin.
    pub fn sign(&mut self, key: &SigningKey) {
        let name = self.checkpoint.origin.clone();
        let sig = key.sign(self.checkpoint.text().as_bytes()).to_bytes().to_vec();
        self.push(&name, note_key_id(&name, ED25519, &key.verifying_key()), sig);
    }

    /// Signs as a witness that computed the root itself. The time is a claim.
    pub fn cosign(&mut self, name: &str, key: &SigningKey, at: Timestamp) {
        let seconds = u64::try_from(at.as_seconds()).unwrap_or(0);
        let message = cosigned_message(seconds, &self.checkpoint.text());
        let mut sig = seconds.to_be_bytes().to_vec();
        sig.extend_from_slice(&key.sign(message.as_bytes()).to_bytes());
        self.push(name, note_key_id(name, COSIGNATURE_V1, &key.verifying_key()), sig);
    }

    /// Adds the signatures of another note over the same checkpoint.
    pub fn merge(&mut self, other: &Self) {
        if other.checkpoint == self.checkpoint {
            for signature in &other.signatures {
                self.push(signature.name(), signature.id(), signature.signature().to_vec());
            }
        }
    }

    fn push(&mut self, name: &str, id: u32, sig: Vec<u8>) {
        let known = self.signatures.iter().any(|s| s.name() == name && s.id() == id);
        if !known && let Ok(signature) = Signature::new(name.to_owned(), id, sig) {
            self.signatures.push(signature);
        }
    }

    /// Keeps only the signatures of that name and id: what a peer adds unasked is dropped.
    pub fn retain_cosigner(&mut self, name: &str, key: &VerifyingKey) {
        let id = note_key_id(name, COSIGNATURE_V1, key);
        self.signatures.retain(|s| s.name() == name && s.id() == id);
    }

    /// Checks the log's own signature.
    ///
    /// # Errors
    /// It is missing or wrong, or it is another log.
    pub fn verify(&self, origin: &str, key: &VerifyingKey) -> Result<(), InvalidCheckpoint> {
        if self.checkpoint.origin != origin {
            return Err(InvalidCheckpoint::OtherOrigin {
                found: self.checkpoint.origin.clone(),
                expected: origin.to_owned(),
            });
        }
        let sig = self.find(origin, ED25519, key)?;
        let sig: &[u8; 64] = sig.try_into().map_err(|_| InvalidCheckpoint::BadSignature(origin.to_owned()))?;
        key.verify_strict(self.checkpoint.text().as_bytes(), &Ed25519Signature::from_bytes(sig))
            .map_err(|_| InvalidCheckpoint::BadSignature(origin.to_owned()))
    }

    /// Checks one witness's signature; returns the second that it claims to have signed at.
    ///
    /// # Errors
    /// It is missing or wrong.
    pub fn verify_cosigner(&self, name: &str, key: &VerifyingKey) -> Result<u64, InvalidCheckpoint> {
        let bad = || InvalidCheckpoint::BadSignature(name.to_owned());
        let (seconds, sig) = self.find(name, COSIGNATURE_V1, key)?.split_first_chunk::<8>().ok_or_else(bad)?;
        let seconds = u64::from_be_bytes(*seconds);
        let sig: &[u8; 64] = sig.try_into().map_err(|_| bad())?;
        let message = cosigned_message(seconds, &self.checkpoint.text());
        key.verify_strict(message.as_bytes(), &Ed25519Signature::from_bytes(sig)).map_err(|_| bad())?;
        Ok(seconds)
    }

    fn find(&self, name: &str, kind: u8, key: &VerifyingKey) -> Result<&[u8], InvalidCheckpoint> {
        let id = note_key_id(name, kind, key);
        self.signatures
            .iter()
            .find(|s| s.name() == name && s.id() == id)
            .map(Signature::signature)
            .ok_or_else(|| InvalidCheckpoint::Unsigned(name.to_owned()))
    }
}

fn note_key_id(name: &str, kind: u8, key: &VerifyingKey) -> u32 {
    let mut encoded = vec![kind];
    encoded.extend_from_slice(key.as_bytes());
    key_id(name, &encoded)
}

fn cosigned_message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

#[cfg(test)]
mod tests {
    use signed_note::{StandardVerifier, VerifierList, new_ed25519_verifier_key};

    use super::*;

    fn head() -> Checkpoint {
        Checkpoint { origin: "fr.comity.example/access/1".into(), size: 7, root: Hex32([9; 32]) }
    }

    #[test]
    fn another_implementation_accepts_the_log_signature() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut signed = SignedCheckpoint::unsigned(head());
        signed.sign(&key);
        let verifier = new_ed25519_verifier_key(&head().origin, &key.verifying_key());
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&verifier).unwrap())]);
        let (verified, rest) = Note::from_bytes(&signed.to_bytes()).unwrap().verify(&known).unwrap();
        assert_eq!((verified.len(), rest.len()), (1, 0));
    }

    #[test]
    fn each_signature_stands_for_its_key_and_text_alone() {
        let (log, witness) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[4; 32]));
        let mut signed = SignedCheckpoint::unsigned(head());
        signed.sign(&log);
        signed.cosign("de.comity.example/node", &witness, Timestamp::from_micros(1_000_000_000).unwrap());
        let read = SignedCheckpoint::from_bytes(&signed.to_bytes()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.verify(&head().origin, &log.verifying_key()), Ok(()));
        assert_eq!(read.verify_cosigner("de.comity.example/node", &witness.verifying_key()), Ok(1000));
        assert!(read.verify_cosigner("ca.comity.example/node", &witness.verifying_key()).is_err());
        assert!(read.verify_cosigner("de.comity.example/node", &log.verifying_key()).is_err());
        assert!(read.verify("de.comity.example/access/1", &log.verifying_key()).is_err());
        let mut bent = read.clone();
        bent.checkpoint.size = 8;
        assert!(matches!(
            bent.verify_cosigner("de.comity.example/node", &witness.verifying_key()),
            Err(InvalidCheckpoint::BadSignature(_))
        ));
    }

    #[test]
    fn refuses_what_is_no_checkpoint() {
        for bad in ["", "a\n", "a\n1\n", "a\nx\nAAAA\n\n\u{2014} a AAAAAAA=\n"] {
            assert!(SignedCheckpoint::from_bytes(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
