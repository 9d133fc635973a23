//! What every node must refuse alike, and that what it accepts is what the members said.

// mod attempts;
mod entries;
mod form;
mod keys;
// mod oracle;
mod outcome;
mod refusal;
mod roster;
mod silence;
mod votes;

use crate::member::MemberId;
use crate::testing::{Federation, History, member};

/// FR, DE, CA, AU, who list by two thirds: three of four.
fn four() -> History {
    History::new(Federation::new(4))
}

fn fr() -> MemberId {
    member("FR")
}

fn de() -> MemberId {
    member("DE")
}

fn ca() -> MemberId {
    member("CA")
}

fn au() -> MemberId {
    member("AU")
}
