//! `WitnessService`: cosigning other members' access logs.

use comity_app::{Cosigned, OfferedHead};
use comity_core::access::AccessLeaf;
use comity_core::access::witness::Opening;
use comity_core::canonical::Hex32;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::services::peers::ensure_federation;
use crate::services::service;
use crate::status;

service!(Witnesses);

/// The most hashes of one proof: more than a log of 2^64 leaves needs.
const PROOF_MAX_HASHES: usize = 130;

fn hash(field: &str, bytes: Vec<u8>) -> Result<Hex32, Status> {
    let bytes = <[u8; 32]>::try_from(bytes);
    bytes.map(Hex32).map_err(|bytes| status::field(field, format!("has {} bytes: expected 32", bytes.len())))
}

fn proof(field: &str, hashes: Vec<Vec<u8>>) -> Result<Vec<Hex32>, Status> {
    if hashes.len() > PROOF_MAX_HASHES {
        return Err(status::field(field, format!("has {} hashes: at most {PROOF_MAX_HASHES}", hashes.len())));
    }
    hashes.into_iter().map(|bytes| hash(field, bytes)).collect()
}

fn opening(opening: v1::AccessLogOpening) -> Result<Opening, Status> {
    let leaf = opening.leaf.ok_or_else(|| status::field("opening.leaf", "is missing"))?;
    let n = leaf.leaf;
    let leaf = AccessLeaf { salt: hash("opening.leaf.salt", leaf.salt)?, record: leaf.record, annex: leaf.annex };
    Ok(Opening { n, leaf, inclusion: proof("opening.inclusion", opening.inclusion)? })
}

#[tonic::async_trait]
impl v1::witness_service_server::WitnessService for Witnesses {
    async fn add_checkpoint(
        &self,
        request: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        let (caller, _) = context(&request)?;
        let request = request.into_inner();
        ensure_federation(&self.node, &request.federation)?;
        let offered = OfferedHead {
            note: request.note,
            old_size: request.old_size,
            consistency: proof("consistency", request.consistency)?,
            opening: request.opening.map(opening).transpose()?,
        };
        // INVARIANT: nobody is told of, or has cosigned, another log than its own.
        let answer = self.node.cosign_access_log(caller.peer.member, offered).await.map_err(status::of)?;
        Ok(Response::new(match answer {
            Cosigned::Yes(note) => v1::AddCheckpointResponse { cosigned: note.to_bytes(), known: Vec::new() },
            Cosigned::No(known) => {
                let known = known.map(|note| note.to_bytes()).unwrap_or_default();
                v1::AddCheckpointResponse { cosigned: Vec::new(), known }
            }
        }))
    }

    async fn get_witnessed(
        &self,
        request: Request<v1::GetWitnessedRequest>,
    ) -> Result<Response<v1::GetWitnessedResponse>, Status> {
        let (caller, _) = context(&request)?;
        ensure_federation(&self.node, &request.into_inner().federation)?;
        let notes = self.node.witnessed_of(caller.peer.member).await.map_err(status::of)?;
        Ok(Response::new(v1::GetWitnessedResponse { notes: notes.iter().map(|note| note.to_bytes()).collect() }))
    }
}
