//! The test vectors beside the format's document: this code still makes them, to the byte, and takes them.

use super::*;
use crate::access::LogRoster;
use crate::genesis::Genesis;
use crate::testing::{AccessLogOf, Federation, member};

const GENESIS: &[u8] = include_bytes!("../vectors/genesis.json");
const RANGE: &[u8] = include_bytes!("../vectors/range.bundle");
const MIDDLE: &[u8] = include_bytes!("../vectors/middle.bundle");
const SELECTED: &[u8] = include_bytes!("../vectors/selected.bundle");
const OLDER: &[u8] = include_bytes!("../vectors/older.checkpoint");

/// The genesis, and each file of the vectors by its name.
fn made() -> [(&'static str, Vec<u8>); 5] {
    let federation = Federation::new(3);
    let log = AccessLogOf::sample(member("FR"), member("DE"), 23);
    [
        ("genesis.json", federation.bytes.clone()),
        ("range.bundle", log.range(&federation, 0, 23, &[9])),
        ("middle.bundle", log.range(&federation, 5, 16, &[9])),
        ("selected.bundle", log.selected(&federation, &[3, 5, 22])),
        ("older.checkpoint", log.head(&federation, 9, &[member("DE"), member("CA")]).to_bytes()),
    ]
}

#[test]
fn the_vectors_are_what_this_code_makes() {
    for ((name, made), file) in made().into_iter().zip([GENESIS, RANGE, MIDDLE, SELECTED, OLDER]) {
        assert_eq!(made, file, "{name} has changed: what others wrote by the document would read it no more");
    }
}

#[test]
fn the_vectors_are_proven() {
    let genesis = Genesis::from_bytes(GENESIS).unwrap();
    for (bundle, leaves) in
        [(RANGE, (0..23).collect()), (MIDDLE, (5..16).collect::<Vec<u64>>()), (SELECTED, vec![3, 5, 22])]
    {
        let (mut verifier, mut found) = (BundleVerifier::new(vec![9]), Vec::new());
        verifier.push(bundle, |leaf| found.push(leaf.number)).unwrap();
        let proven = verifier.finish().unwrap();
        assert_eq!((found, proven.header.federation), (leaves, genesis.federation()));
        assert!(LogRoster::of_genesis(&genesis).attest(&proven.header.note).unwrap().is_witnessed());
    }
}

#[test]
#[ignore = "writes the vectors anew"]
fn write_the_vectors() {
    use std::io::Write as _;
    for (name, bytes) in made() {
        let path = format!("{}/src/access/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all(&bytes).unwrap();
    }
}
