//! What a bundle begins with: a few lines of text, the signed checkpoint, and proofs for older heads.

use crate::access::bundle::{FORMAT, InvalidBundle, NOTE_MAX_BYTES, OLDER_MAX, SIZE_MAX};
use crate::canonical::Hex32;
use crate::checkpoint::SignedCheckpoint;
use crate::timestamp::Timestamp;

/// Which leaves a bundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every leaf from the first to the last.
    Range,
    /// Single leaves, each with its own proof of inclusion.
    Selected,
}

impl Shape {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Selected => "selected",
        }
    }
}

/// The root that the log had when it was shorter, and the proof that it has only grown since (RFC 9162, section 2.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OlderHead {
    /// How many leaves it had.
    pub size: u64,
    /// Its root.
    pub root: Hex32,
    /// The proof, up to the bundle's checkpoint.
    pub proof: Vec<Hex32>,
}

/// What a bundle says of itself. Nothing of it is signed but the checkpoint; all of it that matters is proved by what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Of which federation.
    pub federation: Hex32,
    /// Which leaves.
    pub shape: Shape,
    /// The first leaf: of a range; or from which on was selected, as its exporter says.
    pub first: u64,
    /// The leaf after the last.
    pub end: u64,
    /// How many leaves follow.
    pub count: u64,
    /// Whether annexes are there, or withheld.
    pub with_annex: bool,
    /// Which time was asked for, as its exporter says.
    pub asked: (Option<Timestamp>, Option<Timestamp>),
    /// Older heads, by size.
    pub older: Vec<OlderHead>,
    /// The signed head that everything is held against.
    pub note: SignedCheckpoint,
}

/// A header without what follows its lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) federation: Hex32,
    pub(super) shape: Shape,
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) count: u64,
    pub(super) with_annex: bool,
    pub(super) asked: (Option<Timestamp>, Option<Timestamp>),
    /// Size, root, and how many hashes its proof has.
    pub(super) older: Vec<(u64, Hex32, usize)>,
    pub(super) note_bytes: usize,
}

impl Header {
    /// Everything before the first leaf's hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let note = self.note.to_bytes();
        let asked = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.as_micros().to_string());
        let mut text = format!(
            "{FORMAT}\nfederation {}\nshape {}\nleaves {} {} {}\nannex {}\nasked {} {}\n",
            self.federation,
            self.shape.as_str(),
            self.first,
            self.end,
            self.count,
            if self.with_annex { "with" } else { "without" },
            asked(self.asked.0),
            asked(self.asked.1),
        );
        for older in &self.older {
            text.push_str(&format!("older {} {} {}\n", older.size, older.root, older.proof.len()));
        }
        text.push_str(&format!("checkpoint {}\n\n", note.len()));
        let mut bytes = text.into_bytes();
        bytes.extend(note);
        bytes.extend(self.older.iter().flat_map(|older| &older.proof).flat_map(|hash| hash.0));
        bytes
    }
}

impl Lines {
    /// How many bytes of checkpoint and proofs follow the lines.
    pub(super) fn following_bytes(&self) -> usize {
        self.note_bytes + 32 * self.older.iter().map(|(_, _, hashes)| hashes).sum::<usize>()
    }

    /// Reads the lines, without the empty one that ends them: each once, in one order and in one spelling.
    pub(super) fn parse(text: &[u8]) -> Result<Self, InvalidBundle> {
        let text =
            std::str::from_utf8(text).map_err(|_| InvalidBundle::Header { line: 1, expected: "text in UTF-8" })?;
        let mut lines = Reader { lines: text.split('\n').enumerate(), line: 0 };
        if lines.next().is_none_or(|line| line != FORMAT) {
            return Err(InvalidBundle::Format);
        }
        let federation = lines.field("federation", "federation and 64 hexadecimal digits", |f| f.parse().ok())?;
        let shape = lines.field("shape", "shape range or shape selected", |shape| {
            [Shape::Range, Shape::Selected].into_iter().find(|s| s.as_str() == shape)
        })?;
        let expected = "leaves, the first, the one after the last, and how many: at least one, in a range all of them";
        let (first, end, count) = lines.field("leaves", expected, |leaves| {
            let [first, end, count] = words(leaves)?.map(number);
            let (first, end, count) = (first?, end?, count?);
            let fits = match shape {
                Shape::Range => end.checked_sub(first) == Some(count),
                Shape::Selected => end.checked_sub(first).is_some_and(|leaves| count <= leaves),
            };
            (fits && count > 0).then_some((first, end, count))
        })?;
        let with_annex = lines.field("annex", "annex with or annex without", |annex| match annex {
            "with" => Some(true),
            "without" => Some(false),
            _ => None,
        })?;
        let expected = "asked and two instants in microseconds, each - where none was named";
        let asked = lines.field("asked", expected, |asked| {
            let [since, until] = words(asked)?.map(instant);
            Some((since?, until?))
        })?;
        let (mut older, mut last): (Vec<(u64, Hex32, usize)>, _) = (Vec::new(), lines.next());
        while let Some(line) = last.and_then(|line| line.strip_prefix("older ")) {
            let read = || {
                let [size, root, hashes] = words(line)?;
                let (size, hashes) = (number(size)?, usize::try_from(number(hashes)?).ok()?);
                let rises = older.last().is_none_or(|(before, _, _)| *before < size);
                (rises && size > 0 && hashes <= 64 && older.len() < OLDER_MAX).then_some((
                    size,
                    root.parse().ok()?,
                    hashes,
                ))
            };
            let expected = "older, a size, its root and at most 64 hashes: 16 such lines at the most, by size";
            older.push(read().ok_or(InvalidBundle::Header { line: lines.line, expected })?);
            last = lines.next();
        }
        let expected = "checkpoint and its length in bytes: at most 65536; then nothing more";
        let note_bytes = last.and_then(|line| line.strip_prefix("checkpoint ")).and_then(number);
        let note_bytes = note_bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|b| *b <= NOTE_MAX_BYTES);
        match (note_bytes, lines.next()) {
            (Some(note_bytes), None) => {
                Ok(Self { federation, shape, first, end, count, with_annex, asked, older, note_bytes })
            }
            _ => Err(InvalidBundle::Header { line: lines.line, expected }),
        }
    }
}

struct Reader<'a> {
    lines: std::iter::Enumerate<std::str::Split<'a, char>>,
    /// The line that was read last, from 1.
    line: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (at, line) = self.lines.next()?;
        self.line = at + 1;
        Some(line)
    }

    fn field<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, InvalidBundle> {
        let value = self.next().and_then(|line| line.strip_prefix(name)).and_then(|line| line.strip_prefix(' '));
        value.and_then(read).ok_or(InvalidBundle::Header { line: self.line, expected })
    }
}

fn words<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split(' ').collect::<Vec<_>>().try_into().ok()
}

/// A number in its one spelling: neither a sign nor zeros in front.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| *number <= SIZE_MAX && number.to_string() == text)
}

fn instant(text: &str) -> Option<Option<Timestamp>> {
    if text == "-" {
        return Some(None);
    }
    let micros = text.parse().ok().filter(|micros: &i64| micros.to_string() == text)?;
    Timestamp::from_micros(micros).map(Some)
}
