//! What the federation tests share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use comity_cli::demo::desk::{Answer, Desk};
use comity_cli::demo::federation::{Federation, NodeProgram, Plan};
use comity_cli::{Exit, NODE_PROCESS};
use comity_core::Role;
use comity_core::rule::{BallotKind, Rules};
use comity_tests::commands::pass_time;
use comity_tests::federation::{free_ports, plan, plan_by};
use serde_json::Value;

/// Nothing that drives a terminal, nothing that only a programmer reads.
pub fn assert_fit_to_print(text: &str) {
    assert!(!text.contains('\x1b'), "{text}");
    for word in ["Some(", "None", "MemberId", "{\"", "\\n"] {
        assert!(!text.contains(word), "`{word}` in\n{text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "a line ends in spaces:\n{text}");
}

/// A text without its line ends and columns, to look for words in.
pub fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub const PATIENCE: Duration = Duration::from_secs(60);

/// The executable that is `comity` and, as a child, a node.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_comity-under-test"))
}

/// A federation that runs, and desks to work at.
pub struct Field {
    pub federation: Federation,
    pub desk: Desk,
    _folder: tempfile::TempDir,
}

impl Field {
    pub async fn start(members: &[&str], rule: &str) -> Self {
        let mut field = Self::laid_out(members, rule);
        field.federation.start(PATIENCE).await.unwrap();
        field
    }

    /// As [`Self::start`], with a rule for each kind of ballot: `uniform`, and others where named.
    pub async fn start_by(members: &[&str], uniform: &str, others: &[(BallotKind, &str)]) -> Self {
        let mut rules = Rules::uniform(uniform.parse().unwrap());
        for (kind, rule) in others {
            rules.set(*kind, rule.parse().unwrap());
        }
        let mut field = Self::of(&plan_by(members, rules).unwrap());
        field.federation.start(PATIENCE).await.unwrap();
        field
    }

    /// As [`Self::start`], with those that receive and have no vote.
    pub async fn start_with_recipients(members: &[&str], recipients: &[&str], rule: &str) -> Self {
        let recipients = recipients.iter().map(|party| party.parse().unwrap()).collect();
        Self::start_plan(&Plan { recipients, ..plan(members, rule).unwrap() }).await
    }

    /// As [`Self::start`], by a plan of the test's own.
    pub async fn start_plan(plan: &Plan) -> Self {
        let mut field = Self::of(plan);
        field.federation.start(PATIENCE).await.unwrap();
        field
    }

    pub fn laid_out(members: &[&str], rule: &str) -> Self {
        Self::of(&plan(members, rule).unwrap())
    }

    /// As [`Self::laid_out`], with more lines of TOML sections laid over each node's configuration.
    pub fn laid_out_with(members: &[&str], rule: &str, settings: &str) -> Self {
        let mut plan = plan(members, rule).unwrap();
        plan.settings.push_str(settings);
        Self::of(&plan)
    }

    fn of(plan: &Plan) -> Self {
        Self::run_by(plan, NodeProgram { program: program(), arguments: vec![NODE_PROCESS.to_owned()] })
    }

    /// Laid out, its nodes to be started in another way than usual.
    pub fn run_by(plan: &Plan, program: NodeProgram) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let federation = Federation::lay_out(folder.path(), plan, program).unwrap();
        Self { desk: Desk::new(&federation.folder), federation, _folder: folder }
    }

    /// Which seat a member has.
    pub fn seat_of(&self, member: &str) -> usize {
        self.federation.seats.iter().position(|seat| seat.member.as_str() == member).unwrap()
    }

    /// The members' nodes say that an instant has passed.
    pub async fn until(&self, time: &str) {
        pass_time(&self.federation, time.parse().unwrap()).await.unwrap();
    }

    /// What a command says to a person, who reads it on paper.
    pub async fn read(&self, member: &str, role: Role, arguments: &[&str]) -> String {
        let answer = self.run(member, role, arguments).await;
        assert_eq!(answer.exit, Exit::Ok, "{arguments:?}: {}", answer.err);
        assert_fit_to_print(&answer.out);
        answer.out
    }

    /// Waits until a ballot is as wanted at a member's node.
    pub async fn ballot(&self, member: &str, ballot: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let operator = self.context(member, Role::Operator);
        self.desk.until("the ballot as wanted", &operator, &["ballot", "show", ballot], wanted).await.unwrap()
    }

    /// Waits until all that a member's node holds is agreed.
    pub async fn agreed(&self, member: &str) -> Value {
        let all = |s: &Value| s["publications"] == s["agreed_publications"] && s["commands"] == s["agreed_commands"];
        let operator = self.context(member, Role::Operator);
        self.desk.until("agreement", &operator, &["list", "status"], all).await.unwrap()
    }

    /// Exports what a member's node holds, once it is agreed, to a file.
    pub async fn export(&self, member: &str, name: &str, depth: &[&str]) -> String {
        self.agreed(member).await;
        let file = self.federation.folder.join(name).display().to_string();
        let export = [["list", "export", "-O", &file, "--force"].as_slice(), depth].concat();
        let answer = self.run(member, Role::Operator, &export).await;
        assert_eq!(answer.exit, Exit::Ok, "{}", answer.err);
        file
    }

    /// What a member's node exports proves itself at both depths, from the genesis alone; what the deeper one says.
    pub async fn verified(&self, member: &str) -> Value {
        let genesis = self.federation.folder.join("genesis.json").display().to_string();
        let public = self.export(member, "public.json", &[]).await;
        self.ok(member, Role::Operator, &["list", "verify", &public, "--genesis", &genesis]).await;
        let whole = self.export(member, "members.json", &["--commands"]).await;
        self.ok(member, Role::Operator, &["list", "verify", &whole, "--genesis", &genesis]).await
    }

    /// A motion is asked for by an operator and approved; returns its ballot.
    pub async fn moved(&self, member: &str, arguments: &[&str]) -> String {
        let approval = self.approved(member, Role::Operator, arguments).await;
        assert_eq!(approval["state"], "done", "{approval}");
        let open = self.ok(member, Role::Operator, &["ballot", "list", "--open"]).await;
        open["ballots"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Drafts, tables and lists a subject by the votes of these members; returns the entry.
    pub async fn listed(&self, proposer: &str, voters: &[&str], name: &str) -> String {
        let proposal = self.draft_of(proposer, name, "The case for publication.").await;
        let ballot = self.table(proposer, &proposal).await;
        for voter in voters {
            self.vote(voter, &ballot).await;
        }
        let adopted = self.ballot(proposer, &ballot, |b| b["state"] == "adopted").await;
        adopted["entry"].as_str().unwrap().to_owned()
    }

    /// Drafts a proposal about a person of this name.
    pub async fn draft_of(&self, member: &str, name: &str, case: &str) -> String {
        let draft = serde_json::json!({
            "title": name,
            "marking": { "tier": "official", "releasable_to": [] },
            "subject": { "kind": "person", "names": [{ "full": name, "kind": "primary" }] },
            "statement_of_case": case,
        });
        let path = self.file("draft-of.json", &draft.to_string());
        let drafted = self.ok(member, Role::Operator, &["proposal", "draft", "-f", &path]).await;
        drafted["id"].as_str().unwrap().to_owned()
    }

    pub fn context(&self, member: &str, role: Role) -> String {
        let name = match role {
            Role::Operator => "desk-1",
            Role::Approver => "desk-2",
            Role::Policy => "legal-1",
            Role::Auditor => "audit-1",
            Role::Admin => "ops-1",
            Role::Node => "node-1",
        };
        self.federation.seat(member).unwrap().context(role, name)
    }

    /// Runs a command as the member's person of that role.
    pub async fn run(&self, member: &str, role: Role, arguments: &[&str]) -> Answer {
        self.desk.run(&self.context(member, role), arguments).await
    }

    /// A command of the member's person of that role, as a process of its own.
    pub fn process(&self, member: &str, role: Role, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--config")
            .arg(self.federation.contexts())
            .arg("--state")
            .arg(self.federation.folder.join("state"));
        command.args(["--context", &self.context(member, role)]).args(arguments);
        command
    }

    /// Runs a command that must succeed.
    pub async fn ok(&self, member: &str, role: Role, arguments: &[&str]) -> Value {
        self.desk.json(&self.context(member, role), arguments).await.unwrap()
    }

    /// Runs a command that must end with that exit code, and say all of these words.
    pub async fn refused(&self, exit: Exit, member: &str, role: Role, arguments: &[&str], words: &[&str]) -> String {
        let answer = self.run(member, role, arguments).await;
        assert_eq!(answer.exit, exit, "{arguments:?}: {}{}", answer.out, answer.err);
        for word in words {
            assert!(answer.err.contains(word), "`{word}` in the answer to {arguments:?}:\n{}", answer.err);
        }
        answer.err
    }

    /// One of a member's people asks, another approves.
    pub async fn approved(&self, member: &str, role: Role, arguments: &[&str]) -> Value {
        let asked = self.ok(member, role, arguments).await;
        let id = asked["id"].as_str().unwrap();
        self.ok(member, Role::Approver, &["approve", "yes", id]).await
    }

    /// As [`Self::refused`], of what another person approves: the approval is where it fails.
    pub async fn not_carried_out(
        &self,
        exit: Exit,
        member: &str,
        role: Role,
        arguments: &[&str],
        words: &[&str],
    ) -> String {
        let asked = self.ok(member, role, arguments).await;
        let id = asked["id"].as_str().unwrap();
        self.refused(exit, member, Role::Approver, &["approve", "yes", id], words).await
    }

    /// Where a file of the test's own is.
    pub fn file_at(&self, name: &str) -> PathBuf {
        self.federation.folder.join(name)
    }

    /// Writes a file of the test's own.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.file_at(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Drafts a proposal and returns its id.
    pub async fn draft(&self, member: &str, releasable_to: &[&str]) -> String {
        let releasable: Vec<String> = releasable_to.iter().map(|m| format!("\"{m}\"")).collect();
        let path = self.file(
            "draft.json",
            &format!(
                r#"{{"title":"The quiet title","marking":{{"tier":"confidential","releasable_to":[{}]}},
                "subject":{{"kind":"person","names":[{{"full":"DOE, Ada","kind":"primary"}}]}},
                "statement_of_case":"The case for publication.","assessment":"What we think.",
                "sources":[{{"description":"A source nobody may know"}}]}}"#,
                releasable.join(",")
            ),
        );
        self.ok(member, Role::Operator, &["proposal", "draft", "-f", &path]).await["id"].as_str().unwrap().to_owned()
    }

    /// Tables a member's proposal; returns the ballot.
    pub async fn table(&self, member: &str, proposal: &str) -> String {
        self.approved(member, Role::Operator, &["proposal", "table", proposal]).await;
        let shown = self.ok(member, Role::Operator, &["proposal", "show", proposal]).await;
        shown["ballot"].as_str().unwrap().to_owned()
    }

    /// A member votes yes.
    pub async fn vote(&self, member: &str, ballot: &str) {
        let operator = self.context(member, Role::Operator);
        self.desk.until("the ballot", &operator, &["ballot", "show", ballot], |_| true).await.unwrap();
        self.approved(member, Role::Operator, &["ballot", "vote", ballot, "yes"]).await;
    }
}

/// A state that joins: one invitation, one command, which is a process of its own and keeps its node running.
pub struct Joined {
    pub member: &'static str,
    pub folder: PathBuf,
    pub desk: Desk,
    process: Child,
    log: PathBuf,
}

impl Joined {
    /// Runs `comity member join` in a folder of the federation's.
    pub fn start(field: &Field, member: &'static str, invite: &str, folder: &str) -> Self {
        let endpoint = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
        Self::start_at(field, member, invite, folder, &endpoint)
    }

    /// As [`Self::start`], where the members expect it.
    pub fn start_at(field: &Field, member: &'static str, invite: &str, folder: &str, endpoint: &str) -> Self {
        Self::start_as(field, member, invite, folder, endpoint, &[])
    }

    /// As [`Self::start`], of a body that receives and has no vote.
    pub fn start_recipient(field: &Field, member: &'static str, invite: &str, folder: &str) -> Self {
        let endpoint = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
        Self::start_as(field, member, invite, folder, &endpoint, &["--recipient"])
    }

    fn start_as(
        field: &Field,
        member: &'static str,
        invite: &str,
        folder: &str,
        endpoint: &str,
        options: &[&str],
    ) -> Self {
        let folder = field.federation.folder.join(folder);
        let ports = free_ports(2).unwrap();
        let address = |n: usize| format!("127.0.0.1:{}", ports[n]);
        let name = field.federation.genesis.federation().to_string();
        let log_path = field.federation.folder.join(format!("{member}.log"));
        let log = std::fs::File::create(&log_path).unwrap();
        let process = Command::new(program())
            .args(["member", "join", invite, "--member", member, "--run"])
            .args(options)
            .args(["--endpoint", endpoint, "--listen", endpoint, "--operator-listen", &address(0)])
            .args(["--health-listen", &address(1), "--federation", &name[..8], "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { member, desk: Desk::new(&folder), folder, process, log: log_path }
    }

    /// What it had before on another machine is lost: its people say so, as soon as it knows what others saw of its access log.
    pub async fn declare_loss(&self) {
        let restore = ["node", "restore", "--declare-loss", "--reason", "the machine is gone", "--yes", "-o", "json"];
        let begin = Instant::now();
        let asked = loop {
            let asked = self.run(Role::Admin, &restore).await;
            if asked.exit == Exit::Ok {
                break asked;
            }
            assert!(begin.elapsed() < PATIENCE, "{}", asked.err);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let asked: Value = serde_json::from_str(&asked.out).unwrap();
        self.ok(Role::Approver, &["approve", "yes", asked["id"].as_str().unwrap()]).await;
    }

    /// Its member.json, once it is written.
    pub async fn row(&mut self) -> String {
        let path = self.folder.join("member.json");
        let begin = Instant::now();
        while !path.exists() {
            assert!(self.process.try_wait().unwrap().is_none(), "it ended");
            assert!(begin.elapsed() < PATIENCE, "no member.json");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        path.display().to_string()
    }

    fn context(&self, role: Role) -> String {
        let name = match role {
            Role::Approver => "desk-2",
            Role::Admin => "ops-1",
            _ => "desk-1",
        };
        format!("{}-{name}", self.member.to_lowercase())
    }

    pub async fn run(&self, role: Role, arguments: &[&str]) -> Answer {
        self.desk.run(&self.context(role), arguments).await
    }

    pub async fn ok(&self, role: Role, arguments: &[&str]) -> Value {
        self.desk.json(&self.context(role), arguments).await.unwrap()
    }

    /// Repeats a command of its operator's until its answer is as wanted.
    pub async fn until(&self, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let context = self.context(Role::Operator);
        let answer = self.desk.until("what the new member waits for", &context, arguments, wanted).await;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        assert!(answer.is_ok(), "{answer:?}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        answer.unwrap()
    }

    pub async fn vote(&self, ballot: &str) {
        self.until(&["ballot", "show", ballot], |_| true).await;
        let asked = self.ok(Role::Operator, &["ballot", "vote", ballot, "yes"]).await;
        self.ok(Role::Approver, &["approve", "yes", asked["id"].as_str().unwrap()]).await;
    }

    /// Kills the command; its node ends with it.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.kill();
    }
}
