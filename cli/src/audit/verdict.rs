//! What was proved, as people and programs read it.

use comity_core::Timestamp;
use comity_core::access::AccessRecord;
use comity_core::access::bundle::Shape;
use serde::Serialize;

use super::trust::OlderNote;
use crate::bundle::Verified;
use crate::page::Page;
use crate::when;
use crate::wire;

/// A bundle that holds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BundleView {
    proven: bool,
    origin: String,
    member: String,
    incarnation: u64,
    /// `range` or `selected`.
    shape: &'static str,
    first_leaf: u64,
    last_leaf: u64,
    leaves: u64,
    first_time: String,
    last_time: String,
    annexes_withheld: u64,
    /// How many leaves the signed checkpoint covers.
    size: u64,
    root: String,
    cosigners: Vec<CosignerView>,
    others: usize,
    cosigners_needed: usize,
    witnessed: bool,
    continues: Vec<ContinuesView>,
    #[serde(skip)]
    times: (Timestamp, Timestamp),
}

#[derive(Debug, Clone, Serialize)]
struct CosignerView {
    member: String,
    /// When it says that it did.
    seconds: u64,
}

#[derive(Debug, Clone, Serialize)]
struct ContinuesView {
    source: String,
    size: u64,
}

impl BundleView {
    pub(crate) fn new(verified: &Verified, continued: &[OlderNote]) -> Self {
        let (proven, attested) = (&verified.proven, &verified.attested);
        let (header, checkpoint) = (&proven.header, &proven.header.note.checkpoint);
        let cosigner = |(member, seconds): &(comity_core::MemberId, u64)| CosignerView {
            member: member.to_string(),
            seconds: *seconds,
        };
        Self {
            proven: true,
            origin: checkpoint.origin.clone(),
            member: attested.member.to_string(),
            incarnation: attested.incarnation,
            shape: if header.shape == Shape::Range { "range" } else { "selected" },
            first_leaf: header.first,
            last_leaf: header.end.saturating_sub(1),
            leaves: header.count,
            first_time: proven.times.0.to_string(),
            last_time: proven.times.1.to_string(),
            annexes_withheld: proven.annexes_withheld,
            size: checkpoint.size,
            root: checkpoint.root.to_string(),
            cosigners: attested.cosigners.iter().map(cosigner).collect(),
            others: attested.others,
            cosigners_needed: attested.needed,
            witnessed: attested.is_witnessed(),
            continues: continued
                .iter()
                .map(|older| ContinuesView { source: older.source.clone(), size: older.checkpoint.size })
                .collect(),
            times: proven.times,
        }
    }

    pub(crate) fn fields(&self, page: &mut Page) {
        page.field("log", format!("{} of {}", self.origin, self.member));
        let leaves = match self.shape {
            "range" => format!("{}: all from {} to {}", self.leaves, self.first_leaf, self.last_leaf),
            _ if self.leaves == 1 => format!("leaf {}", self.first_leaf),
            _ => {
                format!("{} selected from {} to {}, as its exporter says", self.leaves, self.first_leaf, self.last_leaf)
            }
        };
        page.field("leaves", leaves);
        let (first, last) = (when::local_core(self.times.0), when::local_core(self.times.1));
        page.field("written", if self.leaves == 1 { first } else { format!("{first} to {last}") });
        if self.annexes_withheld > 0 {
            page.field("withheld", format!("what decided, of {} leaves", self.annexes_withheld));
        }
        page.field("checkpoint", format!("{} leaves under root {}", self.size, self.root));
        page.field("signed by", format!("the node key of {}", self.member));
        let names: Vec<&str> = self.cosigners.iter().map(|cosigner| cosigner.member.as_str()).collect();
        let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let (found, others, needed) = (self.cosigners.len(), self.others, self.cosigners_needed);
        page.field("cosigned by", format!("{names}: {found} of {others} others, {needed} are needed"));
        page.fields("continues", self.continues.iter().map(|o| format!("{} at {} leaves", o.source, o.size)));
    }
}

/// One access.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AccessView {
    leaf: u64,
    time: String,
    who: String,
    member: String,
    from: String,
    action: String,
    outcome: &'static str,
    reason: String,
    touched: Vec<TouchedView>,
    request_id: String,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_number: Option<u64>,
    #[serde(skip)]
    at: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
struct TouchedView {
    resource: String,
    version: String,
    view: String,
    because: Vec<String>,
}

impl AccessView {
    pub(crate) fn new(leaf: u64, record: &AccessRecord) -> Self {
        let touched = record.touched.iter().map(|touched| TouchedView {
            resource: touched.resource.clone(),
            version: touched.version.as_ref().map(ToString::to_string).unwrap_or_default(),
            view: touched.view.clone().unwrap_or_default(),
            because: touched.because.clone(),
        });
        Self {
            leaf,
            time: record.at.to_string(),
            who: record.who.as_ref().map(ToString::to_string).unwrap_or_default(),
            member: record.member.map(|member| member.to_string()).unwrap_or_default(),
            from: record.from.clone(),
            action: record.action.clone(),
            outcome: record.outcome.as_str(),
            reason: record.reason.clone().unwrap_or_default(),
            touched: touched.collect(),
            request_id: record.request_id.clone().unwrap_or_default(),
            count: record.count,
            page_root: record.page.map(|page| page.root.to_string()),
            last_number: record.page.map(|page| page.last_number),
            at: record.at,
        }
    }

    pub(crate) fn fields(&self, page: &mut Page) {
        page.field("time", when::local_core(self.at));
        page.field(
            "who",
            match self.who.as_str() {
                "" => self.member.clone(),
                who => format!("{} {}", self.member, wire::short_id(who)),
            },
        );
        page.field("from", &self.from);
        page.field(
            "action",
            if self.count > 1 { format!("{} x{}", self.action, self.count) } else { self.action.clone() },
        );
        page.field("outcome", self.outcome);
        page.field("reason", &self.reason);
        page.fields(
            "touched",
            self.touched.iter().map(|touched| {
                let because = touched.because.join(" ");
                let because = if because.is_empty() { because } else { format!("[{because}]") };
                let words = [touched.resource.as_str(), &touched.version, &touched.view, &because];
                words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
            }),
        );
        if let (Some(root), Some(number)) = (&self.page_root, self.last_number) {
            page.field("page", format!("{root}, up to number {number}"));
        }
        page.field("request", &self.request_id);
    }
}
