//! Federations for tests and benchmarks.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use comity_cli::NODE_PROCESS;
use comity_cli::demo::federation::{Federation, FederationError, NodeProgram, Plan};
use comity_core::genesis::RosterMember;
use comity_core::rule::Rules;
use comity_core::{MemberId, Role};
use comity_identity::{
    ConnectorLimits, Credentials, Expectation, MemberAnchors, MemberConnector, SharedTrust, TrustStore,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::transport::{Channel, Endpoint};

use crate::Problem;

/// A plan of members with one rule for every kind of ballot, and settings that make nodes brisk.
pub fn plan(members: &[&str], rule: &str) -> Result<Plan, String> {
    plan_by(members, Rules::uniform(rule.parse().map_err(|e| format!("{e}"))?))
}

/// A plan of members with a rule for each kind of ballot, and settings that make nodes brisk.
pub fn plan_by(members: &[&str], rules: Rules) -> Result<Plan, String> {
    let members = members.iter().map(|m| m.parse::<MemberId>()).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let settings = "[list]\ncosign_interval_ms = 50\n".into();
    Ok(Plan { name: "Test Partnership".into(), members, recipients: Vec::new(), rules, settings })
}

/// Lays a federation out whose nodes are children of `program`.
///
/// # Errors
/// As [`Federation::lay_out`].
pub fn lay_out(folder: &Path, plan: &Plan, program: PathBuf) -> Result<Federation, FederationError> {
    Federation::lay_out(folder, plan, NodeProgram { program, arguments: vec![NODE_PROCESS.to_owned()] })
}

/// A connection to one member's peer port in the name of another member's node, or to its operator port in a person's.
///
/// # Errors
/// Says what was missing or refused.
pub async fn dial(
    federation: &Federation,
    address: &str,
    to: MemberId,
    certificate: &Path,
) -> Result<Channel, Problem> {
    let (endpoint, connector) = way(federation, address, to, certificate)?;
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// As [`dial`], but takes no more before it has read than the least that HTTP/2 has.
///
/// # Errors
/// As [`dial`].
pub async fn dial_narrowly(
    federation: &Federation,
    address: &str,
    to: MemberId,
    certificate: &Path,
) -> Result<Channel, Problem> {
    const WINDOW_BYTES: u32 = 65_535;
    let (endpoint, connector) = way(federation, address, to, certificate)?;
    let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    Ok(endpoint.connect_with_connector(connector).await?)
}

/// As [`dial`], but connects when it is used, and again when the connection broke.
///
/// # Errors
/// Says what was missing.
pub fn dial_lazily(
    federation: &Federation,
    address: &str,
    to: MemberId,
    certificate: &Path,
) -> Result<Channel, Problem> {
    let (endpoint, connector) = way(federation, address, to, certificate)?;
    Ok(endpoint.connect_with_connector_lazy(connector))
}

fn way(
    federation: &Federation,
    address: &str,
    to: MemberId,
    certificate: &Path,
) -> Result<(Endpoint, MemberConnector), Problem> {
    let credentials = Credentials::load(&certificate.with_extension("pem"), &certificate.with_extension("key"))?;
    let trust = trust_of(federation)?;
    let connector = MemberConnector::new(&credentials, trust, Expectation::node_of(to), ConnectorLimits::default())?;
    Ok((Endpoint::from_shared(format!("http://{address}"))?, connector))
}

/// The roots of every member of the genesis.
///
/// # Errors
/// One of them is no certificate.
pub fn trust_of(federation: &Federation) -> Result<SharedTrust, Problem> {
    let anchors = federation.genesis.members().values().map(anchors).collect::<Result<Vec<_>, _>>()?;
    Ok(SharedTrust::new(TrustStore::new(&anchors)?))
}

fn anchors(member: &RosterMember) -> Result<MemberAnchors, Problem> {
    let mut roots_der = Vec::new();
    for pem in &member.roots_pem {
        roots_der.push(CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec());
    }
    Ok(MemberAnchors { member: member.member, trust_domain: member.trust_domain.clone(), roots_der })
}

/// The certificate file of one of a member's people or nodes, without its ending.
pub fn certificate(federation: &Federation, member: &str, role: Role, name: &str) -> PathBuf {
    federation.folder.join(member.to_ascii_lowercase()).join(format!("{role}-{name}"))
}

/// Ports of 127.0.0.1 that nobody listens on now. Held together while they are picked, so that no two are the same.
///
/// # Errors
/// There are none.
pub fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let sockets = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    sockets.iter().map(|socket| socket.local_addr().map(|address| address.port())).collect()
}
