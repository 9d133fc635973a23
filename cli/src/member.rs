//! `comity member`: who belongs to the federation, founding one, joining one, and a member's own keys and people.

mod genesis;
mod invite;
mod join;
mod keys;
mod roster;

use std::path::PathBuf;

use clap::Subcommand;
use comity_core::MemberId;
use comity_core::list::{Motion, ReplacedKeys};
use comity_core::rule::{BallotKind, Rule};

use crate::connection::{read_genesis, read_row};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::motions;
use crate::session::Session;

/// The verbs of `comity member`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MemberCommand {
    /// Draw up the genesis of a federation from its members' member.json
    ///
    /// Every member must receive the very same file by a way that it trusts: everything is proved from it, and its
    /// SHA-256 names the federation. Rules are unanimity, quorum(N/D) and no_objection, whose parameters may be given as in
    /// no_objection(period=10,notice=5,presence=2/3,closing=17,hold=6,extension=3). Kinds of ballot are list, amend, delist,
    /// merge, admit, suspend, expel, replace_keys, change_rule and raise_version.
    #[command(
        after_long_help = "Examples:\n  comity member genesis pki/*/member.json --name 'Partnership' -O genesis.json\n  comity member genesis pki/*/member.json --name 'Partnership' --rule 'quorum(2/3)' \\\n      --rule-for 'list=no_objection' --rule-for 'change_rule=unanimity' -O genesis.json\n  comity member genesis fr.json de.json ca.json --name 'Partnership' \\\n      --endpoint FR=node.fr.example:7101 --endpoint DE=node.de.example:7101 -O genesis.json"
    )]
    Genesis(genesis::GenesisOptions),
    /// List the members and recipients of the federation, as they stand now
    #[command(
        after_long_help = "Examples:\n  comity member list\n  comity member list --genesis genesis.json     # its founders; no node is called"
    )]
    List {
        /// A genesis file: its founders, without calling a node
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
    },
    /// Show a member or recipient: its keys, its people, what its node attested last
    #[command(after_long_help = "Examples:\n  comity member show DE")]
    Show {
        /// Which, by code
        member: MemberId,
    },
    /// Write what a new member needs to join: one file that proves itself from the genesis
    ///
    /// It holds the genesis and the whole list. Nothing in it is secret to members; compare the federation's name by another
    /// way when you hand it over.
    #[command(after_long_help = "Examples:\n  comity member invite -O invite.json")]
    Invite {
        /// Where to
        #[arg(short = 'O', long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Make everything that a new member's node needs, from an invitation
    ///
    /// Run on the new member's side. Verifies the list from the genesis, shows the federation's name to compare, makes the
    /// authority, keys and first people where there are none, and writes node.toml, contexts.toml, and member.json: the row
    /// to be admitted. The members then decide; until they have, the node waits.
    #[command(
        after_long_help = "Examples:\n  comity member join invite.json --member JP --endpoint node.jp.example:7101 --federation 3f9a01c2\n  comity member join invite.json --member JP --endpoint node.jp.example:7101 --operator-listen 127.0.0.1:7444 --dir jp --run"
    )]
    Join(join::JoinOptions),
    /// Ask that this member move to admit a member or recipient; another person approves
    #[command(
        after_long_help = "Examples:\n  comity member admit jp/member.json --statement 'Japan has asked to take part.'"
    )]
    Admit {
        /// Its member.json, made by `comity member join` or `comity pki init`
        file: PathBuf,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member move to suspend a member or recipient; another person approves
    #[command(
        after_long_help = "Examples:\n  comity member suspend XA --statement 'Its node was taken over on 3 May.'"
    )]
    Suspend {
        /// Whom, by code
        member: MemberId,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member move to readmit a suspended member or recipient; another person approves
    #[command(after_long_help = "Examples:\n  comity member readmit DE --statement 'Its keys were replaced.'")]
    Readmit {
        /// Whom, by code
        member: MemberId,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member move to expel a member or recipient; another person approves
    ///
    /// It belongs to the federation no more; its earlier votes still verify. It need not be reachable.
    #[command(after_long_help = "Examples:\n  comity member expel DE --statement 'It left the partnership.'")]
    Expel {
        /// Whom, by code
        member: MemberId,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Ask that this member move to replace a member's lost keys; another person approves
    #[command(
        after_long_help = "Examples:\n  comity member replace-keys DE de/member.json --statement 'Its keys were lost in a fire.' --next-incarnation"
    )]
    ReplaceKeys {
        /// Whose, by code
        member: MemberId,
        /// Its new member.json, made by `comity pki init`
        file: PathBuf,
        /// Its machine was lost, too: its node comes back as another
        #[arg(long)]
        next_incarnation: bool,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member move to decide ballots of a kind by another rule; another person approves
    #[command(
        after_long_help = "Examples:\n  comity member change-rule list 'no_objection(period=10)' --statement 'As agreed in plenary.'"
    )]
    ChangeRule {
        /// Of which kind: list, amend, delist, merge, admit, suspend, expel, replace_keys, change_rule or raise_version
        kind: BallotKind,
        /// By which rule: unanimity, quorum(N/D) or no_objection(...)
        rule: Rule,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member move to raise the version of the rules; another person approves
    #[command(after_long_help = "Examples:\n  comity member raise-version 2 --statement 'All nodes can follow it.'")]
    RaiseVersion {
        /// The next version
        #[arg(value_name = "VERSION")]
        next: u32,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member's own keys, authority or endpoint be replaced; another person approves
    ///
    /// New keys are made here, mode 0600, and prove that they are held. Put them in the node's configuration once it is done.
    #[command(
        after_long_help = "Examples:\n  comity member rotate-keys --decision --dir fr\n  comity member rotate-keys --decision --node --dir fr\n  comity member rotate-keys --endpoint node2.fr.example:7101\n  comity member rotate-keys --root fr/ca.pem --root fr/ca-2027.pem"
    )]
    RotateKeys(keys::RotateOptions),
    /// Revoke this member's decision or node key with its recovery key, at once
    ///
    /// Nobody approves it: it is for the hour in which a key was stolen. Keys that were revoked are replaced by ballot.
    #[command(
        after_long_help = "Examples:\n  comity member revoke-keys --decision --node --recovery-key /media/safe/signing-recovery.key"
    )]
    RevokeKeys(keys::RevokeOptions),
    /// Ask that a person's signing key be enrolled; another person approves
    #[command(
        after_long_help = "Examples:\n  comity pki person --name desk-7 -O desk-7.key\n  comity member enroll desk-7 --role operator --key desk-7.key"
    )]
    Enroll(keys::EnrollOptions),
    /// Ask that a person's signing key be revoked; another person approves
    #[command(
        after_long_help = "Examples:\n  comity member show FR     # names each person's key\n  comity member revoke-person 9f3c..."
    )]
    RevokePerson {
        /// The key: 64 hexadecimal digits
        key: comity_core::dsse::PublicKey,
    },
    /// Ask that this member's deciding commands need two enrolled people's signatures, or not any more; another person approves
    #[command(after_long_help = "Examples:\n  comity member require-signatures on")]
    RequireSignatures {
        /// Whether they do
        #[arg(value_enum)]
        required: keys::Switch,
    },
}

pub(crate) async fn run(command: MemberCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        MemberCommand::Genesis(options) => genesis::run(options, session),
        MemberCommand::List { genesis: Some(path) } => genesis::show(session, &read_genesis(&path)?),
        MemberCommand::List { genesis: None } => roster::list(session).await,
        MemberCommand::Show { member } => roster::show(session, member).await,
        MemberCommand::Invite { out, force } => invite::run(session, &out, force).await,
        MemberCommand::Join(options) => join::run(options, session).await,
        MemberCommand::Admit { file, statement } => {
            let row = read_row(&file)?;
            if row.endpoint.is_empty() {
                return Err(Failure::error(format!("{}: no endpoint", file.display()))
                    .next("comity pki init --member CODE --endpoint HOST:PORT"));
            }
            table(session, Motion::Admit { member: Box::new(row) }, statement).await
        }
        MemberCommand::Suspend { member, statement } => {
            table(session, Motion::Suspend { target: member }, statement).await
        }
        MemberCommand::Readmit { member, statement } => {
            table(session, Motion::Readmit { target: member }, statement).await
        }
        MemberCommand::Expel { member, statement, yes } => {
            let what = format!("once adopted, {member} belongs to the federation no more, which cannot be undone");
            session.confirm(&what, member.as_str(), yes)?;
            table(session, Motion::Expel { target: member }, statement).await
        }
        MemberCommand::ReplaceKeys { member, file, next_incarnation, statement } => {
            let motion = replacement(session, member, &file, next_incarnation).await?;
            table(session, motion, statement).await
        }
        MemberCommand::ChangeRule { kind, rule, statement } => {
            table(session, Motion::ChangeRule { kind, rule }, statement).await
        }
        MemberCommand::RaiseVersion { next, statement } => {
            table(session, Motion::RaiseVersion { version: next }, statement).await
        }
        MemberCommand::RotateKeys(options) => keys::rotate(session, options).await,
        MemberCommand::RevokeKeys(options) => keys::revoke(session, options).await,
        MemberCommand::Enroll(options) => keys::enroll(session, options).await,
        MemberCommand::RevokePerson { key } => keys::revoke_person(session, key).await,
        MemberCommand::RequireSignatures { required } => keys::require_signatures(session, required).await,
    }
}

async fn table(session: &mut Session<'_>, motion: Motion, statement: String) -> Result<(), Failure> {
    let look = match motion.target() {
        Some(member) if !matches!(motion, Motion::Admit { .. }) => format!("comity member show {member}"),
        _ => "comity member list".to_owned(),
    };
    motions::table(session, &motion, statement, &look).await
}

async fn replacement(
    session: &Session<'_>,
    member: MemberId,
    file: &std::path::Path,
    next_incarnation: bool,
) -> Result<Motion, Failure> {
    let row = read_row(file)?;
    if row.member != member {
        return Err(Failure::usage(format!("{}: the keys of {}, not of {member}", file.display(), row.member)));
    }
    let standing = roster::of(&session.node().await?, member).await?;
    if standing.trust_domain != row.trust_domain.to_string() {
        let message = format!(
            "{}: the trust domain is {}, that of {member} stays {}",
            file.display(),
            row.trust_domain,
            standing.trust_domain
        );
        let next = format!("comity pki init --member {member} --trust-domain {}", standing.trust_domain);
        return Err(Failure::new(Exit::Conflict, message).next(next));
    }
    let endpoint = if row.endpoint.is_empty() { standing.endpoint } else { row.endpoint };
    let keys = ReplacedKeys {
        decision_key: row.decision_key,
        node_key: row.node_key,
        recovery_key: row.recovery_key,
        roots_pem: row.roots_pem,
        endpoint,
        incarnation: standing.incarnation + u32::from(next_incarnation),
    };
    Ok(Motion::ReplaceKeys { target: member, keys: Box::new(keys) })
}
