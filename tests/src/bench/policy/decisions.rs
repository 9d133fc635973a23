//! Decisions a second with forty partners and twenty policies each: what was never asked, what is remembered, and bare Cedar.

use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use comity_core::marking::Caveat;
use comity_core::release::{Action, Party, PartyStatus, RecordHeader, Share};
use comity_core::{Marking, MemberId, RecordId, RecordKind, Tier, Timestamp};
use comity_policy::{PartnerPolicy, Policies};

use super::super::measure::micros;
use super::super::process::peak_rss_mib;
use super::super::report::{Row, percentile};
use crate::Problem;

const PARTNERS: [&str; 40] = [
    "AL", "AT", "AU", "BE", "BG", "CA", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "GB", "GE", "GR", "HR", "HU",
    "IE", "IS", "IT", "JP", "KR", "LT", "LU", "LV", "MD", "ME", "MK", "MT", "NL", "NO", "NZ", "PL", "PT", "RO", "SE",
    "SK", "US",
];
/// Permits, each for a kind up to a tier in a compartment; and forbids that hold for all.
const PERMITS: usize = 16;
const FORBIDS: &str = r#"
@id("no-tiger") forbid (principal, action, resource) when { resource.compartments.contains("TIGER") };
@id("never-sources") forbid (principal, action == Action::"read_sources", resource) when { resource.handling == "never" };
@id("orcon-sources") forbid (principal, action == Action::"read_sources", resource) when { resource.caveats.contains("orcon") };
@id("onward-up-to-restricted") forbid (principal, action, resource) when { resource.onward && resource.tier > 2 };
"#;
const KINDS: [RecordKind; 4] = [RecordKind::Proposal, RecordKind::Opinion, RecordKind::Incident, RecordKind::Evidence];
/// In how many compartments records are, or in none. All partners' questions together are remembered.
const COMPARTMENTS: usize = 4;

/// One partner's questions.
struct Partner {
    party: Party,
    text: String,
    headers: Vec<RecordHeader>,
}

/// One timed answer.
struct Timed {
    latencies_us: Vec<f64>,
    busy: Duration,
}

/// Rows for cold, warm and bare Cedar, and what to read them with.
pub(super) fn run(seconds: u64) -> Result<(Vec<Row>, String), Problem> {
    let own: MemberId = "FR".parse()?;
    let partners = PARTNERS.iter().map(|code| Partner::new(own, code)).collect::<Result<Vec<_>, _>>()?;
    let files = partners.iter().map(|partner| {
        PartnerPolicy::parse(partner.party.member, &partner.text).map_err(|invalid| invalid.to_string())
    });
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let at = Timestamp::from_jiff(jiff::Timestamp::now());
    let bare = Bare::new(&partners)?;
    bare.ensure_same(own, &partners, &Policies::new(files.clone()), at)?;

    let length = Duration::from_secs(seconds);
    let (mut cold, mut warm) = (Timed::new(), Timed::new());
    while cold.busy < length {
        // Nothing is remembered in a new value.
        let policies = Policies::new(files.clone());
        cold.ask(own, &partners, &policies, at);
        if warm.busy < length {
            warm.ask(own, &partners, &policies, at);
        }
    }
    let policies = Policies::new(files);
    Timed::new().ask(own, &partners, &policies, at);
    while warm.busy < length {
        warm.ask(own, &partners, &policies, at);
    }
    let mut alone = Timed::new();
    while alone.busy < length {
        bare.ask(&mut alone);
    }
    let line = format!(
        "decide: on one thread; {} partners with {} policies each, {} questions of each; a decision answers discover, read \
         and read_sources, so that a cold one is three evaluations, bare Cedar's is one, its request and entities made before",
        partners.len(),
        PERMITS + FORBIDS.matches("@id").count(),
        partners.first().map_or(0, |partner| partner.headers.len()),
    );
    Ok((vec![cold.row("decide cold"), warm.row("decide warm"), alone.row("bare cedar")], line))
}

impl Partner {
    fn new(own: MemberId, code: &str) -> Result<Self, Problem> {
        let member: MemberId = code.parse()?;
        let mut text = FORBIDS.to_owned();
        let actions = ["discover", "discover\", Action::\"read", "read_sources"];
        for ((n, kind), actions) in (0..PERMITS).zip(KINDS.into_iter().cycle()).zip(actions.into_iter().cycle()) {
            let (tier, compartment) = (n % 4 + 1, n / KINDS.len());
            text.push_str(&format!(
                "@id(\"p{n}\") permit (principal == Party::\"{code}\", action in [Action::\"{actions}\"], resource) when {{\n    \
                 resource.kind == \"{kind}\" && resource.tier <= {tier} &&\n    \
                 (resource.compartments.isEmpty() || resource.compartments.contains(\"C{compartment}\")) }};\n",
                kind = kind.as_str(),
            ));
        }
        let headers = headers(own, member)?;
        let party = Party { member, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
        Ok(Self { party, text, headers })
    }
}

/// The questions of one partner: no two are alike to a policy.
fn headers(own: MemberId, party: MemberId) -> Result<Vec<RecordHeader>, Problem> {
    let mut headers = Vec::new();
    for kind in KINDS {
        for tier in [Tier::Public, Tier::Official, Tier::Restricted, Tier::Confidential, Tier::Secret] {
            for compartment in 0..COMPARTMENTS {
                let mut marking = Marking::originator_only(tier);
                marking.releasable_to.insert(party);
                if compartment > 0 {
                    marking.compartments.insert(format!("C{compartment}").parse()?);
                    marking.caveats.insert(Caveat::Orcon);
                }
                let mut id = [0; 10];
                getrandom::fill(&mut id)?;
                headers.push(RecordHeader::new(RecordId::new(own, kind, id), marking));
            }
        }
    }
    Ok(headers)
}

impl Timed {
    fn new() -> Self {
        Self { latencies_us: Vec::new(), busy: Duration::ZERO }
    }

    fn time<R>(&mut self, decide: impl FnOnce() -> R) {
        let begin = Instant::now();
        std::hint::black_box(decide());
        let took = begin.elapsed();
        self.busy += took;
        self.latencies_us.push(took.as_secs_f64() * 1e6);
    }

    fn ask(&mut self, own: MemberId, partners: &[Partner], policies: &Policies, at: Timestamp) {
        for Partner { party, headers, .. } in partners {
            for header in headers {
                self.time(|| policies.level(own, party, header, Some(&Share::PLAIN), at));
            }
        }
    }

    fn row(self, case: &str) -> Row {
        let (operations, seconds) = (self.latencies_us.len() as u64, self.busy.as_secs_f64());
        let mut sorted: Vec<u64> =
            self.latencies_us.iter().map(|us| micros(Duration::from_secs_f64(us / 1e6))).collect();
        sorted.sort_unstable();
        Row {
            bench: "policy",
            case: case.to_owned(),
            per_s: operations as f64 / seconds,
            p50_us: percentile(&sorted, 0.5),
            p99_us: percentile(&sorted, 0.99),
            cpu_us_op: seconds * 1e6 / operations as f64,
            rss_mb: peak_rss_mib(std::process::id()),
            disk_mb: 0.0,
            operations,
            seconds,
        }
    }
}

/// Cedar by itself.
struct Bare {
    /// Each partner's policies, and its questions about reading.
    asked: Vec<(PolicySet, Vec<(Request, Entities)>)>,
}

impl Bare {
    fn new(partners: &[Partner]) -> Result<Self, Problem> {
        let asked = partners.iter().map(|partner| {
            let questions = partner.headers.iter().map(|header| question(&partner.party, header));
            Ok::<_, Problem>((partner.text.parse()?, questions.collect::<Result<_, _>>()?))
        });
        Ok(Self { asked: asked.collect::<Result<_, _>>()? })
    }

    fn ask(&self, timed: &mut Timed) {
        for (policies, questions) in &self.asked {
            for (request, entities) in questions {
                timed.time(|| Authorizer::new().is_authorized(request, policies, entities));
            }
        }
    }

    /// Both sides of the comparison answer the same.
    fn ensure_same(
        &self,
        own: MemberId,
        partners: &[Partner],
        policies: &Policies,
        at: Timestamp,
    ) -> Result<(), Problem> {
        let mut allowed = 0;
        for (partner, (set, questions)) in partners.iter().zip(&self.asked) {
            for (header, (request, entities)) in partner.headers.iter().zip(questions) {
                let answer = Authorizer::new().is_authorized(request, set, entities);
                let bare = answer.decision() == cedar_policy::Decision::Allow;
                let ours = policies.decide(own, &partner.party, Action::Read, header, Some(&Share::PLAIN), at);
                if bare != ours.allow {
                    return Err(format!("bare Cedar says {bare}, the release decision {ours:?} on {header:?}").into());
                }
                allowed += usize::from(bare);
            }
        }
        if allowed == 0 || allowed == partners.iter().map(|partner| partner.headers.len()).sum::<usize>() {
            return Err(format!("{allowed} of the questions are allowed: they are to be of both sorts").into());
        }
        Ok(())
    }
}

/// Whether the party may read the record, as Cedar is asked.
fn question(party: &Party, header: &RecordHeader) -> Result<(Request, Entities), Problem> {
    let uid = |kind: &str, id: &str| serde_json::json!({ "type": kind, "id": id });
    let (code, id) = (party.member.as_str(), header.id.to_string());
    let marking = &header.marking;
    let entities = serde_json::json!([
        { "uid": uid("Party", code), "parents": [], "attrs": {
            "member": code, "voting": party.voting, "ceiling": party.ceiling.level() } },
        { "uid": uid("Record", &id), "parents": [], "attrs": {
            "kind": header.kind.as_str(),
            "originator": header.originator.as_str(),
            "tier": header.tier.level(),
            "caveats": marking.caveats.iter().map(|c| c.as_str()).collect::<Vec<_>>(),
            "compartments": marking.compartments.iter().map(|c| c.as_str()).collect::<Vec<_>>(),
            "handling": marking.handling.as_str(),
            "releasable_to": marking.releasable_to.iter().map(MemberId::as_str).collect::<Vec<_>>(),
            "onward": false,
            "answers": false } },
    ]);
    let entities = Entities::from_json_value(entities, None)?;
    let uid = |text: String| text.parse::<EntityUid>().map_err(Box::new);
    let (party, action) = (uid(format!("Party::\"{code}\""))?, uid("Action::\"read\"".to_owned())?);
    let record = uid(format!("Record::\"{id}\""))?;
    Ok((Request::new(party, action, record, Context::empty(), None)?, entities))
}
