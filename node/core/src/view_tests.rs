use super::*;

fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

fn proposal() -> Document {
    Document::from_json(
        RecordKind::Proposal,
        br#"{"title":"Quiet title","marking":{"tier":"confidential","releasable_to":["DE"]},
        "subject":{"kind":"person","names":[{"full":"DOE, Ada","kind":"primary"}]},
        "statement_of_case":"The case.","assessment":"What we think.",
        "sources":[{"description":"A human source","reliability":"B","credibility":2}]}"#,
    )
    .unwrap()
}

fn page(action: Action) -> (Envelope, Vec<SealedItem>, SigningKey) {
    let key = SigningKey::from_bytes(&[5; 32]);
    let record = RecordId::new(member("FR"), RecordKind::Proposal, [1; 10]);
    let views = Views::of(record, VersionId::new([2; 16]), &proposal(), [Hex32([3; 32]), Hex32([4; 32])]);
    let items = [
        PageItem {
            number: 8,
            record,
            change: Change::Upsert(views.up_to(action, proposal().marking(), None, Vec::new())),
        },
        PageItem { number: 9, record, change: Change::Retract },
    ];
    let sealed: Vec<SealedItem> = items.iter().map(|i| SealedItem::new(i, Hex32([i.number as u8; 32]))).collect();
    (sign(&sealed, &key), sealed, key)
}

fn sign(sealed: &[SealedItem], key: &SigningKey) -> Envelope {
    let statement = PageStatement {
        federation: Hex32([7; 32]),
        from: member("FR"),
        to: member("DE"),
        first_number: 8,
        count: sealed.len() as u64,
        root: merkle::root_of(sealed.iter().map(SealedItem::leaf)),
        released_at: "2026-11-23T09:00:00Z".parse().unwrap(),
    };
    sign_page(&statement, key)
}

fn check(envelope: &Envelope, sealed: &[SealedItem], key: &SigningKey) -> Result<(), RefusedPage> {
    verify_page(envelope, sealed, &key.verifying_key(), Hex32([7; 32]), member("FR"), member("DE")).map(|_| ())
}

#[test]
fn each_level_shows_its_own_and_nothing_above() {
    for (action, shown, hidden) in [
        (Action::Discover, vec!["confidential"], vec!["Quiet title", "DOE", "What we think", "human source"]),
        (Action::Read, vec!["Quiet title", "DOE", "What we think"], vec!["human source"]),
        (Action::ReadSources, vec!["Quiet title", "human source"], vec![]),
    ] {
        let (envelope, sealed, key) = page(action);
        check(&envelope, &sealed, &key).unwrap();
        let text = String::from_utf8(sealed[0].bytes.clone()).unwrap();
        shown.iter().for_each(|s| assert!(text.contains(s), "{action:?} shows {s}"));
        hidden.iter().for_each(|s| assert!(!text.contains(s), "{action:?} hides {s}"));
    }
}

#[test]
fn any_change_on_the_way_is_refused() {
    let (envelope, sealed, key) = page(Action::Read);
    let mut bent = sealed.clone();
    bent[0].bytes[20] ^= 1;
    assert_eq!(check(&envelope, &bent, &key), Err(RefusedPage::Root));
    assert!(matches!(check(&envelope, &sealed[..1], &key), Err(RefusedPage::Mismatch { field: "count", .. })));
    let swapped = vec![sealed[1].clone(), sealed[0].clone()];
    assert_eq!(check(&envelope, &swapped, &key), Err(RefusedPage::Root));
    let other = SigningKey::from_bytes(&[6; 32]);
    assert!(matches!(check(&envelope, &sealed, &other), Err(RefusedPage::Signature(_))));
    let to_ca = verify_page(&envelope, &sealed, &key.verifying_key(), Hex32([7; 32]), member("FR"), member("CA"));
    assert!(matches!(to_ca, Err(RefusedPage::Mismatch { field: "to", .. })));
}

#[test]
fn a_sender_cannot_speak_of_anothers_record_or_open_a_commitment_falsely() {
    let (_, _, key) = page(Action::Read);
    let foreign = PageItem {
        number: 8,
        record: RecordId::new(member("CA"), RecordKind::Proposal, [1; 10]),
        change: Change::Retract,
    };
    let sealed = vec![SealedItem::new(&foreign, Hex32([1; 32]))];
    assert!(matches!(check(&sign(&sealed, &key), &sealed, &key), Err(RefusedPage::ForeignRecord { .. })));

    let record = RecordId::new(member("FR"), RecordKind::Proposal, [1; 10]);
    let views = Views::of(record, VersionId::new([2; 16]), &proposal(), [Hex32([3; 32]), Hex32([4; 32])]);
    let mut documents = views.up_to(Action::Read, proposal().marking(), None, Vec::new());
    documents[1].text = documents[1].text.replace("Quiet", "Other");
    let item = PageItem { number: 8, record, change: Change::Upsert(documents) };
    let sealed = vec![SealedItem::new(&item, Hex32([1; 32]))];
    assert!(matches!(check(&sign(&sealed, &key), &sealed, &key), Err(RefusedPage::Documents { .. })));
}

#[test]
fn a_number_that_no_other_reader_holds_is_refused() {
    let key = SigningKey::from_bytes(&[5; 32]);
    let record = RecordId::new(member("FR"), RecordKind::Proposal, [1; 10]);
    for first in [u64::MAX, u64::MAX - 1, canonical::MAX_INTEGER + 1] {
        let items = [first, first.saturating_add(1)].map(|number| PageItem { number, record, change: Change::Retract });
        let sealed = items.map(|item| SealedItem::new(&item, Hex32([1; 32])));
        let statement = PageStatement {
            federation: Hex32([7; 32]),
            from: member("FR"),
            to: member("DE"),
            first_number: first,
            count: 2,
            root: merkle::root_of(sealed.iter().map(SealedItem::leaf)),
            released_at: "2026-11-23T09:00:00Z".parse().unwrap(),
        };
        let refused = check(&sign_page(&statement, &key), &sealed, &key);
        assert!(matches!(refused, Err(RefusedPage::Content(_))), "{refused:?}");
    }
}

#[test]
fn a_page_has_items_and_not_too_many_or_too_large_ones() {
    let (_, _, key) = page(Action::Read);
    let record = RecordId::new(member("FR"), RecordKind::Proposal, [1; 10]);
    let retractions = |count: u64| -> Vec<SealedItem> {
        let items = (8..8 + count).map(|number| PageItem { number, record, change: Change::Retract });
        items.map(|item| SealedItem::new(&item, Hex32([1; 32]))).collect()
    };
    for (count, taken) in [(0, false), (1, true), (PAGE_MAX_ITEMS as u64, true), (PAGE_MAX_ITEMS as u64 + 1, false)] {
        let sealed = retractions(count);
        let checked = check(&sign(&sealed, &key), &sealed, &key);
        assert_eq!(checked.is_ok(), taken, "{count}: {checked:?}");
    }
    let mut sealed = retractions(1);
    sealed[0].bytes.resize(ITEM_MAX_BYTES + 1, b' ');
    assert!(matches!(check(&sign(&sealed, &key), &sealed, &key), Err(RefusedPage::Size { number: 8, .. })));
}

#[test]
fn the_largest_record_fits_into_an_item_whatever_is_in_it() {
    let record = RecordId::new(member("FR"), RecordKind::Incident, [1; 10]);
    // Quotation marks grow most as they are escaped twice.
    for filler in ["w", "\"", "\\", "é"] {
        let with = |description: &str| {
            let document = serde_json::json!({
                "title": "x", "marking": { "tier": "official", "releasable_to": ["DE"] },
                "date": "2017", "place": "y", "sources": [{ "description": description }],
            });
            document.to_string().into_bytes()
        };
        let mut count = 50_000;
        while Document::from_json(RecordKind::Incident, &with(&filler.repeat(count))).is_err() && count > 1 {
            count /= 2;
        }
        let text = with(&filler.repeat(count));
        let document = Document::from_json(RecordKind::Incident, &text).unwrap();
        let views = Views::of(record, VersionId::new([2; 16]), &document, [Hex32([3; 32]), Hex32([4; 32])]);
        let documents = views.up_to(Action::ReadSources, document.marking(), None, Vec::new());
        let item = PageItem { number: canonical::MAX_INTEGER, record, change: Change::Upsert(documents) };
        let sealed = SealedItem::new(&item, Hex32([1; 32]));
        assert!(sealed.bytes.len() < 4_000 + 3 * text.len(), "{} of {}", sealed.bytes.len(), text.len());
    }
}

#[test]
fn a_receipt_is_the_receivers_word() {
    let key = SigningKey::from_bytes(&[8; 32]);
    let statement = ReceiptStatement {
        federation: Hex32([7; 32]),
        from: member("FR"),
        to: member("DE"),
        root: Hex32([1; 32]),
        last_number: 9,
        received_at: "2026-11-23T09:00:00Z".parse().unwrap(),
    };
    let envelope = sign_receipt(&statement, &key);
    assert_eq!(verify_receipt(&envelope, &key.verifying_key()).unwrap(), statement);
    let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
    assert!(verify_receipt(&envelope, &other).is_err());
}
