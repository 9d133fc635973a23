//! `comity pki`: a member's certificate authority, its signing keys, and certificates for nodes and people.

mod inspect;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use comity_core::dsse::PublicKey;
use comity_core::genesis::RosterMember;
use comity_core::roster::PersonName;
use comity_core::{KeyId, MemberId, Role, Tier, Timestamp, TrustDomain};
use comity_identity::{Authority, SigningKeyFile, pki};
use serde::Serialize;

use crate::failure::Failure;
use crate::page::Page;
use crate::session::Session;
use crate::when;

/// Signs deciding commands.
pub(crate) const DECISION_KEY_FILE: &str = "signing-decision.key";
/// Signs what the node says.
pub(crate) const NODE_KEY_FILE: &str = "signing-node.key";
/// Revokes the other two.
pub(crate) const RECOVERY_KEY_FILE: &str = "signing-recovery.key";
/// The member as it stands in a genesis.
pub(crate) const MEMBER_FILE: &str = "member.json";

/// The verbs of `comity pki`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make a member's authority and signing keys
    ///
    /// Writes DIR/fr/ca.pem and ca.key (the authority), signing-decision.key, signing-node.key, signing-recovery.key (none
    /// of them is used for TLS), and member.json: the public half, for the genesis. Private keys are made with mode 0600.
    #[command(
        after_long_help = "Examples:\n  comity pki init --member FR --endpoint node.fr.example:7101\n  comity pki init --member OPCW --trust-domain opcw.org --recipient"
    )]
    Init {
        /// The member, by code
        #[arg(long, value_name = "CODE")]
        member: MemberId,
        /// The trust domain of its people and nodes [default: fr.comity.example for FR]
        #[arg(long, value_name = "DOMAIN")]
        trust_domain: Option<TrustDomain>,
        /// The folder that holds a folder for each member
        #[arg(long, default_value = "pki", value_name = "DIR")]
        dir: PathBuf,
        /// Where its node listens for peers; `member genesis --endpoint` can still set it
        #[arg(long, default_value = "", value_name = "HOST:PORT")]
        endpoint: String,
        /// The highest tier that its node is accredited for
        #[arg(long, default_value = "secret", value_name = "TIER")]
        ceiling: Tier,
        /// It receives and has no vote: its node holds no list, and knows the roster that it was given at its start
        #[arg(long)]
        recipient: bool,
        /// Replace what is there: every certificate and every signature made so far becomes worthless
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long, requires = "force")]
        yes: bool,
    },
    /// Issue a certificate for a node or a person
    ///
    /// One role to a certificate. A person keeps one name in every role, so that nobody approves what they wrote.
    #[command(
        after_long_help = "Examples:\n  comity pki issue --member FR --role node --name paris-1\n  comity pki issue --member FR --role operator --name desk-7 --days 30"
    )]
    Issue {
        /// The member, by code
        #[arg(long, value_name = "CODE")]
        member: MemberId,
        /// What its holder may be: node, operator, approver, policy, auditor or admin
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// The node's or the person's name
        #[arg(long, value_name = "NAME")]
        name: String,
        /// How long it is valid [default: 30 days for a node, 7 for a person]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650), value_name = "N")]
        days: Option<u32>,
        /// The folder that holds a folder for each member
        #[arg(long, default_value = "pki", value_name = "DIR")]
        dir: PathBuf,
        /// Replace the certificate and key of that name
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long, requires = "force")]
        yes: bool,
    },
    /// Make a person's own signing key
    ///
    /// Where a member requires personal signatures, two different people sign each command that decides. The key stays with the
    /// person; its public half is enrolled with `comity member enroll`.
    #[command(
        after_long_help = "Examples:\n  comity pki person --name desk-7 -O desk-7.key\n  comity member enroll desk-7 --role operator --key desk-7.key"
    )]
    Person {
        /// The person's name, as in the certificate
        #[arg(long, value_name = "NAME")]
        name: PersonName,
        /// Where to; made with mode 0600
        #[arg(short = 'O', long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a certificate says
    Show {
        /// A certificate, PEM
        file: PathBuf,
    },
}

pub(crate) fn run(command: PkiCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        PkiCommand::Init { member, trust_domain, dir, endpoint, ceiling, recipient, force, yes } => {
            let trust_domain = match trust_domain {
                Some(domain) => domain,
                None => default_trust_domain(member)?,
            };
            let founding = Founding { member, trust_domain, endpoint, ceiling, voting: !recipient };
            init(session, founding, &dir.join(member.to_lowercase()), &dir, Overwrite { force, yes })
        }
        PkiCommand::Issue { member, role, name, days, dir, force, yes } => {
            let valid = days.map_or(pki::default_validity(role), pki::days);
            issue(session, member, role, &name, valid, &dir, Overwrite { force, yes })
        }
        PkiCommand::Person { name, out } => person(session, &name, &out),
        PkiCommand::Show { file } => inspect::run(session, &file),
    }
}

struct Overwrite {
    force: bool,
    yes: bool,
}

/// What a member's authority and keys are made for.
pub(crate) struct Founding {
    pub(crate) member: MemberId,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) endpoint: String,
    pub(crate) ceiling: Tier,
    pub(crate) voting: bool,
}

/// The trust domain of a member that names none.
pub(crate) fn default_trust_domain(member: MemberId) -> Result<TrustDomain, Failure> {
    format!("{}.comity.example", member.to_lowercase()).parse().map_err(Failure::usage)
}

/// Makes the authority, the three keys and member.json.
pub(crate) fn found(founding: Founding, folder: &Path, force: bool) -> Result<(Authority, RosterMember), Failure> {
    let Founding { member, trust_domain, endpoint, ceiling, voting } = founding;
    let authority =
        Authority::create(member, &trust_domain, now(), pki::AUTHORITY_VALID_DAYS).map_err(Failure::error)?;
    let [decision, node, recovery] =
        [SigningKeyFile::generate(), SigningKeyFile::generate(), SigningKeyFile::generate()];
    let (decision, node, recovery) =
        (decision.map_err(Failure::error)?, node.map_err(Failure::error)?, recovery.map_err(Failure::error)?);
    let row = RosterMember {
        member,
        trust_domain,
        roots_pem: vec![authority.certificate_pem().to_owned()],
        decision_key: PublicKey(decision.verifying_key()),
        node_key: PublicKey(node.verifying_key()),
        recovery_key: PublicKey(recovery.verifying_key()),
        endpoint,
        ceiling,
        voting,
    };
    let mut json = serde_json::to_vec_pretty(&row)
        .map_err(|e| Failure::error(format!("{MEMBER_FILE} cannot be written as JSON: {e}")))?;
    json.push(b'\n');
    authority.save(folder, force).map_err(Failure::error)?;
    for (key, name) in [(&decision, DECISION_KEY_FILE), (&node, NODE_KEY_FILE), (&recovery, RECOVERY_KEY_FILE)] {
        key.save(&folder.join(name), force).map_err(Failure::error)?;
    }
    // Last: where it stands, everything that it promises stands too.
    pki::write_public(&folder.join(MEMBER_FILE), &json, force).map_err(Failure::error)?;
    Ok((authority, row))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// Refuses before anything is written where one of the files is there; asks where it may be replaced.
fn make_way(session: &mut Session<'_>, files: &[PathBuf], word: &str, overwrite: &Overwrite) -> Result<(), Failure> {
    let Some(there) = files.iter().find(|file| file.exists()) else { return Ok(()) };
    if !overwrite.force {
        return Err(Failure::error(format!(
            "{}: exists already and is left as it is; nothing was written",
            there.display()
        ))
        .next("comity pki show FILE, or repeat this with --force to replace it"));
    }
    session.confirm(
        &format!("{} and what belongs to it will be replaced, which cannot be undone", there.display()),
        word,
        overwrite.yes,
    )
}

fn init(
    session: &mut Session<'_>,
    founding: Founding,
    folder: &Path,
    dir: &Path,
    overwrite: Overwrite,
) -> Result<(), Failure> {
    let member = founding.member;
    let names = [
        pki::AUTHORITY_CERTIFICATE_FILE,
        pki::AUTHORITY_KEY_FILE,
        DECISION_KEY_FILE,
        NODE_KEY_FILE,
        RECOVERY_KEY_FILE,
        MEMBER_FILE,
    ];
    make_way(session, &names.map(|name| folder.join(name)), member.as_str(), &overwrite)?;
    let (authority, row) = found(founding, folder, overwrite.force)?;
    let view = InitView {
        member: member.to_string(),
        trust_domain: row.trust_domain.to_string(),
        folder: folder.display().to_string(),
        member_file: folder.join(MEMBER_FILE).display().to_string(),
        valid_until: authority.not_after().to_string(),
        decision_key: row.decision_key.to_string(),
        node_key: row.node_key.to_string(),
        recovery_key: row.recovery_key.to_string(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}: authority and signing keys in {}", view.member, view.folder));
        page.field("trust domain", &view.trust_domain);
        page.field("authority", format!("ca.pem, ca.key; valid until {}", when::local_core(authority.not_after())));
        page.fields("decision key", [DECISION_KEY_FILE, &view.decision_key]);
        page.fields("node key", [NODE_KEY_FILE, &view.node_key]);
        page.fields("recovery key", [RECOVERY_KEY_FILE, &view.recovery_key]);
        page.field("for the genesis", format!("{MEMBER_FILE} (public)"));
        page.finish()
    })?;
    let into = in_folder(dir);
    session
        .output
        .note(&format!("keep {RECOVERY_KEY_FILE} offline, away from this machine: it can revoke the other two"));
    session.output.note(&format!("next:  comity pki issue --member {member} --role node --name NAME{into}, and once every member has a {MEMBER_FILE}:  comity member genesis {} ... --name NAME -O genesis.json", view.member_file));
    Ok(())
}

/// `--dir DIR` where it is not the default.
fn in_folder(dir: &Path) -> String {
    if dir == Path::new("pki") { String::new() } else { format!(" --dir {}", dir.display()) }
}

fn issue(
    session: &mut Session<'_>,
    member: MemberId,
    role: Role,
    name: &str,
    valid: std::time::Duration,
    dir: &Path,
    overwrite: Overwrite,
) -> Result<(), Failure> {
    let folder = dir.join(member.to_lowercase());
    let authority = Authority::load(&folder)
        .map_err(|e| Failure::error(e).next(format!("comity pki init --member {member}{}", in_folder(dir))))?;
    if authority.member() != member {
        return Err(Failure::error(format!(
            "{}: the authority of {}, not of {member}",
            folder.display(),
            authority.member()
        )));
    }
    let issued = authority.issue(role, name, now(), valid).map_err(Failure::error)?;
    let files = [folder.join(format!("{role}-{name}.pem")), folder.join(format!("{role}-{name}.key"))];
    make_way(session, &files, name, &overwrite)?;
    let paths = issued.save(&folder, overwrite.force).map_err(Failure::error)?;
    let view = IssueView {
        id: issued.id.to_string(),
        certificate: paths.chain.display().to_string(),
        key: paths.key.display().to_string(),
        valid_until: issued.not_after.to_string(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&view.id);
        page.field("certificate", &view.certificate);
        page.field("key", &view.key);
        page.field("valid until", when::local_core(issued.not_after));
        page.finish()
    })?;
    let next = match role {
        Role::Node => format!(
            "next:  name {} and {} in the node's configuration, then  comity-node config check",
            view.certificate, view.key
        ),
        _ => format!(
            "next:  comity context add {}-{name} --endpoint HOST:PORT --certificate {} --key {} --genesis genesis.json",
            member.to_lowercase(),
            view.certificate,
            view.key
        ),
    };
    session.output.note(&next);
    Ok(())
}

fn person(session: &mut Session<'_>, name: &PersonName, out: &Path) -> Result<(), Failure> {
    let key = SigningKeyFile::generate().map_err(Failure::error)?;
    key.save(out, false).map_err(Failure::error)?;
    let view = PersonView {
        name: name.to_string(),
        file: out.display().to_string(),
        key: key.verifying_key_hex(),
        keyid: KeyId::of(&key.verifying_key()).to_string(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}: a signing key in {}", view.name, view.file));
        page.field("key", &view.key);
        page.field("id", &view.keyid);
        page.finish()
    })?;
    session.output.note(&format!(
        "next:  an administrator runs  comity member enroll {name} --role ROLE --key {0}, and your context names it:  signing_key \
         = \"{0}\"",
        view.file
    ));
    Ok(())
}

#[derive(Debug, Clone, Serialize)]
struct PersonView {
    name: String,
    file: String,
    key: String,
    keyid: String,
}

#[derive(Debug, Clone, Serialize)]
struct InitView {
    member: String,
    trust_domain: String,
    folder: String,
    member_file: String,
    valid_until: String,
    decision_key: String,
    node_key: String,
    recovery_key: String,
}

#[derive(Debug, Clone, Serialize)]
struct IssueView {
    id: String,
    certificate: String,
    key: String,
    valid_until: String,
}
