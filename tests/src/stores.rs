//! A member's national store, opened while its node is down.

use comity_cli::demo::federation::Federation;
use comity_core::MemberId;
use comity_store::{KeyFile, NationalStore, StoreLocation};

use crate::Problem;

/// Opens it, as its node would.
///
/// # Errors
/// There is no such member, its node runs, or the store cannot be opened.
pub async fn open(federation: &Federation, member: MemberId) -> Result<NationalStore, Problem> {
    let seat = federation.seat(member.as_str()).ok_or("no seat")?;
    let data = seat.folder.join("data");
    std::fs::create_dir_all(&data)?;
    let store = NationalStore::open(
        &StoreLocation::File(data.join("national.db")),
        KeyFile::at(seat.folder.join("store.key")),
        data.join("erasures"),
        member,
        federation.genesis.federation(),
    )
    .await?;
    Ok(store)
}
