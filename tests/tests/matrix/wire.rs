//! One call as it goes over the wire: any method, any bytes, and everything that came back.

use std::time::Duration;

use comity_cli::demo::federation::Federation;
use comity_core::Role;
use comity_core::access::Outcome;
use comity_core::dsse::Envelope;
use comity_proto::v1;
use comity_tests::federation::{certificate, dial};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// Longer than a call may take anywhere.
const DEADLINE: Duration = Duration::from_secs(40);
/// What is answered by a stream: its first message is looked at.
const STREAMS: &[&str] = &[
    "ListService/ExportList",
    "ListService/WatchList",
    "AuditService/WatchAccessRecords",
    "MemberService/Invite",
    "AuditService/ExportAccessLog",
    "PeerService/Exchange",
    "ConsensusService/ReadCommands",
];

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// All that a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: Code,
    message: String,
    details: Vec<u8>,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    reason: String,
    fields: Vec<String>,
}

impl Answer {
    fn ok(headers: &MetadataMap, body: Vec<u8>) -> Self {
        Self {
            code: Code::Ok,
            message: String::new(),
            details: Vec::new(),
            headers: sorted(headers),
            body,
            reason: String::new(),
            fields: Vec::new(),
        }
    }

    fn refused(status: &Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
            headers: sorted(status.metadata()),
            body: Vec::new(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            fields: violations.into_iter().map(|violation| violation.field).collect(),
        }
    }

    /// As the access log has it.
    pub fn recorded(&self) -> (Outcome, Option<String>) {
        let outcome = match self.code {
            Code::Ok => return (Outcome::Allowed, None),
            Code::PermissionDenied | Code::Unauthenticated | Code::NotFound | Code::Unimplemented => Outcome::Denied,
            _ => Outcome::Failed,
        };
        let reason = if self.reason.is_empty() { format!("{:?}", self.code) } else { self.reason.clone() };
        (outcome, Some(reason))
    }

    /// As the table has it: `shows` where any of these ids is in what was answered.
    pub fn outcome(&self, ids: &[&str]) -> String {
        let names = |id: &&str| !id.is_empty() && self.body.windows(id.len()).any(|part| part == id.as_bytes());
        match (self.code, self.reason.as_str()) {
            (Code::Ok, _) if ids.iter().any(names) => "shows".to_owned(),
            (Code::Ok, _) => "ok".to_owned(),
            (code, "") => format!("{code:?}"),
            (_, "FIELD_INVALID") => format!("FIELD_INVALID {}", self.fields.join(" ")),
            (_, reason) => reason.to_owned(),
        }
    }

    /// With one id in the place of another, of the same length.
    pub fn with(mut self, id: &str, other: &str) -> Self {
        assert_eq!(id.len(), other.len());
        self.message = self.message.replace(id, other);
        for bytes in [&mut self.details, &mut self.body] {
            let mut at = 0;
            while let Some(found) = bytes[at..].windows(id.len()).position(|part| part == id.as_bytes()) {
                bytes[at + found..at + found + id.len()].copy_from_slice(other.as_bytes());
                at += found + id.len();
            }
        }
        self
    }
}

/// All of them but what time it is.
fn sorted(headers: &MetadataMap) -> Vec<(String, String)> {
    let headers = headers.clone().into_headers();
    let said = headers.iter().filter(|(name, _)| *name != http::header::DATE);
    let mut all: Vec<_> = said.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    all.sort();
    all
}

/// Calls a method with these bytes.
pub async fn call(channel: &Channel, method: &str, message: Vec<u8>) -> Answer {
    match tokio::time::timeout(DEADLINE, once(channel, method, message)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) => Answer::refused(&status),
        Err(_) => Answer::refused(&Status::deadline_exceeded("no answer in time")),
    }
}

async fn once(channel: &Channel, method: &str, message: Vec<u8>) -> Result<Answer, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = format!("/comity.v1.{method}").parse().unwrap();
    // What asks on and on is held open; what asks once says that this was all.
    let (asks, asked) = tokio::sync::mpsc::channel(1);
    asks.send(message).await.unwrap();
    let open = (method == "PeerService/Exchange").then_some(asks);
    let request = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let mut response = grpc.streaming(request, path, Raw).await?;
    let first = response.get_mut().message().await?;
    if !STREAMS.contains(&method) {
        // Whatever the trailers say counts.
        assert!(response.get_mut().message().await?.is_none(), "{method}: one answer");
    }
    drop(open);
    Ok(Answer::ok(response.metadata(), opened(method, first.unwrap_or_default())))
}

/// What is told as signed envelopes is told all the same: their payloads stand in the place of their text.
fn opened(method: &str, body: Vec<u8>) -> Vec<u8> {
    if method != "PeerService/FetchRecalls" {
        return body;
    }
    let told = v1::FetchRecallsResponse::decode(body.as_slice()).unwrap();
    let payloads = told.recalls.iter().map(|recall| Envelope::from_bytes(recall).unwrap().payload);
    payloads.chain([told.position.to_be_bytes().to_vec()]).flatten().collect()
}

/// A line to a party's node in somebody's name: to its operator port, or to its peer port.
pub async fn line(
    federation: &Federation,
    to: &str,
    operator_port: bool,
    of: &str,
    role: Role,
    name: &str,
) -> Result<Channel, String> {
    let seat = federation.seat(to).unwrap();
    let address = if operator_port { &seat.operator } else { &seat.peer };
    dial(federation, address, seat.member, &certificate(federation, of, role, name)).await.map_err(|e| e.to_string())
}
