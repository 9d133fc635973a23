//! Whether this node's own access log is what others saw of it: they are asked before anything is served or signed, and again with
//! each head that they are offered. A node that is behind what a member cosigned stops.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use comity_core::access::witness::{Opening, answers_needed, incarnation_of, witnesses_needed};
use comity_core::access::{DeclaredLoss, LostRange};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::{Checkpoint, InvalidCheckpoint, SignedCheckpoint};
use comity_core::dsse::PublicKey;
use comity_core::genesis::Genesis;
use comity_core::roster::Voter;
use comity_core::{MemberId, SpiffeId, Timestamp, Violations};
use comity_store::access_log::Head;
use tokio::sync::watch;

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// Whether a node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Too few members have said how far they saw the access log: nothing is served or signed.
    Waiting {
        /// How many have.
        heard: usize,
        /// How many must.
        needed: usize,
    },
    /// It serves.
    Serving,
    /// Members cosigned leaves that are not here: nothing is served or signed until the loss is declared.
    Behind {
        /// What is missing, for each head that one of them knows.
        lost: Vec<LostRange>,
        /// Who knows one.
        known_by: Vec<MemberId>,
    },
}

impl Standing {
    /// In one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Serving => "serving",
            Self::Behind { .. } => "behind",
        }
    }
}

/// What is known of the members that cosign this node's access log.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    /// What each said that it saw: the last head of each incarnation.
    heard: BTreeMap<MemberId, Vec<SignedCheckpoint>>,
    health: BTreeMap<MemberId, WitnessHealth>,
}

/// How cosigning by one member goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessHealth {
    /// How many leaves the head has that it cosigned last.
    pub size: Option<u64>,
    /// When it did.
    pub at: Option<Timestamp>,
    /// Why it did not, the last time it was asked.
    pub problem: Option<String>,
}

/// A head as it is offered to one member.
#[derive(Debug, Clone)]
pub struct Offer {
    /// From which size it is proved.
    pub old_size: u64,
    /// The proof.
    pub consistency: Vec<Hex32>,
    /// How this incarnation began, unless it is the first.
    pub opening: Option<Opening>,
}

impl Node {
    /// How this node stands.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Changes with it.
    pub fn watch_standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The members that cosign this node's access log: the others that vote, with a key that counts.
    pub fn witnesses(&self) -> BTreeMap<MemberId, Voter> {
        let voters = self.roster(|roster| std::sync::Arc::clone(roster.voters()));
        let others = voters.iter().filter(|(member, voter)| **member != self.member() && voter.node_key.is_some());
        others.map(|(member, voter)| (*member, voter.clone())).collect()
    }

    /// How many of them must have cosigned a head before it counts as witnessed.
    pub fn witnesses_needed(&self) -> usize {
        witnesses_needed(self.witnesses().len())
    }

    /// Of how many of them must be heard before this node serves. Nobody knows of a log whose member is not admitted yet, nor answers a
    /// machine whose keys are yet to take the place of others; such a one has no log so far.
    fn answers_needed(&self) -> usize {
        let key = PublicKey(self.keys.node.verifying_key());
        let (is_member, knows_key) =
            self.roster(|roster| (roster.get(self.member()).is_some(), roster.keyring().knows(key)));
        let nobody_knows = !is_member || (!knows_key && self.access_log.head().size == 0);
        if nobody_knows { 0 } else { answers_needed(self.witnesses().len()) }
    }

    /// The latest incarnation of this log that anybody knows of.
    pub(crate) fn latest_incarnation(&self) -> u64 {
        let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = witnesses.heard.values().flatten().map(|note| self.incarnation(note)).max();
        seen.unwrap_or(0).max(self.access_log.incarnation().number)
    }

    /// Those of them that have not said yet what they saw.
    pub fn unheard_witnesses(&self) -> Vec<MemberId> {
        let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        self.witnesses().into_keys().filter(|member| !witnesses.heard.contains_key(member)).collect()
    }

    /// How cosigning by one member goes.
    pub fn witness_health(&self, member: MemberId) -> WitnessHealth {
        let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        witnesses.health.get(&member).cloned().unwrap_or_default()
    }

    /// Notes why a member did not answer or cosign. Returns whether that is news.
    pub fn note_witness_problem(&self, member: MemberId, problem: String) -> bool {
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        let health = witnesses.health.entry(member).or_default();
        let news = health.problem.as_ref() != Some(&problem);
        health.problem = Some(problem);
        news
    }

    /// Takes what a member says that it saw of this node's log, and decides anew how this node stands.
    ///
    /// # Errors
    /// A head is not one that this member's node ever signed: then nothing of the answer counts. Or the log cannot be read.
    pub async fn hear_witness(&self, from: MemberId, notes: Vec<Vec<u8>>) -> Result<(), AppError> {
        let mut heads = Vec::with_capacity(notes.len());
        for note in notes {
            let note = SignedCheckpoint::from_bytes(&note).map_err(|e| unsigned(from, e))?;
            self.ensure_ours(&note).map_err(|e| unsigned(from, e))?;
            heads.push(note);
        }
        {
            let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
            let latest = heads.iter().map(|note| note.checkpoint.size).max();
            let health = witnesses.health.entry(from).or_default();
            health.size = latest.or(health.size);
            health.problem = None;
            witnesses.heard.insert(from, heads);
        }
        self.decide_standing().await
    }

    /// Decides how this node stands, by what the others said.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn decide_standing(&self) -> Result<(), AppError> {
        // One at a time, so that no earlier decision comes after a later one.
        let _turn = self.deciding.lock().await;
        let heard = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner).heard.clone();
        let (mut lost, mut known_by) = (Vec::new(), Vec::new());
        let declared = self.declared_losses().await?;
        for (member, notes) in &heard {
            for note in notes {
                if let Some(range) = self.lost_before(&note.checkpoint, &declared).await? {
                    if !lost.contains(&range) {
                        lost.push(range);
                    }
                    if !known_by.contains(member) {
                        known_by.push(*member);
                    }
                }
            }
        }
        let needed = self.answers_needed();
        let next = if !lost.is_empty() {
            Standing::Behind { lost, known_by }
        } else if heard.len() >= needed {
            Standing::Serving
        } else {
            Standing::Waiting { heard: heard.len(), needed }
        };
        self.standing.send_if_modified(|standing| {
            // What is served already goes on, unless the log is behind.
            let stays =
                *standing == next || (*standing == Standing::Serving && matches!(next, Standing::Waiting { .. }));
            if !stays {
                *standing = next;
            }
            !stays
        });
        Ok(())
    }

    /// Serves although too few members have said how far they saw the log: on the word of a person, which is in the log first.
    ///
    /// # Errors
    /// It does not wait, the log is known to be behind, or cannot be written.
    pub async fn start_unconfirmed(&self, person: &SpiffeId, reason: &str) -> Result<(), AppError> {
        let (heard, needed) = match self.standing() {
            Standing::Waiting { heard, needed } => (heard, needed),
            Standing::Serving => {
                return Err(AppError::Precondition {
                    reason: "NOT_WAITING",
                    problem: "the node serves already: see `comity node status`".into(),
                });
            }
            Standing::Behind { .. } => {
                return Err(AppError::Precondition {
                    reason: "ACCESS_LOG_BEHIND",
                    problem: "other members saw more of the access log than there is: put the newer store back, or declare the loss \
                              with `comity node restore --declare-loss`"
                        .into(),
                });
            }
        };
        check_reason(reason)?;
        let touched = comity_core::access::Touched::resource("access-log").by(reason);
        let action = format!("start unconfirmed, {heard} of {needed} heard");
        let record = comity_core::access::AccessRecord {
            who: Some(person.clone()),
            member: Some(self.member()),
            touched: vec![touched],
            ..comity_core::access::AccessRecord::new(fresh::now(), "this node", action)
        };
        self.record_access(record).await?;
        self.standing.send_if_modified(|standing| {
            let waits = matches!(standing, Standing::Waiting { .. });
            if waits {
                *standing = Standing::Serving;
            }
            waits
        });
        Ok(())
    }

    /// What is proved to a member about a head that this node signed, by what that member saw last.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn offer_to(&self, member: MemberId, head: &Checkpoint) -> Result<Offer, AppError> {
        let known = {
            let witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
            let notes = witnesses.heard.get(&member);
            notes.and_then(|notes| {
                notes.iter().max_by_key(|note| self.incarnation(note)).map(|note| note.checkpoint.clone())
            })
        };
        let is_prefix = match &known {
            Some(known) => known.size <= head.size && self.root_at(known.size).await? == known.root,
            None => false,
        };
        let old_size = known.filter(|_| is_prefix).map_or(0, |known| known.size);
        let log = &self.access_log;
        let consistency = log.prove_consistency(old_size, head.size).await.map_err(InternalError::from)?;
        let opening = match log.opening().await.map_err(InternalError::from)? {
            Some(leaf) => {
                let inclusion = log.prove_inclusion(head.size, leaf.n).await.map_err(InternalError::from)?;
                Some(Opening { n: leaf.n, leaf: leaf.leaf, inclusion })
            }
            None => None,
        };
        Ok(Offer { old_size, consistency, opening })
    }

    /// Takes a member's cosignature of a head, if it is one.
    ///
    /// # Errors
    /// It is not by the member's key, or of another head.
    pub fn take_cosignature(
        &self,
        member: MemberId,
        voter: &Voter,
        note: &mut SignedCheckpoint,
        cosigned: &[u8],
    ) -> Result<(), InvalidCheckpoint> {
        let mut cosigned = SignedCheckpoint::from_bytes(cosigned)?;
        let name = Genesis::cosigner_name(&voter.trust_domain);
        let key = voter.node_key.ok_or_else(|| InvalidCheckpoint::Unsigned(name.clone()))?;
        if cosigned.checkpoint != note.checkpoint {
            return Err(InvalidCheckpoint::Text);
        }
        cosigned.verify_cosigner(&name, &key.0)?;
        cosigned.retain_cosigner(&name, &key.0);
        note.merge(&cosigned);
        let mut witnesses = self.witnesses.lock().unwrap_or_else(PoisonError::into_inner);
        let size = Some(note.checkpoint.size);
        witnesses.health.insert(member, WitnessHealth { size, at: Some(fresh::now()), problem: None });
        witnesses.heard.insert(member, vec![note.clone()]);
        Ok(())
    }

    /// Who of the members that cosign has cosigned a note.
    pub fn cosigners_of(&self, note: &SignedCheckpoint) -> Vec<MemberId> {
        let witnesses = self.witnesses();
        let cosigned = |voter: &Voter| {
            let name = Genesis::cosigner_name(&voter.trust_domain);
            voter.node_key.is_some_and(|key| note.verify_cosigner(&name, &key.0).is_ok())
        };
        witnesses.iter().filter(|(_, voter)| cosigned(voter)).map(|(member, _)| *member).collect()
    }

    /// Keeps a note with the cosignatures that it has.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn keep_cosigned(&self, note: SignedCheckpoint) -> Result<(), AppError> {
        let cosigners = self.cosigners_of(&note).len();
        Ok(self.access_log.keep_cosigned(note, cosigners).await.map_err(InternalError::from)?)
    }

    /// The newest head that enough members have cosigned.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn witnessed_checkpoint(&self) -> Result<Option<SignedCheckpoint>, AppError> {
        Ok(self.access_log.latest_cosigned(self.witnesses_needed()).await.map_err(InternalError::from)?)
    }

    /// What is missing here of a head that somebody cosigned; nothing where it is all here, or declared as lost.
    async fn lost_before(&self, known: &Checkpoint, declared: &[DeclaredLoss]) -> Result<Option<LostRange>, AppError> {
        let Head { size, .. } = self.access_log.head();
        if known.size <= size && self.root_at(known.size).await? == known.root {
            // A later incarnation has a leaf that opens it, so that it cannot be here unknown.
            return Ok(None);
        }
        let covers = |lost: &LostRange| lost.origin == known.origin && lost.end >= known.size;
        if declared.iter().any(|loss| loss.lost.iter().any(covers)) {
            return Ok(None);
        }
        // What any of them cosigned of this very log is kept for certain; what came after it here, nobody can vouch for.
        let vouched = self.access_log.latest_cosigned(1).await.map_err(InternalError::from)?;
        let first = vouched.map_or(0, |note| note.checkpoint.size).min(known.size);
        let origin = known.origin.clone();
        Ok(Some(LostRange { origin, first, end: known.size, root: known.root }))
    }

    async fn root_at(&self, size: u64) -> Result<Hex32, AppError> {
        Ok(self.access_log.root_at(size).await.map_err(InternalError::from)?)
    }

    /// What was declared as lost by every incarnation of this log.
    pub(crate) async fn declared_losses(&self) -> Result<Vec<DeclaredLoss>, AppError> {
        let openings = self.access_log.openings().await.map_err(InternalError::from)?;
        let losses = openings.iter().filter_map(|leaf| leaf.record().ok()?.loss);
        Ok(losses.map(|loss| *loss).collect())
    }

    fn incarnation(&self, note: &SignedCheckpoint) -> u64 {
        incarnation_of(&note.checkpoint.origin, self.trust_domain()).unwrap_or(0)
    }

    /// Whether this member's node signed a head of its log, with this or an earlier key.
    fn ensure_ours(&self, note: &SignedCheckpoint) -> Result<(), InvalidCheckpoint> {
        let origin = &note.checkpoint.origin;
        if self.incarnation(note) == 0 {
            let expected = format!("{}/access-log/INCARNATION", self.trust_domain());
            return Err(InvalidCheckpoint::OtherOrigin { found: origin.clone(), expected });
        }
        if note.verify(origin, &self.keys.node.verifying_key()).is_ok() {
            return Ok(());
        }
        let member = self.member();
        let keyring = self.roster(|roster| std::sync::Arc::clone(roster.keyring()));
        let signed = keyring.of(member).any(|key| note.verify(origin, &key.0).is_ok());
        if signed { Ok(()) } else { Err(InvalidCheckpoint::Unsigned(origin.clone())) }
    }
}

/// The longest reason that a person may give, in characters.
const REASON_MAX_CHARS: usize = 2_000;

/// A reason that stands in the log for ever is given, and bounded.
pub(crate) fn check_reason(reason: &str) -> Result<(), Violations> {
    if reason.trim().is_empty() {
        return Err(Violations::one("reason", "is empty: say why, for those who read the log later"));
    }
    if reason.chars().count() > REASON_MAX_CHARS {
        return Err(Violations::one("reason", format!("longer than {REASON_MAX_CHARS} characters")));
    }
    Ok(())
}

fn unsigned(from: MemberId, error: InvalidCheckpoint) -> AppError {
    Violations::one("note", format!("{from} names a head that this node never signed: {error}")).into()
}
