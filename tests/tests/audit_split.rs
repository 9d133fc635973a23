//! A log that shows its witnesses different histories, or goes back: nobody cosigns the second, whatever is killed in between.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_core::Role;
use comity_core::access::log_origin;
use comity_core::canonical::Hex32;
use comity_core::checkpoint::{Checkpoint, SignedCheckpoint};
use comity_core::genesis::Genesis;
use comity_core::merkle::{MerkleLog, leaf_hash};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use comity_proto::v1::witness_service_client::WitnessServiceClient;
use comity_tests::federation::{certificate, dial_lazily};
use ed25519_dalek::SigningKey;
use support::{Field, PATIENCE};
use tonic::transport::Channel;

const DE: usize = 1;
const CA: usize = 2;
/// Heads that are offered at one time, and how often their witness is killed meanwhile.
const OFFERS: u64 = 100;
const KILLS: u64 = 8;

/// What passes for the access log of FR, whose node does not run.
struct Log {
    federation: Hex32,
    key: SigningKey,
    tree: MerkleLog,
}

impl Log {
    /// The same as every other up to leaf `fork`.
    fn new(field: &Field, fork: u64) -> Self {
        let path = field.federation.seats[0].folder.join("signing-node.key");
        let key = SigningKeyFile::load(&path).unwrap().signing_key().clone();
        let mut tree = MerkleLog::default();
        (0..300_u64)
            .for_each(|n| tree.append(leaf_hash(&[n.to_be_bytes(), u64::from(n >= fork).to_be_bytes()].concat())));
        Self { federation: field.federation.genesis.federation(), key, tree }
    }

    fn offers(&self, size: u64, old_size: u64) -> v1::AddCheckpointRequest {
        let origin = log_origin(&"fr.comity.example".parse().unwrap(), 1);
        let mut note = SignedCheckpoint::unsigned(Checkpoint { origin, size, root: self.tree.root_at(size).unwrap() });
        note.sign(&self.key);
        let consistency = self.tree.prove_consistency(size, old_size).unwrap_or_default();
        v1::AddCheckpointRequest {
            federation: self.federation.0.to_vec(),
            note: note.to_bytes(),
            old_size,
            consistency: consistency.iter().map(|hash| hash.0.to_vec()).collect(),
            opening: None,
        }
    }
}

fn line(field: &Field, seat: usize) -> Channel {
    let federation = &field.federation;
    let (to, certificate) = (&federation.seats[seat], certificate(federation, "FR", Role::Node, "node-1"));
    dial_lazily(federation, &to.peer, to.member, &certificate).unwrap()
}

async fn witnesses() -> Field {
    let mut field = Field::laid_out(&["FR", "DE", "CA"], "quorum(2/3)");
    for seat in [DE, CA] {
        field.federation.spawn(seat).unwrap();
    }
    for seat in [DE, CA] {
        field.federation.wait_serving(seat, PATIENCE).await.unwrap();
    }
    field
}

/// Whether a head was cosigned; and if not, up to where one was.
async fn offer(channel: &Channel, request: v1::AddCheckpointRequest) -> Result<(Vec<u8>, Option<u64>), tonic::Status> {
    let answer = WitnessServiceClient::new(channel.clone()).add_checkpoint(request).await?.into_inner();
    let known = SignedCheckpoint::from_bytes(&answer.known).ok().map(|note| note.checkpoint.size);
    Ok((answer.cosigned, known))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_histories_each_witness_cosigns_one_and_keeps_the_other_as_evidence() {
    let field = witnesses().await;
    let (one, other) = (Log::new(&field, 300), Log::new(&field, 20));
    let (de, ca) = (line(&field, DE), line(&field, CA));
    let cosigned = async |channel: &Channel, request| offer(channel, request).await.unwrap();
    assert!(!cosigned(&de, one.offers(50, 0)).await.0.is_empty());
    assert!(!cosigned(&ca, other.offers(50, 0)).await.0.is_empty());
    // The other history of the same length, and a longer one; one that goes back; and what is honest still.
    assert_eq!(cosigned(&de, other.offers(50, 50)).await, (Vec::new(), Some(50)));
    assert_eq!(cosigned(&ca, one.offers(60, 50)).await, (Vec::new(), Some(50)));
    assert_eq!(cosigned(&de, one.offers(40, 40)).await, (Vec::new(), Some(50)));
    assert!(!cosigned(&de, one.offers(60, 50)).await.0.is_empty());
    for (member, why, known, offered) in [("DE", "other_root", 50, 50), ("CA", "not_continued", 50, 60)] {
        let found = field.ok(member, Role::Auditor, &["audit", "conflicts"]).await;
        let conflicts = found["conflicts"].as_array().unwrap();
        assert_eq!(conflicts.len(), 1, "{found}");
        let evidence = &conflicts[0];
        assert_eq!((&evidence["member"], &evidence["why"]), (&"FR".into(), &why.into()));
        assert_eq!((&evidence["known_size"], &evidence["offered_size"]), (&known.into(), &offered.into()));
        // It convinces anybody who has FR's key: both notes are FR's own.
        for side in ["known", "offered"] {
            let note = SignedCheckpoint::from_bytes(evidence[side].as_str().unwrap().as_bytes()).unwrap();
            note.verify(&note.checkpoint.origin, &one.key.verifying_key()).unwrap();
        }
    }
    // A head that FR did not sign, of another log, or no note at all is none.
    let mut forged = one.offers(70, 60);
    forged.note = {
        let mut note = SignedCheckpoint::unsigned(SignedCheckpoint::from_bytes(&forged.note).unwrap().checkpoint);
        note.sign(&SigningKey::from_bytes(&[9; 32]));
        note.to_bytes()
    };
    let mut of_another = one.offers(70, 60);
    of_another.note = String::from_utf8(of_another.note).unwrap().replace("fr.comity", "ca.comity").into_bytes();
    let broken = v1::AddCheckpointRequest { note: vec![0xff; 1_000_000], ..one.offers(70, 60) };
    let many = v1::AddCheckpointRequest { consistency: vec![vec![0; 32]; 10_000], ..one.offers(70, 60) };
    for request in [forged, of_another, broken, many] {
        assert_eq!(offer(&de, request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

/// A cosignature that came: of what size, when the head was offered, when the answer was here, and the time within.
struct Cosigned {
    size: u64,
    asked: Instant,
    answered: Instant,
    seconds: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_older_head_is_cosigned_after_a_newer_one_whatever_is_killed() {
    let mut field = witnesses().await;
    let log = Arc::new(Log::new(&field, 300));
    let channel = line(&field, DE);
    let (voter, key) = {
        let row = field.federation.genesis.member("DE".parse().unwrap()).unwrap();
        (Genesis::cosigner_name(&row.trust_domain), row.node_key)
    };
    let mut offers = tokio::task::JoinSet::new();
    for n in 1..=OFFERS {
        let (log, channel, voter) = (Arc::clone(&log), channel.clone(), voter.clone());
        offers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(n * 30)).await;
            let (size, mut old_size) = (100 + n, 0);
            loop {
                let asked = Instant::now();
                match offer(&channel, log.offers(size, old_size)).await {
                    Ok((cosigned, _)) if !cosigned.is_empty() => {
                        let note = SignedCheckpoint::from_bytes(&cosigned).unwrap();
                        let seconds = note.verify_cosigner(&voter, &key.0).unwrap();
                        return Some(Cosigned { size, asked, answered: Instant::now(), seconds });
                    }
                    // Somebody was faster with a longer one.
                    Ok((_, Some(known))) if known >= size => return None,
                    Ok((_, known)) => old_size = known.unwrap_or(0),
                    // Its witness was killed: whether it had signed is not known, and it is asked again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
    }
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(350)).await;
        field.federation.kill(DE);
        field.federation.spawn(DE).unwrap();
        field.federation.wait_serving(DE, PATIENCE).await.unwrap();
    }
    let cosigned: Vec<Cosigned> = offers.join_all().await.into_iter().flatten().collect();
    assert!(cosigned.len() > 1);
    for older in &cosigned {
        for newer in cosigned.iter().filter(|newer| newer.size > older.size) {
            assert!(older.asked < newer.answered, "{} was cosigned after {}", older.size, newer.size);
            assert!(older.seconds <= newer.seconds, "{} is dated after {}", older.size, newer.size);
        }
    }
    // The longest that anybody holds a cosignature of is what the witness remembers, or it remembers more.
    let longest = cosigned.iter().map(|cosigned| cosigned.size).max().unwrap();
    let request = v1::GetWitnessedRequest { federation: log.federation.0.to_vec() };
    let told = WitnessServiceClient::new(channel.clone()).get_witnessed(request).await.unwrap().into_inner();
    let known = SignedCheckpoint::from_bytes(&told.notes[0]).unwrap().checkpoint;
    assert!(known.size >= longest, "{} {longest}", known.size);
    assert_eq!(known.root, log.tree.root_at(known.size).unwrap());
    assert_eq!(offer(&channel, log.offers(100, 100)).await.unwrap(), (Vec::new(), Some(known.size)));
}
