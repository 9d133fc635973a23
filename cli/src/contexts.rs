//! The contexts file: which node to call, and as whom.
//!
//! It is edited as text, so that comments survive `context use` and `context add`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::Failure;

/// The largest contexts file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// One way to call a node. Relative paths are relative to the contexts file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The node's operator port, `host:port`.
    pub endpoint: String,
    /// The caller's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, mode 0600.
    pub key: PathBuf,
    /// The federation's genesis: whom to trust.
    pub genesis: PathBuf,
    /// The member's own row, as its member.json has it: where the member joined after the genesis, or its authority changed.
    #[serde(default)]
    pub member: Option<PathBuf>,
    /// The person's own signing key, mode 0600: where the member requires personal signatures.
    #[serde(default)]
    pub signing_key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, Context>,
}

/// Why there is no context to use, or it cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The file is not there.
    #[error("{}: no contexts yet", path.display())]
    NoFile {
        /// Where it was expected.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a contexts file. The parser's words name the line and the key.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// Neither `--context` nor `current` names one.
    #[error("{}: no context is chosen", path.display())]
    NoneChosen {
        /// The file.
        path: PathBuf,
    },
    /// There is none of that name.
    #[error("{}: no context `{name}`", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// There is one of that name.
    #[error("{}: context `{name}` exists already and is left as it is; edit the file, or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// The name has another shape.
    #[error("`{name}` is no name for a context: expected 1 to 64 of a-z, 0-9, `-` and `_`")]
    Name {
        /// What was asked for.
        name: String,
    },
    /// It cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        let next = match &error {
            ContextError::NoFile { .. } => {
                "comity context add NAME --endpoint HOST:PORT --certificate FILE --key FILE --genesis FILE"
            }
            ContextError::NoneChosen { .. } => "comity context use NAME",
            ContextError::Unknown { .. } | ContextError::Exists { .. } => "comity context list",
            _ => return Self::error(error),
        };
        Self::error(error).next(next)
    }
}

/// A contexts file that was read.
#[derive(Debug, Clone)]
pub struct ContextsFile {
    path: PathBuf,
    text: String,
    document: Document,
}

impl ContextsFile {
    /// Where it is unless told otherwise: `$XDG_CONFIG_HOME/comity/contexts.toml`, or under `~/.config`.
    pub fn default_path() -> Option<PathBuf> {
        let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
        Some(config.join("comity").join("contexts.toml"))
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is missing or cannot be read; a key is unknown or of another type.
    pub fn read(path: &Path) -> Result<Self, ContextError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ContextError::NoFile { path: path.to_owned() },
            _ => ContextError::Read { path: path.to_owned(), source },
        };
        let mut text = String::new();
        fs::File::open(path).map_err(failed)?.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_MAX_BYTES {
            let problem = format!("larger than {FILE_MAX_BYTES} bytes: this is no contexts file");
            return Err(ContextError::Malformed { path: path.to_owned(), problem });
        }
        Self::parse(path, text)
    }

    /// Reads it, or begins an empty one where there is none.
    ///
    /// # Errors
    /// As [`Self::read`], except that it may be missing.
    pub fn read_or_new(path: &Path) -> Result<Self, ContextError> {
        match Self::read(path) {
            Err(ContextError::NoFile { .. }) => Self::parse(path, String::new()),
            other => other,
        }
    }

    fn parse(path: &Path, text: String) -> Result<Self, ContextError> {
        let document: Document = toml::from_str(&text).map_err(|e| ContextError::Malformed {
            path: path.to_owned(),
            problem: e.to_string().trim_end().to_owned(),
        })?;
        Ok(Self { path: path.to_owned(), text, document })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The context used unless `--context` names another.
    pub fn current(&self) -> Option<&str> {
        self.document.current.as_deref()
    }

    /// Every context by name, with absolute paths where the file's own is.
    pub fn contexts(&self) -> impl Iterator<Item = (&str, Context)> {
        self.document.context.iter().map(|(name, context)| (name.as_str(), self.resolved(context)))
    }

    /// The context of that name, or the current one.
    ///
    /// # Errors
    /// None is named, or there is none of that name.
    pub fn choose(&self, name: Option<&str>) -> Result<(String, Context), ContextError> {
        let name = name.or(self.current()).ok_or_else(|| ContextError::NoneChosen { path: self.path.clone() })?;
        match self.document.context.get(name) {
            Some(context) => Ok((name.to_owned(), self.resolved(context))),
            None => Err(ContextError::Unknown { path: self.path.clone(), name: name.to_owned() }),
        }
    }

    fn resolved(&self, context: &Context) -> Context {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Context {
            endpoint: context.endpoint.clone(),
            certificate: folder.join(&context.certificate),
            key: folder.join(&context.key),
            genesis: folder.join(&context.genesis),
            member: context.member.as_ref().map(|path| folder.join(path)),
            signing_key: context.signing_key.as_ref().map(|path| folder.join(path)),
        }
    }

    /// Makes a context the current one.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn use_context(&mut self, name: &str) -> Result<(), ContextError> {
        if !self.document.context.contains_key(name) {
            return Err(ContextError::Unknown { path: self.path.clone(), name: name.to_owned() });
        }
        self.replace_text(with_current(&self.text, name))
    }

    /// Adds a context; the first one becomes current. Nothing else of the file changes.
    ///
    /// # Errors
    /// The name does not fit or is taken, or the file cannot be written.
    pub fn add(&mut self, name: &str, context: &Context) -> Result<(), ContextError> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !fits {
            return Err(ContextError::Name { name: name.chars().take(80).collect() });
        }
        if self.document.context.contains_key(name) {
            return Err(ContextError::Exists { path: self.path.clone(), name: name.to_owned() });
        }
        let mut text = match self.current() {
            Some(_) => self.text.clone(),
            None => with_current(&self.text, name),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
        text.push_str(&format!("\n[context.{name}]\nendpoint = {}\n", quoted(&context.endpoint)));
        let paths = [
            ("certificate", Some(&context.certificate)),
            ("key", Some(&context.key)),
            ("genesis", Some(&context.genesis)),
            ("member", context.member.as_ref()),
            ("signing_key", context.signing_key.as_ref()),
        ];
        for (key, path) in paths {
            if let Some(path) = path {
                text.push_str(&format!("{key} = {}\n", quoted(&path.to_string_lossy())));
            }
        }
        self.replace_text(text)
    }

    fn replace_text(&mut self, text: String) -> Result<(), ContextError> {
        let changed = Self::parse(&self.path, text)?;
        let failed = |source| ContextError::Write { path: self.path.clone(), source };
        write_whole(&changed.path, changed.text.as_bytes()).map_err(failed)?;
        *self = changed;
        Ok(())
    }
}

/// The text with `current` set, everything else as it was.
fn with_current(text: &str, name: &str) -> String {
    let line = format!("current = \"{name}\"");
    let is_current =
        |l: &str| l.trim_start().strip_prefix("current").is_some_and(|rest| rest.trim_start().starts_with('='));
    let top = text.lines().take_while(|l| !l.trim_start().starts_with('[')).position(is_current);
    match top {
        Some(at) => {
            let lines = text.lines().enumerate().map(|(n, old)| if n == at { line.as_str() } else { old });
            let mut changed = lines.collect::<Vec<_>>().join("\n");
            changed.push('\n');
            changed
        }
        None => format!("{line}\n{text}"),
    }
}

/// Puts a file in place whole and synced, or leaves what was there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let written = fs::File::create(&fresh)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path))
        .and_then(|()| fs::File::open(&folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# my contexts\ncurrent = \"fr-desk-7\" # the usual one\n\n[context.fr-desk-7]\nendpoint = \"127.0.0.1:7102\"\ncertificate = \"fr/operator-desk-7.pem\"\nkey = \"/keys/desk-7.key\"\ngenesis = \"genesis.json\"\n";

    fn parse(text: &str) -> Result<ContextsFile, ContextError> {
        ContextsFile::parse(Path::new("/home/me/contexts.toml"), text.to_owned())
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let file = parse(TEXT).unwrap();
        let (name, context) = file.choose(None).unwrap();
        assert_eq!(name, "fr-desk-7");
        assert_eq!(context.certificate, Path::new("/home/me/fr/operator-desk-7.pem"));
        assert_eq!(context.key, Path::new("/keys/desk-7.key"));
        assert!(matches!(file.choose(Some("x")), Err(ContextError::Unknown { .. })));
        assert!(matches!(parse("").unwrap().choose(None), Err(ContextError::NoneChosen { .. })));
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = parse(&TEXT.replace("endpoint", "endpiont")).unwrap_err().to_string();
        assert!(error.contains("endpiont") && error.contains("line"), "{error}");
        let error = parse(&TEXT.replace("current", "curent")).unwrap_err().to_string();
        assert!(error.contains("curent"), "{error}");
    }

    #[test]
    fn edits_keep_comments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("contexts.toml");
        let context = Context {
            endpoint: "node:7102".into(),
            certificate: "a \"b\".pem".into(),
            key: "a.key".into(),
            genesis: "genesis.json".into(),
            member: None,
            signing_key: Some("signing-desk-7.key".into()),
        };
        let mut file = ContextsFile::read_or_new(&path).unwrap();
        file.add("first", &context).unwrap();
        file.add("second", &context).unwrap();
        assert_eq!(file.current(), Some("first"));
        assert!(matches!(file.add("second", &context), Err(ContextError::Exists { .. })));
        assert!(matches!(file.add("Sec ond", &context), Err(ContextError::Name { .. })));
        fs::write(&path, format!("# kept\n{}", fs::read_to_string(&path).unwrap())).unwrap();
        let mut file = ContextsFile::read(&path).unwrap();
        file.use_context("second").unwrap();
        let file = ContextsFile::read(&path).unwrap();
        assert_eq!(file.current(), Some("second"));
        assert!(file.text.starts_with("# kept\n"));
        assert_eq!(file.contexts().count(), 2);
        let signing_key = file.choose(None).unwrap().1.signing_key;
        assert_eq!(signing_key, Some(path.with_file_name("signing-desk-7.key")));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no file is left beside it");
    }
}
