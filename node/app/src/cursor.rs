//! Cursors that a partner carries between streams: how far it has got, bound to it by a tag that only this node can make. And tokens
//! that people carry between the pages of a list.

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

/// Makes and reads page tokens that a person carries between calls of one list: what they say is sealed, since how far apart two
/// places are would tell how much lies hidden between them.
pub(crate) struct Tokens {
    key: Zeroizing<[u8; 32]>,
}

impl Tokens {
    /// The key is derived from a secret of this node, so that tokens outlive a restart.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let mut mac = mac(secret);
        mac.update(b"comity-page-token-key/1");
        Self { key: Zeroizing::new(mac.finalize().into_bytes().into()) }
    }

    /// A token for one place in one list of one person.
    pub(crate) fn seal(&self, list: &str, person: &str, place: u64) -> String {
        // The pad depends on the place only through the tag, which is what a keyed hash gives of list, person and place.
        let tag = self.tag(list, person, place);
        let pad = self.pad(&tag);
        let hidden = place ^ pad;
        let mut token = tag.to_vec();
        token.extend_from_slice(&hidden.to_be_bytes());
        hex::encode(token)
    }

    /// The place; nothing for what this node did not give this person for this list.
    pub(crate) fn open(&self, list: &str, person: &str, token: &str) -> Option<u64> {
        let token = hex::decode(token).ok()?;
        let (tag, hidden) = token.split_first_chunk::<TAG_BYTES>()?;
        let place = u64::from_be_bytes(hidden.try_into().ok()?) ^ self.pad(tag);
        let mut mac = mac(&self.key);
        update(&mut mac, list, person, place);
        mac.verify_truncated_left(tag).ok()?;
        Some(place)
    }

    fn tag(&self, list: &str, person: &str, place: u64) -> [u8; TAG_BYTES] {
        let mut mac = mac(&self.key);
        update(&mut mac, list, person, place);
        let mut tag = [0; TAG_BYTES];
        for (to, from) in tag.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
        tag
    }

    fn pad(&self, tag: &[u8; TAG_BYTES]) -> u64 {
        let mut mac = mac(&self.key);
        mac.update(b"pad\0");
        mac.update(tag);
        mac.finalize().into_bytes().iter().take(8).fold(0, |pad, byte| (pad << 8) | u64::from(*byte))
    }
}

fn update(mac: &mut Hmac<Sha256>, list: &str, person: &str, place: u64) {
    for part in [list, person] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    mac.update(&place.to_be_bytes());
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

    #[test]
    fn a_page_token_is_one_persons_for_one_list_and_tells_nothing() {
        let tokens = Tokens::new(&[7; 32]);
        for place in [0, 1, 2, 1_000_000, u64::MAX] {
            let token = tokens.seal("records", "desk-7", place);
            assert_eq!(tokens.open("records", "desk-7", &token), Some(place));
            assert_eq!(tokens.open("records", "desk-8", &token), None);
            assert_eq!(tokens.open("copies", "desk-7", &token), None);
            assert!(!token.contains(&hex::encode(place.to_be_bytes())));
            let mut bent = hex::decode(&token).unwrap();
            bent[20] ^= 1;
            assert_eq!(tokens.open("records", "desk-7", &hex::encode(bent)), None);
        }
        assert_eq!(tokens.open("records", "desk-7", "zz"), None);
        assert_eq!(tokens.open("records", "desk-7", ""), None);
    }
}
