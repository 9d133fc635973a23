//! `AuditService`.

use comity_app::{AccessExport, AccessWatch, LOG_RESOURCE, Looker, Reach, ReadLeaf};
use comity_core::access::{Outcome, Touched};
use comity_core::{MemberId, Role, SpiffeId};
use comity_proto::v1;
use comity_store::access_log::{AccessFilter, ActionFilter};
use futures::stream::{once, try_unfold};
use futures::{StreamExt as _, TryStreamExt as _};
use tonic::{Request, Response, Status};

use crate::caller::{AccessScope, context};
use crate::convert::{self, parse_optional};
use crate::services::chunks::{Answers, chunks, within};
use crate::services::service;
use crate::{status, witnessing};

service!(Audits);

/// The most contradictions of one answer.
const CONFLICTS_MAX: usize = 1_000;
/// The most leaves of one answer.
const LEAVES_MAX: usize = 1_000;
/// No action or resource in the log is longer, in bytes.
const WORDS_MAX_BYTES: usize = 512;

fn outcome(text: &str) -> Result<Option<Outcome>, Status> {
    match text {
        "" => Ok(None),
        "allowed" => Ok(Some(Outcome::Allowed)),
        "denied" => Ok(Some(Outcome::Denied)),
        "failed" => Ok(Some(Outcome::Failed)),
        _ => Err(status::field("filter.outcome", "expected allowed, denied or failed")),
    }
}

/// What the log is searched for, in the auditor's own words: each look into the log says so in the log.
fn words(filter: &v1::AccessRecordFilter) -> String {
    let texts = [
        ("person", &filter.who),
        ("role", &filter.role),
        ("partner", &filter.member),
        ("record", &filter.resource),
        ("action", &filter.action),
        ("outcome", &filter.outcome),
    ];
    let mut words: Vec<String> =
        texts.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}={text}")).collect();
    for (name, at) in [("since", filter.since), ("until", filter.until)] {
        if let Ok(Some(at)) = convert::from_time(name, at) {
            words.push(format!("{name}={at}"));
        }
    }
    words.join(" ")
}

fn text(field: &str, text: String) -> Result<Option<String>, Status> {
    if text.len() > WORDS_MAX_BYTES {
        let problem = format!("has {} bytes: nothing in the log has more than {WORDS_MAX_BYTES} there", text.len());
        return Err(status::field(field, problem));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Notes what is looked for, whether it can be or not; then reads it.
fn filter(asked: Option<v1::AccessRecordFilter>, scope: &AccessScope) -> Result<(AccessFilter, String), Status> {
    let asked = asked.unwrap_or_default();
    let words = words(&asked);
    let looked = Touched::resource(LOG_RESOURCE);
    scope.touch(if words.is_empty() { looked } else { looked.by(words.as_str()) });
    let filter = AccessFilter {
        who: parse_optional::<SpiffeId>("filter.who", &asked.who)?,
        role: parse_optional::<Role>("filter.role", &asked.role)?,
        member: parse_optional::<MemberId>("filter.member", &asked.member)?,
        action: text("filter.action", asked.action)?.map(|action| ActionFilter::from(action.as_str())),
        outcome: outcome(&asked.outcome)?,
        resource: text("filter.resource", asked.resource)?,
        since: convert::from_time("filter.since", asked.since)?,
        until: convert::from_time("filter.until", asked.until)?,
    };
    Ok((filter, words))
}

#[tonic::async_trait]
impl v1::audit_service_server::AuditService for Audits {
    async fn list_access_records(
        &self,
        request: Request<v1::ListAccessRecordsRequest>,
    ) -> Result<Response<v1::ListAccessRecordsResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let (filter, _) = filter(request.filter, &scope)?;
        let size = convert::page_size(request.page_size)?;
        let before = parse_optional::<u64>("page_token", &request.page_token)?;
        let (found, more) = self.node.access_records(&filter, before, size).await.map_err(status::of)?;
        let next_page_token = more.map(|before| before.to_string()).unwrap_or_default();
        let records = found.into_iter().map(|(leaf, record)| convert::access_record(leaf, record)).collect();
        Ok(Response::new(v1::ListAccessRecordsResponse {
            records,
            next_page_token,
            archived: self.node.first_unarchived(),
        }))
    }

    type WatchAccessRecordsStream = Answers<v1::WatchAccessRecordsResponse>;

    async fn watch_access_records(
        &self,
        request: Request<v1::WatchAccessRecordsRequest>,
    ) -> Result<Response<Self::WatchAccessRecordsStream>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::WatchAccessRecordsRequest { filter: asked, from, follow, only_new } = request.into_inner();
        let (filter, looked_for) = filter(asked, &scope)?;
        let looker = Looker {
            who: caller.peer.id.clone(),
            from: caller.remote.to_string(),
            request_id: caller.request_id.clone(),
            looked_for,
        };
        let reach = Reach { from, follow, only_new };
        let watch = self.node.watch_access_log(looker, filter, reach).await.map_err(status::of)?;
        let (next, archived) = (watch.position(), self.node.first_unarchived());
        let begins = v1::WatchAccessRecordsResponse { next, archived, ..Default::default() };
        let answers = try_unfold(Some(watch), |watch: Option<AccessWatch>| async move {
            let Some(mut watch) = watch else { return Ok(None) };
            let Some(batch) = watch.next().await? else {
                let (next, done) = (watch.position(), watch.is_done());
                return Ok(Some((v1::WatchAccessRecordsResponse { next, done, ..Default::default() }, None)));
            };
            let records = batch.records.into_iter().map(|(leaf, record)| convert::access_record(leaf, record));
            let answer =
                v1::WatchAccessRecordsResponse { records: records.collect(), next: batch.next, ..Default::default() };
            Ok(Some((answer, Some(watch))))
        });
        let answers = once(async { Ok(begins) }).chain(answers.map_err(status::of));
        Ok(Response::new(within(caller.lifetime, answers)))
    }

    async fn read_access_leaves(
        &self,
        request: Request<v1::ReadAccessLeavesRequest>,
    ) -> Result<Response<v1::ReadAccessLeavesResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource(LOG_RESOURCE));
        let v1::ReadAccessLeavesRequest { first, limit } = request.into_inner();
        let limit = usize::try_from(limit).ok().filter(|l| *l > 0).unwrap_or(LEAVES_MAX).min(LEAVES_MAX);
        let found = self.node.access_leaves(first, limit).await.map_err(status::of)?;
        let leaves = found
            .into_iter()
            .map(|(leaf, read)| match read {
                ReadLeaf::Here(l) => v1::AccessLeaf {
                    leaf,
                    salt: l.salt.0.to_vec(),
                    record: l.record,
                    annex: l.annex,
                    ..Default::default()
                },
                ReadLeaf::Archived(hash) => {
                    v1::AccessLeaf { leaf, archived_hash: hash.0.to_vec(), ..Default::default() }
                }
            })
            .collect();
        Ok(Response::new(v1::ReadAccessLeavesResponse { leaves }))
    }

    async fn list_archived_segments(
        &self,
        request: Request<v1::ListArchivedSegmentsRequest>,
    ) -> Result<Response<v1::ListArchivedSegmentsResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource(LOG_RESOURCE).by("archives"));
        let found = self.node.archived_segments(request.into_inner().from).await.map_err(status::of)?;
        let segments = found.into_iter().map(|view| convert::segment(view.segment, view.is_there)).collect();
        Ok(Response::new(v1::ListArchivedSegmentsResponse { segments }))
    }

    async fn list_witness_conflicts(
        &self,
        request: Request<v1::ListWitnessConflictsRequest>,
    ) -> Result<Response<v1::ListWitnessConflictsResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("witness-conflicts"));
        let found = self.node.witness_conflicts(CONFLICTS_MAX).await.map_err(status::of)?;
        let conflicts = found.into_iter().map(|conflict| v1::WitnessConflict {
            member: conflict.member.to_string(),
            why: conflict.why,
            known: conflict.known.to_bytes(),
            offered: conflict.offered.to_bytes(),
            time: convert::time(conflict.at),
        });
        Ok(Response::new(v1::ListWitnessConflictsResponse { conflicts: conflicts.collect() }))
    }

    async fn get_access_checkpoint(
        &self,
        request: Request<v1::GetAccessCheckpointRequest>,
    ) -> Result<Response<v1::AccessCheckpoint>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource(LOG_RESOURCE));
        let note = witnessing::offer_head(&self.node).await.map_err(status::of)?;
        let faults = self.node.access_log_faults().await.map_err(status::of)?;
        Ok(Response::new(v1::AccessCheckpoint { note: note.to_bytes(), faults }))
    }

    type ExportAccessLogStream = Answers<v1::ExportAccessLogResponse>;

    async fn export_access_log(
        &self,
        request: Request<v1::ExportAccessLogRequest>,
    ) -> Result<Response<Self::ExportAccessLogStream>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let asked = AccessExport {
            since: convert::from_time("since", request.since)?,
            until: convert::from_time("until", request.until)?,
            party: parse_optional::<MemberId>("party", &request.party)?,
            leaf: request.leaf,
            stretch: None,
            older: request.older,
        };
        if asked.leaf.is_some() && (asked.since.is_some() || asked.until.is_some() || asked.party.is_some()) {
            return Err(status::field("leaf", "goes with neither since, until nor party"));
        }
        // Noted before anything is read: what somebody wanted to take away is known, whether it was there or not.
        scope.touch(Touched::resource("access-log").by(asked.to_string()));
        // Whoever is told of the newest leaves can cosign them; who cannot be reached is waited for no longer than for an answer.
        witnessing::offer_head(&self.node).await.map_err(status::of)?;
        let pieces = self.node.export_access_log(asked).await.map_err(status::of)?;
        let answers = chunks(pieces).map_ok(|chunk| v1::ExportAccessLogResponse { chunk });
        Ok(Response::new(within(caller.lifetime, answers)))
    }
}
