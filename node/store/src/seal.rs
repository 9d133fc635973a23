//! Encryption at rest: each record has a key of its own, wrapped by a key outside the database.
//!
//! AES-256-GCM with random nonces. A record's key seals few and small texts, and the store's key wraps some ten bytes of millions
//! of records: both stay far below what random nonces allow (NIST SP 800-38D, section 8.3). What is sealed is bound to its owner
//! and its place, so that nothing opens in another row.

mod key_file;

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

pub(crate) use key_file::{KEY_BYTES, KEY_ID_BYTES, StoreKey};
pub use key_file::{KeyFile, KeyFileError};

use crate::error::StoreError;

/// The store's keys, in memory. Clones share them.
#[derive(Clone)]
pub(crate) struct Sealer {
    keys: Arc<RwLock<Vec<StoreKey>>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

/// The key of one record.
pub(crate) struct RecordKey {
    cipher: LessSafeKey,
    owner: String,
}

impl Sealer {
    /// The current key first, then those that are on their way out.
    pub(crate) fn new(keys: Vec<StoreKey>) -> Self {
        Self { keys: Arc::new(RwLock::new(keys)) }
    }

    pub(crate) fn replace(&self, keys: Vec<StoreKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The id of the key that wraps from now on.
    pub(crate) fn current(&self) -> Result<[u8; KEY_ID_BYTES], StoreError> {
        self.with(|keys| keys.first().map(|key| key.id)).ok_or(StoreError::Sealed { what: "store key" })
    }

    fn with<T>(&self, look: impl FnOnce(&[StoreKey]) -> T) -> T {
        look(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A fresh key for a record, an approval, …, by its id; and the same, wrapped.
    pub(crate) fn new_key(&self, owner: &str) -> Result<(RecordKey, Vec<u8>), StoreError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(key.as_mut()).map_err(|_| StoreError::Random)?;
        let wrapped = self.wrap(owner, &key)?;
        Ok((RecordKey::new(owner, &key)?, wrapped))
    }

    /// The key that was wrapped for that owner.
    pub(crate) fn key(&self, owner: &str, wrapped: &[u8]) -> Result<RecordKey, StoreError> {
        let key = self.unwrap(owner, wrapped)?;
        RecordKey::new(owner, &key)
    }

    /// The same key under the current store key.
    pub(crate) fn rewrap(&self, owner: &str, wrapped: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = self.unwrap(owner, wrapped)?;
        self.wrap(owner, &key)
    }

    fn wrap(&self, owner: &str, key: &[u8; KEY_BYTES]) -> Result<Vec<u8>, StoreError> {
        self.with(|keys| {
            let store_key = keys.first().ok_or(StoreError::Sealed { what: "store key" })?;
            let mut wrapped = store_key.id.to_vec();
            wrapped.extend(seal(&cipher(&store_key.key)?, &wrapping(owner), key)?);
            Ok(wrapped)
        })
    }

    fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, StoreError> {
        let sealed = StoreError::Sealed { what: "record key" };
        let Some((id, rest)) = wrapped.split_first_chunk::<KEY_ID_BYTES>() else { return Err(sealed) };
        let key = self.with(|keys| {
            let store_key = keys.iter().find(|key| key.id == *id).ok_or(StoreError::Sealed { what: "store key" })?;
            open(&cipher(&store_key.key)?, &wrapping(owner), rest, "record key")
        })?;
        let key = Zeroizing::new(key);
        <[u8; KEY_BYTES]>::try_from(key.as_slice()).map(Zeroizing::new).map_err(|_| sealed)
    }
}

impl RecordKey {
    fn new(owner: &str, key: &[u8; KEY_BYTES]) -> Result<Self, StoreError> {
        Ok(Self { cipher: cipher(key)?, owner: owner.to_owned() })
    }

    /// Seals a text for one place of its owner.
    pub(crate) fn seal(&self, place: &str, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        seal(&self.cipher, &self.place(place), text)
    }

    /// Opens what was sealed for that place.
    pub(crate) fn open(&self, place: &'static str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        open(&self.cipher, &self.place(place), sealed, place)
    }

    fn place(&self, place: &str) -> Vec<u8> {
        [b"comity-sealed/1\0".as_slice(), self.owner.as_bytes(), b"\0", place.as_bytes()].concat()
    }
}

fn wrapping(owner: &str) -> Vec<u8> {
    [b"comity-record-key/1\0".as_slice(), owner.as_bytes()].concat()
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, StoreError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| StoreError::Sealed { what: "key" })?;
    Ok(LessSafeKey::new(key))
}

/// Nonce, ciphertext, tag.
fn seal(cipher: &LessSafeKey, aad: &[u8], text: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| StoreError::Random)?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + text.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(&nonce);
    let mut body = text.to_vec();
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
        .map_err(|_| StoreError::Sealed { what: "text" })?;
    sealed.append(&mut body);
    Ok(sealed)
}

fn open(cipher: &LessSafeKey, aad: &[u8], sealed: &[u8], what: &'static str) -> Result<Vec<u8>, StoreError> {
    let refused = || StoreError::Sealed { what };
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
    let mut body = body.to_vec();
    let text = cipher
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut body)
        .map_err(|_| refused())?
        .len();
    body.truncate(text);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(seed: u8) -> Sealer {
        Sealer::new(vec![StoreKey::of([seed; KEY_BYTES])])
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_alone() {
        let sealer = sealer(1);
        let (key, wrapped) = sealer.new_key("FR-P-1").unwrap();
        let sealed = key.seal("document", b"a name").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"a name"));
        let again = sealer.key("FR-P-1", &wrapped).unwrap();
        assert_eq!(again.open("document", &sealed).unwrap(), b"a name");
        assert!(again.open("views", &sealed).is_err());
        assert!(sealer.key("FR-P-2", &wrapped).is_err(), "the key of another record");
        let (other, _) = sealer.new_key("FR-P-1").unwrap();
        assert!(other.open("document", &sealed).is_err());
        for at in [0, sealed.len() / 2, sealed.len() - 1] {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(again.open("document", &bent).is_err());
        }
        assert!(again.open("document", &sealed[..5]).is_err());
    }

    #[test]
    fn one_text_is_sealed_differently_each_time() {
        let (key, _) = sealer(1).new_key("FR-P-1").unwrap();
        assert_ne!(key.seal("document", b"a name").unwrap(), key.seal("document", b"a name").unwrap());
    }

    #[test]
    fn a_store_key_is_exchanged_under_what_it_wraps() {
        let old = sealer(1);
        let (key, wrapped) = old.new_key("FR-P-1").unwrap();
        let sealed = key.seal("document", b"a name").unwrap();
        let both = Sealer::new(vec![StoreKey::of([2; KEY_BYTES]), StoreKey::of([1; KEY_BYTES])]);
        let rewrapped = both.rewrap("FR-P-1", &wrapped).unwrap();
        let new = sealer(2);
        assert!(new.key("FR-P-1", &wrapped).is_err());
        assert_eq!(new.key("FR-P-1", &rewrapped).unwrap().open("document", &sealed).unwrap(), b"a name");
        assert_eq!(rewrapped.get(..KEY_ID_BYTES), Some(new.current().unwrap().as_slice()));
    }
}
