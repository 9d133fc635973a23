//! Opening: everything that a node stands on, put together, and nothing served yet.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use comity_app::{Keys, Node, NodeParts};
use comity_consensus::cosign::Cosigner;
use comity_consensus::{Consensus, ConsensusConfig, Timing, Tuning};
use comity_core::{KeyId, MemberId};
use comity_store::{KeyFile, NationalStore};

use crate::config::Config;
use crate::materials::{Materials, StartError};

/// A node that serves nothing yet.
pub struct Opened {
    /// What the files hold.
    pub materials: Materials,
    /// The national store.
    pub store: NationalStore,
    /// The list; it takes no part before it is started.
    pub consensus: Consensus,
    /// The node.
    pub node: Arc<Node>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Opens everything that the configuration names.
///
/// # Errors
/// Why the node cannot serve.
pub async fn open(config: &Config) -> Result<Opened, StartError> {
    let materials = Materials::load(config)?;
    let data = &config.data_dir;
    create_private(data).map_err(|source| StartError::DataDir { path: data.clone(), source })?;
    let store = NationalStore::open(
        &materials.store_location(config)?,
        KeyFile::at(&config.store.key_file),
        data.join("erasures"),
        materials.own.member,
        materials.genesis.federation(),
    )
    .await?;
    let (policies, people) = Node::load_policies(&store, &config.policy_dir).await?;
    let keys = materials.keys();
    let cosigner = Cosigner::open(data, materials.own.clone(), keys.node.clone()).await?;
    let consensus = Consensus::open(ConsensusConfig {
        folder: data.clone(),
        genesis: Arc::clone(&materials.genesis),
        member: materials.own.member,
        observes: !materials.own.voting,
        incarnation: config.incarnation,
        bootstrap: materials.bootstrap.clone(),
        credentials: materials.credentials.clone(),
        trust: materials.trust.clone(),
        timing: Timing {
            heartbeat_ms: config.consensus.heartbeat_ms,
            election_min_ms: config.consensus.election_min_ms,
            election_max_ms: config.consensus.election_max_ms,
        },
        tuning: Tuning {
            snapshot_every_entries: config.consensus.snapshot_every_entries,
            keep_entries: config.consensus.keep_entries,
            resubmit_ms: config.consensus.resubmit_ms,
        },
    })
    .await?;
    cosigner.restore(|size| consensus.roster(|roster| Arc::clone(roster.voters_at(size)))).await?;
    warn_of_other_keys(&consensus, &keys, materials.own.member);
    let node = Arc::new(Node::new(NodeParts {
        own: materials.own.clone(),
        genesis: Arc::clone(&materials.genesis),
        genesis_file: materials.genesis_file.clone(),
        store: store.clone(),
        consensus: consensus.clone(),
        cosigner,
        policies,
        people,
        equivalences: materials.equivalences.clone(),
        backup_days: config.store.backup_days,
        receipt_timeout: Duration::from_millis(config.exchange.receipt_timeout_ms),
        checkpoint_interval: Duration::from_secs(config.access_log.checkpoint_interval_s),
        archive_dir: config.access_log.archive_dir.clone().unwrap_or_else(|| data.join("access-archive")),
        answer_tick: Duration::from_millis(config.exchange.answer_tick_ms),
        policy_dir: config.policy_dir.clone(),
        keys,
    }));
    Ok(Opened { materials, store, consensus, node })
}

/// Says where a key is not the one that the roster names: what it signs is refused by every node.
fn warn_of_other_keys(consensus: &Consensus, keys: &Keys, member: MemberId) {
    consensus.roster(|roster| {
        let Some(standing) = roster.get(member) else { return };
        for (setting, found, expected) in [
            ("keys.decision", &keys.decision, standing.row.decision_key),
            ("keys.node", &keys.node, standing.row.node_key),
        ] {
            let (found, expected) = (KeyId::of(&found.verifying_key()), KeyId::of(&expected.0));
            if found != expected {
                tracing::warn!(setting, %found, %expected, "the roster names another key: what this one signs is refused, unless this node has yet to catch up");
            }
        }
    });
}

/// The data folder is this user's alone.
fn create_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}
