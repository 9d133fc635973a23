//! `comity member genesis`: founding a federation; and what a genesis says.

use std::path::{Path, PathBuf};

use clap::Args;
use comity_core::genesis::{Genesis, GenesisDocument, RosterMember};
use comity_core::rule::{BallotKind, Rule, Rules};
use comity_core::{MemberId, Timestamp};
use serde::Serialize;

use crate::connection::read_row;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::session::Session;

/// What `comity member genesis` takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct GenesisOptions {
    /// The members' and recipients' member.json, made by `comity pki init`
    #[arg(required = true, value_name = "MEMBER.json")]
    fragments: Vec<PathBuf>,
    /// What the coalition calls itself
    #[arg(long, value_name = "NAME")]
    name: String,
    /// How every kind of ballot is decided unless --rule-for says otherwise
    #[arg(long, default_value = "quorum(2/3)", value_name = "RULE")]
    rule: Rule,
    /// How ballots of one kind are decided; may be repeated
    #[arg(long, value_name = "KIND=RULE", value_parser = parse_rule_for)]
    rule_for: Vec<(BallotKind, Rule)>,
    /// After how many days a delisting by the proposer is adopted unless all others vote to keep the entry
    #[arg(long, default_value_t = 60, value_name = "DAYS")]
    reverse_silence_days: u32,
    /// How often an entry is due for review
    #[arg(long, default_value_t = 12, value_name = "MONTHS")]
    review_months: u32,
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
}

fn parse_endpoint(text: &str) -> Result<(MemberId, String), String> {
    let (member, endpoint) = text.split_once('=').ok_or("expected CODE=HOST:PORT, such as FR=node.fr.example:7101")?;
    Ok((member.parse().map_err(|e: comity_core::member::InvalidMemberId| e.to_string())?, endpoint.to_owned()))
}

fn parse_rule_for(text: &str) -> Result<(BallotKind, Rule), String> {
    let (kind, rule) = text.split_once('=').ok_or("expected KIND=RULE, such as list=no_objection(period=10)")?;
    let kind = kind.parse().map_err(|e: comity_core::rule::InvalidBallotKind| e.to_string())?;
    Ok((kind, rule.parse().map_err(|e: comity_core::rule::InvalidRule| e.to_string())?))
}

pub(super) fn run(options: GenesisOptions, session: &mut Session<'_>) -> Result<(), Failure> {
    let created = options.created.unwrap_or_else(|| Timestamp::from_jiff(jiff::Timestamp::now()));
    let mut rules = Rules::uniform(options.rule);
    for (kind, rule) in options.rule_for {
        rules.set(kind, rule);
    }
    rules.reverse_silence_days = options.reverse_silence_days;
    rules.review_months = options.review_months;
    let document = GenesisDocument {
        format: Genesis::FORMAT.to_owned(),
        name: options.name,
        created,
        entry_prefix: options.entry_prefix,
        rules,
        members: members(&options.fragments, options.endpoint)?,
    };
    if options.force && options.out.exists() {
        let what =
            format!("{} will be replaced; nodes of that federation will not know the new one", options.out.display());
        session.confirm(&what, "replace", options.yes)?;
    }
    write_genesis(session, &document, &options.out, options.force)
}

fn members(fragments: &[PathBuf], endpoints: Vec<(MemberId, String)>) -> Result<Vec<RosterMember>, Failure> {
    let mut members = fragments.iter().map(|path| read_row(path)).collect::<Result<Vec<_>, _>>()?;
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
        rules: RuleView::all(&document.rules, voters),
        reverse_silence_days: document.rules.reverse_silence_days,
        review_months: document.rules.review_months,
        voters,
        cosigners_needed: Genesis::cosigners_needed(voters),
        members: document.members.iter().map(RowView::from).collect(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}: {}", view.file, view.name));
        page.field("federation", &view.federation);
        page.fields("rules", view.rules.iter().map(|rule| rule.line(view.voters)));
        page.field("reverse silence", format!("{} days", view.reverse_silence_days));
        page.field("review", format!("every {} months", view.review_months));
        page.field("agreed once", format!("{} of {} have cosigned", view.cosigners_needed, view.voters));
        page.finish() + "\n" + &rows_table(style, &view.members)
    })?;
    session
        .output
        .note("next:  give every member this very file, and let each compare the federation's name by another way");
    Ok(())
}

/// Shows who founded a federation, and by which rules.
pub(super) fn show(session: &mut Session<'_>, genesis: &Genesis) -> Result<(), Failure> {
    let voters = genesis.voters().count();
    let view = FoundersView {
        federation: genesis.federation().to_string(),
        name: genesis.document().name.clone(),
        rules: RuleView::all(&genesis.document().rules, voters),
        members: genesis.members().values().map(RowView::from).collect(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.fields("rules", view.rules.iter().map(|rule| rule.line(voters)));
        format!("{}\n\n{}", rows_table(style, &view.members), page.finish().trim_end())
    })
}

fn rows_table(style: &Style, members: &[RowView]) -> String {
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
    rules: Vec<RuleView>,
    reverse_silence_days: u32,
    review_months: u32,
    voters: usize,
    cosigners_needed: usize,
    members: Vec<RowView>,
}

#[derive(Debug, Clone, Serialize)]
struct FoundersView {
    federation: String,
    name: String,
    rules: Vec<RuleView>,
    members: Vec<RowView>,
}

/// A kind of ballot, its rule, and what that comes to.
#[derive(Debug, Clone, Serialize)]
struct RuleView {
    kind: &'static str,
    rule: String,
    /// How many yes adopt; nothing where silence does.
    yes_needed: Option<usize>,
}

impl RuleView {
    fn all(rules: &Rules, voters: usize) -> Vec<Self> {
        let view = |kind: BallotKind| {
            let rule = rules.of(kind);
            Self { kind: kind.as_str(), rule: rule.to_string(), yes_needed: rule.needed(voters) }
        };
        BallotKind::ALL.into_iter().map(view).collect()
    }

    fn line(&self, voters: usize) -> String {
        let meaning = match self.yes_needed {
            Some(needed) => format!("  ({needed} yes of {voters})"),
            None => String::new(),
        };
        format!("{:14}  {}{meaning}", self.kind, self.rule)
    }
}

/// A row of a genesis.
#[derive(Debug, Clone, Serialize)]
struct RowView {
    member: String,
    voting: bool,
    ceiling: String,
    trust_domain: String,
    endpoint: String,
    decision_key: String,
    node_key: String,
    recovery_key: String,
}

impl From<&RosterMember> for RowView {
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
