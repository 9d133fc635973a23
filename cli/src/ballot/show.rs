//! A ballot on one page: what stands where, who is absent, and what happens next.

use comity_proto::v1;

use crate::ballot::view::BallotView;
use crate::page::{Page, Style};
use crate::tabled::Tabled;
use crate::when;

pub(super) fn page(style: &Style, view: &BallotView, ballot: &v1::Ballot, tabled: &Tabled) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("Ballot {}", view.id));
    page.field("next", &view.next);
    page.field("state", if view.outcome.is_empty() { &view.state } else { &view.outcome });
    page.field("motion", &view.motion);
    page.field("kind", view.kind.replace('_', " "));
    page.field("entry", &view.entry);
    page.field("proposal", &view.proposal);
    page.field("proposer", &view.proposer);
    page.field("tabled", when::local(ballot.table_time.as_ref()));
    page.field("rule", rule(view));
    page.field("list time", when::local(ballot.list_time.as_ref()));
    page.fields(
        "votes",
        view.votes.iter().map(|vote| {
            let reason = if vote.reason.is_empty() { String::new() } else { format!("  {}", vote.reason) };
            format!("{:8}  {}{reason}", vote.member, vote.choice)
        }),
    );
    if ballot.silence.is_none() {
        let silent = view.electorate.iter().filter(|m| !view.votes.iter().any(|v| v.member == **m));
        page.field("not yet", silent.cloned().collect::<Vec<_>>().join(", "));
    }
    page.fields(
        "two tongues",
        view.equivocations.iter().map(|twice| {
            format!(
                "{:8}  replaced vote {} twice: by {}, which stands or stood, and by {} ({})",
                twice.member, twice.replaced, twice.first, twice.second, twice.second_choice
            )
        }),
    );
    if let Some(silence) = &ballot.silence {
        silence_part(&mut page, silence, ballot.state() == v1::BallotState::Open);
    }
    tabled.show_rest(&mut page);
    page.finish()
}

fn rule(view: &BallotView) -> String {
    let voters = view.electorate.len();
    if view.needed > 0 {
        return format!("{}: {} yes of {voters} adopt; {} so far", view.rule, view.needed, view.count("yes"));
    }
    match &view.silence {
        Some(silence) => format!("{}: {} of {voters} must be present", view.rule, silence.presence_needed),
        None => format!("{}: adopted by time unless all other voting members vote to keep the entry", view.rule),
    }
}

fn silence_part(page: &mut Page, silence: &v1::Silence, is_open: bool) {
    page.heading("Silence");
    page.fields(
        "acknowledged",
        silence.acknowledged.iter().map(|notice| format!("{:8}  {}", notice.member, when::local(notice.time.as_ref()))),
    );
    let missing = silence.absent.join(", ");
    page.field(if silence.notice_over { "absent" } else { "not yet" }, missing);
    page.field("objection", &silence.objection);
    let over = if silence.notice_over { " (over)" } else { "" };
    page.field("notice until", format!("{}{over}", when::local(silence.notice_until.as_ref())));
    let days = match silence.days_left {
        1 => "1 working day is left".to_owned(),
        days => format!("{days} working days are left"),
    };
    match when::local(silence.complete_time.as_ref()) {
        // Of what is closed the clock says nothing any more.
        _ if !is_open => {}
        complete if complete.is_empty() => page.field("complete on", format!("held: {days} when the last hold ends")),
        complete => page.field("complete on", complete),
    }
    for hold in &silence.holds {
        page.heading(&format!("Hold of {}", hold.member));
        page.field("reason", &hold.reason);
        page.field("placed", when::local(hold.place_time.as_ref()));
        let extended = if hold.extended { " (extended)" } else { "" };
        page.field("until", format!("{}{extended}", when::local(hold.until.as_ref())));
        page.field("extension by", hold.extension_by.join(", "));
        page.field("ended", &hold.ended);
    }
}
