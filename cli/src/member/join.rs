//! `comity member join`: from an invitation to a folder in which the new member's node can start.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use comity_core::genesis::RosterMember;
use comity_core::roster::MemberStatus;
use comity_core::{MemberId, Role, Tier, TrustDomain};
use comity_identity::{Authority, pki as authority};
use serde::Serialize;

use crate::connection::read_row;
use crate::contexts::{Context, ContextsFile, write_whole};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::member::invite::{Invite, Proven};
use crate::node_process;
use crate::page::Page;
use crate::pki::{self, DECISION_KEY_FILE, Founding, MEMBER_FILE, NODE_KEY_FILE, RECOVERY_KEY_FILE};
use crate::session::Session;

/// The node's certificate is in this name.
const NODE_NAME: &str = "node-1";
/// The first people: enough to ask, to approve, and to run the node.
const FIRST_PEOPLE: [(Role, &str); 3] =
    [(Role::Operator, "desk-1"), (Role::Approver, "desk-2"), (Role::Admin, "ops-1")];
/// How many digits of the federation's name a person compares.
const COMPARED_DIGITS: usize = 8;
const GENESIS_FILE: &str = "genesis.json";
const LIST_FILE: &str = "list.json";
const CONFIG_FILE: &str = "node.toml";
const CONTEXTS_FILE: &str = "contexts.toml";

/// What `comity member join` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct JoinOptions {
    /// The invitation, made by `comity member invite`
    invite: PathBuf,
    /// Who joins, by code
    #[arg(long, value_name = "CODE")]
    member: MemberId,
    /// Where the other members' nodes reach its node
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: String,
    /// Where its node listens for peers [default: every address, at the port of --endpoint]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where its node listens for its own people
    #[arg(long, default_value = "127.0.0.1:7444", value_name = "ADDR:PORT")]
    operator_listen: String,
    /// Where its node tells its health, on loopback [default: nowhere]
    #[arg(long, value_name = "ADDR:PORT")]
    health_listen: Option<String>,
    /// The federation's name, or at least its first 8 digits, as you were told it by another way [default: you are asked]
    #[arg(long, value_name = "HEX")]
    federation: Option<String>,
    /// The folder for all of it; what is there already is kept [default: the code in lower case]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The trust domain of its people and nodes [default: jp.comity.example for JP]
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: Option<TrustDomain>,
    /// The highest tier that its node is accredited for
    #[arg(long, default_value = "secret", value_name = "TIER")]
    ceiling: Tier,
    /// It receives and has no vote: its node knows the roster of the invitation, and whom members replaced since once it is given a
    /// newer one and started again
    #[arg(long)]
    recipient: bool,
    /// Start the node right away, and keep it running here until it is stopped
    #[arg(long)]
    run: bool,
}

pub(super) async fn run(options: JoinOptions, session: &mut Session<'_>) -> Result<(), Failure> {
    let proven = Invite::read(&options.invite)?;
    compare(session, &proven, options.federation.as_deref())?;
    let folder = options.dir.clone().unwrap_or_else(|| PathBuf::from(options.member.to_lowercase()));
    fs::create_dir_all(&folder).map_err(|e| Failure::error(format!("{}: cannot be made: {e}", folder.display())))?;
    let (authority, row) = identity(session, &options, &folder)?;
    let place = check_place(&proven, &row)?;
    let certificates = certificates(&authority, &folder)?;
    write(&folder.join(GENESIS_FILE), &proven.genesis_bytes)?;
    write(&folder.join(LIST_FILE), &proven.export)?;
    let config = folder.join(CONFIG_FILE);
    if config.exists() {
        session.output.note(&format!("{}: is there already and is left as it is", config.display()));
    } else {
        write(&config, config_text(&options, &row, place.incarnation).as_bytes())?;
    }
    contexts(&options, &folder)?;
    tell(session, &proven, &options, &row, place, &folder, certificates)?;
    if !options.run {
        return Ok(());
    }
    session.output.flush()?;
    node_process::run(&config).await
}

/// Everything stands on the genesis, so a person compares its name with what they were told by another way.
fn compare(session: &mut Session<'_>, proven: &Proven, told: Option<&str>) -> Result<(), Failure> {
    let name = proven.genesis.federation().to_string();
    if let Some(told) = told {
        let told = told.trim().to_ascii_lowercase();
        if told.len() >= COMPARED_DIGITS && name.starts_with(&told) {
            return Ok(());
        }
        let message = if name.starts_with(&told) {
            format!("--federation {told}: give at least {COMPARED_DIGITS} digits")
        } else {
            format!("the invitation is to federation {name}, not to {told}; nothing was written")
        };
        return Err(
            Failure::new(Exit::VerificationFailed, message).next("ask the inviting member for the federation's name")
        );
    }
    session.output.note(&format!(
        "{}: founded by {}; invited by {} at {}\nfederation {name}",
        proven.genesis.document().name,
        proven.genesis.members().keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        proven.inviter.member,
        proven.inviter.endpoint,
    ));
    if !session.output.can_ask() {
        return Err(Failure::usage("nobody can be asked here whether that is the federation that was meant")
            .next("repeat this with --federation HEX, as you were told it by another way"));
    }
    let digits: String = name.chars().take(COMPARED_DIGITS).collect();
    session.confirm("compare the federation's name with what you were told by another way", &digits, false)
}

/// The authority, the keys and the row: those that are there, or new ones.
fn identity(
    session: &mut Session<'_>,
    options: &JoinOptions,
    folder: &Path,
) -> Result<(Authority, RosterMember), Failure> {
    let (path, member) = (folder.join(MEMBER_FILE), options.member);
    if !path.exists() {
        if folder.join(authority::AUTHORITY_KEY_FILE).exists() {
            let message = format!("{}: holds an authority and no {MEMBER_FILE}", folder.display());
            return Err(Failure::error(message)
                .next(format!("comity member join ... --dir ANOTHER, or comity pki init --member {member}")));
        }
        let trust_domain = match &options.trust_domain {
            Some(domain) => domain.clone(),
            None => pki::default_trust_domain(member)?,
        };
        let (endpoint, ceiling, voting) = (options.endpoint.clone(), options.ceiling, !options.recipient);
        return pki::found(Founding { member, trust_domain, endpoint, ceiling, voting }, folder, false);
    }
    let mut row = read_row(&path)?;
    if row.member != member {
        return Err(Failure::new(Exit::Conflict, format!("{}: is that of {}", path.display(), row.member))
            .next(format!("comity member join ... --member {member} --dir ANOTHER")));
    }
    let authority = Authority::load(folder).map_err(|e| Failure::error(e).next("comity pki show FILE"))?;
    session.output.note(&format!("{}: keys and authority are there already and are kept", folder.display()));
    if row.endpoint != options.endpoint {
        row.endpoint.clone_from(&options.endpoint);
        let json = serde_json::to_vec_pretty(&row)
            .map_err(|e| Failure::error(format!("{MEMBER_FILE} cannot be written as JSON: {e}")))?;
        write(&path, &json)?;
    }
    Ok((authority, row))
}

/// The place that a federation has for who joins.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Which of the member's nodes this one is.
    incarnation: u32,
    /// Whether the members have decided already: its keys were replaced.
    is_in_roster: bool,
}

/// Whether the federation has a place for it, as far as the invitation tells.
fn check_place(proven: &Proven, row: &RosterMember) -> Result<Place, Failure> {
    let member = row.member;
    let roster = proven.state.roster();
    let known = roster.get(member);
    if let Some(standing) = known.filter(|standing| standing.status != MemberStatus::Expelled) {
        if standing.row.decision_key == row.decision_key && standing.row.endpoint == row.endpoint {
            return Ok(Place { incarnation: standing.incarnation, is_in_roster: true });
        }
        if standing.row.decision_key == row.decision_key {
            let there = &standing.row.endpoint;
            let message = format!("the members reach the node of {member} at {there}, not at {}", row.endpoint);
            return Err(
                Failure::new(Exit::Conflict, message).next(format!("comity member join ... --endpoint {there}"))
            );
        }
        let message = format!("{member} is {} in this federation, with other keys than these", standing.status);
        return Err(Failure::new(Exit::Conflict, message).next(format!(
            "ask a member for  comity member replace-keys {member} {MEMBER_FILE} --next-incarnation --statement TEXT, and once it \
             is adopted for a new invitation"
        )));
    }
    match roster.iter().find(|other| other.row.member != member && other.row.trust_domain == row.trust_domain) {
        Some(other) => {
            let message = format!("the trust domain {} is that of {}", row.trust_domain, other.row.member);
            Err(Failure::new(Exit::Conflict, message)
                .next("comity member join ... --trust-domain DOMAIN --dir ANOTHER"))
        }
        // Who was expelled comes back as another node.
        None => Ok(Place { incarnation: known.map_or(1, |standing| standing.incarnation + 1), is_in_roster: false }),
    }
}

/// Certificates of the node and of the first people, where there are none.
fn certificates(authority: &Authority, folder: &Path) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for (role, name) in std::iter::once((Role::Node, NODE_NAME)).chain(FIRST_PEOPLE) {
        if folder.join(format!("{role}-{name}.pem")).exists() {
            continue;
        }
        let issued =
            authority.issue(role, name, pki::now(), authority::default_validity(role)).map_err(Failure::error)?;
        issued.save(folder, false).map_err(Failure::error)?;
        ids.push(issued.id.to_string());
    }
    Ok(ids)
}

fn config_text(options: &JoinOptions, row: &RosterMember, incarnation: u32) -> String {
    let port = row.endpoint.rsplit_once(':').map_or("7443", |(_, port)| port);
    let listen = options.listen.clone().unwrap_or_else(|| format!("0.0.0.0:{port}"));
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let health = match &options.health_listen {
        Some(address) => format!("\n[health]\nlisten = {}\n", quoted(address)),
        None => String::new(),
    };
    let read = if row.voting {
        "once, while the node has none of its own"
    } else {
        "at each start: a newer one takes its place when the members' keys or endpoints have changed"
    };
    format!(
        "# The node of {member}, which joins by invitation. Every key: deploy/node.toml.\n\
         member = \"{member}\"\ndata_dir = \"data\"\ngenesis = \"{GENESIS_FILE}\"\npolicy_dir = \"policies\"\n\
         # The list as it was when {member} was invited: read {read}.\n\
         bootstrap = \"{LIST_FILE}\"\nmember_file = \"{MEMBER_FILE}\"\nincarnation = {incarnation}\n\n\
         [tls]\ncertificate = \"node-{NODE_NAME}.pem\"\nkey = \"node-{NODE_NAME}.key\"\n\n\
         [keys]\nnode = \"{NODE_KEY_FILE}\"\ndecision = \"{DECISION_KEY_FILE}\"\n\n\
         [peer]\nlisten = {listen}\n\n[operator]\nlisten = {operator}\n{health}",
        member = row.member,
        listen = quoted(&listen),
        operator = quoted(&options.operator_listen),
    )
}

/// A context for each of the first people, in a file of the folder.
fn contexts(options: &JoinOptions, folder: &Path) -> Result<(), Failure> {
    let mut file = ContextsFile::read_or_new(&folder.join(CONTEXTS_FILE))?;
    for (role, name) in FIRST_PEOPLE {
        let context = format!("{}-{name}", options.member.to_lowercase());
        if file.contexts().any(|(known, _)| known == context) {
            continue;
        }
        let context_of = Context {
            endpoint: options.operator_listen.clone(),
            certificate: format!("{role}-{name}.pem").into(),
            key: format!("{role}-{name}.key").into(),
            genesis: GENESIS_FILE.into(),
            member: Some(MEMBER_FILE.into()),
            signing_key: None,
        };
        file.add(&context, &context_of)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_whole(path, bytes).map_err(|e| Failure::error(format!("{}: cannot be written: {e}", path.display())))
}

fn tell(
    session: &mut Session<'_>,
    proven: &Proven,
    options: &JoinOptions,
    row: &RosterMember,
    place: Place,
    folder: &Path,
    issued: Vec<String>,
) -> Result<(), Failure> {
    let at = |name: &str| folder.join(name).display().to_string();
    let view = JoinView {
        member: row.member.to_string(),
        federation: proven.genesis.federation().to_string(),
        name: proven.genesis.document().name.clone(),
        folder: folder.display().to_string(),
        member_file: at(MEMBER_FILE),
        config: at(CONFIG_FILE),
        contexts: at(CONTEXTS_FILE),
        commands: proven.state.commands().size(),
        entries: proven.state.entry_count(),
        issued,
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{} joins {}", view.member, view.name));
        page.field("federation", &view.federation);
        page.field("list", format!("{} entries; {} commands, all replayed", view.entries, view.commands));
        page.field("folder", &view.folder);
        if !place.is_in_roster {
            page.field("to be admitted", format!("{MEMBER_FILE} (public)"));
        }
        page.field("node", format!("{CONFIG_FILE}; peers reach it at {}", row.endpoint));
        page.field("people", format!("{CONTEXTS_FILE}; the node listens for them on {}", options.operator_listen));
        page.fields("issued", &view.issued);
        page.finish()
    })?;
    session
        .output
        .note(&format!("keep {RECOVERY_KEY_FILE} offline, away from this machine: it can revoke the other two"));
    let mut steps = Vec::new();
    if !options.run {
        steps.push(format!("comity-node run --config {}", view.config));
    }
    if !place.is_in_roster {
        steps.push(format!(
            "send {} to {}, whose operator runs  comity member admit {MEMBER_FILE} --statement TEXT",
            view.member_file, proven.inviter.member
        ));
    }
    steps.push(format!("comity --config {} node status", view.contexts));
    for (i, step) in steps.iter().enumerate() {
        session.output.note(&format!("{}{step}", if i == 0 { "next:  " } else { "       " }));
    }
    Ok(())
}

#[derive(Debug, Clone, Serialize)]
struct JoinView {
    member: String,
    federation: String,
    name: String,
    folder: String,
    member_file: String,
    config: String,
    contexts: String,
    commands: u64,
    entries: usize,
    issued: Vec<String>,
}
