use super::*;
use crate::marking::{Caveat, Tier};

fn id(text: &str) -> RecordId {
    text.parse().unwrap()
}

const EVIDENCE: &str = r#"{"title":"Intercept of 4 April","marking":{"tier":"secret","releasable_to":["DE"]},
    "material":"signals","description":"Two officers speak of the delivery.","holder":"The service","locator":"vault/7/41",
    "sha256":"abababababababababababababababababababababababababababababababab","bytes":4096,
    "collected":{"date":"2017-04-04","by":"station 9"},"reliability":"B","credibility":2,
    "custody":[{"from":"station 9","to":"The service","at":"2017-04-05T10:00:00Z","seal":"S-1","hash_checked":true}],
    "links":["FR-P-0000000000000001","FR-I-0000000000000002","CW-2026-0001"]}"#;

fn evidence() -> Evidence {
    match Document::from_json(RecordKind::Evidence, EVIDENCE.as_bytes()).unwrap() {
        Document::Evidence(evidence) => *evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_view_has_its_own_and_no_view_has_the_locator() {
    let document = Document::Evidence(Box::new(evidence()));
    let read = String::from_utf8(canonical::to_vec(&document.read_body())).unwrap();
    let sources = String::from_utf8(canonical::to_vec(&document.sources_body())).unwrap();
    for (text, shown, hidden) in [
        (
            &read,
            vec!["Intercept", "delivery", "\"B\""],
            vec!["abab", "The service", "station 9", "vault", "S-1", "FR-P", "4096"],
        ),
        (&sources, vec!["abab", "The service", "station 9", "S-1", "4096"], vec!["vault", "FR-P", "delivery"]),
    ] {
        shown.iter().for_each(|s| assert!(text.contains(s), "{s} in {text}"));
        hidden.iter().for_each(|s| assert!(!text.contains(s), "{s} in {text}"));
    }
    assert_eq!(document.links().len(), 3);
}

#[test]
fn custody_is_only_ever_appended_to() {
    let first = evidence();
    let mut next = first.clone();
    next.custody.push(CustodyEvent {
        from: "The service".into(),
        to: "The court".into(),
        at: "2018-01-01T00:00:00Z".parse().unwrap(),
        seal: None,
        hash_checked: false,
        note: None,
    });
    assert_eq!(next.continues(&first), Ok(()));
    assert_eq!(first.continues(&next), Err(NotAppended::Custody(1)));
    let mut bent = next.clone();
    bent.custody[0].seal = Some("S-2".into());
    assert_eq!(bent.continues(&first), Err(NotAppended::Custody(0)));
    next.sha256 = Some(crate::canonical::Hex32([1; 32]));
    assert_eq!(next.continues(&first), Err(NotAppended::Material));
}

#[test]
fn every_kind_reads_its_own_document_and_survives_its_text() {
    let texts = [
        (RecordKind::Evidence, EVIDENCE.to_owned()),
        (
            RecordKind::Proposal,
            r#"{"title":"A","marking":{"tier":"public"},"subject":{"kind":"person","names":[{"full":"DOE","kind":"primary"}]},"statement_of_case":"S"}"#.to_owned(),
        ),
        (RecordKind::Opinion, r#"{"marking":{"tier":"official"},"about":"FR-P-0000000000000001","stance":"co-sponsor"}"#.to_owned()),
        (
            RecordKind::Incident,
            r#"{"title":"A","marking":{"tier":"official"},"date":"2017-04","place":"P","attributions":[{"by":"OPCW IIT","to":"Air force"}]}"#.to_owned(),
        ),
        (RecordKind::Request, r#"{"marking":{"tier":"official"},"about":"FR-E-0000000000000001","to":"CA","purpose":"trial","until":"2027-01-01T00:00:00Z"}"#.to_owned()),
        (RecordKind::Grant, r#"{"marking":{"tier":"official"},"about":"FR-E-0000000000000001","request":"DE-Q-0000000000000001","to":"CA","decision":"refused","purpose":"no"}"#.to_owned()),
        (RecordKind::Recall, r#"{"marking":{"tier":"official"},"about":"FR-E-0000000000000001","reason":"a source is at risk"}"#.to_owned()),
    ];
    assert_eq!(texts.len(), RecordKind::ALL.len());
    for (kind, text) in &texts {
        let document = Document::from_json(*kind, text.as_bytes()).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!((document.kind(), document.read_body().kind()), (*kind, *kind));
        assert_eq!(document.read_body().title(), document.title());
        assert_eq!(document.read_body().about(), document.about());
        assert_eq!(Document::from_json(*kind, &document.to_json()).unwrap(), document);
        let read = canonical::to_vec(&document.read_body());
        assert_eq!(canonical::from_slice::<ReadBody>(&read).unwrap(), document.read_body());
        // An unknown field, an unknown value and a missing marking are refused, whatever the kind.
        let unknown = text.replacen('{', r#"{"surprise":1,"#, 1);
        assert!(Document::from_json(*kind, unknown.as_bytes()).unwrap_err().to_string().contains("surprise"), "{kind}");
        let tier = text.replacen(r#""tier":""#, r#""tier":"cosmic_"#, 1);
        assert!(Document::from_json(*kind, tier.as_bytes()).unwrap_err().to_string().contains("tier"), "{kind}");
        let bare = text.replacen(r#""marking":"#, r#""markings":"#, 1);
        assert!(Document::from_json(*kind, bare.as_bytes()).unwrap_err().to_string().contains("marking"), "{kind}");
        // A document of one kind is no document of another.
        for other in RecordKind::ALL.into_iter().filter(|other| other != kind) {
            assert!(Document::from_json(other, text.as_bytes()).is_err(), "{kind} as {other}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    for (kind, text, field) in [
        (
            RecordKind::Opinion,
            r#"{"marking":{"tier":"official"},"about":"FR-E-0000000000000001","stance":"support"}"#,
            "about",
        ),
        (
            RecordKind::Opinion,
            r#"{"marking":{"tier":"official"},"about":"FR-P-0000000000000001","stance":"concern"}"#,
            "text",
        ),
        (
            RecordKind::Opinion,
            r#"{"marking":{"tier":"official"},"about":"FR-P-0000000000000001","stance":"veto"}"#,
            "stance",
        ),
        (
            RecordKind::Request,
            r#"{"marking":{"tier":"official"},"about":"FR-O-0000000000000001","to":"CA","purpose":"p"}"#,
            "about",
        ),
        (
            RecordKind::Request,
            r#"{"marking":{"tier":"official"},"about":"FR-E-0000000000000001","to":"FR","purpose":"p"}"#,
            "to",
        ),
        (
            RecordKind::Grant,
            r#"{"marking":{"tier":"official"},"about":"FR-E-0000000000000001","to":"CA","decision":"refused","purpose":"no","until":"2027-01-01T00:00:00Z"}"#,
            "until",
        ),
        (
            RecordKind::Evidence,
            r#"{"title":"A","marking":{"tier":"official"},"material":"image","credibility":7}"#,
            "credibility",
        ),
        (
            RecordKind::Evidence,
            r#"{"title":"A","marking":{"tier":"official"},"material":"image","links":["FR-E-0000000000000001"]}"#,
            "links",
        ),
        (
            RecordKind::Evidence,
            r#"{"title":"A","marking":{"tier":"official"},"material":"image","custody":[{"from":"a","to":"b","at":"2018-01-01T00:00:00Z","hash_checked":true}]}"#,
            "hash_checked",
        ),
    ] {
        let refused = Document::from_json(kind, text.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains(field), "{kind}: {refused}");
    }
    let large = vec![b' '; Document::MAX_BYTES + 1];
    assert!(Document::from_json(RecordKind::Evidence, &large).is_err());
}

#[test]
fn an_answer_protects_what_it_answers() {
    let (de, about) = ("DE".parse().unwrap(), id("FR-P-0000000000000001"));
    let mut of = Marking::originator_only(Tier::Secret);
    of.caveats.insert(Caveat::Orcon);
    of.releasable_to = ["DE", "CA"].map(|p| p.parse().unwrap()).into();
    let check = |marking: &Marking| {
        let mut violations = Violations::default();
        check_answer(de, about, &of, marking, &mut violations);
        violations.into_result()
    };
    let answer = answer_marking(about, &of);
    assert_eq!(answer.releasable_to, ["FR".parse().unwrap()].into());
    check(&answer).unwrap();
    assert!(check(&Marking { tier: Tier::Confidential, ..answer.clone() }).is_err());
    assert!(check(&Marking { caveats: [].into(), ..answer.clone() }).is_err());
    assert!(check(&Marking { releasable_to: of.releasable_to.clone(), ..answer.clone() }).is_err());
    assert!(check(&Marking { tier: Tier::TopSecret, releasable_to: [].into(), ..answer }).is_ok());
}
