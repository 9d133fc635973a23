//! `ListService`.

use comity_app::ListWatch;
use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_core::list::EntryId;
use comity_proto::v1;
use futures::TryStreamExt as _;
use futures::stream::try_unfold;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::chunks::{Answers, chunks, within};
use crate::services::service;
use crate::status;

service!(Lists);

impl Lists {
    fn status(&self) -> v1::ListStatus {
        let genesis = self.node.genesis();
        let (federation, name) = (genesis.federation().to_string(), genesis.document().name.clone());
        convert::list_status(self.node.list_view(), self.node.listed_count(), federation, name)
    }
}

/// Notes an entry by the id that was asked for, whether it is there or not.
fn entry_id(field: &str, text: &str, scope: &crate::AccessScope) -> Result<EntryId, Status> {
    let id: EntryId = convert::parse(field, text)?;
    scope.touch(Touched::resource(id.to_string()));
    Ok(id)
}

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[tonic::async_trait]
impl v1::list_service_server::ListService for Lists {
    async fn get_entry(&self, request: Request<v1::GetEntryRequest>) -> Result<Response<v1::Entry>, Status> {
        let (_, scope) = context(&request)?;
        let id = entry_id("id", &request.into_inner().id, &scope)?;
        let entry = self.node.entry(&id).await.map_err(status::of)?;
        Ok(Response::new(convert::entry(entry, true)))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        let after = convert::parse_optional::<EntryId>("page_token", &request.page_token)?;
        let found = self.node.entries(after, request.all, size).await.map_err(status::of)?;
        let next_page_token = match found.last() {
            Some(last) if found.len() >= size => last.entry.id.to_string(),
            _ => String::new(),
        };
        scope.touch_all(found.iter().map(|e| Touched::resource(e.entry.id.to_string())));
        let entries = found.into_iter().map(|e| convert::entry(e, false)).collect();
        Ok(Response::new(v1::ListEntriesResponse { entries, next_page_token, status: Some(self.status()) }))
    }

    async fn get_list_status(
        &self,
        request: Request<v1::GetListStatusRequest>,
    ) -> Result<Response<v1::ListStatus>, Status> {
        context(&request)?;
        Ok(Response::new(self.status()))
    }

    type ExportListStream = Answers<v1::ExportListResponse>;

    async fn export_list(
        &self,
        request: Request<v1::ExportListRequest>,
    ) -> Result<Response<Self::ExportListStream>, Status> {
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("list"));
        let pieces = self.node.export_list(request.into_inner().include_commands).map_err(status::of)?;
        let answers = chunks(pieces).map_ok(|chunk| v1::ExportListResponse { chunk });
        Ok(Response::new(within(caller.lifetime, answers)))
    }

    async fn list_publications(
        &self,
        request: Request<v1::ListPublicationsRequest>,
    ) -> Result<Response<v1::ListPublicationsResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        let from = convert::parse_optional::<u64>("page_token", &request.page_token)?.unwrap_or(0);
        let entry = match request.entry.as_str() {
            "" => None,
            text => Some(entry_id("entry", text, &scope)?),
        };
        if entry.is_none() {
            scope.touch(Touched::resource("list"));
        }
        let found = self.node.publications(from, entry.as_ref(), size).await.map_err(status::of)?;
        let next_page_token = match found.last() {
            Some(last) if found.len() >= size => (last.leaf + 1).to_string(),
            _ => String::new(),
        };
        let publications = found.into_iter().map(convert::publication).collect();
        Ok(Response::new(v1::ListPublicationsResponse { publications, next_page_token }))
    }

    type WatchListStream = Answers<v1::WatchListResponse>;

    async fn watch_list(
        &self,
        request: Request<v1::WatchListRequest>,
    ) -> Result<Response<Self::WatchListStream>, Status> {
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("list"));
        let v1::WatchListRequest { from, agreed_only } = request.into_inner();
        let watch = self.node.watch_list(&caller.peer.id, from, agreed_only).map_err(status::of)?;
        let answers = try_unfold(watch, |mut watch: ListWatch| async move {
            let Some(next) = watch.next().await.map_err(status::of)? else { return Ok(None) };
            let answer = v1::WatchListResponse {
                publication: Some(convert::publication(next.publication)),
                agreed_publications: next.agreed_publications,
            };
            Ok(Some((answer, watch)))
        });
        Ok(Response::new(within(caller.lifetime, answers)))
    }

    async fn attach_measure(
        &self,
        request: Request<v1::AttachMeasureRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let entry = entry_id("entry", &request.entry, &scope)?;
        let missing = || status::field("measure", "is missing: say what is attached");
        let measure = convert::from_measure("measure", request.measure.ok_or_else(missing)?)?;
        let asked = self.node.ask_attach_measure(&caller.peer.id, entry, measure).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn end_measure(&self, request: Request<v1::EndMeasureRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let entry = entry_id("entry", &request.entry, &scope)?;
        let measure = convert::parse("measure", &request.measure)?;
        let ended = convert::parse("ended", &request.ended)?;
        let asked = self.node.ask_end_measure(&caller.peer.id, entry, measure, ended).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn review_entry(&self, request: Request<v1::ReviewEntryRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let entry = entry_id("entry", &request.into_inner().entry, &scope)?;
        let asked = self.node.ask_review(&caller.peer.id, entry).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }
}
