//! Leaves of the public log: read from a node, and told in words.

use comity_core::export::ExportedText;
use comity_core::list::{Authority, Consent, Publication, PublishedEvent, PublishedProcedure};
use comity_core::{MemberId, canonical};
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::connection::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::refusal::Asked;
use crate::wire;

/// One leaf, read.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) number: u64,
    pub(super) publication: Publication,
    bytes: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) agreed: bool,
}

impl Leaf {
    pub(super) fn read(leaf: v1::Publication) -> Result<Self, Failure> {
        let publication = Publication::from_bytes(&leaf.publication).map_err(|e| {
            let message = format!("publication {}: the node's answer is none that this version knows: {e}", leaf.leaf);
            Failure::new(Exit::VerificationFailed, message).next("comity node status")
        })?;
        let (number, text, agreed) = (leaf.leaf, leaf.text, leaf.agreed);
        Ok(Self { number, publication, bytes: leaf.publication, text, agreed })
    }

    /// The text beside it as an export carries it, for whoever only reads it: the salt is not there.
    pub(super) fn exported_text(&self) -> Option<ExportedText> {
        let text = (!self.text.is_empty()).then(|| String::from_utf8_lossy(&self.text).into_owned());
        text.map(|text| ExportedText { salt: canonical::Hex32([0; 32]), text })
    }

    pub(super) fn view(&self) -> LeafView {
        LeafView {
            leaf: self.number,
            agreed: self.agreed,
            publication: wire::embedded(&self.bytes),
            text: wire::embedded(&self.text),
        }
    }
}

/// A leaf as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LeafView {
    leaf: u64,
    agreed: bool,
    publication: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Value>,
}

/// Leaves of the public log in order: those about one entry, or the first so many of all.
pub(super) async fn leaves(node: &Node, entry: &str, limit: u64) -> Result<Vec<Leaf>, Failure> {
    let asked = match entry {
        "" => Asked::about("public log", "comity list status"),
        entry => Asked::about(format!("entry {entry}"), "comity list list --all"),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let client = node.list();
    let (found, _) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked, entry) = (client.clone(), asked.clone(), entry.to_owned());
        async move {
            let request = v1::ListPublicationsRequest { page_size, page_token, entry };
            let page = client.list_publications(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.publications, page.next_page_token))
        }
    })
    .await?;
    found.into_iter().map(Leaf::read).collect()
}

/// What happened, in words.
pub(super) fn in_words(event: &PublishedEvent) -> String {
    match event {
        PublishedEvent::Listed { entry } => format!("{entry} listed"),
        PublishedEvent::Amended { entry } => format!("{entry} amended"),
        PublishedEvent::Delisted { entry, ground } => {
            format!("{entry} delisted: {}", ground.as_str().replace('_', " "))
        }
        PublishedEvent::Merged { entry, into } => format!("{entry} merged into {into}"),
        PublishedEvent::MeasureAttached { entry, measure } => {
            let imposes = measure.imposes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{entry} measure {} attached: {}", measure.id, imposes.replace('_', " "))
        }
        PublishedEvent::MeasureEnded { entry, measure, ended } => format!("{entry} measure {measure} ended {ended}"),
        PublishedEvent::Reviewed { entry } => format!("{entry} reviewed and kept"),
        PublishedEvent::Admitted { member } if member.voting => format!("{} admitted as a member", member.member),
        PublishedEvent::Admitted { member } => format!("{} admitted as a recipient", member.member),
        PublishedEvent::Suspended { member } => format!("{member} suspended"),
        PublishedEvent::Readmitted { member } => format!("{member} readmitted"),
        PublishedEvent::Expelled { member } => format!("{member} expelled"),
        PublishedEvent::KeysReplaced { member } => format!("keys of {} replaced", member.member),
        PublishedEvent::KeysRotated { member } => format!("keys of {} rotated", member.member),
        PublishedEvent::KeysRevoked { member, decision, node } => match (decision, node) {
            (true, true) => format!("decision and node key of {member} revoked"),
            (true, false) => format!("decision key of {member} revoked"),
            _ => format!("node key of {member} revoked"),
        },
        PublishedEvent::RuleChanged { kind, rule } => format!("ballots of kind {kind} decided by {rule} from now on"),
        PublishedEvent::VersionRaised { version } => format!("rules version raised to {version}"),
    }
}

/// On whose authority, in one line.
pub(super) fn authority(by: &Authority) -> String {
    let decided = match by {
        Authority::Member(consent) => return format!("{} on its own authority", consent.member),
        Authority::Ballot(decided) => decided,
    };
    let procedure = match decided.procedure {
        PublishedProcedure::Rule(rule) => rule.to_string(),
        PublishedProcedure::ReverseSilence { days } => format!("reverse silence of {days} days"),
    };
    format!("ballot {} of {}, by {procedure}", wire::digits(&decided.ballot.to_string()), decided.proposer)
}

/// Who consented, who was silent, who was absent: each with its label, where there is somebody.
pub(super) fn parties(by: &Authority) -> Vec<(&'static str, String)> {
    let Authority::Ballot(decided) = by else { return Vec::new() };
    // Whoever was present is in the leaf as silent; who said yes besides is told once.
    let said_yes = |consent: &&Consent| decided.consents.iter().any(|yes| yes.member == consent.member);
    let parties = [
        ("consents", members(decided.consents.iter().map(|consent| consent.member))),
        ("silent", members(decided.silent.iter().filter(|c| !said_yes(c)).map(|consent| consent.member))),
        ("absent", members(decided.absent.iter().copied())),
    ];
    parties.into_iter().filter(|(_, who)| !who.is_empty()).collect()
}

fn members(members: impl Iterator<Item = MemberId>) -> String {
    members.map(|member| member.to_string()).collect::<Vec<_>>().join(", ")
}
