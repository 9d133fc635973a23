//! `RecordService`.

use comity_app::{RecordView, Withdrawal};
use comity_core::access::Touched;
use comity_core::document::Stance;
use comity_core::{MemberId, RecordId, Timestamp, VersionId};
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert::{self, parse, parse_optional};
use crate::services::service;
use crate::status;

service!(Records);

/// Notes a record by the id that was asked for, whether it is there or not.
pub(crate) fn record_id(field: &str, text: &str, scope: &crate::AccessScope) -> Result<RecordId, Status> {
    let id: RecordId = parse(field, text)?;
    scope.touch(Touched::record(id, None));
    Ok(id)
}

/// Which version of a record somebody is shown and, of a partner's, how much of it this member has.
fn seen(record: &RecordView) -> Touched {
    match record {
        RecordView::Own(own) => Touched::record(own.row.id, Some(own.row.version)),
        RecordView::Received(copy) => {
            let views = copy.documents.iter().rev();
            let view = views.filter_map(|document| document.view.level()).next().unwrap_or("discover");
            Touched::record(copy.record, Some(copy.discover.version)).by(view)
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[tonic::async_trait]
impl v1::record_service_server::RecordService for Records {
    async fn create_record(&self, request: Request<v1::CreateRecordRequest>) -> Result<Response<v1::Record>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let kind = convert::kind("kind", request.kind)?.ok_or_else(|| status::field("kind", "is missing"))?;
        let request_id = Some(request.request_id).filter(|id| !id.is_empty());
        let own = self.node.create_record(&caller.peer.id, kind, &request.document, request_id).await;
        let own = own.map_err(status::of)?;
        scope.touch(Touched::record(own.row.id, Some(own.row.version)));
        Ok(Response::new(convert::own_record(own, true)))
    }

    async fn update_record(&self, request: Request<v1::UpdateRecordRequest>) -> Result<Response<v1::Record>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id("id", &request.id, &scope)?;
        let expected: VersionId = parse("etag", &request.etag)?;
        let own = self.node.update_record(&caller.peer.id, id, expected, &request.document).await;
        let own = own.map_err(status::of)?;
        scope.touch(Touched::record(id, Some(own.row.version)));
        Ok(Response::new(convert::own_record(own, true)))
    }

    async fn get_record(&self, request: Request<v1::GetRecordRequest>) -> Result<Response<v1::Record>, Status> {
        let (caller, scope) = context(&request)?;
        let id: RecordId = parse("id", &request.into_inner().id)?;
        let found = self.node.record(&caller.peer.id, id).await;
        // Which version was seen is for whoever asks later who saw what; what was not found has none.
        scope.touch(found.as_ref().map_or_else(|_| Touched::record(id, None), seen));
        let view = found.map_err(status::of)?;
        Ok(Response::new(convert::record(view, true)))
    }

    async fn list_records(
        &self,
        request: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        let kind = convert::kind("kind", request.kind)?;
        let about = parse_optional::<RecordId>("about", &request.about)?;
        let page = self.node.records(&caller.peer.id, kind, about, &request.page_token, size).await;
        let page = page.map_err(status::of)?;
        scope.touch_all(page.records.iter().map(seen));
        let records = page.records.into_iter().map(|record| convert::record(record, false)).collect();
        Ok(Response::new(v1::ListRecordsResponse { records, next_page_token: page.next }))
    }

    async fn share_records(&self, request: Request<v1::ShareRecordsRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let mut records = Vec::with_capacity(request.records.len().min(1_000));
        for (i, record) in request.records.iter().enumerate() {
            let id = record_id(&format!("records[{i}].id"), &record.id, &scope)?;
            records.push((id, parse_optional(&format!("records[{i}].etag"), &record.etag)?));
        }
        let parties = request
            .parties
            .iter()
            .enumerate()
            .map(|(i, party)| parse::<MemberId>(&format!("parties[{i}]"), party))
            .collect::<Result<_, _>>()?;
        let until = convert::from_time("until", request.until)?;
        let asked = self.node.ask_share(&caller.peer.id, records, parties, until).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn give_opinion(&self, request: Request<v1::GiveOpinionRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let about = record_id("about", &request.about, &scope)?;
        let stance: Stance = parse("stance", &request.stance)?;
        let text = Some(request.text).filter(|text| !text.is_empty());
        let asked = self.node.ask_opinion(&caller.peer.id, about, stance, text).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        scope.touch(Touched::resource(&asked.approval.resource));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn table_proposal(
        &self,
        request: Request<v1::TableProposalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id("id", &request.id, &scope)?;
        let expected = parse_optional("etag", &request.etag)?;
        let amends = parse_optional("amends", &request.amends)?;
        let asked = self.node.ask_table(&caller.peer.id, id, expected, amends).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn withdraw_record(
        &self,
        request: Request<v1::WithdrawRecordRequest>,
    ) -> Result<Response<v1::WithdrawRecordResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id("id", &request.id, &scope)?;
        let expected = parse_optional("etag", &request.etag)?;
        let done = self.node.withdraw_record(&caller.peer.id, id, expected).await.map_err(status::of)?;
        use v1::withdraw_record_response::Result as Answer;
        let result = match done {
            Withdrawal::Done(own) => Answer::Record(convert::own_record(*own, true)),
            Withdrawal::Waits(asked) => {
                scope.touch(Touched::resource(&asked.approval.id));
                Answer::Approval(convert::approval(*asked, true, now()))
            }
        };
        Ok(Response::new(v1::WithdrawRecordResponse { result: Some(result) }))
    }
}
