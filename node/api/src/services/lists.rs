//! `ListService`.

use std::pin::Pin;

use comity_core::access::Touched;
use comity_core::list::EntryId;
use comity_proto::v1;
use futures::Stream;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::service;
use crate::status;

service!(Lists);

/// How much of an export goes into one message, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

impl Lists {
    fn status(&self) -> v1::ListStatus {
        let genesis = self.node.genesis();
        convert::list_status(self.node.list_view(), genesis.federation().to_string(), genesis.document().name.clone())
    }
}

#[tonic::async_trait]
impl v1::list_service_server::ListService for Lists {
    async fn get_entry(&self, request: Request<v1::GetEntryRequest>) -> Result<Response<v1::Entry>, Status> {
        let (_, scope) = context(&request)?;
        let id: EntryId = convert::parse("id", &request.into_inner().id)?;
        scope.touch(Touched::resource(id.to_string()));
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
        let found = self.node.entries(after, size).await.map_err(status::of)?;
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

    type ExportListStream = Pin<Box<dyn Stream<Item = Result<v1::ExportListResponse, Status>> + Send>>;

    async fn export_list(
        &self,
        request: Request<v1::ExportListRequest>,
    ) -> Result<Response<Self::ExportListStream>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("list"));
        let bytes = self.node.export_list(request.into_inner().include_commands).await.map_err(status::of)?;
        let bytes = bytes::Bytes::from(bytes);
        let offsets = (0..bytes.len()).step_by(CHUNK_BYTES);
        let chunks = offsets.map(move |from| {
            let to = (from + CHUNK_BYTES).min(bytes.len());
            Ok(v1::ExportListResponse { chunk: bytes.slice(from..to).to_vec() })
        });
        Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
    }
}
