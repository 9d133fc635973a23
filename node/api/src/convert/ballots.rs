//! Ballots and how their silence stands.

use comity_app::{BallotView, Tabled};
use comity_core::MemberId;
use comity_core::list::{BallotState, Choice, Clock, Equivocation, PlacedHold, Procedure, SilenceState};
use comity_core::rule::Rule;
use comity_proto::v1;
use tonic::Status;

use super::{names, time};
use crate::status;

pub(crate) fn choice(choice: Choice) -> v1::Choice {
    match choice {
        Choice::Yes => v1::Choice::Yes,
        Choice::No => v1::Choice::No,
        Choice::Abstain => v1::Choice::Abstain,
    }
}

pub(crate) fn from_choice(field: &str, number: i32) -> Result<Choice, Status> {
    match v1::Choice::try_from(number) {
        Ok(v1::Choice::Yes) => Ok(Choice::Yes),
        Ok(v1::Choice::No) => Ok(Choice::No),
        Ok(v1::Choice::Abstain) => Ok(Choice::Abstain),
        _ => Err(status::field(field, "expected yes, no or abstain")),
    }
}

pub(crate) fn ballot(view: BallotView, whole: bool) -> v1::Ballot {
    let b = view.ballot;
    let state = match &b.state {
        BallotState::Open => v1::BallotState::Open,
        BallotState::Adopted(_) => v1::BallotState::Adopted,
        BallotState::Rejected(_) => v1::BallotState::Rejected,
        BallotState::Withdrawn => v1::BallotState::Withdrawn,
    };
    let entry = match &b.state {
        BallotState::Adopted(Some(entry)) => Some(entry),
        _ => b.motion.entry(),
    };
    let votes = b.votes.iter().map(|(member, vote)| v1::MemberVote {
        member: member.to_string(),
        choice: choice(vote.choice).into(),
        reason: vote.reason.clone().unwrap_or_default(),
        command_id: vote.command.to_string(),
    });
    let rule = match &b.procedure {
        Procedure::Consents(rule) => rule.to_string(),
        Procedure::Silence(silence) => Rule::NoObjection(silence.rule).to_string(),
        Procedure::ReverseSilence { days, .. } => format!("reverse_silence({days})"),
    };
    let reverse_silence_until = match &b.procedure {
        Procedure::ReverseSilence { until, .. } => time(*until),
        _ => None,
    };
    v1::Ballot {
        id: b.id.to_string(),
        proposal: b.proposal().map(|p| p.to_string()).unwrap_or_default(),
        proposer: b.proposer.to_string(),
        state: state.into(),
        entry: entry.map(ToString::to_string).unwrap_or_default(),
        rule,
        needed: b.needed().map_or(0, |needed| i32::try_from(needed).unwrap_or(i32::MAX)),
        electorate: names(b.electorate.iter().copied()),
        votes: votes.collect(),
        table_time: time(b.tabled_at),
        subject: view.subject,
        public_part: if whole { view.text } else { Vec::new() },
        kind: b.motion.kind().to_string(),
        motion: b.motion.to_string(),
        motion_json: if whole { comity_core::canonical::to_vec(&b.motion) } else { Vec::new() },
        outcome: if b.is_open() { String::new() } else { b.state.to_string() },
        silence: b.silence().map(|s| silence(s, &b.electorate)),
        reverse_silence_until,
        due_time: b.due().and_then(time),
        equivocations: b.equivocations.iter().map(equivocation).collect(),
        list_time: time(view.list_time),
        tabled: view.tabled.filter(|_| whole).map(tabled),
    }
}

pub(crate) fn tabled(tabled: Tabled) -> v1::Tabled {
    let text = tabled.text.map(|text| v1::PublicText { salt: text.salt.0.to_vec(), text: text.bytes });
    v1::Tabled { payload: tabled.payload, text }
}

fn silence(state: &SilenceState, electorate: &std::collections::BTreeSet<MemberId>) -> v1::Silence {
    let absent = electorate.iter().copied().filter(|member| !state.acknowledged.contains_key(member));
    let (complete_time, days_left) = match state.clock {
        Clock::Running { until } => (time(until), 0),
        Clock::Held { days_left } => (None, i32::try_from(days_left).unwrap_or(i32::MAX)),
    };
    v1::Silence {
        acknowledged: state
            .acknowledged
            .iter()
            .map(|(member, acknowledged)| v1::Notice { member: member.to_string(), time: time(acknowledged.at) })
            .collect(),
        notice_until: time(state.notice_until),
        notice_over: state.notice_over,
        absent: names(absent),
        presence_needed: i32::try_from(state.presence_needed(electorate)).unwrap_or(i32::MAX),
        complete_time,
        days_left,
        holds: state.holds.iter().map(|(member, hold)| placed_hold(*member, hold)).collect(),
        objection: state.objection.clone().unwrap_or_default(),
    }
}

fn placed_hold(member: MemberId, hold: &PlacedHold) -> v1::Hold {
    v1::Hold {
        member: member.to_string(),
        reason: hold.reason.clone(),
        place_time: time(hold.placed_at),
        until: time(hold.until),
        extended: hold.extended,
        extension_by: names(hold.extension_by.iter().copied()),
        ended: hold.ended.map(|end| end.to_string()).unwrap_or_default(),
    }
}

fn equivocation(found: &Equivocation) -> v1::Equivocation {
    let (second, _, second_choice) = found.second;
    v1::Equivocation {
        member: found.member.to_string(),
        replaced: found.replaced.to_string(),
        first: found.first.to_string(),
        second: second.to_string(),
        second_choice: choice(second_choice).into(),
    }
}

#[cfg(test)]
mod tests {
    use comity_core::Timestamp;
    use comity_core::list::{Acknowledge, Command, Hold, ListState};
    use comity_core::testing::{Federation, command_id};

    use super::*;

    fn shown(list: &ListState, id: &comity_core::list::BallotId) -> v1::Ballot {
        let ballot = list.ballot(id).unwrap().clone();
        super::ballot(
            BallotView {
                ballot,
                text: b"{}".to_vec(),
                tabled: None,
                subject: "DOE, Ada".into(),
                list_time: list.list_time(),
            },
            true,
        )
    }

    fn micros(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        super::super::from_time("time", at).unwrap()
    }

    #[test]
    fn silence_shows_who_is_absent_and_what_happens_next() {
        let federation = Federation::ruled(4, "no_objection(period=10,notice=5)");
        let voters = federation.voters();
        let mut list = ListState::new(federation.genesis.clone());
        let (tabling, id) = federation.table(voters[0], 1);
        list.apply(&tabling).unwrap();
        let open = shown(&list, &id);
        let silence = open.silence.clone().unwrap();
        assert_eq!((open.kind.as_str(), open.needed, open.outcome.as_str()), ("list", 0, ""));
        assert_eq!(open.rule, "no_objection(period=10,notice=5,presence=2/3,closing=17,hold=6,extension=3)");
        assert_eq!((silence.acknowledged.len(), silence.absent.len(), silence.presence_needed), (1, 3, 3));
        assert_eq!(open.due_time, silence.notice_until);
        assert!(silence.complete_time.is_some() && silence.days_left == 0);
        assert_eq!(open.motion_json, format!(r#"{{"list":{{"proposal":"{}"}}}}"#, open.proposal).as_bytes());

        let (federation_name, member) = (federation.genesis.federation(), voters[1]);
        let hold = Command::Hold(Hold {
            federation: federation_name,
            command_id: command_id(2),
            member,
            ballot: id,
            reason: "We are still reading.".into(),
        });
        let acknowledge = Command::Acknowledge(Acknowledge {
            federation: federation_name,
            command_id: command_id(3),
            member: voters[2],
            ballot: id,
        });
        for command in [hold, acknowledge] {
            list.apply(&federation.sign(&command, None)).unwrap();
        }
        let held = shown(&list, &id).silence.unwrap();
        assert_eq!((held.complete_time, held.days_left, held.absent.len()), (None, 10, 1));
        let hold = held.holds.first().unwrap();
        assert_eq!(
            (hold.member.as_str(), hold.reason.as_str(), hold.ended.as_str()),
            ("DE", "We are still reading.", "")
        );
        assert!(micros(hold.until) > micros(hold.place_time));
    }

    #[test]
    fn a_ballot_by_votes_names_how_many_adopt() {
        let federation = Federation::new(3);
        let voters = federation.voters();
        let mut list = ListState::new(federation.genesis.clone());
        let (tabling, id) = federation.table(voters[0], 1);
        list.apply(&tabling).unwrap();
        for (n, voter) in voters.iter().enumerate().take(2) {
            list.apply(&federation.vote(*voter, id, Choice::Yes, 10 + n as u64)).unwrap();
        }
        let adopted = shown(&list, &id);
        assert_eq!((adopted.needed, adopted.rule.as_str()), (2, "quorum(2/3)"));
        assert_eq!(adopted.outcome, format!("adopted as {}", adopted.entry));
        assert!(adopted.silence.is_none() && adopted.due_time.is_none() && adopted.reverse_silence_until.is_none());
    }
}
