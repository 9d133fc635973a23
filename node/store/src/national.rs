//! The store as a whole: opened once, handed around by clones.

use std::path::Path;
use std::sync::Arc;

use comity_core::MemberId;
use comity_core::canonical::Hex32;

use crate::access_log::AccessLog;
use crate::approvals::Approvals;
use crate::copies::Copies;
use crate::database::Database;
use crate::error::OpenError;
use crate::lock::{Lock, create_private};
use crate::outbox::Outbox;
use crate::policies::Policies;
use crate::proposals::Proposals;
use crate::{approvals, identity, schema};

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
    proposals: Proposals,
    outbox: Outbox,
    copies: Copies,
    approvals: Approvals,
    policies: Policies,
    access_log: AccessLog,
    _lock: Lock,
}

impl NationalStore {
    /// Opens the store at `path`, making it (mode 0600) where there is none. Its folder must exist. Actions that a crash
    /// left running wait for approval again.
    ///
    /// # Errors
    /// It is in use, belongs to another member or federation, was written by a newer comity, or its access log does not
    /// hold together; nothing is changed then.
    pub async fn open(path: &Path, member: MemberId, federation: Hex32) -> Result<Self, OpenError> {
        let lock = Lock::take(path)?;
        create_private(path)?;
        let database = Database::open(path).await?;
        let access_log = match prepare(&database, member, federation).await {
            Ok(access_log) => access_log,
            Err(error) => {
                database.close().await;
                return Err(error);
            }
        };
        let inner = Inner {
            member,
            federation,
            proposals: Proposals::new(database.clone(), member),
            outbox: Outbox::new(database.clone()),
            copies: Copies::new(database.clone()),
            approvals: Approvals::new(database.clone()),
            policies: Policies::new(database.clone()),
            access_log,
            database,
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whose store it is.
    pub fn member(&self) -> MemberId {
        self.inner.member
    }

    /// Which federation it is of: the hash of the genesis.
    pub fn federation(&self) -> Hex32 {
        self.inner.federation
    }

    /// This member's own proposals.
    pub fn proposals(&self) -> &Proposals {
        &self.inner.proposals
    }

    /// What goes to each partner.
    pub fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// What partners sent.
    pub fn copies(&self) -> &Copies {
        &self.inner.copies
    }

    /// Actions that wait for a second person.
    pub fn approvals(&self) -> &Approvals {
        &self.inner.approvals
    }

    /// The policy for each partner.
    pub fn policies(&self) -> &Policies {
        &self.inner.policies
    }

    /// Who looked at what.
    pub fn access_log(&self) -> &AccessLog {
        &self.inner.access_log
    }

    /// Writes what the access log was given, then closes every connection. Other handles fail from here on.
    pub async fn close(&self) {
        self.inner.access_log.close().await;
        self.inner.database.close().await;
    }
}

async fn prepare(database: &Database, member: MemberId, federation: Hex32) -> Result<AccessLog, OpenError> {
    {
        let mut writer = database.writer().await?;
        identity::check(&mut writer, member, federation).await?;
        schema::migrate(&mut writer).await?;
    }
    let access_log = AccessLog::open(database.clone()).await?;
    database
        .write(move |connection| {
            Box::pin(async move {
                identity::claim(connection, member, federation).await?;
                approvals::put_back_running(connection).await
            })
        })
        .await?;
    Ok(access_log)
}

#[cfg(test)]
#[path = "national_tests.rs"]
mod tests;
