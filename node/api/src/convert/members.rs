//! The roster.

use comity_app::{MemberView, MembersView};
use comity_core::roster::Person;
use comity_core::rule::BallotKind;
use comity_identity::certificate::fingerprint;
use comity_proto::v1;

use super::time;

pub(crate) fn members(view: MembersView) -> v1::ListMembersResponse {
    let rule = |kind: BallotKind| v1::KindRule { kind: kind.to_string(), rule: view.rules.of(kind).to_string() };
    v1::ListMembersResponse {
        members: view.members.into_iter().map(member).collect(),
        rules: BallotKind::ALL.into_iter().map(rule).collect(),
        reverse_silence_days: view.rules.reverse_silence_days,
        review_months: view.rules.review_months,
        rules_version: view.rules_version,
    }
}

fn member(view: MemberView) -> v1::Member {
    let (standing, row) = (&view.standing, &view.standing.row);
    v1::Member {
        member: row.member.to_string(),
        trust_domain: row.trust_domain.to_string(),
        voting: row.voting,
        status: standing.status.to_string(),
        since: time(standing.since),
        endpoint: row.endpoint.clone(),
        ceiling: row.ceiling.to_string(),
        incarnation: standing.incarnation,
        decision_key: row.decision_key.to_string(),
        node_key: row.node_key.to_string(),
        recovery_key: row.recovery_key.to_string(),
        decision_revoked: standing.decision_revoked,
        node_revoked: standing.node_revoked,
        personal_signatures: standing.personal_signatures,
        people: standing.people.iter().map(person).collect(),
        attest_time: view.attested.and_then(time),
        roots: row.roots_pem.iter().filter_map(|pem| fingerprint(pem)).collect(),
    }
}

fn person(person: &Person) -> v1::Person {
    v1::Person {
        name: person.name.to_string(),
        role: person.role.to_string(),
        key: person.key.to_string(),
        revoked: person.revoked,
    }
}
