//! Witnessing: this node cosigns the heads of other members' access logs, without learning anything of what is in them.

use comity_core::access::witness::{Offered, Opening, incarnation_of};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::SignedCheckpoint;
use comity_core::genesis::Genesis;
use comity_core::{MemberId, Violations};
use comity_store::witness::{Conflict, Witnessed, WitnessedLog};

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// A head that a member's node offers, as it came.
#[derive(Debug, Clone)]
pub struct OfferedHead {
    /// The note that the log signed.
    pub note: Vec<u8>,
    /// The size that the log takes this node to have seen last.
    pub old_size: u64,
    /// The consistency proof from there.
    pub consistency: Vec<Hex32>,
    /// How its incarnation began.
    pub opening: Option<Opening>,
}

/// What a member's node is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Cosigned {
    /// The note with this node's cosignature.
    Yes(Box<SignedCheckpoint>),
    /// It is not cosigned; and the last head that was, if any.
    No(Option<Box<SignedCheckpoint>>),
}

impl Node {
    /// Cosigns a head of a member's access log where it continues the last one; else keeps what contradicts it.
    ///
    /// # Errors
    /// It is not signed by the member's node, or not of its log; or the store failed, and nothing is signed.
    pub async fn cosign_access_log(&self, member: MemberId, offered: OfferedHead) -> Result<Cosigned, AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("note", problem));
        if member == self.member() {
            return Err(refuse("is of this node's own log: others cosign it".into()));
        }
        let note = SignedCheckpoint::from_bytes(&offered.note).map_err(|e| refuse(e.to_string()))?;
        let trust_domain = self.roster(|roster| roster.get(member).map(|standing| standing.row.trust_domain.clone()));
        let trust_domain = trust_domain.ok_or(AppError::NotFound("member"))?;
        let incarnation = incarnation_of(&note.checkpoint.origin, &trust_domain);
        let incarnation = incarnation.ok_or_else(|| {
            refuse(format!("is of `{}`: expected {trust_domain}/access-log/INCARNATION", note.checkpoint.origin))
        })?;
        let key = self.node_key_of(member)?;
        note.verify(&note.checkpoint.origin, &key.0).map_err(|e| refuse(e.to_string()))?;
        let OfferedHead { old_size, consistency, opening, .. } = offered;
        let offered = Offered { head: note.checkpoint.clone(), incarnation, old_size, consistency, opening };
        // INVARIANT: one at a time, so that no earlier head is signed after a later one.
        let _turn = self.cosigning.lock().await;
        let kept = note.clone();
        let taken = self.store.witness().offer(member, offered, kept, fresh::now()).await;
        match taken.map_err(InternalError::Store)? {
            Witnessed::Taken(at) => {
                let mut cosigned = SignedCheckpoint::unsigned(note.checkpoint);
                cosigned.cosign(&Genesis::cosigner_name(self.trust_domain()), &self.keys.node, at);
                Ok(Cosigned::Yes(Box::new(cosigned)))
            }
            Witnessed::Refused(why, known) => {
                if why.is_evidence() {
                    tracing::error!(%member, why = why.as_str(), "a member's access log contradicts what it signed before: both heads are kept");
                }
                Ok(Cosigned::No(known))
            }
        }
    }

    /// What this node cosigned of a member's log: the last head of each incarnation.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn witnessed_of(&self, member: MemberId) -> Result<Vec<SignedCheckpoint>, AppError> {
        let logs = self.store.witness().of(member).await.map_err(InternalError::Store)?;
        Ok(logs.into_iter().map(|log| log.note).collect())
    }

    /// What this node cosigned of everybody's logs.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn witnessed_logs(&self) -> Result<Vec<WitnessedLog>, AppError> {
        Ok(self.store.witness().all().await.map_err(InternalError::Store)?)
    }

    /// What contradicts what this node cosigned, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn witness_conflicts(&self, limit: usize) -> Result<Vec<Conflict>, AppError> {
        Ok(self.store.witness().conflicts(limit).await.map_err(InternalError::Store)?)
    }

    /// How many such contradictions are kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn witness_conflict_count(&self) -> Result<u64, AppError> {
        Ok(self.store.witness().conflict_count().await.map_err(InternalError::Store)?)
    }
}
