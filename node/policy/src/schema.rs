//! The Cedar schema, and records and parties as Cedar sees them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use comity_core::release::{Action, Party, RecordHeader};
use comity_core::{MemberId, Tier};

/// The schema that policies are written against, in Cedar's own syntax, with what each attribute means.
pub const SCHEMA: &str = include_str!("comity.cedarschema");

/// The number a policy compares, for each tier.
pub const TIERS: [(Tier, i64); 6] = [
    (Tier::Public, 0),
    (Tier::Official, 1),
    (Tier::Restricted, 2),
    (Tier::Confidential, 3),
    (Tier::Secret, 4),
    (Tier::TopSecret, 5),
];

/// The schema and the names in it, parsed once.
pub(crate) struct Model {
    pub(crate) schema: Schema,
    party: EntityTypeName,
    record: EntityTypeName,
    action: EntityTypeName,
}

/// The model; `None` if the schema in this crate does not parse, which a test excludes and which denies everything.
pub(crate) fn model() -> Option<&'static Model> {
    static MODEL: LazyLock<Option<Model>> = LazyLock::new(|| {
        let (schema, _warnings) = Schema::from_cedarschema_str(SCHEMA).ok()?;
        Some(Model {
            schema,
            party: "Party".parse().ok()?,
            record: "Record".parse().ok()?,
            action: "Action".parse().ok()?,
        })
    });
    MODEL.as_ref()
}

impl Model {
    /// `Party::"DE"`.
    pub(crate) fn party_uid(&self, member: MemberId) -> EntityUid {
        EntityUid::from_type_name_and_id(self.party.clone(), EntityId::new(member.as_str()))
    }

    fn record_uid(&self, header: &RecordHeader) -> EntityUid {
        EntityUid::from_type_name_and_id(self.record.clone(), EntityId::new(header.id.to_string()))
    }

    /// Whether it is some `Party::"…"`.
    pub(crate) fn is_party(&self, uid: &EntityUid) -> bool {
        *uid.type_name() == self.party
    }

    /// Whether it is some `Record::"…"`.
    pub(crate) fn is_record(&self, uid: &EntityUid) -> bool {
        *uid.type_name() == self.record
    }

    /// Party and record with their attributes; `onward`: the share was granted onward. `None` if Cedar refuses them, which
    /// denies.
    pub(crate) fn entities(&self, party: &Party, header: &RecordHeader, onward: bool) -> Option<Entities> {
        let party_attributes = HashMap::from([
            ("member".to_owned(), text(party.member.as_str())),
            ("voting".to_owned(), RestrictedExpression::new_bool(party.voting)),
            ("ceiling".to_owned(), tier(party.ceiling)),
        ]);
        let marking = &header.marking;
        let record_attributes = HashMap::from([
            ("kind".to_owned(), text(header.kind.as_str())),
            ("originator".to_owned(), text(header.originator.as_str())),
            ("tier".to_owned(), tier(header.tier)),
            ("caveats".to_owned(), set(marking.caveats.iter().map(|c| c.as_str()))),
            ("compartments".to_owned(), set(marking.compartments.iter().map(|c| c.as_str()))),
            ("handling".to_owned(), text(marking.handling.as_str())),
            ("releasable_to".to_owned(), set(marking.releasable_to.iter().map(MemberId::as_str))),
            ("onward".to_owned(), RestrictedExpression::new_bool(onward)),
            ("answers".to_owned(), RestrictedExpression::new_bool(header.about.is_some())),
        ]);
        let party = Entity::new(self.party_uid(party.member), party_attributes, HashSet::new()).ok()?;
        let record = Entity::new(self.record_uid(header), record_attributes, HashSet::new()).ok()?;
        // Without the schema: these two fit it by construction (a test checks), and checking doubles the time.
        Entities::from_entities([party, record], None).ok()
    }

    /// The question Cedar answers. `None` if Cedar refuses it, which denies.
    pub(crate) fn request(&self, party: &Party, action: Action, header: &RecordHeader) -> Option<Request> {
        let action = EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(action.as_str()));
        Request::new(self.party_uid(party.member), action, self.record_uid(header), Context::empty(), None).ok()
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn tier(tier: Tier) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::from(tier.level()))
}

fn set<'a>(values: impl Iterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(text))
}

#[cfg(test)]
mod tests {
    use comity_core::release::PartyStatus;
    use comity_core::{Marking, RecordId, RecordKind};

    use super::*;

    #[test]
    fn the_numbers_of_tiers_are_those_of_core() {
        assert_eq!(TIERS.map(|(tier, _)| tier), Tier::ALL);
        for (tier, level) in TIERS {
            assert_eq!(i64::from(tier.level()), level);
            assert!(SCHEMA.contains(&format!("{level} {tier}")), "the schema names {tier}");
        }
    }

    #[test]
    fn what_is_decided_on_fits_the_schema() {
        let model = model().expect("the schema parses");
        let (fr, de): (MemberId, MemberId) = ("FR".parse().unwrap(), "DE".parse().unwrap());
        let party = Party { member: de, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
        let mut marking = Marking::originator_only(Tier::Secret);
        marking.caveats.insert(comity_core::marking::Caveat::Orcon);
        marking.compartments.insert("TIGER".parse().unwrap());
        marking.releasable_to.insert(de);
        for (marking, onward) in [(Marking::originator_only(Tier::Public), false), (marking, true)] {
            let id = RecordId::new(fr, RecordKind::Opinion, [7; 10]);
            let header = RecordHeader { about: onward.then_some(id), ..RecordHeader::new(id, marking) };
            let entities = model.entities(&party, &header, onward).unwrap();
            Entities::from_entities(entities.iter().cloned(), Some(&model.schema)).unwrap();
            for action in Action::ALL {
                let request = model.request(&party, action, &header).unwrap();
                let uid = |uid: Option<&EntityUid>| uid.unwrap().clone();
                let (principal, resource) = (uid(request.principal()), uid(request.resource()));
                let action = uid(request.action());
                Request::new(principal, action, resource, Context::empty(), Some(&model.schema)).unwrap();
            }
        }
    }
}
