//! A case, played: members do what the plan says, the nodes exchange what they have, and what everybody holds is compared.

mod compare;
mod onward;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use comity_app::{Action, AppError, NewGrant, Withdrawal};
use comity_core::access::Outcome;
use comity_core::document::{GrantDecision, Stance};
use comity_core::{MemberId, RecordId, Timestamp};
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::documents::written;
use crate::house::{House, Room};
use crate::line::Lines;
use crate::oracle::{Copy, Marking, Member, Oracle, Record, Terms, text_of};
use crate::plan::{CEILINGS, Case, End, KINDS, MEMBERS, Rule, Step};

/// When `Soon` is, in microseconds.
const SOON: i64 = 300_000;
/// When `Later` is.
const LATER: i64 = 1_000_000;
/// When `Far` is.
const FAR: i64 = 3_600_000_000;
/// What ends within this long may end while somebody acts on it.
const MARGIN: i64 = FAR / 2;
/// More pages than any case has under way.
const PAGES: usize = 20;

const PAIRS: [(Member, Member); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

pub async fn play(case: &Case) {
    let mut play = Play {
        house: House::build().await,
        oracle: Oracle::default(),
        lines: Lines::default(),
        requests: Vec::new(),
        recalls: BTreeSet::new(),
        refused: BTreeSet::new(),
        settled: 0,
        serial: 0,
    };
    for ((by, party), rules) in &case.policies {
        play.write_policy(*by, *party, rules).await;
    }
    for (n, round) in case.rounds.iter().enumerate() {
        for step in round {
            play.step(step).await;
        }
        play.settle(n % 2 == 0).await;
    }
}

/// A request that was made, and what it asks for.
#[derive(Debug, Clone)]
struct Request {
    id: String,
    about: String,
    by: Member,
    to: Member,
    purpose: String,
    until: Option<i64>,
}

struct Play {
    house: House,
    oracle: Oracle,
    lines: Lines,
    requests: Vec<Request>,
    recalls: BTreeSet<String>,
    /// Who was not given which record that somebody decided to share with it, when that was last looked at.
    refused: BTreeSet<(Member, String)>,
    /// When the last exchange that was compared began.
    settled: i64,
    serial: usize,
}

fn now() -> i64 {
    Timestamp::from_jiff(jiff::Timestamp::now()).as_micros()
}

fn instant(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn ends(end: End) -> Option<i64> {
    match end {
        End::Never => None,
        End::Soon => Some(now() + SOON),
        End::Later => Some(now() + LATER),
        End::Far => Some(now() + FAR),
    }
}

fn code(member: Member) -> MemberId {
    MEMBERS[member].parse().unwrap()
}

fn id(text: &str) -> RecordId {
    text.parse().unwrap()
}

/// What was asked for while its end was still to come, and was slower than that.
fn too_late<T>(asked: &Result<T, AppError>, until: Option<i64>) -> bool {
    matches!(asked, Err(AppError::Invalid(_))) && until.is_some_and(|until| until <= now())
}

impl Play {
    fn room(&self, member: Member) -> &Room {
        self.house.room(member)
    }

    /// One of the records that people draft and share.
    fn chosen(&self, index: &Index) -> Option<Record> {
        let drafted = |record: &&Record| KINDS.contains(&record.kind.as_str()) && !record.withdrawn && !record.recalled;
        let records: Vec<&Record> = self.oracle.records.iter().filter(drafted).collect();
        (!records.is_empty()).then(|| (*index.get(&records)).clone())
    }

    /// A copy of a record that people at its holder's node see, and go on seeing for a while.
    fn copy(&self, index: &Index, kinds: &[&str]) -> Option<(Member, String, Copy)> {
        let mut copies = Vec::new();
        for (holder, held) in &self.oracle.copies {
            for (record, copy) in held {
                let owner = Oracle::owner(record);
                let settled = self.lines.get(&(owner, *holder)).is_none_or(|line| !line.unsettled);
                let lasts = copy.until.is_none_or(|until| until > now() + MARGIN);
                let seen = self.oracle.tier(owner, &copy.marking) <= CEILINGS[*holder];
                let of_kind = kinds.contains(&self.oracle.record(record).kind.as_str());
                if settled && lasts && seen && of_kind && self.is_open((owner, *holder)) {
                    copies.push((*holder, record.clone(), copy.clone()));
                }
            }
        }
        (!copies.is_empty()).then(|| index.get(&copies).clone())
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Draft { by, kind, marking, links } => self.draft(*by, kind, marking, links).await,
            Step::Share { record, with, end } => self.share(record, with, *end).await,
            Step::Revise { record, marking, links } => self.revise(record, marking, links).await,
            Step::Withdraw { record } => {
                let Some(record) = self.chosen(record) else { return };
                let room = self.room(record.by);
                let done = room.node().withdraw_record(&room.operator, id(&record.id), None).await.unwrap();
                assert!(matches!(done, Withdrawal::Done(_)));
                self.oracle.record_mut(&record.id).withdrawn = true;
            }
            Step::Policy { by, party, rules } => self.write_policy(*by, *party, rules).await,
            Step::Opine { copy } => self.opine(copy).await,
            Step::Request { copy, end } => self.request(copy, *end).await,
            Step::Answer { request, granted, end } => self.answer(request, *granted, *end).await,
            Step::Grant { record, to, end } => self.grant(record, to, *end).await,
            Step::Recall { record } => self.recall(record).await,
            Step::Cut { arrive } => {
                for pair in PAIRS {
                    self.cut(pair, *arrive).await;
                }
            }
            Step::Wait => {
                let now = now();
                let next = self.oracle.ends().filter(|end| now < *end && *end < now + MARGIN).min();
                let left = next.map_or(0, |end| end - now).unsigned_abs();
                tokio::time::sleep(Duration::from_micros(left + 1)).await;
            }
            Step::Restart { wording_counts, suspended } => {
                // Whoever is suspended keeps what it has: that is known after an exchange.
                self.settle(true).await;
                self.house.reopen(*wording_counts, *suspended).await;
                self.oracle.wording_counts = *wording_counts;
                self.oracle.suspended = *suspended;
            }
        }
    }

    /// A marking that its author may give: within its node's accreditation, and no wording that means more than its tier.
    fn lawful(&self, by: Member, marking: &Marking) -> Marking {
        let tier = marking.tier.min(CEILINGS[by]);
        let plain = Marking { tier, wording: false, ..marking.clone() };
        let worded = Marking { wording: marking.wording && by == 0, ..plain.clone() };
        if self.oracle.tier(by, &worded) > tier { plain } else { worded }
    }

    fn links(&self, kind: &str, links: &[Index]) -> BTreeSet<String> {
        let targets = self.oracle.records.iter().filter(|r| ["proposal", "incident"].contains(&r.kind.as_str()));
        let targets: Vec<&String> = targets.map(|record| &record.id).collect();
        if kind != "evidence" || targets.is_empty() {
            return BTreeSet::new();
        }
        links.iter().map(|link| (*link.get(&targets)).clone()).collect()
    }

    async fn draft(&mut self, by: Member, kind: &str, marking: &Marking, links: &[Index]) {
        self.serial += 1;
        let (marking, links) = (self.lawful(by, marking), self.links(kind, links));
        let document = written(kind, self.serial, &marking, &links);
        let room = self.room(by);
        let bytes = document.whole.to_string();
        let made = room.node().create_record(&room.operator, kind.parse().unwrap(), bytes.as_bytes(), None);
        let row = made.await.unwrap().row;
        self.know(by, row.id, row.version.to_string(), kind, marking, (document.read, document.sources));
        self.oracle.record_mut(&row.id.to_string()).links = links;
    }

    /// A record that is new to the oracle, shown to nobody.
    fn know(
        &mut self,
        by: Member,
        id: RecordId,
        version: String,
        kind: &str,
        marking: Marking,
        (read, sources): (Value, Value),
    ) {
        self.oracle.records.push(Record {
            id: id.to_string(),
            version,
            by,
            kind: kind.to_owned(),
            marking,
            read,
            sources,
            links: BTreeSet::new(),
            answers: None,
            shares: BTreeMap::new(),
            withdrawn: false,
            recalled: false,
            went_to: BTreeSet::new(),
        });
    }

    async fn revise(&mut self, record: &Index, marking: &Marking, links: &[Index]) {
        let Some(record) = self.chosen(record) else { return };
        self.serial += 1;
        let (marking, links) = (self.lawful(record.by, marking), self.links(&record.kind, links));
        let document = written(&record.kind, self.serial, &marking, &links);
        let room = self.room(record.by);
        let (before, bytes) = (record.version.parse().unwrap(), document.whole.to_string());
        let row =
            room.node().update_record(&room.operator, id(&record.id), before, bytes.as_bytes()).await.unwrap().row;
        let known = self.oracle.record_mut(&record.id);
        // What two people decided to show was the version that they looked at.
        known.shares.clear();
        (known.version, known.marking, known.links) = (row.version.to_string(), marking, links);
        (known.read, known.sources) = (document.read, document.sources);
    }

    async fn share(&mut self, record: &Index, with: &[Member], end: End) {
        let Some(record) = self.chosen(record) else { return };
        let parties = with.iter().copied().filter(|party| {
            *party != record.by && Some(*party) != self.oracle.suspended && record.marking.to.contains(party)
        });
        let parties: Vec<Member> = parties.collect();
        if parties.is_empty() {
            return;
        }
        let until = ends(end);
        let room = self.room(record.by);
        let codes = parties.iter().map(|party| code(*party)).collect();
        let wanted = vec![(id(&record.id), None)];
        let asked = room.node().ask_share(&room.operator, wanted, codes, until.map(instant)).await;
        if too_late(&asked, until) {
            return;
        }
        room.approve(&asked.unwrap().approval.id).await;
        let terms = Terms { until, purpose: None };
        self.oracle.record_mut(&record.id).shares.extend(parties.into_iter().map(|party| (party, terms.clone())));
    }

    async fn write_policy(&mut self, by: Member, party: Member, rules: &[Rule]) {
        let records: Vec<String> = self.oracle.records.iter().map(|record| record.id.clone()).collect();
        let file: Vec<_> = rules.iter().map(|rule| rule.written(ends, &records)).collect();
        let text: String = file.iter().map(|written| written.cedar(written.until.map(text_of))).collect();
        let room = self.room(by);
        let asked = room.node().ask_policy(&room.officer, code(party), text).await.unwrap();
        room.approve(&asked.approval.id).await;
        self.oracle.policies.insert((by, party), file);
    }

    async fn opine(&mut self, copy: &Index) {
        let Some((by, about, copy)) = self.copy(copy, &["proposal"]) else { return };
        let room = self.room(by);
        let text = "On what does it rest?";
        let asked =
            room.node().ask_opinion(&room.operator, id(&about), Stance::Question, Some(text.into())).await.unwrap();
        room.approve(&asked.approval.id).await;
        let marking = copy.marking.answering(Oracle::owner(&about));
        let read = json!({ "marking": marking.json(), "about": about, "stance": "question", "text": text });
        self.know_answer(by, &asked.action, "opinion", marking, read, Oracle::owner(&about));
    }

    fn is_open(&self, (from, to): (Member, Member)) -> bool {
        self.oracle.suspended.is_none_or(|suspended| ![from, to].contains(&suspended))
    }

    /// The sender makes all that it has; the first pages arrive at once, the others late; no receipt does.
    async fn cut(&mut self, pair: (Member, Member), arrive: usize) {
        if !self.is_open(pair) {
            return;
        }
        let (from, to) = (self.house.room(pair.0), self.house.room(pair.1));
        let line = self.lines.entry(pair).or_default();
        let cursor = to.node().cursor_from(from.member()).await.unwrap();
        let mut sent = from.node().resume(to.member(), &cursor).await.unwrap();
        let mut late = Vec::new();
        for n in 0..PAGES {
            let begin = now();
            let Some(page) = from.page(to.member(), sent).await.unwrap() else { break };
            line.see(&mut self.oracle, pair, sent, &page, [begin, now()]);
            line.unsettled = true;
            sent = page.sent.last_number;
            if n < arrive { drop(to.take(from.member(), page).await) } else { late.push(page) }
        }
        // What is sent twice arrives late once, as it was first sent.
        if line.late.is_empty() {
            line.late = late;
        }
    }

    /// Everything that one member has for another. Returns how many pages that took.
    async fn exchange(&mut self, pair: (Member, Member)) -> usize {
        let (from, to) = (self.house.room(pair.0), self.house.room(pair.1));
        if !self.is_open(pair) {
            if self.oracle.suspended == Some(pair.1) {
                assert!(from.node().exchange_permit(to.member()).is_err(), "a suspended member opens a stream");
                assert!(from.node().next_page(to.member(), 0).await.is_err(), "a suspended member is given a page");
            } else {
                let asks = to.node().partners().iter().any(|row| row.member == from.member());
                assert!(!asks, "a suspended member is asked for pages");
            }
            return 0;
        }
        let line = self.lines.entry(pair).or_default();
        for page in std::mem::take(&mut line.late) {
            to.take(from.member(), page).await;
        }
        line.unsettled = false;
        for recalled in to.node().recalls_received(200).await.unwrap() {
            let copy = to.store().copies().get(recalled.record).await.unwrap();
            assert!(copy.is_none(), "{} was destroyed, and came back", recalled.record);
        }
        let mut pages = 0;
        loop {
            let cursor = to.node().cursor_from(from.member()).await.unwrap();
            let sent = from.node().resume(to.member(), &cursor).await.unwrap();
            let begin = now();
            let Some(page) = from.page(to.member(), sent).await.unwrap() else { return pages };
            line.see(&mut self.oracle, pair, sent, &page, [begin, now()]);
            let (underway, touched) = (page.sent, page.touched.clone());
            let receipt = to.take(from.member(), page).await;
            let received = to.last_record("receive page", Outcome::Allowed, from.member()).await.unwrap();
            let named = |touched: &[comity_core::access::Touched]| -> Vec<_> {
                touched.iter().map(|t| (t.resource.clone(), t.version, t.view.clone())).collect()
            };
            assert_eq!(named(&received), named(&touched), "both logs say the same of a page");
            let told = from.node().acknowledge(to.member(), &receipt, [underway]).await.unwrap();
            assert_eq!(told, underway.last_number);
            pages += 1;
        }
    }

    async fn give_back_all(&self) {
        for (from, to) in PAIRS {
            self.room(to).give_back(self.room(from)).await;
        }
    }

    /// Exchanges everything and compares what everybody holds with what it may see. `recalls_first`: recalls are fetched before
    /// pages, which may bring what was just destroyed.
    async fn settle(&mut self, recalls_first: bool) {
        loop {
            let begin = now();
            self.house.end_validities().await;
            if recalls_first {
                self.give_back_all().await;
            }
            for pair in PAIRS {
                self.exchange(pair).await;
            }
            self.give_back_all().await;
            let mut again = 0;
            for pair in PAIRS {
                again += self.exchange(pair).await;
            }
            let held = self.held().await;
            let seen = self.seen().await;
            let end = now();
            if self.oracle.ends().any(|at| begin < at && at <= end) {
                // Something ended meanwhile: before and after are both right. Each end is met once.
                continue;
            }
            assert_eq!(again, 0, "a second exchange moves something");
            self.compare(&held, &seen, begin).await;
            self.settled = begin;
            return;
        }
    }
}
