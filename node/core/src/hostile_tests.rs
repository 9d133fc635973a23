//! Bytes from outside never panic, whoever wrote them; and what can be read has one meaning.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::canonical::{self, Hex32};
use crate::checkpoint::SignedCheckpoint;
use crate::dsse::Envelope;
use crate::export::ListExport;
use crate::genesis::Genesis;
use crate::list::{Choice, ListState, PublicText, Submission, check_accepted};
use crate::merkle;
use crate::proposal::{Proposal, PublicPart};
use crate::record::{RecordId, RecordKind, VersionId};
use crate::release::Action;
use crate::testing::{Depth, Federation, History, MemberKeys, member, public_text};
use crate::view::{Change, PAGE_TYPE, PageItem, PageStatement, SealedItem, Views, verify_page};

const PROPOSAL: &str = r#"{"title":"Case of Ada","marking":{"tier":"confidential","caveats":["orcon"],"releasable_to":["DE","OPCW"],
"compartments":["ALPHA"],"handling":"with_consent","national":"CONFIDENTIEL"},"subject":{"kind":"person","names":[
{"full":"DOE, Ada","kind":"primary","script":"Latn","language":"en"},{"full":"ديو","script":"Arab","quality":"weak"}],
"birth_dates":["1961~","1960/1962-02"],"nationalities":["SY"],"identifiers":[{"kind":"passport","value":"A 1","country":"SY"}],
"addresses":[{"city":"Damascus","country":"SY"}],"programmes":[{"authority":"US-OFAC","code":"NPWMD"}],
"links":[{"relation":"acts_for","name":"Branch 450","record":{"list":"us-ofac-sdn","id":"1"}}]},
"statement_of_case":"The case.\nIn two lines.","measures":[{"kind":"asset_freeze"}],
"incidents":[{"date":"2013-08-21","place":"Ghouta","country":"SY","agent":"sarin"}],"assessment":"What we think.",
"sources":[{"description":"A report","reliability":"B","credibility":2}]}"#;

struct Samples {
    history: History,
    documents: Vec<Vec<u8>>,
}

/// One valid document of each kind, made once.
static SAMPLES: LazyLock<Samples> = LazyLock::new(|| {
    let mut history = History::new(Federation::new(3));
    history.list(member("FR"));
    let export = history.export(Depth::Members, &history.federation.voters());
    let documents = vec![
        history.accepted[0].envelope.clone(),
        history.federation.bytes.clone(),
        PROPOSAL.into(),
        public_text(1).bytes,
        export.checkpoint.clone().into_bytes(),
        export.to_bytes(),
    ];
    Samples { history, documents }
});

/// Reads the bytes as everything that comes from outside.
fn read_all(bytes: &[u8]) {
    let Samples { history, .. } = &*SAMPLES;
    let genesis = &history.federation.genesis;
    if let Ok(envelope) = Envelope::from_bytes(bytes) {
        assert_eq!(envelope.to_bytes(), bytes, "an envelope has one text");
    }
    let _ = check_accepted(genesis.federation(), bytes);
    let _ = Genesis::from_bytes(bytes);
    let _ = Proposal::from_json(bytes);
    let _ = PublicPart::from_json(bytes);
    let _ = ListExport::verify(bytes, genesis);
    if let Ok(note) = SignedCheckpoint::from_bytes(bytes) {
        assert_eq!(SignedCheckpoint::from_bytes(&note.to_bytes()).unwrap(), note);
        let _ = crate::export::cosigners_of(&note, history.state.roster().voters());
        let _ = note.verify(&note.checkpoint.origin, &MemberKeys::of(0).node.verifying_key());
    }
    let mut state = ListState::new(genesis.clone());
    let text = PublicText { salt: Hex32([1; 32]), bytes: bytes.to_vec() };
    let _ = state.apply(&Submission { envelope: bytes.to_vec(), public_text: Some(text) });
}

#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Copy(Index, Index, usize),
    Truncate(Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let token = prop::sample::select(vec![
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "-1",
        "0.5",
        "1e999",
        "18446744073709551615",
        "9007199254740992",
        "\\u0000",
        "\\ud800",
        "\u{202E}",
        "\n\n",
        "— ",
        "=",
        "\u{0}",
        "-9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
    ]);
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), token).prop_map(|(at, text)| Edit::Insert(at, text.as_bytes().to_vec())),
        (any::<Index>(), 1..40_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (any::<Index>(), any::<Index>(), 1..200_usize).prop_map(|(from, to, len)| Edit::Copy(from, to, len)),
        any::<Index>().prop_map(Edit::Truncate),
    ];
    prop::collection::vec(edit, 1..5)
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits {
        let len = bytes.len();
        let place = |at: &Index| if len == 0 { 0 } else { at.index(len) };
        match edit {
            Edit::Set(at, byte) => {
                if let Some(found) = bytes.get_mut(place(at)) {
                    *found = *byte;
                }
            }
            Edit::Insert(at, text) => drop(bytes.splice(place(at)..place(at), text.iter().copied())),
            Edit::Remove(at, count) => drop(bytes.drain(place(at)..(place(at) + count).min(len))),
            Edit::Copy(from, to, count) => {
                let part = bytes[place(from)..(place(from) + count).min(len)].to_vec();
                drop(bytes.splice(place(to)..place(to), part));
            }
            Edit::Truncate(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

/// Where a text can be read, its display reads as the same again.
fn reads_back<T: FromStr + Display + Debug + PartialEq>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().unwrap(), value, "{text}");
    }
}

fn read_names(text: &str) {
    reads_back::<crate::MemberId>(text);
    reads_back::<crate::RecordId>(text);
    reads_back::<crate::VersionId>(text);
    reads_back::<crate::Timestamp>(text);
    reads_back::<crate::SpiffeId>(text);
    reads_back::<crate::TrustDomain>(text);
    reads_back::<crate::KeyId>(text);
    reads_back::<crate::dsse::PublicKey>(text);
    reads_back::<crate::edtf::DateRange>(text);
    reads_back::<crate::rule::Rule>(text);
    reads_back::<crate::list::EntryId>(text);
    reads_back::<crate::list::CommandId>(text);
    reads_back::<crate::list::MeasureId>(text);
    reads_back::<crate::roster::PersonName>(text);
    reads_back::<crate::rule::BallotKind>(text);
    reads_back::<Hex32>(text);
    reads_back::<crate::subject::Script>(text);
    reads_back::<crate::subject::Slug>(text);
}

#[test]
fn the_samples_are_valid() {
    let Samples { history, documents } = &*SAMPLES;
    assert!(Envelope::from_bytes(&documents[0]).is_ok());
    assert!(Genesis::from_bytes(&documents[1]).is_ok());
    Proposal::from_json(&documents[2]).unwrap();
    assert!(PublicPart::from_json(&documents[3]).is_ok());
    assert!(SignedCheckpoint::from_bytes(&documents[4]).is_ok());
    assert!(ListExport::verify(&documents[5], &history.federation.genesis).is_ok());
}

#[test]
fn depth_and_size_are_bounded() {
    for open in ["[", "{\"subject\":", "{\"members\":[", "{\"a\":[", "\"\\u"] {
        read_all(open.repeat(50_000).as_bytes());
    }
    read_all(&vec![b'\n'; 100_000]);
    read_all("— ".repeat(30_000).as_bytes());
    read_all(format!("comity\n1\nAAAA\n\n{}", "\u{2014} a AAAAAAA=\n".repeat(10_000)).as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn edited_documents_are_read_or_refused(which in 0..6_usize, edits in edits()) {
        read_all(&edited(&SAMPLES.documents[which], &edits));
    }

    #[test]
    fn any_text_is_a_name_or_refused(text in "\\PC{0,40}|[A-Z]{1,9}-P?-?[0-9A-Z]{0,17}|[0-9a-f]{15,65}|quorum\\([0-9+ ]{1,9}/[0-9]{1,5}\\)") {
        read_names(&text);
    }

    #[test]
    fn any_date_is_a_date_or_refused(
        text in "-?[0-9]{3,6}(-[01][0-9](-[0-3][0-9](T[0-2][0-9]:[0-6][0-9](:[0-6][0-9](\\.[0-9]{1,10})?)?(Z|[+-][0-2][0-9]:[0-6][0-9])?)?)?)?~?(/[0-9]{4}(-[01][0-9])?~?)?",
    ) {
        read_names(&text);
    }

    #[test]
    fn a_sender_with_its_own_key_cannot_make_a_receiver_panic(
        first in prop_oneof![Just(0_u64), Just(canonical::MAX_INTEGER), Just(u64::MAX), any::<u64>()],
        count in prop_oneof![Just(2_u64), any::<u64>()],
        statement_edits in prop::option::weighted(0.3, edits()),
        item_edits in prop::option::weighted(0.7, edits()),
    ) {
        let federation = &SAMPLES.history.federation;
        let key = &federation.keys(member("FR")).node;
        let record = RecordId::new(member("FR"), RecordKind::Proposal, [1; 10]);
        let proposal = Proposal::from_json(PROPOSAL.as_bytes()).unwrap();
        let document = crate::document::Document::Proposal(Box::new(proposal));
        let views = Views::of(record, VersionId::new([2; 16]), &document, [Hex32([3; 32]), Hex32([4; 32])]);
        let items = [Change::Upsert(views.up_to(Action::ReadSources, document.marking(), None, Vec::new())), Change::Retract];
        let mut sealed: Vec<SealedItem> = items
            .into_iter()
            .zip([first, first.wrapping_add(1)])
            .map(|(change, number)| SealedItem::new(&PageItem { number, record, change }, Hex32([5; 32])))
            .collect();
        if let Some(edits) = &item_edits {
            sealed[0].bytes = edited(&sealed[0].bytes, edits);
        }
        let statement = PageStatement {
            federation: federation.genesis.federation(),
            from: member("FR"),
            to: member("DE"),
            first_number: first,
            count,
            root: merkle::root_of(sealed.iter().map(SealedItem::leaf)),
            released_at: federation.genesis.document().created,
        };
        let mut payload = canonical::to_vec(&statement);
        if let Some(edits) = &statement_edits {
            payload = edited(&payload, edits);
        }
        let envelope = Envelope::sign(PAGE_TYPE, payload, key);
        let result = verify_page(
            &envelope,
            &sealed,
            &key.verifying_key(),
            federation.genesis.federation(),
            member("FR"),
            member("DE"),
        );
        if item_edits.is_none() && statement_edits.is_none() {
            prop_assert_eq!(result.is_ok(), count == 2 && first < canonical::MAX_INTEGER);
        }
    }
}

#[test]
fn a_vote_on_what_is_not_there_is_refused_and_not_a_panic() {
    let history = &SAMPLES.history;
    let vote = history.federation.vote(member("DE"), Hex32([0; 32]), Choice::Yes, 1);
    assert!(history.state.clone().apply(&vote).is_err());
}
