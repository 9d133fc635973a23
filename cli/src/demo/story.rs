//! The story: one designation, from a draft to an entry that proves itself, and an administrator who is caught.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use comity_core::Role;
use serde_json::Value;

use super::desk::{Desk, StepError};
use super::federation::{Federation, Seat};
use super::partner;
use crate::exit::Exit;
use crate::import::ofac::sample as sample_files;
use crate::output::Output;

/// What DE's policy says in FR's node.
const POLICY_FOR_DE: &str = "// What Germany may see of France's records.\n\
@id(\"de-reads-proposals\")\n\
permit (\n  principal == Party::\"DE\",\n  action in [Action::\"discover\", Action::\"read\"],\n  resource\n)\n\
when { resource.kind == \"proposal\" && resource.tier <= 3 };\n";

/// What the story leaves behind for the commands to try next.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The proposal.
    pub proposal: String,
    /// The ballot.
    pub ballot: String,
    /// The entry.
    pub entry: String,
    /// The exported list.
    pub export: PathBuf,
}

/// Tells the story step by step.
pub struct Narrator<'a> {
    output: &'a mut Output,
    step: usize,
    begin: Instant,
}

impl<'a> Narrator<'a> {
    /// Begins at step 1.
    pub fn new(output: &'a mut Output) -> Self {
        Self { output, step: 0, begin: Instant::now() }
    }

    /// Opens a step.
    fn step(&mut self, title: &str) {
        self.step += 1;
        self.output.note(&format!("\n{:>2}. {title}", self.step));
        self.begin = Instant::now();
    }

    /// Says one thing of the step, and how long it took since the last.
    fn say(&mut self, text: &str) {
        let took = self.begin.elapsed();
        self.output.note(&format!("    {text:<84} {:>6} ms", took.as_millis()));
        self.begin = Instant::now();
    }

    /// Says a thing that took no time.
    fn aside(&mut self, text: &str) {
        self.output.note(&format!("    {text}"));
    }
}

fn seat<'a>(federation: &'a Federation, member: &str) -> Result<&'a Seat, StepError> {
    federation.seat(member).ok_or(StepError::Broken("a member of the story has no seat"))
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> StepError {
    let path = path.to_owned();
    move |source| StepError::File { path, source }
}

/// Runs the whole story against a federation that serves.
///
/// # Errors
/// A step did not go as it must.
pub async fn tell(federation: &mut Federation, narrator: &mut Narrator<'_>) -> Result<Ending, StepError> {
    let desk = Desk::new(&federation.folder);
    let people = |member: &str, role: Role, name: &str| -> Result<String, StepError> {
        Ok(seat(federation, member)?.context(role, name))
    };
    let fr_operator = people("FR", Role::Operator, "desk-1")?;
    let fr_approver = people("FR", Role::Approver, "desk-2")?;

    // What Canada's node is told before there is anything.
    let (canada, france) = (seat(federation, "CA")?.clone(), seat(federation, "FR")?.clone());
    let told_before = partner::pull(&federation.genesis, &canada, &france).await.map_err(StepError::Pull)?;

    narrator.step("France drafts a proposal from a sanctions list in OFAC's format");
    let sample = federation.folder.join("sample-ofac");
    std::fs::create_dir_all(&sample).map_err(file_error(&sample))?;
    sample_files::write(&sample).map_err(file_error(&sample))?;
    let sample_path = sample.display().to_string();
    let uid = sample_files::GENERAL.to_string();
    let import =
        ["import", "ofac", &sample_path, "--uid", &uid, "--draft", "--tier", "confidential", "--releasable-to", "DE"];
    let draft = desk.json(&fr_operator, &import).await?;
    let proposal = text(&draft, "/id")?;
    narrator.say(&format!("desk-1 drafted {proposal}, {}", text(&draft, "/banner")?));
    narrator.aside(&format!("its subject, an invented one: {}", text(&draft, "/title")?));

    narrator.step("Two people decide what Germany may see");
    let policy_file = federation.folder.join("DE.cedar");
    std::fs::write(&policy_file, POLICY_FOR_DE).map_err(file_error(&policy_file))?;
    let policy_path = policy_file.display().to_string();
    let fr_policy = people("FR", Role::Policy, "legal-1")?;
    let apply = ["policy", "apply", "--party", "DE", &policy_path];
    approved(&desk, narrator, &fr_policy, &apply, &fr_approver, "legal-1 wrote the policy for DE, desk-2 approved it")
        .await?;

    narrator.step("France shares it with Germany alone");
    let share = ["proposal", "share", &proposal, "--with", "DE"];
    let approval = desk.text(&fr_operator, &share, "/id").await?;
    let own_approver = people("FR", Role::Approver, "desk-1")?;
    desk.expect(Exit::RoleMayNot, &own_approver, &["approve", "yes", &approval]).await?;
    narrator.say("desk-1 asked to share it; the same person, as approver, was refused");
    desk.expect(Exit::Ok, &fr_approver, &["approve", "yes", &approval]).await?;
    narrator.say("desk-2 approved");
    let de_operator = people("DE", Role::Operator, "desk-1")?;
    let received = desk
        .until("the proposal at Germany's node", &de_operator, &["proposal", "show", &proposal], |p| {
            p.pointer("/state").is_some()
        })
        .await?;
    narrator.say(&format!("Germany's node pulled it; its desk reads \"{}\"", text(&received, "/title")?));

    narrator.step("Canada asks for the same, and learns nothing");
    let told_now = partner::pull(&federation.genesis, &canada, &france).await.map_err(StepError::Pull)?;
    if told_now != told_before {
        return Err(StepError::Broken("Canada's node can tell that France has something that it may not see"));
    }
    narrator.say("France's node answers Canada's node as it did before there was a proposal, to the byte");
    let ca_operator = people("CA", Role::Operator, "desk-1")?;
    let hidden = desk.expect(Exit::NotFound, &ca_operator, &["proposal", "show", &proposal]).await?;
    let absent = absent_twin(&proposal);
    let missing = desk.expect(Exit::NotFound, &ca_operator, &["proposal", "show", &absent]).await?;
    if hidden.err.replace(&proposal, "ID") != missing.err.replace(&absent, "ID") || hidden.out != missing.out {
        return Err(StepError::Broken("Canada can tell a hidden proposal from one that does not exist"));
    }
    narrator.say("its desk's answer is, to the byte, the one for a proposal that does not exist");
    let listed = desk.json(&ca_operator, &["proposal", "list"]).await?;
    if listed.pointer("/records").and_then(Value::as_array).is_some_and(|p| !p.is_empty()) {
        return Err(StepError::Broken("Canada sees a proposal that was not shared with it"));
    }
    narrator.say("Canada's list of proposals is empty");

    narrator.step("France lays the public part before all members");
    let table = ["proposal", "table", &proposal];
    approved(&desk, narrator, &fr_operator, &table, &fr_approver, "desk-1 asked, desk-2 approved: it is tabled")
        .await?;
    let ballot = desk.text(&fr_operator, &["proposal", "show", &proposal], "/ballot").await?;
    narrator.aside(&format!("ballot {}", ballot.get(..10).unwrap_or(&ballot)));

    narrator.step("The four members vote, each with its own two people and its own key");
    let mut entry = None;
    for member in ["FR", "DE", "CA", "AU"] {
        let operator = people(member, Role::Operator, "desk-1")?;
        let approver = people(member, Role::Approver, "desk-2")?;
        desk.until("the ballot at a member's node", &operator, &["ballot", "show", &ballot], |_| true).await?;
        let vote = ["ballot", "vote", &ballot, "yes", "--reason", "The case is made."];
        approved(&desk, narrator, &operator, &vote, &approver, &format!("{member} voted yes")).await?;
        let now = desk.json(&operator, &["ballot", "show", &ballot]).await?;
        entry = now.pointer("/entry").and_then(Value::as_str).filter(|e| !e.is_empty()).map(str::to_owned).or(entry);
    }
    let entry = entry.ok_or(StepError::Broken("four votes did not list the subject"))?;

    narrator.step(&format!("{entry} stands on every member's list"));
    let is_agreed = |e: &Value| e.pointer("/agreed").and_then(Value::as_bool) == Some(true);
    for member in ["FR", "DE", "CA", "AU"] {
        let operator = people(member, Role::Operator, "desk-1")?;
        desk.until("an agreed entry", &operator, &["list", "show", &entry], is_agreed).await?;
        narrator.say(&format!("{member}: listed, and agreed: enough members cosigned the log that holds it"));
    }

    narrator.step("Anybody verifies the list offline, with the genesis file alone");
    let export = federation.folder.join("list.json");
    let (export_path, genesis) =
        (export.display().to_string(), federation.folder.join("genesis.json").display().to_string());
    let au_operator = people("AU", Role::Operator, "desk-1")?;
    desk.expect(Exit::Ok, &au_operator, &["list", "export", "--commands", "-O", &export_path]).await?;
    narrator.say("Australia exported its copy");
    desk.expect(Exit::Ok, &au_operator, &["list", "verify", &export_path, "--genesis", &genesis]).await?;
    narrator.say("proved: signatures, consents, cosignatures, and every command replayed");

    narrator.step("Each member's auditor verifies its access log");
    for member in ["FR", "DE", "CA", "AU"] {
        let auditor = people(member, Role::Auditor, "audit-1")?;
        desk.expect(Exit::Ok, &auditor, &["audit", "verify"]).await?;
        narrator.say(&format!("{member}: every leaf is under the signed checkpoint"));
    }

    narrator.step("Canada's own administrator edits the log, to hide who asked");
    tamper(federation, &desk, narrator).await?;
    Ok(Ending { proposal, ballot, entry, export })
}

fn text(value: &Value, pointer: &'static str) -> Result<String, StepError> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).ok_or(StepError::Answer { command: "import".into(), what: pointer })
}

/// One asks, another approves.
async fn approved(
    desk: &Desk,
    narrator: &mut Narrator<'_>,
    author: &str,
    ask: &[&str],
    approver: &str,
    say: &str,
) -> Result<(), StepError> {
    let approval = desk.text(author, ask, "/id").await?;
    desk.expect(Exit::Ok, approver, &["approve", "yes", &approval]).await?;
    narrator.say(say);
    Ok(())
}

/// An id of the same shape that nobody drew.
fn absent_twin(proposal: &str) -> String {
    let mut id: Vec<char> = proposal.chars().collect();
    if let Some(last) = id.last_mut() {
        *last = if *last == '0' { '1' } else { '0' };
    }
    id.into_iter().collect()
}

/// Stops a node, changes its log's file on disk as its administrator could, shows that the auditor finds it, and puts it back.
async fn tamper(federation: &mut Federation, desk: &Desk, narrator: &mut Narrator<'_>) -> Result<(), StepError> {
    let index = federation.seats.iter().position(|s| s.member.as_str() == "CA");
    let index = index.ok_or(StepError::Broken("a member of the story has no seat"))?;
    let ca = seat(federation, "CA")?.clone();
    let auditor = ca.context(Role::Auditor, "audit-1");
    federation.stop(index, Duration::from_secs(15)).await;
    let database = ca.folder.join("data").join("national.db");
    let before = std::fs::read(&database).map_err(file_error(&database))?;
    let domain = "ca.comity.example";
    let (from, to) = (
        format!("\"who\":\"spiffe://{domain}/operator/desk-1\""),
        format!("\"who\":\"spiffe://{domain}/operator/desk-9\""),
    );
    let after = replaced(&before, from.as_bytes(), to.as_bytes())
        .ok_or(StepError::Broken("the log's file holds no record to edit"))?;
    std::fs::write(&database, after).map_err(file_error(&database))?;
    federation.spawn(index)?;
    federation.wait_serving(index, Duration::from_secs(60)).await?;
    narrator.say("with the node stopped, desk-1 became desk-9 in the database file; the node serves again");
    let caught = desk.expect(Exit::VerificationFailed, &auditor, &["audit", "verify"]).await?;
    narrator.say("the auditor's verification fails, exit code 8:");
    let words = caught.err.lines().next().unwrap_or_default().to_owned();
    narrator.aside(&format!("  {}", words.chars().take(150).collect::<String>()));

    federation.stop(index, Duration::from_secs(15)).await;
    let edited = std::fs::read(&database).map_err(file_error(&database))?;
    let restored = replaced(&edited, to.as_bytes(), from.as_bytes()).ok_or(StepError::Broken("the edit is gone"))?;
    std::fs::write(&database, restored).map_err(file_error(&database))?;
    federation.spawn(index)?;
    federation.wait_serving(index, Duration::from_secs(60)).await?;
    desk.expect(Exit::Ok, &auditor, &["audit", "verify"]).await?;
    narrator.say("the old bytes put back, it verifies again");
    Ok(())
}

/// Every occurrence replaced by one of the same length; nothing where there is none.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let mut found = false;
    let mut at = 0;
    while let Some(window) = out.get_mut(at..at + from.len()) {
        if window == from {
            window.copy_from_slice(to);
            found = true;
            at += from.len();
        } else {
            at += 1;
        }
    }
    found.then_some(out)
}
