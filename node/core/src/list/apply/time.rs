//! List time: what a majority of the voting members have attested as past.

use crate::fault::{self, Fault};
use crate::list::apply::Step;
use crate::list::command::AttestTime;
use crate::list::refusal::Refusal;
use crate::list::state::{Attestation, Event, ListState};
use crate::timestamp::Timestamp;

/// How much later than its last a member's next attestation must be.
const ATTESTATION_MIN_SECONDS: u32 = 60;

impl ListState {
    pub(super) fn attest(&mut self, attest: &AttestTime, step: &mut Step<'_>) -> Result<(), Refusal> {
        if let Some(last) = self.attested(attest.member).map(|attested| attested.time) {
            let later = attest.time.as_micros().saturating_sub(last.as_micros());
            if later < i64::from(ATTESTATION_MIN_SECONDS) * 1_000_000 {
                let (member, minimum_seconds) = (attest.member, ATTESTATION_MIN_SECONDS);
                return Err(Refusal::TooSoon { member, last, minimum_seconds });
            }
        }
        self.attested.insert(attest.member, Attestation { time: attest.time, supports: attest.supports });
        // INVARIANT: a majority says that it has passed, and it never goes back: a minority that lies moves nothing.
        let voters = self.roster.voters();
        let mut times: Vec<Timestamp> =
            voters.keys().filter_map(|member| self.attested(*member)).map(|attested| attested.time).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let majority = if fault::is(Fault::TrustOneClock) { 1 } else { voters.len() / 2 + 1 };
        if let Some(time) = times.get(majority - 1).copied().filter(|time| *time > self.list_time) {
            self.list_time = time;
            step.events.push(Event::TimeMoved(time));
            self.advance(step);
        }
        Ok(())
    }
}
