//! TCP between nodes that can be cut and mended: a proxy stands before each node's peer port, at the address in the roster.
//!
//! A proxy must know which node a connection comes from, and TLS does not tell it: it asks the kernel which process holds the
//! other end (`/proc/net/tcp`, then `/proc/PID/fd`). What crosses a cut line is held back, as a network holds back what it
//! goes on retransmitting, and arrives late once the line is mended. Connections of others, such as the clients of a campaign,
//! are never cut.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use comity_cli::demo::federation::Federation;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Problem;
use crate::federation::free_ports;

const BUFFER_BYTES: usize = 64 * 1024;

/// Connections from one seat to another.
type Line = (usize, usize);

/// The lines between the nodes of a federation. Its proxies end with it.
#[derive(Debug)]
pub struct Net {
    seats: usize,
    cut: watch::Sender<BTreeSet<Line>>,
    processes: Arc<Mutex<Vec<Option<u32>>>>,
    _proxies: JoinSet<()>,
}

impl Net {
    /// Puts proxies between the nodes of a federation that was laid out and does not run yet.
    ///
    /// # Errors
    /// A configuration cannot be rewritten, or a port cannot be had.
    pub async fn lay(federation: &Federation) -> Result<Self, Problem> {
        let seats = federation.seats.len();
        let (cut, _) = watch::channel(BTreeSet::new());
        let processes = Arc::new(Mutex::new(vec![None; seats]));
        let mut proxies = JoinSet::new();
        for (to, (seat, port)) in federation.seats.iter().zip(free_ports(seats)?).enumerate() {
            // The roster names the proxy; the node listens elsewhere.
            let node = SocketAddr::from(([127, 0, 0, 1], port));
            let config = fs::read_to_string(seat.config())?;
            let moved = config.replacen(&listen(&seat.peer), &listen(&node.to_string()), 1);
            if moved == config {
                return Err(format!("{}: no `{}`", seat.config().display(), listen(&seat.peer)).into());
            }
            fs::write(seat.config(), moved)?;
            let listener = TcpListener::bind(&seat.peer).await?;
            let proxy = Proxy { to, node, cut: cut.subscribe(), processes: Arc::clone(&processes) };
            proxies.spawn(proxy.run(listener));
        }
        Ok(Self { seats, cut, processes, _proxies: proxies })
    }

    /// Tells the proxies which processes the nodes are: to be said again whenever one was started.
    pub fn know(&self, federation: &Federation) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        *processes = (0..self.seats).map(|seat| federation.process_id(seat)).collect();
    }

    /// Cuts the connections that one node opens to another, and leaves those of the other direction.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        self.cut.send_modify(|cut| {
            cut.insert((from, to));
        });
    }

    /// Cuts two nodes off from each other.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Cuts some nodes off from all others.
    pub fn isolate(&self, group: &[usize]) {
        for one in group {
            for other in (0..self.seats).filter(|seat| !group.contains(seat)) {
                self.cut(*one, other);
            }
        }
    }

    /// Mends every line.
    pub fn mend(&self) {
        self.cut.send_modify(BTreeSet::clear);
    }
}

fn listen(address: &str) -> String {
    format!("[peer]\nlisten = \"{address}\"")
}

/// What stands before one node.
#[derive(Clone)]
struct Proxy {
    to: usize,
    node: SocketAddr,
    cut: watch::Receiver<BTreeSet<Line>>,
    processes: Arc<Mutex<Vec<Option<u32>>>>,
}

impl Proxy {
    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((socket, _)) = accepted {
                    connections.spawn(self.clone().carry(socket));
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn carry(mut self, socket: TcpStream) -> io::Result<()> {
        let line = self.origin(&socket)?.map(|from| (from, self.to));
        open(&mut self.cut, line).await?;
        let node = TcpStream::connect(self.node).await?;
        socket.set_nodelay(true)?;
        node.set_nodelay(true)?;
        let (from_reader, from_writer) = socket.into_split();
        let (to_reader, to_writer) = node.into_split();
        tokio::try_join!(
            pump(from_reader, to_writer, line, self.cut.clone()),
            pump(to_reader, from_writer, line, self.cut.clone()),
        )?;
        Ok(())
    }

    /// The seat whose process holds the other end; nothing where it is no node.
    fn origin(&self, socket: &TcpStream) -> io::Result<Option<usize>> {
        let Some(inode) = inode(socket.peer_addr()?, socket.local_addr()?)? else { return Ok(None) };
        let end = format!("socket:[{inode}]");
        let processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(processes.into_iter().position(|pid| pid.is_some_and(|pid| holds(pid, &end))))
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: Option<Line>,
    mut cut: watch::Receiver<BTreeSet<Line>>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        open(&mut cut, line).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
    }
}

/// Waits until nothing cuts a line.
async fn open(cut: &mut watch::Receiver<BTreeSet<Line>>, line: Option<Line>) -> io::Result<()> {
    let Some(line) = line else { return Ok(()) };
    cut.wait_for(|cut| !cut.contains(&line)).await.map(drop).map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

/// The inode of the socket at one end of an IPv4 connection. proc(5), `/proc/net/tcp`.
fn inode(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u64>> {
    let (Some(local), Some(remote)) = (hexadecimal(local), hexadecimal(remote)) else { return Ok(None) };
    let table = fs::read_to_string("/proc/net/tcp")?;
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut row = row.filter(|row| row.get(1) == Some(&local.as_str()) && row.get(2) == Some(&remote.as_str()));
    Ok(row.next().and_then(|row| row.get(9)?.parse().ok()))
}

fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    // The address stands there as the machine's own integer.
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

fn holds(pid: u32, end: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_tells_who_holds_the_other_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let inode = inode(accepted.peer_addr().unwrap(), accepted.local_addr().unwrap()).unwrap().unwrap();
        assert!(holds(std::process::id(), &format!("socket:[{inode}]")));
        assert!(!holds(std::process::id(), "socket:[0]"));
        drop(dialled);
    }
}
