//! etcd beside comity: three processes with TLS between them and to their clients, disks synced, as Debian ships it.

mod certificates;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use self::certificates::Certificates;
use super::process::Watched;
use crate::Problem;
use crate::federation::free_ports;

/// The part of etcd's API that is called.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub(super) mod api {
    tonic::include_proto!("etcdserverpb");
}

/// Debian's package is `etcd-server`.
const PROGRAM: &str = "etcd";
const MEMBERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// The first line of `etcd --version`; nothing where etcd is not installed.
///
/// # Errors
/// It is there and cannot be run.
pub(super) fn version() -> io::Result<Option<String>> {
    match Command::new(PROGRAM).arg("--version").stdin(Stdio::null()).output() {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A cluster that runs until it is dropped.
pub(super) struct Cluster {
    nodes: Vec<Node>,
    certificates: Certificates,
    _folder: tempfile::TempDir,
}

struct Node {
    child: Child,
    client: String,
    folder: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cluster {
    /// Starts three processes, every setting but those of TLS at its default, and waits until one leads.
    ///
    /// # Errors
    /// A process cannot be started, or no leader is there in time.
    pub(super) async fn start() -> Result<Self, Problem> {
        let folder = tempfile::tempdir()?;
        let certificates = Certificates::make(folder.path())?;
        let ports = free_ports(MEMBERS * 2)?;
        let addresses: Vec<(String, String)> = ports
            .chunks_exact(2)
            .filter_map(|pair| Some((format!("127.0.0.1:{}", pair.first()?), format!("127.0.0.1:{}", pair.last()?))))
            .collect();
        let members: Vec<String> =
            addresses.iter().enumerate().map(|(n, (_, peer))| format!("node-{n}=https://{peer}")).collect();
        let members = members.join(",");
        let mut nodes = Vec::new();
        for (n, (client, peer)) in addresses.into_iter().enumerate() {
            let name = format!("node-{n}");
            let child = spawn(folder.path(), &name, &client, &peer, &members)?;
            nodes.push(Node { child, client, folder: folder.path().join(name) });
        }
        let cluster = Self { nodes, certificates, _folder: folder };
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The processes.
    pub(super) fn nodes(&self) -> Vec<Watched> {
        let watched = |node: &Node| Watched { pid: node.child.id(), folder: node.folder.clone(), prefix: "" };
        self.nodes.iter().map(watched).collect()
    }

    /// A connection to one of the nodes.
    pub(super) fn dial(&self, node: usize) -> Result<Channel, Problem> {
        let address = &self.nodes.get(node).ok_or("no such node")?.client;
        let tls = self.certificates.client()?;
        let connector = tower::service_fn(move |uri: http::Uri| {
            let tls = TlsConnector::from(Arc::clone(&tls));
            async move {
                let address = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
                tls.connect(name, socket).await.map(TokioIo::new)
            }
        });
        // The connector makes the TLS; the scheme keeps tonic from asking for its own.
        Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector_lazy(connector))
    }

    /// Which node leads.
    pub(super) async fn leader(&self) -> Result<usize, Problem> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            for node in 0..self.nodes.len() {
                let mut client = api::maintenance_client::MaintenanceClient::new(self.dial(node)?);
                let status = tokio::time::timeout(Duration::from_secs(2), client.status(api::StatusRequest {})).await;
                let Ok(Ok(status)) = status else { continue };
                let status = status.into_inner();
                if status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader) {
                    return Ok(node);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("etcd has no leader within {} s", PATIENCE.as_secs()).into())
    }
}

fn spawn(folder: &Path, name: &str, client: &str, peer: &str, members: &str) -> Result<Child, Problem> {
    let log = fs::File::create(folder.join(format!("{name}.log")))?;
    let (certificate, key, authority) =
        (certificates::certificate(folder), certificates::key(folder), certificates::authority(folder));
    let mut command = Command::new(PROGRAM);
    command.args(["--name", name, "--initial-cluster", members, "--initial-cluster-state", "new"]);
    command.arg("--data-dir").arg(folder.join(name));
    command.args(["--listen-client-urls", &format!("https://{client}")]);
    command.args(["--advertise-client-urls", &format!("https://{client}")]);
    command.args(["--listen-peer-urls", &format!("https://{peer}")]);
    command.args(["--initial-advertise-peer-urls", &format!("https://{peer}")]);
    command.args(["--logger", "zap", "--log-level", "warn"]);
    for prefix in ["", "peer-"] {
        command.arg(format!("--{prefix}client-cert-auth"));
        command.arg(format!("--{prefix}cert-file")).arg(&certificate);
        command.arg(format!("--{prefix}key-file")).arg(&key);
        command.arg(format!("--{prefix}trusted-ca-file")).arg(&authority);
    }
    // Settings of a machine's own etcd are not this cluster's.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(variable);
    }
    Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
}
