use super::*;
use crate::test_store::{TestStore, at, person, skipped_without_a_file, version};

fn waiting(n: u32) -> NewApproval {
    NewApproval {
        id: format!("A-{n:08}"),
        kind: ApprovalKind::Share,
        author: person("operator", "desk-7"),
        payload: br#"{"share":1}"#.to_vec(),
        summary: "Share with DE".to_owned(),
        resource: "FR-P-0000000000000000".to_owned(),
        resource_version: Some(version(1)),
        created: at(0),
        expires: at(100),
    }
}

#[tokio::test]
async fn another_person_decides_once() {
    let test = TestStore::new().await;
    let approvals = test.store.approvals();
    let asked = approvals.create(waiting(1)).await.unwrap();
    assert_eq!((asked.state, asked.payload.as_slice()), (ApprovalState::Pending, br#"{"share":1}"#.as_slice()));
    assert!(matches!(approvals.create(waiting(1)).await, Err(ApprovalError::IdTaken { .. })));

    // The same person stays the same person in another role.
    let own = approvals.claim(&asked.id, &person("approver", "desk-7"), at(1)).await;
    assert!(matches!(own, Err(ApprovalError::SamePerson { .. })), "{own:?}");
    let claims = (0..8).map(|n| {
        let (approvals, id) = (approvals.clone(), asked.id.clone());
        tokio::spawn(async move { approvals.claim(&id, &person("approver", &format!("desk-1{n}")), at(2)).await })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        match claim.await.unwrap() {
            Ok(approval) => {
                won += 1;
                assert_eq!(approval.state, ApprovalState::Running);
            }
            Err(ApprovalError::NotPending { state: ApprovalState::Running, decided_by: Some(_), .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
    let done = approvals.finish(&asked.id, Ok("shared".to_owned())).await.unwrap();
    assert_eq!((done.state, done.outcome.as_deref()), (ApprovalState::Done, Some("shared")));
    assert!(done.decided_by.is_some() && done.decided == Some(at(2)));
    let again = approvals.finish(&asked.id, Err("no".to_owned())).await;
    assert!(matches!(again, Err(ApprovalError::NotRunning { state: ApprovalState::Done, .. })));
}

#[tokio::test]
async fn refused_expired_and_unknown_cannot_be_claimed() {
    let test = TestStore::new().await;
    let (approvals, second) = (test.store.approvals(), person("approver", "desk-2"));
    let refused = approvals.create(waiting(1)).await.unwrap();
    let refused = approvals.refuse(&refused.id, &second, "not now", at(1)).await.unwrap();
    assert_eq!((refused.state, refused.outcome.as_deref()), (ApprovalState::Refused, Some("not now")));
    let claim = approvals.claim(&refused.id, &second, at(2)).await.unwrap_err();
    assert_eq!(claim.to_string(), format!("approval {} is refused already, by {second}", refused.id));
    let expired = approvals.create(waiting(2)).await.unwrap();
    let claim = approvals.claim(&expired.id, &second, at(100)).await;
    assert!(matches!(claim, Err(ApprovalError::Expired { .. })), "{claim:?}");
    assert!(matches!(approvals.claim("A-X", &second, at(1)).await, Err(ApprovalError::NotFound { .. })));
}

#[tokio::test]
async fn what_a_crash_cut_short_waits_again() {
    let test = TestStore::new().await;
    let second = person("approver", "desk-2");
    for n in 1..=3 {
        test.store.approvals().create(waiting(n)).await.unwrap();
        test.store.approvals().claim(&waiting(n).id, &second, at(1)).await.unwrap();
    }
    test.store.approvals().finish(&waiting(2).id, Err("no quorum".to_owned())).await.unwrap();
    let back = test.store.approvals().put_back(&waiting(3).id, None).await.unwrap();
    assert_eq!((back.state, back.decided_by), (ApprovalState::Pending, None));
    let test = test.reopen().await;
    let approvals = test.store.approvals();
    let states = approvals.list(None, None, 10).await.unwrap().into_iter().map(|a| a.state).collect::<Vec<_>>();
    assert_eq!(states, [ApprovalState::Pending, ApprovalState::Failed, ApprovalState::Pending]);
    let pending = approvals.list(Some(ApprovalState::Pending), None, 1).await.unwrap();
    let next = approvals.list(Some(ApprovalState::Pending), Some(pending[0].position), 10).await.unwrap();
    assert_eq!((pending[0].id.as_str(), next[0].id.as_str()), ("A-00000003", "A-00000001"));
    // Whoever stopped while it was under way cannot tell whether it took effect: it is done again, and not called refused.
    let refused = approvals.refuse("A-00000001", &second, "No.", at(2)).await;
    assert!(matches!(refused, Err(ApprovalError::Underway { .. })), "{refused:?}");
    approvals.claim("A-00000001", &second, at(2)).await.unwrap();
    approvals.put_back("A-00000001", Some("handed in".to_owned())).await.unwrap();
    let refused = approvals.refuse("A-00000001", &second, "No.", at(2)).await;
    assert!(matches!(refused, Err(ApprovalError::Underway { .. })), "{refused:?}");
    approvals.refuse("A-00000003", &second, "No.", at(2)).await.unwrap();
}

#[tokio::test]
async fn one_author_cannot_fill_the_table() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::new().await;
    test.tamper(
        "WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 999)
         INSERT INTO approval (id, position, kind, state, author, seal_key, payload, summary, resource, created_at, expires_at)
         SELECT 'A-' || n, n, 'vote', 'pending', 'spiffe://fr.comity.example/operator/desk-7', x'00', x'00', x'00', '',
                0, 9000000000000000000 FROM counter",
    )
    .await;
    let approvals = test.store.approvals();
    approvals.create(waiting(1)).await.unwrap();
    let refused = approvals.create(waiting(2)).await;
    assert!(matches!(refused, Err(ApprovalError::TooMany { limit: 1_000, .. })), "{refused:?}");
    let mut other = waiting(2);
    other.author = person("operator", "desk-8");
    approvals.create(other).await.unwrap();
}

#[tokio::test]
async fn each_person_signs_once_and_only_what_waits() {
    let test = TestStore::new().await;
    let (approvals, second) = (test.store.approvals(), person("approver", "desk-2"));
    let signed = |name: &str, byte: u8, second: i64| ApprovalSignature {
        person: name.to_owned(),
        keyid: "00112233445566ff".parse().unwrap(),
        sig: [byte; 64],
        at: at(second),
    };
    let asked = approvals.create(NewApproval { kind: ApprovalKind::Keys, ..waiting(1) }).await.unwrap();
    approvals.sign(&asked.id, signed("desk-7", 1, 1)).await.unwrap();
    approvals.sign(&asked.id, signed("desk-2", 2, 2)).await.unwrap();
    approvals.sign(&asked.id, signed("desk-7", 3, 3)).await.unwrap();
    let kept = approvals.signatures(&asked.id).await.unwrap();
    assert_eq!(kept, [signed("desk-2", 2, 2), signed("desk-7", 3, 3)]);

    assert!(matches!(approvals.sign(&asked.id, signed("desk-7", 4, 100)).await, Err(ApprovalError::Expired { .. })));
    assert!(matches!(approvals.sign("A-X", signed("desk-7", 4, 1)).await, Err(ApprovalError::NotFound { .. })));
    approvals.claim(&asked.id, &second, at(4)).await.unwrap();
    assert!(matches!(approvals.sign(&asked.id, signed("desk-7", 4, 5)).await, Err(ApprovalError::NotPending { .. })));
    // What a crash cut short keeps its signatures.
    let test = test.reopen().await;
    assert_eq!(test.store.approvals().signatures(&asked.id).await.unwrap(), kept);
}
