//! What happens next with a ballot and when, in one sentence or two.

use comity_proto::v1;

use crate::when;

/// What happens next, in plain words.
pub(super) fn next(ballot: &v1::Ballot) -> String {
    match ballot.state() {
        v1::BallotState::Open => {}
        _ if ballot.outcome.is_empty() => return "nothing: it is closed".into(),
        _ => return format!("nothing: {}", ballot.outcome),
    }
    if let Some(silence) = &ballot.silence {
        return silence_next(silence);
    }
    if let Some(until) = when::announced(ballot.reverse_silence_until.as_ref()) {
        let others = ballot.electorate.iter().filter(|member| **member != ballot.proposer);
        let (keep, all) = others.fold((0, 0), |(keep, all), member| {
            let keeps = ballot.votes.iter().any(|v| v.member == *member && v.choice() == v1::Choice::No);
            (keep + usize::from(keeps), all + 1)
        });
        return format!(
            "it is adopted on {until} unless all other voting members vote no to keep the entry: {keep} of {all} so far"
        );
    }
    votes_next(ballot)
}

fn votes_next(ballot: &v1::Ballot) -> String {
    let count = |choice| ballot.votes.iter().filter(|vote| vote.choice() == choice).count();
    let needed = usize::try_from(ballot.needed).unwrap_or_default();
    let missing = needed.saturating_sub(count(v1::Choice::Yes));
    let silent: Vec<&str> = ballot
        .electorate
        .iter()
        .filter(|member| !ballot.votes.iter().any(|vote| vote.member == **member))
        .map(String::as_str)
        .collect();
    let waits = if silent.is_empty() { "nobody: a vote can still be corrected".into() } else { silent.join(", ") };
    format!(
        "{missing} more yes {}; waits for {waits}; no date is set",
        if missing == 1 { "adopts it" } else { "adopt it" }
    )
}

fn silence_next(silence: &v1::Silence) -> String {
    let standing: Vec<&v1::Hold> = silence.holds.iter().filter(|hold| hold.ended.is_empty()).collect();
    let notice = notice_next(silence);
    let sentence = if standing.is_empty() {
        match when::announced(silence.complete_time.as_ref()) {
            Some(complete) => format!("silence is complete on {complete} unless somebody holds or objects"),
            None => "silence is complete once its last hold has ended".into(),
        }
    } else {
        let holds = standing.iter().map(|hold| match when::announced(hold.until.as_ref()) {
            Some(until) => format!("{} until {until} at the latest", hold.member),
            None => hold.member.clone(),
        });
        let days = match silence.days_left {
            1 => "1 working day".to_owned(),
            days => format!("{days} working days"),
        };
        format!("held by {}; silence then lasts another {days}", holds.collect::<Vec<_>>().join(" and "))
    };
    match notice {
        Some(notice) => format!("{notice}; {sentence}"),
        None => sentence,
    }
}

/// What hangs on the time for acknowledging notice, while it lasts.
fn notice_next(silence: &v1::Silence) -> Option<String> {
    if silence.notice_over {
        return None;
    }
    let until = when::announced(silence.notice_until.as_ref())?;
    let present = i32::try_from(silence.acknowledged.len()).unwrap_or(i32::MAX);
    match silence.presence_needed.saturating_sub(present) {
        more if more > 0 => Some(format!("{more} more must acknowledge notice by {until}, or it is rejected")),
        _ if silence.absent.is_empty() => None,
        _ => Some(format!(
            "{} can acknowledge notice until {until}, and would be absent after",
            silence.absent.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<prost_types::Timestamp> {
        let at: jiff::Timestamp = text.parse().unwrap();
        Some(prost_types::Timestamp { seconds: at.as_second(), nanos: 0 })
    }

    fn silent(silence: v1::Silence) -> String {
        let ballot =
            v1::Ballot { state: v1::BallotState::Open.into(), silence: Some(silence), ..v1::Ballot::default() };
        next(&ballot)
    }

    fn notice(member: &str) -> v1::Notice {
        v1::Notice { member: member.into(), time: at("2026-11-24T10:00:00Z") }
    }

    #[test]
    fn silence_says_when_it_is_complete_and_what_stops_it() {
        let mut silence = v1::Silence {
            acknowledged: vec![notice("FR"), notice("DE")],
            notice_until: at("2026-12-01T17:00:00Z"),
            notice_over: false,
            absent: vec!["CA".into()],
            presence_needed: 3,
            complete_time: at("2026-12-08T17:00:00Z"),
            days_left: 0,
            holds: Vec::new(),
            objection: String::new(),
        };
        let said = silent(silence.clone());
        assert!(said.starts_with("1 more must acknowledge notice by "), "{said}");
        assert!(said.contains("silence is complete on Tue 8 Dec 2026"), "{said}");

        silence.presence_needed = 2;
        let said = silent(silence.clone());
        assert!(said.starts_with("CA can acknowledge notice until Tue 1 Dec 2026"), "{said}");

        silence.notice_over = true;
        let said = silent(silence.clone());
        assert!(said.starts_with("silence is complete on ") && said.ends_with("unless somebody holds or objects"));

        silence.holds.push(v1::Hold { member: "DE".into(), until: at("2027-05-24T10:00:00Z"), ..v1::Hold::default() });
        (silence.complete_time, silence.days_left) = (None, 9);
        let said = silent(silence.clone());
        assert!(said.starts_with("held by DE until Mon 24 May 2027"), "{said}");
        assert!(said.ends_with("silence then lasts another 9 working days"), "{said}");
    }

    #[test]
    fn votes_say_how_many_are_missing_and_reverse_silence_who_keeps() {
        let vote = |member: &str, choice: v1::Choice| v1::MemberVote {
            member: member.into(),
            choice: choice.into(),
            ..v1::MemberVote::default()
        };
        let mut ballot = v1::Ballot {
            state: v1::BallotState::Open.into(),
            proposer: "FR".into(),
            needed: 3,
            electorate: ["FR", "DE", "CA", "AU"].map(String::from).to_vec(),
            votes: vec![vote("FR", v1::Choice::Yes), vote("DE", v1::Choice::No)],
            ..v1::Ballot::default()
        };
        assert_eq!(next(&ballot), "2 more yes adopt it; waits for CA, AU; no date is set");
        (ballot.needed, ballot.reverse_silence_until) = (0, at("2027-01-23T10:00:00Z"));
        let said = next(&ballot);
        assert!(said.contains("on Sat 23 Jan 2027") && said.ends_with("1 of 3 so far"), "{said}");
        ballot.state = v1::BallotState::Rejected.into();
        ballot.outcome = "rejected: all others voted to keep the entry".into();
        assert_eq!(next(&ballot), "nothing: rejected: all others voted to keep the entry");
    }
}
