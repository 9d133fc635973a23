//! The store as a whole: opened once, handed around by clones.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use sqlx::postgres::PgConnectOptions;

use crate::access_log::AccessLog;
use crate::approvals::Approvals;
use crate::copies::Copies;
use crate::database::Database;
use crate::erasures::Erasures;
use crate::error::OpenError;
use crate::lease::Lease;
use crate::lock::{Lock, create_private};
use crate::notes::Notes;
use crate::outbox::Outbox;
use crate::policies::Policies;
use crate::recalls::{Recalls, ReceivedRecalls, received};
use crate::records::Records;
use crate::rotation::{self, RotationError};
use crate::seal::{KeyFile, Sealer};
use crate::witness::Witness;
use crate::{approvals, identity, schema};

/// Where a national store is.
#[derive(Debug, Clone)]
pub enum StoreLocation {
    /// A SQLite file, made (mode 0600) where there is none. Its folder must exist.
    File(PathBuf),
    /// A PostgreSQL database, which must exist.
    Server(Box<PgConnectOptions>),
}

impl StoreLocation {
    /// The location that a `postgres://` URL names; the password may come apart from it.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn server(url: &str, password: Option<&str>) -> Result<Self, OpenError> {
        let refuse = |problem: String| OpenError::Url { problem };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(refuse("expected postgres://USER@HOST/DATABASE, or no url for a SQLite file".into()));
        }
        // What the library says of a URL may quote its password.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            refuse("is not a URL such as postgres://comity@db.example/comity?sslmode=verify-full".into())
        })?;
        Ok(Self::Server(Box::new(match password {
            Some(password) => options.password(password),
            None => options,
        })))
    }
}

/// A handle on the national store. Clones share one store.
#[derive(Debug, Clone)]
pub struct NationalStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    member: MemberId,
    federation: Hex32,
    database: Database,
    sealer: Sealer,
    key_file: KeyFile,
    records: Records,
    outbox: Outbox,
    copies: Copies,
    recalls: Recalls,
    received_recalls: ReceivedRecalls,
    approvals: Approvals,
    notes: Notes,
    policies: Policies,
    witness: Witness,
    access_log: AccessLog,
    lock: Mutex<Option<Lock>>,
}

impl NationalStore {
    /// Opens the store with its key, and with the list of what was destroyed, which lies beside the key and outlives the database.
    /// Actions that a crash left running wait for approval again, and an exchange of the store's key that was cut
    /// short is gone on with. A store that is new gets a new key, unless the file has one.
    ///
    /// # Errors
    /// It is in use, belongs to another member or federation, was written by a newer comity, its key is missing, or its access log
    /// does not hold together; nothing is changed then.
    pub async fn open(
        location: &StoreLocation,
        key_file: KeyFile,
        erasures: PathBuf,
        member: MemberId,
        federation: Hex32,
    ) -> Result<Self, OpenError> {
        let erasures = Erasures::at(erasures);
        let (lock, database) = match location {
            StoreLocation::File(path) => Self::open_file(path).await?,
            StoreLocation::Server(options) => (None, Database::open_server(PgConnectOptions::clone(options)).await?),
        };
        let (access_log, sealer) = match prepare(&database, &key_file, &erasures, member, federation).await {
            Ok(prepared) => prepared,
            Err(error) => {
                database.close().await;
                return Err(error);
            }
        };
        let inner = Inner {
            member,
            federation,
            records: Records::new(database.clone(), sealer.clone(), member),
            outbox: Outbox::new(database.clone(), sealer.clone()),
            copies: Copies::new(database.clone(), sealer.clone()),
            recalls: Recalls::new(database.clone(), sealer.clone()),
            received_recalls: ReceivedRecalls::new(database.clone(), erasures),
            approvals: Approvals::new(database.clone(), sealer.clone()),
            notes: Notes::new(database.clone()),
            policies: Policies::new(database.clone()),
            witness: Witness::new(database.clone()),
            access_log,
            database,
            sealer,
            key_file,
            lock: Mutex::new(lock),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn open_file(path: &Path) -> Result<(Option<Lock>, Database), OpenError> {
        let lock = Lock::take(path)?;
        create_private(path)?;
        Ok((Some(lock), Database::open_file(path).await?))
    }

    /// Whose store it is.
    pub fn member(&self) -> MemberId {
        self.inner.member
    }

    /// Which federation it is of: the hash of the genesis.
    pub fn federation(&self) -> Hex32 {
        self.inner.federation
    }

    /// This member's own records.
    pub fn records(&self) -> &Records {
        &self.inner.records
    }

    /// What goes to each partner.
    pub fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// What partners sent.
    pub fn copies(&self) -> &Copies {
        &self.inner.copies
    }

    /// What this member recalled.
    pub fn recalls(&self) -> &Recalls {
        &self.inner.recalls
    }

    /// What was recalled from this member.
    pub fn received_recalls(&self) -> &ReceivedRecalls {
        &self.inner.received_recalls
    }

    /// Actions that wait for a second person.
    pub fn approvals(&self) -> &Approvals {
        &self.inner.approvals
    }

    /// Small facts about the store itself.
    pub fn notes(&self) -> &Notes {
        &self.inner.notes
    }

    /// The policy for each partner.
    pub fn policies(&self) -> &Policies {
        &self.inner.policies
    }

    /// What this node cosigned of others' access logs.
    pub fn witness(&self) -> &Witness {
        &self.inner.witness
    }

    /// Who looked at what.
    pub fn access_log(&self) -> &AccessLog {
        &self.inner.access_log
    }

    /// Exchanges the store's key for a fresh one while the store is in use. Returns how many keys of records were wrapped anew.
    ///
    /// # Errors
    /// The key's file or the database failed: the exchange goes on when the store is next opened, or when this is called again.
    pub async fn rotate_key(&self) -> Result<u64, RotationError> {
        rotation::rotate(&self.inner.database, &self.inner.sealer, &self.inner.key_file).await
    }

    /// Returns once another process has taken the store: nothing is written here any more, and the node must stop.
    pub async fn lost(&self) {
        self.inner.database.lease().lost().await;
    }

    /// Writes what the access log was given, then closes every connection. Other handles fail from here on.
    pub async fn close(&self) {
        self.inner.access_log.close().await;
        Lease::give_up(&self.inner.database).await;
        self.inner.database.close().await;
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

async fn prepare(
    database: &Database,
    key_file: &KeyFile,
    erasures: &Erasures,
    member: MemberId,
    federation: Hex32,
) -> Result<(AccessLog, Sealer), OpenError> {
    {
        let mut writer = database.writer().await?;
        identity::check(&mut writer, member, federation).await?;
        schema::migrate(&mut writer).await?;
    }
    Lease::take(database).await?;
    let sealer = identity::keys(&mut database.writer().await?, key_file).await?;
    let access_log = AccessLog::open(database.clone()).await?;
    let (claiming, destroyed) = (sealer.clone(), erasures.read()?);
    database
        .write(move |connection| {
            Box::pin(async move {
                identity::claim(connection, member, federation, &claiming).await?;
                // INVARIANT: what was destroyed is gone before anybody reads, whatever backup the database comes from.
                for record in destroyed {
                    received::destroy_unless_held(connection, record).await?;
                }
                approvals::put_back_running(connection, &claiming).await
            })
        })
        .await?;
    rotation::finish(database, &sealer, key_file).await?;
    Ok((access_log, sealer))
}

#[cfg(test)]
#[path = "national_tests.rs"]
mod tests;
