//! The samples: every combination of what the policies of a file tell apart.

use std::collections::BTreeSet;

use cedar_policy::{Entities, PolicySet};
use comity_core::marking::{Caveat, Compartment, Handling};
use comity_core::release::{Action, Party, PartyStatus, RecordHeader};
use comity_core::{Marking, MemberId, RecordId, RecordKind, Tier};

use super::mentions::{Aspect, Mentions};
use crate::probe::{Truth, truth};
use crate::schema::model;

/// The values that are tried, for each aspect.
pub(super) struct Space {
    party: MemberId,
    aspects: BTreeSet<Aspect>,
    /// The last is one that no policy names. So are the last originator, compartment and party.
    records: Vec<RecordId>,
    originators: Vec<MemberId>,
    compartments: Vec<Compartment>,
    parties: Vec<MemberId>,
}

/// A choice of one value for some aspects, by number.
pub(super) type Choice = Vec<(Aspect, usize)>;

/// A sample as Cedar is asked about it.
#[derive(Debug, Clone)]
struct Sample {
    party: Party,
    header: RecordHeader,
    onward: bool,
    action: Action,
}

impl Space {
    pub(super) fn new(party: MemberId, mentions: &Mentions, named: BTreeSet<RecordId>) -> Self {
        let texts = |aspect| {
            let own = mentions.texts.get(&aspect).into_iter().flatten();
            own.chain(&mentions.loose).map(String::as_str).collect::<Vec<_>>()
        };
        let members = |texts| with_other(texts, party, |n| format!("Z{}", letters(n)));
        let originators: Vec<String> = named.iter().map(|id| id.originator().to_string()).collect();
        let originators = texts(Aspect::Originator).into_iter().chain(originators.iter().map(String::as_str)).collect();
        let other_record = (0..=u16::MAX).map(|n| {
            let [high, low] = n.to_be_bytes();
            RecordId::new(party, RecordKind::Proposal, [high, low, 0, 0, 0, 0, 0, 0, 0, 0])
        });
        let other_record = other_record.into_iter().find(|id| !named.contains(id));
        Self {
            party,
            aspects: mentions.aspects.clone(),
            originators: members(originators),
            records: named.into_iter().chain(other_record).collect(),
            compartments: with_other(texts(Aspect::Compartments), "", |n| format!("OTHER-{n}")),
            parties: members(texts(Aspect::ReleasableTo)),
        }
    }

    /// How many values are tried.
    pub(super) fn size(&self, aspect: Aspect) -> usize {
        let subsets =
            |items: usize| u32::try_from(items).ok().and_then(|n| 2_usize.checked_pow(n)).unwrap_or(usize::MAX);
        match aspect {
            Aspect::Record => self.records.len(),
            Aspect::Kind => RecordKind::ALL.len(),
            Aspect::Originator => self.originators.len(),
            Aspect::Tier | Aspect::Ceiling => Tier::ALL.len(),
            Aspect::Caveats | Aspect::Onward | Aspect::Answers | Aspect::Voting => 2,
            Aspect::Compartments => subsets(self.compartments.len()),
            Aspect::Handling | Aspect::Action => 3,
            Aspect::ReleasableTo => subsets(self.parties.len()),
        }
    }

    /// The values that are enough for one policy: it tells no other apart from one of these.
    pub(super) fn values_for(&self, aspect: Aspect, mentions: &Mentions) -> Values {
        let all = || Values::One { kept: (0..self.size(aspect)).collect(), other: None };
        if mentions.whole.contains(&aspect)
            || matches!(aspect, Aspect::Kind | Aspect::Originator) && self.is_linked(aspect)
        {
            return all();
        }
        let texts: BTreeSet<&str> =
            mentions.texts.get(&aspect).into_iter().flatten().chain(&mentions.loose).map(String::as_str).collect();
        match aspect {
            Aspect::Kind => Values::of(&RecordKind::ALL.map(RecordKind::as_str), &texts),
            Aspect::Handling => Values::of(&HANDLINGS.map(Handling::as_str), &texts),
            Aspect::Originator => {
                Values::of(&self.originators.iter().map(MemberId::as_str).collect::<Vec<_>>(), &texts)
            }
            Aspect::Compartments => {
                Values::subsets_of(&self.compartments.iter().map(Compartment::as_str).collect::<Vec<_>>(), &texts)
            }
            Aspect::ReleasableTo => {
                let also = BTreeSet::from([self.party.as_str()]);
                let texts = &texts | &also;
                Values::subsets_of(&self.parties.iter().map(MemberId::as_str).collect::<Vec<_>>(), &texts)
            }
            _ => all(),
        }
    }

    /// Whether the value of one aspect may exclude that of another, here where the file speaks of both.
    pub(super) fn is_linked(&self, aspect: Aspect) -> bool {
        let both = |other| self.aspects.contains(&other);
        match aspect {
            Aspect::Record | Aspect::Answers => true,
            Aspect::Kind => both(Aspect::Record) || both(Aspect::Answers),
            Aspect::Originator => both(Aspect::Record),
            Aspect::Tier => both(Aspect::Ceiling),
            Aspect::Ceiling => both(Aspect::Tier),
            Aspect::ReleasableTo => both(Aspect::Onward),
            Aspect::Onward => both(Aspect::ReleasableTo),
            Aspect::Caveats | Aspect::Compartments | Aspect::Handling | Aspect::Voting | Aspect::Action => false,
        }
    }

    /// Whether policies are ever asked about such a record, as far as the chosen aspects tell: the hard rules come first, and
    /// some things never go together.
    pub(super) fn is_possible(&self, choice: &[(Aspect, usize)]) -> bool {
        let sample = self.sample(choice);
        let has = |aspect| choice.iter().any(|(chosen, _)| *chosen == aspect);
        let value = |aspect| choice.iter().find(|(chosen, _)| *chosen == aspect).map(|(_, value)| *value);
        let header = &sample.header;
        let named = value(Aspect::Record).is_some_and(|record| record + 1 < self.records.len());
        let fits_record = !named
            || (!has(Aspect::Kind) || header.id.kind() == header.kind)
                && (!has(Aspect::Originator) || header.id.originator() == header.originator);
        let kind = if has(Aspect::Kind) { Some(header.kind) } else { named.then(|| header.id.kind()) };
        let fits_kind = !has(Aspect::Answers)
            || match kind {
                Some(RecordKind::Opinion | RecordKind::Request) => header.about.is_some(),
                Some(RecordKind::Grant) | None => true,
                Some(_) => header.about.is_none(),
            };
        let below_ceiling = !has(Aspect::Tier) || !has(Aspect::Ceiling) || header.tier <= sample.party.ceiling;
        let releasable = !has(Aspect::ReleasableTo)
            || !has(Aspect::Onward)
            || sample.onward
            || header.marking.releasable_to.contains(&self.party);
        fits_record && fits_kind && below_ceiling && releasable
    }

    fn sample(&self, choice: &[(Aspect, usize)]) -> Sample {
        let party = Party { member: self.party, status: PartyStatus::Active, ceiling: Tier::TopSecret, voting: true };
        let id = RecordId::new(self.party, RecordKind::Proposal, [0xFF; 10]);
        let header = RecordHeader::new(id, Marking::originator_only(Tier::Public));
        let mut sample = Sample { party, header, onward: false, action: Action::Discover };
        for (aspect, value) in choice {
            self.set(&mut sample, *aspect, *value);
        }
        sample
    }

    fn set(&self, sample: &mut Sample, aspect: Aspect, value: usize) {
        let header = &mut sample.header;
        let marking = &mut header.marking;
        let tier = || Tier::ALL.get(value).copied().unwrap_or(Tier::TopSecret);
        match aspect {
            Aspect::Record => header.id = self.records.get(value).copied().unwrap_or(header.id),
            Aspect::Kind => header.kind = RecordKind::ALL.get(value).copied().unwrap_or(header.kind),
            Aspect::Originator => header.originator = self.originators.get(value).copied().unwrap_or(header.originator),
            Aspect::Tier => header.tier = tier(),
            Aspect::Caveats => marking.caveats = (value == 1).then_some(Caveat::Orcon).into_iter().collect(),
            Aspect::Compartments => marking.compartments = subset(&self.compartments, value),
            Aspect::Handling => {
                marking.handling = HANDLINGS.get(value).copied().unwrap_or(Handling::Never);
            }
            Aspect::ReleasableTo => marking.releasable_to = subset(&self.parties, value),
            Aspect::Onward => sample.onward = value == 1,
            Aspect::Answers => header.about = (value == 1).then_some(header.id),
            Aspect::Voting => sample.party.voting = value == 1,
            Aspect::Ceiling => sample.party.ceiling = tier(),
            Aspect::Action => sample.action = Action::ALL.get(value).copied().unwrap_or(Action::Discover),
        }
    }
}

const HANDLINGS: [Handling; 3] = [Handling::Free, Handling::WithConsent, Handling::Never];

/// Some of the values of an aspect, and which of them stands for each of the others.
#[derive(Debug, Clone)]
pub(super) enum Values {
    /// Single values: those kept, and the place among them of the one that stands for all others.
    One { kept: Vec<usize>, other: Option<usize> },
    /// Subsets, as bits: those of the items kept, and of one that stands for all others.
    Subsets { kept: Vec<usize>, other: usize },
}

impl Values {
    fn of(all: &[&str], named: &BTreeSet<&str>) -> Self {
        let is_named = |n: &usize| all.get(*n).is_some_and(|text| named.contains(text));
        let mut kept: Vec<usize> = (0..all.len()).filter(is_named).collect();
        let other = (0..all.len()).rev().find(|n| !is_named(n)).map(|other| {
            kept.push(other);
            kept.len() - 1
        });
        Self::One { kept, other }
    }

    fn subsets_of(all: &[&str], named: &BTreeSet<&str>) -> Self {
        let is_named = |n: &usize| all.get(*n).is_some_and(|text| named.contains(text));
        let other = all.len().saturating_sub(1);
        Self::Subsets { kept: (0..other).filter(is_named).collect(), other }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One { kept, .. } => kept.len(),
            Self::Subsets { kept, .. } => subsets(kept.len() + 1),
        }
    }

    /// The value at a place.
    pub(super) fn value(&self, place: usize) -> Option<usize> {
        match self {
            Self::One { kept, .. } => kept.get(place).copied(),
            Self::Subsets { kept, other } => {
                let items = kept.iter().chain([other]).enumerate();
                Some(items.map(|(n, item)| (place >> n & 1) << item).sum())
            }
        }
    }

    /// The place of the value that stands for this one.
    pub(super) fn place(&self, value: usize) -> Option<usize> {
        match self {
            Self::One { kept, other } => kept.iter().position(|kept| *kept == value).or(*other),
            Self::Subsets { kept, .. } => {
                let known: usize = kept.iter().map(|item| 1 << item).sum();
                let place: usize = kept.iter().enumerate().map(|(n, item)| (value >> item & 1) << n).sum();
                Some(place | usize::from(value & !known != 0) << kept.len())
            }
        }
    }
}

fn subsets(items: usize) -> usize {
    u32::try_from(items).ok().and_then(|n| 2_usize.checked_pow(n)).unwrap_or(usize::MAX)
}

/// Asks one policy about samples.
pub(super) struct Probe<'a> {
    space: &'a Space,
    policies: &'a PolicySet,
    /// The entities of the last sample, and the choice without its action that they are of.
    last: Option<(Choice, Entities)>,
}

impl<'a> Probe<'a> {
    /// `policies` holds that one.
    pub(super) fn new(space: &'a Space, policies: &'a PolicySet) -> Self {
        Self { space, policies, last: None }
    }

    pub(super) fn ask(&mut self, choice: &Choice) -> Option<Truth> {
        let sample = self.space.sample(choice);
        let but_action: Choice = choice.iter().copied().filter(|(aspect, _)| *aspect != Aspect::Action).collect();
        let entities = match self.last.take() {
            Some((of, entities)) if of == but_action => entities,
            _ => model()?.entities(&sample.party, &sample.header, sample.onward)?,
        };
        let request = model()?.request(&sample.party, sample.action, &sample.header)?;
        let truth = truth(self.policies, &request, &entities);
        self.last = Some((but_action, entities));
        Some(truth)
    }
}

fn subset<T: Clone + Ord>(items: &[T], bits: usize) -> BTreeSet<T> {
    items.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, item)| item.clone()).collect()
}

/// Those of the texts that read as `T`, `also`, and one more.
fn with_other<T, A>(texts: Vec<&str>, also: A, other: impl Fn(usize) -> String) -> Vec<T>
where
    T: std::str::FromStr + Clone + Ord,
    A: ToString,
{
    let mut values: BTreeSet<T> = texts.into_iter().filter_map(|text| text.parse().ok()).collect();
    values.extend(also.to_string().parse::<T>());
    let fresh = (0..).map(other).filter_map(|text| text.parse().ok()).find(|value| !values.contains(value));
    values.into_iter().chain(fresh).collect()
}

/// `AA`, `AB`, …: with a letter before it no state's code.
fn letters(n: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or_default());
    [letter(n / 676), letter(n / 26), letter(n)].iter().collect()
}
