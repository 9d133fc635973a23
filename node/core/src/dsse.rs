//! Signed envelopes: DSSE v1 (secure-systems-lab/dsse), the JSON form, with Ed25519 (RFC 8032), strictly verified.
//!
//! What is hashed and replicated is the envelope's exact text, so only one text is accepted for each envelope: compact, fields
//! in the order `payloadType`, `payload`, `signatures`, standard base64 with padding.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical;

/// The first 8 bytes of the SHA-256 of a public key, in hexadecimal: which key to try, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id of a key.
    pub fn of(key: &VerifyingKey) -> Self {
        let digest = crate::sha256(key.as_bytes());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

/// A text is no key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a key id: 16 lower-case hexadecimal digits")]
pub struct InvalidKeyId;

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 8];
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidKeyId);
        }
        hex::decode_to_slice(text, &mut id).map_err(|_| InvalidKeyId)?;
        Ok(Self(id))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        canonical::parse_str(d)
    }
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// Which key to try.
    pub keyid: KeyId,
    /// The signature over the pre-authentication encoding.
    pub sig: [u8; 64],
}

/// A payload of a stated type and who signed it. Having one says nothing yet: call [`Envelope::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The media type of the payload.
    pub payload_type: String,
    /// The exact bytes that were signed.
    pub payload: Vec<u8>,
    /// At least one, at most [`Envelope::MAX_SIGNATURES`].
    pub signatures: Vec<EnvelopeSignature>,
}

/// Why bytes are not an envelope, or an envelope is not signed as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Above [`Envelope::MAX_BYTES`].
    #[error("the envelope has {0} bytes: at most {max}", max = Envelope::MAX_BYTES)]
    TooLarge(usize),
    /// Not an envelope in the one accepted text form.
    #[error("not a DSSE envelope: {0}")]
    Malformed(String),
    /// The same envelope in another text form.
    #[error("the envelope is not in its one accepted text form: compact JSON, standard base64 with padding")]
    NotCanonical,
    /// None, or too many.
    #[error("{0} signatures: expected 1 to {max}", max = Envelope::MAX_SIGNATURES)]
    SignatureCount(usize),
    /// Two signatures carry the id of one key.
    #[error("two signatures by one key")]
    SignedTwice,
    /// No signature carries the id of the key that must sign.
    #[error("not signed with key {expected}")]
    OtherKey {
        /// The key that the roster names.
        expected: KeyId,
    },
    /// The signature does not verify.
    #[error("bad signature by key {0}")]
    BadSignature(KeyId),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: KeyId,
    sig: String,
}

impl Envelope {
    /// The largest envelope, as text.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// The most signatures: a member's key and its people's.
    pub const MAX_SIGNATURES: usize = 8;

    /// Signs a payload with one key.
    pub fn sign(payload_type: &str, payload: Vec<u8>, key: &SigningKey) -> Self {
        let mut envelope = Self { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() };
        envelope.add_signature(key);
        envelope
    }

    /// Adds the signature of one more key.
    pub fn add_signature(&mut self, key: &SigningKey) {
        let sig = key.sign(&pre_authentication_encoding(&self.payload_type, &self.payload)).to_bytes();
        self.signatures.push(EnvelopeSignature { keyid: KeyId::of(&key.verifying_key()), sig });
    }

    /// The same with the signature of one key alone: what is published of a command that people signed, too.
    pub fn reduced_to(&self, key: KeyId) -> Self {
        let signatures = self.signatures.iter().filter(|signature| signature.keyid == key).cloned().collect();
        Self { signatures, ..self.clone() }
    }

    /// What was published of it: itself, or with one signature alone, whichever has this RFC 9162 leaf hash.
    pub fn published_as(&self, leaf_hash: canonical::Hex32) -> Option<Self> {
        let whole = std::iter::once(self.clone());
        let mut forms = whole.chain(self.signatures.iter().map(|signature| self.reduced_to(signature.keyid)));
        forms.find(|form| crate::merkle::leaf_hash(&form.to_bytes()) == leaf_hash)
    }

    /// The one text form.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(&Wire {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
            signatures: self
                .signatures
                .iter()
                .map(|s| WireSignature { keyid: s.keyid, sig: STANDARD.encode(s.sig) })
                .collect(),
        })
    }

    /// Reads the one text form; verifies nothing.
    ///
    /// # Errors
    /// It is too large, malformed, or in another text form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(InvalidEnvelope::TooLarge(bytes.len()));
        }
        let wire: Wire = canonical::from_slice(bytes).map_err(|e| InvalidEnvelope::Malformed(e.to_string()))?;
        if !(1..=Self::MAX_SIGNATURES).contains(&wire.signatures.len()) {
            return Err(InvalidEnvelope::SignatureCount(wire.signatures.len()));
        }
        let ids: std::collections::BTreeSet<KeyId> = wire.signatures.iter().map(|signature| signature.keyid).collect();
        if ids.len() < wire.signatures.len() {
            return Err(InvalidEnvelope::SignedTwice);
        }
        let base64 = |field: &str, text: &str| {
            STANDARD.decode(text).map_err(|e| InvalidEnvelope::Malformed(format!("{field}: {e}")))
        };
        let payload = base64("payload", &wire.payload)?;
        let mut signatures = Vec::with_capacity(wire.signatures.len());
        for signature in &wire.signatures {
            let sig = base64("sig", &signature.sig)?;
            let sig = sig.try_into().map_err(|_| InvalidEnvelope::Malformed("sig: expected 64 bytes".into()))?;
            signatures.push(EnvelopeSignature { keyid: signature.keyid, sig });
        }
        let envelope = Self { payload_type: wire.payload_type, payload, signatures };
        // INVARIANT: one envelope has one hash, so whoever carries it cannot make a second leaf of it.
        if envelope.to_bytes() != bytes {
            return Err(InvalidEnvelope::NotCanonical);
        }
        Ok(envelope)
    }

    /// Checks that exactly this key signed exactly this payload as exactly this type.
    ///
    /// # Errors
    /// Another key signed, or the signature is bad.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), InvalidEnvelope> {
        let expected = KeyId::of(key);
        let [signature] = self.signatures.as_slice() else {
            return Err(InvalidEnvelope::SignatureCount(self.signatures.len()));
        };
        if signature.keyid != expected {
            return Err(InvalidEnvelope::OtherKey { expected });
        }
        self.verify_signature(signature, key)
    }

    /// Checks that this key is among those that signed exactly this payload as exactly this type.
    ///
    /// # Errors
    /// It did not sign, or its signature is bad.
    pub fn verify_among(&self, key: &VerifyingKey) -> Result<(), InvalidEnvelope> {
        let expected = KeyId::of(key);
        let signature = self.signatures.iter().find(|signature| signature.keyid == expected);
        self.verify_signature(signature.ok_or(InvalidEnvelope::OtherKey { expected })?, key)
    }

    fn verify_signature(&self, signature: &EnvelopeSignature, key: &VerifyingKey) -> Result<(), InvalidEnvelope> {
        let message = pre_authentication_encoding(&self.payload_type, &self.payload);
        key.verify_strict(&message, &Signature::from_bytes(&signature.sig))
            .map_err(|_| InvalidEnvelope::BadSignature(signature.keyid))
    }
}

/// `PAE(type, body)` of DSSE v1: what each signature signs. No payload can be read as another type's.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let mut message = head.into_bytes();
    message.extend_from_slice(payload);
    message
}

/// An Ed25519 public key, written as 64 hexadecimal digits. Small-order points are refused, and so are
/// encodings that are not canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub VerifyingKey);

/// A text is no usable public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an Ed25519 public key: 64 lower-case hexadecimal digits")]
pub struct InvalidPublicKey;

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: canonical::Hex32 = text.parse().map_err(|_| InvalidPublicKey)?;
        let key = VerifyingKey::from_bytes(&bytes.0).map_err(|_| InvalidPublicKey)?;
        // RFC 8032, 5.1.3: one key has one text, or the same key could stand in a roster twice.
        let is_canonical = key.to_edwards().compress().to_bytes() == bytes.0;
        if is_canonical && !key.is_weak() { Ok(Self(key)) } else { Err(InvalidPublicKey) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0.as_bytes()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        canonical::parse_str(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn encodes_as_the_specification_shows() {
        // The example of the DSSE protocol document.
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn only_the_signer_the_type_and_the_bytes_verify() {
        let envelope = Envelope::sign("application/x", b"{}".to_vec(), &key(1));
        assert_eq!(envelope.verify(&key(1).verifying_key()), Ok(()));
        assert!(matches!(envelope.verify(&key(2).verifying_key()), Err(InvalidEnvelope::OtherKey { .. })));
        let mut other = envelope.clone();
        other.payload_type = "application/y".into();
        assert!(matches!(other.verify(&key(1).verifying_key()), Err(InvalidEnvelope::BadSignature(_))));
        let mut other = envelope.clone();
        other.payload = b"[]".to_vec();
        assert!(matches!(other.verify(&key(1).verifying_key()), Err(InvalidEnvelope::BadSignature(_))));
    }

    #[test]
    fn has_one_text() {
        let bytes = Envelope::sign("application/x", b"{\"a\":1}".to_vec(), &key(1)).to_bytes();
        assert!(Envelope::from_bytes(&bytes).is_ok());
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.replace(',', ", "),
            text.replace("==", ""),
            text.replace('=', ""),
            text.replace("payloadType", "payload_type"),
            text.replacen('{', "{\"x\":1,", 1),
            text.replace("application/x", "application\\u002fx"),
            format!("{text} "),
        ] {
            assert!(Envelope::from_bytes(other.as_bytes()).is_err() || other == text, "{other}");
        }
        assert!(matches!(
            Envelope::from_bytes(&vec![b' '; Envelope::MAX_BYTES + 1]),
            Err(InvalidEnvelope::TooLarge(_))
        ));
    }
}
