//! A ballot as `-o json` writes it.

use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::ballot::next;
use crate::{when, wire};

/// A ballot.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BallotView {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) motion: String,
    pub(super) proposal: String,
    pub(super) proposer: String,
    pub(super) state: String,
    pub(super) outcome: String,
    pub(super) entry: String,
    pub(super) rule: String,
    pub(super) needed: i32,
    pub(super) electorate: Vec<String>,
    pub(super) votes: Vec<VoteView>,
    pub(super) equivocations: Vec<EquivocationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) silence: Option<SilenceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reverse_silence_until: Option<String>,
    table_time: Option<String>,
    due_time: Option<String>,
    list_time: Option<String>,
    /// What happens next and when, in words.
    pub(super) next: String,
    pub(super) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    motion_json: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_part: Option<Value>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct VoteView {
    pub(super) member: String,
    pub(super) choice: String,
    pub(super) reason: String,
    pub(super) command_id: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct EquivocationView {
    pub(super) member: String,
    pub(super) replaced: String,
    pub(super) first: String,
    pub(super) second: String,
    pub(super) second_choice: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct SilenceView {
    pub(super) acknowledged: Vec<NoticeView>,
    notice_until: Option<String>,
    pub(super) notice_over: bool,
    pub(super) absent: Vec<String>,
    pub(super) presence_needed: i32,
    complete_time: Option<String>,
    pub(super) days_left: i32,
    pub(super) holds: Vec<HoldView>,
    objection: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct NoticeView {
    pub(super) member: String,
    time: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct HoldView {
    member: String,
    reason: String,
    place_time: Option<String>,
    until: Option<String>,
    extended: bool,
    extension_by: Vec<String>,
    ended: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct BallotsView {
    pub(super) ballots: Vec<BallotView>,
}

impl BallotView {
    /// How many said so.
    pub(super) fn count(&self, choice: &str) -> usize {
        self.votes.iter().filter(|vote| vote.choice == choice).count()
    }

    /// How it stands, for narrow columns.
    pub(super) fn standing(&self) -> String {
        match &self.silence {
            Some(silence) if silence.holds.iter().any(|hold| hold.ended.is_empty()) => "held".into(),
            Some(silence) => format!("{}/{} present", silence.acknowledged.len(), silence.presence_needed),
            None if self.needed > 0 => format!("{}/{} yes", self.count("yes"), self.needed),
            None => format!("{} keep", self.count("no")),
        }
    }
}

impl From<v1::Silence> for SilenceView {
    fn from(silence: v1::Silence) -> Self {
        let holds = silence.holds.into_iter().map(|hold| HoldView {
            place_time: when::rfc3339(hold.place_time.as_ref()),
            until: when::rfc3339(hold.until.as_ref()),
            member: hold.member,
            reason: hold.reason,
            extended: hold.extended,
            extension_by: hold.extension_by,
            ended: hold.ended,
        });
        let acknowledged = silence
            .acknowledged
            .into_iter()
            .map(|notice| NoticeView { time: when::rfc3339(notice.time.as_ref()), member: notice.member });
        Self {
            acknowledged: acknowledged.collect(),
            notice_until: when::rfc3339(silence.notice_until.as_ref()),
            notice_over: silence.notice_over,
            absent: silence.absent,
            presence_needed: silence.presence_needed,
            complete_time: when::rfc3339(silence.complete_time.as_ref()),
            days_left: silence.days_left,
            holds: holds.collect(),
            objection: silence.objection,
        }
    }
}

impl From<v1::Ballot> for BallotView {
    fn from(ballot: v1::Ballot) -> Self {
        let state = wire::lower(ballot.state().as_str_name(), "BALLOT_STATE");
        let next = next::next(&ballot);
        let votes = ballot.votes.into_iter().map(|vote| VoteView {
            choice: wire::lower(vote.choice().as_str_name(), "CHOICE"),
            member: vote.member,
            reason: vote.reason,
            command_id: vote.command_id,
        });
        let equivocations = ballot.equivocations.into_iter().map(|twice| EquivocationView {
            second_choice: wire::lower(twice.second_choice().as_str_name(), "CHOICE"),
            member: twice.member,
            replaced: twice.replaced,
            first: twice.first,
            second: twice.second,
        });
        Self {
            state,
            next,
            votes: votes.collect(),
            equivocations: equivocations.collect(),
            silence: ballot.silence.map(SilenceView::from),
            reverse_silence_until: when::rfc3339(ballot.reverse_silence_until.as_ref()),
            table_time: when::rfc3339(ballot.table_time.as_ref()),
            due_time: when::rfc3339(ballot.due_time.as_ref()),
            list_time: when::rfc3339(ballot.list_time.as_ref()),
            motion_json: wire::embedded(&ballot.motion_json),
            public_part: wire::embedded(&ballot.public_part),
            id: ballot.id,
            kind: ballot.kind,
            motion: ballot.motion,
            proposal: ballot.proposal,
            proposer: ballot.proposer,
            outcome: ballot.outcome,
            entry: ballot.entry,
            rule: ballot.rule,
            needed: ballot.needed,
            electorate: ballot.electorate,
            subject: ballot.subject,
        }
    }
}
