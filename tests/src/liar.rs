//! What listens where a member's node is expected, with that member's certificate, and says whatever it is told to the stream that
//! its partner has open.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use comity_cli::demo::federation::Federation;
use comity_core::{MemberId, Role};
use comity_identity::tls::server_config;
use comity_identity::{Credentials, Expectation};
use comity_proto::v1;
use comity_proto::v1::exchange_request::Message as Asked;
use comity_proto::v1::peer_service_server::{PeerService, PeerServiceServer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::Problem;
use crate::federation::{certificate, trust_of};

/// What a partner's node said to it, and how it took what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A stream was opened with this cursor.
    Opened(Vec<u8>),
    /// A receipt's envelope.
    Receipt(Vec<u8>),
    /// The partner left the stream.
    Left,
    /// Recalls were asked for.
    AskedForRecalls,
    /// An answer to one was handed in.
    AnsweredRecall(Vec<u8>),
}

/// What listens in a member's place. Ends with it.
#[derive(Debug)]
pub struct Liar {
    say: mpsc::UnboundedSender<v1::ExchangeResponse>,
    told: Told,
    heard: mpsc::UnboundedReceiver<Heard>,
    _server: JoinSet<()>,
}

#[derive(Debug, Clone)]
struct Told {
    script: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<v1::ExchangeResponse>>>,
    recalls: Arc<Mutex<Vec<Vec<u8>>>>,
    heard: mpsc::UnboundedSender<Heard>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Liar {
    /// Takes the place of a member whose node is down. It hears the partners `of` alone.
    ///
    /// # Errors
    /// The port is taken, or the certificate cannot be read.
    pub async fn in_place_of(federation: &Federation, member: MemberId, of: MemberId) -> Result<Self, Problem> {
        let seat = federation.seat(member.as_str()).ok_or("no seat")?;
        let path: &Path = &certificate(federation, member.as_str(), Role::Node, "node-1");
        let credentials = Credentials::load(&path.with_extension("pem"), &path.with_extension("key"))?;
        let tls = TlsAcceptor::from(server_config(&credentials, trust_of(federation)?, Expectation::node_of(of))?);
        let listener = TcpListener::bind(&seat.peer).await?;
        let (lines, incoming) = mpsc::channel(16);
        let (sender, heard) = mpsc::unbounded_channel();
        let (say, script) = mpsc::unbounded_channel();
        let script = Arc::new(tokio::sync::Mutex::new(script));
        let told = Told { script, recalls: Arc::default(), heard: sender };
        let mut server = JoinSet::new();
        server.spawn(accept(listener, tls, lines));
        let service = PeerServiceServer::new(told.clone()).max_encoding_message_size(usize::MAX);
        let serving = Server::builder().add_service(service).serve_with_incoming(ReceiverStream::new(incoming));
        server.spawn(async move {
            let _ = serving.await;
        });
        Ok(Self { say, told, heard, _server: server })
    }

    /// Says this to the stream that is open, or to the next one.
    pub fn say(&self, message: v1::ExchangeResponse) {
        let _ = self.say.send(message);
    }

    /// Answers whoever asks for recalls with these envelopes.
    pub fn recall(&self, envelopes: Vec<Vec<u8>>) {
        *locked(&self.told.recalls) = envelopes;
    }

    /// Forgets what was heard so far.
    pub fn forget(&mut self) {
        while self.heard.try_recv().is_ok() {}
    }

    /// What is heard next.
    pub async fn hear(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, lines: mpsc::Sender<io::Result<Line>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, lines) = (tls.clone(), lines.clone());
        tokio::spawn(async move {
            if let Ok(line) = tls.accept(socket).await {
                let _ = lines.send(Ok(Line(line))).await;
            }
        });
    }
}

#[tonic::async_trait]
impl PeerService for Told {
    type ExchangeStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::ExchangeResponse, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let mut asked = request.into_inner();
        let (answers, outgoing) = mpsc::channel(1);
        let told = self.clone();
        tokio::spawn(async move {
            let first = asked.next().await;
            if let Some(Ok(v1::ExchangeRequest { message: Some(Asked::Open(open)) })) = first {
                let _ = told.heard.send(Heard::Opened(open.cursor));
            }
            let saying = async {
                let mut script = told.script.lock().await;
                while let Some(message) = script.recv().await {
                    if answers.send(Ok(message)).await.is_err() {
                        break;
                    }
                }
            };
            let listening = async {
                while let Some(Ok(asked)) = asked.next().await {
                    if let Some(Asked::Receipt(receipt)) = asked.message {
                        let _ = told.heard.send(Heard::Receipt(receipt));
                    }
                }
            };
            tokio::select! {
                () = saying => {}
                () = listening => {}
                () = answers.closed() => {}
            }
            let _ = told.heard.send(Heard::Left);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn fetch_recalls(
        &self,
        _: Request<v1::FetchRecallsRequest>,
    ) -> Result<Response<v1::FetchRecallsResponse>, Status> {
        let recalls = locked(&self.recalls).clone();
        let _ = self.heard.send(Heard::AskedForRecalls);
        Ok(Response::new(v1::FetchRecallsResponse { recalls, position: 1 }))
    }

    async fn answer_recall(
        &self,
        request: Request<v1::AnswerRecallRequest>,
    ) -> Result<Response<v1::AnswerRecallResponse>, Status> {
        let _ = self.heard.send(Heard::AnsweredRecall(request.into_inner().answer));
        Ok(Response::new(v1::AnswerRecallResponse {}))
    }
}

/// An accepted connection, as tonic takes it.
struct Line(TlsStream<TcpStream>);

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
