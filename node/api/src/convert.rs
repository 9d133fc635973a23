//! Wire types in and out. Parsing names the field; nothing of prost goes further than this crate.

mod ballots;
mod lists;
mod members;
mod policies;
mod records;

use std::str::FromStr;

use comity_app::{ApprovalView, PolicyView, ToSign};
use comity_core::access::{AccessRecord, ArchivedSegment};
use comity_core::dsse::EnvelopeSignature;
use comity_core::{MemberId, Timestamp};
use comity_proto::v1;
use comity_store::approvals::ApprovalState;
use tonic::Status;

pub(crate) use self::ballots::{ballot, from_choice};
pub(crate) use self::lists::{entry, from_measure, list_status, publication};
pub(crate) use self::members::members;
pub(crate) use self::policies::{case_outcome, explanation, simulation};
pub(crate) use self::records::{kind, onward_release, own_record, recall, received_recall, record};
use crate::status;

/// A field that must parse.
pub(crate) fn parse<T>(field: &str, text: &str) -> Result<T, Status>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| status::field(field, e.to_string()))
}

/// A field that may be empty.
pub(crate) fn parse_optional<T>(field: &str, text: &str) -> Result<Option<T>, Status>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

/// A page size within its bounds. AIP-158: 0 is the default, what is too large is cut.
pub(crate) fn page_size(size: i32) -> Result<usize, Status> {
    match size {
        0 => Ok(50),
        1.. => Ok(usize::try_from(size).unwrap_or(200).min(200)),
        _ => Err(status::field("page_size", "is negative: expected 0 to 200")),
    }
}

pub(crate) fn time(at: Timestamp) -> Option<prost_types::Timestamp> {
    let micros = at.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    Some(prost_types::Timestamp { seconds: at.as_seconds(), nanos })
}

pub(crate) fn from_time(field: &str, at: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Status> {
    let Some(at) = at else { return Ok(None) };
    let micros = at.seconds.checked_mul(1_000_000).and_then(|s| s.checked_add(i64::from(at.nanos) / 1_000));
    let at = micros.and_then(Timestamp::from_micros).ok_or_else(|| status::field(field, "is no instant"))?;
    Ok(Some(at))
}

fn names(members: impl IntoIterator<Item = MemberId>) -> Vec<String> {
    members.into_iter().map(|m| m.to_string()).collect()
}

pub(crate) fn approval(view: ApprovalView, whole: bool, now: Timestamp) -> v1::Approval {
    let a = view.approval;
    let (command, signatures_needed, signed_by) = match view.signing {
        None => (None, 0, Vec::new()),
        Some(signing) => {
            let needed = i32::try_from(signing.needed).unwrap_or(i32::MAX);
            (signing.command.filter(|_| whole), needed, signing.signed_by)
        }
    };
    let sign = |ToSign { payload_type, payload, tabled }| {
        (v1::SignedCommand { payload_type, payload }, tabled.map(ballots::tabled))
    };
    let (to_sign, tabled) = command.map(sign).unzip();
    let state = match a.state {
        ApprovalState::Pending if a.expires <= now => v1::ApprovalState::Expired,
        ApprovalState::Pending => v1::ApprovalState::Pending,
        ApprovalState::Running => v1::ApprovalState::Running,
        ApprovalState::Done => v1::ApprovalState::Done,
        ApprovalState::Refused => v1::ApprovalState::Refused,
        ApprovalState::Failed => v1::ApprovalState::Failed,
    };
    v1::Approval {
        id: a.id,
        kind: a.kind.as_str().to_owned(),
        state: state.into(),
        author: a.author.to_string(),
        summary: a.summary,
        resource: a.resource,
        create_time: time(a.created),
        expire_time: time(a.expires),
        decided_by: a.decided_by.map(|id| id.to_string()).unwrap_or_default(),
        decide_time: a.decided.and_then(time),
        outcome: a.outcome.unwrap_or_default(),
        details: if whole { a.payload } else { Vec::new() },
        to_sign,
        signatures_needed,
        signed_by,
        tabled: tabled.flatten(),
    }
}

/// A person's signature, not verified yet.
pub(crate) fn signature(field: &str, signature: v1::PersonalSignature) -> Result<EnvelopeSignature, Status> {
    let keyid = parse(&format!("{field}.keyid"), &signature.keyid)?;
    let sig = signature.sig.try_into();
    let sig = sig.map_err(|_| status::field(&format!("{field}.sig"), "expected 64 bytes of Ed25519"))?;
    Ok(EnvelopeSignature { keyid, sig })
}

pub(crate) fn policy(view: PolicyView, whole: bool) -> v1::Policy {
    let p = view.applied;
    v1::Policy {
        party: p.party.to_string(),
        version: i64::try_from(p.ordinal).unwrap_or(i64::MAX),
        sha256: p.sha256.to_string(),
        author: p.author.to_string(),
        approver: p.approver.to_string(),
        apply_time: time(p.at),
        text: if whole { p.text } else { String::new() },
        policy_ids: view.ids,
    }
}

/// A version that was in force, or clearances.
pub(crate) fn policy_version(applied: comity_store::policies::PolicyVersion, whole: bool) -> v1::Policy {
    policy(PolicyView { applied, ids: Vec::new() }, whole)
}

pub(crate) fn access_record(leaf: u64, record: AccessRecord) -> v1::AccessRecord {
    let touched = record.touched.into_iter().map(|t| v1::TouchedResource {
        resource: t.resource,
        version: t.version.map(|v| v.to_string()).unwrap_or_default(),
        view: t.view.unwrap_or_default(),
        because: t.because,
    });
    v1::AccessRecord {
        leaf,
        time: time(record.at),
        role: record.who.as_ref().map(|w| w.role().as_str().to_owned()).unwrap_or_default(),
        who: record.who.map(|w| w.to_string()).unwrap_or_default(),
        member: record.member.map(|m| m.to_string()).unwrap_or_default(),
        from: record.from,
        action: record.action,
        outcome: record.outcome.as_str().to_owned(),
        reason: record.reason.unwrap_or_default(),
        touched: touched.collect(),
        request_id: record.request_id.unwrap_or_default(),
        count: record.count,
    }
}

/// Leaves that were archived.
pub(crate) fn segment(segment: ArchivedSegment, is_there: bool) -> v1::ArchivedSegment {
    let ArchivedSegment { first, end, file, digest } = segment;
    v1::ArchivedSegment { first, end, file, digest: digest.0.to_vec(), is_there }
}
