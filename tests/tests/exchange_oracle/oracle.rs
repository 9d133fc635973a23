//! What each member may see of every record, naively: from the design's words, over plain structs, every time anew.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::plan::{ACTIONS, CEILINGS, MEMBERS, TIERS, Written, permits};

/// Members are numbers here, and instants microseconds since the epoch.
pub type Member = usize;

/// The wording that one table of equivalences counts as secret, and the other does not know.
pub const WORDING: &str = "SECRET DES ALLIES";
const WORDING_TIER: u8 = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking {
    pub tier: u8,
    pub to: BTreeSet<Member>,
    pub tiger: bool,
    pub orcon: bool,
    pub handling: &'static str,
    /// Whether it carries [`WORDING`], which is a French one.
    pub wording: bool,
}

impl Marking {
    pub fn json(&self) -> Value {
        let mut marking = json!({ "tier": TIERS[usize::from(self.tier)], "handling": self.handling });
        if self.orcon {
            marking["caveats"] = json!(["orcon"]);
        }
        if self.tiger {
            marking["compartments"] = json!(["TIGER"]);
        }
        let mut to: Vec<&str> = self.to.iter().map(|party| MEMBERS[*party]).collect();
        to.sort_unstable();
        if !to.is_empty() {
            marking["releasable_to"] = json!(to);
        }
        if self.wording {
            marking["national"] = json!(WORDING);
        }
        marking
    }

    /// The same, for one member alone.
    pub fn answering(&self, originator: Member) -> Self {
        Self { to: BTreeSet::from([originator]), ..self.clone() }
    }
}

/// On what terms a party is shown a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub until: Option<i64>,
    /// It was released onward, for this.
    pub purpose: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Record {
    pub id: String,
    pub version: String,
    pub by: Member,
    pub kind: String,
    pub marking: Marking,
    /// What `read` shows of it, and what `read_sources` does.
    pub read: Value,
    pub sources: Value,
    /// Ids of records, of anybody's.
    pub links: BTreeSet<String>,
    /// Whose record it answers.
    pub answers: Option<Member>,
    pub shares: BTreeMap<Member, Terms>,
    pub withdrawn: bool,
    pub recalled: bool,
    /// To whom any of it ever went, as was seen on the wire.
    pub went_to: BTreeSet<Member>,
}

/// What a policy may ask about.
pub struct Asked<'a> {
    pub record: &'a str,
    pub kind: &'a str,
    pub marking: &'a Marking,
    pub tier: u8,
    pub onward: bool,
    pub answers: bool,
}

/// The documents of one record, by the view's name.
pub type Documents = BTreeMap<String, Value>;

/// A copy that a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub documents: Documents,
    pub marking: Marking,
    pub until: Option<i64>,
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub records: Vec<Record>,
    /// By originator and party.
    pub policies: BTreeMap<(Member, Member), Vec<Written>>,
    pub wording_counts: bool,
    pub suspended: Option<Member>,
    /// What everybody has of others' records: by member, then by record.
    pub copies: BTreeMap<Member, BTreeMap<String, Copy>>,
}

impl Oracle {
    pub fn record(&self, id: &str) -> &Record {
        self.records.iter().find(|record| record.id == id).unwrap()
    }

    pub fn record_mut(&mut self, id: &str) -> &mut Record {
        self.records.iter_mut().find(|record| record.id == id).unwrap()
    }

    pub fn owner(id: &str) -> Member {
        MEMBERS.iter().position(|member| id.starts_with(member)).unwrap()
    }

    /// What a marking counts as, on a record of this member.
    pub fn tier(&self, by: Member, marking: &Marking) -> u8 {
        let counts = self.wording_counts && marking.wording && by == 0;
        if counts { marking.tier.max(WORDING_TIER) } else { marking.tier }
    }

    /// How many of the three views a party may have: none, or the first so many.
    pub fn views(&self, record: &Record, party: Member, at: i64) -> usize {
        let share = record.shares.get(&party);
        share.map_or(0, |terms| self.views_on(record, party, terms, at))
    }

    /// The same, on terms that may not have been decided on yet.
    pub fn views_on(&self, record: &Record, party: Member, terms: &Terms, at: i64) -> usize {
        let tier = self.tier(record.by, &record.marking);
        let onward = terms.purpose.is_some();
        let lawful = self.suspended != Some(party)
            && !record.withdrawn
            && !record.recalled
            && tier <= CEILINGS[party]
            && record.answers.is_none_or(|whom| whom == party || whom == record.by)
            && (onward || record.marking.to.contains(&party))
            && terms.until.is_none_or(|until| at < until);
        if !lawful {
            return 0;
        }
        let asked = Asked {
            record: &record.id,
            kind: &record.kind,
            marking: &record.marking,
            tier,
            onward,
            answers: record.answers.is_some(),
        };
        let file = self.policies.get(&(record.by, party)).map_or(&[][..], Vec::as_slice);
        ACTIONS.iter().take_while(|action| permits(file, action, &asked, at)).count()
    }

    /// Exactly what a party may have of a record; nothing where it must not learn that there is one.
    pub fn documents(&self, record: &Record, party: Member, at: i64) -> Option<Documents> {
        let views = self.views(record, party, at);
        let terms = record.shares.get(&party)?;
        if views == 0 {
            return None;
        }
        let head = json!({ "record": record.id, "version": record.version });
        let with = |field: &str, value: Value| {
            let mut document = head.clone();
            document[field] = value;
            document
        };
        let mut discover = with("kind", json!(record.kind));
        discover["originator"] = json!(MEMBERS[record.by]);
        discover["marking"] = record.marking.json();
        let mut said = serde_json::Map::new();
        if let Some(until) = terms.until {
            said.insert("until".into(), json!(text_of(until)));
        }
        if let Some(purpose) = &terms.purpose {
            said.insert("purpose".into(), json!(purpose));
        }
        if !said.is_empty() {
            discover["terms"] = Value::Object(said);
        }
        let mut documents = BTreeMap::from([("discover".to_owned(), discover)]);
        if views >= 2 {
            documents.insert("read".into(), with("body", json!({ &record.kind: record.read })));
            let named: Vec<&String> =
                record.links.iter().filter(|link| self.may_know(party, record.by, link, at)).collect();
            if !named.is_empty() {
                documents.insert("links".into(), with("links", json!(named)));
            }
        }
        if views >= 3 {
            documents.insert("read_sources".into(), with("body", record.sources.clone()));
        }
        Some(documents)
    }

    /// Whether a member that points to a record may name it to a party: its own where the party sees that there is one, the
    /// party's own, and no third one's.
    fn may_know(&self, party: Member, by: Member, link: &str, at: i64) -> bool {
        let owner = Self::owner(link);
        owner == party || (owner == by && self.views(self.record(link), party, at) > 0)
    }

    /// What one member holds of another's records once they have exchanged everything.
    pub fn exchanged(&self, from: Member, to: Member, at: i64) -> BTreeMap<String, Copy> {
        let own = self.records.iter().filter(|record| record.by == from);
        let copy = |record: &Record| {
            let documents = self.documents(record, to, at)?;
            let until = record.shares.get(&to).and_then(|terms| terms.until);
            Some((record.id.clone(), Copy { documents, marking: record.marking.clone(), until }))
        };
        own.filter_map(copy).collect()
    }

    /// Two instants and every one in between at which something else holds than just before.
    pub fn moments(&self, [from, until]: [i64; 2]) -> Vec<i64> {
        let between = self.ends().filter(|end| from < *end && *end < until);
        [from, until].into_iter().chain(between).collect()
    }

    /// Every instant at which something ends.
    pub fn ends(&self) -> impl Iterator<Item = i64> {
        let policies = self.policies.values().flatten().filter_map(|written| written.until);
        let shares = self.records.iter().flat_map(|record| record.shares.values()).filter_map(|terms| terms.until);
        policies.chain(shares)
    }
}

/// An instant as documents have it.
pub fn text_of(micros: i64) -> String {
    comity_core::Timestamp::from_micros(micros).unwrap().to_string()
}
