//! Recalls: asking for a record back from everybody who ever received it, and giving back what others ask for.

use comity_core::access::Touched;
use comity_core::canonical::Hex32;
use comity_core::document::{Document, Recall};
use comity_core::dsse::Envelope;
use comity_core::recall::{
    Answer, AnswerStatement, BECAUSE_MAX_CHARS, RecallStatement, sign_answer, sign_recall, verify_answer, verify_recall,
};
use comity_core::release::PartyStatus;
use comity_core::{Marking, MemberId, RecordId, RecordKind, SpiffeId, Timestamp, VersionId, Violations};
use comity_store::recalls::{CopyHold, NewReceivedRecall, RecallError, ReceivedRecall, StoredRecall, TakenRecall};
use comity_store::records::NewRecord;
use tokio::sync::watch;

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::records::ensure_not_taken_back;

/// The most recalls of one answer to a party.
const TELL_MAX: usize = 100;
/// How often an answer is signed again, where holds come and go meanwhile.
const TRIES: usize = 5;

/// After how many seconds a party whose node has not even asked is called unreachable. Nodes ask within seconds.
const UNREACHABLE_AFTER_SECONDS: i64 = 30;

/// What a party is told: signed statements, and where to go on.
#[derive(Debug, Clone)]
pub struct ToldRecalls {
    /// DSSE envelopes.
    pub recalls: Vec<Vec<u8>>,
    /// The party's position after them.
    pub position: u64,
    /// For the access record.
    pub touched: Vec<Touched>,
}

/// How a recall stands.
#[derive(Debug, Clone)]
pub struct RecallView {
    /// What was asked, and what each party answered.
    pub recall: StoredRecall,
    /// What each party's answer says beyond the word, in the order of the parties.
    pub answers: Vec<Option<AnswerStatement>>,
}

impl Node {
    /// Asks that a record be recalled from everybody who ever received it.
    ///
    /// # Errors
    /// There is none, it is withdrawn or recalled already, or nobody ever received it.
    pub async fn ask_recall(
        &self,
        author: &SpiffeId,
        record: RecordId,
        reason: String,
    ) -> Result<ApprovalView, AppError> {
        let row = self.current(author, record, None).await?;
        if row.recalled.is_some() {
            ensure_not_taken_back(&row)?;
        }
        let parties = self.store.outbox().ever_received(record).await.map_err(InternalError::Store)?;
        if parties.is_empty() {
            return Err(RecallError::NobodyHasIt { record }.into());
        }
        let marking = Marking { releasable_to: [].into(), ..row.document.marking().clone() };
        let recall = Recall { marking, about: record, reason };
        Document::Recall(recall.clone()).check()?;
        let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
        let summary = format!("recall {record} from {}", names.join(", "));
        let action = Action::Recall {
            recall: Box::new(recall),
            id: fresh::record(self.member(), RecordKind::Recall)?,
            version: fresh::version()?,
            salts: [fresh::salt()?, fresh::salt()?],
        };
        self.ask(author, action, summary, Some(row.version)).await
    }

    pub(crate) async fn recall(
        &self,
        author: &SpiffeId,
        recall: &Recall,
        id: RecordId,
        version: VersionId,
        salts: [Hex32; 2],
    ) -> Result<String, AppError> {
        let document = Document::Recall(recall.clone());
        let new =
            NewRecord { id, version, document, author: author.clone(), at: fresh::now(), salts, request_id: None };
        let started = self.store.recalls().start(new).await?;
        self.recalled.send_modify(|n| *n = n.wrapping_add(1));
        Ok(format!("{} is recalled from {} by {id}", recall.about, counted(started.parties.len())))
    }

    /// How a recall stands, by its own id or by that of the record.
    ///
    /// # Errors
    /// There is none, or this person may not see it.
    pub async fn recall_status(&self, person: &SpiffeId, id: RecordId) -> Result<RecallView, AppError> {
        let found = self.store.recalls().get(id).await.map_err(InternalError::Store)?;
        let found = found.ok_or(AppError::NotFound("recall"))?;
        self.own_row(person, found.recall).await.map_err(|_| AppError::NotFound("recall"))?;
        Ok(self.view_of(found))
    }

    /// Recalls of this member that a person may see, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn recalls_made(&self, person: &SpiffeId, limit: usize) -> Result<Vec<RecallView>, AppError> {
        let mut views = Vec::new();
        for found in self.store.recalls().list(limit).await.map_err(InternalError::Store)? {
            if self.own_row(person, found.recall).await.is_ok() {
                views.push(self.view_of(found));
            }
        }
        Ok(views)
    }

    fn view_of(&self, recall: StoredRecall) -> RecallView {
        let read = |envelope: &Vec<u8>| {
            let envelope = Envelope::from_bytes(envelope).ok()?;
            comity_core::canonical::from_slice::<AnswerStatement>(&envelope.payload).ok()
        };
        let answers = recall.parties.iter().map(|party| party.envelope.as_ref().and_then(read)).collect();
        RecallView { recall, answers }
    }

    /// Changes when a recall was made.
    pub fn recalls_changed(&self) -> watch::Receiver<u64> {
        self.recalled.subscribe()
    }

    /// The party's position of the last recall that it has to answer, if there is one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn awaits_answer(&self, party: MemberId) -> Result<Option<u64>, AppError> {
        Ok(self.store.recalls().waits_for(party).await.map_err(InternalError::Store)?)
    }

    /// What a party is to give back, from after its position on: whoever it is, and however it stands in the roster.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn tell_recalls(&self, party: MemberId, after: u64) -> Result<ToldRecalls, AppError> {
        let told =
            self.store.recalls().tell(party, after, TELL_MAX, fresh::now()).await.map_err(InternalError::Store)?;
        let position = told.last().map_or(after, |last| last.position);
        let touched = told.iter().map(|told| Touched {
            resource: told.record.to_string(),
            version: None,
            view: Some("recall".to_owned()),
            because: vec![told.recall.to_string()],
        });
        let touched = touched.collect();
        let sign = |told: comity_store::recalls::ToldRecall| {
            let statement = RecallStatement {
                federation: self.genesis.federation(),
                from: self.member(),
                to: party,
                recall: told.recall,
                record: told.record,
                recalled_at: told.started,
            };
            sign_recall(&statement, &self.keys.node).to_bytes()
        };
        Ok(ToldRecalls { recalls: told.into_iter().map(sign).collect(), position, touched })
    }

    /// Keeps a party's signed answer.
    ///
    /// # Errors
    /// It is not the party's, or not about a recall that it was told.
    pub async fn keep_answer(&self, party: MemberId, answer: &[u8]) -> Result<RecordId, AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("answer", problem));
        let key = self.node_key_of(party)?;
        let envelope = Envelope::from_bytes(answer).map_err(|e| refuse(e.to_string()))?;
        let statement = verify_answer(&envelope, &key.0, self.genesis.federation(), self.member(), party);
        let statement = statement.map_err(|e| refuse(e.to_string()))?;
        let kept =
            self.store.recalls().answered(party, statement.recall, statement.answer, answer.to_vec(), fresh::now());
        match kept.await {
            Ok(()) => Ok(statement.record),
            // What was never asked and what is not there are one answer.
            Err(RecallError::NotAsked { .. }) => Err(AppError::NotFound("recall")),
            Err(error) => Err(error.into()),
        }
    }

    /// Where to go on with an originator's recalls.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn recall_position(&self, origin: MemberId) -> Result<u64, AppError> {
        Ok(self.store.received_recalls().position(origin).await.map_err(InternalError::Store)?)
    }

    /// Goes on from there the next time: what came before is carried out.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn set_recall_position(&self, origin: MemberId, position: u64) -> Result<(), AppError> {
        Ok(self.store.received_recalls().set_position(origin, position).await.map_err(InternalError::Store)?)
    }

    /// Carries out a recall that an originator's node signed: destroys the copy unless two people decided that it may not be given
    /// up, and signs the answer.
    ///
    /// # Errors
    /// It is not signed by the originator, not about its own record, or the copy could not be destroyed.
    pub async fn carry_out_recall(&self, origin: MemberId, envelope: &[u8]) -> Result<(), AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("recall", problem));
        let key = self.node_key_of(origin)?;
        let signed = Envelope::from_bytes(envelope).map_err(|e| refuse(e.to_string()))?;
        let statement = verify_recall(&signed, &key.0, self.genesis.federation(), origin, self.member());
        let statement = statement.map_err(|e| refuse(e.to_string()))?;
        let known =
            self.store.received_recalls().list(Some(statement.recall), 1).await.map_err(InternalError::Store)?;
        if !known.is_empty() {
            return Ok(());
        }
        self.answer(origin, statement.recall, statement.record, envelope.to_vec(), None).await
    }

    async fn answer(
        &self,
        origin: MemberId,
        recall: RecordId,
        record: RecordId,
        envelope: Vec<u8>,
        cannot: Option<String>,
    ) -> Result<(), AppError> {
        for _ in 0..TRIES {
            let hold = self.store.received_recalls().hold(record).await.map_err(InternalError::Store)?;
            let (answer, because) = match (&cannot, hold) {
                (Some(because), _) => (Answer::CannotComply, Some(because.clone())),
                (None, Some(hold)) => (Answer::Retained, Some(hold.because)),
                (None, None) => (Answer::Destroyed, None),
            };
            let now = fresh::now();
            let statement = AnswerStatement {
                federation: self.genesis.federation(),
                from: origin,
                to: self.member(),
                recall,
                record,
                answer,
                because,
                backup_days: self.backup_days,
                answered_at: now,
            };
            let reply = sign_answer(&statement, &self.keys.node).to_bytes();
            let touched = Touched {
                resource: record.to_string(),
                version: None,
                view: Some(answer.as_str().to_owned()),
                because: vec![recall.to_string()],
            };
            self.record_own("recall", format!("node of {origin}"), Some(origin), vec![touched]).await?;
            let new = NewReceivedRecall { recall, record, origin, envelope: envelope.clone(), at: now, answer, reply };
            let taken = self.store.received_recalls().take(new).await.map_err(InternalError::Store)?;
            if taken == TakenRecall::Taken {
                self.answered.send_modify(|n| *n = n.wrapping_add(1));
                return Ok(());
            }
        }
        Err(AppError::Exhausted { reason: "TOO_BUSY", problem: "holds on the copy come and go: try again".into() })
    }

    /// Answers that an originator has not had yet.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn answers_due(&self, origin: MemberId) -> Result<Vec<ReceivedRecall>, AppError> {
        Ok(self.store.received_recalls().undelivered(origin, TELL_MAX).await.map_err(InternalError::Store)?)
    }

    /// Notes that an originator has an answer.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn answer_delivered(&self, answer: &ReceivedRecall) -> Result<(), AppError> {
        let delivered = self.store.received_recalls().delivered(answer.recall, answer.reply.clone(), fresh::now());
        Ok(delivered.await.map_err(InternalError::Store)?)
    }

    /// Changes when there is an answer to be delivered.
    pub fn answers_changed(&self) -> watch::Receiver<u64> {
        self.answered.subscribe()
    }

    /// Whom recalls are fetched from: every other member that ever took part, since each may have released something here.
    pub fn recall_sources(&self) -> Vec<MemberId> {
        let own = self.member();
        self.roster(|roster| roster.iter().map(|s| s.row.member).filter(|member| *member != own).collect())
    }

    /// Whether this member is suspended or expelled, so that recalls are all that it is told.
    pub fn is_left_out(&self) -> bool {
        self.party(self.member()).is_some_and(|own| own.status != PartyStatus::Active)
    }

    /// Recalls that reached this node, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn recalls_received(&self, limit: usize) -> Result<Vec<ReceivedRecall>, AppError> {
        Ok(self.store.received_recalls().list(None, limit).await.map_err(InternalError::Store)?)
    }

    /// Asks that a copy not be given up on request, such as by an order of a court; or that it may be again.
    ///
    /// # Errors
    /// There is no such copy, or the reason is not as it must be.
    pub async fn ask_hold_copy(
        &self,
        author: &SpiffeId,
        record: RecordId,
        because: Option<String>,
    ) -> Result<ApprovalView, AppError> {
        let held = self.store.received_recalls().hold(record).await.map_err(InternalError::Store)?.is_some();
        let summary = match &because {
            Some(because) => {
                ensure_reason(because)?;
                if record.originator() == self.member() {
                    return Err(Violations::one("record", "is this member's own: nobody recalls it from here").into());
                }
                self.record(author, record).await?;
                format!("retain the copy of {record} against its recall")
            }
            None if held => format!("let the copy of {record} be given up again"),
            None => return Err(AppError::NotFound("hold")),
        };
        self.ask(author, Action::HoldCopy { record, because }, summary, None).await
    }

    pub(crate) async fn hold_copy(
        &self,
        record: RecordId,
        because: Option<String>,
        author: &SpiffeId,
        approver: &SpiffeId,
    ) -> Result<String, AppError> {
        let recalls = self.store.received_recalls();
        let Some(because) = because else {
            recalls.lift_hold(record).await.map_err(InternalError::Store)?;
            // What was retained is asked for still.
            for recall in recalls.list(Some(record), TELL_MAX).await.map_err(InternalError::Store)? {
                if recall.answer == Answer::Retained {
                    self.answer(recall.origin, recall.recall, record, Vec::new(), None).await?;
                }
            }
            return Ok(format!("the copy of {record} is given up on request"));
        };
        let hold = CopyHold { record, because, author: author.clone(), approver: approver.clone(), at: fresh::now() };
        recalls.put_hold(hold).await.map_err(InternalError::Store)?;
        Ok(format!("the copy of {record} is retained"))
    }

    /// Asks that the answer to a recall be that it cannot be complied with: something is out of this member's hands.
    ///
    /// # Errors
    /// There is no such recall, or the reason is not as it must be.
    pub async fn ask_cannot_comply(
        &self,
        author: &SpiffeId,
        recall: RecordId,
        because: String,
    ) -> Result<ApprovalView, AppError> {
        ensure_reason(&because)?;
        let found = self.store.received_recalls().list(Some(recall), 1).await.map_err(InternalError::Store)?;
        let found = found.first().ok_or(AppError::NotFound("recall"))?;
        let summary = format!("answer the recall of {} by {}: cannot comply", found.record, found.origin);
        self.ask(author, Action::CannotComply { recall: found.recall, because }, summary, None).await
    }

    pub(crate) async fn cannot_comply(&self, recall: RecordId, because: String) -> Result<String, AppError> {
        let found = self.store.received_recalls().list(Some(recall), 1).await.map_err(InternalError::Store)?;
        let found = found.first().ok_or(AppError::NotFound("recall"))?;
        self.answer(found.origin, found.recall, found.record, Vec::new(), Some(because)).await?;
        Ok(format!("{} is told that its recall of {} cannot be complied with", found.origin, found.record))
    }
}

fn ensure_reason(because: &str) -> Result<(), AppError> {
    if because.trim().is_empty() || because.chars().count() > BECAUSE_MAX_CHARS {
        return Err(Violations::one("because", format!("expected 1 to {BECAUSE_MAX_CHARS} characters")).into());
    }
    Ok(())
}

fn counted(parties: usize) -> String {
    format!("{parties} part{}", if parties == 1 { "y" } else { "ies" })
}

impl From<RecallError> for AppError {
    fn from(error: RecallError) -> Self {
        let problem = error.to_string();
        match error {
            RecallError::NobodyHasIt { .. } => Self::Precondition { reason: "NOTHING_TO_RECALL", problem },
            RecallError::NotAsked { .. } | RecallError::NotARecall { .. } => Self::NotFound("recall"),
            RecallError::Record(error) => error.into(),
            RecallError::Store(error) => Self::Internal(InternalError::Store(error)),
        }
    }
}

impl RecallView {
    /// How it stands with one party, in a word: its answer, or that it was told, or that it cannot be reached.
    pub fn standing(&self, party: usize, now: Timestamp) -> &'static str {
        let Some(found) = self.recall.parties.get(party) else { return "" };
        match (found.answer, found.fetched) {
            (Some(answer), _) => answer.as_str(),
            (None, Some(_)) => "told",
            (None, None) if now.as_seconds() - self.recall.started.as_seconds() >= UNREACHABLE_AFTER_SECONDS => {
                "unreachable"
            }
            (None, None) => "not_reached_yet",
        }
    }
}
