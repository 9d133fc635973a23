//! What a member lays before the others.

use comity_core::MemberId;
use comity_core::genesis::RosterMember;
use comity_core::list::{EntryId, EntryStatus, Ground, ListState, Motion, ReplacedKeys, Submission};
use comity_core::roster::{MemberStatus, Standing};
use comity_core::rule::BallotKind;
use comity_core::testing::{proposal_id, public_text, roster_member, statement_text};

use crate::plan::rule;
use crate::world::World;

/// So many voting members stay: with fewer, nobody could go wrong.
const VOTERS_MIN: usize = 3;

pub(super) fn table(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Submission> {
    let serial = world.ledger.serial();
    let motion = pick(world, machine, member, list, serial)?;
    let text = if motion.has_subject() { public_text(serial) } else { statement_text(serial) };
    let command = world.federation.motion_command(member, motion, &text, serial);
    world.keychain.sign(list, &command, Some(text), 2)
}

fn pick(world: &mut World, machine: usize, member: MemberId, list: &ListState, serial: u64) -> Option<Motion> {
    let politics = world.plan.habits.politics;
    let proposal = proposal_id(member, serial);
    let listed = list.entries_after(None).filter(|entry| entry.status == EntryStatus::Listed);
    let listed: Vec<EntryId> = listed.map(|entry| entry.id.clone()).collect();
    if let Some(standing) = list.roster().iter().find(|standing| standing.decision_revoked)
        && politics
        && world.machines[machine].dice.percent(40)
    {
        return Some(replace(world, standing));
    }
    let dice = &mut world.machines[machine].dice;
    let die = dice.between(0, 99);
    let (one, other) = (dice.pick(&listed).cloned(), dice.pick(&listed).cloned());
    Some(match (die, one, other) {
        (0..12, Some(entry), _) => Motion::Amend { entry, proposal },
        (12..26, Some(entry), _) => Motion::Delist { entry, ground: *dice.pick(&Ground::ALL)? },
        (26..34, Some(entry), Some(into)) if entry != into => Motion::Merge { entry, into },
        (34..40, ..) => {
            let kinds = [BallotKind::List, BallotKind::Amend, BallotKind::Delist, BallotKind::Merge];
            Motion::ChangeRule { kind: *dice.pick(&kinds)?, rule: rule(dice) }
        }
        (40..62, ..) if politics => return roster(world, machine, member, list),
        _ => Motion::List { proposal },
    })
}

/// Something about who belongs.
fn roster(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Motion> {
    let newcomer = world.machines.last()?.member;
    let voters: Vec<MemberId> = list.roster().voters().keys().copied().collect();
    let leaving = list.open_ballots().filter(|ballot| ballot.motion.excluded().is_some()).count();
    let others: Vec<MemberId> = voters.iter().copied().filter(|voter| *voter != member).collect();
    let suspended = list.roster().iter().find(|standing| standing.status == MemberStatus::Suspended);
    let n = world.machines.len() - 1;
    let dice = &mut world.machines[machine].dice;
    match dice.between(0, 9) {
        0..3 if list.roster().get(newcomer).is_none() => {
            Some(Motion::Admit { member: Box::new(RosterMember { ..roster_member(n, newcomer) }) })
        }
        3..6 if suspended.is_some() => Some(Motion::Readmit { target: suspended?.row.member }),
        _ if voters.len().saturating_sub(leaving) <= VOTERS_MIN => None,
        6..9 => Some(Motion::Suspend { target: dice.pick(&others).copied()? }),
        9 => Some(Motion::Expel { target: dice.pick(&others).copied()? }),
        _ => None,
    }
}

fn replace(world: &mut World, standing: &Standing) -> Motion {
    let keys = ReplacedKeys {
        decision_key: world.keychain.make(),
        node_key: world.keychain.make(),
        recovery_key: world.keychain.make(),
        roots_pem: standing.row.roots_pem.clone(),
        endpoint: standing.row.endpoint.clone(),
        incarnation: standing.incarnation,
    };
    Motion::ReplaceKeys { target: standing.row.member, keys: Box::new(keys) }
}
