use super::*;
use crate::canonical::Hex32;
use crate::rule::{Fraction, Rule, Silence};
use crate::testing;

#[test]
fn a_quorum_is_rounded_up() {
    let two_thirds: Rule = "quorum(2/3)".parse().unwrap();
    assert_eq!([3, 4, 5, 6, 40].map(|n| two_thirds.needed(n)), [2, 3, 4, 4, 27].map(Some));
    let all: Rule = "quorum(1/1)".parse().unwrap();
    assert_eq!(all.needed(7), Some(7));
    for bad in ["quorum(0/3)", "quorum(4/3)", "quorum(2)", "2/3", "quorum(1/0)", "quorum(-1/2)"] {
        assert!(bad.parse::<Rule>().is_err(), "{bad}");
    }
}

#[test]
fn two_agreed_positions_share_an_honest_cosigner() {
    for n in 1..=200 {
        let needed = Genesis::cosigners_needed(n);
        let liars = (n - 1) / 3;
        assert!(needed <= n, "{n}");
        assert!(2 * needed - n > liars, "{n}: two quorums overlap in more than the liars");
    }
    assert_eq!([3, 4, 7].map(Genesis::cosigners_needed), [2, 3, 5]);
}

fn violations(edit: impl FnOnce(&mut GenesisDocument)) -> Violations {
    let mut document = testing::document(3);
    edit(&mut document);
    Genesis::from_bytes(&canonical::to_vec(&document)).expect_err("this genesis must be refused")
}

/// The only field that is refused.
fn field(edit: impl FnOnce(&mut GenesisDocument)) -> String {
    let found = violations(edit);
    let [only] = found.as_slice() else { panic!("expected one violation: {found}") };
    only.field.clone()
}

#[test]
fn the_federation_is_the_hash_of_the_file() {
    let bytes = canonical::to_vec(&testing::document(3));
    let genesis = Genesis::from_bytes(&bytes).unwrap();
    assert_eq!(genesis.federation(), Hex32(crate::sha256(&bytes)));
    let spaced = [&bytes[..], b"\n"].concat();
    let other = Genesis::from_bytes(&spaced).unwrap();
    assert_eq!(other.document(), genesis.document());
    assert_ne!(other.federation(), genesis.federation(), "the same words in another file are another federation");
    assert_eq!(genesis.voters().map(|m| m.member.to_string()).collect::<Vec<_>>(), ["CA", "DE", "FR"]);
    assert_ne!(genesis.public_log_origin(), genesis.command_log_origin());
}

#[test]
fn each_key_has_one_purpose_and_one_owner() {
    assert_eq!(field(|d| d.members[1].node_key = d.members[1].decision_key), "members[1].node_key");
    assert_eq!(field(|d| d.members[2].recovery_key = d.members[0].decision_key), "members[2].recovery_key");
    let found = violations(|d| d.members[2].decision_key = d.members[0].decision_key);
    assert!(found.to_string().contains("members[0].decision_key"), "it names the other: {found}");
}

#[test]
fn members_and_trust_domains_are_there_once() {
    assert_eq!(field(|d| d.members[2].member = d.members[0].member), "members[2].member");
    assert_eq!(field(|d| d.members[2].trust_domain = d.members[0].trust_domain.clone()), "members[2].trust_domain");
}

#[test]
fn a_federation_has_members_who_vote() {
    assert_eq!(field(|d| d.members.iter_mut().for_each(|m| m.voting = false)), "members");
    assert_eq!(violations(|d| d.members.clear()).as_slice()[0].field, "members");
    let many = |count| Genesis::from_bytes(&canonical::to_vec(&testing::document(count)));
    assert!(many(Genesis::MAX_MEMBERS).is_ok());
    assert_eq!(many(Genesis::MAX_MEMBERS + 1).unwrap_err().as_slice()[0].field, "members");
}

#[test]
fn an_endpoint_is_a_host_and_a_port() {
    for good in ["fr.example:7443", "127.0.0.1:1", "[::1]:65535", "node_1:80", "localhost:9"] {
        let mut document = testing::document(1);
        document.members[0].endpoint = good.into();
        assert!(Genesis::from_bytes(&canonical::to_vec(&document)).is_ok(), "{good}");
    }
    for bad in [
        "",
        ":7443",
        "fr.example",
        "fr.example:",
        "fr.example:0",
        "fr.example:65536",
        "fr.example:+80",
        "fr.example:80 ",
        "https://fr.example:80",
        "fr.example/x:80",
        "fr example:80",
        "u@fr.example:80",
        "::1:80",
        "[::g]:80",
        "[fr]:80",
        "fr\n.example:80",
    ] {
        assert_eq!(field(|d| d.members[1].endpoint = bad.into()), "members[1].endpoint", "{bad}");
    }
    assert_eq!(field(|d| d.members[1].endpoint = format!("{}:80", "x".repeat(300))), "members[1].endpoint");
}

#[test]
fn each_field_is_checked_and_named() {
    assert_eq!(field(|d| d.format = "comity-genesis/2".into()), "format");
    assert_eq!(field(|d| d.name = "  ".into()), "name");
    assert_eq!(field(|d| d.name = "x".repeat(201)), "name");
    assert_eq!(field(|d| d.name = "Part\u{202E}nership".into()), "name");
    for bad in ["", "cw", "C-W", "C1", "NINECHARS"] {
        assert_eq!(field(|d| d.entry_prefix = bad.into()), "entry_prefix", "{bad}");
    }
    assert_eq!(field(|d| d.created = "-000001-01-01T00:00:00Z".parse().unwrap()), "created");
    assert_eq!(field(|d| d.created = "1969-12-31T23:59:59Z".parse().unwrap()), "created");
    assert_eq!(field(|d| d.members[0].roots_pem.clear()), "members[0].roots_pem");
    assert_eq!(field(|d| d.members[0].roots_pem = vec!["x".into(); 9]), "members[0].roots_pem");
    let all = violations(|d| {
        d.name = String::new();
        d.entry_prefix = String::new();
        d.members[1].endpoint = String::new();
    });
    assert_eq!(all.as_slice().len(), 3, "all of them at once: {all}");
}

#[test]
fn a_rule_is_a_fraction_that_can_be_reached() {
    for (numerator, denominator) in [(0, 3), (4, 3), (1, 0), (0, 0), (1, 1_001), (u32::MAX, u32::MAX)] {
        let rule = Rule::Quorum(Fraction { numerator, denominator });
        assert_eq!(field(|d| d.rules.list = rule), "rules.list.quorum", "{rule}");
        let rule = Rule::NoObjection(Silence { presence: Fraction { numerator, denominator }, ..Silence::default() });
        assert_eq!(field(|d| d.rules.expel = rule), "rules.expel.no_objection.presence", "{rule}");
    }
}

#[test]
fn the_periods_of_silence_and_review_have_bounds() {
    let silence = |edit: fn(&mut Silence)| {
        let mut silence = Silence::default();
        edit(&mut silence);
        field(|d| d.rules.amend = Rule::NoObjection(silence))
    };
    assert_eq!(silence(|s| (s.period_days, s.notice_days) = (251, 1)), "rules.amend.no_objection.period_days");
    assert_eq!(silence(|s| s.notice_days = 0), "rules.amend.no_objection.notice_days");
    assert_eq!(silence(|s| s.notice_days = s.period_days + 1), "rules.amend.no_objection.notice_days");
    assert_eq!(silence(|s| s.closing_hour = 24), "rules.amend.no_objection.closing_hour");
    assert_eq!(silence(|s| s.hold_months = 0), "rules.amend.no_objection.hold_months");
    assert_eq!(silence(|s| s.extension_months = 25), "rules.amend.no_objection.extension_months");
    for days in [0, 367, u32::MAX] {
        assert_eq!(field(|d| d.rules.reverse_silence_days = days), "rules.reverse_silence_days");
    }
    for months in [0, 61] {
        assert_eq!(field(|d| d.rules.review_months = months), "rules.review_months");
    }
}

/// What is wrong with a genesis whose text was edited.
fn text_violation(from: &str, to: &str) -> String {
    let text = String::from_utf8(canonical::to_vec(&testing::document(3))).unwrap();
    let edited = text.replacen(from, to, 1);
    assert_ne!(text, edited, "{from} is not in the file");
    Genesis::from_bytes(edited.as_bytes()).expect_err(to).to_string()
}

#[test]
fn the_file_is_strict() {
    let rule = r#""list":{"quorum":{"numerator":2,"denominator":3}}"#;
    for (from, to, named) in [
        ("{", r#"{"motto":"x","#, "motto"),
        (r#"{"member":"DE""#, r#"{"member":"DE","nickname":"x""#, "members[1]"),
        (r#"{"member":"DE""#, r#"{"member":"DE","member":"FR""#, "members[1]"),
        (r#"{"member":"DE""#, r#"{"member":"ZZ""#, "members[1].member"),
        (r#""name":"#, r#""name":"Twice","name":"#, "name"),
        (rule, r#""list":{"majority":{}}"#, "rules.list"),
        (rule, r#""list":"quorum""#, "rules.list"),
        (rule, r#""list":{"quorum":[2,3]}"#, "rules.list"),
        (rule, r#""list":{"quorum":{"numerator":2,"denominator":3,"of":"present"}}"#, "rules.list"),
        (rule, r#""list":{"quorum":{"numerator":2.0,"denominator":3}}"#, "rules.list.quorum.numerator"),
        (rule, r#""list":{"quorum":{"numerator":-2,"denominator":3}}"#, "rules.list.quorum.numerator"),
        (r#""ceiling":"secret""#, r#""ceiling":"cosmic""#, "members[0].ceiling"),
        (r#""voting":true"#, r#""voting":1"#, "members[0].voting"),
        ("fr.comity.example", "FR.comity.example", "members[0].trust_domain"),
        ("2026-11-23T09:00:00Z", "2026-13-23T09:00:00Z", "created"),
    ] {
        let found = text_violation(from, to);
        assert!(found.contains(named), "{named}: {found}");
    }
    assert!(Genesis::from_bytes(b"").is_err());
    let large = vec![b' '; Genesis::MAX_BYTES + 1];
    assert!(Genesis::from_bytes(&large).unwrap_err().to_string().contains("at most"));
}

#[test]
fn a_key_is_a_point_that_can_sign() {
    let key = testing::MemberKeys::of(0).node.verifying_key();
    let key = hex::encode(key.as_bytes());
    let identity = format!("01{}", "00".repeat(31));
    for bad in [String::new(), key.to_uppercase(), key[2..].to_owned(), identity, "00".repeat(32), "ff".repeat(32)] {
        let found = text_violation(&key, &bad);
        assert!(found.contains("members[0].node_key"), "{bad}: {found}");
    }
}
