//! A member's own keys and people: rotated, enrolled and revoked by its own commands.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use comity_core::Role;
use comity_core::dsse::PublicKey;
use comity_core::list::{Command, EnrollPerson, RequireSignatures, RevokeKeys, RevokePerson, RotateKeys};
use comity_core::roster::PersonName;
use comity_identity::{SigningKeyFile, key_file};
use comity_proto::v1;
use serde::Serialize;

use crate::connection::Node;
use crate::failure::Failure;
use crate::refusal::Asked;
use crate::session::Session;
use crate::{approve, signing};

/// What `comity member rotate-keys` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct RotateOptions {
    /// A new decision key
    #[arg(long)]
    decision: bool,
    /// A new node key
    #[arg(long)]
    node: bool,
    /// A certificate of its authority from now on, PEM; repeated, two overlap
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Where its node listens for peers from now on
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// Where the new key files are written, beside the old ones
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

/// What `comity member revoke-keys` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct RevokeOptions {
    /// The decision key
    #[arg(long)]
    decision: bool,
    /// The node key
    #[arg(long)]
    node: bool,
    /// The recovery key, mode 0600
    #[arg(long, value_name = "FILE")]
    recovery_key: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What `comity member enroll` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct EnrollOptions {
    /// What the member calls the person: the name in the certificate, such as desk-7
    name: PersonName,
    /// In which role: operator, approver, policy, auditor or admin
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// The person's signing key, mode 0600: its public half is enrolled, and it signs that it is held
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// They need them
    On,
    /// They do not
    Off,
}

pub(super) async fn rotate(session: &mut Session<'_>, options: RotateOptions) -> Result<(), Failure> {
    if !options.decision && !options.node && options.root.is_empty() && options.endpoint.is_none() {
        return Err(Failure::usage("nothing is rotated: name --decision, --node, --root or --endpoint")
            .next("comity member rotate-keys --help"));
    }
    let node = session.node().await?;
    let roots_pem = options.root.iter().map(|path| read_root(path)).collect::<Result<Vec<_>, _>>()?;
    let decision = options.decision.then(|| fresh(session, "decision", &options.dir)).transpose()?;
    let node_key = options.node.then(|| fresh(session, "node", &options.dir)).transpose()?;
    let command = Command::RotateKeys(RotateKeys {
        federation: node.genesis().federation(),
        command_id: signing::command_id()?,
        member: node.member(),
        decision_key: decision.as_ref().map(|(key, _)| PublicKey(key.verifying_key())),
        node_key: node_key.as_ref().map(|(key, _)| PublicKey(key.verifying_key())),
        roots_pem: (!roots_pem.is_empty()).then_some(roots_pem),
        endpoint: options.endpoint,
    });
    let signatures = decision.iter().chain(&node_key).map(|(key, _)| signing::sign(&command, key)).collect();
    change(session, &node, &command, signatures).await?;
    for (name, file) in [("decision", decision), ("node", node_key)] {
        if let Some((_, path)) = file {
            session.output.note(&format!(
                "once it is approved:  name {} as keys.{name} in the node's configuration, and restart the node",
                path.display()
            ));
        }
    }
    Ok(())
}

/// A new key in a file of its own, named by its id, so that no attempt overwrites what another one asked for.
fn fresh(session: &mut Session<'_>, name: &str, dir: &Path) -> Result<(SigningKeyFile, PathBuf), Failure> {
    let key = SigningKeyFile::generate().map_err(Failure::error)?;
    let path = dir.join(format!("signing-{name}-{}.key", signing::key_id(&key)));
    key.save(&path, false).map_err(|e| Failure::error(e).next("comity member rotate-keys --dir DIR"))?;
    session.output.note(&format!("{}: a new {name} key, {}", path.display(), key.verifying_key_hex()));
    Ok((key, path))
}

fn read_root(path: &Path) -> Result<String, Failure> {
    let pem = key_file::read_public(path).map_err(Failure::error)?;
    String::from_utf8(pem).map_err(|_| Failure::error(format!("{}: not PEM", path.display())))
}

pub(super) async fn revoke(session: &mut Session<'_>, options: RevokeOptions) -> Result<(), Failure> {
    if !options.decision && !options.node {
        return Err(Failure::usage("nothing is revoked: name --decision, --node or both")
            .next("comity member revoke-keys --help"));
    }
    let key = signing::load(&options.recovery_key)?;
    let node = session.node().await?;
    let member = node.member();
    let command = Command::RevokeKeys(RevokeKeys {
        federation: node.genesis().federation(),
        command_id: signing::command_id()?,
        member,
        decision: options.decision,
        node: options.node,
    });
    let what = format!(
        "{} of {member}, at once: only a ballot of the other members brings others",
        signing::in_words(&command)
    );
    session.confirm(&what, member.as_str(), options.yes)?;
    let asked = Asked::about(format!("keys of {member}"), format!("comity member show {member}"));
    let request = v1::SubmitSignedRequest { envelope: command.sign(key.signing_key()).to_bytes() };
    let leaf = node.members().submit_signed(request).await.map_err(|s| asked.refused(s))?.into_inner().leaf;
    let view = RevokedView { member: member.to_string(), decision: options.decision, node: options.node, leaf };
    session.output.show(&view, |_| format!("{}: done, command {leaf}", signing::in_words(&command)))?;
    session.output.note(&format!(
        "next:  make new ones with comity pki init --member {member}, and ask another member to run  comity member \
         replace-keys {member} FILE --statement TEXT"
    ));
    Ok(())
}

pub(super) async fn enroll(session: &mut Session<'_>, options: EnrollOptions) -> Result<(), Failure> {
    let key = signing::load(&options.key)?;
    let node = session.node().await?;
    let command = Command::EnrollPerson(EnrollPerson {
        federation: node.genesis().federation(),
        command_id: signing::command_id()?,
        member: node.member(),
        person: options.name,
        role: options.role,
        key: PublicKey(key.verifying_key()),
    });
    let signatures = vec![signing::sign(&command, &key)];
    change(session, &node, &command, signatures).await
}

pub(super) async fn revoke_person(session: &mut Session<'_>, key: PublicKey) -> Result<(), Failure> {
    let node = session.node().await?;
    let (federation, member) = (node.genesis().federation(), node.member());
    let command_id = signing::command_id()?;
    let command = Command::RevokePerson(RevokePerson { federation, command_id, member, key });
    change(session, &node, &command, Vec::new()).await
}

pub(super) async fn require_signatures(session: &mut Session<'_>, required: Switch) -> Result<(), Failure> {
    let node = session.node().await?;
    let (federation, member) = (node.genesis().federation(), node.member());
    let command_id = signing::command_id()?;
    let required = required == Switch::On;
    let command = Command::RequireSignatures(RequireSignatures { federation, command_id, member, required });
    change(session, &node, &command, Vec::new()).await?;
    if required {
        session.output.note(
            "once it is approved, whoever asks and whoever approves names a signing key in the context: signing_key = FILE",
        );
    }
    Ok(())
}

async fn change(
    session: &mut Session<'_>,
    node: &Node,
    command: &Command,
    signatures: Vec<v1::PersonalSignature>,
) -> Result<(), Failure> {
    let member = node.member();
    let asked = Asked::about(format!("keys of {member}"), format!("comity member show {member}"));
    let request = v1::ChangeKeysRequest { command: Some(signing::to_proto(command)), signatures };
    let approval = node.members().change_keys(request).await.map_err(|s| asked.refused(s))?.into_inner();
    approve::deferred(session, node, approval, |waiting| waiting == command).await
}

#[derive(Debug, Clone, Serialize)]
struct RevokedView {
    member: String,
    decision: bool,
    node: bool,
    leaf: u64,
}
