//! Having this node's own access log cosigned: the other members are asked what they saw of it before anything is served, and
//! offered a head at fixed intervals while it grows.

use std::sync::Arc;
use std::time::Duration;

use comity_app::{AppError, Node, Standing};
use comity_core::MemberId;
use comity_core::checkpoint::SignedCheckpoint;
use comity_core::roster::Voter;
use comity_proto::v1;
use comity_proto::v1::witness_service_client::WitnessServiceClient;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The first and the longest pause before those are asked again that have not answered.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A member that saw another head than was thought is offered it once more from there.
const TRIES: usize = 3;

/// Asks the other members what they saw of this node's log until it may serve. Whoever has not answered by then is heard later.
///
/// # Errors
/// The log cannot be read.
pub async fn confirm_log(node: &Arc<Node>) -> Result<(), AppError> {
    let mut standing = node.watch_standing();
    let mut pause = PAUSE_MIN;
    let mut told = None;
    loop {
        node.decide_standing().await?;
        let now = standing.borrow_and_update().clone();
        if now == Standing::Serving {
            return Ok(());
        }
        if told.as_ref() != Some(&now) {
            tell(&now);
            told = Some(now);
        }
        ask_unheard(node).await;
        node.decide_standing().await?;
        if *standing.borrow_and_update() == Standing::Serving {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            _ = standing.changed() => {}
        }
    }
}

fn tell(standing: &Standing) {
    match standing {
        Standing::Serving => {}
        Standing::Waiting { heard, needed } => {
            tracing::info!(heard, needed, "waiting for other members to say how far they saw the access log");
        }
        Standing::Behind { lost, .. } => {
            for lost in lost {
                tracing::error!(
                    origin = lost.origin,
                    first = lost.first,
                    end = lost.end,
                    "the access log was rolled back or rewritten: others cosigned leaves that are not here. Nothing is served: \
                     put the newer store back, or declare the loss with `comity node restore --declare-loss`"
                );
            }
        }
    }
}

async fn ask_unheard(node: &Arc<Node>) {
    let mut answers = JoinSet::new();
    for member in node.unheard_witnesses() {
        let channel = node.consensus().channel(member);
        let request = v1::GetWitnessedRequest { federation: node.genesis().federation().0.to_vec() };
        answers.spawn(async move {
            let answer = async { client(channel)?.get_witnessed(timed(request)).await };
            (member, answer.await)
        });
    }
    while let Some(answer) = answers.join_next().await {
        let Ok((member, answer)) = answer else { continue };
        let heard = match answer {
            Ok(answer) => node.hear_witness(member, answer.into_inner().notes).await.map_err(|e| e.to_string()),
            Err(status) => Err(problem(&status)),
        };
        if let Err(problem) = heard
            && node.note_witness_problem(member, problem.clone())
        {
            tracing::warn!(%member, %problem, "did not say how far it saw the access log");
        }
    }
}

/// Signs a head at fixed intervals while the log grows, and has it cosigned, until shutdown.
pub async fn witness_forever(node: Arc<Node>, every: Duration, shutdown: CancellationToken) {
    // The first at once: what was served before a crash is soon covered.
    let mut pause = Duration::from_secs(1).min(every);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = every,
            () = shutdown.cancelled() => return,
        }
        let done = tokio::select! {
            done = offer_head(&node) => done,
            () = shutdown.cancelled() => return,
        };
        if let Err(error) = done {
            tracing::error!(%error, "no cosigned checkpoint of the access log");
        }
    }
}

/// Signs the log as it is now and offers it to everybody who has not cosigned it yet. Returns it with the cosignatures that came.
///
/// # Errors
/// The log cannot be read or written.
pub(crate) async fn offer_head(node: &Arc<Node>) -> Result<SignedCheckpoint, AppError> {
    let _turn = node.offering_turn().await;
    let mut note = node.access_checkpoint().await?;
    let cosigned = node.cosigners_of(&note);
    let mut answers = JoinSet::new();
    for (member, voter) in node.witnesses() {
        if !cosigned.contains(&member) {
            let (node, note) = (Arc::clone(node), note.clone());
            answers.spawn(async move { (member, offer_to(&node, member, &voter, note).await) });
        }
    }
    let before = note.signature_count();
    while let Some(answer) = answers.join_next().await {
        let Ok((member, answer)) = answer else { continue };
        match answer {
            Ok(cosigned) => note.merge(&cosigned),
            Err(problem) => {
                if node.note_witness_problem(member, problem.clone()) {
                    tracing::warn!(%member, %problem, "did not cosign the access log");
                }
            }
        }
    }
    if note.signature_count() > before {
        node.keep_cosigned(note.clone()).await?;
    }
    Ok(note)
}

async fn offer_to(
    node: &Arc<Node>,
    member: MemberId,
    voter: &Voter,
    mut note: SignedCheckpoint,
) -> Result<SignedCheckpoint, String> {
    for _ in 0..TRIES {
        let offer = node.offer_to(member, &note.checkpoint).await.map_err(|e| e.to_string())?;
        let hashes = |hashes: Vec<comity_core::canonical::Hex32>| hashes.into_iter().map(|h| h.0.to_vec()).collect();
        let request = v1::AddCheckpointRequest {
            federation: node.genesis().federation().0.to_vec(),
            note: note.to_bytes(),
            old_size: offer.old_size,
            consistency: hashes(offer.consistency),
            opening: offer.opening.map(|opening| v1::AccessLogOpening {
                leaf: Some(v1::AccessLeaf {
                    leaf: opening.n,
                    salt: opening.leaf.salt.0.to_vec(),
                    record: opening.leaf.record,
                    annex: opening.leaf.annex,
                    ..Default::default()
                }),
                inclusion: hashes(opening.inclusion),
            }),
        };
        let channel = node.consensus().channel(member);
        let answer = async { client(channel)?.add_checkpoint(timed(request)).await };
        let answer = answer.await.map_err(|status| problem(&status))?.into_inner();
        if !answer.cosigned.is_empty() {
            let taken = node.take_cosignature(member, voter, &mut note, &answer.cosigned);
            return taken.map(|()| note).map_err(|e| format!("its cosignature does not count: {e}"));
        }
        let known = if answer.known.is_empty() { Vec::new() } else { vec![answer.known] };
        node.hear_witness(member, known).await.map_err(|e| e.to_string())?;
        if node.standing() != Standing::Serving {
            return Err("it saw leaves of this log that are not here".to_owned());
        }
    }
    Err("it does not cosign what continues the head that it names".to_owned())
}

fn client(channel: Option<Channel>) -> Result<WitnessServiceClient<Channel>, Status> {
    channel.map(WitnessServiceClient::new).ok_or_else(|| Status::unavailable("no way to it is known"))
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

/// For the administrator: a reason where there is one, else what kind of failure it was.
fn problem(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) => info.reason,
        None => format!("{:?}", status.code()),
    }
}
