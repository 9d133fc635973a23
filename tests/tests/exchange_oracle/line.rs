//! What passes on the line from one member to another, looked at by somebody who knows what may.

use std::collections::BTreeMap;

use comity_app::Page;
use comity_core::view::{Change, PageItem};

use crate::documents::shown;
use crate::oracle::{Member, Oracle};
use crate::plan::MEMBERS;

/// One line, as it was seen so far.
#[derive(Debug, Default)]
pub struct Line {
    /// Which record each number is about: the first is number 1.
    numbers: Vec<String>,
    /// Pages that left and will arrive late.
    pub late: Vec<Page>,
    /// Something arrived, or will, that the receiver did not sign for: what it holds is known after the next exchange.
    pub unsettled: bool,
}

impl Line {
    /// Looks at a page that follows number `after`, made between two instants. Panics where it tells what it must not.
    pub fn see(&mut self, oracle: &mut Oracle, (from, to): (Member, Member), after: u64, page: &Page, made: [i64; 2]) {
        let route = format!("{} to {}", MEMBERS[from], MEMBERS[to]);
        assert!(!page.items.is_empty(), "{route}: a page without items");
        assert_eq!(page.touched.len(), page.items.len(), "{route}: each item is in the access record");
        for (n, (sealed, access)) in (after + 1..).zip(page.items.iter().zip(&page.touched)) {
            let item: PageItem = serde_json::from_slice(&sealed.bytes).unwrap();
            let id = item.record.to_string();
            assert_eq!(item.number, n, "{route}: numbers are dense");
            let place = usize::try_from(n).unwrap() - 1;
            match self.numbers.get(place) {
                Some(before) => assert_eq!(*before, id, "{route}: number {n} is about another record than before"),
                None => {
                    assert_eq!(place, self.numbers.len(), "{route}: number {n} was never reached");
                    self.numbers.push(id.clone());
                }
            }
            assert_eq!(access.resource, id, "{route}: the access record");
            assert!(!access.because.is_empty(), "{route}: the access record says why");
            let record = oracle.record(&id);
            let view = match &item.change {
                Change::Retract => {
                    assert!(record.went_to.contains(&to), "{route}: {id} is taken back and was never given");
                    "retract".to_owned()
                }
                Change::Upsert(documents) => {
                    let given = shown(documents);
                    assert_eq!(given.len(), documents.len(), "{route}: one document for a view");
                    let allowed = |at| {
                        let allowed = oracle.documents(record, to, at).unwrap_or_default();
                        given.iter().all(|(view, document)| allowed.get(view) == Some(document))
                    };
                    assert!(
                        oracle.moments(made).into_iter().any(allowed),
                        "{route}: {id} is more than it may see:\n{given:#?}\nallowed:\n{:#?}\nof {record:#?}",
                        oracle.documents(record, to, made[0]),
                    );
                    assert_eq!(access.version.unwrap().to_string(), record.version, "{route}: the access record");
                    ["read_sources", "read", "discover"]
                        .into_iter()
                        .find(|v| given.contains_key(*v))
                        .unwrap()
                        .to_owned()
                }
            };
            assert_eq!(access.view.as_ref(), Some(&view), "{route}: the access record");
            if view != "retract" {
                oracle.record_mut(&id).went_to.insert(to);
            }
        }
        let last = after + page.items.len() as u64;
        assert_eq!(page.sent.last_number, last, "{route}");
    }
}

/// The lines by originator and receiver.
pub type Lines = BTreeMap<(Member, Member), Line>;
