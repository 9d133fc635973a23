//! Requests for onward release, their answers, grants and recalls.

use super::*;

impl Play {
    pub(super) async fn request(&mut self, copy: &Index, end: End) {
        let Some((by, about, copy)) = self.copy(copy, &KINDS) else { return };
        let owner = Oracle::owner(&about);
        let to = (0..3).find(|member| ![by, owner].contains(member)).unwrap();
        self.serial += 1;
        let (purpose, until) = (format!("Purpose {}", self.serial), ends(end));
        let room = self.room(by);
        let until_then = until.map(instant);
        let asked = room.node().ask_request(&room.operator, id(&about), code(to), purpose.clone(), until_then);
        let asked = asked.await.unwrap();
        room.approve(&asked.approval.id).await;
        let marking = copy.marking.answering(owner);
        let mut read = json!({ "marking": marking.json(), "about": about, "to": MEMBERS[to], "purpose": purpose });
        if let Some(until) = until {
            read["until"] = json!(text_of(until));
        }
        let id = self.know_answer(by, &asked.action, "request", marking, read, owner);
        self.requests.push(Request { id, about, by, to, purpose, until });
    }

    /// An answer to another's record, which its originator is shown.
    pub(super) fn know_answer(
        &mut self,
        by: Member,
        action: &Action,
        kind: &str,
        marking: Marking,
        read: Value,
        to: Member,
    ) -> String {
        let Action::Share { records, .. } = action else { panic!("{action:?}") };
        let (record, version) = (records[0].record, records[0].version);
        self.know(by, record, version.to_string(), kind, marking, (read, json!({ "sources": [] })));
        let known = self.oracle.records.last_mut().unwrap();
        known.answers = Some(to);
        known.shares.insert(to, Terms { until: None, purpose: None });
        known.id.clone()
    }

    pub(super) async fn answer(&mut self, request: &Index, granted: bool, end: Option<End>) {
        let readable = |request: &&Request| {
            let owner = Oracle::owner(&request.about);
            let copy = self.oracle.copies.get(&owner).and_then(|held| held.get(&request.id));
            let settled = self.lines.get(&(request.by, owner)).is_none_or(|line| !line.unsettled);
            let record = self.oracle.record(&request.about);
            settled && !record.withdrawn && !record.recalled && copy.is_some_and(|c| c.documents.contains_key("read"))
        };
        let requests: Vec<&Request> = self.requests.iter().filter(readable).collect();
        if requests.is_empty() {
            return;
        }
        let request = (*request.get(&requests)).clone();
        let until = end.and_then(ends).or(request.until).filter(|_| granted);
        let refusal = (!granted).then(|| "The source forbids it.".to_owned());
        self.decide(&request.about, request.to, Some(&request), granted, refusal, until).await;
    }

    pub(super) async fn grant(&mut self, record: &Index, to: &Index, end: End) {
        let Some(record) = self.chosen(record) else { return };
        let others: Vec<Member> = (0..3).filter(|member| *member != record.by).collect();
        self.serial += 1;
        let purpose = format!("Purpose {}", self.serial);
        self.decide(&record.id, *to.get(&others), None, true, Some(purpose), ends(end)).await;
    }

    /// The originator grants or refuses, asked or unasked.
    pub(super) async fn decide(
        &mut self,
        about: &str,
        to: Member,
        request: Option<&Request>,
        granted: bool,
        said: Option<String>,
        until: Option<i64>,
    ) {
        let record = self.oracle.record(about).clone();
        let room = self.room(record.by);
        let purpose = said.clone().or(request.map(|request| request.purpose.clone())).unwrap();
        let terms = Terms { until, purpose: Some(purpose.clone()) };
        let decision = if granted { GrantDecision::Granted } else { GrantDecision::Refused };
        let new = NewGrant {
            about: id(request.map_or(about, |request| &request.id)),
            to: request.is_none().then(|| code(to)),
            purpose: said,
            until: until.map(instant),
            decision,
        };
        let begin = now();
        let asked = room.node().ask_grant(&room.operator, new).await;
        let moments = self.oracle.moments([begin, now()]);
        let goes = |at: &i64| self.oracle.views_on(&record, to, &terms, *at) > 0;
        if until.is_some_and(|until| until <= now()) && asked.is_err() {
            return;
        }
        let asked = match asked {
            Err(AppError::Precondition { reason: "NOT_RELEASABLE", .. }) if granted && !moments.iter().all(goes) => {
                return;
            }
            asked => asked.unwrap(),
        };
        assert!(!granted || moments.iter().any(goes), "{about} could not go to {}", MEMBERS[to]);
        room.approve(&asked.approval.id).await;
        let Action::Grant { id, grant_version, .. } = asked.action else { panic!("{:?}", asked.action) };
        let whom = request.map(|request| request.by);
        let marking = match whom {
            Some(whom) => record.marking.answering(whom),
            None => Marking { to: BTreeSet::new(), ..record.marking.clone() },
        };
        let decision = if granted { "granted" } else { "refused" };
        let mut read = json!({
            "marking": marking.json(), "about": about, "to": MEMBERS[to], "decision": decision, "purpose": purpose,
        });
        if let Some(request) = request {
            read["request"] = json!(request.id);
        }
        if let Some(until) = until {
            read["until"] = json!(text_of(until));
        }
        self.know(record.by, id, grant_version.to_string(), "grant", marking, (read, json!({ "sources": [] })));
        let known = self.oracle.records.last_mut().unwrap();
        known.answers = whom;
        known.shares.extend(whom.map(|whom| (whom, Terms { until: None, purpose: None })));
        if granted {
            self.oracle.record_mut(about).shares.insert(to, terms);
        }
    }

    pub(super) async fn recall(&mut self, record: &Index) {
        let records: Vec<&Record> = self.oracle.records.iter().filter(|record| !record.recalled).collect();
        if records.is_empty() {
            return;
        }
        let record = (*record.get(&records)).clone();
        let room = self.room(record.by);
        let asked = room.node().ask_recall(&room.operator, id(&record.id), "A source is at risk.".into()).await;
        if record.went_to.is_empty() {
            assert!(matches!(asked, Err(AppError::Precondition { reason: "NOTHING_TO_RECALL", .. })), "{asked:?}");
            return;
        }
        room.approve(&asked.unwrap().approval.id).await;
        let known = self.oracle.record_mut(&record.id);
        known.recalled = true;
        known.shares.clear();
        self.recalls.insert(record.id);
    }
}
