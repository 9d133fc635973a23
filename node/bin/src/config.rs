//! The node's configuration: one TOML file, `COMITY__*` overrides, unknown keys refused by name.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the file says. Paths are relative to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose node this is, as the genesis names it.
    pub member: comity_core::MemberId,
    /// Where the node keeps its databases.
    pub data_dir: PathBuf,
    /// The federation's genesis file.
    pub genesis: PathBuf,
    /// Which of the member's nodes this is, from 1: the next one takes the place of a machine that was lost.
    #[serde(default = "default_incarnation")]
    pub incarnation: u32,
    /// A list at the members' depth that `comity member join` verified: whom a node trusts and hears that joins later than the
    /// genesis, until it holds the list itself.
    #[serde(default)]
    pub bootstrap: Option<PathBuf>,
    /// This member's own row, as `comity member join` wrote it, for a node that starts before its member is admitted.
    #[serde(default)]
    pub member_file: Option<PathBuf>,
    /// One Cedar file for each partner, written by `comity policy apply`.
    pub policy_dir: PathBuf,
    /// The node's certificate.
    pub tls: Tls,
    /// The member's signing keys that live on this node.
    pub keys: Keys,
    /// Where other members' nodes connect.
    pub peer: Listen,
    /// Where this member's people connect.
    pub operator: Listen,
    /// grpc.health.v1, without TLS: loopback only.
    #[serde(default)]
    pub health: Option<Health>,
    /// Raft.
    #[serde(default)]
    pub consensus: Consensus,
    /// The national store.
    #[serde(default)]
    pub store: Store,
    /// A table of what national wordings mean, in the place of the one that comes with comity.
    #[serde(default)]
    pub equivalences: Option<PathBuf>,
    /// Keeping in step with partners.
    #[serde(default)]
    pub exchange: Exchange,
    /// The list's checkpoints and time.
    #[serde(default)]
    pub list: List,
    /// The access log.
    #[serde(default)]
    pub access_log: AccessLog,
    /// How long a shutdown may take, in milliseconds.
    #[serde(default = "default_shutdown_ms")]
    pub shutdown_deadline_ms: u64,
}

/// The node's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key: PathBuf,
}

/// The member's Ed25519 keys, PKCS#8 PEM, mode 0600.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Signs deliveries, times, pages, receipts and checkpoints.
    pub node: PathBuf,
    /// Signs deciding commands.
    pub decision: PathBuf,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `address:port`.
    pub listen: String,
    /// Established connections at one time.
    #[serde(default = "default_connections")]
    pub max_connections: usize,
    /// Calls at one time, over all connections.
    #[serde(default = "default_calls")]
    pub max_calls: usize,
    /// A handshake that takes longer is cut off, in milliseconds.
    #[serde(default = "default_handshake_ms")]
    pub handshake_timeout_ms: u64,
    /// A connection older than this is closed gently, in seconds, so that its certificate is looked at again.
    #[serde(default = "default_connection_age_s")]
    pub connection_age_max_s: u64,
}

/// The health listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `address:port`; the address must be a loopback one.
    pub listen: String,
}

/// Raft's clock, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consensus {
    /// Between a leader's heartbeats.
    pub heartbeat_ms: u64,
    /// The shortest wait before an election.
    pub election_min_ms: u64,
    /// The longest.
    pub election_max_ms: u64,
    /// After how many entries of the log a snapshot is made.
    pub snapshot_every_entries: u64,
    /// How many entries before a snapshot stay in the log.
    pub keep_entries: u64,
    /// After how long a command that is known and not decided is handed in again, in milliseconds.
    pub resubmit_ms: u64,
}

impl Default for Consensus {
    fn default() -> Self {
        Self {
            heartbeat_ms: 150,
            election_min_ms: 800,
            election_max_ms: 1_600,
            snapshot_every_entries: 20_000,
            keep_entries: 5_000,
            resubmit_ms: 2_000,
        }
    }
}

/// The national store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// A PostgreSQL database, as `postgres://comity@db.example/comity?sslmode=verify-full`; left out, it is SQLite in `data_dir`.
    pub url: Option<String>,
    /// A file whose first line is the password for it.
    pub password_file: Option<PathBuf>,
    /// The key that wraps the keys of records: outside the database, made at the first start, mode 0600.
    pub key_file: PathBuf,
    /// For how many days backups of this node keep what was destroyed: said in answers to recalls.
    pub backup_days: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: None, password_file: None, key_file: "store.key".into(), backup_days: 30 }
    }
}

/// Keeping in step with partners.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    /// The longest pause after failures, in milliseconds.
    pub backoff_max_ms: u64,
    /// How long a page may wait for its receipt before the stream ends, in milliseconds: it is resumed from what was stored.
    pub receipt_timeout_ms: u64,
    /// A page that is not full leaves, and a partner is told that there is nothing new, at multiples of so many milliseconds: when
    /// it comes then tells next to nothing of what was decided and refused before. 0 is at once.
    pub answer_tick_ms: u64,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { backoff_max_ms: 60_000, receipt_timeout_ms: 60_000, answer_tick_ms: 50 }
    }
}

/// The list's checkpoints and time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Between rounds of cosigning, in milliseconds, while there is something new.
    pub cosign_interval_ms: u64,
    /// Between this node's attestations of time, in seconds; at least 60.
    pub attest_interval_s: u64,
}

impl Default for List {
    fn default() -> Self {
        Self { cosign_interval_ms: 500, attest_interval_s: 300 }
    }
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// Between signed checkpoints, in seconds, while there is something new.
    pub checkpoint_interval_s: u64,
    /// What refused handshakes may take of the disk in a day, in bytes: beyond it they are only counted, in one leaf a minute.
    pub strangers_max_bytes_per_day: u64,
    /// Where archived leaves are put: `access-archive` in the data folder, unless it is named.
    pub archive_dir: Option<PathBuf>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { checkpoint_interval_s: 60, strangers_max_bytes_per_day: 16 * 1024 * 1024, archive_dir: None }
    }
}

fn default_incarnation() -> u32 {
    1
}
fn default_connections() -> usize {
    1_024
}
fn default_calls() -> usize {
    1_024
}
fn default_handshake_ms() -> u64 {
    5_000
}
fn default_connection_age_s() -> u64 {
    3_600
}
fn default_shutdown_ms() -> u64 {
    10_000
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}: give the node's configuration with --config")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key that is not known or of another type.
    #[error("{path}: {problem}")]
    Toml {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// An environment variable names no setting.
    #[error("{variable}: {problem}")]
    Override {
        /// Which.
        variable: String,
        /// What is wrong.
        problem: String,
    },
    /// A value is not one that works.
    #[error("{path}: {key}: {problem}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key, dotted.
        key: &'static str,
        /// What is wrong, what was expected.
        problem: String,
    },
}

impl Config {
    /// Reads the file, lays `COMITY__SECTION__KEY` variables over it, and checks the values.
    ///
    /// # Errors
    /// Names the file, the key or the variable.
    pub fn load(path: &Path, variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let toml_error =
            |e: toml::de::Error| ConfigError::Toml { path: path.to_owned(), problem: e.to_string().trim().to_owned() };
        let mut table: toml::Table = toml::from_str(&text).map_err(toml_error)?;
        let mut overridden = Vec::new();
        for (variable, value) in variables.filter(|(name, _)| name.starts_with("COMITY__")) {
            lay_over(&mut table, &variable, &value)?;
            overridden.push(variable);
        }
        // Without overrides the text is read again, so that the error can point into the file.
        let config: Self = if overridden.is_empty() {
            toml::from_str(&text).map_err(toml_error)?
        } else {
            table.try_into().map_err(|e: toml::de::Error| ConfigError::Toml {
                path: path.to_owned(),
                problem: format!("with {}: {}", overridden.join(", "), e.to_string().trim()),
            })?
        };
        let config = config.under(path.parent().unwrap_or(Path::new(".")));
        config.check(path)?;
        Ok(config)
    }

    fn under(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.data_dir,
            &mut self.genesis,
            &mut self.policy_dir,
            &mut self.tls.certificate,
            &mut self.tls.key,
            &mut self.keys.node,
            &mut self.keys.decision,
            &mut self.store.key_file,
        ] {
            *path = folder.join(&*path);
        }
        let optional =
            [&mut self.bootstrap, &mut self.member_file, &mut self.equivalences, &mut self.store.password_file];
        for path in optional.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        self
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let value = |key, problem: String| Err(ConfigError::Value { path: path.to_owned(), key, problem });
        for (key, listen) in [("peer.listen", &self.peer.listen), ("operator.listen", &self.operator.listen)] {
            if listen.parse::<std::net::SocketAddr>().is_err() {
                return value(key, format!("`{listen}`: expected address:port, such as 0.0.0.0:7443"));
            }
        }
        for (key, listen) in [("peer", &self.peer), ("operator", &self.operator)] {
            let fits = (1..=100_000).contains(&listen.max_connections)
                && (1..=1_000_000).contains(&listen.max_calls)
                && (100..=600_000).contains(&listen.handshake_timeout_ms)
                && (1..=31_536_000).contains(&listen.connection_age_max_s);
            if !fits {
                return value(
                    key,
                    "expected max_connections 1 to 100000, max_calls 1 to 1000000, handshake_timeout_ms 100 to 600000, \
                     connection_age_max_s 1 to 31536000"
                        .into(),
                );
            }
        }
        if let Some(health) = &self.health {
            match health.listen.parse::<std::net::SocketAddr>() {
                Ok(address) if address.ip().is_loopback() => {}
                Ok(_) => return value("health.listen", "it speaks without TLS, so only on loopback".into()),
                Err(_) => return value("health.listen", format!("`{}`: expected address:port", health.listen)),
            }
        }
        let c = &self.consensus;
        if c.heartbeat_ms < 10 || c.election_min_ms < 2 * c.heartbeat_ms || c.election_max_ms <= c.election_min_ms {
            return value(
                "consensus",
                "expected heartbeat_ms >= 10, election_min_ms >= 2 * heartbeat_ms, election_max_ms > election_min_ms"
                    .into(),
            );
        }
        if !(100..=10_000_000).contains(&c.snapshot_every_entries)
            || c.keep_entries > 10_000_000
            || !(100..=600_000).contains(&c.resubmit_ms)
        {
            return value(
                "consensus",
                "expected snapshot_every_entries 100 to 10000000, keep_entries 0 to 10000000, resubmit_ms 100 to 600000"
                    .into(),
            );
        }
        if !(1..=comity_core::roster::MAX_INCARNATION).contains(&self.incarnation) {
            return value("incarnation", format!("expected 1 to {}", comity_core::roster::MAX_INCARNATION));
        }
        if !(500..=3_600_000).contains(&self.exchange.backoff_max_ms) {
            return value("exchange.backoff_max_ms", "expected 500 to 3600000".into());
        }
        if !(500..=600_000).contains(&self.exchange.receipt_timeout_ms) {
            return value("exchange.receipt_timeout_ms", "expected 500 to 600000".into());
        }
        if self.exchange.answer_tick_ms > 1_000 {
            return value("exchange.answer_tick_ms", "expected 0 to 1000".into());
        }
        if self.store.password_file.is_some() && self.store.url.is_none() {
            return value("store.password_file", "there is no store.url that it is for".into());
        }
        if self.store.backup_days > 36_500 {
            return value("store.backup_days", "expected 0 to 36500".into());
        }
        if self.list.attest_interval_s < 60 {
            return value("list.attest_interval_s", "expected at least 60".into());
        }
        if self.list.cosign_interval_ms < 10 || self.access_log.checkpoint_interval_s == 0 {
            return value(
                "list.cosign_interval_ms",
                "expected at least 10; access_log.checkpoint_interval_s at least 1".into(),
            );
        }
        if self.access_log.strangers_max_bytes_per_day > 1 << 40 {
            return value("access_log.strangers_max_bytes_per_day", "expected 0 to 1099511627776".into());
        }
        Ok(())
    }
}

fn lay_over(table: &mut toml::Table, variable: &str, value: &str) -> Result<(), ConfigError> {
    let fail =
        |problem: &str| Err(ConfigError::Override { variable: variable.to_owned(), problem: problem.to_owned() });
    let keys: Vec<String> = variable.split("__").skip(1).map(str::to_ascii_lowercase).collect();
    let Some((last, sections)) = keys.split_last() else { return fail("names no setting") };
    if keys.iter().any(String::is_empty) {
        return fail("names no setting: expected COMITY__KEY or COMITY__SECTION__KEY");
    }
    let mut at = table;
    for section in sections {
        let next = at.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        match next {
            toml::Value::Table(next) => at = next,
            _ => return fail("goes through a key that is no section"),
        }
    }
    // A number stays a number; everything else is text.
    let value =
        value.parse::<i64>().map(toml::Value::Integer).unwrap_or_else(|_| toml::Value::String(value.to_owned()));
    at.insert(last.clone(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        member = "FR"
        data_dir = "data"
        genesis = "genesis.json"
        policy_dir = "policies"
        [tls]
        certificate = "node.pem"
        key = "node.key"
        [keys]
        node = "signing-node.key"
        decision = "signing-decision.key"
        [peer]
        listen = "127.0.0.1:7101"
        [operator]
        listen = "127.0.0.1:7102"
    "#;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = load(GOOD, &[]).unwrap();
        assert!(config.genesis.is_absolute() && config.genesis.ends_with("genesis.json"));
        assert_eq!(config.shutdown_deadline_ms, 10_000);
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = load(&GOOD.replace("policy_dir", "polcy_dir"), &[]).unwrap_err().to_string();
        assert!(error.contains("polcy_dir") && error.contains("policy_dir"), "{error}");
        let error = load(&GOOD.replace("listen = \"127.0.0.1:7102\"", "lisen = \"x\""), &[]).unwrap_err().to_string();
        assert!(error.contains("lisen"), "{error}");
        let error = load(GOOD, &[("COMITY__PEER__LISEN", "x")]).unwrap_err().to_string();
        assert!(error.contains("lisen") && error.contains("COMITY__PEER__LISEN"), "{error}");
    }

    #[test]
    fn variables_lie_over_the_file() {
        let config = load(GOOD, &[("COMITY__OPERATOR__LISTEN", "127.0.0.1:9"), ("COMITY__SHUTDOWN_DEADLINE_MS", "5")]);
        let config = config.unwrap();
        assert_eq!((config.operator.listen.as_str(), config.shutdown_deadline_ms), ("127.0.0.1:9", 5));
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        for (from, to, key) in [
            ("member = \"FR\"", "member = \"France\"", "member"),
            ("127.0.0.1:7101", "localhost", "peer.listen"),
            ("[keys]", "[health]\nlisten = \"0.0.0.0:1\"\n[keys]", "health.listen"),
            ("[keys]", "[consensus]\nheartbeat_ms = 900\n[keys]", "consensus"),
            ("[keys]", "[exchange]\nbackoff_max_ms = 1\n[keys]", "exchange.backoff_max_ms"),
            ("[keys]", "[exchange]\nreceipt_timeout_ms = 1\n[keys]", "exchange.receipt_timeout_ms"),
            ("[keys]", "[exchange]\nanswer_tick_ms = 1001\n[keys]", "exchange.answer_tick_ms"),
            ("[keys]", "[store]\npassword_file = \"p\"\n[keys]", "store.password_file"),
            ("[keys]", "[store]\nbackup_days = 99999\n[keys]", "store.backup_days"),
            ("[keys]", "[consensus]\nsnapshot_every_entries = 1\n[keys]", "consensus"),
            (
                "[keys]",
                "[access_log]\nstrangers_max_bytes_per_day = 1099511627777\n[keys]",
                "access_log.strangers_max_bytes_per_day",
            ),
            ("data_dir", "incarnation = 0\n        data_dir", "incarnation"),
        ] {
            let error = load(&GOOD.replace(from, to), &[]).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn the_commented_sample_is_a_configuration() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/node.toml");
        Config::load(Path::new(sample), std::iter::empty()).unwrap();
    }
}
