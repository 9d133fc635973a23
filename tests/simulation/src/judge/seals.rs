//! Who signed an envelope, found out with nothing but Ed25519.

use comity_core::Envelope;
use comity_core::dsse::PublicKey;
use ed25519_dalek::Signature;

/// Whether this key signed exactly what the envelope holds.
pub(super) fn is_signed_by(envelope: &Envelope, key: &PublicKey) -> bool {
    let (kind, payload) = (&envelope.payload_type, &envelope.payload);
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    let fits = |sig: &[u8; 64]| key.0.verify_strict(&signed, &Signature::from_bytes(sig)).is_ok();
    envelope.signatures.iter().any(|signature| fits(&signature.sig))
}
