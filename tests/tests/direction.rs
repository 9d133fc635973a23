//! The house's direction: who may stand on whom. Reads `cargo metadata`, fails on an edge that the design does not allow.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate and what it may use within the workspace, dev-dependencies included.
const ALLOWED: &[(&str, &[&str])] = &[
    ("comity-core", &[]),
    ("comity-proto", &[]),
    ("comity-policy", &["comity-core"]),
    ("comity-identity", &["comity-core"]),
    ("comity-store", &["comity-core", "comity-policy"]),
    ("comity-consensus", &["comity-core", "comity-policy", "comity-store", "comity-identity", "comity-proto"]),
    ("comity-app", &["comity-core", "comity-policy", "comity-store", "comity-consensus"]),
    (
        "comity-api",
        &[
            "comity-core",
            "comity-policy",
            "comity-store",
            "comity-consensus",
            "comity-app",
            "comity-identity",
            "comity-proto",
        ],
    ),
    (
        "comity-node",
        &[
            "comity-core",
            "comity-policy",
            "comity-store",
            "comity-consensus",
            "comity-app",
            "comity-api",
            "comity-identity",
        ],
    ),
    ("comity-cli", &["comity-core", "comity-identity", "comity-proto", "comity-node"]),
    ("comity-simulation", &["comity-core", "comity-identity", "comity-proto", "comity-consensus"]),
    (
        "comity-tests",
        &[
            "comity-core",
            "comity-policy",
            "comity-identity",
            "comity-proto",
            "comity-store",
            "comity-app",
            "comity-api",
            "comity-node",
            "comity-cli",
        ],
    ),
];

#[test]
fn every_edge_goes_the_way_of_the_design() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();

    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, allowed.keys().copied().collect(), "each crate of the workspace has its row in ALLOWED");

    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            if names.contains(used) && used != name && !allowed[name].contains(used) {
                wrong.push(format!("{name} -> {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "edges against the direction: {wrong:?}");
}

/// INVARIANT: the domain never sees prost, a clock's thread, a socket or a database.
#[test]
fn the_core_is_pure() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "comity-core", "--edges", "normal", "--prefix", "none", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    for banned in ["tokio", "prost", "tonic", "sqlx", "rustls", "openraft", "getrandom"] {
        let stands = tree.lines().any(|line| line.split(' ').next() == Some(banned));
        assert!(!stands, "comity-core stands on {banned}");
    }
}

/// INVARIANT: no program that members run holds the switch for deliberate faults.
#[test]
fn the_programs_have_no_faults_to_switch_on() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "comity-cli", "-p", "comity-node", "--edges", "features", "--prefix", "none", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("comity-consensus"), "{tree}");
    assert!(!tree.contains("\"simulation\""), "the simulation feature is on in a program");
}
