use comity_core::merkle::{self, MerkleLog};
use comity_core::release::Action;
use comity_core::view::Views;

use super::*;
use crate::test_store::{TestStore, at, member, proposal, record, version};

fn upsert(number: u64, of: u8, title: &str) -> PageItem {
    let (record, version) = (record("DE", of), version(u8::try_from(number).unwrap()));
    let views = Views::of(record, version, &proposal(title), [Hex32([1; 32]), Hex32([2; 32])]);
    PageItem {
        number,
        record,
        change: Change::Upsert(views.up_to(Action::Read, proposal(title).marking(), None, Vec::new())),
    }
}

fn retraction(number: u64, of: u8) -> PageItem {
    PageItem { number, record: record("DE", of), change: Change::Retract }
}

fn page(items: Vec<PageItem>, name: &str) -> ReceivedPage {
    let sealed: Vec<SealedItem> = items.iter().map(|i| SealedItem::new(i, Hex32([i.number as u8; 32]))).collect();
    let mut log = MerkleLog::default();
    sealed.iter().for_each(|item| log.append(item.leaf()));
    let items = items.into_iter().zip(sealed).zip(0..);
    let items = items.map(|((item, sealed), leaf_index)| {
        let path = log.prove_inclusion(log.size(), leaf_index).unwrap();
        ReceivedItem { sealed, item, leaf_index, path }
    });
    ReceivedPage {
        from: member("DE"),
        items: items.collect(),
        // The root stands for the envelope that would sign it.
        envelope: log.root().0.to_vec(),
        cursor: name.as_bytes().to_vec(),
        at: at(1),
    }
}

/// A page from DE of upserts: number, record, title.
pub(crate) fn page_of(items: &[(u64, u8, &str)]) -> ReceivedPage {
    page(items.iter().map(|(number, of, title)| upsert(*number, *of, title)).collect(), "c")
}

/// A page from DE of retractions: number, record.
pub(crate) fn retractions(items: &[(u64, u8)]) -> ReceivedPage {
    page(items.iter().map(|(number, of)| retraction(*number, *of)).collect(), "r")
}

impl Copies {
    /// A connection to look at what nobody is shown.
    pub(crate) async fn read_raw(&self) -> Connection {
        self.database.read().await.unwrap()
    }
}

#[tokio::test]
async fn a_copy_proves_its_origin_alone() {
    let test = TestStore::new().await;
    let copies = test.store.copies();
    let sent = page(vec![upsert(1, 1, "One"), upsert(2, 2, "Two"), retraction(3, 9)], "c3");
    let applied = copies.apply_page(sent).await.unwrap();
    assert_eq!(applied, AppliedPage { applied: 3, repeated: 0, last_number: 3 });
    let copy = copies.get(record("DE", 2)).await.unwrap().unwrap();
    assert_eq!((copy.leaf_index, copy.item.number, copy.origin), (1, 2, member("DE")));
    let root = Hex32(copy.page_envelope.as_slice().try_into().unwrap());
    assert!(merkle::check_inclusion(&copy.path, 3, root, copy.leaf_index, copy.sealed.leaf()));
    assert_eq!(copies.progress(member("DE")).await.unwrap(), Progress { last_number: 3, cursor: b"c3".to_vec() });
    assert_eq!(copies.progress(member("CA")).await.unwrap(), Progress { last_number: 0, cursor: Vec::new() });
}

#[tokio::test]
async fn repeated_numbers_pass_and_missing_ones_are_refused() {
    let test = TestStore::new().await;
    let copies = test.store.copies();
    copies.apply_page(page(vec![upsert(1, 1, "One"), upsert(2, 2, "Two")], "c2")).await.unwrap();
    let before = copies.get(record("DE", 1)).await.unwrap();

    let again = copies.apply_page(page(vec![retraction(1, 1)], "old")).await.unwrap();
    assert_eq!(again, AppliedPage { applied: 0, repeated: 1, last_number: 2 });
    assert_eq!(copies.progress(member("DE")).await.unwrap().cursor, b"c2", "it does not go back");
    // Whoever sends all of it anew has made its cursors anew.
    let again = copies.apply_page(page(vec![retraction(1, 1), upsert(2, 2, "Two")], "anew")).await.unwrap();
    assert_eq!(again, AppliedPage { applied: 0, repeated: 2, last_number: 2 });
    assert_eq!(copies.progress(member("DE")).await.unwrap().cursor, b"anew");
    for gap in [
        vec![upsert(4, 3, "x")],
        vec![upsert(3, 3, "x"), upsert(5, 4, "x")],
        vec![upsert(3, 3, "x"), upsert(2, 4, "x")],
    ] {
        let refused = copies.apply_page(page(gap, "gap")).await;
        assert!(matches!(refused, Err(CopyError::Gap { .. })), "{refused:?}");
    }
    let mut foreign = page(vec![upsert(3, 3, "x")], "f");
    foreign.from = member("CA");
    assert!(matches!(copies.apply_page(foreign).await, Err(CopyError::ForeignRecord { .. })));
    assert_eq!(copies.get(record("DE", 3)).await.unwrap(), None, "nothing of a refused page stays");
    assert_eq!(copies.get(record("DE", 1)).await.unwrap(), before);

    let overlapping = copies.apply_page(page(vec![upsert(2, 2, "Two"), upsert(3, 1, "New")], "c3")).await.unwrap();
    assert_eq!(overlapping, AppliedPage { applied: 1, repeated: 1, last_number: 3 });
    let copy = copies.get(record("DE", 1)).await.unwrap().unwrap();
    assert_eq!((copy.item.number, copy.leaf_index), (3, 1));
    assert_eq!(copy.position, before.unwrap().position, "paging does not shift");
}

#[tokio::test]
async fn a_retraction_destroys_the_copy_and_the_page_that_nothing_stands_on() {
    let test = TestStore::new().await;
    let copies = test.store.copies();
    copies.apply_page(page(vec![upsert(1, 1, "One"), upsert(2, 2, "Two")], "c2")).await.unwrap();
    copies.apply_page(page(vec![upsert(3, 3, "Three")], "c3")).await.unwrap();
    copies.apply_page(page(vec![retraction(4, 1)], "c4")).await.unwrap();
    assert_eq!(copies.get(record("DE", 1)).await.unwrap(), None);
    assert!(copies.get(record("DE", 2)).await.unwrap().is_some());
    copies.apply_page(page(vec![upsert(5, 2, "Two again")], "c5")).await.unwrap();
    let mut connection = copies.database.read().await.unwrap();
    let pages = query("SELECT COUNT(*) AS pages FROM copy_page").fetch_one(&mut connection).await.unwrap();
    assert_eq!(columns::count(&pages, "pages").unwrap(), 2);
    drop(connection);
    let test = test.reopen().await;
    let listed = test.store.copies().list(None, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|c| c.record).collect::<Vec<_>>(), [record("DE", 3), record("DE", 2)]);
    let rest = test.store.copies().list(None, Some(listed[0].position), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
}
