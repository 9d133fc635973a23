//! `RecallService`.

use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::records::record_id;
use crate::services::service;
use crate::status;

/// The most recalls that one list shows, of each sort.
const LIST_MAX: usize = 200;

service!(Recalls);

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[tonic::async_trait]
impl v1::recall_service_server::RecallService for Recalls {
    async fn start_recall(&self, request: Request<v1::StartRecallRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let record = record_id("record", &request.record, &scope)?;
        let asked = self.node.ask_recall(&caller.peer.id, record, request.reason).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn get_recall(&self, request: Request<v1::GetRecallRequest>) -> Result<Response<v1::Recall>, Status> {
        let (caller, scope) = context(&request)?;
        let id = record_id("id", &request.into_inner().id, &scope)?;
        let found = self.node.recall_status(&caller.peer.id, id).await.map_err(status::of)?;
        Ok(Response::new(convert::recall(found, now())))
    }

    async fn list_recalls(
        &self,
        request: Request<v1::ListRecallsRequest>,
    ) -> Result<Response<v1::ListRecallsResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let made = self.node.recalls_made(&caller.peer.id, LIST_MAX).await.map_err(status::of)?;
        let received = self.node.recalls_received(LIST_MAX).await.map_err(status::of)?;
        scope.touch_all(made.iter().map(|recall| Touched::record(recall.recall.recall, None)));
        scope.touch_all(received.iter().map(|recall| Touched::record(recall.recall, None)));
        let made = made.into_iter().map(|recall| convert::recall(recall, now())).collect();
        let received = received.into_iter().map(convert::received_recall).collect();
        Ok(Response::new(v1::ListRecallsResponse { made, received }))
    }

    async fn hold_copy(&self, request: Request<v1::HoldCopyRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let record = record_id("record", &request.record, &scope)?;
        let because = Some(request.because).filter(|because| !because.is_empty());
        let asked = self.node.ask_hold_copy(&caller.peer.id, record, because).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn answer_cannot_comply(
        &self,
        request: Request<v1::AnswerCannotComplyRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let recall = record_id("recall", &request.recall, &scope)?;
        let asked = self.node.ask_cannot_comply(&caller.peer.id, recall, request.because).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }
}
