//! Onward release: a holder asks, the originator grants or refuses, and its node releases the record itself.

use std::collections::BTreeMap;

use comity_core::canonical::Hex32;
use comity_core::document::{Document, Grant, GrantDecision, ReadBody, Request, answer_marking};
use comity_core::release::Share;
use comity_core::{Marking, MemberId, RecordId, RecordKind, SpiffeId, Timestamp, VersionId, Violations};
use comity_store::records::{NewRecord, NewShare, Onward, StoredShare};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::records::{ReceivedCopy, RecordView, ensure_not_taken_back};

/// The most that a list of onward releases looks at.
const LIST_MAX: usize = 200;

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct OnwardView {
    /// The request; none where the originator acted unasked.
    pub request: Option<RecordId>,
    /// The answer, where there is one that this person may see.
    pub grant: Option<RecordId>,
    /// The record.
    pub record: RecordId,
    /// Who asks: the member whose request it is.
    pub by: MemberId,
    /// To whom it is to go.
    pub to: MemberId,
    /// What for or, where it was refused, why not.
    pub purpose: String,
    /// Until when.
    pub until: Option<Timestamp>,
    /// How it stands.
    pub state: OnwardState,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnwardState {
    /// Nobody answered it yet.
    Open,
    /// The originator releases it.
    Granted,
    /// The originator does not.
    Refused,
    /// It was granted, and the time is over.
    Ended,
}

impl OnwardState {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// What an originator's person decides on.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// A request, or a record of this member itself.
    pub about: RecordId,
    /// To whom; what the request says where it is left out.
    pub to: Option<MemberId>,
    /// What for, or why not; what the request says where it is left out.
    pub purpose: Option<String>,
    /// Until when; what the request says where it is left out.
    pub until: Option<Timestamp>,
    /// Yes or no.
    pub decision: GrantDecision,
}

impl Node {
    /// Asks another's node, after another person's approval, that a record of its member be released to somebody else.
    ///
    /// # Errors
    /// There is no copy that this person may see, or the request is not as it must be.
    pub async fn ask_request(
        &self,
        author: &SpiffeId,
        record: RecordId,
        to: MemberId,
        purpose: String,
        until: Option<Timestamp>,
    ) -> Result<ApprovalView, AppError> {
        let RecordView::Received(copy) = self.record(author, record).await? else {
            return Err(Violations::one("record", format!("{record} is this member's own: share it")).into());
        };
        self.ensure_in_roster(to, "to")?;
        let marking = answer_marking(record, &copy.discover.marking);
        let document = Document::Request(Request { marking, about: record, to, purpose, until });
        document.check()?;
        self.create_and_ask_share(author, document).await
    }

    /// Stores an answer to another's record and asks that its originator be shown it.
    pub(crate) async fn create_and_ask_share(
        &self,
        author: &SpiffeId,
        document: Document,
    ) -> Result<ApprovalView, AppError> {
        let about = document.about().ok_or(AppError::NotFound("record"))?;
        let row = self.store.records().create(self.new_record(author, document)?).await?;
        self.ask_share(author, vec![(row.id, Some(row.version))], vec![about.originator()], None).await
    }

    /// Asks that a record of this member be released onward, or that it not be.
    ///
    /// # Errors
    /// There is no such request or record, or what is asked for can never go there: then what stands in the way is named.
    pub async fn ask_grant(&self, author: &SpiffeId, new: NewGrant) -> Result<ApprovalView, AppError> {
        let request = match new.about.kind() {
            RecordKind::Request => Some(self.request(author, new.about).await?),
            _ => None,
        };
        let missing =
            |field: &str| AppError::from(Violations::one(field, "is missing: there is no request that says it"));
        let record = request.as_ref().map_or(new.about, |request| request.about);
        let to = new.to.or(request.as_ref().map(|request| request.to)).ok_or_else(|| missing("to"))?;
        let said = request.as_ref().map(|request| request.purpose.clone());
        let purpose = match new.decision {
            GrantDecision::Granted => new.purpose.or(said),
            // Why not is not what it was wanted for.
            GrantDecision::Refused => new.purpose,
        };
        let purpose = purpose.ok_or_else(|| missing("purpose"))?;
        let until = match new.decision {
            GrantDecision::Granted => new.until.or(request.as_ref().and_then(|request| request.until)),
            GrantDecision::Refused => None,
        };
        let row = self.current(author, record, None).await?;
        ensure_not_taken_back(&row)?;
        if until.is_some_and(|until| until <= fresh::now()) {
            return Err(Violations::one("until", "is past: expected an instant to come").into());
        }
        self.ensure_in_roster(to, "to")?;
        if new.decision == GrantDecision::Granted {
            self.ensure_could_go(record, to, until).await?;
        }
        let asked = request.as_ref().map(|_| new.about);
        let marking = match asked {
            Some(request) => answer_marking(request, row.document.marking()),
            None => Marking { releasable_to: [].into(), ..row.document.marking().clone() },
        };
        let grant = Grant { marking, about: record, request: asked, to, decision: new.decision, purpose, until };
        Document::Grant(grant.clone()).check()?;
        let end = until.map(|until| format!(", until {until}")).unwrap_or_default();
        let summary = match new.decision {
            GrantDecision::Granted => format!("release {record} onward to {to}{end}"),
            GrantDecision::Refused => format!("refuse to release {record} onward to {to}"),
        };
        let action = Action::Grant {
            grant: Box::new(grant),
            id: fresh::record(self.member(), RecordKind::Grant)?,
            version: row.version,
            grant_version: fresh::version()?,
            salts: [fresh::salt()?, fresh::salt()?],
        };
        self.ask(author, action, summary, Some(row.version)).await
    }

    /// A request that reached this node and is about a record of this member.
    async fn request(&self, person: &SpiffeId, id: RecordId) -> Result<Request, AppError> {
        let RecordView::Received(copy) = self.record(person, id).await? else {
            return Err(
                Violations::one("request", format!("{id} is this member's own: its originator answers it")).into()
            );
        };
        match copy.body {
            Some(ReadBody::Request(request)) if request.about.originator() == self.member() => Ok(request),
            _ => Err(AppError::NotFound("request")),
        }
    }

    /// Says beforehand what would keep an onward release from going anywhere.
    async fn ensure_could_go(&self, record: RecordId, to: MemberId, until: Option<Timestamp>) -> Result<(), AppError> {
        let party = self.party(to).ok_or(AppError::NotFound("partner"))?;
        let found = self.store.outbox().candidates(to, &[record]).await.map_err(InternalError::Store)?;
        let candidate = found.first().ok_or(AppError::NotFound("record"))?;
        let share = Share { until, granted: true };
        let header = self.candidate_header(candidate);
        let explained = self.policies.load().explain(self.member(), &party, &header, Some(&share), fresh::now());
        let level = self.policies.load().level(self.member(), &party, &header, Some(&share), fresh::now());
        if level.action.is_some() {
            return Ok(());
        }
        let missing = explained.missing.join("; ");
        Err(AppError::Precondition {
            reason: "NOT_RELEASABLE",
            problem: format!("{record} would not go to {to}: {missing}"),
        })
    }

    pub(crate) async fn grant(
        &self,
        author: &SpiffeId,
        grant: &Grant,
        ids: (RecordId, VersionId, VersionId),
        salts: [Hex32; 2],
    ) -> Result<String, AppError> {
        let (id, version, grant_version) = ids;
        let now = fresh::now();
        let document = Document::Grant(grant.clone());
        let new = NewRecord {
            id,
            version: grant_version,
            document,
            author: author.clone(),
            at: now,
            salts,
            request_id: None,
        };
        let mut shares = Vec::new();
        if grant.decision == GrantDecision::Granted {
            let onward = Some(Onward { grant: id, purpose: grant.purpose.clone() });
            shares.push(NewShare {
                records: vec![(grant.about, version)],
                parties: [grant.to].into(),
                terms: StoredShare { until: grant.until, onward },
                at: now,
            });
        }
        if let Some(request) = grant.request {
            shares.push(NewShare {
                records: vec![(id, grant_version)],
                parties: [request.originator()].into(),
                terms: StoredShare::PLAIN,
                at: now,
            });
        }
        self.store.records().create_and_share(vec![new], shares).await?;
        let said = match grant.decision {
            GrantDecision::Granted => format!("{} is released onward to {} by {id}", grant.about, grant.to),
            GrantDecision::Refused => format!("{} is not released to {}: {id}", grant.about, grant.to),
        };
        Ok(said)
    }

    /// Requests that this member made and those that reached it, each with its answer, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn onward_releases(&self, person: &SpiffeId) -> Result<Vec<OnwardView>, AppError> {
        let now = fresh::now();
        let grants = self.all(person, RecordKind::Grant).await?;
        let grants: Vec<(RecordId, Grant)> = grants
            .into_iter()
            .filter_map(|(id, body)| match body {
                ReadBody::Grant(grant) => Some((id, grant)),
                _ => None,
            })
            .collect();
        let mut answers: BTreeMap<RecordId, (RecordId, &Grant)> = BTreeMap::new();
        for (id, grant) in grants.iter().rev() {
            if let Some(request) = grant.request {
                answers.insert(request, (*id, grant));
            }
        }
        let mut views = Vec::new();
        for (id, body) in self.all(person, RecordKind::Request).await? {
            let ReadBody::Request(request) = body else { continue };
            let answer = answers.get(&id);
            views.push(OnwardView {
                request: Some(id),
                grant: answer.map(|(grant, _)| *grant),
                record: request.about,
                by: id.originator(),
                to: answer.map_or(request.to, |(_, grant)| grant.to),
                purpose: answer.map_or(request.purpose, |(_, grant)| grant.purpose.clone()),
                until: answer.map_or(request.until, |(_, grant)| grant.until),
                state: answer.map_or(OnwardState::Open, |(_, grant)| state_of(grant, now)),
            });
        }
        let unasked = grants.iter().filter(|(_, grant)| grant.request.is_none());
        views.extend(unasked.map(|(id, grant)| OnwardView {
            request: None,
            grant: Some(*id),
            record: grant.about,
            by: id.originator(),
            to: grant.to,
            purpose: grant.purpose.clone(),
            until: grant.until,
            state: state_of(grant, now),
        }));
        Ok(views)
    }

    /// The bodies of every record of a kind that a person may see.
    async fn all(&self, person: &SpiffeId, kind: RecordKind) -> Result<Vec<(RecordId, ReadBody)>, AppError> {
        let page = self.records(person, Some(kind), None, "", LIST_MAX).await?;
        let read = |view: RecordView| match view {
            RecordView::Own(own) => Some((own.row.id, own.row.document.read_body())),
            RecordView::Received(copy) => {
                let ReceivedCopy { record, body, .. } = *copy;
                body.map(|body| (record, body))
            }
        };
        Ok(page.records.into_iter().filter_map(read).collect())
    }

    fn ensure_in_roster(&self, party: MemberId, field: &str) -> Result<(), AppError> {
        if party == self.member() {
            return Err(Violations::one(field, format!("{party} is this member itself")).into());
        }
        if self.party(party).is_none() {
            return Err(Violations::one(field, format!("{party} is not in this federation's roster")).into());
        }
        Ok(())
    }
}

fn state_of(grant: &Grant, now: Timestamp) -> OnwardState {
    match grant.decision {
        GrantDecision::Refused => OnwardState::Refused,
        GrantDecision::Granted if grant.until.is_some_and(|until| until <= now) => OnwardState::Ended,
        GrantDecision::Granted => OnwardState::Granted,
    }
}
