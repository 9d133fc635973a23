//! Verifies a bundle that is pushed in pieces of any size. The one thing that it takes on trust is the signed head; whose signatures
//! that carries is for [`LogRoster::attest`](crate::access::LogRoster::attest).

use std::collections::BTreeMap;

use crate::access::bundle::header::Lines;
use crate::access::bundle::write::{hashes_after_run, hashes_before, run_end};
use crate::access::bundle::{HEADER_MAX_BYTES, Header, InvalidBundle, OlderHead, RECORD_MAX_BYTES, SIZE_MAX, Shape};
use crate::access::{AccessLeaf, AccessRecord};
use crate::canonical::Hex32;
use crate::checkpoint::SignedCheckpoint;
use crate::merkle::{self, Frontier, Subtree, inclusion_path_len};
use crate::timestamp::Timestamp;

/// The number and the hash before a leaf's bytes.
const LEAF_HEAD_BYTES: usize = 8 + 32;
/// What ends the record of a leaf that commits to an annex: `annex` is its last field.
const ANNEX_FIELD: &[u8] = b"\"annex\":\"";
const ANNEX_FIELD_AT: usize = ANNEX_FIELD.len() + 64 + 2;

/// A leaf as it lies in the bundle.
#[derive(Debug, Clone, Copy)]
pub struct LeafBytes<'a> {
    /// Which.
    pub number: u64,
    /// Its salt and record, as they are hashed.
    pub salted: &'a [u8],
    /// Its annex; empty where there is none.
    pub annex: &'a [u8],
}

impl LeafBytes<'_> {
    /// The leaf by itself.
    pub fn to_leaf(self) -> AccessLeaf {
        let (salt, record) = self.salted.split_first_chunk::<32>().map_or(([0; 32], self.salted), |(s, r)| (*s, r));
        AccessLeaf { salt: Hex32(salt), record: record.to_vec(), annex: self.annex.to_vec() }
    }

    /// What it says.
    ///
    /// # Errors
    /// It is no access record.
    pub fn read(self) -> Result<AccessRecord, InvalidBundle> {
        let read = self.to_leaf().read();
        read.map_err(|problem| InvalidBundle::Record { leaf: self.number, problem: problem.to_string() })
    }
}

/// What a bundle proves, given that its checkpoint's signatures hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// What it says of itself.
    pub header: Header,
    /// When the first and the last of its leaves were written.
    pub times: (Timestamp, Timestamp),
    /// How many leaves commit to an annex that is withheld.
    pub annexes_withheld: u64,
    /// The roots that the log had at the sizes that were asked for, as far as the bundle tells.
    pub roots: BTreeMap<u64, Hex32>,
}

/// What comes next in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Lines,
    Note,
    Left,
    Leaf,
    Right,
    End,
}

/// Takes a bundle piece by piece.
#[derive(Debug)]
pub struct BundleVerifier {
    buffer: Vec<u8>,
    next: Next,
    lines: Option<Lines>,
    header: Option<Header>,
    /// Sizes whose roots are asked for, the largest first: a range gives those that it passes.
    wanted: Vec<u64>,
    roots: BTreeMap<u64, Hex32>,
    frontier: Frontier,
    /// The leaf that comes next in a range, or must be reached by a selected one.
    number: u64,
    taken: u64,
    annexes_withheld: u64,
    first_at: Option<Timestamp>,
    last: Vec<u8>,
}

impl BundleVerifier {
    /// Begins. Says at the end which roots the log had at these older sizes, as far as the bundle tells.
    pub fn new(mut wanted: Vec<u64>) -> Self {
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        wanted.dedup();
        Self {
            buffer: Vec::new(),
            next: Next::Lines,
            lines: None,
            header: None,
            wanted,
            roots: BTreeMap::new(),
            frontier: Frontier::default(),
            number: 0,
            taken: 0,
            annexes_withheld: 0,
            first_at: None,
            last: Vec::new(),
        }
    }

    /// What the bundle says of itself, once that was read: whose signatures its checkpoint has can be looked at before the leaves are.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// How many leaves were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next bytes, and gives each leaf that is whole. A leaf of a range is proven only with the rest of its run: what is made
    /// of it counts once [`Self::finish`] has said so.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub fn push(&mut self, bytes: &[u8], mut leaf: impl FnMut(LeafBytes<'_>)) -> Result<(), InvalidBundle> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(rest) = buffer.get(at..)
            && let Some(used) = self.step(rest, &mut leaf)?
        {
            at += used;
        }
        buffer.drain(..at.min(buffer.len()));
        self.buffer = buffer;
        Ok(())
    }

    /// The verdict, once everything was pushed.
    ///
    /// # Errors
    /// The bundle is not whole.
    pub fn finish(mut self) -> Result<Proven, InvalidBundle> {
        let leaf = self.header.as_ref().map(|header| match (header.shape, self.buffer.first_chunk::<8>()) {
            // Of a selected leaf only its own first bytes tell which it is.
            (Shape::Selected, Some(number)) => u64::from_be_bytes(*number),
            _ => self.number,
        });
        let Some(header) = self.header.take().filter(|_| self.next == Next::End) else {
            return Err(InvalidBundle::Truncated { leaf });
        };
        let last = LeafBytes { number: self.number.saturating_sub(1), salted: &self.last, annex: &[] }.read()?.at;
        let times = (self.first_at.unwrap_or(last), last);
        let checkpoint = &header.note.checkpoint;
        let mut roots = self.roots;
        let told = header.older.iter().map(|older| (older.size, older.root));
        for (size, root) in told.chain([(checkpoint.size, checkpoint.root), (0, Frontier::default().root())]) {
            // INVARIANT: what a range has computed and what a proof says agree: both were held against the same root.
            roots.entry(size).or_insert(root);
        }
        Ok(Proven { times, annexes_withheld: self.annexes_withheld, roots, header })
    }

    /// Takes the next item, and says how long it is; nothing where it is not whole yet.
    fn step(&mut self, rest: &[u8], leaf: &mut impl FnMut(LeafBytes<'_>)) -> Result<Option<usize>, InvalidBundle> {
        match self.next {
            Next::Lines => self.lines(rest),
            Next::Note => self.note(rest),
            Next::Left => self.left(rest),
            Next::Leaf => self.leaf(rest, leaf),
            Next::Right => self.right(rest),
            Next::End if rest.is_empty() => Ok(None),
            Next::End => Err(InvalidBundle::Trailing { last: self.number.saturating_sub(1) }),
        }
    }

    fn lines(&mut self, rest: &[u8]) -> Result<Option<usize>, InvalidBundle> {
        let shown = rest.get(..HEADER_MAX_BYTES).unwrap_or(rest);
        let Some(length) = shown.windows(2).position(|two| two == b"\n\n") else {
            let begins = super::FORMAT.as_bytes().iter().zip(rest).all(|(a, b)| a == b);
            return if begins && rest.len() < HEADER_MAX_BYTES { Ok(None) } else { Err(InvalidBundle::Format) };
        };
        self.lines = Some(Lines::parse(rest.get(..length).unwrap_or_default())?);
        self.next = Next::Note;
        Ok(Some(length + 2))
    }

    fn note(&mut self, rest: &[u8]) -> Result<Option<usize>, InvalidBundle> {
        let Some(lines) = &self.lines else { return Ok(None) };
        let length = lines.following_bytes();
        let Some((note, proofs)) = rest.get(..length).and_then(|all| all.split_at_checked(lines.note_bytes)) else {
            return Ok(None);
        };
        let note = SignedCheckpoint::from_bytes(note)?;
        let (checkpoint, mut hashes) = (&note.checkpoint, hashes_of(proofs).into_iter());
        let (size, first, last) = (checkpoint.size, lines.first, lines.end.saturating_sub(1));
        if size > SIZE_MAX || lines.end > size {
            return Err(InvalidBundle::Size { size, first, last });
        }
        let mut older = Vec::with_capacity(lines.older.len());
        for (older_size, root, count) in &lines.older {
            let head = OlderHead { size: *older_size, root: *root, proof: hashes.by_ref().take(*count).collect() };
            let holds = merkle::check_consistency(&head.proof, size, checkpoint.root, head.size, head.root);
            if !holds || (head.size == size && !head.proof.is_empty()) {
                return Err(InvalidBundle::Older { size: head.size });
            }
            older.push(head);
        }
        let Lines { federation, shape, first, end, count, with_annex, asked, .. } = *lines;
        self.header = Some(Header { federation, shape, first, end, count, with_annex, asked, older, note });
        (self.number, self.next) = (first, if shape == Shape::Range { Next::Left } else { Next::Leaf });
        Ok(Some(length))
    }

    /// The hashes of what lies left of a range.
    fn left(&mut self, rest: &[u8]) -> Result<Option<usize>, InvalidBundle> {
        let subtrees = hashes_before(Shape::Range, self.number);
        let Some(hashes) = rest.get(..32 * subtrees.len()) else { return Ok(None) };
        extend(&mut self.frontier, &subtrees, hashes);
        self.wanted.retain(|size| *size >= self.number);
        self.note_root();
        self.next = Next::Leaf;
        Ok(Some(hashes.len()))
    }

    fn leaf(&mut self, rest: &[u8], give: &mut impl FnMut(LeafBytes<'_>)) -> Result<Option<usize>, InvalidBundle> {
        let Some(header) = &self.header else { return Ok(None) };
        let Some((head, after)) = rest.split_at_checked(LEAF_HEAD_BYTES) else { return Ok(None) };
        let Some((number, expected)) = head.split_first_chunk::<8>() else { return Ok(None) };
        let (number, expected) = (u64::from_be_bytes(*number), hash_of(expected));
        let size = header.note.checkpoint.size;
        match header.shape {
            Shape::Range if number != self.number => {
                return Err(InvalidBundle::Missing { expected: self.number, found: number });
            }
            Shape::Selected if number < self.number || number >= header.end => {
                return Err(InvalidBundle::Order { after: self.number, found: number });
            }
            Shape::Range | Shape::Selected => {}
        }
        let Some((salted, after)) = sized(after, number, 32, 32 + RECORD_MAX_BYTES)? else { return Ok(None) };
        let room = 32 + RECORD_MAX_BYTES - salted.len();
        let Some((annex, after)) = sized(after, number, 0, room)? else { return Ok(None) };
        let mut used = LEAF_HEAD_BYTES + 8 + salted.len() + annex.len();
        let hash = merkle::leaf_hash(salted);
        if hash != expected {
            return Err(InvalidBundle::Edited { leaf: number, found: hash, expected });
        }
        let found = LeafBytes { number, salted, annex };
        match header.shape {
            Shape::Selected => {
                let Some(path) = after.get(..32 * inclusion_path_len(number, size)) else { return Ok(None) };
                if !merkle::check_inclusion(&hashes_of(path), size, header.note.checkpoint.root, number, hash) {
                    return Err(InvalidBundle::NotIncluded { leaf: number });
                }
                used += path.len();
            }
            Shape::Range => self.frontier.push(hash),
        }
        check_annex(found, header.with_annex)?;
        let ends_run = header.shape == Shape::Range && number + 1 == run_end(number, header.end);
        let is_last = self.taken + 1 == header.count;
        self.annexes_withheld += u64::from(annex.is_empty() && commits_to_annex(salted));
        if self.first_at.is_none() {
            self.first_at = Some(found.read()?.at);
        }
        self.last.clear();
        self.last.extend_from_slice(salted);
        give(found);
        (self.number, self.taken) = (number + 1, self.taken + 1);
        self.note_root();
        self.next = match (ends_run, is_last) {
            (true, _) => Next::Right,
            (false, true) => Next::End,
            (false, false) => Next::Leaf,
        };
        Ok(Some(used))
    }

    /// The hashes of what lies right of a run: with them its leaves must give the root that was signed.
    fn right(&mut self, rest: &[u8]) -> Result<Option<usize>, InvalidBundle> {
        let Some(header) = &self.header else { return Ok(None) };
        let checkpoint = &header.note.checkpoint;
        let subtrees = hashes_after_run(self.number, checkpoint.size);
        let Some(hashes) = rest.get(..32 * subtrees.len()) else { return Ok(None) };
        let mut whole = self.frontier.clone();
        extend(&mut whole, &subtrees, hashes);
        if whole.size() != checkpoint.size || whole.root() != checkpoint.root {
            let last = self.number.saturating_sub(1);
            let first = (last / super::RUN_LEAVES * super::RUN_LEAVES).max(header.first);
            return Err(InvalidBundle::EditedAmong { first, last });
        }
        self.next = if self.taken == header.count { Next::End } else { Next::Leaf };
        Ok(Some(hashes.len()))
    }

    fn note_root(&mut self) {
        let is_range = self.header.as_ref().is_some_and(|header| header.shape == Shape::Range);
        if is_range && self.wanted.last() == Some(&self.number) {
            self.wanted.pop();
            self.roots.insert(self.number, self.frontier.root());
        }
    }
}

/// Some bytes, and what follows them.
type Split<'a> = (&'a [u8], &'a [u8]);

/// What a length and so many bytes stand for; nothing where they are not all there yet.
fn sized(rest: &[u8], leaf: u64, min: usize, max: usize) -> Result<Option<Split<'_>>, InvalidBundle> {
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let bytes = u32::from_be_bytes(*length);
    let length = usize::try_from(bytes).ok().filter(|length| (min..=max).contains(length));
    let length = length.ok_or(InvalidBundle::Length { leaf, bytes: bytes.into() })?;
    Ok(rest.split_at_checked(length))
}

/// Whether the record names an annex. Its text ends so and in no other way: within a string, a quote stands escaped.
fn commits_to_annex(salted: &[u8]) -> bool {
    let at = salted.len().checked_sub(ANNEX_FIELD_AT);
    at.and_then(|at| salted.get(at..)).is_some_and(|end| end.starts_with(ANNEX_FIELD))
}

fn check_annex(leaf: LeafBytes<'_>, with_annex: bool) -> Result<(), InvalidBundle> {
    let (number, has) = (leaf.number, !leaf.annex.is_empty());
    if has != (with_annex && commits_to_annex(leaf.salted)) {
        return Err(InvalidBundle::AnnexPresence { leaf: number, has });
    }
    // Few leaves have one: the others need not be read.
    if has && leaf.to_leaf().read().is_err() {
        return Err(InvalidBundle::Annex { leaf: number });
    }
    Ok(())
}

fn extend(frontier: &mut Frontier, subtrees: &[Subtree], hashes: &[u8]) {
    for (subtree, hash) in subtrees.iter().zip(hashes.chunks_exact(32)) {
        frontier.push_subtree(subtree.level, hash_of(hash));
    }
}

fn hash_of(bytes: &[u8]) -> Hex32 {
    Hex32(bytes.try_into().unwrap_or_default())
}

fn hashes_of(bytes: &[u8]) -> Vec<Hex32> {
    bytes.chunks_exact(32).map(hash_of).collect()
}
