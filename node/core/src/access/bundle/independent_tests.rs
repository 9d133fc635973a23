//! A second verifier, written from `docs/access-bundle.md` alone: its own parsing, ct-merkle for the trees, ed25519-dalek for the
//! signatures. Nothing of this crate's bundles, trees or checkpoints is used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sha2_next::{Digest as _, Sha256};

const GENESIS: &[u8] = include_bytes!("../vectors/genesis.json");
const RANGE: &[u8] = include_bytes!("../vectors/range.bundle");
const MIDDLE: &[u8] = include_bytes!("../vectors/middle.bundle");
const SELECTED: &[u8] = include_bytes!("../vectors/selected.bundle");

/// Reads from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(length);
        self.0 = rest;
        front
    }

    fn line(&mut self) -> &'a str {
        let length = self.0.iter().position(|b| *b == b'\n').unwrap();
        let line = self.take(length);
        self.take(1);
        std::str::from_utf8(line).unwrap()
    }

    fn hash(&mut self) -> [u8; 32] {
        self.take(32).try_into().unwrap()
    }

    fn sized(&mut self) -> &'a [u8] {
        let length = u32::from_be_bytes(self.take(4).try_into().unwrap());
        self.take(length as usize)
    }
}

fn node(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    Sha256::digest([[1].as_slice(), &left, &right].concat()).into()
}

fn leaf_hash(data: &[u8]) -> [u8; 32] {
    Sha256::digest([[0].as_slice(), data].concat()).into()
}

/// The complete subtrees of leaves `from` to `to`: where each begins, and how many leaves it has.
fn cover(mut from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    while from < to {
        let mut leaves = 1;
        while from.is_multiple_of(leaves * 2) && from + leaves * 2 <= to {
            leaves *= 2;
        }
        found.push((from, leaves));
        from += leaves;
    }
    found
}

/// The root over complete subtrees that follow one another, as RFC 9162 defines it: split at the largest power of two.
fn root(parts: &[(u64, u64, [u8; 32])]) -> [u8; 32] {
    if let [(_, _, only)] = parts {
        return *only;
    }
    let (first, size) = (parts[0].0, parts.iter().map(|part| part.1).sum::<u64>());
    let split = 1 << (u64::BITS - 1 - (size - 1).leading_zeros());
    let at = parts.iter().position(|part| part.0 == first + split).unwrap();
    node(root(&parts[..at]), root(&parts[at..]))
}

struct Note {
    size: u64,
    root: [u8; 32],
}

/// Checks the note's signatures by the keys of the genesis; gives what it says.
fn note(text: &str) -> Note {
    let genesis: serde_json::Value = serde_json::from_slice(GENESIS).unwrap();
    let (signed, signatures) = text.split_once("\n\n").unwrap();
    let signed = format!("{signed}\n");
    let mut lines = signed.lines();
    let (origin, size, root) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    let mut by = Vec::new();
    for line in signatures.lines() {
        let (name, signature) = line.strip_prefix("\u{2014} ").unwrap().split_once(' ').unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        for member in genesis["members"].as_array().unwrap() {
            let domain = member["trust_domain"].as_str().unwrap();
            let key = hex::decode(member["node_key"].as_str().unwrap()).unwrap();
            let key_id = |kind: u8| Sha256::digest([name.as_bytes(), b"\n", &[kind], &key].concat())[..4].to_vec();
            let key = VerifyingKey::from_bytes(key.as_slice().try_into().unwrap()).unwrap();
            if name == origin && origin.starts_with(&format!("{domain}/access-log/")) && signature[..4] == key_id(1) {
                key.verify(signed.as_bytes(), &Signature::from_slice(&signature[4..]).unwrap()).unwrap();
                by.push("the log".to_owned());
            }
            if name == format!("{domain}/node") && signature[..4] == key_id(4) {
                let seconds = u64::from_be_bytes(signature[4..12].try_into().unwrap());
                let message = format!("cosignature/v1\ntime {seconds}\n{signed}");
                key.verify(message.as_bytes(), &Signature::from_slice(&signature[12..]).unwrap()).unwrap();
                by.push(domain.to_owned());
            }
        }
    }
    assert_eq!(by, ["the log", "de.comity.example", "ca.comity.example"]);
    Note { size: size.parse().unwrap(), root: STANDARD.decode(root).unwrap().try_into().unwrap() }
}

/// Verifies a bundle as the document says; gives its leaves: number, salt and record, annex.
fn verify(bundle: &[u8]) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
    let mut bytes = Bytes(bundle);
    assert_eq!(bytes.line(), "comity/access-bundle/v1");
    let federation = bytes.line().strip_prefix("federation ").unwrap();
    assert_eq!(hex::decode(federation).unwrap(), Sha256::digest(GENESIS).to_vec());
    let is_range = match bytes.line() {
        "shape range" => true,
        "shape selected" => false,
        other => panic!("{other}"),
    };
    let leaves: Vec<u64> =
        bytes.line().strip_prefix("leaves ").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    let (first, end, count) = (leaves[0], leaves[1], leaves[2]);
    let annex = bytes.line();
    assert!(bytes.line().starts_with("asked "));
    let mut older = Vec::new();
    let mut line = bytes.line();
    while let Some(fields) = line.strip_prefix("older ") {
        let fields: Vec<&str> = fields.split(' ').collect();
        older.push((
            fields[0].parse::<u64>().unwrap(),
            hex::decode(fields[1]).unwrap(),
            fields[2].parse::<usize>().unwrap(),
        ));
        line = bytes.line();
    }
    let length = line.strip_prefix("checkpoint ").unwrap().parse().unwrap();
    assert_eq!(bytes.line(), "");
    let note = note(std::str::from_utf8(bytes.take(length)).unwrap());
    let head = RootHash::<Sha256>::new(note.root.into(), note.size);
    for (size, root, hashes) in older {
        let proof = ConsistencyProof::<Sha256>::try_from_bytes(bytes.take(32 * hashes).to_vec()).unwrap();
        let root: [u8; 32] = root.try_into().unwrap();
        head.verify_consistency(&RootHash::new(root.into(), size), &proof).unwrap();
    }
    let mut parts: Vec<(u64, u64, [u8; 32])> = Vec::new();
    if is_range {
        parts = cover(0, first).into_iter().map(|(from, leaves)| (from, leaves, bytes.hash())).collect();
    }
    let mut found = Vec::new();
    for n in 0..count {
        let number = u64::from_be_bytes(bytes.take(8).try_into().unwrap());
        let (hash, data, beside) = (bytes.hash(), bytes.sized().to_vec(), bytes.sized().to_vec());
        assert_eq!(leaf_hash(&data), hash, "leaf {number}");
        if is_range {
            assert_eq!(number, first + n);
            parts.push((number, 1, hash));
            if (number + 1) % 1024 == 0 || number + 1 == end {
                let right = cover(end.min(number + 1), note.size);
                let right = right.into_iter().map(|(from, leaves)| (from, leaves, bytes.hash()));
                let whole: Vec<_> = parts.iter().copied().chain(right).collect();
                assert_eq!(root(&whole), note.root);
            }
        } else {
            let (mut at, mut last, mut path) = (number, note.size - 1, 0);
            while last > 0 {
                path += usize::from(at % 2 == 1 || at < last);
                (at, last) = (at / 2, last / 2);
            }
            let proof = InclusionProof::<Sha256>::try_from_bytes(bytes.take(32 * path).to_vec()).unwrap();
            head.verify_inclusion(&data, number, &proof).unwrap();
        }
        let record: serde_json::Value = serde_json::from_slice(&data[32..]).unwrap();
        match (record.get("annex"), annex) {
            (Some(digest), "annex with") => assert_eq!(digest, &hex::encode(Sha256::digest(&beside))),
            _ => assert!(beside.is_empty()),
        }
        found.push((number, data, beside));
    }
    assert!(bytes.0.is_empty());
    found
}

#[test]
fn another_verifier_proves_the_vectors() {
    let numbers = |bundle: &[u8]| verify(bundle).iter().map(|leaf| leaf.0).collect::<Vec<_>>();
    assert_eq!(numbers(RANGE), (0..23).collect::<Vec<_>>());
    assert_eq!(numbers(MIDDLE), (5..16).collect::<Vec<_>>());
    assert_eq!(numbers(SELECTED), [3, 5, 22]);
    // The two shapes hold the same leaves, the selected ones without what decided.
    let whole = verify(RANGE);
    for (number, record, annex) in verify(SELECTED) {
        assert_eq!((&whole[number as usize].1, annex.is_empty()), (&record, true));
    }
    assert!(!whole[3].2.is_empty());
}

#[test]
fn another_tree_has_the_same_root_and_refuses_a_changed_leaf() {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for (_, data, _) in verify(RANGE) {
        tree.push(data);
    }
    let root = STANDARD.encode(tree.root().as_bytes());
    assert!(String::from_utf8_lossy(RANGE).contains(&format!("\n23\n{root}\n")));
    let proof = tree.prove_inclusion(4);
    let mut changed = tree.get(4).unwrap().clone();
    tree.root().verify_inclusion(&changed, 4, &proof).unwrap();
    changed[40] ^= 1;
    assert!(tree.root().verify_inclusion(&changed, 4, &proof).is_err());
}
