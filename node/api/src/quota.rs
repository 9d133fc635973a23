//! A quota of bytes that fills up again all the time.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// So many bytes at once, and no more than so many in a day from then on. It holds no clock: time is passed in.
#[derive(Debug, Clone)]
pub struct Quota {
    bytes_per_day: u64,
    /// In bytes times the microseconds of a day, so that nothing is lost to rounding however often it is looked at.
    left: u128,
    refilled_at: Duration,
}

impl Quota {
    /// A quota that is full at instant 0.
    pub fn new(bytes_per_day: u64) -> Self {
        Self { bytes_per_day, left: full(bytes_per_day), refilled_at: Duration::ZERO }
    }

    /// Takes these bytes if there are as many at this instant; nothing otherwise. An instant before the last one counts as the last.
    pub fn take(&mut self, bytes: u64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.refilled_at);
        self.refilled_at = self.refilled_at.max(now);
        let refill = u128::from(self.bytes_per_day) * passed.as_micros();
        self.left = (self.left + refill).min(full(self.bytes_per_day));
        let price = u128::from(bytes) * DAY.as_micros();
        match self.left.checked_sub(price) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

fn full(bytes_per_day: u64) -> u128 {
    u128::from(bytes_per_day) * DAY.as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_there_is_and_fills_up_again() {
        let mut quota = Quota::new(86_400);
        let at = Duration::from_secs;
        assert!(quota.take(86_000, at(0)));
        assert!(!quota.take(401, at(0)) && quota.take(400, at(0)) && !quota.take(1, at(0)));
        // A byte a second.
        assert!(!quota.take(11, at(10)) && quota.take(10, at(10)));
        // Never more than a day's, and no clock that goes back fills it.
        assert!(!quota.take(86_401, at(1_000_000)) && quota.take(86_400, at(1_000_000)));
        assert!(!quota.take(1, at(0)) && !quota.take(1, at(1_000_000)));
        // Looked at often, it fills all the same.
        for n in 0..1_000 {
            assert!(!quota.take(2, at(1_000_000) + Duration::from_millis(n)));
        }
        assert!(quota.take(1, at(1_000_001)));
        assert!(!Quota::new(0).take(1, at(1_000_000)));
    }
}
