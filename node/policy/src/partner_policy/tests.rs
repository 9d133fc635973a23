use comity_core::release::{Party, PartyStatus, RecordHeader, Share};
use comity_core::{Marking, RecordId, RecordKind, Tier};
use proptest::prelude::*;

use super::*;
use crate::EXAMPLE;

fn de() -> MemberId {
    "DE".parse().unwrap()
}

fn refused(text: &str) -> InvalidPolicy {
    match PartnerPolicy::parse(de(), text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    }
}

fn ids(policy: &PartnerPolicy) -> Vec<&str> {
    policy.ids().iter().map(PolicyId::as_str).collect()
}

#[test]
fn the_example_is_clean() {
    let policy = PartnerPolicy::parse(de(), EXAMPLE).unwrap();
    let expected = [
        "de-proposals",
        "de-sources-when-usable-in-court",
        "de-no-tiger",
        "de-answers-to-its-records",
        "de-incidents-for-the-inquiry",
    ];
    assert_eq!(ids(&policy), expected);
    assert_eq!(policy.warnings(), []);
    assert_eq!(policy.text(), EXAMPLE);
    assert_eq!(policy.sha256(), comity_core::sha256(EXAMPLE.as_bytes()));
}

#[test]
fn nothing_and_comments_are_valid_and_warn() {
    for text in ["", " \n\t", "// nothing yet; \"really\" {(["] {
        let policy = PartnerPolicy::parse(de(), text).unwrap();
        assert!(policy.ids().is_empty());
        assert_eq!(policy.warnings().iter().map(|w| &w.what).collect::<Vec<_>>(), [&Note::PermitsNothing]);
    }
}

#[test]
fn policies_without_id_are_named_by_their_place() {
    let mut text = "forbid(principal, action, resource) when { resource.tier > 4 };\n".repeat(11);
    text.push_str("@id(\"b\") permit(principal, action, resource) when { resource.tier < 2 };");
    let policy = PartnerPolicy::parse(de(), &text).unwrap();
    let expected: Vec<String> = (0..11).map(|n| format!("DE.{n}")).chain(["b".to_owned()]).collect();
    assert_eq!(ids(&policy), expected);
    assert_eq!(policy.warnings().len(), 11);
    assert_eq!(
        policy.warnings()[10].to_string(),
        "line 11, column 1: policy `DE.10`: it has no @id, so the access log names it by its place in the file: \
         add @id(\"…\") before it"
    );
}

#[test]
fn a_permit_of_everything_warns() {
    let policy = PartnerPolicy::parse(de(), "@id(\"all\") permit(principal, action, resource);").unwrap();
    assert_eq!(policy.warnings()[0].what, Note::PermitsEverything);
    let policy = PartnerPolicy::parse(
        de(),
        r#"@id("one") permit(principal, action, resource == Record::"FR-P-8K3M9QXT2V4N6R7W");"#,
    );
    assert_eq!(policy.unwrap().warnings(), []);
}

#[test]
fn an_end_is_an_instant() {
    let with = |end: &str| format!("\n@id(\"a\") @until(\"{end}\") permit(principal, action, resource);");
    for bad in ["", "tomorrow", "2026-12-31", "2026-12-31T00:00:00", "2026-13-01T00:00:00Z"] {
        let error = refused(&with(bad));
        let problem = &error.problems[0];
        assert_eq!((problem.place.unwrap().line, problem.policy.as_deref()), (2, Some("a")), "{error}");
        assert_eq!(problem.what, Fault::BadUntil { text: bad.to_owned() });
    }
    assert!(PartnerPolicy::parse(de(), &with("2026-12-31T01:00:00+01:00")).is_ok());
}

#[test]
fn a_policy_that_has_ended_warns_from_then_on() {
    let text = "@id(\"a\") permit(principal, action, resource) when { resource.tier < 2 };
@id(\"b\") @until(\"2026-12-31T00:00:00Z\") permit(principal, action, resource) when { resource.tier < 4 };";
    let policy = PartnerPolicy::parse(de(), text).unwrap();
    let warnings = |at: &str| policy.warnings_at(at.parse().unwrap());
    assert_eq!(warnings("2026-12-30T23:59:59.999999Z"), policy.warnings());
    let ended: Vec<String> = warnings("2026-12-31T00:00:00Z").iter().map(ToString::to_string).collect();
    assert_eq!(ended, ["line 2, column 1: policy `b`: ended on 2026-12-31T00:00:00Z: remove it"]);
}

#[test]
fn a_misspelt_annotation_warns() {
    let text =
        "@id(\"a\") @untill(\"2026-12-31T00:00:00Z\") permit(principal, action, resource) when { resource.tier < 2 };";
    let policy = PartnerPolicy::parse(de(), text).unwrap();
    assert_eq!(policy.warnings()[0].what, Note::Annotation { name: "untill".to_owned() });
}

#[test]
fn types_that_do_not_fit_the_schema_are_refused_by_place() {
    let error = refused("@id(\"a\")\npermit(principal, action, resource)\nwhen { resource.tier <= \"3\" };");
    let problem = &error.problems[0];
    assert_eq!((problem.policy.as_deref(), problem.place.unwrap().line), (Some("a"), 3), "{error}");
    assert!(matches!(problem.what, Fault::Schema { .. }), "{error}");
    for bad in [
        "permit(principal, action, resource) when { resource.teir <= 3 };",
        "permit(principal, action == Action::\"write\", resource);",
        "permit(principal is Member, action, resource);",
        "permit(principal, action, resource) when { context.purpose == \"court\" };",
        "permit(principal, action, resource) when { resource.kind == 3 };",
        "permit(principal, action, resource) when { resource.caveats.contains(3) };",
        "permit(principal, action, resource) when { resource.title like \"*x*\" };",
    ] {
        assert!(!refused(bad).problems.is_empty(), "{bad}");
    }
}

#[test]
fn a_policy_that_never_applies_warns() {
    let policy = PartnerPolicy::parse(
        de(),
        "@id(\"a\") permit(principal, action, resource) when { resource.tier < 2 };\n\
         @id(\"b\") forbid(principal, action, resource) when { principal == resource };",
    );
    let warnings: Vec<String> = policy.unwrap().warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("line 2, column 1: policy `b`: "), "{warnings:?}");
}

#[test]
fn an_unclosed_bracket_is_told_at_its_policy() {
    let good = "permit(principal, action, resource) when { resource.tier < 2 };\n";
    let error = refused(&(good.to_owned() + "permit(principal, action, resource) when { resource.tier < 2 ;\n" + good));
    assert_eq!(error.problems[0].place.unwrap().line, 2, "{error}");
    let error = refused(&("\npermit(principal, action, resource;\n".to_owned() + &good.repeat(150)));
    assert_eq!(error.problems[0].place.unwrap().line, 2, "{error}");
}

#[test]
fn every_problem_is_listed_in_order() {
    let error = refused(
        r#"@id("a") permit(principal, action, resource) when { resource.teir <= 3 };
@id("a") permit(principal == Party::"CA", action, resource);
@id("b") permit(principal == Party::"CA", action, resource);
@id("no colon: here") forbid(principal, action, resource) when { resource.tier > 1 };
@id("c") forbid(principal, action, resource) when { resource.kind == "propsal" || resource.nope };
@id("d") permit(principal == ?principal, action, resource);"#,
    );
    let lines: Vec<usize> = error.problems.iter().map(|p| p.place.unwrap().line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5, 5, 6], "{error}");
    let text = error.to_string();
    assert!(text.starts_with("the policy for DE has 7 problems:\n  line 1, column "), "{text}");
    for part in [
        "policy `a`: the id is taken by the policy at line 1, column 1",
        "policy `b`: Party::\"CA\" is named in the file for DE",
        "@id(\"no colon: here\"): expected 1 to 64",
        "`resource.kind` is compared with \"propsal\", which it never is: expected proposal, opinion, incident,",
        "policy `d`: templates are not used here",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn ids_cannot_pass_for_other_reasons() {
    for id in ["default-deny", "hard:not-active", "error:a", "", " a", "-a", "é", &"x".repeat(65)] {
        let error = refused(&format!("@id(\"{id}\") permit(principal, action, resource);"));
        assert!(matches!(error.problems[0].what, Fault::BadId { .. }), "{error}");
    }
    // A default id that somebody else took.
    let error = refused(
        "@id(\"DE.1\") permit(principal, action, resource);\npermit(principal, action, resource) when { true };",
    );
    assert!(matches!(error.problems[0].what, Fault::DuplicateId { .. }), "{error}");
}

#[test]
fn another_party_is_refused_wherever_it_stands() {
    for bad in [
        r#"permit(principal == Party::"CA", action, resource);"#,
        r#"permit(principal in Party::"CA", action, resource);"#,
        r#"permit(principal is Party in Party::"CA", action, resource);"#,
        r#"forbid(principal, action, resource) when { principal == Party::"CA" };"#,
        r#"forbid(principal, action, resource) when { [Party::"CA"].contains(principal) };"#,
    ] {
        let error = refused(bad);
        assert!(error.problems.iter().any(|p| matches!(p.what, Fault::OtherParty { .. })), "{bad}: {error}");
    }
    for good in [
        r#"permit(principal == Party::"DE", action, resource);"#,
        r#"permit(principal is Party, action, resource);"#,
        r#"permit(principal, action, resource) when { resource.releasable_to.contains("CA") };"#,
    ] {
        PartnerPolicy::parse(de(), good).unwrap();
    }
}

#[test]
fn a_value_that_never_is_there_is_refused() {
    for bad in [
        r#"resource.kind == "propsal""#,
        r#""Proposal" != resource.kind"#,
        r#"["proposal", "opinoin"].contains(resource.kind)"#,
        r#"resource.caveats.contains("ORCON")"#,
        r#"resource.caveats.containsAny(["orcn"])"#,
        r#"resource.handling == "always""#,
        r#"resource.compartments.contains("tiger")"#,
        r#"resource.releasable_to.contains("GERMANY-")"#,
        r#"resource.originator == "fr""#,
        r#"principal.member == "CA""#,
        r#"!(if resource.tier > 1 then resource.kind == "x" else true)"#,
        r#"resource["kind"] == "x""#,
    ] {
        let error = refused(&format!("forbid(principal, action, resource) when {{ {bad} }};"));
        assert!(error.problems.iter().any(|p| matches!(p.what, Fault::NeverEqual { .. })), "{bad}: {error}");
    }
    let error = refused(r#"forbid(principal, action, resource == Record::"FR-P-1");"#);
    assert!(matches!(error.problems[0].what, Fault::NotARecord { .. }), "{error}");
}

#[test]
fn syntax_errors_have_a_place() {
    let error = refused("permit(principal, action, resource);\npermit(principal, action resource);");
    assert_eq!(error.problems[0].place.unwrap(), Place { line: 2, column: 26 }, "{error}");
    assert!(matches!(error.problems[0].what, Fault::Syntax { .. }));
    for bad in ["allow", "permit", "permit(", "permit(principal, action, resource)", "}", "\"", "\u{0}", "é"] {
        refused(bad);
    }
}

#[test]
fn bounds_hold() {
    let long = " ".repeat(PartnerPolicy::TEXT_MAX_BYTES + 1);
    assert!(matches!(refused(&long).problems[0].what, Fault::TooLong { .. }));
    let many = "permit(principal,action,resource);".repeat(PartnerPolicy::POLICIES_MAX + 1);
    assert!(matches!(refused(&many).problems[0].what, Fault::TooMany { policies: 201 }));
    // As many as are allowed, each wrong: the list of problems is bounded.
    let wrong = "permit(principal,action,resource)when{resource.a};".repeat(PartnerPolicy::POLICIES_MAX);
    let error = refused(&wrong);
    assert_eq!((error.problems.len(), error.more), (InvalidPolicy::PROBLEMS_MAX, 150));
}

/// Cedar's parser recurses: on a small stack, such as a worker's, a hostile file must be an error and not an abort.
#[test]
fn a_hostile_file_does_not_exhaust_the_stack() {
    let n = PartnerPolicy::TEXT_MAX_BYTES;
    let policy = |body: String| format!("permit(principal, action, resource) when {{ {body} }};");
    let fill = |part: &str| part.repeat((n - 100) / part.len());
    let nested = |open: &str, depth: usize, close: &str| policy(open.repeat(depth) + "true" + &close.repeat(depth));
    let attacks = [
        fill("("),
        fill("permit("),
        policy(fill("(")),
        policy(fill("[")),
        policy(fill("{a:")),
        policy(fill("!")),
        policy(fill("-")),
        policy(fill("true&&") + "true"),
        policy(fill("true||") + "true"),
        policy(fill("1+") + "1"),
        policy("resource".to_owned() + &fill(".a")),
        policy("resource".to_owned() + &fill("[\"a\"]")),
        policy(fill("if true then true else ") + "true"),
        policy(fill("if true then ") + "true"),
        policy(fill("if ") + "true"),
        fill("@a "),
        policy(fill("true };; && ")),
        policy(fill("a::")),
        "permit(principal, action, resource)".to_owned() + &fill("when{true}") + ";",
        nested("(", 10_000, ")"),
        nested("[", 10_000, "]"),
        nested("!(", 10_000, ")"),
        "// a comment that ends here:\r".to_owned() + &nested("(", 10_000, ")"),
        policy(fill("(]")),
        policy(fill("(];")),
        policy("\"\\\n\" == ".to_owned() + &"(".repeat(10_000) + "true" + &")".repeat(10_000)),
        // Just inside the bounds.
        nested("(", PartnerPolicy::NESTING_MAX - 1, ")"),
        nested("!(", PartnerPolicy::NESTING_MAX - 1, ")"),
        policy("true && ".repeat(240) + "true"),
        policy("if true then true else ".repeat(160) + "true"),
        policy("if ".repeat(490) + "true"),
        policy("if ".repeat(160) + "true" + &" then true else true".repeat(160)),
        policy("resource".to_owned() + &".a".repeat(480)),
    ];
    let (own, mut accepted) = ("FR".parse().unwrap(), 0);
    let (status, ceiling) = (PartyStatus::Active, Tier::Secret);
    let party = Party { member: de(), status, ceiling, voting: true };
    let mut marking = Marking::originator_only(Tier::Official);
    marking.releasable_to.insert(de());
    let id = RecordId::new(own, RecordKind::Proposal, [7; 10]);
    let header = RecordHeader::new(id, marking);
    std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || {
            for text in attacks {
                if let Ok(policy) = PartnerPolicy::parse(de(), &text) {
                    accepted += 1;
                    let _ =
                        crate::Policies::new([policy]).level(own, &party, &header, Some(&Share::PLAIN), Timestamp::MAX);
                }
            }
            assert_eq!(accepted, 5, "those inside the bounds go all the way through");
        })
        .unwrap()
        .join()
        .unwrap();
}

proptest! {
    #[test]
    fn any_text_is_safe(text in "\\PC{0,200}") {
        let _ = PartnerPolicy::parse(de(), &text);
    }

    #[test]
    fn any_damage_to_the_example_is_safe(at in 0..EXAMPLE.len(), len in 0..40_usize, with in "[\\PC\n]{0,5}") {
        let end = (at + len).min(EXAMPLE.len());
        if let (Some(before), Some(after)) = (EXAMPLE.get(..at), EXAMPLE.get(end..)) {
            let _ = PartnerPolicy::parse(de(), &format!("{before}{with}{after}"));
        }
    }
}
