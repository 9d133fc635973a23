//! A desk of the demonstration: runs `comity` commands in one person's name, through the same code as the command itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::exit::Exit;
use crate::output::Output;

/// How long something that nodes do by themselves may take before the story is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

/// A step of the story did not go as it must.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A command ended otherwise than expected.
    #[error("`{command}` ended with exit code {found}, expected {expected}:\n{err}")]
    Exit {
        /// The command.
        command: String,
        /// The code it ended with.
        found: u8,
        /// The code it was to end with.
        expected: u8,
        /// What it said.
        err: String,
    },
    /// A command's answer lacks something.
    #[error("`{command}`: the answer has no {what}")]
    Answer {
        /// The command.
        command: String,
        /// What it lacks.
        what: &'static str,
    },
    /// Something that the story promises is not so.
    #[error("{0}")]
    Broken(&'static str),
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s; the last attempt said:\n{last}")]
    Patience {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
        /// What the last attempt said.
        last: String,
    },
    /// One node got no answer from another.
    #[error("a node's pull: {0}")]
    Pull(Box<dyn std::error::Error + Send + Sync>),
    /// A node.
    #[error(transparent)]
    Federation(#[from] super::federation::FederationError),
    /// A file of the demonstration.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The system.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs commands against the contexts of one federation.
#[derive(Debug, Clone)]
pub struct Desk {
    contexts: PathBuf,
    state: PathBuf,
}

impl Desk {
    /// The desk of a federation's folder.
    pub fn new(federation: &Path) -> Self {
        Self { contexts: federation.join("contexts.toml"), state: federation.join("state") }
    }

    /// Runs one command, whatever comes of it.
    pub async fn run(&self, context: &str, arguments: &[&str]) -> Answer {
        let mut line: Vec<OsString> = vec!["comity".into(), "--config".into(), self.contexts.clone().into()];
        line.extend(["--state".into(), self.state.clone().into(), "--context".into(), context.into()]);
        line.extend(arguments.iter().map(OsString::from));
        let (mut output, captured) = Output::captured();
        let exit = Box::pin(crate::run(line, &mut output)).await;
        Answer { exit, out: captured.out(), err: captured.err() }
    }

    /// Runs one command that must end as expected.
    ///
    /// # Errors
    /// It ended otherwise.
    pub async fn expect(&self, exit: Exit, context: &str, arguments: &[&str]) -> Result<Answer, StepError> {
        let answer = self.run(context, arguments).await;
        if answer.exit == exit {
            return Ok(answer);
        }
        Err(StepError::Exit {
            command: shown(context, arguments),
            found: answer.exit.code(),
            expected: exit.code(),
            err: answer.err,
        })
    }

    /// Runs one command that must succeed, and reads its answer as JSON.
    ///
    /// # Errors
    /// It failed, or its answer is no JSON.
    pub async fn json(&self, context: &str, arguments: &[&str]) -> Result<Value, StepError> {
        let mut with_format = arguments.to_vec();
        with_format.extend(["-o", "json"]);
        let answer = self.expect(Exit::Ok, context, &with_format).await?;
        serde_json::from_str(&answer.out)
            .map_err(|_| StepError::Answer { command: shown(context, arguments), what: "JSON" })
    }

    /// Runs one command that must succeed, and reads one text out of its answer.
    ///
    /// # Errors
    /// It failed, or has no such text.
    pub async fn text(&self, context: &str, arguments: &[&str], pointer: &'static str) -> Result<String, StepError> {
        let answer = self.json(context, arguments).await?;
        let text = answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| StepError::Answer { command: shown(context, arguments), what: pointer })
    }

    /// Repeats one command until its answer is as wanted: for what the nodes do by themselves.
    ///
    /// # Errors
    /// It never was.
    pub async fn until(
        &self,
        what: &'static str,
        context: &str,
        arguments: &[&str],
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, StepError> {
        let begin = Instant::now();
        let mut with_format = arguments.to_vec();
        with_format.extend(["-o", "json"]);
        loop {
            let answer = self.run(context, &with_format).await;
            let found = serde_json::from_str::<Value>(&answer.out).ok().filter(|_| answer.exit == Exit::Ok);
            if let Some(found) = found.filter(&wanted) {
                return Ok(found);
            }
            if begin.elapsed() > PATIENCE {
                let last = if answer.err.is_empty() { answer.out } else { answer.err };
                return Err(StepError::Patience { what, seconds: PATIENCE.as_secs(), last });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A command as a person would type it.
pub fn shown(context: &str, arguments: &[&str]) -> String {
    format!("comity --context {context} {}", arguments.join(" "))
}
