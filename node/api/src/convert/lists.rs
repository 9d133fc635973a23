//! Entries, measures, publications and how the list stands.

use comity_app::{EntryView, ListView, PublicationView};
use comity_core::Violations;
use comity_core::edtf::PartialDate;
use comity_core::list::{AttachedMeasure, EntryStatus, Measure};
use comity_core::subject::Slug;
use comity_proto::v1;
use tonic::Status;

use super::{names, parse, parse_optional, time};
use crate::status;

pub(crate) fn entry(view: EntryView, whole: bool) -> v1::Entry {
    let e = view.entry;
    let subject = view.public_part.map(|p| p.subject);
    let (state, ground, merged_into, end_time) = match &e.status {
        EntryStatus::Listed => ("listed", String::new(), String::new(), None),
        EntryStatus::Delisted { ground, at } => ("delisted", ground.to_string(), String::new(), time(*at)),
        EntryStatus::Merged { into, at } => ("merged", String::new(), into.to_string(), time(*at)),
    };
    v1::Entry {
        id: e.id.to_string(),
        proposer: e.proposer.to_string(),
        ballot: e.ballot.to_string(),
        proposal: e.proposal.to_string(),
        consents: names(e.consents),
        silent: names(view.silent),
        absent: names(view.absent),
        list_time: time(e.listed_at),
        agreed: view.agreed,
        subject: subject.as_ref().map(|s| s.primary_name().to_owned()).unwrap_or_default(),
        subject_kind: subject.map(|s| s.kind.as_str().to_owned()).unwrap_or_default(),
        public_part: if whole { view.text } else { Vec::new() },
        public_leaf: e.public_leaf,
        status: state.to_owned(),
        ground,
        merged_into,
        end_time,
        review_due_time: time(e.review_due),
        measures: e.measures.iter().map(measure).collect(),
        history: if whole { e.history } else { Vec::new() },
    }
}

fn measure(attached: &AttachedMeasure) -> v1::Measure {
    let m = &attached.measure;
    v1::Measure {
        member: attached.member.to_string(),
        id: m.id.to_string(),
        programme: m.programme.clone(),
        legal_act: m.legal_act.clone(),
        reference: m.reference.clone().unwrap_or_default(),
        imposes: m.imposes.iter().map(|slug| slug.as_str().to_owned()).collect(),
        from: m.from.to_string(),
        until: m.until.map(|until| until.to_string()).unwrap_or_default(),
        ended: attached.ended.map(|ended| ended.to_string()).unwrap_or_default(),
    }
}

/// A measure that is to be attached: whose it is and whether it has ended are not the caller's to say.
pub(crate) fn from_measure(field: &str, m: v1::Measure) -> Result<Measure, Status> {
    let at = |name: &str| format!("{field}.{name}");
    if !m.member.is_empty() {
        return Err(status::field(&at("member"), "a member attaches its own measures: leave it out"));
    }
    if !m.ended.is_empty() {
        return Err(status::field(&at("ended"), "attach it first, then end it: leave it out"));
    }
    let imposes = m
        .imposes
        .iter()
        .enumerate()
        .map(|(i, slug)| parse::<Slug>(&format!("{field}.imposes[{i}]"), slug))
        .collect::<Result<_, _>>()?;
    let measure = Measure {
        id: parse(&at("id"), &m.id)?,
        programme: m.programme,
        legal_act: m.legal_act,
        reference: Some(m.reference).filter(|reference| !reference.is_empty()),
        imposes,
        from: parse::<PartialDate>(&at("from"), &m.from)?,
        until: parse_optional(&at("until"), &m.until)?,
    };
    let mut violations = Violations::default();
    measure.check(field, &mut violations);
    violations.into_result().map_err(|v| status::of(v.into()))?;
    Ok(measure)
}

pub(crate) fn publication(view: PublicationView) -> v1::Publication {
    v1::Publication { leaf: view.leaf, publication: view.bytes, text: view.text, agreed: view.agreed }
}

pub(crate) fn list_status(view: ListView, entries: u64, federation: String, name: String) -> v1::ListStatus {
    v1::ListStatus {
        federation,
        name,
        commands: view.commands,
        publications: view.publications,
        agreed_publications: view.agreed_publications,
        agreed_commands: view.agreed_commands,
        cosigners: names(view.cosigners),
        cosigners_needed: i32::try_from(view.cosigners_needed).unwrap_or(i32::MAX),
        list_time: time(view.list_time),
        leader: view.leader.map(|m| m.to_string()).unwrap_or_default(),
        fork_alarm: view.fork_alarm,
        entries,
        rules_version: view.rules_version,
        cosigners_missing: names(view.cosigners_missing),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn sent() -> v1::Measure {
        v1::Measure {
            id: "DGT-2026-0014".into(),
            programme: "Chemical weapons".into(),
            legal_act: "Arrêté du 24 novembre 2026".into(),
            imposes: vec!["asset_freeze".into()],
            from: "2026-11-24".into(),
            ..v1::Measure::default()
        }
    }

    #[test]
    fn each_field_of_a_measure_is_named_where_it_is_wrong() {
        assert!(from_measure("measure", sent()).is_ok());
        type Edit = fn(&mut v1::Measure);
        let cases: [(&str, Edit); 8] = [
            ("measure.id", |m| m.id = "a b".into()),
            ("measure.member", |m| m.member = "DE".into()),
            ("measure.ended", |m| m.ended = "2026".into()),
            ("measure.legal_act", |m| m.legal_act.clear()),
            ("measure.imposes", |m| m.imposes.clear()),
            ("measure.imposes[0]", |m| m.imposes = vec!["Asset freeze".into()]),
            ("measure.from", |m| m.from = "yesterday".into()),
            ("measure.until", |m| m.until = "2026-13".into()),
        ];
        for (field, spoil) in cases {
            let mut spoiled = sent();
            spoil(&mut spoiled);
            let status = from_measure("measure", spoiled).unwrap_err();
            let details = status.get_error_details();
            let named = details.bad_request().unwrap().field_violations.first().unwrap().field.clone();
            assert_eq!(named, field);
        }
    }
}
