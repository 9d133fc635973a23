//! A connection to a node: both sides prove who they are, and each call has a deadline.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use comity_core::genesis::{Genesis, RosterMember};
use comity_core::{MemberId, SpiffeId, Violations};
use comity_identity::{
    ConnectorLimits, Credentials, Expectation, MemberAnchors, MemberConnector, SharedTrust, TrustStore,
};
use comity_proto::v1;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::contexts::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::freshness::{Freshness, Observed};
use crate::refusal::connection_failure;

/// The largest answer that is taken, in bytes: a page of a thousand leaves fits.
const ANSWER_MAX_BYTES: usize = 32 * 1024 * 1024;

/// A channel whose every call carries the deadline and how fresh the answer must be.
type Calls = Observed<InterceptedService<Channel, Calling>>;

/// Asks a node for what it has at hand.
const READ_HEADER: &str = "comity-read";
/// The largest member.json that is read, in bytes.
const ROW_MAX_BYTES: u64 = 256 * 1024;

/// One node, as one person.
pub(crate) struct Node {
    calls: Calls,
    genesis: Genesis,
    row: RosterMember,
    caller: SpiffeId,
    signing_key: Option<PathBuf>,
}

/// What goes with each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calling {
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// Whether the node may answer from what it has at hand.
    pub(crate) stale_ok: bool,
}

impl tonic::service::Interceptor for Calling {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.timeout);
        if self.stale_ok {
            request.metadata_mut().insert(READ_HEADER, MetadataValue::from_static("stale"));
        }
        Ok(request)
    }
}

impl Node {
    /// Dials the node of a context.
    pub(crate) async fn connect(context: &Context, calling: Calling, freshness: Freshness) -> Result<Self, Failure> {
        let timeout = calling.timeout;
        let genesis = read_genesis(&context.genesis)?;
        let credentials = Credentials::load(&context.certificate, &context.key)
            .map_err(|e| Failure::new(Exit::NotAuthenticated, e).next("comity context show"))?;
        let caller = credentials.id().clone();
        let now = comity_core::Timestamp::from_jiff(jiff::Timestamp::now());
        if credentials.not_after() < now {
            let message =
                format!("{}: the certificate ended at {}", context.certificate.display(), credentials.not_after());
            return Err(Failure::new(Exit::NotAuthenticated, message).next(issue_command(&caller, &genesis)));
        }
        let row = own_row(&genesis, context, &caller)?;
        let member = row.member;
        let trust = TrustStore::new(&[anchors(&row)?])
            .map_err(|e| Failure::new(Exit::NotAuthenticated, format!("{}: {e}", context.genesis.display())))?;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let limits = ConnectorLimits {
            connect_timeout_ms: timeout_ms.min(ConnectorLimits::default().connect_timeout_ms),
            handshake_timeout_ms: timeout_ms.min(ConnectorLimits::default().handshake_timeout_ms),
        };
        let connector =
            MemberConnector::new(&credentials, SharedTrust::new(trust), Expectation::node_of(member), limits)
                .map_err(Failure::error)?;
        let endpoint = Endpoint::from_shared(format!("http://{}", context.endpoint))
            .map_err(|_| {
                Failure::error(format!("endpoint: `{}` is not an address: expected host:port", context.endpoint))
                    .next("comity context show")
            })?
            .timeout(timeout);
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
            connection_failure(&error).unwrap_or_else(|| {
                Failure::error(format!("{}: no connection: {}", context.endpoint, chain(&error)))
                    .next("comity context show")
            })
        })?;
        let calls = Observed::new(InterceptedService::new(channel, calling), freshness);
        Ok(Self { calls, genesis, row, caller, signing_key: context.signing_key.clone() })
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Whose node it is.
    pub(crate) fn member(&self) -> MemberId {
        self.row.member
    }

    /// Its row: of the genesis, unless the context names a newer one.
    pub(crate) fn row(&self) -> &RosterMember {
        &self.row
    }

    /// The file of the caller's own signing key, where the context names one.
    pub(crate) fn signing_key(&self) -> Option<&Path> {
        self.signing_key.as_deref()
    }

    /// Who is calling, by the certificate.
    pub(crate) fn caller(&self) -> &SpiffeId {
        &self.caller
    }

    pub(crate) fn records(&self) -> v1::record_service_client::RecordServiceClient<Calls> {
        v1::record_service_client::RecordServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn releases(&self) -> v1::release_service_client::ReleaseServiceClient<Calls> {
        v1::release_service_client::ReleaseServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn recalls(&self) -> v1::recall_service_client::RecallServiceClient<Calls> {
        v1::recall_service_client::RecallServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn approvals(&self) -> v1::approval_service_client::ApprovalServiceClient<Calls> {
        v1::approval_service_client::ApprovalServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn ballots(&self) -> v1::ballot_service_client::BallotServiceClient<Calls> {
        v1::ballot_service_client::BallotServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn list(&self) -> v1::list_service_client::ListServiceClient<Calls> {
        v1::list_service_client::ListServiceClient::new(self.calls.clone()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn policies(&self) -> v1::policy_service_client::PolicyServiceClient<Calls> {
        v1::policy_service_client::PolicyServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn audit(&self) -> v1::audit_service_client::AuditServiceClient<Calls> {
        v1::audit_service_client::AuditServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn members(&self) -> v1::member_service_client::MemberServiceClient<Calls> {
        v1::member_service_client::MemberServiceClient::new(self.calls.clone())
            .max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub(crate) fn node(&self) -> v1::node_service_client::NodeServiceClient<Calls> {
        v1::node_service_client::NodeServiceClient::new(self.calls.clone()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }
}

/// Reads and checks a genesis file.
pub(crate) fn read_genesis(path: &Path) -> Result<Genesis, Failure> {
    let bytes = read_bounded(path, Genesis::MAX_BYTES as u64)?;
    Genesis::from_bytes(&bytes).map_err(|violations: Violations| {
        Failure::error(format!("{}: not a genesis file", path.display()))
            .fields(&violations)
            .next("comity member genesis --help")
    })
}

/// Reads a file of at most so many bytes; a longer one is cut just past the bound, so that its reader refuses it by size.
pub(crate) fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: io::Error| Failure::error(format!("{}: cannot be read: {e}", path.display()));
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(max_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads a member.json: a row of the roster.
pub(crate) fn read_row(path: &Path) -> Result<RosterMember, Failure> {
    let bytes = read_bounded(path, ROW_MAX_BYTES)?;
    comity_core::canonical::from_slice(&bytes).map_err(|e| {
        Failure::error(format!("{}: not a member.json", path.display()))
            .field(e.path, e.problem)
            .next("comity pki init --member CODE")
    })
}

/// The row of the member to whom a person's certificate belongs: the context's own, or that of the genesis.
pub(crate) fn own_row(genesis: &Genesis, context: &Context, id: &SpiffeId) -> Result<RosterMember, Failure> {
    let row = match &context.member {
        Some(path) => {
            let row = read_row(path)?;
            if row.trust_domain != *id.trust_domain() {
                let message = format!(
                    "{}: the trust domain is {}, the certificate's is {}",
                    path.display(),
                    row.trust_domain,
                    id.trust_domain()
                );
                return Err(Failure::new(Exit::NotAuthenticated, message).next("comity context show"));
            }
            return Ok(row);
        }
        None => own_member(genesis, id),
    };
    row.cloned().ok_or_else(|| {
        let message = format!(
            "no member of {} has the trust domain {} of this certificate; a member that joined later names its member.json \
             in the context",
            genesis.document().name,
            id.trust_domain()
        );
        Failure::new(Exit::NotAuthenticated, message).next("comity context add NAME --member FILE ...")
    })
}

/// The member to whom a person's certificate belongs.
fn own_member<'a>(genesis: &'a Genesis, id: &SpiffeId) -> Option<&'a RosterMember> {
    genesis.members().values().find(|member| member.trust_domain == *id.trust_domain())
}

/// What is needed to know a member's nodes.
pub(crate) fn anchors(member: &RosterMember) -> Result<MemberAnchors, Failure> {
    let roots_der = member
        .roots_pem
        .iter()
        .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Failure::error(format!("genesis: roots_pem of {}: not PEM: {e}", member.member)))?;
    Ok(MemberAnchors { member: member.member, trust_domain: member.trust_domain.clone(), roots_der })
}

fn issue_command(caller: &SpiffeId, genesis: &Genesis) -> String {
    let member = own_member(genesis, caller).map_or_else(|| "MEMBER".to_owned(), |m| m.member.to_string());
    format!("comity pki issue --member {member} --role {} --name {} --force", caller.role(), caller.name())
}

/// An error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source()).take(16).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

/// Where the program keeps what it remembers: `$XDG_STATE_HOME/comity`, or under `~/.local/state`.
pub(crate) fn default_state_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local").join("state")))?;
    Some(state.join("comity"))
}
