//! `hidden`: whether the time until a partner is answered tells that records it may not learn of have changed.

mod ranks;

use std::time::{Duration, Instant};

use clap::Args;
use comity_app::Node;
use comity_cli::demo::federation::Federation;
use comity_core::access::{self, AccessRecord};
use comity_core::{MemberId, RecordId, Tier};
use comity_node::config::Config;
use comity_node::{Opened, open};

use super::Options;
use super::measure::{Taken, micros};
use super::report::{Row, note, percentile};
use crate::Problem;
use crate::federation::{lay_out, plan};
use crate::seed::Dice;
use crate::stock::Stock;

const READS: &str = r#"@id("reads") permit (principal, action, resource) when { resource.tier <= 4 };
    @id("hides") forbid (principal, action, resource) when { resource.tier == 2 };"#;
/// Pulls before the first that counts, of each sort.
const WARM_UP: usize = 20;

/// What the benchmark takes.
#[derive(Debug, Clone, Args)]
pub(super) struct HiddenOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// At which multiples of milliseconds the nodes answer, as `exchange.answer_tick_ms`; 0 shows what that hides
    #[arg(long, value_name = "MS", default_value_t = 50)]
    tick_ms: u64,
}

pub(super) async fn run(options: &HiddenOptions) -> Result<(Vec<Row>, Vec<String>), Problem> {
    let cases: Vec<usize> = match options.options.case.as_deref() {
        Some(case) => vec![case.parse()?],
        None => vec![1, 10, 100],
    };
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let mut bare = Side::build(0, options.tick_ms).await?;
    for hidden in cases {
        note(&format!("hidden: {hidden} hidden changes, {} s", options.options.seconds));
        let mut laden = Side::build(hidden, options.tick_ms).await?;
        for (sort, visible) in [("idle", false), ("page", true)] {
            let length = Duration::from_secs(options.options.seconds) / 2;
            let (of_bare, of_laden) = measure(&mut bare, &mut laden, visible, length).await?;
            let difference = ranks::compare(&of_bare, &of_laden);
            lines.push(format!(
                "{sort}, {hidden} hidden changes: {} us against {} us at the median; told apart {:.3}, p = {:.2e}",
                percentile(&sorted(&of_laden), 0.5),
                percentile(&sorted(&of_bare), 0.5),
                difference.above,
                difference.p_value,
            ));
            rows.push(Taken::one_by_one(of_bare).row("hidden", format!("{sort}, none of {hidden}"), &[]));
            rows.push(Taken::one_by_one(of_laden).row("hidden", format!("{sort}, {hidden}"), &[]));
        }
        laden.close().await;
    }
    bare.close().await;
    Ok((rows, lines))
}

fn sorted(values: &[u64]) -> Vec<u64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values
}

/// Pulls at both, in random order, until the time is up. How long each took, in microseconds.
async fn measure(
    bare: &mut Side,
    laden: &mut Side,
    visible: bool,
    length: Duration,
) -> Result<(Vec<u64>, Vec<u64>), Problem> {
    let (mut of_bare, mut of_laden, mut dice) = (Vec::new(), Vec::new(), Dice::fresh()?);
    for _ in 0..WARM_UP {
        bare.pull(visible, &mut dice).await?;
        laden.pull(visible, &mut dice).await?;
    }
    let until = Instant::now() + length;
    while Instant::now() < until {
        // Which is first is drawn, so that neither finds the machine as the other left it more often.
        if dice.once_in(2) {
            of_bare.push(bare.pull(visible, &mut dice).await?);
            of_laden.push(laden.pull(visible, &mut dice).await?);
        } else {
            of_laden.push(laden.pull(visible, &mut dice).await?);
            of_bare.push(bare.pull(visible, &mut dice).await?);
        }
    }
    Ok((of_bare, of_laden))
}

/// A node whose partner has all that it may have.
struct Side {
    opened: Opened,
    partner: MemberId,
    tick_ms: u64,
    /// What the partner has.
    sent: u64,
    hidden: Vec<RecordId>,
    _federation: Federation,
    _folder: tempfile::TempDir,
}

impl Side {
    async fn build(hidden: usize, tick_ms: u64) -> Result<Self, Problem> {
        let folder = tempfile::tempdir()?;
        let federation = lay_out(folder.path(), &plan(&["FR", "DE", "CA"], "quorum(2/3)")?, std::env::current_exe()?)?;
        let partner: MemberId = "DE".parse()?;
        let stock = Stock {
            member: "FR".parse()?,
            records: hidden,
            bytes: 1024,
            tier: Tier::Restricted,
            parties: vec![partner],
            policy: READS,
        };
        let hidden = stock.put(&federation).await?;
        // One that the policy lets through.
        Stock { records: 1, tier: Tier::Secret, ..stock }.put(&federation).await?;
        let seat = federation.seat("FR").ok_or("no seat")?;
        let mut config = Config::load(&seat.config(), std::iter::empty())?;
        config.exchange.answer_tick_ms = tick_ms;
        let opened = open(&config).await?;
        let mut side = Self { opened, partner, tick_ms, sent: 0, hidden, _federation: federation, _folder: folder };
        side.answer().await?;
        Ok(side)
    }

    fn node(&self) -> &Node {
        &self.opened.node
    }

    /// What changes before a pull, then the pull, which alone is timed.
    async fn pull(&mut self, visible: bool, dice: &mut Dice) -> Result<u64, Problem> {
        // A partner asks at any moment between two ticks.
        let tick = Duration::from_millis(self.tick_ms);
        tokio::time::sleep(tick.mul_f64(dice.below(1_000) as f64 / 1_000.0)).await;
        let outbox = self.opened.store.outbox();
        outbox.requeue_party(self.partner, self.hidden.clone()).await?;
        if visible {
            // What it has is in doubt, as after a line was cut: it is told once more.
            outbox.rewrite_as_retraction(self.partner, self.sent).await?;
        }
        let begin = Instant::now();
        self.answer().await?;
        let took = micros(begin.elapsed());
        // As whoever sends pages does once they have left.
        self.node().record_refusals(self.partner).await?;
        Ok(took)
    }

    /// Makes and records pages, as the edge does before they leave, until there is nothing more.
    async fn answer(&mut self) -> Result<(), Problem> {
        while let Some(page) = self.node().next_page(self.partner, self.sent).await? {
            let record = AccessRecord {
                member: Some(self.partner),
                touched: page.touched,
                page: Some(page.sent.exchanged()),
                ..AccessRecord::new(self.node().now(), "the benchmark", access::PAGE_SENT)
            };
            self.node().record_access(record).await?;
            self.sent = page.sent.last_number;
        }
        Ok(())
    }

    async fn close(self) {
        self.opened.consensus.shutdown().await;
        self.opened.store.close().await;
    }
}
