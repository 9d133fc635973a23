//! One member's operator, who reads the list at their own node.

use std::time::Duration;

use comity_cli::demo::federation::{Federation, Seat};
use comity_core::Role;
use comity_proto::v1;
use comity_proto::v1::list_service_client::ListServiceClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::Problem;
use crate::federation::{certificate, dial_lazily};

const PATIENCE: Duration = Duration::from_secs(10);

/// One member's operator, who reads the list at their own node.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Whose.
    pub member: comity_core::MemberId,
    list: ListServiceClient<Channel>,
}

impl Reader {
    /// An operator of the member that has this seat.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn at(federation: &Federation, seat: &Seat) -> Result<Self, Problem> {
        let path = certificate(federation, seat.member.as_str(), Role::Operator, "desk-1");
        let channel = dial_lazily(federation, &seat.operator, seat.member, &path)?;
        Ok(Self { member: seat.member, list: ListServiceClient::new(channel) })
    }

    /// How the list stands.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn status(&self) -> Result<v1::ListStatus, Status> {
        let mut list = self.list.clone();
        let answer = tokio::time::timeout(PATIENCE, list.get_list_status(v1::GetListStatusRequest {})).await;
        Ok(answer.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner())
    }

    /// How the list stands as far as the node knows, whether or not it has caught up.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn known_status(&self) -> Result<v1::ListStatus, Status> {
        let mut request = Request::new(v1::GetListStatusRequest {});
        request.metadata_mut().insert("comity-read", MetadataValue::from_static("stale"));
        let mut list = self.list.clone();
        let answer = tokio::time::timeout(PATIENCE, list.get_list_status(request)).await;
        Ok(answer.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner())
    }

    /// The public log from a leaf on, and what is added to it.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn watch(&self, from: u64, agreed_only: bool) -> Result<Streaming<v1::WatchListResponse>, Status> {
        let request = v1::WatchListRequest { from, agreed_only };
        Ok(self.list.clone().watch_list(request).await?.into_inner())
    }

    /// The agreed list with the whole command log, as a file.
    ///
    /// # Errors
    /// Nothing is agreed, or the node does not answer.
    pub async fn export(&self) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::new();
        let request = v1::ExportListRequest { include_commands: true };
        let mut chunks = self.list.clone().export_list(request).await?.into_inner();
        while let Some(part) = chunks.message().await? {
            bytes.extend(part.chunk);
        }
        Ok(bytes)
    }
}
