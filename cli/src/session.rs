//! One run of the command: its options, where it writes, and how it reaches a node or a person.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::connection::{Calling, Node, default_state_folder};
use crate::contexts::{Context, ContextError, ContextsFile};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::freshness::Freshness;
use crate::output::{Format, Output};

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalOptions {
    /// Which node to call, and as whom: a name from the contexts file
    #[arg(long, global = true, env = "COMITY_CONTEXT", value_name = "NAME", help_heading = "Global options")]
    pub(crate) context: Option<String>,
    /// The contexts file [default: ~/.config/comity/contexts.toml]
    #[arg(long, global = true, env = "COMITY_CONFIG", value_name = "FILE", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// Where verified checkpoints are remembered [default: ~/.local/state/comity]
    #[arg(long, global = true, env = "COMITY_STATE", value_name = "DIR", help_heading = "Global options")]
    pub(crate) state: Option<PathBuf>,
    /// In which form data is written to stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub(crate) output: Format,
    /// How long each call to the node may take
    #[arg(
        long,
        global = true,
        default_value_t = 30_000,
        value_parser = clap::value_parser!(u64).range(1..=3_600_000),
        value_name = "MS",
        help_heading = "Global options"
    )]
    pub(crate) timeout_ms: u64,
    /// Read what this node has at hand, without asking the others whether it is the newest
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) stale_ok: bool,
    /// No colour, whatever the terminal can do; NO_COLOR does the same
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_color: bool,
}

/// What the verbs work with.
pub(crate) struct Session<'a> {
    pub(crate) output: &'a mut Output,
    options: GlobalOptions,
    freshness: Freshness,
}

impl<'a> Session<'a> {
    pub(crate) fn new(options: GlobalOptions, output: &'a mut Output) -> Self {
        let no_color = options.no_color || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        output.set(options.output, !no_color);
        Self { output, options, freshness: Freshness::default() }
    }

    /// The contexts file's path.
    pub(crate) fn contexts_path(&self) -> Result<PathBuf, Failure> {
        self.options.config.clone().or_else(ContextsFile::default_path).ok_or_else(|| {
            Failure::error("no home folder is known: name the contexts file with --config FILE or COMITY_CONFIG")
        })
    }

    /// The context in use, and its name.
    pub(crate) fn context(&self) -> Result<(String, Context), Failure> {
        let file = ContextsFile::read(&self.contexts_path()?)?;
        Ok(file.choose(self.options.context.as_deref())?)
    }

    /// The name of the context in use, where one can be told.
    pub(crate) fn context_name(&self) -> Result<Option<String>, Failure> {
        match (&self.options.context, ContextsFile::read(&self.contexts_path()?)) {
            (Some(name), _) => Ok(Some(name.clone())),
            (None, Ok(file)) => Ok(file.current().map(str::to_owned)),
            (None, Err(ContextError::NoFile { .. })) => Ok(None),
            (None, Err(error)) => Err(error.into()),
        }
    }

    /// Dials the node of the context in use.
    pub(crate) async fn node(&self) -> Result<Node, Failure> {
        let (_, context) = self.context()?;
        self.connect(&context).await
    }

    /// Dials the node of a context.
    pub(crate) async fn connect(&self, context: &Context) -> Result<Node, Failure> {
        let calling = Calling { timeout: self.timeout(), stale_ok: self.options.stale_ok };
        Node::connect(context, calling, self.freshness.clone()).await
    }

    /// Says how old what was shown is, where a node answered from what it had at hand.
    pub(crate) fn tell_age(&mut self) {
        if let Some(age) = self.freshness.oldest() {
            let age = crate::when::span(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
            self.output.note(&format!("as this node knew it {age} ago: it has not heard from enough others since"));
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.options.timeout_ms)
    }

    /// Where the program keeps what it remembers.
    pub(crate) fn state_folder(&self) -> Result<PathBuf, Failure> {
        self.options.state.clone().or_else(default_state_folder).ok_or_else(|| {
            Failure::error("no home folder is known: name one for what is remembered with --state DIR or COMITY_STATE")
        })
    }

    /// Asks a person to type `word` before something that cannot be undone. Where nobody can be asked, only `--yes` will do.
    pub(crate) fn confirm(&mut self, what: &str, word: &str, is_yes: bool) -> Result<(), Failure> {
        if is_yes {
            return Ok(());
        }
        if !self.output.can_ask() {
            return Err(Failure::usage(format!("{what}: nobody can be asked here; add --yes to confirm")));
        }
        self.output.ask(&format!("{what}.\nType {word} to confirm: "));
        let mut typed = String::new();
        io::stdin().read_line(&mut typed).map_err(|e| Failure::error(format!("stdin cannot be read: {e}")))?;
        if typed.trim() == word {
            return Ok(());
        }
        Err(Failure::new(Exit::Error, format!("not confirmed: `{word}` was not typed; nothing was changed")))
    }

    /// Writes a file that the person named: never over another unless told so.
    pub(crate) fn write_new(&self, path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
        comity_identity::pki::write_public(path, bytes, force).map_err(Failure::error)
    }
}
