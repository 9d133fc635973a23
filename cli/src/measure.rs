//! `comity measure`: this member's own national sanctions on entries, which no ballot decides.

use clap::Subcommand;
use comity_core::edtf::PartialDate;
use comity_core::list::{Command, EntryId, Measure, MeasureId};
use comity_core::subject::Slug;
use comity_proto::v1;
use serde::Serialize;

use crate::approve;
use crate::failure::Failure;
use crate::list::entry;
use crate::page::table;
use crate::refusal::Asked;
use crate::session::Session;

/// The verbs of `comity measure`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MeasureCommand {
    /// Ask that this member attach a measure of its own to an entry; another person approves
    ///
    /// Each state's own fact: nobody votes on it, and it is published with the entry.
    #[command(
        after_long_help = "Examples:\n  comity measure attach CW-2026-0001 --id DGT-2026-0014 --programme 'Chemical weapons' \\\n      --legal-act 'Arrete du 3 fevrier 2026' --imposes asset_freeze,travel_ban --from 2026-02-03\n  comity measure attach CW-2026-0001 --id DE-44 --programme CHEM --legal-act 'BAnz AT 05.02.2026' \\\n      --imposes asset_freeze --from 2026-02-05 --reference CHEM.44 --until 2027-02-05"
    )]
    Attach {
        /// The entry, as CW-2026-0001
        entry: EntryId,
        /// Its name among this member's measures, never used twice
        #[arg(long, value_name = "ID")]
        id: MeasureId,
        /// The sanctions programme, as this member calls it
        #[arg(long, value_name = "TEXT")]
        programme: String,
        /// The legal act
        #[arg(long, value_name = "TEXT")]
        legal_act: String,
        /// Its reference on this member's own list
        #[arg(long, value_name = "TEXT")]
        reference: Option<String>,
        /// What it imposes, such as asset_freeze,travel_ban
        #[arg(long, value_name = "WHAT", value_delimiter = ',', required = true)]
        imposes: Vec<Slug>,
        /// In force from: 2026, 2026-02 or 2026-02-03
        #[arg(long, value_name = "DATE")]
        from: PartialDate,
        /// In force until, where that is known already
        #[arg(long, value_name = "DATE")]
        until: Option<PartialDate>,
    },
    /// Ask that this member end a measure of its own; another person approves
    #[command(after_long_help = "Examples:\n  comity measure end CW-2026-0001 --id DGT-2026-0014 --ended 2026-11-24")]
    End {
        /// The entry, as CW-2026-0001
        entry: EntryId,
        /// The measure's name
        #[arg(long, value_name = "ID")]
        id: MeasureId,
        /// When it ended: 2026, 2026-11 or 2026-11-24
        #[arg(long, value_name = "DATE")]
        ended: PartialDate,
    },
    /// List every member's measures on an entry
    List {
        /// The entry, as CW-2026-0001
        entry: EntryId,
        /// Those that ended, too
        #[arg(long)]
        all: bool,
    },
}

pub(crate) async fn run(command: MeasureCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        MeasureCommand::Attach { entry, id, programme, legal_act, reference, imposes, from, until } => {
            attach(session, &entry, Measure { id, programme, legal_act, reference, imposes, from, until }).await
        }
        MeasureCommand::End { entry, id, ended } => end(session, &entry, &id, ended).await,
        MeasureCommand::List { entry, all } => list(session, &entry, all).await,
    }
}

fn asked(entry: &EntryId) -> Asked {
    Asked::about(format!("entry {entry}"), format!("comity measure list {entry} --all"))
}

async fn attach(session: &mut Session<'_>, entry: &EntryId, measure: Measure) -> Result<(), Failure> {
    let mut violations = comity_core::Violations::default();
    measure.check("measure", &mut violations);
    if let Err(violations) = violations.into_result() {
        return Err(Failure::error("the measure is not as it must be; nothing was sent")
            .fields(&violations)
            .next("comity measure attach --help"));
    }
    let node = session.node().await?;
    let wire = v1::Measure {
        member: String::new(),
        id: measure.id.to_string(),
        programme: measure.programme.clone(),
        legal_act: measure.legal_act.clone(),
        reference: measure.reference.clone().unwrap_or_default(),
        imposes: measure.imposes.iter().map(ToString::to_string).collect(),
        from: measure.from.to_string(),
        until: measure.until.map(|until| until.to_string()).unwrap_or_default(),
        ended: String::new(),
    };
    let request = v1::AttachMeasureRequest { entry: entry.to_string(), measure: Some(wire) };
    let approval = node.list().attach_measure(request).await.map_err(|s| asked(entry).refused(s))?.into_inner();
    let is_asked = |c: &Command| matches!(c, Command::AttachMeasure(attach) if attach.entry == *entry && attach.measure == measure);
    approve::deferred(session, &node, approval, is_asked).await
}

async fn end(session: &mut Session<'_>, entry: &EntryId, id: &MeasureId, ended: PartialDate) -> Result<(), Failure> {
    let node = session.node().await?;
    let request = v1::EndMeasureRequest { entry: entry.to_string(), measure: id.to_string(), ended: ended.to_string() };
    let approval = node.list().end_measure(request).await.map_err(|s| asked(entry).refused(s))?.into_inner();
    let is_asked = |c: &Command| matches!(c, Command::EndMeasure(end) if end.entry == *entry && end.measure == *id && end.ended == ended);
    approve::deferred(session, &node, approval, is_asked).await
}

async fn list(session: &mut Session<'_>, id: &EntryId, all: bool) -> Result<(), Failure> {
    let entry = entry(&session.node().await?, id).await?;
    let measures = entry.measures.into_iter().map(MeasureView::from).filter(|measure| all || measure.is_in_force());
    let view = MeasuresView { entry: id.to_string(), measures: measures.collect() };
    session.output.show(&view, |style| {
        let rows = view.measures.iter().map(|m| {
            let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
            vec![
                m.member.clone(),
                m.id.clone(),
                m.programme.clone(),
                m.imposes.join(","),
                m.from.clone(),
                or_dash(&m.until),
                or_dash(&m.ended),
                or_dash(&m.reference),
                m.legal_act.clone(),
            ]
        });
        let headings =
            ["MEMBER", "MEASURE", "PROGRAMME", "IMPOSES", "FROM", "UNTIL", "ENDED", "REFERENCE", "LEGAL ACT"];
        table(style, &headings, rows.collect())
    })?;
    if !view.measures.iter().any(MeasureView::is_in_force) {
        session.output.note(&format!("no measure is in force on {id}"));
    }
    Ok(())
}

/// A measure in one line: whose, which, what it imposes and since when.
pub(crate) fn in_one_line(measure: &MeasureView) -> String {
    let until = match (measure.ended.as_str(), measure.until.as_str()) {
        ("", "") => "in force".to_owned(),
        ("", until) => format!("in force, until {until}"),
        (ended, _) => format!("ended {ended}"),
    };
    let imposes = measure.imposes.join(", ").replace('_', " ");
    format!("{} {}: {imposes}; from {}, {until}", measure.member, measure.id, measure.from)
}

/// A measure on a page: the line, and its programme and legal act.
pub(crate) fn measure_lines(measure: &MeasureView) -> Vec<String> {
    let reference = if measure.reference.is_empty() { String::new() } else { format!(" ({})", measure.reference) };
    vec![in_one_line(measure), format!("  {}{reference}; {}", measure.programme, measure.legal_act)]
}

/// A measure as `-o json` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MeasureView {
    pub(crate) member: String,
    pub(crate) id: String,
    programme: String,
    legal_act: String,
    reference: String,
    imposes: Vec<String>,
    from: String,
    until: String,
    ended: String,
}

#[derive(Debug, Clone, Serialize)]
struct MeasuresView {
    entry: String,
    measures: Vec<MeasureView>,
}

impl MeasureView {
    /// Of a verified list.
    pub(crate) fn of(member: comity_core::MemberId, measure: &Measure, ended: Option<PartialDate>) -> Self {
        let date = |date: Option<PartialDate>| date.map(|date| date.to_string()).unwrap_or_default();
        Self {
            member: member.to_string(),
            id: measure.id.to_string(),
            programme: measure.programme.clone(),
            legal_act: measure.legal_act.clone(),
            reference: measure.reference.clone().unwrap_or_default(),
            imposes: measure.imposes.iter().map(ToString::to_string).collect(),
            from: measure.from.to_string(),
            until: date(measure.until),
            ended: date(ended),
        }
    }

    /// Whether its member has not ended it.
    pub(crate) fn is_in_force(&self) -> bool {
        self.ended.is_empty()
    }
}

impl From<v1::Measure> for MeasureView {
    fn from(measure: v1::Measure) -> Self {
        Self {
            member: measure.member,
            id: measure.id,
            programme: measure.programme,
            legal_act: measure.legal_act,
            reference: measure.reference,
            imposes: measure.imposes,
            from: measure.from,
            until: measure.until,
            ended: measure.ended,
        }
    }
}
