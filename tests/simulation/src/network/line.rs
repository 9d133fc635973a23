//! A connection between two machines.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use comity_identity::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tonic::transport::server::Connected;
use turmoil::net::TcpStream;

/// A connection that knows who is at the other end. It breaks when its link is mended: turmoil sends nothing again, so that
/// what was lost on it would be missing for ever.
pub(crate) struct Line {
    stream: TcpStream,
    peer: Peer,
    mended: Pin<Box<dyn Future<Output = ()> + Send>>,
    broken: bool,
}

impl Line {
    pub(super) fn new(stream: TcpStream, peer: Peer, mut link: watch::Receiver<u64>) -> Self {
        let mended = Box::pin(async move {
            if link.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        Self { stream, peer, mended, broken: false }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.broken || self.mended.as_mut().poll(cx).is_ready() {
            self.broken = true;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Connected for Line {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
