//! The wall clocks of the members' machines: they run fast, so that days pass in seconds, and none is right.

use std::time::Duration;

use comity_core::Timestamp;

/// A machine's wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// What it showed, were it right, when the simulation began, in microseconds.
    pub(crate) epoch_micros: i64,
    /// Seconds of wall time in one of the simulation.
    pub(crate) rate: u32,
    /// How far it is off, in microseconds of wall time.
    pub(crate) skew_micros: i64,
}

impl Clock {
    /// What it shows.
    pub(crate) fn at(&self, elapsed: Duration) -> Timestamp {
        let passed = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX).saturating_mul(i64::from(self.rate));
        let shown = self.epoch_micros.saturating_add(passed).saturating_add(self.skew_micros);
        Timestamp::from_micros(shown).unwrap_or_else(|| Timestamp::from_micros(0).expect("the epoch is an instant"))
    }
}
