//! What one member's node is answered by another's, asked as a node asks.

use comity_core::MemberId;
use comity_core::genesis::Genesis;
use comity_identity::{ConnectorLimits, Credentials, Expectation, MemberConnector, SharedTrust, TrustStore};
use comity_proto::v1;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use futures::StreamExt as _;
use prost::Message as _;

use super::federation::Seat;
use crate::connection::anchors;

/// Why there was no answer.
pub(super) type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// The exact bytes of all that a stream brings from its beginning until there is nothing more.
pub(super) async fn pull(genesis: &Genesis, asker: &Seat, asked: &Seat) -> Result<Vec<u8>, NoAnswer> {
    let credentials = Credentials::load(&asker.folder.join("node-node-1.pem"), &asker.folder.join("node-node-1.key"))?;
    let channel = dial(genesis, &credentials, asked.member, &asked.peer).await?;
    let open = v1::ExchangeOpen { federation: genesis.federation().0.to_vec(), cursor: Vec::new() };
    let open = v1::ExchangeRequest { message: Some(v1::exchange_request::Message::Open(open)) };
    // The stream of what is said stays open: a stream whose end is closed is over.
    let said = futures::stream::iter([open]).chain(futures::stream::pending());
    let mut answers = PeerServiceClient::new(channel).exchange(said).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = answers.message().await? {
        bytes.extend(answer.encode_length_delimited_to_vec());
        if matches!(&answer.message, Some(v1::exchange_response::Message::Notice(notice)) if notice.up_to_date) {
            break;
        }
    }
    Ok(bytes)
}

async fn dial(
    genesis: &Genesis,
    credentials: &Credentials,
    to: MemberId,
    address: &str,
) -> Result<tonic::transport::Channel, NoAnswer> {
    let member = genesis.member(to).ok_or("not in the genesis")?;
    let trust = TrustStore::new(&[anchors(member)?])?;
    let connector = MemberConnector::new(
        credentials,
        SharedTrust::new(trust),
        Expectation::node_of(to),
        ConnectorLimits::default(),
    )?;
    Ok(tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}
