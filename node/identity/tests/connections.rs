//! Acceptor and connector against each other, over real sockets: who gets in, who does not, and what each is told.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_core::{Role, Timestamp};
use comity_identity::pki::{AUTHORITY_VALID_DAYS, Authority, days};
use comity_identity::tls::{crypto_provider, server_config};
use comity_identity::{
    Acceptor, AcceptorLimits, Connection, ConnectorLimits, Credentials, Expectation, MemberConnector, MemberVerifier,
    RefusedCertificate, RefusedHandshakes, SharedTrust, TrustStore, explain_tls_error, refused_certificate,
};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

fn days_from_now(days: i64) -> Timestamp {
    Timestamp::from_micros(now().as_micros() + days * 86_400_000_000).unwrap()
}

fn authority(member: &str) -> Authority {
    let trust_domain = format!("{}.comity.example", member.to_lowercase()).parse().unwrap();
    Authority::create(member.parse().unwrap(), &trust_domain, now(), AUTHORITY_VALID_DAYS).unwrap()
}

fn credentials(authority: &Authority, role: Role, name: &str) -> Credentials {
    credentials_at(authority, role, name, now())
}

fn credentials_at(authority: &Authority, role: Role, name: &str, at: Timestamp) -> Credentials {
    let issued = authority.issue(role, name, at, days(7)).unwrap();
    Credentials::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

/// A certificate as no `comity pki` makes it, signed by the real authority.
fn odd_certificate(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> ClientIdentity {
    let ca_key = KeyPair::from_pem(&authority.key_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    change(&mut params);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    ClientIdentity {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// The node of FR with its peer listener, and an authority of DE as its partner.
struct Federation {
    fr: Authority,
    de: Authority,
    trust: SharedTrust,
}

struct Listener {
    address: SocketAddr,
    acceptor: Acceptor,
    refused: RefusedHandshakes,
    shutdown: CancellationToken,
}

impl Federation {
    fn new() -> Self {
        let (fr, de) = (authority("FR"), authority("DE"));
        let trust = SharedTrust::new(TrustStore::new(&[fr.anchors(), de.anchors()]).unwrap());
        Self { fr, de, trust }
    }

    async fn listen(&self, limits: AcceptorLimits) -> Listener {
        self.listen_as(&credentials(&self.fr, Role::Node, "paris-1"), Expectation::peers(), limits).await
    }

    async fn listen_as(&self, shown: &Credentials, admits: Expectation, limits: AcceptorLimits) -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let tls = server_config(shown, self.trust.clone(), admits).unwrap();
        let (acceptor, refused) = Acceptor::start(socket, tls, self.trust.clone(), limits, shutdown.clone());
        Listener { address, acceptor, refused, shutdown }
    }

    fn connector(&self, shown: &Credentials) -> MemberConnector {
        let expects = Expectation::node_of(self.fr.member());
        MemberConnector::new(shown, self.trust.clone(), expects, ConnectorLimits::default()).unwrap()
    }

    fn de_node(&self) -> MemberConnector {
        self.connector(&credentials(&self.de, Role::Node, "berlin-1"))
    }

    /// A client of rustls's own making: it keeps sessions, and chooses its version and certificate.
    fn raw_client(&self, identity: Option<ClientIdentity>, version: &'static SupportedProtocolVersion) -> TlsConnector {
        let provider = crypto_provider();
        let verifier = MemberVerifier::new(self.trust.clone(), Expectation::peers(), &provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

impl Listener {
    async fn next(&mut self) -> Connection {
        tokio::time::timeout(Duration::from_secs(10), self.acceptor.next()).await.unwrap().unwrap()
    }

    async fn next_refusal(&mut self) -> String {
        tokio::time::timeout(Duration::from_secs(10), self.refused.recv()).await.unwrap().unwrap().reason
    }

    /// That the listener still serves a good client.
    async fn serves(&mut self, federation: &Federation) {
        let (client, connection) = tokio::join!(dial(federation, self.address), self.next());
        echo(client, connection).await;
    }
}

async fn dial(federation: &Federation, address: SocketAddr) -> TlsStream<TcpStream> {
    federation.de_node().connect(&address.to_string()).await.unwrap()
}

async fn dial_raw(client: &TlsConnector, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let name = rustls_pki_types::ServerName::try_from("unused.example").unwrap();
    client.connect(name, TcpStream::connect(address).await?).await
}

async fn echo(mut client: TlsStream<TcpStream>, mut connection: Connection) {
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    connection.read_exact(&mut bytes).await.unwrap();
    connection.write_all(&bytes).await.unwrap();
    connection.flush().await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
}

/// How the server's refusal reaches a client: by the handshake, or by its first read.
async fn client_error(result: io::Result<TlsStream<TcpStream>>) -> io::Error {
    match result {
        Err(error) => error,
        Ok(mut stream) => tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap().unwrap_err(),
    }
}

#[tokio::test]
async fn two_nodes_know_each_other() {
    let federation = Federation::new();
    let mut listener = federation.listen(AcceptorLimits::default()).await;
    let (client, connection) = tokio::join!(dial(&federation, listener.address), listener.next());
    assert_eq!(connection.peer.member, federation.de.member());
    assert_eq!(connection.peer.id.to_string(), "spiffe://de.comity.example/node/berlin-1");
    assert!(connection.peer.not_after > now());
    assert!(connection.stream.get_ref().0.nodelay().unwrap() && client.get_ref().0.nodelay().unwrap());

    let (_, session) = client.get_ref();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    echo(client, connection).await;
}

#[tokio::test]
async fn the_connector_is_a_service_of_uris() {
    let federation = Federation::new();
    let mut listener = federation.listen(AcceptorLimits::default()).await;
    let uri: http::Uri = format!("http://{}", listener.address).parse().unwrap();
    let (client, connection) = tokio::join!(tower::Service::call(&mut federation.de_node(), uri), listener.next());
    echo(client.unwrap().into_inner(), connection).await;

    let without_port = tower::Service::call(&mut federation.de_node(), "http://localhost".parse().unwrap()).await;
    assert!(without_port.unwrap_err().to_string().contains("host:port"));
}

#[tokio::test]
async fn each_bad_client_is_refused_with_its_reason() {
    let federation = Federation::new();
    let mut listener = federation.listen(AcceptorLimits::default()).await;
    let double = authority("DE");
    let stranger = authority("AU");
    let (de, node) = (&federation.de, Role::Node);
    for (shown, reason, told) in [
        (credentials(&double, node, "a"), "certificate_bad_signature", "roster"),
        (credentials(&stranger, node, "a"), "certificate_unknown_trust_domain", "roster"),
        (credentials_at(de, node, "a", days_from_now(-8)), "certificate_expired", "expired"),
        (credentials_at(de, node, "a", days_from_now(1)), "certificate_not_yet_valid", "not yet valid"),
        (credentials(de, Role::Operator, "desk-7"), "certificate_wrong_role", "does not admit us"),
    ] {
        let error = client_error(federation.connector(&shown).connect(&listener.address.to_string()).await).await;
        assert_eq!(listener.next_refusal().await, reason);
        let text = explain_tls_error(&error).unwrap_or_else(|| panic!("{reason}: nothing to say about {error:?}"));
        assert!(text.contains(told), "{reason}: {text}");
    }

    // DE's authority signs a name of FR's.
    let foreign = uri("spiffe://fr.comity.example/node/paris-2");
    let id = uri("spiffe://de.comity.example/node/a");
    let second = uri("spiffe://de.comity.example/node/b");
    for (names, is_ca, reason) in [
        (vec![foreign], IsCa::NoCa, "certificate_wrong_issuer"),
        (vec![], IsCa::NoCa, "certificate_no_uri"),
        (vec![id.clone(), second], IsCa::NoCa, "certificate_two_uris"),
        (vec![id.clone(), SanType::DnsName("a.example".try_into().unwrap())], IsCa::NoCa, "certificate_other_names"),
        (vec![uri("spiffe://de.comity.example/king/a")], IsCa::NoCa, "certificate_malformed_spiffe_id"),
        (vec![id], IsCa::Ca(rcgen::BasicConstraints::Unconstrained), "certificate_is_ca"),
    ] {
        let identity = odd_certificate(de, |params| (params.subject_alt_names, params.is_ca) = (names, is_ca));
        let client = federation.raw_client(Some(identity), &rustls::version::TLS13);
        let error = client_error(dial_raw(&client, listener.address).await).await;
        assert_eq!(listener.next_refusal().await, reason);
        assert!(explain_tls_error(&error).is_some(), "{reason}: {error:?}");
    }
    listener.serves(&federation).await;
}

#[tokio::test]
async fn the_operator_port_is_for_a_members_own_people() {
    let federation = Federation::new();
    let admits = Expectation::people_of(federation.fr.member());
    let shown = credentials(&federation.fr, Role::Node, "paris-1");
    let mut listener = federation.listen_as(&shown, admits, AcceptorLimits::default()).await;
    for (authority, role, reason) in [
        (&federation.fr, Role::Node, "certificate_wrong_role"),
        (&federation.de, Role::Operator, "certificate_wrong_member"),
    ] {
        let connector = federation.connector(&credentials(authority, role, "desk-7"));
        client_error(connector.connect(&listener.address.to_string()).await).await;
        assert_eq!(listener.next_refusal().await, reason);
    }
    let desk = federation.connector(&credentials(&federation.fr, Role::Operator, "desk-7"));
    let address = listener.address.to_string();
    let (client, connection) = tokio::join!(desk.connect(&address), listener.next());
    assert_eq!(connection.peer.role(), Role::Operator);
    echo(client.unwrap(), connection).await;
}

#[tokio::test]
async fn a_client_knows_whom_it_dialled() {
    use RefusedCertificate as R;
    let federation = Federation::new();
    let (fr, de) = (&federation.fr, &federation.de);
    type IsExpected = fn(&RefusedCertificate) -> bool;
    let cases: [(Credentials, IsExpected, &str); 4] = [
        (credentials(de, Role::Node, "a"), |r| matches!(r, R::WrongMember { .. }), "refused_by_caller"),
        (credentials(fr, Role::Operator, "a"), |r| matches!(r, R::WrongPurpose), "refused_by_caller"),
        (credentials(&authority("FR"), Role::Node, "a"), |r| matches!(r, R::BadSignature { .. }), "refused_by_caller"),
        (
            credentials_at(fr, Role::Node, "a", days_from_now(-8)),
            |r| matches!(r, R::Expired { .. }),
            "refused_by_caller",
        ),
    ];
    for (shown, is_expected, reason) in cases {
        let mut listener = federation.listen_as(&shown, Expectation::peers(), AcceptorLimits::default()).await;
        let error = federation.de_node().connect(&listener.address.to_string()).await.unwrap_err();
        let refusal = refused_certificate(&error).unwrap_or_else(|| panic!("no refusal in {error:?}"));
        assert!(is_expected(refusal), "{refusal:?}");
        assert!(error.to_string().contains(&listener.address.to_string()), "{error}");
        assert_eq!(listener.next_refusal().await, reason);
    }
}

#[tokio::test]
async fn other_protocols_are_refused_and_the_listener_lives() {
    let federation = Federation::new();
    let mut listener = federation.listen(AcceptorLimits::default()).await;

    let issued = federation.de.issue(Role::Node, "a", now(), days(1)).unwrap();
    let identity = ClientIdentity {
        chain: vec![issued.leaf_der().unwrap().into()],
        key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap(),
    };
    let old = federation.raw_client(Some(identity), &rustls::version::TLS12);
    let error = client_error(dial_raw(&old, listener.address).await).await;
    assert_eq!(listener.next_refusal().await, "tls_version_or_algorithms");
    assert!(explain_tls_error(&error).unwrap().contains("TLS 1.3 only"), "{error}");

    let nameless = federation.raw_client(None, &rustls::version::TLS13);
    let error = client_error(dial_raw(&nameless, listener.address).await).await;
    assert_eq!(listener.next_refusal().await, "no_certificate");
    assert!(explain_tls_error(&error).unwrap().contains("got none"), "{error}");

    for text in [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0; 64]] {
        let mut plain = TcpStream::connect(listener.address).await.unwrap();
        plain.write_all(text).await.unwrap();
        assert_eq!(listener.next_refusal().await, "not_tls");
    }
    drop(TcpStream::connect(listener.address).await.unwrap());
    assert_eq!(listener.next_refusal().await, "closed");
    listener.serves(&federation).await;
}

#[tokio::test]
async fn a_plain_server_is_named_as_such() {
    let federation = Federation::new();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap().to_string();
    let answering = tokio::spawn(async move {
        let (mut socket, _) = plain.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Kept open until the client has read.
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let error = federation.de_node().connect(&address).await.unwrap_err();
    assert!(explain_tls_error(&error).unwrap().contains("does not speak TLS"), "{error}");
    answering.await.unwrap();
}

async fn silent_socket(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn silent_sockets_lock_nobody_out() {
    let federation = Federation::new();
    let limits = AcceptorLimits {
        handshake_timeout_ms: 60_000,
        max_connections: 4,
        max_handshakes: 16,
        max_handshakes_per_source: 8,
        ..AcceptorLimits::default()
    };
    let mut listener = federation.listen(limits).await;
    let mut silent = Vec::new();
    for number in 0..300 {
        // The good client comes from 127.0.0.1, as a third of these do.
        silent.push(silent_socket(&format!("127.0.0.{}", number % 3 + 1), listener.address).await);
    }
    let started = Instant::now();
    listener.serves(&federation).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(listener.next_refusal().await, "handshake_evicted");
}

#[tokio::test]
async fn a_silent_socket_is_cut_off_in_time() {
    let federation = Federation::new();
    let limits = AcceptorLimits { handshake_timeout_ms: 100, ..AcceptorLimits::default() };
    let mut listener = federation.listen(limits).await;
    let mut silent = silent_socket("127.0.0.1", listener.address).await;
    assert_eq!(listener.next_refusal().await, "timed_out");
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    listener.serves(&federation).await;
}

#[tokio::test]
async fn connections_are_counted_until_they_are_dropped() {
    let federation = Federation::new();
    let limits = AcceptorLimits { max_connections: 3, max_connections_per_peer: 2, ..AcceptorLimits::default() };
    let mut listener = federation.listen(limits).await;
    let address = listener.address.to_string();
    let (berlin, bonn) =
        (federation.de_node(), federation.connector(&credentials(&federation.de, Role::Node, "bonn-1")));

    let mut clients = Vec::new();
    for connector in [&berlin, &berlin] {
        clients.push(connector.connect(&address).await.unwrap());
    }
    let mut kept = vec![listener.next().await, listener.next().await];
    client_error(berlin.connect(&address).await).await;
    assert_eq!(listener.next_refusal().await, "peer_connection_limit");

    clients.push(bonn.connect(&address).await.unwrap());
    kept.push(listener.next().await);
    client_error(bonn.connect(&address).await).await;
    assert_eq!(listener.next_refusal().await, "connection_limit");

    kept.remove(0);
    listener.serves(&federation).await;
}

#[tokio::test]
async fn no_session_is_resumed() {
    let federation = Federation::new();
    let mut listener = federation.listen(AcceptorLimits::default()).await;
    let issued = federation.de.issue(Role::Node, "berlin-1", now(), days(1)).unwrap();
    let identity = ClientIdentity {
        chain: vec![issued.leaf_der().unwrap().into()],
        key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap(),
    };
    // This client would resume if it were let.
    let client = federation.raw_client(Some(identity), &rustls::version::TLS13);
    for _ in 0..2 {
        let (stream, connection) = tokio::join!(dial_raw(&client, listener.address), listener.next());
        let stream = stream.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        echo(stream, connection).await;
    }
    // DE has left the roster: the same client is verified again, and refused.
    federation.trust.replace(TrustStore::new(&[federation.fr.anchors()]).unwrap());
    client_error(dial_raw(&client, listener.address).await).await;
    assert_eq!(listener.next_refusal().await, "certificate_unknown_trust_domain");
}

#[tokio::test]
async fn shutdown_closes_the_port_and_ends_the_stream() {
    let federation = Federation::new();
    let mut listener = federation.listen(AcceptorLimits::default()).await;
    listener.serves(&federation).await;
    let mut silent = silent_socket("127.0.0.1", listener.address).await;
    listener.shutdown.cancel();
    assert!(listener.acceptor.next().await.is_none());
    assert!(listener.refused.recv().await.is_none());
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(listener.address).await.is_err());
    let error = federation.de_node().connect(&listener.address.to_string()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}
