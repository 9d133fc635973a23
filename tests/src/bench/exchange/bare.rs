//! What the line alone takes: the same bytes in pages of the same size over mutual TLS, and nothing done with them.

use std::pin::Pin;
use std::time::Instant;

use comity_cli::demo::federation::Federation;
use comity_core::Role;
use comity_identity::tls::server_config;
use comity_identity::{Acceptor, AcceptorLimits, Connection, Credentials, Expectation, SharedTrust};
use comity_proto::v1;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use comity_proto::v1::peer_service_server::{PeerService, PeerServiceServer};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::Problem;
use crate::bench::report::Row;
use crate::federation::{certificate, dial, trust_of};

/// Items to a page, as the node makes them of records of a kilobyte.
const PAGE_ITEMS: usize = 500;
const MESSAGE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Moves so many items of so many bytes from France to Germany, both in this process.
pub(super) async fn measure(federation: &Federation, items: usize, bytes: usize) -> Result<Row, Problem> {
    let trust = trust_of(federation)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let shutdown = CancellationToken::new();
    let server =
        tokio::spawn(serve(listener, credentials(federation, "FR")?, trust, shutdown.clone(), Bare { items, bytes }));
    let channel =
        dial(federation, &address, "FR".parse()?, &certificate(federation, "DE", Role::Node, "node-1")).await?;
    let mut client = PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let begin = Instant::now();
    let mut answers = client.exchange(tokio_stream::empty()).await?.into_inner();
    let mut received = 0;
    while let Some(answer) = answers.message().await? {
        if let Some(v1::exchange_response::Message::Page(page)) = answer.message {
            received += page.items.len();
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    shutdown.cancel();
    server.await??;
    if received != items {
        return Err(format!("{received} of {items} items came over the bare line").into());
    }
    Ok(Row {
        bench: "reference",
        case: "bare-stream".to_owned(),
        per_s: items as f64 / seconds,
        p50_us: 0,
        p99_us: 0,
        cpu_us_op: 0.0,
        rss_mb: 0.0,
        disk_mb: 0.0,
        operations: items as u64,
        seconds,
    })
}

fn credentials(federation: &Federation, member: &str) -> Result<Credentials, Problem> {
    let path = certificate(federation, member, Role::Node, "node-1");
    Ok(Credentials::load(&path.with_extension("pem"), &path.with_extension("key"))?)
}

async fn serve(
    listener: TcpListener,
    credentials: Credentials,
    trust: SharedTrust,
    shutdown: CancellationToken,
    bare: Bare,
) -> Result<(), Problem> {
    let tls = server_config(&credentials, trust.clone(), Expectation::peers())?;
    let (acceptor, _refused) = Acceptor::start(listener, tls, trust, AcceptorLimits::default(), shutdown.clone());
    let incoming = acceptor.map(|connection| Ok::<_, std::io::Error>(Line(connection)));
    Ok(Server::builder()
        .initial_stream_window_size(Some(1024 * 1024))
        .initial_connection_window_size(Some(4 * 1024 * 1024))
        .add_service(PeerServiceServer::new(bare))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await?)
}

/// Sends items that are all alike.
struct Bare {
    items: usize,
    bytes: usize,
}

impl Bare {
    fn page(&self, items: usize) -> v1::ExchangeResponse {
        let item = v1::SealedItem { salt: vec![7; 32], item: vec![b'w'; self.bytes] };
        let page = v1::Page { envelope: vec![b'e'; 600], items: vec![item; items], next_cursor: vec![0; 48] };
        v1::ExchangeResponse { message: Some(v1::exchange_response::Message::Page(page)) }
    }
}

#[tonic::async_trait]
impl PeerService for Bare {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<v1::ExchangeResponse, Status>> + Send>>;

    async fn exchange(
        &self,
        _: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (full, rest) = (self.items / PAGE_ITEMS, self.items % PAGE_ITEMS);
        let (page, last) = (self.page(PAGE_ITEMS), self.page(rest));
        let pages = std::iter::repeat_n(page, full).chain((rest > 0).then_some(last)).map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(pages))))
    }

    async fn fetch_recalls(
        &self,
        _: Request<v1::FetchRecallsRequest>,
    ) -> Result<Response<v1::FetchRecallsResponse>, Status> {
        Err(Status::unimplemented("nothing but the stream"))
    }

    async fn answer_recall(
        &self,
        _: Request<v1::AnswerRecallRequest>,
    ) -> Result<Response<v1::AnswerRecallResponse>, Status> {
        Err(Status::unimplemented("nothing but the stream"))
    }
}

/// A connection as tonic takes it.
struct Line(Connection);

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl tokio::io::AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
