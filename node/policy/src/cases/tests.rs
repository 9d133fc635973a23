use comity_core::release::PartyStatus;

use super::*;
use crate::PartnerPolicy;

const FILE: &str = r#"
@id("proposals") permit(principal, action in [Action::"discover", Action::"read"], resource)
when { resource.kind == "proposal" && resource.tier <= 2 };
@id("onward") permit(principal, action == Action::"discover", resource) when { resource.onward };
@id("answers") permit(principal, action, resource) when { resource.answers };
@id("this-one") forbid(principal, action, resource == Record::"FR-P-8K3M9QXT2V4N6R7W");
@id("never") forbid(principal, action, resource) when { resource.handling == "never" };
@id("orcon") forbid(principal, action, resource)
when { resource.caveats.contains("orcon") && resource.compartments.contains("TIGER") };
"#;

fn run(cases: &str) -> Vec<CaseOutcome> {
    let member = |code: &str| -> MemberId { code.parse().unwrap() };
    let policies = Policies::new([PartnerPolicy::parse(member("DE"), FILE).unwrap()]);
    let roster = |party| {
        let de = Party { member: party, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
        (party == member("DE")).then_some(de)
    };
    let cases = Cases::from_json(format!("{{\"cases\":[{cases}]}}").as_bytes()).unwrap();
    let outcomes = cases.run(&policies, member("FR"), roster, Timestamp::from_micros(0).unwrap());
    assert_eq!((outcomes.len(), cases.is_empty()), (cases.len(), false));
    outcomes
}

/// A case of a restricted proposal for DE with more members in the record and the case.
fn case(record: &str, rest: &str) -> String {
    format!(
        "{{\"name\":\"n\",\"party\":\"DE\",\"record\":{{\"kind\":\"proposal\",\"tier\":\"restricted\"{record}}}{rest}}}"
    )
}

#[test]
fn every_field_reaches_the_decision() {
    for (record, rest, expect) in [
        ("", "", "read"),
        (r#","handling":"never""#, "", "nothing"),
        (r#","releasable_to":[]"#, "", "nothing"),
        (r#","releasable_to":["CA","DE"]"#, "", "read"),
        (r#","caveats":["orcon"],"compartments":["TIGER"]"#, "", "nothing"),
        (r#","caveats":["orcon"],"compartments":["LION"]"#, "", "read"),
        (r#","id":"FR-P-8K3M9QXT2V4N6R7W""#, "", "nothing"),
        (r#","originator":"AU""#, "", "nothing"),
        ("", r#","shared":false"#, "nothing"),
        (r#","about":"DE-P-8K3M9QXT2V4N6R7W""#, "", "read_sources"),
        (r#","about":"CA-P-8K3M9QXT2V4N6R7W""#, "", "nothing"),
        (r#","releasable_to":[]"#, r#","onward":true"#, "read"),
    ] {
        for word in ["nothing", "discover", "read", "read_sources"] {
            let outcome = run(&case(record, &format!("{rest},\"expect\":\"{word}\""))).remove(0);
            assert_eq!(outcome.passed, word == expect, "{record} {rest}: {outcome}");
            assert_eq!(CaseOutcome::word(outcome.found.unwrap().action), expect);
            assert_eq!(CaseOutcome::word(outcome.expected), word);
        }
    }
    let opinion =
        r#"{"name":"n","party":"DE","record":{"kind":"opinion","tier":"secret"},"onward":true,"expect":"discover"}"#;
    assert!(run(opinion)[0].passed);
}

#[test]
fn the_reasons_must_be_those_that_are_named() {
    let because = |because: &str| run(&case("", &format!(",\"expect\":\"read\",\"because\":{because}"))).remove(0);
    assert!(because("[\"proposals\"]").passed);
    let wrong = because("[\"onward\",\"answers\"]");
    assert!(!wrong.passed);
    assert_eq!(wrong.to_string(), "n: expected read because of answers, onward, came out read because of proposals");
    assert!(!because("[]").passed);
    assert_eq!(because("[\"proposals\"]").to_string(), "n: ok");
    let outcome = &run(&case("", ",\"expect\":\"nothing\""))[0];
    assert_eq!(outcome.to_string(), "n: expected nothing, came out read because of proposals");
}

#[test]
fn a_party_that_nobody_knows_fails() {
    let text = r#"{"name":"n","party":"CA","record":{"kind":"proposal","tier":"public"},"expect":"nothing"}"#;
    let outcome = &run(text)[0];
    assert_eq!((outcome.passed, &outcome.found), (false, &None));
    assert_eq!(outcome.to_string(), "n: CA is in no roster: correct the case or admit the party");
}

#[test]
fn what_is_not_understood_is_refused() {
    let expect = ",\"expect\":\"read\"";
    for (cases, field) in [
        (case(",\"subject\":1", expect), "subject"),
        (case("", ",\"expect\":\"all\""), "cases[0].expect"),
        (case("", ""), "expect"),
        (case("", &format!("{expect},\"share\":true")), "share"),
        (case(",\"id\":\"FR-O-8K3M9QXT2V4N6R7W\"", expect), "cases[0].record.id"),
        (case(",\"id\":\"FR-P-8K3M9QXT2V4N6R7W\",\"originator\":\"AU\"", expect), "cases[0].record.id"),
        (case("", &format!("{expect},\"shared\":false,\"onward\":true")), "cases[0].onward"),
        (case("", expect).replace("\"n\"", "\"\""), "cases[0].name"),
        (case("", expect).replace("\"n\"", &format!("\"{}\"", "n".repeat(201))), "cases[0].name"),
        ([case("", expect), case("", expect)].join(","), "cases[1].name"),
        (vec![case("", expect); 1_001].join(","), "cases"),
    ] {
        let refused = Cases::from_json(format!("{{\"cases\":[{cases}]}}").as_bytes()).unwrap_err();
        assert!(refused.to_string().contains(field), "{field}: {refused}");
    }
    assert!(Cases::from_json(&vec![b' '; Cases::MAX_BYTES + 1]).unwrap_err().to_string().contains("at most 1048576"));
    assert!(Cases::from_json(b"[]").is_err());
    assert!(Cases::from_json(br#"{"cases":[]}"#).unwrap().is_empty());
}
