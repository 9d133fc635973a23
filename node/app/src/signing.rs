//! Personal signatures: where the member requires them, two different enrolled people sign each deciding command, the one who
//! asks and the one who approves.

use std::collections::BTreeSet;

use comity_core::SpiffeId;
use comity_core::Violations;
use comity_core::dsse::{Envelope, EnvelopeSignature};
use comity_core::list::Command;
use comity_core::roster::Standing;
use comity_store::approvals::{Approval, ApprovalSignature, ApprovalState};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::ballots::Tabled;
use crate::commands::Prepared;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// How many different people sign what decides.
pub(crate) const SIGNATURES_NEEDED: usize = 2;

/// A command, exactly as it is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSign {
    /// Its media type.
    pub payload_type: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// What it tables, or what the ballot that it acts on decides.
    pub tabled: Option<Tabled>,
}

/// What people are to sign, and who has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Left out where it was not asked for.
    pub command: Option<ToSign>,
    /// How many different people must sign.
    pub needed: usize,
    /// Who has, by pseudonym.
    pub signed_by: Vec<String>,
}

impl Node {
    /// Whether this member's deciding commands need its people's signatures.
    pub(crate) fn needs_people(&self) -> bool {
        self.roster(|roster| roster.get(self.member()).is_some_and(|own| own.personal_signatures))
    }

    /// What is to be signed of an approval that waits; nothing where nobody needs to.
    pub(crate) async fn signing(
        &self,
        approval: &Approval,
        action: &Action,
        whole: bool,
    ) -> Result<Option<Signing>, AppError> {
        if !action.is_command() || !self.needs_people() {
            return Ok(None);
        }
        let kept = self.store.approvals().signatures(&approval.id).await.map_err(InternalError::Store)?;
        let command = if whole && approval.state == ApprovalState::Pending {
            match self.prepare(action).await? {
                Some(prepared) => Some(self.to_sign(prepared).await?),
                None => None,
            }
        } else {
            None
        };
        let signed_by = kept.into_iter().map(|signature| signature.person).collect();
        Ok(Some(Signing { command, needed: SIGNATURES_NEEDED, signed_by }))
    }

    async fn to_sign(&self, prepared: Prepared) -> Result<ToSign, AppError> {
        let Prepared { command, text, .. } = prepared;
        let payload = command.to_payload();
        let tabled = match command.ballot() {
            Some(id) => match self.consensus.read(|list| list.ballot(&id).cloned()) {
                Some(ballot) => Some(self.tabled(&ballot).await?),
                None => None,
            },
            None => text.map(|text| Tabled { payload: payload.clone(), text: Some(text) }),
        };
        Ok(ToSign { payload_type: command.payload_type().to_owned(), payload, tabled })
    }

    /// Adds the author's own signature to what they asked for.
    ///
    /// # Errors
    /// There is no such approval, somebody else asked for it, or the signature is not theirs.
    pub async fn sign_approval(
        &self,
        author: &SpiffeId,
        id: &str,
        signature: &EnvelopeSignature,
    ) -> Result<ApprovalView, AppError> {
        let found = self.approval(author, id).await?;
        if found.approval.author != *author {
            return Err(AppError::Forbidden {
                reason: "NOT_THE_AUTHOR",
                problem: format!(
                    "{} asked for it, who alone adds this signature: an approver signs as they approve",
                    found.approval.author
                ),
            });
        }
        if !found.action.is_command() {
            return Err(AppError::Precondition {
                reason: "NOTHING_TO_SIGN",
                problem: "it is done within this member: nobody signs it".into(),
            });
        }
        self.keep_signature(author, &found, signature).await?;
        self.approval(author, id).await
    }

    /// Checks a person's signature over what waits, and keeps it.
    pub(crate) async fn keep_signature(
        &self,
        who: &SpiffeId,
        waiting: &ApprovalView,
        signature: &EnvelopeSignature,
    ) -> Result<(), AppError> {
        let Some(prepared) = self.prepare(&waiting.action).await? else { return Ok(()) };
        let person = self.ensure_signed_by(who, &prepared.command, signature)?;
        let kept = ApprovalSignature { person, keyid: signature.keyid, sig: signature.sig, at: fresh::now() };
        self.store.approvals().sign(&waiting.approval.id, kept).await?;
        Ok(())
    }

    /// INVARIANT: a signature counts only under the name in the certificate with which it came: nobody adds another's.
    pub(crate) fn ensure_signed_by(
        &self,
        who: &SpiffeId,
        command: &Command,
        signature: &EnvelopeSignature,
    ) -> Result<String, AppError> {
        let field = |field: &str, problem: String| AppError::from(Violations::one(field, problem));
        let EnvelopeSignature { keyid, .. } = signature;
        let person = self.roster(|roster| {
            let own = roster.get(self.member())?;
            own.enrolled().find(|person| comity_core::KeyId::of(&person.key.0) == *keyid).cloned()
        });
        let person = person.ok_or_else(|| {
            let problem = format!(
                "no enrolled person of {} has key {keyid}: an administrator enrols it first (`comity member list`)",
                self.member()
            );
            field("signature.keyid", problem)
        })?;
        if person.name.as_str() != who.name() {
            let problem =
                format!("key {keyid} is enrolled for {}; you are {}: sign with your own", person.name, who.name());
            return Err(field("signature.keyid", problem));
        }
        let envelope = Envelope {
            payload_type: command.payload_type().to_owned(),
            payload: command.to_payload(),
            signatures: vec![signature.clone()],
        };
        if envelope.verify(&person.key.0).is_err() {
            let problem = "does not verify: sign exactly the command's payload and type, as DSSE v1 has it";
            return Err(field("signature.sig", problem.into()));
        }
        Ok(person.name.to_string())
    }

    /// The signatures of the two people, as far as they still count.
    ///
    /// # Errors
    /// One is missing: nothing is handed in without it.
    pub(crate) async fn people_signed(
        &self,
        waiting: &ApprovalView,
        approver: &SpiffeId,
    ) -> Result<Vec<EnvelopeSignature>, AppError> {
        if !waiting.action.is_command() || !self.needs_people() {
            return Ok(Vec::new());
        }
        let id = &waiting.approval.id;
        let kept = self.store.approvals().signatures(id).await.map_err(InternalError::Store)?;
        let enrolled = self.roster(|roster| roster.get(self.member()).map(enrolled_keys).unwrap_or_default());
        let standing: Vec<&ApprovalSignature> =
            kept.iter().filter(|kept| enrolled.contains(&(kept.person.clone(), kept.keyid))).collect();
        let mut signatures = Vec::with_capacity(SIGNATURES_NEEDED);
        for (who, next) in [
            (&waiting.approval.author, format!("they sign it with `comity approve sign {id}`")),
            (approver, format!("sign as you approve: `comity approve yes {id}` with your signing key")),
        ] {
            let signed = standing.iter().find(|kept| kept.person == who.name());
            let signed = signed.ok_or_else(|| AppError::Precondition {
                reason: "SIGNATURE_MISSING",
                problem: format!(
                    "{} requires two people's signatures, and {} has not signed: {next}",
                    self.member(),
                    who.name()
                ),
            })?;
            signatures.push(EnvelopeSignature { keyid: signed.keyid, sig: signed.sig });
        }
        Ok(signatures)
    }
}

fn enrolled_keys(own: &Standing) -> BTreeSet<(String, comity_core::KeyId)> {
    own.enrolled().map(|person| (person.name.to_string(), comity_core::KeyId::of(&person.key.0))).collect()
}
