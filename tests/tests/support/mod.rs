//! What the federation tests share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::time::Duration;

use comity_cli::Exit;
use comity_cli::demo::desk::{Answer, Desk};
use comity_cli::demo::federation::Federation;
use comity_core::Role;
use comity_tests::federation::{lay_out, plan};
use serde_json::Value;

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

    pub fn laid_out(members: &[&str], rule: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let federation = lay_out(folder.path(), &plan(members, rule).unwrap(), program()).unwrap();
        Self { desk: Desk::new(&federation.folder), federation, _folder: folder }
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

    /// Writes a file of the test's own.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.federation.folder.join(name);
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
