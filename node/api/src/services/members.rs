//! `MemberService`.

use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_proto::v1;
use futures::{StreamExt as _, TryStreamExt as _};
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::chunks::{Answers, chunks, within};
use crate::services::service;
use crate::status;

service!(Members);

#[tonic::async_trait]
impl v1::member_service_server::MemberService for Members {
    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("roster"));
        Ok(Response::new(convert::members(self.node.members())))
    }

    type InviteStream = Answers<v1::InviteResponse>;

    async fn invite(&self, request: Request<v1::InviteRequest>) -> Result<Response<Self::InviteStream>, Status> {
        use v1::invite_response::Part;
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("list"));
        let answer = |part| v1::InviteResponse { part: Some(part) };
        let genesis = answer(Part::Genesis(self.node.genesis_file().to_vec()));
        let export = chunks(self.node.export_list(true).map_err(status::of)?);
        let export = export.map_ok(move |chunk| answer(Part::ExportChunk(chunk)));
        let answers = futures::stream::once(async move { Ok(genesis) }).chain(export);
        Ok(Response::new(within(caller.lifetime, answers)))
    }

    async fn change_keys(&self, request: Request<v1::ChangeKeysRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("keys"));
        let v1::ChangeKeysRequest { command, signatures } = request.into_inner();
        let missing = || status::field("command", "is missing: say what is to change");
        let v1::SignedCommand { payload_type, payload } = command.ok_or_else(missing)?;
        let signatures = signatures
            .into_iter()
            .enumerate()
            .map(|(i, signature)| convert::signature(&format!("signatures[{i}]"), signature))
            .collect::<Result<_, _>>()?;
        let asked = self.node.ask_change_keys(&caller.peer.id, payload_type, payload, signatures).await;
        let asked = asked.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, Timestamp::from_jiff(jiff::Timestamp::now()))))
    }

    async fn submit_signed(
        &self,
        request: Request<v1::SubmitSignedRequest>,
    ) -> Result<Response<v1::SubmitSignedResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("keys"));
        let leaf = self.node.submit_signed(request.into_inner().envelope).await.map_err(status::of)?;
        Ok(Response::new(v1::SubmitSignedResponse { leaf }))
    }
}
