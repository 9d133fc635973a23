//! What concerns no ballot: measures, reviews, keys and people.

use comity_core::MemberId;
use comity_core::list::{Command, EntryId, EntryStatus, ListState};
use comity_core::testing::{Say, command_id, measure};

use crate::world::World;

/// People of each member.
const PEOPLE: [&str; 3] = ["desk-1", "desk-2", "desk-3"];

pub(super) fn next(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Command> {
    let serial = world.ledger.serial();
    let say = match world.machines[machine].dice.between(0, 9) {
        0..6 => entries(world, machine, member, list, serial),
        6..9 => people(world, machine, member, list),
        _ => keys(world, machine, member, list),
    };
    Some(say?.command(world.federation.genesis.federation(), command_id(serial), member))
}

fn entries(world: &mut World, machine: usize, member: MemberId, list: &ListState, serial: u64) -> Option<Say> {
    let dice = &mut world.machines[machine].dice;
    let listed = list.entries_after(None).filter(|entry| entry.status == EntryStatus::Listed);
    let listed: Vec<EntryId> = listed.map(|entry| entry.id.clone()).collect();
    let own = list.entries_after(None).flat_map(|entry| entry.measures.iter().map(|m| (entry.id.clone(), m)));
    let own: Vec<(EntryId, String)> = own
        .filter(|(_, attached)| attached.member == member && attached.ended.is_none())
        .map(|(entry, attached)| (entry, attached.measure.id.to_string()))
        .collect();
    Some(match dice.between(0, 9) {
        0..5 => Say::Attach(dice.pick(&listed)?.clone(), measure(&format!("M-{serial}"))),
        5..8 => {
            let (entry, name) = dice.pick(&own)?.clone();
            Say::End(entry, name)
        }
        _ => Say::Review(dice.pick(&listed)?.clone()),
    })
}

fn people(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Say> {
    let standing = list.roster().get(member)?;
    let enrolled: Vec<_> = standing.enrolled().map(|person| person.key).collect();
    let dice = &mut world.machines[machine].dice;
    Some(match (standing.personal_signatures, standing.enrolled_count()) {
        (_, 0..2) => Say::Enroll(PEOPLE[enrolled.len() % PEOPLE.len()], world.keychain.make()),
        (false, _) => Say::Require(true),
        (true, 2) => Say::Enroll(dice.pick(&PEOPLE)?, world.keychain.make()),
        (true, _) if dice.percent(30) => Say::Require(false),
        (true, _) => Say::RevokePerson(*dice.pick(&enrolled)?),
    })
}

fn keys(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Say> {
    let revoked = list.roster().iter().any(|standing| standing.decision_revoked || standing.node_revoked);
    let own_node = list.roster().get(member)?.node_revoked;
    let politics = world.plan.habits.politics;
    let dice = &mut world.machines[machine].dice;
    Some(match dice.between(0, 9) {
        // One at a time, so that the others can help.
        0..2 if politics && !revoked => Say::Revoke(dice.percent(50), true),
        2..6 if !own_node => Say::Rotate(Some(world.keychain.make()), None),
        _ => Say::Rotate(None, Some(world.keychain.make())),
    })
}
