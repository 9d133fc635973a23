//! Records and policies put straight into a member's store while its node is down: what would take two people's approval a
//! thousand times over.

use comity_cli::demo::federation::Federation;
use comity_core::canonical::Hex32;
use comity_core::document::Document;
use comity_core::{MemberId, RecordId, RecordKind, SpiffeId, Tier, Timestamp, VersionId};
use comity_store::policies::NewPolicy;
use comity_store::records::{NewRecord, NewShare, StoredShare};

use crate::{Problem, stores};

/// Records to a transaction.
const STEP_RECORDS: usize = 1_000;

/// What a member has before its node starts.
#[derive(Debug, Clone)]
pub struct Stock {
    /// Whose.
    pub member: MemberId,
    /// How many records.
    pub records: usize,
    /// About how many bytes of JSON each has.
    pub bytes: usize,
    /// How secret each is.
    pub tier: Tier,
    /// With whom all of them are shared.
    pub parties: Vec<MemberId>,
    /// The policy for each of these.
    pub policy: &'static str,
}

impl Stock {
    /// Puts it into the store. Returns the ids.
    ///
    /// # Errors
    /// The store cannot be opened or written.
    pub async fn put(&self, federation: &Federation) -> Result<Vec<RecordId>, Problem> {
        let store = stores::open(federation, self.member).await?;
        let person = |role: &str, name: &str| -> Result<SpiffeId, Problem> {
            let domain = &federation.genesis.member(self.member).ok_or("not in the genesis")?.trust_domain;
            Ok(format!("spiffe://{domain}/{role}/{name}").parse()?)
        };
        let at = Timestamp::from_jiff(jiff::Timestamp::now());
        for party in &self.parties {
            let (author, approver) = (person("policy", "legal-1")?, person("approver", "desk-2")?);
            let text = self.policy.to_owned();
            store.policies().apply(NewPolicy { party: *party, text, author, approver, at }).await?;
        }
        let (document, author) = (self.document()?, person("operator", "desk-1")?);
        let mut ids = Vec::with_capacity(self.records);
        while ids.len() < self.records {
            let count = STEP_RECORDS.min(self.records - ids.len());
            let new = (0..count).map(|_| self.record(&document, &author, at)).collect::<Result<Vec<_>, _>>()?;
            let shown: Vec<(RecordId, VersionId)> = new.iter().map(|new| (new.id, new.version)).collect();
            ids.extend(shown.iter().map(|(id, _)| *id));
            store.records().create_all(new).await?;
            let parties = self.parties.iter().copied().collect();
            store.records().share(NewShare { records: shown, parties, terms: StoredShare::PLAIN, at }).await?;
        }
        store.close().await;
        Ok(ids)
    }

    fn record(&self, document: &Document, author: &SpiffeId, at: Timestamp) -> Result<NewRecord, Problem> {
        let (mut id, mut version, mut salts) = ([0; 10], [0; 16], [[0; 32]; 2]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut version)?;
        salts.iter_mut().try_for_each(|salt| getrandom::fill(salt))?;
        Ok(NewRecord {
            id: RecordId::new(self.member, RecordKind::Incident, id),
            version: VersionId::new(version),
            document: document.clone(),
            author: author.clone(),
            at,
            salts: salts.map(Hex32),
            request_id: None,
        })
    }

    fn document(&self) -> Result<Document, Problem> {
        let filler = self.bytes.saturating_sub(incident(self.tier, &self.parties, "").len()).max(1);
        let text = incident(self.tier, &self.parties, &"w".repeat(filler));
        Ok(Document::from_json(RecordKind::Incident, text.as_bytes())?)
    }
}

/// An incident as its author writes it, releasable to these parties.
pub fn incident(tier: Tier, parties: &[MemberId], description: &str) -> String {
    let parties: Vec<&str> = parties.iter().map(MemberId::as_str).collect();
    serde_json::json!({
        "title": "An invented incident",
        "marking": { "tier": tier.as_str(), "releasable_to": parties },
        "date": "2017-04-04",
        "place": "Somewhere",
        "description": description,
    })
    .to_string()
}
