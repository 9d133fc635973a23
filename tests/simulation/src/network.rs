//! The way between members' machines: turmoil's network, with a line that names the speaker in the place of TLS.

mod line;
mod weather;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use comity_consensus::simulation::Dialler;
use comity_core::{MemberId, Timestamp};
use comity_identity::Peer;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use turmoil::net::{TcpListener, TcpStream};

use crate::dice::Dice;
use crate::plan::Plan;
use crate::world::host;
pub(crate) use line::Line;
pub(crate) use weather::WeatherLayer;

/// The port on which nodes listen.
const PORT: u16 = 7_443;

/// The links between members' machines.
pub(crate) struct Network {
    /// How often each link was mended.
    mended: BTreeMap<(MemberId, MemberId), watch::Sender<u64>>,
    weather: Mutex<Weather>,
}

/// What befalls single calls.
#[derive(Debug)]
struct Weather {
    dice: Dice,
    lost_per_mille: u64,
}

/// What befalls a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    RequestLost,
    AnswerLost,
}

fn pair(a: MemberId, b: MemberId) -> (MemberId, MemberId) {
    if a < b { (a, b) } else { (b, a) }
}

impl Network {
    pub(crate) fn new(plan: &Plan, members: &[MemberId]) -> Self {
        let mut mended = BTreeMap::new();
        for a in members {
            for b in members.iter().filter(|b| a < b) {
                mended.insert((*a, *b), watch::channel(0).0);
            }
        }
        let dice = Dice::new(plan.seed, "weather");
        Self { mended, weather: Mutex::new(Weather { dice, lost_per_mille: plan.habits.lost_per_mille }) }
    }

    /// Breaks the connections that stood on a link which is mended now: what was lost on them will not come.
    pub(crate) fn mend(&self, a: MemberId, b: MemberId) {
        if let Some(link) = self.mended.get(&pair(a, b)) {
            link.send_modify(|times| *times += 1);
        }
    }

    /// From now on nothing is lost.
    pub(crate) fn clear_up(&self) {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner).lost_per_mille = 0;
    }

    fn fate(&self) -> Fate {
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = weather.lost_per_mille;
        if !weather.dice.per_mille(lost) {
            Fate::Arrives
        } else if weather.dice.percent(50) {
            Fate::RequestLost
        } else {
            Fate::AnswerLost
        }
    }

    fn line(&self, stream: TcpStream, peer: Peer, own: MemberId) -> io::Result<Line> {
        let link = self.mended.get(&pair(own, peer.member)).ok_or(io::ErrorKind::HostUnreachable)?;
        Ok(Line::new(stream, peer, link.subscribe()))
    }

    /// How a member's node dials the others: it says who it is, and cannot say that it is somebody else.
    pub(crate) fn dialler(self: &Arc<Self>, own: MemberId) -> Dialler {
        let network = Arc::clone(self);
        Arc::new(move |member: MemberId, endpoint: &Endpoint| {
            let network = Arc::clone(&network);
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                let network = Arc::clone(&network);
                async move {
                    let mut stream = TcpStream::connect((host(member), PORT)).await?;
                    stream.write_all(format!("{own}\n").as_bytes()).await?;
                    network.line(stream, peer(member)?, own).map(TokioIo::new)
                }
            }))
        })
    }

    /// What comes in at a member's node.
    pub(crate) async fn listen(self: &Arc<Self>, own: MemberId) -> io::Result<ReceiverStream<io::Result<Line>>> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        let (accepted, incoming) = mpsc::channel(64);
        let network = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (network, accepted) = (Arc::clone(&network), accepted.clone());
                tokio::spawn(async move {
                    if let Ok(line) = network.greet(stream, own).await {
                        // Nobody waits for it once the node stops.
                        let _ = accepted.send(Ok(line)).await;
                    }
                });
            }
        });
        Ok(ReceiverStream::new(incoming))
    }

    async fn greet(&self, mut stream: TcpStream, own: MemberId) -> io::Result<Line> {
        let mut name = [0; 3];
        stream.read_exact(&mut name).await?;
        let member = std::str::from_utf8(&name).ok().and_then(|name| name.trim_end().parse().ok());
        self.line(stream, peer(member.ok_or(io::ErrorKind::InvalidData)?)?, own)
    }
}

/// Who a certificate would say that it is.
fn peer(member: MemberId) -> io::Result<Peer> {
    let id = format!("spiffe://{}/node/one", host(member)).parse().map_err(io::Error::other)?;
    let not_after = Timestamp::from_micros(4_102_444_800_000_000).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Peer { member, id, not_after, certificate_sha256: [0; 32] })
}
