//! Policies: one Cedar file for each partner, checked, applied by two people, loaded at start.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use comity_core::clearance::{Clearance, People};
use comity_core::release::PartyStatus;
use comity_core::{MemberId, SpiffeId};
use comity_policy::{InvalidPolicy, PartnerPolicy, Policies};
use comity_store::NationalStore;
use comity_store::policies::{NewPolicy, PolicyVersion};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::policy_trials::invalid;

/// Why the policies do not let a node serve.
#[derive(Debug, thiserror::Error)]
pub enum PolicyStartError {
    /// A file does not validate.
    #[error("{path}: {source}\nmend the file or put the approved one back, then start again")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidPolicy,
    },
    /// A file is not the one that two people approved.
    #[error(
        "{path}: is not the policy that was approved (version {version}): it was changed by hand. Put the approved text back, \
         remove the file to have it written anew, or apply the change with `comity policy apply`"
    )]
    Changed {
        /// Which file.
        path: PathBuf,
        /// The version that was approved.
        version: u64,
    },
    /// A file that nobody approved.
    #[error("{path}: nobody approved a policy for {party}: move the file away and apply it with `comity policy apply`")]
    Unapproved {
        /// Which file.
        path: PathBuf,
        /// For whom.
        party: MemberId,
    },
    /// A file of another name.
    #[error("{path}: expected one file for each partner, named by its code, such as DE.cedar")]
    Name {
        /// Which file.
        path: PathBuf,
    },
    /// The folder or the store cannot be read.
    #[error("policies: {0}")]
    Internal(#[from] InternalError),
}

/// A policy in force, for display.
#[derive(Debug, Clone)]
pub struct PolicyView {
    /// What was applied, by whom and when.
    pub applied: PolicyVersion,
    /// The ids of its policies.
    pub ids: Vec<String>,
}

impl Node {
    /// Loads and checks the policies that two people approved; a file that is missing is written anew, one that differs stops the
    /// start.
    ///
    /// # Errors
    /// What keeps the node from serving.
    pub async fn load_policies(
        store: &NationalStore,
        folder: &Path,
    ) -> Result<(Policies, Option<People>), PolicyStartError> {
        let mut approved = store.policies().all_current().await.map_err(InternalError::Store)?;
        // Under this member's own code stand the clearances of its people.
        let own = approved.iter().position(|p| p.party == store.member()).map(|own| approved.remove(own));
        let people = own.map(|own| People::from_json(own.text.as_bytes())).transpose();
        let people = people.map_err(|e| InternalError::Corrupt { what: "clearances", problem: e.to_string() })?;
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| PolicyStartError::Internal(InternalError::PolicyFile { path, source })
        };
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        for entry in fs::read_dir(folder).map_err(file_error(folder))? {
            let path = entry.map_err(file_error(folder))?.path();
            if path.extension().is_none_or(|e| e != "cedar") {
                continue;
            }
            let party = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<MemberId>().ok());
            let Some(party) = party else { return Err(PolicyStartError::Name { path }) };
            let text = fs::read_to_string(&path).map_err(file_error(&path))?;
            // Said first, since it is what the officer can mend.
            if let Err(source) = PartnerPolicy::parse(party, &text) {
                return Err(PolicyStartError::Invalid { path, source });
            }
            match approved.iter().find(|p| p.party == party) {
                None => return Err(PolicyStartError::Unapproved { path, party }),
                Some(p) if p.text != text => return Err(PolicyStartError::Changed { path, version: p.ordinal }),
                Some(_) => {}
            }
        }
        let mut policies = Vec::new();
        for applied in approved {
            let path = policy_path(folder, applied.party);
            let policy = PartnerPolicy::parse(applied.party, &applied.text)
                .map_err(|source| PolicyStartError::Invalid { path: path.clone(), source })?;
            if !path.exists() {
                write_atomically(&path, &applied.text).map_err(PolicyStartError::Internal)?;
            }
            policies.push(policy);
        }
        Ok((Policies::new(policies), people))
    }

    /// Checks a policy without applying it.
    ///
    /// # Errors
    /// The party is no partner. An invalid policy is an answer, not an error.
    pub fn check_policy(&self, party: MemberId, text: &str) -> Result<Result<PartnerPolicy, InvalidPolicy>, AppError> {
        self.ensure_partner(party, "party")?;
        Ok(PartnerPolicy::parse(party, text))
    }

    /// Asks that a policy be applied. It must be valid already.
    ///
    /// # Errors
    /// It is not, or too much waits for approval.
    pub async fn ask_policy(&self, author: &SpiffeId, party: MemberId, text: String) -> Result<ApprovalView, AppError> {
        let policy = self.check_policy(party, &text)?.map_err(|e| invalid(&e))?;
        let summary = format!("apply the policy for {party}: {} policies", policy.ids().len());
        self.ask(author, Action::Policy { party, text }, summary, None).await
    }

    pub(crate) async fn apply_policy(
        &self,
        party: MemberId,
        text: String,
        author: &SpiffeId,
        approver: &SpiffeId,
    ) -> Result<String, AppError> {
        let _turn = self.policy_turn.lock().await;
        let policy = self.check_policy(party, &text)?.map_err(|e| invalid(&e))?;
        // INVARIANT: no page is decided between the policy's being stored, which queues everything that the party has or may have, and
        // its being in force.
        let line = self.line(party);
        let _page = match &line {
            Some(line) => Some(line.turn.lock().await),
            None => None,
        };
        let applied = self
            .store
            .policies()
            .apply(NewPolicy {
                party,
                text: text.clone(),
                author: author.clone(),
                approver: approver.clone(),
                at: fresh::now(),
            })
            .await
            .map_err(InternalError::Store)?;
        // In force from here on; the file is the officer's copy of it and is put right at the next start if need be.
        self.policies.store(std::sync::Arc::new(self.policies.load().with(policy)));
        write_atomically(&policy_path(&self.policy_dir, party), &text)?;
        Ok(format!("policy for {party}, version {}, is in force", applied.ordinal))
    }

    /// Asks that clearances of this member's people be put into force.
    ///
    /// # Errors
    /// The document is not as it must be, or the author would raise their own clearance.
    pub async fn ask_people(&self, author: &SpiffeId, document: &[u8]) -> Result<ApprovalView, AppError> {
        let people = People::from_json(document)?;
        let ceiling = self.roster_row().ceiling;
        let above = |clearance: &Clearance| clearance.tier > ceiling;
        let mut violations = comity_core::Violations::default();
        for (name, clearance) in &people.people {
            if above(clearance) {
                violations.push(
                    format!("people.{name}.tier"),
                    format!("{} is above this node's accreditation, {ceiling}", clearance.tier),
                );
            }
        }
        if above(&people.default) {
            violations.push("default.tier", format!("is above this node's accreditation, {ceiling}"));
        }
        violations.into_result()?;
        let summary = format!("put the clearances of {} people into force", people.people.len());
        // INVARIANT: what `to_vec` writes is UTF-8.
        let document = String::from_utf8_lossy(&comity_core::canonical::to_vec(&people)).into_owned();
        self.ask(author, Action::People { document }, summary, None).await
    }

    pub(crate) async fn apply_people(
        &self,
        document: String,
        author: &SpiffeId,
        approver: &SpiffeId,
    ) -> Result<String, AppError> {
        let _turn = self.policy_turn.lock().await;
        let people = People::from_json(document.as_bytes())?;
        let new = NewPolicy {
            party: self.member(),
            text: document,
            author: author.clone(),
            approver: approver.clone(),
            at: fresh::now(),
        };
        let applied = self.store.policies().apply(new).await.map_err(InternalError::Store)?;
        self.people.store(std::sync::Arc::new(Some(people)));
        Ok(format!("clearances, version {}, are in force", applied.ordinal))
    }

    /// The clearances in force, and who decided on them.
    ///
    /// # Errors
    /// Nobody decided on any yet.
    pub async fn people(&self) -> Result<PolicyVersion, AppError> {
        let applied = self.store.policies().current(self.member()).await.map_err(InternalError::Store)?;
        applied.ok_or(AppError::NotFound("clearances"))
    }

    /// Every version of a policy that was ever in force for a party, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn policy_history(
        &self,
        party: MemberId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<PolicyVersion>, AppError> {
        Ok(self.store.policies().history(party, before, limit).await.map_err(InternalError::Store)?)
    }

    /// The policy in force for a party.
    ///
    /// # Errors
    /// There is none.
    pub async fn policy(&self, party: MemberId) -> Result<PolicyView, AppError> {
        let applied = self.store.policies().current(party).await.map_err(InternalError::Store)?;
        applied.map(|p| self.policy_view(p)).ok_or(AppError::NotFound("policy"))
    }

    /// Every policy in force.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn policies(&self) -> Result<Vec<PolicyView>, AppError> {
        let all = self.store.policies().all_current().await.map_err(InternalError::Store)?;
        let all = all.into_iter().filter(|policy| policy.party != self.member());
        Ok(all.map(|p| self.policy_view(p)).collect())
    }

    fn policy_view(&self, applied: PolicyVersion) -> PolicyView {
        let policies = self.policies.load();
        let ids = policies.get(applied.party).map(|p| p.ids().iter().map(|id| id.as_str().to_owned()).collect());
        PolicyView { applied, ids: ids.unwrap_or_default() }
    }

    pub(crate) fn ensure_partner(&self, party: MemberId, field: &str) -> Result<(), AppError> {
        let known = self.party(party).is_some_and(|party| party.status != PartyStatus::Expelled);
        if party == self.member() || !known {
            let others: Vec<String> = self.partners().iter().map(|m| m.member.to_string()).collect();
            let problem = format!("{party} is not a partner in this federation: expected one of {}", others.join(", "));
            return Err(comity_core::Violations::one(field, problem).into());
        }
        Ok(())
    }
}

fn policy_path(folder: &Path, party: MemberId) -> PathBuf {
    folder.join(format!("{party}.cedar"))
}

fn write_atomically(path: &Path, text: &str) -> Result<(), InternalError> {
    let fail = |source| InternalError::PolicyFile { path: path.to_owned(), source };
    let partial = path.with_extension("cedar.new");
    let mut file = fs::File::create(&partial).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&partial, path).map_err(fail)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(fail)
}
