//! `comity member list` and `comity member show`: the roster as it stands.

use comity_core::MemberId;
use comity_proto::v1;
use serde::Serialize;

use crate::connection::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::when;

async fn fetch(node: &Node) -> Result<v1::ListMembersResponse, Failure> {
    let asked = Asked::about("members", "comity node status");
    Ok(node.members().list_members(v1::ListMembersRequest {}).await.map_err(|s| asked.refused(s))?.into_inner())
}

/// One member or recipient, as the node has it.
pub(super) async fn of(node: &Node, member: MemberId) -> Result<v1::Member, Failure> {
    let found = fetch(node).await?.members.into_iter().find(|standing| standing.member == member.as_str());
    found.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{member}: neither a member nor a recipient")).next("comity member list")
    })
}

pub(super) async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let answer = fetch(&node).await?;
    let since: Vec<String> = answer.members.iter().map(|m| when::minute(m.since.as_ref())).collect();
    let view = RosterView {
        federation: node.genesis().federation().to_string(),
        name: node.genesis().document().name.clone(),
        rules_version: answer.rules_version,
        rules: answer.rules.into_iter().map(|rule| RuleView { kind: rule.kind, rule: rule.rule }).collect(),
        reverse_silence_days: answer.reverse_silence_days,
        review_months: answer.review_months,
        members: answer.members.into_iter().map(MemberView::from).collect(),
    };
    session.output.show(&view, |style| page(style, &view, since))
}

fn page(style: &Style, view: &RosterView, since: Vec<String>) -> String {
    let rows = view.members.iter().zip(since).map(|(m, since)| {
        vec![
            m.member.clone(),
            m.status.clone(),
            since,
            m.part().to_owned(),
            m.ceiling.clone(),
            m.incarnation.to_string(),
            if m.personal_signatures { "two people" } else { "-" }.to_owned(),
            m.enrolled().to_string(),
            m.trouble(),
            m.endpoint.clone(),
        ]
    });
    let headings = ["MEMBER", "STATUS", "SINCE", "PART", "CEILING", "NODE", "SIGNATURES", "PEOPLE", "KEYS", "ENDPOINT"];
    let mut text = table(style, &headings, rows.collect());
    let mut page = Page::new(style);
    page.fields("rules", view.rules.iter().map(|rule| format!("{:14}  {}", rule.kind, rule.rule)));
    page.field("reverse silence", format!("{} days", view.reverse_silence_days));
    page.field("review", format!("every {} months", view.review_months));
    page.field("rules version", view.rules_version.to_string());
    text.push_str("\n\n");
    text.push_str(page.finish().trim_end());
    text
}

pub(super) async fn show(session: &mut Session<'_>, member: MemberId) -> Result<(), Failure> {
    let standing = of(&session.node().await?, member).await?;
    let (since, attested) = (when::local(standing.since.as_ref()), when::local(standing.attest_time.as_ref()));
    let view = MemberView::from(standing);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}  {}", view.member, view.status));
        page.field("since", since);
        page.field("part", view.part());
        page.field("trust domain", &view.trust_domain);
        page.field("endpoint", &view.endpoint);
        page.field("ceiling", &view.ceiling);
        page.field("node", format!("incarnation {}", view.incarnation));
        page.field("attested", attested);
        let revoked = |revoked: bool| if revoked { " (revoked)" } else { "" };
        page.field("decision key", format!("{}{}", view.decision_key, revoked(view.decision_revoked)));
        page.field("node key", format!("{}{}", view.node_key, revoked(view.node_revoked)));
        page.field("recovery key", &view.recovery_key);
        page.fields("authority", &view.roots);
        page.field(
            "signatures",
            match view.personal_signatures {
                true => "its deciding commands need two different enrolled people's, besides its decision key's",
                false => "its decision key's alone",
            },
        );
        let people = view.people.iter().flat_map(|person| {
            let revoked = if person.revoked { ", revoked" } else { "" };
            [format!("{}, {}{revoked}", person.name, person.role), format!("  {}", person.key)]
        });
        page.fields("people", people);
        page.finish()
    })
}

#[derive(Debug, Clone, Serialize)]
struct RosterView {
    federation: String,
    name: String,
    rules_version: u32,
    rules: Vec<RuleView>,
    reverse_silence_days: u32,
    review_months: u32,
    members: Vec<MemberView>,
}

#[derive(Debug, Clone, Serialize)]
struct RuleView {
    kind: String,
    rule: String,
}

/// A member as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct MemberView {
    member: String,
    status: String,
    since: Option<String>,
    voting: bool,
    trust_domain: String,
    endpoint: String,
    ceiling: String,
    incarnation: u32,
    decision_key: String,
    node_key: String,
    recovery_key: String,
    roots: Vec<String>,
    decision_revoked: bool,
    node_revoked: bool,
    personal_signatures: bool,
    people: Vec<PersonView>,
    attest_time: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct PersonView {
    name: String,
    role: String,
    key: String,
    revoked: bool,
}

impl MemberView {
    fn part(&self) -> &'static str {
        if self.voting { "votes" } else { "receives" }
    }

    /// How many people's keys count.
    fn enrolled(&self) -> usize {
        self.people.iter().filter(|person| !person.revoked).count()
    }

    /// Which of its keys were revoked.
    fn trouble(&self) -> String {
        match (self.decision_revoked, self.node_revoked) {
            (false, false) => "-",
            (true, false) => "decision revoked",
            (false, true) => "node revoked",
            (true, true) => "both revoked",
        }
        .to_owned()
    }
}

impl From<v1::Member> for MemberView {
    fn from(member: v1::Member) -> Self {
        let people = member.people.into_iter().map(|person| PersonView {
            name: person.name,
            role: person.role,
            key: person.key,
            revoked: person.revoked,
        });
        Self {
            people: people.collect(),
            since: when::rfc3339(member.since.as_ref()),
            attest_time: when::rfc3339(member.attest_time.as_ref()),
            member: member.member,
            status: member.status,
            voting: member.voting,
            trust_domain: member.trust_domain,
            endpoint: member.endpoint,
            ceiling: member.ceiling,
            incarnation: member.incarnation,
            decision_key: member.decision_key,
            node_key: member.node_key,
            recovery_key: member.recovery_key,
            roots: member.roots,
            decision_revoked: member.decision_revoked,
            node_revoked: member.node_revoked,
            personal_signatures: member.personal_signatures,
        }
    }
}
