//! The files that the configuration names, read and held against each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use comity_app::{AppError, InternalError, Keys, PolicyStartError};
use comity_consensus::cosign::CosignError;
use comity_core::dsse::PublicKey;
use comity_core::export::{ListExport, UnprovenExport};
use comity_core::genesis::{Genesis, RosterMember};
use comity_core::list::ListState;
use comity_core::marking::equivalence::Equivalences;
use comity_core::{KeyId, MemberId, Role, Violations};
use comity_identity::tls::TlsSetupError;
use comity_identity::{
    Credentials, CredentialsError, InvalidTrust, MemberAnchors, SharedTrust, SigningKeyError, SigningKeyFile,
    TrustStore,
};
use comity_store::StoreLocation;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The genesis file cannot be read.
    #[error("genesis {path}: {source}")]
    GenesisFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The genesis is not as it must be.
    #[error("genesis {path}: {source}")]
    Genesis {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: Violations,
    },
    /// The genesis does not know this member.
    #[error("{member} is not in the genesis {path}: expected one of {known}")]
    NotInGenesis {
        /// Whose node.
        member: MemberId,
        /// Which file.
        path: PathBuf,
        /// Who is.
        known: String,
    },
    /// The list that the node begins with.
    #[error("bootstrap {path}: {source}")]
    Bootstrap {
        /// Which file.
        path: PathBuf,
        /// Why it proves nothing.
        source: Box<UnprovenExport>,
    },
    /// A file of a node that joins.
    #[error("{setting} {path}: {problem}: run `comity member join` again")]
    Joining {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A root of the roster is no certificate.
    #[error("roster: roots_pem of {member}: not a PEM certificate")]
    Root {
        /// Whose.
        member: MemberId,
    },
    /// The roots of the genesis do not go together.
    #[error("genesis: {0}")]
    Trust(#[from] InvalidTrust),
    /// The node's certificate.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate is not this node's.
    #[error("tls.certificate {path}: it is {found}; expected {expected}: issue it with `comity pki issue --role node`")]
    WrongCertificate {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it must be.
        expected: String,
    },
    /// The certificate has run out.
    #[error("tls.certificate {path}: it ended at {ended}: issue a new one with `comity pki issue --role node`")]
    CertificateEnded {
        /// Which file.
        path: PathBuf,
        /// When.
        ended: comity_core::Timestamp,
    },
    /// A signing key.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// A signing key is not the one of the roster.
    #[error(
        "{setting} {path}: it is key {found}; the genesis, or the list that this node begins with, names {expected} for {member}"
    )]
    WrongKey {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// The key that it holds.
        found: KeyId,
        /// The key that it must hold.
        expected: KeyId,
        /// Whose.
        member: MemberId,
    },
    /// The data folder.
    #[error("data_dir {path}: {source}")]
    DataDir {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The national store.
    #[error(transparent)]
    Store(#[from] comity_store::OpenError),
    /// The list.
    #[error(transparent)]
    Consensus(#[from] comity_consensus::OpenError),
    /// The checkpoints.
    #[error(transparent)]
    Cosign(#[from] CosignError),
    /// The policies.
    #[error(transparent)]
    Policies(#[from] PolicyStartError),
    /// A port cannot be opened.
    #[error("{setting} {address}: {source}: is another node running there?")]
    Listen {
        /// Which setting.
        setting: &'static str,
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The table of equivalences.
    #[error("equivalences {path}: {problem}")]
    Equivalences {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The password of the national store.
    #[error("store.password_file {path}: {problem}")]
    Password {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What is decided anew at the start could not be.
    #[error(transparent)]
    Anew(AppError),
    /// It cannot be told whether the access log is whole.
    #[error(transparent)]
    Unconfirmed(AppError),
    /// Others saw more of the access log than there is.
    #[error(
        "the access log was rolled back or rewritten: other members cosigned leaves that are not here. Start the node again: it says \
         what is missing, and serves nothing until the newer store is back or the loss is declared"
    )]
    Behind,
    /// The first access record cannot be written.
    #[error(transparent)]
    AccessLog(#[from] InternalError),
    /// The runtime.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[source] std::io::Error),
}

/// What the files hold, checked.
#[derive(Debug)]
pub struct Materials {
    /// The genesis.
    pub genesis: Arc<Genesis>,
    /// Its file, exactly.
    pub genesis_file: Vec<u8>,
    /// This member, as the genesis has it; as the list has it that the node begins with; or as it is to be admitted.
    pub own: RosterMember,
    /// The list that the node begins with, where it joins later than the genesis.
    pub bootstrap: Option<Arc<ListState>>,
    /// The node's certificate.
    pub credentials: Credentials,
    /// Whom it trusts: each member's roots for that member alone.
    pub trust: SharedTrust,
    /// What national wordings mean.
    pub equivalences: Equivalences,
    decision: SigningKeyFile,
    node: SigningKeyFile,
}

impl Materials {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Names the setting, the file, what was found and what was expected.
    pub fn load(config: &Config) -> Result<Self, StartError> {
        let path = config.genesis.clone();
        let bytes = std::fs::read(&path).map_err(|source| StartError::GenesisFile { path: path.clone(), source })?;
        let genesis =
            Genesis::from_bytes(&bytes).map_err(|source| StartError::Genesis { path: path.clone(), source })?;
        let genesis = Arc::new(genesis);
        let bootstrap = config.bootstrap.as_deref().map(|path| bootstrap(path, &genesis)).transpose()?;
        let own = own_row(config, &genesis, bootstrap.as_deref(), &path)?;
        let mut rows: Vec<&RosterMember> = match &bootstrap {
            Some(list) => list.roster().active().map(|standing| &standing.row).collect(),
            None => genesis.members().values().collect(),
        };
        if rows.iter().all(|row| row.member != own.member) {
            rows.push(&own);
        }
        let trust = SharedTrust::new(TrustStore::new(&anchors(&rows)?)?);
        let credentials = Credentials::load(&config.tls.certificate, &config.tls.key)?;
        check_certificate(&config.tls.certificate, &credentials, &own)?;
        // Once the node holds a list, the roster in it says which keys count: they may have been rotated since.
        let begins = !config.data_dir.join("consensus.db").exists();
        let node = key("keys.node", &config.keys.node, own.node_key, own.member, begins)?;
        let decision = key("keys.decision", &config.keys.decision, own.decision_key, own.member, begins)?;
        let equivalences = equivalences(config.equivalences.as_deref())?;
        Ok(Self { genesis, genesis_file: bytes, own, bootstrap, credentials, trust, equivalences, decision, node })
    }

    /// Where the national store is: in the data folder, or at the server that the configuration names.
    ///
    /// # Errors
    /// The URL or the password's file is not as it must be.
    pub fn store_location(&self, config: &Config) -> Result<StoreLocation, StartError> {
        let Some(url) = &config.store.url else {
            return Ok(StoreLocation::File(config.data_dir.join("national.db")));
        };
        let password = config.store.password_file.as_deref().map(password).transpose()?;
        Ok(StoreLocation::server(url, password.as_deref().map(String::as_str))?)
    }

    /// The signing keys.
    pub fn keys(&self) -> Keys {
        Keys { decision: self.decision.signing_key().clone(), node: self.node.signing_key().clone() }
    }
}

/// The table that the configuration names, or the one that comes with comity.
fn equivalences(path: Option<&Path>) -> Result<Equivalences, StartError> {
    let text = match path {
        None => Equivalences::BUILT_IN.as_bytes().to_vec(),
        Some(path) => std::fs::read(path)
            .map_err(|e| StartError::Equivalences { path: path.to_owned(), problem: e.to_string() })?,
    };
    Equivalences::from_json(&text).map_err(|violations| {
        let path = path.unwrap_or(Path::new("(built in)")).to_owned();
        StartError::Equivalences { path, problem: violations.to_string() }
    })
}

/// The first line of a file that only its owner reads.
fn password(path: &Path) -> Result<Zeroizing<String>, StartError> {
    use std::os::unix::fs::PermissionsExt as _;
    let fail = |problem: String| StartError::Password { path: path.to_owned(), problem };
    let mode = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(fail(format!("mode {mode:o}, others may read it: chmod 600 it")));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// The list that a node begins with, replayed and verified once more: the file may have been changed since.
fn bootstrap(path: &Path, genesis: &Arc<Genesis>) -> Result<Arc<ListState>, StartError> {
    let unreadable = |e: std::io::Error| {
        let (setting, path) = ("bootstrap", path.to_owned());
        StartError::Joining { setting, path, problem: e.to_string() }
    };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let (list, _) = ListExport::replay(&bytes, genesis)
        .map_err(|source| StartError::Bootstrap { path: path.to_owned(), source: Box::new(source) })?;
    Ok(Arc::new(list))
}

/// This member's row: from the genesis, from the list, or from the file of its own that awaits admission.
fn own_row(
    config: &Config,
    genesis: &Genesis,
    list: Option<&ListState>,
    path: &Path,
) -> Result<RosterMember, StartError> {
    let listed = list.and_then(|list| list.roster().get(config.member));
    let listed = listed.filter(|standing| standing.incarnation == config.incarnation).map(|standing| &standing.row);
    if let Some(row) = listed.or_else(|| genesis.member(config.member).filter(|_| config.incarnation == 1)) {
        return Ok(row.clone());
    }
    let Some(file) = &config.member_file else {
        return Err(StartError::NotInGenesis {
            member: config.member,
            path: path.to_owned(),
            known: genesis.members().keys().map(MemberId::to_string).collect::<Vec<_>>().join(", "),
        });
    };
    let fail = |problem: String| StartError::Joining { setting: "member_file", path: file.clone(), problem };
    let bytes = std::fs::read(file).map_err(|e| fail(e.to_string()))?;
    let row: RosterMember = comity_core::canonical::from_slice(&bytes).map_err(|e| fail(e.to_string()))?;
    if row.member == config.member { Ok(row) } else { Err(fail(format!("it is the row of {}", row.member))) }
}

fn anchors(rows: &[&RosterMember]) -> Result<Vec<MemberAnchors>, StartError> {
    let mut all = Vec::new();
    for member in rows {
        let mut roots_der = Vec::new();
        for pem in &member.roots_pem {
            let der = CertificateDer::from_pem_slice(pem.as_bytes());
            roots_der.push(der.map_err(|_| StartError::Root { member: member.member })?.to_vec());
        }
        all.push(MemberAnchors { member: member.member, trust_domain: member.trust_domain.clone(), roots_der });
    }
    Ok(all)
}

fn check_certificate(path: &Path, credentials: &Credentials, own: &RosterMember) -> Result<(), StartError> {
    let id = credentials.id();
    if id.trust_domain() != &own.trust_domain || id.role() != Role::Node {
        return Err(StartError::WrongCertificate {
            path: path.to_owned(),
            found: id.to_string(),
            expected: format!("spiffe://{}/node/NAME", own.trust_domain),
        });
    }
    let now = comity_core::Timestamp::from_jiff(jiff::Timestamp::now());
    if credentials.not_after() < now {
        return Err(StartError::CertificateEnded { path: path.to_owned(), ended: credentials.not_after() });
    }
    Ok(())
}

fn key(
    setting: &'static str,
    path: &Path,
    expected: PublicKey,
    member: MemberId,
    begins: bool,
) -> Result<SigningKeyFile, StartError> {
    let key = SigningKeyFile::load(path)?;
    let (found, expected) = (KeyId::of(&key.verifying_key()), KeyId::of(&expected.0));
    if found != expected && begins {
        return Err(StartError::WrongKey { setting, path: path.to_owned(), found, expected, member });
    }
    Ok(key)
}
