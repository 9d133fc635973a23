//! Fresh ids, salts and instants: the only place where the use cases draw randomness or look at the clock.

use comity_core::canonical::Hex32;
use comity_core::list::CommandId;
use comity_core::{MemberId, RecordId, RecordKind, Timestamp, VersionId};

use crate::error::InternalError;

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], InternalError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn salt() -> Result<Hex32, InternalError> {
    bytes().map(Hex32)
}

/// So many salts, drawn at one time.
pub(crate) fn salts(count: usize) -> Result<Vec<Hex32>, InternalError> {
    let mut salts = vec![[0; 32]; count];
    getrandom::fill(salts.as_flattened_mut())?;
    Ok(salts.into_iter().map(Hex32).collect())
}

pub(crate) fn command_id() -> Result<CommandId, InternalError> {
    bytes().map(CommandId::new)
}

pub(crate) fn version() -> Result<VersionId, InternalError> {
    bytes().map(VersionId::new)
}

pub(crate) fn record(member: MemberId, kind: RecordKind) -> Result<RecordId, InternalError> {
    Ok(RecordId::new(member, kind, bytes()?))
}

/// A short id that people can read to each other: `A-7K3M9QXT`, 40 random bits.
pub(crate) fn approval_id() -> Result<String, InternalError> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digits = bytes::<8>()?;
    let text: String = digits.iter().filter_map(|b| DIGITS.get(usize::from(b & 31))).map(|d| char::from(*d)).collect();
    Ok(format!("A-{text}"))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}
