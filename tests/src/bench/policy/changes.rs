//! Changes over a full store: a policy that is applied, and one record that is edited. The partner pulls in this process, so that
//! neither sockets nor its disk are measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_app::{Decided, Node, RecordView};
use comity_core::{MemberId, RecordId, SpiffeId, Tier};
use comity_node::config::Config;
use comity_node::{Opened, open};

use super::super::measure::micros;
use super::super::process::peak_rss_mib;
use super::super::report::{Row, note, percentile};
use crate::Problem;
use crate::federation::{lay_out, plan};
use crate::stock::Stock;

/// How many bytes of JSON each record has.
const RECORD_BYTES: usize = 1_024;
/// How many records are edited, one after the other.
const EDITS: usize = 50;
const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;
/// Policies for the partner, each applied after the one before, and what each does to records that are `restricted`.
const APPLIED: [(&str, &str); 3] = [
    (
        "same",
        r#"@id("reads-again") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 3 };"#,
    ),
    ("narrow", r#"@id("public") permit (principal, action, resource) when { resource.tier == 0 };"#),
    ("widen", READS),
];

/// A node with records that its partner has already, opened and serving nobody.
struct Field {
    node: Arc<Node>,
    opened: Opened,
    partner: MemberId,
    ids: Vec<RecordId>,
    /// The number up to which the partner has everything.
    sent: u64,
    _folder: tempfile::TempDir,
}

/// What a partner was sent.
#[derive(Debug, Default)]
struct Pulled {
    pages: usize,
    items: usize,
    first: Option<Duration>,
}

/// Rows for each policy that is applied: until the outbox is rebuilt, the first page is there, and all is decided.
pub(super) async fn apply(records: usize) -> Result<Vec<Row>, Problem> {
    let mut field = Field::stocked(records).await?;
    let (officer, approver) = (field.person("policy", "legal-1")?, field.person("approver", "desk-2")?);
    let mut rows = Vec::new();
    for (name, text) in APPLIED {
        let asked = field.node.ask_policy(&officer, field.partner, text.to_owned()).await?;
        let begin = Instant::now();
        field.node.decide(&approver, &asked.approval.id, Decided::Yes(None)).await?;
        let rebuilt = begin.elapsed();
        let queued = field.node.outbox_lag(field.partner).await?.queued;
        if queued != records as u64 {
            return Err(format!("{queued} of {records} records wait for a decision").into());
        }
        let pulled = field.pull(begin).await?;
        let all = begin.elapsed();
        let told = if name == "same" { 0 } else { records };
        if pulled.items != told {
            return Err(format!("{name}: the partner was told of {} records, expected {told}", pulled.items).into());
        }
        note(&format!("apply {name}: {} pages, {} items", pulled.pages, pulled.items));
        for (what, took) in [("rebuilt", Some(rebuilt)), ("first page", pulled.first), ("all decided", Some(all))] {
            rows.extend(took.map(|took| row(format!("apply {records} {name}: {what}"), records, &[took], took)));
        }
    }
    field.close().await;
    Ok(rows)
}

/// A row for one record that is edited among `records`, many times over, and what one edit touches.
pub(super) async fn one(records: usize) -> Result<(Row, String), Problem> {
    let mut field = Field::stocked(records).await?;
    let author = field.person("operator", "desk-1")?;
    let document = serde_json::json!({
        "title": "An incident that was edited",
        "marking": { "tier": "restricted", "releasable_to": [field.partner.as_str()] },
        "date": "2017-04-04",
        "place": "Somewhere else",
    });
    let document = document.to_string().into_bytes();
    let mut took = Vec::with_capacity(EDITS);
    let (mut queued, mut pages, mut items) = (0, 0, 0);
    let before = Io::now();
    let step = (field.ids.len() / EDITS).max(1);
    let edited: Vec<RecordId> = field.ids.iter().step_by(step).take(EDITS).copied().collect();
    for id in edited {
        let RecordView::Own(own) = field.node.record(&author, id).await? else { return Err("not its own".into()) };
        let begin = Instant::now();
        field.node.update_record(&author, id, own.row.version, &document).await?;
        queued += field.node.outbox_lag(field.partner).await?.queued;
        let pulled = field.pull(begin).await?;
        took.push(begin.elapsed());
        pages += pulled.pages;
        items += pulled.items;
    }
    let used = Io::now().since(&before);
    let edits = took.len() as f64;
    let line = format!(
        "one among {records}: an edit queues {:.2} records and makes {:.2} pages of {:.2} items; {:.0} KiB read, {:.0} KiB written",
        queued as f64 / edits,
        pages as f64 / edits,
        items as f64 / edits,
        used.read as f64 / 1024.0 / edits,
        used.written as f64 / 1024.0 / edits,
    );
    let all = took.iter().sum();
    let row = row(format!("one among {records}"), took.len(), &took, all);
    field.close().await;
    Ok((row, line))
}

fn row(case: String, operations: usize, took: &[Duration], all: Duration) -> Row {
    let mut sorted: Vec<u64> = took.iter().copied().map(micros).collect();
    sorted.sort_unstable();
    Row {
        bench: "policy",
        case,
        per_s: operations as f64 / all.as_secs_f64(),
        p50_us: percentile(&sorted, 0.5),
        p99_us: percentile(&sorted, 0.99),
        cpu_us_op: 0.0,
        rss_mb: peak_rss_mib(std::process::id()),
        disk_mb: 0.0,
        operations: operations as u64,
        seconds: all.as_secs_f64(),
    }
}

impl Field {
    /// A store of so many records that are shared with the partner, which has received them all.
    async fn stocked(records: usize) -> Result<Self, Problem> {
        let folder = tempfile::tempdir()?;
        let federation = lay_out(folder.path(), &plan(&["FR", "DE", "CA"], "quorum(2/3)")?, std::env::current_exe()?)?;
        let partner: MemberId = "DE".parse()?;
        let stock = Stock {
            member: "FR".parse()?,
            records,
            bytes: RECORD_BYTES,
            tier: Tier::Restricted,
            parties: vec![partner],
            policy: READS,
        };
        let begin = Instant::now();
        let ids = stock.put(&federation).await?;
        let seat = federation.seat("FR").ok_or("no seat")?;
        let opened = open(&Config::load(&seat.config(), std::iter::empty())?).await?;
        let mut field = Self { node: Arc::clone(&opened.node), opened, partner, ids, sent: 0, _folder: folder };
        let pulled = field.pull(begin).await?;
        if pulled.items != records {
            return Err(format!("the partner has {} of {records} records", pulled.items).into());
        }
        note(&format!("{records} records stored and released once after {:.0} s", begin.elapsed().as_secs_f64()));
        Ok(field)
    }

    fn person(&self, role: &str, name: &str) -> Result<SpiffeId, Problem> {
        Ok(format!("spiffe://{}/{role}/{name}", self.opened.materials.own.trust_domain).parse()?)
    }

    /// Pulls until there is nothing more, as the partner's stream does.
    async fn pull(&mut self, begin: Instant) -> Result<Pulled, Problem> {
        let mut pulled = Pulled::default();
        while let Some(page) = self.node.next_page(self.partner, self.sent).await? {
            pulled.first.get_or_insert_with(|| begin.elapsed());
            pulled.pages += 1;
            pulled.items += page.items.len();
            self.sent = page.sent.last_number;
        }
        self.node.record_refusals(self.partner).await?;
        Ok(pulled)
    }

    async fn close(self) {
        self.opened.consensus.shutdown().await;
        self.opened.store.close().await;
    }
}

/// What this process has read and written, files of every sort, in bytes: proc(5).
struct Io {
    read: u64,
    written: u64,
}

impl Io {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().parse().unwrap_or(0)
        };
        Self { read: figure("rchar:"), written: figure("wchar:") }
    }

    fn since(&self, before: &Self) -> Self {
        Self { read: self.read - before.read, written: self.written - before.written }
    }
}
