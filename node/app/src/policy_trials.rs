//! Trying policies: cases, explanations, and what a change would do to the whole store before it is applied.

use comity_core::release::{Action as View, Party};
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp, Violations};
use comity_policy::{CaseOutcome, Cases, Explanation, InvalidPolicy, PartnerPolicy, Policies};
use comity_store::outbox::Candidate;

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::release::share_of;

/// How many records are decided in one step.
const STEP_RECORDS: usize = 1_000;
/// The most changes that are named; all are counted.
const NAMED_MAX: usize = 1_000;

/// What a policy would change for a partner.
#[derive(Debug, Clone, Default)]
pub struct Simulation {
    /// How many records were decided on: all that are shared with the partner or were ever released to it.
    pub considered: u64,
    /// How many it would see more of than now.
    pub gained: u64,
    /// How many it would see less of.
    pub lost: u64,
    /// The first of them, as far as the officer may know of them.
    pub changes: Vec<Simulated>,
    /// How many changes are not named: beyond the first, or beyond the officer's clearance.
    pub unnamed: u64,
}

/// A record whose decision would change.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Which.
    pub record: RecordId,
    /// Its marking, as a banner line.
    pub banner: String,
    /// What the partner may have of it now.
    pub before: Option<View>,
    /// What it would have.
    pub after: Option<View>,
    /// Which policies would decide.
    pub because: Vec<String>,
}

impl Node {
    /// Decides cases with the policies in force, one partner's file replaced by `text` where there is one.
    ///
    /// # Errors
    /// The cases are not as they must be. An invalid policy is an answer, not an error.
    pub fn test_policy(
        &self,
        replaced: Option<(MemberId, &str)>,
        cases: &[u8],
    ) -> Result<Result<Vec<CaseOutcome>, InvalidPolicy>, AppError> {
        let cases = Cases::from_json(cases)?;
        let policies = match self.policies_with(replaced)? {
            Ok(policies) => policies,
            Err(invalid) => return Ok(Err(invalid)),
        };
        Ok(Ok(cases.run(&policies, self.member(), |member| self.party(member), fresh::now())))
    }

    fn policies_with(&self, replaced: Option<(MemberId, &str)>) -> Result<Result<Policies, InvalidPolicy>, AppError> {
        let current = self.policies.load();
        let Some((party, text)) = replaced else { return Ok(Ok(Policies::clone(&current))) };
        Ok(self.check_policy(party, text)?.map(|policy: PartnerPolicy| current.with(policy)))
    }

    /// Explains what a partner may have of an own record, and what stands in the way of more.
    ///
    /// # Errors
    /// There is no such record, or the officer may not know of it; or the party is no partner.
    pub async fn explain_release(
        &self,
        officer: &SpiffeId,
        record: RecordId,
        party: MemberId,
    ) -> Result<Explanation, AppError> {
        self.ensure_partner(party, "party")?;
        let party = self.party(party).ok_or(AppError::NotFound("partner"))?;
        let found = self.store.outbox().candidates(party.member, &[record]).await.map_err(InternalError::Store)?;
        let candidate = found.into_iter().next().filter(|candidate| self.may_discover(officer, candidate));
        let candidate = candidate.ok_or(AppError::NotFound(record.kind().as_str()))?;
        let header = self.candidate_header(&candidate);
        let share = candidate.share.as_ref().map(share_of);
        let mut explained = self.policies.load().explain(self.member(), &party, &header, share.as_ref(), fresh::now());
        if candidate.taken_back {
            explained.missing.insert(0, format!("{record} was withdrawn or recalled: nobody is given it"));
        }
        Ok(explained)
    }

    /// Says what a policy would change, over the whole store, without applying it.
    ///
    /// # Errors
    /// The party is no partner, or the store cannot be read. An invalid policy is an answer, not an error.
    pub async fn simulate_policy(
        &self,
        officer: &SpiffeId,
        party: MemberId,
        text: &str,
    ) -> Result<Result<Simulation, InvalidPolicy>, AppError> {
        let policies = match self.policies_with(Some((party, text)))? {
            Ok(policies) => policies,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let party = self.party(party).ok_or(AppError::NotFound("partner"))?;
        let outbox = self.store.outbox();
        let mut simulation = Simulation::default();
        let mut after = None;
        loop {
            let concerned = outbox.concerned(party.member, after, STEP_RECORDS).await.map_err(InternalError::Store)?;
            let Some(last) = concerned.last().copied() else { return Ok(Ok(simulation)) };
            after = Some(last);
            let candidates = outbox.candidates(party.member, &concerned).await.map_err(InternalError::Store)?;
            let now = fresh::now();
            for candidate in candidates {
                self.simulate(officer, &party, &policies, &candidate, now, &mut simulation);
            }
            // Others are served in between.
            tokio::task::yield_now().await;
        }
    }

    fn simulate(
        &self,
        officer: &SpiffeId,
        party: &Party,
        policies: &Policies,
        candidate: &Candidate,
        now: Timestamp,
        simulation: &mut Simulation,
    ) {
        simulation.considered += 1;
        if candidate.taken_back {
            return;
        }
        let before = self.level(party, candidate, now).action;
        let share = candidate.share.as_ref().map(share_of);
        let header = self.candidate_header(candidate);
        let then = policies.level(self.member(), party, &header, share.as_ref(), now);
        if then.action == before {
            return;
        }
        *(if then.action > before { &mut simulation.gained } else { &mut simulation.lost }) += 1;
        if simulation.changes.len() >= NAMED_MAX || !self.may_discover(officer, candidate) {
            simulation.unnamed += 1;
            return;
        }
        simulation.changes.push(Simulated {
            record: candidate.record,
            banner: candidate.marking.to_string(),
            before,
            after: then.action,
            because: then.because,
        });
    }

    fn may_discover(&self, officer: &SpiffeId, candidate: &Candidate) -> bool {
        self.may_see(officer, View::Discover, &self.candidate_header(candidate), None)
    }
}

/// A text that is no policy, as a violation of a field.
pub(crate) fn invalid(error: &InvalidPolicy) -> AppError {
    Violations::one("text", error.to_string()).into()
}
