//! What the calls are about: a record of France's that some hold and others must not learn of, and what surrounds it.

use comity_cli::demo::federation::Plan;
use comity_core::Role::{Operator, Policy};
use comity_core::export::ListExport;
use comity_core::rule::{BallotKind, Rules};
use comity_tests::federation::plan_by;
use serde_json::Value;

use crate::support::Field;

pub const OWN: &str = "FR";
pub const GRANTED: [&str; 3] = ["DE", "AU", "OPCW"];
pub const NOT_GRANTED: [&str; 2] = ["CA", "IIIM"];
pub const SUSPENDED: &str = "AU";

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;

/// A federation in which everything that a call can be about is there.
pub struct Stage {
    pub field: Field,
    pub subject: Subject,
    /// An entry of the list, with a measure of France's.
    pub entry: String,
    /// A proposal before the members, decided by votes.
    pub voted: String,
    /// Another text for the entry, decided by silence; Germany holds it.
    pub silent: String,
    /// An agreed position, as the members cosigned it.
    pub agreed: AgreedPosition,
}

/// What the partners that are not granted it must not learn of.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Shared with those in [`GRANTED`].
    pub record: String,
    /// Its version.
    pub etag: String,
    /// Another, which they had and gave back.
    pub recalled: String,
    /// The recall of that one.
    pub recall: String,
    /// What waits in France for a second person: the record is to be shared more widely.
    pub approval: String,
}

impl Subject {
    pub fn ids(&self) -> [&str; 4] {
        [&self.record, &self.recalled, &self.recall, &self.approval]
    }

    /// The same with ids that nobody ever gave to anything, of the same form.
    pub fn absent(&self) -> Self {
        let absent = |id: &str| {
            let (begin, _) = id.rsplit_once('-').unwrap();
            format!("{begin}-{}", "0".repeat(id.len() - begin.len() - 1))
        };
        Self {
            record: absent(&self.record),
            etag: self.etag.clone(),
            recalled: absent(&self.recalled),
            recall: absent(&self.recall),
            approval: absent(&self.approval),
        }
    }
}

/// A size of the command log and the notes about it.
pub struct AgreedPosition {
    pub commands: u64,
    pub command_note: Vec<u8>,
    pub public_note: Vec<u8>,
}

impl Stage {
    pub async fn set() -> Self {
        let mut rules = Rules::uniform("quorum(1/2)".parse().unwrap());
        rules.set(BallotKind::Amend, "no_objection(period=10,notice=5,presence=2/3)".parse().unwrap());
        let plan = plan_by(&["FR", "DE", "CA", "AU"], rules).unwrap();
        let recipients = ["OPCW", "IIIM"].map(|party| party.parse().unwrap()).to_vec();
        let field = Field::start_plan(&Plan { recipients, ..plan }).await;
        for other in GRANTED.iter().chain(&NOT_GRANTED) {
            policy(&field, OWN, other).await;
            policy(&field, other, OWN).await;
        }
        let people = field.file("people.yaml", "default: {tier: secret}\n");
        for party in GRANTED.iter().chain(&NOT_GRANTED).chain(&[OWN]) {
            field.approved(party, Policy, &["policy", "people", "--apply", &people]).await;
        }

        let record = shared(&field, &GRANTED).await;
        let recalled = shared(&field, &GRANTED).await;
        // The others have something of France's, too: their streams are not empty for want of anything.
        shared(&field, &NOT_GRANTED).await;
        let start = ["recall", "start", &recalled, "--reason", "A source is at risk.", "--yes"];
        field.approved(OWN, Operator, &start).await;
        let answered = |status: &Value| {
            let parties = status["parties"].as_array().unwrap();
            parties.len() == GRANTED.len() && parties.iter().all(|party| party["standing"] == "destroyed")
        };
        let fr = field.context(OWN, Operator);
        let status = field.desk.until("the answers", &fr, &["recall", "status", &recalled], answered).await.unwrap();
        let recall = text(&status, "id");

        let entry = field.listed(OWN, &["FR", "DE"], "DOE, Ada").await;
        let measure = ["measure", "attach", &entry, "--id", "m1", "--programme", "CW", "--from", "2026-01-01"];
        let measure = [&measure[..], &["--legal-act", "Act 1", "--imposes", "asset_freeze"]].concat();
        field.approved(OWN, Operator, &measure).await;
        let tabled = field.draft_of(OWN, "ROE, Rita", "The case for publication.").await;
        let voted = field.table(OWN, &tabled).await;
        let text_of = field.draft_of(OWN, "DOE, Ada Maria", "Another case for publication.").await;
        field.approved(OWN, Operator, &["proposal", "table", &text_of, "--amends", &entry]).await;
        let shown = field.ok(OWN, Operator, &["proposal", "show", &text_of]).await;
        let silent = text(&shown, "ballot");
        field.ballot("DE", &silent, |_| true).await;
        field.approved("DE", Operator, &["ballot", "hold", &silent, "--reason", "We look into it."]).await;
        let suspend = field.moved(OWN, &["member", "suspend", SUSPENDED, "--statement", "A breach."]).await;
        for voter in ["FR", "DE"] {
            field.vote(voter, &suspend).await;
        }
        field.ballot(OWN, &suspend, |ballot| ballot["state"] == "adopted").await;
        field.ballot("CA", &suspend, |ballot| ballot["state"] == "adopted").await;

        let waits = field.ok(OWN, Operator, &["proposal", "share", &record, "--with", "CA"]).await;
        let shown = field.ok(OWN, Operator, &["proposal", "show", &record]).await;
        let subject = Subject { etag: text(&shown, "etag"), record, recalled, recall, approval: text(&waits, "id") };
        let agreed = agreed(&field).await;
        Self { field, subject, entry, voted, silent, agreed }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

async fn policy(field: &Field, of: &str, party: &str) {
    let file = field.file(&format!("{of}-{party}.cedar"), READS);
    field.approved(of, Policy, &["policy", "apply", "--party", party, &file]).await;
}

/// A proposal of France's that could go to everybody by its marking, and was shared with these, who have received it.
async fn shared(field: &Field, with: &[&str]) -> String {
    let proposal = field.draft(OWN, &[&GRANTED[..], &NOT_GRANTED].concat()).await;
    field.approved(OWN, Operator, &["proposal", "share", &proposal, "--with", &with.join(",")]).await;
    for party in with {
        let operator = field.context(party, Operator);
        field.desk.until("the record", &operator, &["proposal", "show", &proposal], |_| true).await.unwrap();
    }
    proposal
}

async fn agreed(field: &Field) -> AgreedPosition {
    let file = field.export(OWN, "agreed.json", &["--commands"]).await;
    let export: ListExport = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let commands = export.commands.unwrap();
    AgreedPosition {
        commands: u64::try_from(commands.envelopes.len()).unwrap(),
        command_note: commands.checkpoint.into_bytes(),
        public_note: export.checkpoint.into_bytes(),
    }
}
