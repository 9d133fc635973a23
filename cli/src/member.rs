//! `comity member`: who belongs to the federation, and founding one.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use comity_core::genesis::{Genesis, GenesisDocument, RosterMember, Rule};
use comity_core::{MemberId, Timestamp, canonical};
use serde::Serialize;

use crate::connection::{read_bounded, read_genesis};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::session::Session;

/// The largest member.json that is read, in bytes.
const FRAGMENT_MAX_BYTES: u64 = 256 * 1024;

/// The verbs of `comity member`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MemberCommand {
    /// Draw up the genesis of a federation from its members' member.json
    ///
    /// Every member must receive the very same file by a way that it trusts: everything is proved from it, and its
    /// SHA-256 names the federation.
    #[command(
        after_long_help = "Examples:\n  comity member genesis pki/*/member.json --name 'Partnership' -O genesis.json\n  comity member genesis fr.json de.json ca.json --name 'Partnership' --rule 'quorum(2/3)' \\\n      --endpoint FR=node.fr.example:7101 --endpoint DE=node.de.example:7101 -O genesis.json"
    )]
    Genesis {
        /// The members' and recipients' member.json, made by `comity pki init`
        #[arg(required = true, value_name = "MEMBER.json")]
        fragments: Vec<PathBuf>,
        /// What the coalition calls itself
        #[arg(long, value_name = "NAME")]
        name: String,
        /// How listings are decided
        #[arg(long, default_value = "quorum(2/3)", value_name = "RULE")]
        rule: Rule,
        /// The prefix of the list's entries, as in CW-2026-0001
        #[arg(long, default_value = "CW", value_name = "PREFIX")]
        entry_prefix: String,
        /// Where a member's node listens for peers; may be repeated
        #[arg(long, value_name = "CODE=HOST:PORT", value_parser = parse_endpoint)]
        endpoint: Vec<(MemberId, String)>,
        /// When it was drawn up: where list time begins [default: now]
        #[arg(long, value_name = "INSTANT")]
        created: Option<Timestamp>,
        /// Where to
        #[arg(short = 'O', long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file: that is another federation
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long, requires = "force")]
        yes: bool,
    },
    /// List the members and recipients of the federation
    List {
        /// A genesis file [default: that of the context]
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
    },
}

fn parse_endpoint(text: &str) -> Result<(MemberId, String), String> {
    let (member, endpoint) = text.split_once('=').ok_or("expected CODE=HOST:PORT, such as FR=node.fr.example:7101")?;
    Ok((member.parse().map_err(|e: comity_core::member::InvalidMemberId| e.to_string())?, endpoint.to_owned()))
}

pub(crate) fn run(command: MemberCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        MemberCommand::Genesis { fragments, name, rule, entry_prefix, endpoint, created, out, force, yes } => {
            let created = created.unwrap_or_else(|| Timestamp::from_jiff(jiff::Timestamp::now()));
            let members = members(&fragments, endpoint)?;
            let document = GenesisDocument {
                format: Genesis::FORMAT.to_owned(),
                name,
                created,
                entry_prefix,
                listing_rule: rule,
                members,
            };
            if force && out.exists() {
                let what =
                    format!("{} will be replaced; nodes of that federation will not know the new one", out.display());
                session.confirm(&what, "replace", yes)?;
            }
            write_genesis(session, &document, &out, force)
        }
        MemberCommand::List { genesis } => {
            let path = match genesis {
                Some(path) => path,
                None => session.context()?.1.genesis,
            };
            list(session, &read_genesis(&path)?)
        }
    }
}

fn members(fragments: &[PathBuf], endpoints: Vec<(MemberId, String)>) -> Result<Vec<RosterMember>, Failure> {
    let mut members = fragments.iter().map(|path| read_fragment(path)).collect::<Result<Vec<_>, _>>()?;
    for (code, endpoint) in endpoints {
        let member = members.iter_mut().find(|m| m.member == code).ok_or_else(|| {
            Failure::usage(format!("--endpoint {code}={endpoint}: none of the files is that of {code}"))
        })?;
        member.endpoint = endpoint;
    }
    if let Some(member) = members.iter().find(|m| m.endpoint.is_empty()) {
        return Err(Failure::usage(format!("{}: no endpoint; add --endpoint {0}=HOST:PORT", member.member)));
    }
    members.sort_by_key(|m| m.member);
    Ok(members)
}

fn read_fragment(path: &Path) -> Result<RosterMember, Failure> {
    let bytes = read_bounded(path, FRAGMENT_MAX_BYTES)?;
    canonical::from_slice(&bytes).map_err(|e| {
        Failure::error(format!("{}: not a member.json", path.display()))
            .field(e.path, e.problem)
            .next("comity pki init --member CODE")
    })
}

fn write_genesis(
    session: &mut Session<'_>,
    document: &GenesisDocument,
    out: &Path,
    force: bool,
) -> Result<(), Failure> {
    let mut bytes = serde_json::to_vec_pretty(document)
        .map_err(|e| Failure::error(format!("the genesis cannot be written as JSON: {e}")))?;
    bytes.push(b'\n');
    let genesis = Genesis::from_bytes(&bytes).map_err(|violations| {
        Failure::new(Exit::Error, "the genesis would not be valid; nothing was written").fields(&violations)
    })?;
    session.write_new(out, &bytes, force)?;
    let voters = genesis.voters().count();
    let view = GenesisView {
        federation: genesis.federation().to_string(),
        name: document.name.clone(),
        file: out.display().to_string(),
        listing_rule: document.listing_rule.to_string(),
        voters,
        yes_needed: document.listing_rule.needed(voters),
        cosigners_needed: Genesis::cosigners_needed(voters),
        members: document.members.iter().map(MemberView::from).collect(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}: {}", view.file, view.name));
        page.field("federation", &view.federation);
        page.field("listings", format!("{}: {} yes of {} adopt", view.listing_rule, view.yes_needed, view.voters));
        page.field("agreed once", format!("{} of {} have cosigned", view.cosigners_needed, view.voters));
        page.finish() + "\n" + &members_table(style, &view.members)
    })?;
    session
        .output
        .note("next:  give every member this very file, and let each compare the federation's name by another way");
    Ok(())
}

fn list(session: &mut Session<'_>, genesis: &Genesis) -> Result<(), Failure> {
    let view = MembersView {
        federation: genesis.federation().to_string(),
        name: genesis.document().name.clone(),
        members: genesis.members().values().map(MemberView::from).collect(),
    };
    session.output.show(&view, |style| members_table(style, &view.members))
}

fn members_table(style: &Style, members: &[MemberView]) -> String {
    let rows = members.iter().map(|m| {
        let votes = if m.voting { "votes" } else { "receives" };
        let node_key: String = m.node_key.chars().take(16).collect();
        vec![m.member.clone(), votes.into(), m.ceiling.clone(), m.trust_domain.clone(), m.endpoint.clone(), node_key]
    });
    table(style, &["MEMBER", "PART", "CEILING", "TRUST DOMAIN", "ENDPOINT", "NODE KEY"], rows.collect())
}

#[derive(Debug, Clone, Serialize)]
struct GenesisView {
    federation: String,
    name: String,
    file: String,
    listing_rule: String,
    voters: usize,
    yes_needed: usize,
    cosigners_needed: usize,
    members: Vec<MemberView>,
}

#[derive(Debug, Clone, Serialize)]
struct MembersView {
    federation: String,
    name: String,
    members: Vec<MemberView>,
}

#[derive(Debug, Clone, Serialize)]
struct MemberView {
    member: String,
    voting: bool,
    ceiling: String,
    trust_domain: String,
    endpoint: String,
    decision_key: String,
    node_key: String,
    recovery_key: String,
}

impl From<&RosterMember> for MemberView {
    fn from(member: &RosterMember) -> Self {
        Self {
            member: member.member.to_string(),
            voting: member.voting,
            ceiling: member.ceiling.to_string(),
            trust_domain: member.trust_domain.to_string(),
            endpoint: member.endpoint.clone(),
            decision_key: member.decision_key.to_string(),
            node_key: member.node_key.to_string(),
            recovery_key: member.recovery_key.to_string(),
        }
    }
}
