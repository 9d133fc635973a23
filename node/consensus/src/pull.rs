//! Pulling what a snapshot holds and this node lacks, and replaying it, before the snapshot is used.
//!
//! INVARIANT: of a snapshot nothing is believed but what follows from signed commands: it is installed only if replaying them
//! on what is applied here gives its size and its root. What was pulled when the line broke is kept and gone on from.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::Refusal;
use comity_proto::v1;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::guard::Known;
use crate::log_store::LogStore;
use crate::peers::{CallError, Peers};
use crate::snapshot::{SnapshotData, Staged};
use crate::state_machine::{Applied, erased_texts};
use crate::types::{Command, Keys};
use crate::verify;
use crate::wire::{self, InvalidMessage};

/// How long whoever offers a snapshot waits for the pull before it is told how far it has got.
const WAIT: Duration = Duration::from_secs(10);
/// How long the sender may take for the next page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How many leaves are asked for in one call.
const CALL_MAX_LEAVES: u64 = 65_536;
/// After how many leaves it is said how far the pull has got.
const PROGRESS_LEAVES: u64 = 10_000;

/// Why a snapshot was not pulled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    /// The sender cannot be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The line broke.
    #[error("after {commands} commands the line broke: {problem}")]
    Broken { commands: u64, problem: String },
    /// The sender's messages are not what they must be.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// Pages do not follow one another.
    #[error("leaf {expected} was asked for, {found} came")]
    OtherLeaf { expected: u64, found: u64 },
    /// What this node has applied is not the beginning of it.
    #[error(
        "it holds {commands} commands and root {theirs} over the first {own}, which are applied here under root {ours}: both logs are to be kept as evidence"
    )]
    OtherHistory { commands: u64, own: u64, ours: Hex32, theirs: Hex32 },
    /// A command that cannot have been accepted.
    #[error("its command {leaf} cannot have been accepted: {}", refusal.reason())]
    NotAccepted { leaf: u64, refusal: Refusal },
    /// A command that stands earlier already.
    #[error("its command {leaf} stands at leaf {earlier} already")]
    Repeated { leaf: u64, earlier: u64 },
    /// It does not replay to what it says.
    #[error("its {commands} commands replay to root {computed}, it says {claimed}")]
    OtherRoot { commands: u64, claimed: Hex32, computed: Hex32 },
    /// This node's disk.
    #[error("what is pulled cannot be kept: {0}")]
    Log(#[from] io::Error),
}

impl PullError {
    /// A stable upper-snake reason, for machines.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Call(_) | Self::Broken { .. } | Self::Log(_) => "SNAPSHOT_NOT_PULLED",
            Self::Invalid(_) | Self::OtherLeaf { .. } => "SNAPSHOT_INVALID",
            Self::OtherHistory { .. } => "SNAPSHOT_OTHER_HISTORY",
            Self::NotAccepted { .. } | Self::Repeated { .. } => "SNAPSHOT_FORGED",
            Self::OtherRoot { .. } => "SNAPSHOT_OTHER_ROOT",
        }
    }

    /// Whether the same offer may well be pulled another time.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Call(_) | Self::Broken { .. } | Self::Log(_))
    }
}

/// What a pull has come to.
pub(crate) enum Pulled {
    /// Everything is here.
    All(SnapshotData),
    /// It goes on; this many leaves are here.
    SoFar(u64),
}

/// Pulls one snapshot at a time. Clones share it.
#[derive(Clone)]
pub(crate) struct Puller(Arc<Inner>);

struct Inner {
    applied: Applied,
    log: LogStore,
    peers: Peers,
    /// What was pulled and replayed and is not installed. Locked by whoever pulls.
    staged: tokio::sync::Mutex<Option<Staged>>,
    progress: watch::Sender<u64>,
    job: Mutex<Option<Job>>,
}

/// A pull that is under way or has ended.
struct Job {
    from: MemberId,
    commands: u64,
    root: Hex32,
    ended: watch::Receiver<Option<Result<(), Arc<PullError>>>>,
    task: JoinHandle<()>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puller {
    pub(crate) fn new(applied: Applied, log: LogStore, peers: Peers) -> Self {
        let (staged, job) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { applied, log, peers, staged, progress: watch::Sender::default(), job }))
    }

    /// Gets what `offered` holds and this node lacks, or begins to. Asking again for the same goes on with the same pull; for
    /// another, the former is given up.
    pub(crate) async fn pull(&self, from: Known, offered: &SnapshotData) -> Result<Pulled, Arc<PullError>> {
        if self.0.applied.read(|own| offered.is_of(own)) {
            return Ok(Pulled::All(offered.clone()));
        }
        let mut ended = self.job(from, offered);
        let result = match tokio::time::timeout(WAIT, ended.wait_for(Option::is_some)).await {
            Ok(Ok(result)) => result.clone(),
            // It takes longer, or was given up for another.
            Err(_) | Ok(Err(_)) => None,
        };
        match result {
            Some(result) => result?,
            None => return Ok(Pulled::SoFar(*self.0.progress.borrow())),
        }
        let staged = self.0.staged.lock().await.take_if(|staged| offered.is_of(&staged.list));
        Ok(match staged {
            Some(staged) => Pulled::All(SnapshotData { staged: Some(Arc::new(staged)), ..offered.clone() }),
            // Somebody else is installing it.
            None => Pulled::SoFar(offered.commands),
        })
    }

    /// Stops pulling.
    pub(crate) fn stop(&self) {
        self.0.job.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn job(&self, from: Known, offered: &SnapshotData) -> watch::Receiver<Option<Result<(), Arc<PullError>>>> {
        let mut job = self.0.job.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = job.as_ref().filter(|job| job.is_for(from, offered) && job.stands()) {
            return job.ended.clone();
        }
        let (end, ended) = watch::channel(None);
        let (puller, offered_now) = (self.clone(), offered.clone());
        let task = tokio::spawn(async move {
            let result = puller.0.run(from, &offered_now).await.map_err(Arc::new);
            if let Err(problem) = &result {
                let (peer, commands, root) = (from.member, offered_now.commands, offered_now.root);
                tracing::warn!(%peer, commands, %root, %problem, "a snapshot was not pulled");
            }
            end.send_replace(Some(result));
        });
        let (commands, root) = (offered.commands, offered.root);
        *job = Some(Job { from: from.member, commands, root, ended: ended.clone(), task });
        ended
    }
}

impl Job {
    fn is_for(&self, from: Known, offered: &SnapshotData) -> bool {
        (self.from, self.commands, self.root) == (from.member, offered.commands, offered.root)
    }

    /// It is under way, or what it found would be found again.
    fn stands(&self) -> bool {
        match &*self.ended.borrow() {
            None => !self.task.is_finished(),
            Some(Err(problem)) => !problem.is_passing(),
            Some(Ok(())) => false,
        }
    }
}

impl Inner {
    async fn run(&self, from: Known, offered: &SnapshotData) -> Result<(), PullError> {
        let mut held = self.staged.lock().await;
        if held.as_ref().is_some_and(|staged| {
            staged.size() > offered.commands || !self.applied.read(|own| staged.goes_on_from(own))
        }) {
            *held = None;
        }
        let result = match self.fill(from, offered, &mut held).await {
            // What was pulled before came from somebody whose log is another than this sender's: anew from what is applied.
            Err(PullError::OtherHistory { own, .. }) if own > self.applied.read(|own| own.commands().size()) => {
                *held = None;
                self.fill(from, offered, &mut held).await
            }
            result => result,
        };
        if result.as_ref().is_err_and(|problem| !problem.is_passing()) {
            *held = None;
            self.log.clear_staged().await?;
        }
        result
    }

    /// Pulls until everything is there.
    async fn fill(&self, from: Known, offered: &SnapshotData, held: &mut Option<Staged>) -> Result<(), PullError> {
        let staged = match held {
            Some(staged) => staged,
            None => {
                self.log.clear_staged().await?;
                held.insert(self.applied.read(Staged::on))
            }
        };
        let (peer, have) = (from.member, staged.size());
        tracing::info!(%peer, have, commands = offered.commands, "pulling a snapshot");
        while staged.size() < offered.commands {
            let before = staged.size();
            self.call(from, offered, staged).await?;
            if staged.size() == before {
                return Err(PullError::Broken { commands: before, problem: "nothing came".into() });
            }
        }
        if offered.is_of(&staged.list) {
            return Ok(());
        }
        let (commands, claimed, computed) = (offered.commands, offered.root, staged.list.commands().root());
        Err(PullError::OtherRoot { commands, claimed, computed })
    }

    /// One call's pages.
    async fn call(&self, from: Known, offered: &SnapshotData, staged: &mut Staged) -> Result<(), PullError> {
        let first_leaf = staged.size();
        let max = (offered.commands - first_leaf).min(CALL_MAX_LEAVES);
        let message = v1::ReadCommandsRequest { sender: Some(self.peers.own().into()), first_leaf, max };
        let mut pages =
            self.peers
                .call(from.node, PAGE_TIMEOUT, message, |mut client, request| async move {
                    client.read_commands(request).await
                })
                .await?;
        let mut root_due = true;
        loop {
            let broken = |problem: &str| PullError::Broken { commands: staged.size(), problem: problem.to_owned() };
            let message = match tokio::time::timeout(PAGE_TIMEOUT, pages.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(status)) => return Err(broken(status.message())),
                Err(_) => return Err(broken("the next page did not come in time")),
            };
            let page = wire::page(message)?;
            if page.first != staged.size() {
                return Err(PullError::OtherLeaf { expected: staged.size(), found: page.first });
            }
            if root_due {
                let theirs = page.root_before.ok_or(InvalidMessage::Missing("root_before"))?;
                let (commands, own, ours) = (offered.commands, staged.size(), staged.list.commands().root());
                if theirs != ours {
                    return Err(PullError::OtherHistory { commands, own, ours, theirs });
                }
                root_due = false;
            }
            self.take(offered, staged, page.commands).await?;
        }
    }

    /// Keeps a page and replays it.
    async fn take(
        &self,
        offered: &SnapshotData,
        staged: &mut Staged,
        mut commands: Vec<Command>,
    ) -> Result<(), PullError> {
        let first = staged.size();
        commands.truncate(usize::try_from(offered.commands - first).unwrap_or(usize::MAX));
        verify::all(&Keys::of(&staged.list), commands.iter()).await;
        // Rows before the list: where this is given up in between, the same leaves are written once more.
        self.log.stage(first, commands.clone()).await?;
        for command in &commands {
            let leaf = staged.size();
            let keys = Keys::of(&staged.list);
            let checked = command.check(&keys).map_err(Clone::clone);
            let accepted = checked.and_then(|checked| staged.list.apply_checked(checked));
            let accepted = accepted.map_err(|refusal| PullError::NotAccepted { leaf, refusal })?;
            if accepted.repeated {
                return Err(PullError::Repeated { leaf, earlier: accepted.leaf });
            }
            staged.erased.extend(erased_texts(&accepted.events));
        }
        let commands = staged.size();
        if first / PROGRESS_LEAVES != commands / PROGRESS_LEAVES {
            tracing::info!(commands, of = offered.commands, "pulling a snapshot");
        }
        self.progress.send_replace(commands);
        Ok(())
    }
}
