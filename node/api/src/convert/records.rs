//! Records, onward releases and recalls.

use comity_app::{OnwardState, OnwardView, OwnRecord, RecallView, ReceivedCopy, RecordView};
use comity_core::{MemberId, RecordKind, Timestamp};
use comity_proto::v1;
use comity_store::recalls::ReceivedRecall;
use comity_store::records::{RecordState, StoredShare};
use tonic::Status;

use super::time;
use crate::status;

/// A kind; nothing where it is unspecified.
pub(crate) fn kind(field: &str, number: i32) -> Result<Option<RecordKind>, Status> {
    use v1::RecordKind as Wire;
    Ok(Some(match Wire::try_from(number) {
        Ok(Wire::Unspecified) => return Ok(None),
        Ok(Wire::Proposal) => RecordKind::Proposal,
        Ok(Wire::Opinion) => RecordKind::Opinion,
        Ok(Wire::Incident) => RecordKind::Incident,
        Ok(Wire::Evidence) => RecordKind::Evidence,
        Ok(Wire::Request) => RecordKind::Request,
        Ok(Wire::Grant) => RecordKind::Grant,
        Ok(Wire::Recall) => RecordKind::Recall,
        Err(_) => return Err(status::field(field, format!("{number} is no kind of record that this node knows"))),
    }))
}

fn wire_kind(kind: RecordKind) -> i32 {
    use v1::RecordKind as Wire;
    match kind {
        RecordKind::Proposal => Wire::Proposal,
        RecordKind::Opinion => Wire::Opinion,
        RecordKind::Incident => Wire::Incident,
        RecordKind::Evidence => Wire::Evidence,
        RecordKind::Request => Wire::Request,
        RecordKind::Grant => Wire::Grant,
        RecordKind::Recall => Wire::Recall,
    }
    .into()
}

pub(crate) fn own_record(own: OwnRecord, whole: bool) -> v1::Record {
    let row = own.row;
    let state = match row.state {
        _ if row.recalled.is_some() => v1::RecordState::Recalled,
        RecordState::Withdrawn => v1::RecordState::Withdrawn,
        _ if own.ballot.is_some() => v1::RecordState::Tabled,
        RecordState::Draft => v1::RecordState::Draft,
        RecordState::Shared => v1::RecordState::Shared,
        RecordState::Tabled => v1::RecordState::Tabled,
    };
    v1::Record {
        id: row.id.to_string(),
        kind: wire_kind(row.id.kind()),
        originator: row.id.originator().to_string(),
        state: state.into(),
        etag: row.version.to_string(),
        title: row.document.title(),
        banner: row.document.marking().to_string(),
        document: if whole { row.document.to_json() } else { Vec::new() },
        views: Vec::new(),
        author: row.author.to_string(),
        create_time: time(row.created),
        update_time: time(row.updated),
        shares: row.shares.into_iter().map(share).collect(),
        ballot: own.ballot.map(|b| b.to_string()).unwrap_or_default(),
        about: row.document.about().map(|about| about.to_string()).unwrap_or_default(),
        until: None,
        purpose: String::new(),
    }
}

fn share((party, share): (MemberId, StoredShare)) -> v1::Share {
    let (grant, purpose) = share.onward.map(|onward| (onward.grant.to_string(), onward.purpose)).unwrap_or_default();
    v1::Share { party: party.to_string(), until: share.until.and_then(time), grant, purpose }
}

fn received_record(copy: ReceivedCopy, whole: bool) -> v1::Record {
    let views = copy.documents.iter().map(|document| v1::ViewDocument {
        view: document.view.as_str().to_owned(),
        document: document.text.clone().into_bytes(),
    });
    let about = copy.body.as_ref().and_then(|body| body.about());
    v1::Record {
        id: copy.record.to_string(),
        kind: wire_kind(copy.record.kind()),
        originator: copy.record.originator().to_string(),
        state: v1::RecordState::Received.into(),
        etag: copy.discover.version.to_string(),
        title: copy.body.as_ref().map(|body| body.title()).unwrap_or_default(),
        banner: copy.discover.marking.to_string(),
        document: Vec::new(),
        views: if whole { views.collect() } else { Vec::new() },
        author: String::new(),
        create_time: time(copy.received),
        update_time: time(copy.received),
        shares: Vec::new(),
        ballot: String::new(),
        about: about.map(|about| about.to_string()).unwrap_or_default(),
        until: copy.discover.until().and_then(time),
        purpose: copy.discover.terms.and_then(|terms| terms.purpose).unwrap_or_default(),
    }
}

pub(crate) fn record(view: RecordView, whole: bool) -> v1::Record {
    match view {
        RecordView::Own(own) => own_record(*own, whole),
        RecordView::Received(copy) => received_record(*copy, whole),
    }
}

pub(crate) fn onward_release(view: OnwardView) -> v1::OnwardRelease {
    let state = match view.state {
        OnwardState::Open => v1::ReleaseState::Open,
        OnwardState::Granted => v1::ReleaseState::Granted,
        OnwardState::Refused => v1::ReleaseState::Refused,
        OnwardState::Ended => v1::ReleaseState::Ended,
    };
    v1::OnwardRelease {
        request: view.request.map(|id| id.to_string()).unwrap_or_default(),
        grant: view.grant.map(|id| id.to_string()).unwrap_or_default(),
        record: view.record.to_string(),
        requested_by: view.by.to_string(),
        to: view.to.to_string(),
        purpose: view.purpose,
        until: view.until.and_then(time),
        state: state.into(),
    }
}

pub(crate) fn recall(view: RecallView, now: Timestamp) -> v1::Recall {
    let standings: Vec<&str> = (0..view.recall.parties.len()).map(|party| view.standing(party, now)).collect();
    let RecallView { recall, answers } = view;
    let parties = recall.parties.into_iter().zip(answers).zip(standings).map(|((party, said), standing)| {
        let (because, backup_days) = said.map(|said| (said.because, said.backup_days)).unwrap_or_default();
        v1::RecallParty {
            party: party.party.to_string(),
            standing: standing.to_owned(),
            because: because.unwrap_or_default(),
            backup_days,
            answer_time: party.answered.and_then(time),
            answer: party.envelope.unwrap_or_default(),
        }
    });
    v1::Recall {
        id: recall.recall.to_string(),
        record: recall.record.to_string(),
        parties: parties.collect(),
        reason: recall.reason,
        author: recall.author.to_string(),
        start_time: time(recall.started),
    }
}

pub(crate) fn received_recall(recall: ReceivedRecall) -> v1::ReceivedRecall {
    v1::ReceivedRecall {
        id: recall.recall.to_string(),
        record: recall.record.to_string(),
        originator: recall.origin.to_string(),
        receive_time: time(recall.received),
        answer: recall.answer.as_str().to_owned(),
        deliver_time: recall.delivered.and_then(time),
    }
}
