//! Where a command writes: data on stdout, everything else on stderr.
//!
//! A reader that goes away (`comity audit log | head`) ends the output quietly; any other failure to write is told, since
//! a truncated list is worse than none.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Style, clean_json};

/// In which form data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
    /// The same as YAML.
    Yaml,
}

/// The two streams of a command, and what is known of the terminal behind them.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    format: Format,
    colour_allowed: bool,
    terminal: Terminal,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Terminal {
    input: bool,
    out: bool,
    err: bool,
}

impl Output {
    /// The streams of this process.
    pub fn process() -> Self {
        let terminal = Terminal {
            input: io::stdin().is_terminal(),
            out: io::stdout().is_terminal(),
            err: io::stderr().is_terminal(),
        };
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()), terminal)
    }

    /// Streams that are kept in memory, as if neither were a terminal: for tests and for the demonstration.
    pub fn captured() -> (Self, Captured) {
        let captured = Captured { out: Kept::default(), err: Kept::default() };
        let output = Self::new(Box::new(captured.out.clone()), Box::new(captured.err.clone()), Terminal::default());
        (output, captured)
    }

    fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, terminal: Terminal) -> Self {
        Self { out, err, format: Format::Table, colour_allowed: true, terminal, is_closed: false }
    }

    pub(crate) fn set(&mut self, format: Format, colour_allowed: bool) {
        self.format = format;
        self.colour_allowed = colour_allowed;
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether a person can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.terminal.input && self.terminal.err
    }

    /// Whether stdout is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.out
    }

    /// Whether progress can be drawn on stderr.
    pub(crate) fn can_draw_progress(&self) -> bool {
        self.terminal.err
    }

    /// Whether the reader of stdout went away: whoever writes much can stop.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(crate) fn style(&self) -> Style {
        Style { colour: self.colour_allowed && self.terminal.out, is_terminal: self.terminal.out }
    }

    /// Writes data in the form that was asked for.
    pub(crate) fn show<T: Serialize>(
        &mut self,
        data: &T,
        readable: impl FnOnce(&Style) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let text = readable(&self.style());
                self.line(&text)
            }
            Format::Json => {
                let json = serde_json::to_string_pretty(data)
                    .map_err(|e| Failure::error(format!("the answer cannot be written as JSON: {e}")))?;
                self.line(&clean_json(&json))
            }
            Format::Yaml => {
                let yaml = yaml(data)?;
                self.line(&yaml)
            }
        }
    }

    /// Writes one text to stdout, ending the line where it does not.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())?;
        if text.ends_with('\n') { Ok(()) } else { self.bytes(b"\n") }
    }

    /// Writes bytes to stdout exactly as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let written = self.out.write_all(bytes);
        self.settle(written)
    }

    /// Makes sure that everything written to stdout has left this process.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.settle(flushed)
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(e) => Err(Failure::error(format!("stdout cannot be written: {e}; what was written is not complete"))),
        }
    }

    /// Writes a line to stderr: what a person should know beside the data. Nobody reading it is no failure.
    pub(crate) fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
        let _ = self.err.flush();
    }

    /// Writes to stderr without ending the line: a question.
    pub(crate) fn ask(&mut self, text: &str) {
        let _ = write!(self.err, "{text}");
        let _ = self.err.flush();
    }

    /// Help and version go to stdout and are no error; the rest is a misuse, told on stderr.
    pub(crate) fn command_line_error(&mut self, error: &clap::Error) -> Exit {
        let text = error.render();
        if error.use_stderr() {
            let coloured = self.terminal.err && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let text = if coloured { text.ansi().to_string() } else { text.to_string() };
            self.note(text.trim_end());
            return Exit::Usage;
        }
        let coloured = self.terminal.out && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let text = if coloured { text.ansi().to_string() } else { text.to_string() };
        match self.line(&text).and_then(|()| self.flush()) {
            Ok(()) => Exit::Ok,
            Err(failure) => failure.exit(),
        }
    }

    pub(crate) fn failure(&mut self, failure: &Failure) {
        let red = self.colour_allowed && self.terminal.err;
        let (on, off) = if red { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        self.note(&format!("{on}error:{off} {}", crate::page::clean(&failure.to_string())));
        if let Some(next) = failure.next_command() {
            self.note(&format!("next:  {next}"));
        }
    }
}

/// YAML as `-o yaml` writes it.
pub(crate) fn yaml<T: Serialize>(data: &T) -> Result<String, Failure> {
    serde_saphyr::to_string(data).map_err(|e| Failure::error(format!("the answer cannot be written as YAML: {e}")))
}

/// What a command wrote, kept in memory.
#[derive(Debug, Clone)]
pub struct Captured {
    out: Kept,
    err: Kept,
}

impl Captured {
    /// What went to stdout so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// What went to stderr so far.
    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
        let mut piped =
            Output::new(Box::new(Failing(io::ErrorKind::BrokenPipe)), Box::new(io::sink()), Terminal::default());
        piped.line("one").unwrap();
        assert!(piped.is_closed());
        let mut full =
            Output::new(Box::new(Failing(io::ErrorKind::StorageFull)), Box::new(io::sink()), Terminal::default());
        assert!(full.line("one").is_err());
    }

    #[test]
    fn the_same_data_in_each_form() {
        #[derive(Serialize)]
        struct Data {
            country: &'static str,
        }
        for (format, expected) in [
            (Format::Table, "norway\n"),
            (Format::Json, "{\n  \"country\": \"NO\"\n}\n"),
            (Format::Yaml, "country: \"NO\"\n"),
        ] {
            let (mut output, captured) = Output::captured();
            output.set(format, false);
            output.show(&Data { country: "NO" }, |_| "norway".into()).unwrap();
            assert_eq!(captured.out().replace('\'', "\""), expected);
        }
    }
}
