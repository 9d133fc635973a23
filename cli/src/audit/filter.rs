//! Which accesses are wanted, as typed and as the wire has it.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use comity_core::{MemberId, Role, SpiffeId};
use comity_proto::v1;

use crate::connection::Node;
use crate::failure::Failure;
use crate::when::{Last, When};

/// Which accesses are shown. All of the filters must match.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Filter {
    /// By this person or node: operator/desk-7 of this member, or a SPIFFE id
    #[arg(long, visible_alias = "who", value_name = "ID")]
    pub(super) person: Option<Person>,
    /// By people or nodes of this role: node, operator, approver, policy, auditor or admin
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Option<Role>,
    /// By people and nodes of this member or recipient
    #[arg(long, visible_alias = "member", value_name = "PARTY")]
    pub(super) partner: Option<MemberId>,
    /// That touched this record, entry, ballot or approval
    #[arg(long, visible_alias = "resource", value_name = "ID")]
    pub(super) record: Option<String>,
    /// Of this kind, as RecordService/GetRecord or handshake; with * at the end, those that begin so
    #[arg(long, value_name = "ACTION")]
    pub(super) action: Option<String>,
    /// That ended so
    #[arg(long, value_enum)]
    pub(super) outcome: Option<OutcomeFilter>,
    #[command(flatten)]
    pub(super) time: Stretch,
}

/// A stretch of time, both ends of which belong to it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Stretch {
    /// From this instant, the beginning of this day, or so long ago (7d, 12h)
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<When>,
    /// Up to this instant, the end of this day, or so long ago
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Last>,
}

/// A person or node, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Person {
    /// By the whole id.
    Id(SpiffeId),
    /// Of the own member.
    Own(Role, String),
}

/// A text is no person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a person as operator/desk-7, or a SPIFFE id as spiffe://fr.comity.example/operator/desk-7")]
pub(crate) struct InvalidPerson;

impl FromStr for Person {
    type Err = InvalidPerson;

    fn from_str(text: &str) -> Result<Self, InvalidPerson> {
        if text.starts_with("spiffe:") {
            return text.parse().map(Self::Id).map_err(|_| InvalidPerson);
        }
        let (role, name) = text.split_once('/').ok_or(InvalidPerson)?;
        // Any domain will do to see whether the name is one.
        let whole: SpiffeId = format!("spiffe://x/{role}/{name}").parse().map_err(|_| InvalidPerson)?;
        Ok(Self::Own(whole.role(), name.to_owned()))
    }
}

impl Person {
    /// The whole id, at this node.
    pub(super) fn at(&self, node: &Node) -> Result<SpiffeId, Failure> {
        match self {
            Self::Id(id) => Ok(id.clone()),
            Self::Own(role, name) => {
                SpiffeId::new(node.row().trust_domain.clone(), *role, name).map_err(|_| Failure::usage(InvalidPerson))
            }
        }
    }
}

/// How an access ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutcomeFilter {
    /// What was asked was given or done
    Allowed,
    /// It was refused
    Denied,
    /// It was allowed and failed
    Failed,
}

impl OutcomeFilter {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl Filter {
    /// As the wire has it.
    pub(super) fn to_proto(&self, node: &Node) -> Result<v1::AccessRecordFilter, Failure> {
        Ok(v1::AccessRecordFilter {
            who: self
                .person
                .as_ref()
                .map(|person| person.at(node))
                .transpose()?
                .map_or(String::new(), |id| id.to_string()),
            role: self.role.map(|role| role.to_string()).unwrap_or_default(),
            member: self.partner.map(|party| party.to_string()).unwrap_or_default(),
            action: self.action.clone().unwrap_or_default(),
            outcome: self.outcome.map(|o| o.as_str().to_owned()).unwrap_or_default(),
            resource: self.record.clone().unwrap_or_default(),
            since: self.time.since.map(When::to_proto),
            until: self.time.until.map(Last::to_proto),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_named_by_role_and_name_or_whole() {
        assert_eq!("operator/desk-7".parse(), Ok(Person::Own(Role::Operator, "desk-7".into())));
        let whole = "spiffe://fr.comity.example/auditor/audit-1";
        assert_eq!(whole.parse(), Ok(Person::Id(whole.parse().unwrap())));
        for text in ["", "desk-7", "king/desk-7", "operator/", "operator/De sk", "spiffe://x", "operator/a/b"] {
            assert_eq!(text.parse::<Person>(), Err(InvalidPerson), "{text}");
        }
    }
}
