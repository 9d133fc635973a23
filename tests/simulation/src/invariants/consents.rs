//! Nothing is adopted by votes without the consents that its rule asks, and what is published names exactly those who
//! consented, by what they signed.

use std::collections::BTreeSet;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::{self, Choice, Consent, Publication};

use super::{Invariant, adopted_wrongly};
use crate::history::NodeView;
use crate::judge::{Authority, How, Judge};

/// How many publications were looked at.
#[derive(Default)]
pub(crate) struct Consents(u64);

impl Invariant for Consents {
    fn name(&self) -> &'static str {
        "nothing is adopted without its consents"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        if !node.has_grown() {
            return Ok(());
        }
        let wrong = adopted_wrongly(node).find(|ballot| matches!(ballot.how, How::Consents(_)));
        if let Some(ballot) = wrong {
            return Err(format!("{} shows ballot {} as adopted: {:?}", node.member, ballot.id, ballot.end));
        }
        while let Some(bytes) = node.list.publication(self.0) {
            check(node.judge, self.0, bytes).map_err(|problem| format!("publication {}: {problem}", self.0))?;
            self.0 += 1;
        }
        Ok(())
    }
}

fn check(judge: &Judge, number: u64, bytes: &[u8]) -> Result<(), String> {
    let publication: Publication = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let (_, expected) = judge.published.get(number as usize).ok_or("nothing was to be published")?;
    let (ballot, decided) = match (expected, publication.by) {
        (Authority::Member(member), list::Authority::Member(by)) if *member == by.member => return Ok(()),
        (Authority::Ballot(id), list::Authority::Ballot(decided)) if *id == decided.ballot => {
            (judge.ballot(*id).ok_or("no such ballot")?, decided)
        }
        (expected, found) => return Err(format!("stands on {found:?}, not on {expected:?}")),
    };
    let electorate: BTreeSet<MemberId> = decided.electorate.iter().copied().collect();
    if electorate != ballot.electorate {
        return Err(format!("names as electorate {electorate:?}, it was {:?}", ballot.electorate));
    }
    let standing = ballot.standing().into_iter();
    let yes =
        standing.filter(|(vote, _)| vote.choice == Choice::Yes).map(|(vote, hash)| (vote.member, *hash)).collect();
    same("consents", yes, &decided.consents)?;
    if !matches!(ballot.how, How::Silence(_)) {
        return if decided.silent.is_empty() { Ok(()) } else { Err("names silence where none consents".to_owned()) };
    }
    let silent = ballot.present.iter().copied().filter(|(member, _)| ballot.electorate.contains(member)).collect();
    same("silence", silent, &decided.silent)?;
    let absent = ballot.electorate.iter().filter(|member| !ballot.is_present(**member));
    if absent.eq(decided.absent.iter()) { Ok(()) } else { Err(format!("names as absent {:?}", decided.absent)) }
}

fn same(what: &str, expected: BTreeSet<(MemberId, Hex32)>, found: &[Consent]) -> Result<(), String> {
    let found: BTreeSet<_> = found.iter().map(|consent| (consent.member, consent.command)).collect();
    if found == expected { Ok(()) } else { Err(format!("names {what} {found:?}, there are {expected:?}")) }
}
