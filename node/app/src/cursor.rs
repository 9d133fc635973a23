//! Cursors that a partner carries between pulls: how far it has got, bound to it by a tag that only this node can make.

use comity_core::MemberId;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const TAG_BYTES: usize = 16;

/// Makes and reads cursors.
pub(crate) struct Cursors {
    key: Zeroizing<[u8; 32]>,
}

impl Cursors {
    /// The key is derived from a secret of this node, so that cursors outlive a restart.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let mut mac = mac(secret);
        mac.update(b"comity-cursor-key/1");
        Self { key: Zeroizing::new(mac.finalize().into_bytes().into()) }
    }

    /// The cursor of a partner that has everything up to `number`.
    pub(crate) fn seal(&self, partner: MemberId, number: u64) -> Vec<u8> {
        let mut cursor = number.to_be_bytes().to_vec();
        let tag = self.tag(partner, number).finalize().into_bytes();
        cursor.extend(tag.iter().take(TAG_BYTES));
        cursor
    }

    /// How far a partner has got; nothing for what this node did not give to this partner.
    pub(crate) fn open(&self, partner: MemberId, cursor: &[u8]) -> Option<u64> {
        if cursor.is_empty() {
            return Some(0);
        }
        let (number, tag) = cursor.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number);
        if tag.len() != TAG_BYTES {
            return None;
        }
        self.tag(partner, number).verify_truncated_left(tag).ok()?;
        Some(number)
    }

    fn tag(&self, partner: MemberId, number: u64) -> Hmac<Sha256> {
        let mut mac = mac(&self.key);
        mac.update(partner.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(&number.to_be_bytes());
        mac
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    // INVARIANT: a 32-byte key is never longer than SHA-256's block, so it is taken as it is.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_one_partners_and_one_nodes() {
        let (de, ca): (MemberId, MemberId) = ("DE".parse().unwrap(), "CA".parse().unwrap());
        let cursors = Cursors::new(&[1; 32]);
        let cursor = cursors.seal(de, 7);
        assert_eq!(cursors.open(de, &cursor), Some(7));
        assert_eq!(cursors.open(de, &[]), Some(0));
        assert_eq!(cursors.open(ca, &cursor), None);
        assert_eq!(Cursors::new(&[2; 32]).open(de, &cursor), None);
        for n in 0..cursor.len() {
            let mut bent = cursor.clone();
            bent[n] ^= 1;
            assert_eq!(cursors.open(de, &bent), None);
        }
        assert_eq!(cursors.open(de, &cursor[..23]), None);
        assert_eq!(cursors.open(de, &[cursor.as_slice(), &[0]].concat()), None);
    }
}
